"""The folder of a published store, made whole or not at all."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import StoreError
from augment_store.inspect.footprints import write_footprints
from augment_store.inspect.store_inspector import StoreInspector
from augment_store.integrity.verify import verify_store
from augment_store.io.files import atomic_folder, check_outside, write_json
from augment_store.modalities.legend_table import LegendTable
from augment_store.publish.attribution import PublicationInfo
from augment_store.publish.dataset_card import write_dataset_card
from augment_store.publish.facts import StoreFacts, read_facts
from augment_store.publish.stac import COLLECTION, FOOTPRINTS, collection_json
from augment_store.store.history import without_local_paths
from augment_store.store.writer import AugmentStore
from augment_store.utils.progress import ProgressReporter, track

_ARRAY_FILE: Final = re.compile(r"zarr\.json|c(/\d+)+")
"""Files of a Zarr array, relative to its folder: metadata and chunks (or shards)."""


def publish_store(
    store: AugmentStore,
    out: Path,
    publication: PublicationInfo,
    *,
    chips: ChipSet | None = None,
    table: LegendTable | None = None,
    repo: str | None = None,
    quiet: bool = True,
) -> StoreFacts:
    """Write a sound store with its STAC collection, dataset card and a table of its chips.

    Args:
        store: The store.
        out: Folder to make.
        publication: Name, license and credits.
        chips: The chips it was generated from, for the agreement with their references.
        table: Legend table to the masks' classes; None to compare with no masks.
        repo: Hugging Face repository it goes to.
        quiet: Report no progress.

    Returns:
        The facts it was described by.

    Raises:
        StoreError: If the store is not complete and sound.
        AugmentStoreError: If a reference or a coordinate reference system cannot be used.
        OutputError: If the folder is taken, lies within the store, or cannot be written.
    """
    check_outside(out, store.path)
    with atomic_folder(out) as draft:
        # within the draft's block, which refuses a taken folder before this long check begins
        check_sound(store, chips, quiet=quiet)
        inspector = StoreInspector(store, chips, table)
        # by position: a sound store has an id and maps for each
        chips_measured = inspector.measure(range(len(store)))
        measured = list(track(chips_measured, "measuring", len(store), quiet=quiet))
        date = datetime.now(UTC).date().isoformat()
        facts = read_facts(inspector, measured, publication, repo=repo, date=date)
        _copy_store_files(store, draft / facts.folder)
        write_footprints(draft / FOOTPRINTS, inspector, measured)
        write_json(draft / COLLECTION, collection_json(facts))
        (draft / "README.md").write_text(write_dataset_card(facts), encoding="utf-8")
    return facts


def check_sound(store: AugmentStore, chips: ChipSet | None, *, quiet: bool = True) -> None:
    """Make sure that `verify_store` finds nothing wrong with a store.

    Raises:
        StoreError: Naming the first problem, and how many there are.
    """
    work = len(store) * (1 if chips is None else 2)
    with ProgressReporter("verifying", work, quiet=quiet) as progress:
        problems = verify_store(store, chips, on_checked=progress.advance)
        # 1,000 are enough to report: a million chips may be pending
        found = list(itertools.islice(map(str, problems), 1000))
    if found:
        count = (
            f"{len(found)}{' or more' if len(found) == 1000 else ''} problem{'s' if len(found) > 1 else ''}"
        )
        raise StoreError(
            f"{store.path}: not published, {count}; the first: {found[0]}. tim-store verify {store.path} "
            "lists them"
        )


def _copy_store_files(store: AugmentStore, folder: Path) -> None:
    """Copy the files that make up a store, without paths of this machine in its history.

    Leftovers of killed writes and anything else in its folder stay behind: it may be private.
    """
    source = store.path.resolve()
    for file in _own_files(source, [schema.name for schema in store.schemas()]):
        target = folder / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        # contents alone: permissions and times are this machine's affair
        shutil.copyfile(file, target)
    # in the copy only; the store itself keeps its history whole
    AugmentStore.open(folder, mode="r+").write_history(without_local_paths(store.history))


def _own_files(source: Path, arrays: Iterable[str]) -> Iterator[Path]:
    """Yield the metadata of the group and of its arrays, and the arrays' chunks.

    Raises:
        StoreError: If one of them, or a folder they are in, is a link or no regular file: what it leads to was not
            written by the store.
    """
    yield _regular(source / "zarr.json")
    for name in arrays:
        for parent, folders, files in os.walk(_not_linked(source / name)):
            # os.walk lists links to folders but does not enter them, so a copy would lack their files
            for entry in folders:
                _not_linked(Path(parent) / entry)
            for entry in files:
                file = Path(parent) / entry
                if _ARRAY_FILE.fullmatch(file.relative_to(source / name).as_posix()):
                    yield _regular(file)


def _regular(path: Path) -> Path:
    if not _not_linked(path).is_file():
        raise StoreError(f"{path}: not a regular file, so not a store's own; it is not published")
    return path


def _not_linked(path: Path) -> Path:
    if path.is_symlink():
        raise StoreError(
            f"{path}: a link, and only files of the store itself are published; put the file in its place"
        )
    return path
