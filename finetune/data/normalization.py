"""Means and standard deviations that standardise the inputs of a fine-tune, and their named presets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from augment_store.chips.layouts import Layout
from augment_store.chips.units import Units
from augment_store.modalities.definitions import INPUT_MODALITIES, NATIVE, UNIT_NAMES
from augment_store.store.spec import InputSpec
from finetune.errors import ConfigError


@dataclass(frozen=True)
class Statistics:
    """Statistics of each modality.

    Attributes:
        means: Mean per band, by modality, in the unit on disk.
        stds: Standard deviation per band, by modality.
        preset: Name of the preset they come from, or None for a user's own numbers.
    """

    means: Mapping[str, tuple[float, ...]]
    stds: Mapping[str, tuple[float, ...]]
    preset: str | None = None


IMPACTMESH_FLOOD: Final = Statistics(
    means={
        "S2L2A": (
            *(1460.264, 1499.629, 1663.836, 1651.188, 2056.615, 2747.754),
            *(2990.725, 3074.264, 3130.254, 3578.565, 2111.968, 1501.892),
        ),
        "S1RTC": (-9.871, -15.993),
        "DEM": (154.914,),
    },
    stds={
        "S2L2A": (
            *(2587.746, 2477.497, 2315.289, 2303.498, 2283.186, 2087.282),
            *(2048.065, 2099.017, 2008.163, 3010.72, 1332.457, 1162.548),
        ),
        "S1RTC": (4.028, 3.899),
        "DEM": (368.796,),
    },
)
"""Those of ImpactMesh's flood set, used by Phase 2 (`impactmesh_datamodule.py`, impactmesh 0.2.0)."""

IMPACTMESH_FIRE: Final = Statistics(
    means={
        "S2L2A": (
            *(656.307, 726.342, 922.971, 1000.263, 1387.474, 2109.49),
            *(2388.396, 2505.595, 2627.147, 2817.856, 2319.783, 1578.35),
        ),
        "S1RTC": (-10.132, -15.81),
        "DEM": (456.555,),
    },
    stds={
        "S2L2A": (
            *(1396.137, 1280.788, 1170.872, 1167.83, 1176.989, 1146.266),
            *(1186.601, 1216.544, 1200.161, 1910.06, 1048.237, 905.556),
        ),
        "S1RTC": (3.677, 3.682),
        "DEM": (387.825,),
    },
)
"""Those of ImpactMesh's wildfire set (`impactmesh_datamodule.py`)."""

TERRAMIND_V1: Final = Statistics(
    means={name: modality.mean for name, modality in INPUT_MODALITIES.items()},
    stds={name: modality.std for name, modality in INPUT_MODALITIES.items()},
)
"""Those that TerraMind v1 was pretrained with."""

PRESETS: Final[Mapping[str, Statistics]] = {
    "impactmesh_flood": IMPACTMESH_FLOOD,
    "terramind_v1": TERRAMIND_V1,
    "impactmesh_fire": IMPACTMESH_FIRE,
}

DEFAULT_PRESET: Final = "impactmesh_flood"

MASK_OF_PRESET: Final = {"impactmesh_fire": "_annotation_wildfire.", "impactmesh_flood": "_annotation_flood."}
"""Presets that belong to a data set, by what the names of its masks contain."""

Known = str | Mapping[str, Sequence[float]]
Given = Known | None


def find_statistics(means: Given, stds: Given, bands: Mapping[str, Sequence[str]]) -> Statistics:
    """Return statistics of the bands in use.

    Args:
        means: Name of a preset, or means by modality. A preset that only one of the two names applies to both;
            if neither is given, Phase 2's applies.
        stds: Likewise.
        bands: Names of the bands in use, by modality.

    Raises:
        ConfigError: If means and stds are not from one origin, a preset or a modality is unknown, or a list is of
            the wrong length or not positive.
    """
    means, stds = _of_one_origin(means, stds)
    found_means = {name: _select(name, _values("means", means, name), bands[name]) for name in bands}
    found_stds = {name: _select(name, _values("stds", stds, name), bands[name]) for name in bands}
    for key, found in (("means", found_means), ("stds", found_stds)):
        for name, values in found.items():
            wrong = [value for value in values if not math.isfinite(value) or (key == "stds" and value <= 0)]
            if wrong:
                expected = "positive numbers" if key == "stds" else "numbers"
                raise ConfigError(f"{key} of {name}: {wrong[0]}; expected {expected}")
    return Statistics(found_means, found_stds, means if isinstance(means, str) else None)


def preset_of(layout: Layout) -> str | None:
    """Return the preset of the data set that a layout describes, by the names of its masks; None if it has none."""
    return next(
        (name for name, part in MASK_OF_PRESET.items() if any(part in mask for mask in layout.mask)), None
    )


def check_units(statistics: Statistics, layout: Layout) -> None:
    """Check that values on disk are in the preset's unit: dB, and Sentinel-2 without an offset.

    Args:
        statistics: Statistics of the modalities in use.
        layout: Layout, which says in which units they are on disk.

    Raises:
        ConfigError: If a modality is in another unit than the preset.
    """
    # a user's own numbers are taken to be in the unit on disk
    if statistics.preset is None:
        return
    units = Units.of(layout)
    for name in statistics.means:
        unit, offset = units.name(name), units.offset(name)
        if unit != NATIVE or offset:
            found = _named(unit, offset)
            raise ConfigError(
                f"layout {layout.name!r} holds {name} as {found}, but means and stds {statistics.preset} are for other "
                "units; give both as numbers in the unit on disk, for every modality"
            )


def find_unit_concerns(statistics: Statistics, inputs: Sequence[InputSpec]) -> Iterator[str]:
    """Yield concerns about modalities that the generator converted and the fine-tune's preset does not.

    The layout knows nothing of it, since a command said so. It stops nothing: Phase 2 was trained like that.

    Args:
        statistics: Statistics of the modalities in use.
        inputs: How the store's inputs entered the generator.
    """
    for entry in inputs if statistics.preset is not None else ():
        if entry.name in statistics.means and (entry.unit != NATIVE or entry.offset):
            found = _named(entry.unit, entry.offset)
            yield (
                f"the store was generated from {entry.name} as {found}, which the generator converted; the fine-tune "
                f"does not, and means and stds {statistics.preset} are for other units. Keep it to repeat an earlier "
                "fine-tune; otherwise give both as numbers in the unit on disk"
            )


def _named(unit: str, offset: float) -> str:
    """Return in words a unit on disk that is not the presets'."""
    return UNIT_NAMES.get(unit, f"values with an offset of {offset:g}")


def _of_one_origin(means: Given, stds: Given) -> tuple[Known, Known]:
    """Return means and stds of the same preset, or numbers for both; a mixture may be in two units."""
    if (means is None or isinstance(means, str)) and (stds is None or isinstance(stds, str)):
        if means and stds and means != stds:
            raise ConfigError(f"means: {means}, but stds: {stds}; name the same preset under both")
        preset = means or stds or DEFAULT_PRESET
        return preset, preset
    for key, given, other in (("means", means, "stds"), ("stds", stds, "means")):
        if given is None or isinstance(given, str):
            raise ConfigError(f"{other}: numbers, but {key}: {given or 'none'}; give numbers for both")
    return means, stds  # type: ignore[return-value] # neither is None


def _values(kind: str, given: Known, modality: str) -> tuple[float, ...]:
    """Return values of one modality, from a preset's name or from numbers."""
    if isinstance(given, str):
        if given not in PRESETS:
            raise ConfigError(f"{kind}: unknown preset {given!r}; expected {', '.join(PRESETS)} or numbers")
        table: Mapping[str, Sequence[float]] = getattr(PRESETS[given], kind)
    else:
        table = given
    if modality not in table:
        known = [name for name, preset in PRESETS.items() if modality in getattr(preset, kind)]
        raise ConfigError(
            f"{kind}: none for {modality}; there are {', '.join(table)}. Give numbers, or the preset "
            f"{' or '.join(known)}"
        )
    return tuple(float(value) for value in table[modality])


def _select(modality: str, values: tuple[float, ...], bands: Sequence[str]) -> tuple[float, ...]:
    """Return statistics of the bands in use, given those of all bands or of just these."""
    every = INPUT_MODALITIES[modality].bands
    # a list for all bands is in the modality's order, one for the bands in use in theirs
    if len(values) == len(every):
        return tuple(values[every.index(band)] for band in bands)
    if len(values) == len(bands):
        return values
    raise ConfigError(
        f"statistics of {modality}: {len(values)} values; expected {len(every)} (all bands) or {len(bands)} (used)"
    )
