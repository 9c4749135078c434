"""Input audit: are the chips in the units, order and range that TerraMind was pretrained on?

A sample of chips is compared per band with the pretraining statistics and the physical range. A finding of
level ``stop`` keeps a run from starting; one of level ``note`` is only shown. Each rule says what it found,
what was expected and the remedy; thresholds are chosen so that single odd chips do not stop a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.chip import Chip
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layout_check import grid_problems
from augment_store.chips.units import Units
from augment_store.errors import AugmentStoreError, ChipSetError, RemotePathError
from augment_store.modalities.definitions import INPUT_MODALITIES, Modality
from augment_store.store.schema import ChipShape
from augment_store.utils.sampling import spread_evenly
from augment_store.utils.text import join_first
from generate.audit.findings import BandStatistics, Finding, Pixels, band_statistics
from generate.audit.rules import DECLARED, IMAGE_RULES, RULES
from generate.data.preprocessing import to_native

SAMPLE_CHIPS: Final = 32
"""Chips that are read, evenly spread over the sorted ids: 32 NYC chips take about 1 s to read."""

COUNTED: Final = frozenset({"common_value", "void", "impossible"})
"""Rules whose notes say how many images they are about."""

SOME_CHIPS: Final = (
    "Options and layouts hold for all chips: mend these, or give them as a chip set of their own"
)

PIXEL_STRIDE: Final = 4
"""Every fourth pixel in each direction counts, in every timestep."""


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        chips: Ids of the chips that were read.
        unreadable: Chips that could not be read, with the reason.
        bands: Statistics per band.
        findings: What was noticed, ``stop`` first.
        extent: Timesteps and size that most of the chips share; others will be reported as failed.
    """

    chips: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    bands: tuple[BandStatistics, ...]
    findings: tuple[Finding, ...]
    extent: ChipShape

    @property
    def stops(self) -> tuple[Finding, ...]:
        """Return the findings that stop a run."""
        return tuple(finding for finding in self.findings if finding.level == "stop")

    def raise_stops(self, remedy: str) -> None:
        """Raise the first finding that stops a run, if there is one.

        Args:
            remedy: What the user can do, as the end of the message.

        Raises:
            ChipSetError: Naming that finding, and how many more there are.
        """
        if self.stops:
            first, *others = self.stops
            more = f" (and {len(others)} more)" if others else ""
            raise ChipSetError(f"input audit: {first.modality}: {first.message}{more}. {remedy}")

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as plain JSON values; statistics that an empty band lacks are null."""
        plain = asdict(self)
        plain["bands"] = [
            # only NaN differs from itself, and JSON has none
            {key: None if value != value else value for key, value in band.items()}
            for band in plain["bands"]
        ]
        return plain


def audit_chips(chip_set: ChipSet, modalities: Sequence[str], units: Units) -> Audit:
    """Audit a sample of a chip set.

    Args:
        chip_set: Chips to look at.
        modalities: Input modalities.
        units: Units the values on disk are said to be in; the audit looks at the converted values.

    Raises:
        ChipSetError: If a modality is missing from the chip set, or none of the sampled chips can be read.
    """
    _check_present(chip_set, modalities)
    chips, unreadable = _read_sample(chip_set, spread_evenly(chip_set.ids, SAMPLE_CHIPS), modalities)
    if not chips:
        chip_id, reason = unreadable[0]
        raise ChipSetError(
            f"none of {len(unreadable)} sampled chips can be read; the first, {chip_id}: {reason}"
        )
    bands: list[BandStatistics] = []
    findings = _declared(chips)
    for problem in grid_problems(chip_set, [chip.chip_id for chip in chips], chips[0].shape):
        findings.append(Finding("stop", "grid", "chips", problem))
    for name in modalities:
        modality = INPUT_MODALITIES[name]
        pixels = _pool([chip.rasters[name] for chip in chips], modality, units)
        bands += band_statistics(modality, pixels)
        found = [finding for rule in RULES if (finding := rule(modality, pixels, units)) is not None]
        images = [chip.chip_id for chip in chips for _ in chip.rasters[name]]
        findings += [
            *found,
            *_odd_images(modality, pixels, units, images, found),
        ]
    # a stable sort: within a level the order of the rules stays
    findings.sort(key=lambda finding: finding.level != "stop")
    return Audit(
        tuple(chip.chip_id for chip in chips),
        tuple(unreadable),
        tuple(bands),
        tuple(findings),
        _most_common_extent(chips),
    )


def _odd_images(
    modality: Modality, pixels: Pixels, units: Units, chip_ids: Sequence[str], told: Sequence[Finding]
) -> Iterator[Finding]:
    """Yield a note for each rule that some images break, though all of them together do not.

    Args:
        modality: What the images are.
        pixels: ``[images, C, pixels]``.
        units: As `audit_chips` takes it.
        chip_ids: Chip of each image.
        told: What was noticed of all images together.
    """
    # other notes, as of snow, would hide the faults of single images
    known = {finding.rule for finding in told if finding.level == "stop" or finding.rule in COUNTED}
    # "impossible" is the note of the same rule
    known |= {"range"} if "impossible" in known else set()
    found: dict[str, list[int]] = {}
    first: dict[str, str] = {}
    for index in range(len(pixels)):
        for rule in IMAGE_RULES:
            finding = rule(modality, pixels[index : index + 1], units)
            if finding is not None and finding.rule not in known:
                found.setdefault(finding.rule, []).append(index)
                first.setdefault(finding.rule, finding.message)
    for name, images in found.items():
        chips = list(dict.fromkeys(chip_ids[index] for index in images))
        where = f"in {len(images)} of {len(pixels)} images ({join_first(chips)})"
        yield Finding("note", name, modality.name, f"{where}: {first[name]}. {SOME_CHIPS}")


def _declared(chips: Sequence[Chip]) -> list[Finding]:
    """Return a note for everything that files declare about their values and that was applied."""
    counts = Counter(
        # once for each chip, however many of its files say the same
        (name, note)
        for chip in chips
        for name, notes in chip.notes.items()
        for note in dict.fromkeys(notes)
    )
    return [
        Finding(
            "note",
            DECLARED,
            name,
            f"declared by the files and applied: {note} ({count} of {len(chips)} chips)",
        )
        for (name, note), count in counts.items()
    ]


def _check_present(chip_set: ChipSet, modalities: Sequence[str]) -> None:
    absent = [name for name in modalities if not chip_set.ids_of(name)]
    if not absent:
        return
    present = [name for name in chip_set.modalities if chip_set.ids_of(name)]
    files = chip_set.layout.images[absent[0]].files if absent[0] in chip_set.layout.images else ()
    where = f"no file {chip_set.folder / files[0]}" if files else f"not in layout {chip_set.layout.name!r}"
    raise ChipSetError(
        f"{chip_set.root}: the chips have no {' and no '.join(absent)} ({where}); generate from what is there: "
        f"--inputs {' '.join(present)}"
    )


def _read_sample(
    chip_set: ChipSet, ids: Sequence[str], modalities: Sequence[str]
) -> tuple[list[Chip], list[tuple[str, str]]]:
    chips, unreadable = [], []
    for chip_id in ids:
        try:
            chips.append(chip_set.read(chip_id, modalities))
        except RemotePathError:
            raise  # a server that does not answer says nothing about a chip
        except AugmentStoreError as error:
            unreadable.append((chip_id, str(error)))
    return chips, unreadable


def _most_common_extent(chips: Sequence[Chip]) -> ChipShape:
    return Counter(map(ChipShape.from_chip, chips)).most_common(1)[0][0]


def _pool(rasters: Sequence[NDArray[Any]], modality: Modality, units: Units) -> Pixels:
    """Return every timestep of each chip as ``[images, C, pixels]``; sizes are cut to the smallest chip's."""
    flat = [
        # [C, H, W] → [C, H/4, W/4] → [C, pixels]
        to_native(image[:, ::PIXEL_STRIDE, ::PIXEL_STRIDE], modality.name, units).reshape(image.shape[0], -1)
        for raster in rasters
        for image in raster
    ]
    # an array needs one length, and chips may differ in size
    shortest = min(values.shape[1] for values in flat)
    return np.stack([values[:, :shortest] for values in flat])
