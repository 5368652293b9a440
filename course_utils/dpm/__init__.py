"""Deformable part models: star models in mixtures, over FHOG features.

Felzenszwalb, Girshick, McAllester, Ramanan, "Object Detection with Discriminatively Trained Part-Based Models",
PAMI 2010, and the authors' voc-release5. `model` says what a model is, `inference` finds it in pictures, `training`
learns it, `release5` reads the authors' own, `layers` are the same as a convolutional network.
"""
