"""Trains the demo's generator from nothing: network, two tokenizers and the model card.

The weights that ship with the package were made by this command; it is deterministic from the seed on one machine.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from augment_store.cli.parser import new_parser, run_guarded


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status."""
    parser = new_parser("tools.demo_generator", __doc__)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for the weight files and the model card",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of scenes, weights and batches (default: 0)"
    )
    parsed = parser.parse_args(arguments)
    return run_guarded(lambda: _run(parsed.out, parsed.seed))


def _run(folder: Path, seed: int) -> int:
    from tools.demo_generator.train import make  # torch and TerraTorch are imported here, when work starts

    make(folder, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
