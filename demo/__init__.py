"""The embedded default: a procedural world and a small trained TerraMind."""
