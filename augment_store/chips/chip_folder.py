"""Adding finished chips to a chip set of the layout `folders`: all of a scene's, or none."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from augment_store.chips.layouts import read_split, shipped_layout
from augment_store.errors import ChipSetError
from augment_store.io.files import atomic_write
from augment_store.io.lock import StoreBusyError, file_lock
from augment_store.modalities.definitions import INPUT_MODALITIES, REFERENCE_MODALITIES

MASK: Final = "MASK"
"""Name of the reference mask among the rasters; its folder in the layout `folders`."""

KNOWN: Final = (*INPUT_MODALITIES, *REFERENCE_MODALITIES, MASK)

LOCK_SECONDS: Final = 600
"""Longest wait for another cut into the same chip set to publish its chips."""


def chip_path(root: Path, name: str, chip_id: str) -> Path:
    """Return the file of a chip's modality, or of its mask, under a root."""
    layout = shipped_layout("folders")
    pattern = layout.mask[0] if name == MASK else layout.images[name].files[0]
    return root / pattern.format(id=chip_id)


def publish_chips(draft: Path, out: Path, scene: str, splits: Mapping[str, Sequence[str]]) -> None:
    """Move finished chips to where readers look, and add them to the split files: all of it, or nothing.

    A journal says which files are on their way, so that the next cut of the scene clears what a killed one left.
    """
    journal = _journal(out, scene)
    files = [path.relative_to(draft) for path in sorted(draft.rglob("*")) if path.is_file()]
    ids = sorted({chip_id for chosen in splits.values() for chip_id in chosen})
    with _waiting_lock(out):  # scenes that are cut side by side share the split files
        plain = {"files": [str(path) for path in files], "ids": ids}
        # before the first move, so that a kill leaves a record of what is to be cleared
        atomic_write(journal, [json.dumps(plain).encode()])
        try:
            for path in files:
                target = out / path
                target.parent.mkdir(parents=True, exist_ok=True)
                # a rename within one file system, as the draft lies in `out`: no half-copied file is seen
                (draft / path).replace(target)
            # after the files, as readers refuse a split that names a chip without one
            for name, chosen in splits.items():
                _change_split(_split_path(out, name), add=chosen)
        except BaseException:
            roll_back(out, scene)
            raise
        journal.unlink()


def _journal(out: Path, scene: str) -> Path:
    return out / f".cut-{scene}.json"


def _split_path(out: Path, split: str) -> Path:
    return out / shipped_layout("folders").splits[split][0]  # type: ignore[index]


def _change_split(file: Path, *, add: Sequence[str] = (), drop: Sequence[str] = ()) -> None:
    """Add lines to a split file, each once, or take some out of it."""
    before = read_split(file) if file.is_file() else ()
    gone, there = set(drop), set(before)
    after = [chip_id for chip_id in before if chip_id not in gone]
    after += [chip_id for chip_id in add if chip_id not in there]
    if tuple(after) == before:
        return
    if after:
        atomic_write(file, ["".join(f"{chip_id}\n" for chip_id in after).encode()])
    else:
        # no file rather than an empty one, which `read_split` refuses
        file.unlink()


def roll_back(out: Path, scene: str) -> None:
    """Remove what a publication that never ended has left: chips that the journal names, and their lines in splits."""
    journal = _journal(out, scene)
    if not journal.is_file():
        return
    try:
        plain = json.loads(journal.read_bytes())
        files = [out / str(name) for name in plain["files"]]
        ids = [str(chip_id) for chip_id in plain["ids"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ChipSetError(
            f"{journal}: not a journal of cut ({error}); remove it and the scene's chips"
        ) from error
    # any id will do: wanted are the folders that files are moved into
    folders = {chip_path(out, name, "x").parent for name in KNOWN}
    for path in files:
        if path.parent in folders:  # nothing else, whatever the journal says
            path.unlink(missing_ok=True)
    for split in shipped_layout("folders").splits:
        _change_split(_split_path(out, split), drop=ids)
    # last, so that the next call makes up for a kill in between
    journal.unlink()


@contextlib.contextmanager
def _waiting_lock(path: Path) -> Iterator[None]:
    """Take the lock of a chip set, after others have released it.

    Raises:
        StoreBusyError: If they hold it for longer than `LOCK_SECONDS`.
    """
    # the lock is taken inside a loop and held beyond it
    with contextlib.ExitStack() as stack:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                stack.enter_context(file_lock(path))
                break
            except StoreBusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield
