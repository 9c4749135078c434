"""Every attack there is, with counts, in as many processes as there are cores: `python -m tests.faults`.

Exit 1 where one of them ends in anything but an error of ours, no harm, or a full recovery.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from tests.augment_store.stores import make_store
from tests.faults import attacks, interruptions, reading, scenarios, strangers
from tests.faults.tally import HEADING, Tally


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


def _run(campaign: Callable[[Path], Tally]) -> Tally:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Zarr's reads beside the one that failed
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        return campaign(Path(folder))


def main() -> int:
    """Prints a row an attack, and every failure."""
    total = Tally("all")
    sys.stdout.write(HEADING + "\n")
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for done in as_completed([pool.submit(_run, campaign) for campaign in campaigns()]):
            tally = done.result()
            sys.stdout.writelines(f"{line}\n" for line in (tally, *tally.failures))
            sys.stdout.flush()
            total.counts.update(tally.counts)
    sys.stdout.write(f"{total}\n")
    return int(total.counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
