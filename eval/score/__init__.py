"""Confusion counts of a run, or of the generated maps, on the test chips."""
