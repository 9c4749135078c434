"""Modalities of TerraMind, and the maps that are generated of them."""
