"""A small TerraMind with its own weights, registered in TerraTorch like the published ones."""
