"""The network: TerraMind's backbone with widened inputs, and the weights it starts from."""

from typing import Final

BACKBONE: Final = "terramind_tim_store"
"""Name under which TerraTorch finds the backbone; here, since reading it must not import TerraTorch."""

UNABLE_TO_IGNORE: Final = "jaccard"
"""TerraTorch's loss that takes no ignored label."""
