"""Are the chips in the units, order and range that TerraMind was pretrained on?"""
