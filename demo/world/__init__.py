"""The procedural world: terrain, land cover, what the satellites see of it, and chips of it on disk."""
