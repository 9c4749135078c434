"""TerraMind in generate mode: network, sampling, windows."""
