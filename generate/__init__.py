"""Stage 1: TerraMind in generate mode over a chip set, written into an augment store."""
