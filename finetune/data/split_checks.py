"""Checking every chip of a split before anything is trained on it, and its digest for the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lightning_utilities.core.rank_zero import rank_zero_only  # Lightning's own, without torch

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import root_above
from augment_store.chips.shared_ground import Pair, find_copies, find_shared, is_comparable
from augment_store.errors import ChipDataError, ChipSetError
from augment_store.io.remote import RemotePath
from augment_store.modalities.definitions import IGNORED_LABEL
from augment_store.utils.text import format_size, join_first, pluralize
from finetune.augment.map_cache import MapCache
from finetune.data.place_cache import read_places
from finetune.data.survey_cache import CachedSurvey, SurveyedChip, digest_of_chips
from finetune.log_filters import notify

INPUT_MODALITIES_BY_DEFAULT: Final = ("S2L2A", "S1RTC", "DEM")
"""Default of the datamodule and of the backbone."""


@dataclass(frozen=True)
class SplitRequirements:
    """Requirements that every chip must satisfy.

    Attributes:
        modalities: Modalities that are read.
        timesteps: Timesteps asked for.
        classes: Number of classes, so that labels are 0 to classes − 1, or −1; None if unknown.
        masks: Whether a mask is needed.
    """

    modalities: Sequence[str]
    timesteps: Sequence[int]
    classes: int | None
    masks: bool = True


@dataclass(frozen=True)
class SplitDigest:
    """Digests and size of the chips of a split.

    Attributes:
        inputs: SHA-256 over chip ids and raw inputs, in hexadecimal.
        masks: SHA-256 over chip ids and masks, in hexadecimal; empty if none was read.
        shape: Height and width of the chips in pixels.
        by_input: Chip of each input digest; without chips whose input has one value, such as empty ones.
        by_chip: Input digest of each chip.
        labels: Labels that its masks hold, without the ignored one.
    """

    inputs: str
    masks: str
    shape: tuple[int, int]
    by_input: Mapping[bytes, str] = field(default_factory=dict)
    by_chip: Mapping[str, bytes] = field(default_factory=dict)
    labels: frozenset[int] = frozenset()


def open_chips(root: Path, layout: str | None) -> ChipSet:
    """Open the chip set of a YAML's ``data_root``.

    Args:
        root: Its root, or its ``data`` folder if no layout is named.
        layout: A layout that ships, or a YAML file; None to detect it.

    Raises:
        ChipSetError: If there is none, or the layout is unknown.
    """
    # ImpactMesh's own datamodule takes the folder `data`; a named layout says itself where its files are
    above = root_above(root) if layout is None else None
    return ChipSet.open(above or root, layout)


def check_named_inputs(
    chips: ChipSet, modalities: Sequence[str], timesteps: Sequence[int], origin: Path
) -> None:
    """Make sure, by the names of the files and by one chip, that a chip set has the inputs that a YAML names.

    Args:
        chips: The chip set.
        modalities: Modalities that are read.
        timesteps: Timesteps asked for; none for all.
        origin: The YAML, for messages.

    Raises:
        ChipSetError: If it has no such modality, or no such timestep.
        ChipDataError: If the chip cannot be read.
    """
    if isinstance(chips.root, RemotePath):  # a bucket is asked once, when its chips are read
        return
    having = {name: chips.ids_of(name) for name in modalities}
    for name, ids in having.items():
        if not ids:
            there = ", ".join(other for other in chips.modalities if chips.ids_of(other))
            raise ChipSetError(
                f"{origin}: data.init_args.modalities: {chips.root} has no {name} (layout {chips.layout.name!r}); it "
                f"has {there}; name those, here and under backbone_modalities"
            )
    # of a chip that is trained on, as others may be damaged or shorter without harm
    whole = frozenset.intersection(*having.values(), frozenset(chips.splits.get("train", ())))
    if timesteps and whole:
        chip_id = min(whole)
        _check_timesteps(chip_id, chips.read(chip_id, modalities).timesteps, timesteps)


def survey_chips(
    chips: ChipSet,
    ids: Iterable[str],
    rules: SplitRequirements,
    store: MapCache | None,
    folder: Path | None = None,
) -> SplitDigest:
    """Check sizes, timesteps and labels of every chip, and the digests of a store if there is one.

    Args:
        chips: The chip set.
        ids: Chips of the split.
        rules: What each must satisfy.
        store: Maps that are joined; None without.
        folder: Where what is read of chips is kept; see `CachedSurvey`.

    Raises:
        AugmentStoreError: Naming the first chip that cannot be used, and why; see `MapCache.check` for
            chips that do not belong to the store.
    """
    found: dict[str, SurveyedChip] = {}
    # the store may be generated from other modalities than the ones that are read here
    survey = CachedSurvey(chips, rules.modalities, store.inputs if store else (), rules.masks, folder)
    for chip_id, chip in survey.read(ids):
        found[chip_id] = chip
        _check_timesteps(chip_id, chip.shape.timesteps, rules.timesteps)
        if store is not None:
            store.note(chip_id, chip.generator_shape, chip.generator_digests())
        if rules.masks:
            _check_mask(chip_id, chip, rules.classes)
    # after all chips, so that one message names all that do not belong to the store
    if store is not None:
        store.check(chips)
    shapes = {chip_id: chip.shape.shape for chip_id, chip in found.items()}
    _check_shapes(shapes)
    by_chip = {chip_id: bytes.fromhex(chip.inputs) for chip_id, chip in found.items()}
    return SplitDigest(
        digest_of_chips(by_chip),
        digest_of_chips({chip_id: bytes.fromhex(chip.mask) for chip_id, chip in found.items()})
        if rules.masks
        else "",
        next(iter(shapes.values())),
        {by_chip[chip_id]: chip_id for chip_id, chip in found.items() if chip.informative},
        by_chip,
        frozenset(label for chip in found.values() for label in chip.labels) - {IGNORED_LABEL},
    )


def check_labels(chips: ChipSet, split: str, survey: SplitDigest, names: Sequence[str]) -> None:
    """Make sure that a split with masks holds a label, and note classes that a training cannot learn.

    Args:
        chips: The chip set.
        split: The split, read whole.
        survey: Its digest.
        names: Names of the classes, by label; empty if unknown.

    Raises:
        ChipDataError: If its masks hold none.
    """
    if not survey.masks:
        return
    if not survey.labels:
        raise ChipDataError(
            f"{chips.root}: no mask of the {pluralize(len(survey.by_chip), 'chip')} of the {split} split holds a "
            f"label, only {IGNORED_LABEL} (ignored), such as that of {next(iter(survey.by_chip))}; correct the masks, "
            "the split, or ignored_labels and labels of the layout"
        )
    unseen = [f"{name} ({label})" for label, name in enumerate(names) if label not in survey.labels]
    if unseen and split == "train":
        rank_zero_only(notify)(
            f"no mask of the train split holds a label of {join_first(unseen, 5)}, which the network then cannot learn"
        )


def _check_timesteps(chip_id: str, there: int, timesteps: Sequence[int]) -> None:
    if max(timesteps) >= there:
        raise ChipDataError(
            f"chip {chip_id}: timesteps {list(timesteps)} asked for; it has {there}, counted from 0"
        )


def _check_mask(chip_id: str, chip: SurveyedChip, classes: int | None) -> None:
    """Make sure that a mask has the size of its chip, and labels of the classes alone."""
    if chip.mask_shape != chip.shape.shape:
        raise ChipDataError(
            f"chip {chip_id}: mask of {format_size(chip.mask_shape)}; the images have {format_size(chip.shape.shape)}"
        )
    strange = [
        label
        for label in chip.labels
        if label != IGNORED_LABEL and (label < 0 or (classes is not None and label >= classes))
    ]
    if strange:
        expected = "0 or more" if classes is None else f"0 to {classes - 1}"
        raise ChipDataError(
            f"chip {chip_id}: mask holds label {strange[0]}; expected {expected}, or {IGNORED_LABEL} (ignored). Labels "
            "count from 0; other codes go into labels, and one that marks pixels to ignore into ignored_labels of a "
            "layout file (--layout)"
        )


def find_shared_chips(
    chips: ChipSet,
    splits: Mapping[str, Sequence[str]],
    surveys: Mapping[str, SplitDigest],
    folder: Path | None = None,
) -> tuple[Pair, ...]:
    """Find chips of two splits that show the same ground, or hold the same input under two ids.

    Args:
        chips: The chip set.
        splits: Chip ids by split, those that are not read yet among them.
        surveys: Digests of the splits that are read.
        folder: Where places that are read of chips are kept; see `read_places`.
    """
    copies = find_copies({split: survey.by_input for split, survey in surveys.items()})
    if not is_comparable(chips):
        rank_zero_only(notify)(
            f"{chips.root}: at a URL, so whether chips of two splits show the same ground is not looked at"
        )
        return tuple(copies)
    shape = next(iter(surveys.values())).shape
    shared = find_shared(chips, splits, shape, lambda ids: read_places(chips, ids, folder))
    return tuple(sorted({*copies, *shared}))


def check_shared_chips(shared: Sequence[Pair], *, allowed: bool) -> None:
    """Make sure that no ground and no input is in two splits, unless that is allowed.

    Raises:
        ChipSetError: Naming the chips.
    """
    if shared and not allowed:
        named = join_first([f"{one} and {other}" for one, other in shared], 5)
        raise ChipSetError(
            f"{pluralize(len(shared), 'pair')} of chips of two splits with the same ground or input ({named}), so that "
            "validation or test sees what was trained on; put each place in one split, or record them with "
            "--allow-scene-overlap"
        )


def _check_shapes(shapes: dict[str, tuple[int, int]]) -> None:
    """Make sure that all chips have one size, as a batch needs."""
    if len(set(shapes.values())) > 1:
        smallest, largest = min(shapes, key=lambda c: shapes[c]), max(shapes, key=lambda c: shapes[c])
        raise ChipDataError(
            f"chips differ in size: {smallest} has {format_size(shapes[smallest])}, {largest} "
            f"{format_size(shapes[largest])}; "
            "train on chips of one size"
        )
