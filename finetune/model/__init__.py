"""The network: TerraMind's backbone with widened inputs, and the weights it starts from."""

from typing import Final

BACKBONE: Final = "terramind_tim_store"
"""Name under which TerraTorch finds the backbone; here, since reading it must not import TerraTorch."""

LATE_FACTORY: Final = "LateFusionFactory"
"""Name under which TerraTorch finds the factory of networks whose head takes cached planes."""

UNABLE_TO_IGNORE: Final = "jaccard"
"""TerraTorch's loss that takes no ignored label."""
