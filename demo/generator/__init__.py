"""A small TerraMind with weights of its own, registered in TerraTorch like the published ones."""
