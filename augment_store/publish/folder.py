"""The folder of a published store, made whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from datetime import UTC, datetime
from pathlib import Path

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import PublishError
from augment_store.inspect.store_inspector import StoreInspector
from augment_store.integrity.verify import verify_store
from augment_store.io.files import atomic_folder, check_outside, write_json
from augment_store.modalities.legend_table import LegendTable
from augment_store.publish.attribution import PublicationInfo
from augment_store.publish.croissant import CROISSANT, croissant_json
from augment_store.publish.dataset_card import write_card
from augment_store.publish.facts import StoreFacts, read_facts
from augment_store.publish.stac import COLLECTION, collection_json
from augment_store.store.history import without_places
from augment_store.store.writer import AugmentStore


def publish(
    store: AugmentStore,
    out: Path,
    imprint: PublicationInfo,
    *,
    chips: ChipSet | None = None,
    table: LegendTable | None = None,
    repo: str | None = None,
) -> StoreFacts:
    """Writes a sound store with its STAC collection, dataset card and Croissant description.

    Args:
        store: The store.
        out: Folder to make.
        imprint: Name, licence and credits.
        chips: The chips it was generated from, for the agreement with their references.
        table: Legend table to the masks' classes; the shipped one by default.
        repo: Hugging Face repository it goes to.

    Returns:
        The facts it was described by.

    Raises:
        PublishError: If the store is not complete and sound.
        AugmentStoreError: If a reference or a coordinate reference system cannot be used.
        OutputError: If the folder is taken, lies within the store, or cannot be written.
    """
    check_outside(out, store.path)
    with atomic_folder(out) as draft:
        check_sound(store, chips)
        survey = StoreInspector(store, chips, table or LegendTable.load(None))
        facts = read_facts(survey, imprint, repo=repo, date=datetime.now(UTC).date().isoformat())
        _copy(store, draft / facts.folder)
        write_json(draft / COLLECTION, collection_json(facts))
        digest = hashlib.sha256((draft / COLLECTION).read_bytes()).hexdigest()
        write_json(draft / CROISSANT, croissant_json(facts, digest))
        (draft / "README.md").write_text(write_card(facts), encoding="utf-8")
    return facts


def check_sound(store: AugmentStore, chips: ChipSet | None) -> None:
    """Makes sure that `verify_store` finds nothing wrong with a store.

    Raises:
        PublishError: Naming the first problem, and how many there are.
    """
    # 1,000 are enough to report: a million chips may be pending
    found = list(itertools.islice(map(str, verify_store(store, chips)), 1000))
    if found:
        count = (
            f"{len(found)}{' or more' if len(found) == 1000 else ''} problem{'s' if len(found) > 1 else ''}"
        )
        raise PublishError(
            f"{store.path}: not published, {count}; the first: {found[0]}. python -m augment_store verify {store.path} "
            "lists them"
        )


def _copy(store: AugmentStore, folder: Path) -> None:
    """Copies a store, without leftovers of killed writes and without places of this machine in its history."""
    shutil.copytree(store.path, folder, ignore=shutil.ignore_patterns("*.partial"))
    AugmentStore.open(folder, mode="r+").write_history(without_places(store.history))
