"""OverFeat: a classifier of windows that is run over whole pictures, and its boxes merged."""
