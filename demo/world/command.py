"""`python -m demo.world`: writes chips of the procedural world, split by scene."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from augment_store.cli.parser import new_parser, run_guarded
from augment_store.io.files import check_free


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit status."""
    parser = new_parser("demo.world", __doc__)
    parser.add_argument("--chips", type=Path, required=True, metavar="DIR", help="folder to make")
    for split, scenes in (("train", 12), ("val", 3), ("test", 12)):
        help_ = f"scenes of four chips each (default: {scenes})"
        parser.add_argument(f"--{split}", type=int, default=scenes, metavar="N", help=help_)
    parser.add_argument("--timesteps", type=int, default=2, help="acquisitions over the year (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world (default: 0)")
    parsed = parser.parse_args(arguments)
    return run_guarded(lambda: _write_world(parsed))


def _write_world(parsed: argparse.Namespace) -> int:
    # after parsing: `--help` and a wrong option need not wait for zarr and rasterio
    from demo.world.chips import write_chips
    from demo.world.scenes import FINETUNE_SCENES, draw_scene

    check_free(parsed.chips)
    # one iterator for all splits, so that no scene is in two of them
    numbers = iter(FINETUNE_SCENES)
    splits = {
        split: [
            draw_scene(next(numbers), seed=parsed.seed, timesteps=parsed.timesteps)
            for _ in range(getattr(parsed, split))
        ]
        for split in ("train", "val", "test")
    }
    written = write_chips(parsed.chips, splits)
    counts = ", ".join(f"{len(ids)} {split}" for split, ids in written.items())
    Console(stderr=True).print(f"{parsed.chips}: chips of the procedural world: {counts}", soft_wrap=True)
    return 0
