"""Procedural toys: small triangle models, a rasteriser, and scenes of them over real photographs."""
