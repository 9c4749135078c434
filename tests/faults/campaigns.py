"""All that is tried: which attacks, on what, how often."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults import attacks, interruptions, reading, scenarios, strangers
from tests.faults.tally import Tally
from tests.worlds import make_store


def damage(kind: str, folder: Path) -> Tally:
    """One kind of damage to a finished store."""
    size, chips = (16, 4) if kind == "JSON changed" else (32, 6)
    path = make_store(folder / "store", chips=chips, size=size, timesteps=2, shard_chips=2).path
    made = {
        "bits flipped": lambda: attacks.bit_flips(path, seed=0, each=16),
        "objects cut short": lambda: attacks.truncations(path, seed=0, each=5),
        "objects swapped or deleted": lambda: attacks.replacements(path),
        "JSON changed": lambda: attacks.json_changes(path),
    }
    every = 5 if kind == "JSON changed" else 1  # each value, and of six ways to change it the next in turn
    return attacks.run(f"store: {kind}", path, made[kind](), every)


def campaigns() -> list[Callable[[Path], Tally]]:
    """What is tried, the longest first."""
    writings = (*range(len(scenarios.ALL)),)
    return [
        *(partial(_interrupt, interruptions.errors, place) for place in writings),
        *(partial(_interrupt, interruptions.kills, place) for place in writings),
        *(partial(damage, kind) for kind in DAMAGES),
        *(partial(reading.errors, place) for place in range(len(reading.COMMANDS))),
        *(partial(_stranger, place) for place in range(len(strangers.READERS))),
    ]


DAMAGES = ("JSON changed", "bits flipped", "objects cut short", "objects swapped or deleted")


def _interrupt(how: Callable[..., Tally], place: int, folder: Path) -> Tally:
    every = 3 if how is interruptions.errors and scenarios.ALL[place] in scenarios.STORES else 1
    return how(scenarios.ALL[place], folder, every)


def _stranger(place: int, folder: Path) -> Tally:
    return strangers.attack(strangers.READERS[place], folder, each=150)


def carry_out(campaign: Callable[[Path], Tally]) -> Tally:
    """One campaign in a folder of its own."""
    # Each worker's own server, from which a process to kill starts in milliseconds; without, it imports torch first.
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Zarr's reads beside the one that failed
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        return campaign(Path(folder))
