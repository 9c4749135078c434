"""All that is tried: which attacks, on what, how often."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults import attacks, interruptions, reading, scenarios, strangers
from tests.faults.command_attacks import attack_command
from tests.faults.commands import COMMANDS
from tests.faults.tally import Tally
from tests.worlds import make_store


@dataclass(frozen=True)
class Campaign:
    """Attacks of one kind on one thing.

    Attributes:
        name: By which it is chosen.
        attack: Makes so large a share of the attacks, in an empty folder.
    """

    name: str
    attack: Callable[[Path, float], list[Tally]]


def campaigns(world: Path | None = None) -> list[Campaign]:
    """Return what is tried, the longest first.

    Args:
        world: What commands read, by `make_command_world`; without, no commands are attacked.
    """
    writings = (*enumerate(scenarios.ALL),)
    commands = [] if world is None else [*enumerate(COMMANDS)][::-1]
    return [
        *(Campaign(f"command: {each.name}", partial(_command, place, world)) for place, each in commands),
        *(
            Campaign(f"disk error: {each.name}", partial(_interrupt, "errors", place))
            for place, each in writings
        ),
        *(Campaign(f"kill: {each.name}", partial(_interrupt, "kills", place)) for place, each in writings),
        *(Campaign(f"store: {kind}", partial(damage, kind)) for kind in DAMAGES),
        *(
            Campaign(f"unreadable: {each[0]}", partial(_read, place))
            for place, each in enumerate(reading.COMMANDS)
        ),
        *(
            Campaign(f"file: {each.name}", partial(_stranger, place))
            for place, each in enumerate(strangers.READERS)
        ),
    ]


DAMAGES = ("JSON changed", "bits flipped", "objects cut short", "objects swapped or deleted")


def damage(kind: str, folder: Path, share: float) -> list[Tally]:
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
    return [attacks.run(f"store: {kind}", path, made[kind](), _rarer(every, share))]


def _rarer(every: int, share: float) -> int:
    """Return at every how many something is tried where only a share is; odd, so that it is in step with nothing."""
    return every if share >= 1 else round(every / share) | 1


def _command(place: int, world: Path, folder: Path, share: float) -> list[Tally]:
    return attack_command(COMMANDS[place], world, folder, share)


def _interrupt(how: str, place: int, folder: Path, share: float) -> list[Tally]:
    every = 3 if how == "errors" and scenarios.ALL[place] in scenarios.STORES else 1
    return [getattr(interruptions, how)(scenarios.ALL[place], folder, _rarer(every, share))]


def _read(place: int, folder: Path, share: float) -> list[Tally]:
    return [reading.errors(place, folder, _rarer(1, share))]


def _stranger(place: int, folder: Path, share: float) -> list[Tally]:
    each = max(1, round(150 * share))
    return [strangers.attack(strangers.READERS[place], folder, each, _rarer(1, share))]


def carry_out(campaign: Campaign, share: float) -> list[Tally]:
    """Carry out a campaign in a folder of its own."""
    # Each worker's own server, from which a process to kill starts in milliseconds; without, it imports torch first.
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Zarr's reads beside the one that failed
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        return campaign.attack(Path(folder), share)
