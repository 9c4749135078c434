"""`python -m demo.world`: writes chips of the procedural world, split by scene."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
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
    counts = {split: getattr(parsed, split) for split in ("train", "val", "test")}
    return run_guarded(lambda: _run(parsed, counts))


def _run(parsed: argparse.Namespace, counts: Mapping[str, int]) -> int:
    written = write_world(parsed.chips, **counts, timesteps=parsed.timesteps, seed=parsed.seed)
    told = ", ".join(f"{len(ids)} {split}" for split, ids in written.items())
    Console(stderr=True).print(f"{parsed.chips}: chips of the procedural world: {told}", soft_wrap=True)
    return 0


def write_world(
    chips: str | Path, *, train: int = 12, val: int = 3, test: int = 12, timesteps: int = 2, seed: int = 0
) -> Mapping[str, Sequence[str]]:
    """Write chips of the procedural world, as `python -m demo.world` does.

    Args:
        chips: Folder to make.
        train: Scenes of four chips each in the training split.
        val: Those of the validation split.
        test: Those of the test split.
        timesteps: Acquisitions over the year.
        seed: Seed of the world.

    Returns:
        Ids of the chips by split.

    Raises:
        OutputError: If the folder is there and not empty, or cannot be written.
    """
    # `--help` and a wrong option need not wait for zarr and rasterio
    from demo.world.chips import write_chips
    from demo.world.scenes import FINETUNE_SCENES, draw_scene

    folder = Path(chips)
    check_free(folder)
    # one iterator for all splits, so that no scene is in two of them
    numbers = iter(FINETUNE_SCENES)
    splits = {
        split: [draw_scene(next(numbers), seed=seed, timesteps=timesteps) for _ in range(count)]
        for split, count in (("train", train), ("val", val), ("test", test))
    }
    return write_chips(folder, splits)
