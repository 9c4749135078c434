"""Ways to damage a finished store or a record, and what becomes of each: refused, harmless, or believed.

Each damaged store is verified and, whatever `verify_store` says, read. A change is *refused* where `verify_store` names
it and no
reader gets a value that it did not get before, *harmless* where every chip still reads as it was, and a failure
otherwise.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from augment_store.errors import AugmentStoreError
from augment_store.integrity.verify import verify_store
from augment_store.store.chip_index import read_entry
from augment_store.store.writer import AugmentStore
from tests.faults.tally import Tally

COLUMNS = ("input_digest", "timestep_source", "series_index", "state")

Attack = tuple[str, Callable[[], Any]]
"""What it does, and doing it; the files are put back after."""


def contents(path: Path, expected: Iterable[tuple[str, str]] | None = None) -> dict[tuple[str, str], Any]:
    """What readers get of a store: by chip and array what is read without an error of ours.

    Args:
        path: Folder of the store.
        expected: Chips and arrays to read; by default those that the store says there are.
    """
    store = AugmentStore.open(path)
    names = (*store.map_names, *COLUMNS, "entry")
    wanted = itertools.product(store.chip_ids, names) if expected is None else expected
    found = {}
    for chip_id, name in wanted:
        with contextlib.suppress(AugmentStoreError):
            entry = name == "entry"
            found[chip_id, name] = repr(
                read_entry(store, chip_id) if entry else store.read(chip_id, name).tolist()
            )
    return found


def xarray_reads(path: Path) -> dict[str, Any]:
    """What xarray makes of the group, which looks at the consolidated metadata first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with xarray.open_zarr(path) as opened:
            return {name: np.asarray(opened[name]).tolist() for name in ("lulc", "confidence")}


def outcome(path: Path, known: dict[Any, Any], seen: dict[str, Any]) -> str:
    """``refused``, ``harmless``, or what went wrong."""
    try:
        named = any(True for _ in verify_store(AugmentStore.open(path, lost_ids=True)))
    except AugmentStoreError:
        named = True
    except Exception as error:  # noqa: BLE001 - any other is the failure looked for
        return f"verify raised {type(error).__name__}: {error}"[:120]
    try:
        read = contents(path, known)
    except AugmentStoreError:
        return "refused" if named else "readers refuse what verify calls sound"
    except Exception as error:  # noqa: BLE001
        return f"a reader raised {type(error).__name__}: {error}"[:120]
    changed = [key for key, value in read.items() if value != known[key]]
    if changed:
        return f"a reader believed {changed[0]}"
    if named:
        return "refused"
    try:
        same = read == known and repr(xarray_reads(path)) == repr(seen)
    except Exception as error:  # noqa: BLE001
        return f"believed, but xarray raised {type(error).__name__}"
    return "harmless" if same else "believed"


def run(name: str, path: Path, attacks: Iterator[tuple[Path, Attack]], every: int = 1) -> Tally:
    """Outcomes of each `every`-th attack on a sound store, whose files are put back after each."""
    known, seen, tally = contents(path), xarray_reads(path), Tally(name)
    for file, (what, attack) in itertools.islice(attacks, 0, None, every):
        before = file.read_bytes()
        attack()
        tally.add(f"{file.relative_to(path)}: {what}", outcome(path, known, seen))
        if file.exists() and not file.is_file():
            shutil.rmtree(file)
        file.write_bytes(before)
    return tally


def objects(path: Path) -> list[Path]:
    """Chunks and shards of a store."""
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != "zarr.json")


def bit_flips(path: Path, seed: int, each: int) -> Iterator[tuple[Path, Attack]]:
    """So many flipped bits in every object, one at a time."""
    rng = np.random.default_rng(seed)
    for file in objects(path):
        for bit in rng.integers(0, 8 * file.stat().st_size, each).tolist():
            yield file, (f"bit {bit} flipped", lambda file=file, bit=bit: _flip(file, bit))


def truncations(path: Path, seed: int, each: int) -> Iterator[tuple[Path, Attack]]:
    """Every object cut off at so many places, one at a time."""
    rng = np.random.default_rng(seed)
    for file in objects(path):
        for size in rng.integers(0, file.stat().st_size, each).tolist():
            yield (
                file,
                (f"cut at {size}", lambda file=file, size=size: file.write_bytes(file.read_bytes()[:size])),
            )


def replacements(path: Path) -> Iterator[tuple[Path, Attack]]:
    """Every object by another of its array, and every object deleted."""
    for file in objects(path):
        array = file.relative_to(path).parts[0]
        for other in objects(path):
            if other != file and other.relative_to(path).parts[0] == array:
                content = other.read_bytes()
                yield (
                    file,
                    (
                        f"is {other.relative_to(path)}",
                        lambda file=file, content=content: file.write_bytes(content),
                    ),
                )
        yield file, ("deleted", file.unlink)


def json_changes(path: Path) -> Iterator[tuple[Path, Attack]]:
    """Every value of every zarr.json removed, or of another type or value."""
    for file in sorted(path.rglob("zarr.json")):
        plain = json.loads(file.read_text())
        for keys in list(leaves(plain)):
            for what, change in MUTATIONS.items():
                yield (
                    file,
                    (
                        f"{'.'.join(map(str, keys))} {what}",
                        lambda file=file, keys=keys, change=change: _mutate(file, keys, change),
                    ),
                )


MUTATIONS: dict[str, Callable[[Any], Any]] = {
    "removed": lambda _: _,
    "null": lambda _: None,
    "text": lambda _: "x",
    "number": lambda value: value + 1 if isinstance(value, int | float) else 7,
    "huge": lambda _: 10**18,
    "list": lambda value: [value],
}


def mutate(plain: Any, keys: tuple[Any, ...], what: str) -> None:
    """Changes one value of nested plain values in place."""
    for key in keys[:-1]:
        plain = plain[key]
    if what == "removed":
        del plain[keys[-1]]
    else:
        plain[keys[-1]] = MUTATIONS[what](plain[keys[-1]])


def _mutate(file: Path, keys: tuple[Any, ...], change: Callable[[Any], Any]) -> None:
    plain = json.loads(file.read_text())
    what = next(name for name, found in MUTATIONS.items() if found is change)
    mutate(plain, keys, what)
    file.write_text(json.dumps(plain))


def leaves(plain: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Keys of every value, nested ones too."""
    parts = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in parts:
        yield (*keys, key)
        yield from leaves(value, (*keys, key))


def _flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(bytes(content))
