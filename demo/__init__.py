"""The embedded default: a procedural world and a small trained TerraMind."""

import terramind_weights  # noqa: F401 - before TerraTorch, so that it runs no code of the working folder
