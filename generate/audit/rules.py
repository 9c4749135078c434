"""What the input audit looks for: one function per fault, with its threshold, its reason and its remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.units import Units
from augment_store.modalities.definitions import (
    AMPLITUDE,
    LINEAR,
    S1_MODALITIES,
    S2_MODALITIES,
    UNIT_NAMES,
    Modality,
)
from generate.audit.findings import Finding, Pixels, band_statistics

# below 1000, since reflectance of shadow and water comes out slightly negative before the offset is added
OFFSET_LEVEL: Final = 900.0
"""Darkest S2 value that suggests the +1000 offset of processing baseline 04.00 is still in."""


LARGEST_AMPLITUDE: Final = 10.0
"""Median of radar above which it is no backscatter in any unit: 10 is 20 dB as an amplitude."""

DECLARED: Final = "declared"
"""Rule of notes on what files say about themselves; they are recorded in the store whether it was stopped or not."""

COMMON_SHARE: Final = 0.05
"""Share of a band's pixels from which one value is named; real bands of noise and texture have no such value."""

COMMON_STOP: Final = 0.25
"""Share from which it stops a run."""

MIXED_SHARE: Final = 0.25
"""Share of pixels with VV below VH that stops a run: over land and water, VH is 5 dB and more below VV."""

FEW_IMAGES: Final = 4
"""With fewer images, the order of the SWIR bands, which snow and bare salt invert, does not stop a run."""

SNOW_INDEX: Final = 0.4


Rule = Callable[[Modality, Pixels, Units], Finding | None]


def _constant_band(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Find bands with one value, or none, over all sampled chips: they carry no information."""
    names = []
    for index, band in enumerate(modality.bands):
        valid = pixels[:, index][~np.isnan(pixels[:, index])]
        if valid.size == 0 or valid.min() == valid.max():
            names.append(f"{band} ({'empty' if valid.size == 0 else f'always {valid[0]:g}'})")
    if not names:
        return None
    message = (
        f"constant: {', '.join(names)}; expected values that vary. Check how the chips were made, "
        f"or leave {modality.name} out with --inputs"
    )
    if any(name.endswith("(empty)") for name in names):
        message += (
            "; if the data do not have the empty bands (a layout's absent), accept that with --accept-audit"
        )
    return Finding("stop", "constant_band", modality.name, message)


def _linear_power(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Radar in dB is mostly negative; power, amplitude and digital numbers never are."""
    # where power or amplitude is declared, `_converted_twice` looks for the opposite mistake
    if modality.name not in S1_MODALITIES or units.s1_unit != "dB" or not np.isfinite(pixels).any():
        return None
    # a percentile, so that a few odd pixels do not decide
    low = float(np.nanpercentile(pixels, 1))
    if low < 0:
        return None
    median, expected = (
        float(np.nanmedian(pixels[:, 0])),
        f"dB around {modality.mean[0]:g} ({modality.bands[0]})",
    )
    if median > LARGEST_AMPLITUDE:
        message = (
            f"no negative values (median {median:.4g}): this looks like digital numbers, which no option converts; "
            f"expected {expected}. Calibrate the product to sigma or gamma nought first"
        )
        return Finding("stop", "linear_power", modality.name, message)
    told = [
        f"--s1-unit {unit} if it is {UNIT_NAMES[unit]} (its median would be {factor * np.log10(median):.1f} dB)"
        # decibels are 10·log10 of power, and 20·log10 of an amplitude
        for unit, factor in ((LINEAR, 10), (AMPLITUDE, 20))
        if median > 0
    ]
    # Nearest first: the unit that brings the median closest to the pretraining mean.
    if len(told) == 2 and abs(20 * np.log10(median) - modality.mean[0]) < abs(
        10 * np.log10(median) - modality.mean[0]
    ):
        told.reverse()
    message = (
        f"no negative values (1st percentile {low:.3g}): this is not dB; expected {expected}. Convert with "
    )
    return Finding("stop", "linear_power", modality.name, message + " or ".join(told))


def _converted_twice(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Values already in dB lose their negative ones when converted again."""
    if modality.name not in S1_MODALITIES or units.s1_unit == "dB":
        return None
    missing = float(np.isnan(pixels).mean())
    # most values in dB are negative, and converted once more they are NaN
    if missing < 0.5:
        return None
    message = (
        f"{missing:.0%} of the values are not positive, so they are not {UNIT_NAMES[units.s1_unit]}; drop "
        f"--s1-unit {units.s1_unit}"
    )
    return Finding("stop", "not_linear_power", modality.name, message)


def _offset(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Somewhere in an image, some band is dark; with the +1000 offset left in, none is."""
    if modality.name not in S2_MODALITIES:
        return None
    # A digital number of 0 is a band's no data where the offset is in, and would hide it.
    dark = np.where(np.isnan(pixels) | (pixels == 0), np.inf, pixels)
    # [images, C, pixels] → [images]
    darkest = dark.min(axis=(1, 2))
    darkest = darkest[np.isfinite(darkest)]
    if not darkest.size:
        return None
    high, low = float((darkest >= OFFSET_LEVEL).mean()), float(np.median(darkest))
    # a little below 0 is noise over dark water; this is an offset taken off where none was in
    if low < -100:
        text = f"darkest values around {low:.0f}; expected about 0 to 300. --s2-offset {units.s2_offset:g} is too large"
        return Finding("stop", "s2_offset_overdone", modality.name, text)
    # with an offset taken off, bright images alone are no hint of a second one
    if high == 0 or units.s2_offset:
        return None
    message = (
        f"the darkest value is at least {OFFSET_LEVEL:g} in {high:.0%} of the images, as where the +1000 offset of "
        "processing baseline 04.00 was left in; if so, remove it with --s2-offset 1000"
    )
    # below that share one offset for the whole chip set would spoil the other images
    if high < 0.9:
        message += " for those chips, as a chip set of their own"
    return Finding("stop" if high >= 0.9 else "note", "s2_offset", modality.name, message)


def _band_order(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Orders that physics fixes: VV above VH, SWIR_1 above SWIR_2, the two NIR bands alike."""
    median = {band: _median(pixels[:, index]) for index, band in enumerate(modality.bands)}
    wrong, level = [], "stop"
    if modality.name in S1_MODALITIES and median["VV"] < median["VH"]:
        wrong.append(f"median VV {median['VV']:.1f} dB lies below VH {median['VH']:.1f} dB")
    # medians may be in order though half of the dates are swapped
    elif modality.name in S1_MODALITIES and (share := _swapped(modality, pixels)) > MIXED_SHARE:
        wrong.append(
            f"VV lies below VH in {share:.0%} of the pixels, as where a series holds all dates of a band together "
            "(a layout's interleave: band)"
        )
    if modality.name in S2_MODALITIES:
        if median["SWIR_1"] < median["SWIR_2"]:
            level = "note" if len(pixels) < FEW_IMAGES or _is_snow(median) else "stop"
            wrong.append(f"median SWIR_1 {median['SWIR_1']:.0f} lies below SWIR_2 {median['SWIR_2']:.0f}")
        likeness = _correlation(pixels, modality.bands.index("NIR_BROAD"), modality.bands.index("NIR_NARROW"))
        # B08 and B8A lie at 833 and 865 nm, and over land and water they hardly differ
        if likeness < 0.7 or abs(median["NIR_NARROW"] - median["NIR_BROAD"]) > 0.3 * abs(median["NIR_BROAD"]):
            pair = f"medians {median['NIR_BROAD']:.0f} and {median['NIR_NARROW']:.0f}, correlation {likeness:.2f}"
            wrong.append(f"NIR_BROAD and NIR_NARROW are not alike ({pair})")
            level = "stop"
    if not wrong:
        return None
    order = " ".join(modality.bands)
    message = f"the band order looks wrong: {'; '.join(wrong)}. Expected {order}"
    remedy = {
        "stop": "; reorder the chips' bands, or describe their order in a layout file (--layout FILE)",
        "note": "; snow or a few odd chips can look like this too: make sure that the bands are in this order",
    }
    return Finding(level, "band_order", modality.name, message + remedy[level])


def _swapped(modality: Modality, pixels: Pixels) -> float:
    """Return the share of the pixels with both polarizations in which VV lies below VH."""
    vv, vh = (pixels[:, modality.bands.index(band)] for band in ("VV", "VH"))
    valid = ~(np.isnan(vv) | np.isnan(vh))
    return float((vv[valid] < vh[valid]).mean()) if valid.any() else 0.0


def _is_snow(median: Mapping[str, float]) -> bool:
    """Return whether the snow index (green − SWIR_1) / (green + SWIR_1) is above 0.4 (Dozier, 1989)."""
    return median["GREEN"] - median["SWIR_1"] > SNOW_INDEX * (median["GREEN"] + median["SWIR_1"])


def _median(values: Pixels) -> float:
    """Return the median of the valid values; NaN, for which every comparison is false, if there are none."""
    valid = values[~np.isnan(values)]
    return float(np.median(valid)) if valid.size else np.nan


def _correlation(pixels: Pixels, first: int, second: int) -> float:
    """Return the Pearson correlation of two bands over all valid pixels; 1 if either is constant."""
    a, b = pixels[:, first].ravel().astype(np.float64), pixels[:, second].ravel().astype(np.float64)
    valid = ~(np.isnan(a) | np.isnan(b))
    # NumPy would return NaN for a constant band, which `_constant_band` reports anyway
    if not valid.any() or np.ptp(a[valid]) == 0 or np.ptp(b[valid]) == 0:
        return 1.0
    return float(np.corrcoef(a[valid], b[valid])[0, 1])


def _range(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Values outside the physical range, or so small that the unit must be wrong."""
    if not np.isfinite(pixels).any():
        return None
    low, high = modality.valid_range
    outside = float((((pixels < low) | (pixels > high)) & ~np.isnan(pixels)).mean())
    # more than a few odd pixels: a wrong unit, or a value that means no data
    if outside > 0.01:
        message = f"{outside:.1%} of the values lie outside {low:g} to {high:g} {modality.unit}; check unit and no-data"
        return Finding("stop", "range", modality.name, message)
    if outside:
        message = (
            f"impossible values: {_where((pixels < low) | (pixels > high), modality)} lie outside {low:g} to {high:g} "
            f"{modality.unit}; if they mean no data, declare that in the files (gdal_edit.py -a_nodata)"
        )
        return Finding("note", "impossible", modality.name, message)
    # reflectance of 0 to 1 stays far below 10, reflectance × 10⁴ far above; all 0 is another rule's
    top = float(np.nanpercentile(pixels, 99))
    if modality.name in S2_MODALITIES and 0 < top <= 10:
        message = (
            f"99 % of the values lie below {top:.3g}: this looks like reflectance 0 to 1; expected × 10⁴"
        )
        return Finding("stop", "unit", modality.name, f"{message}. Multiply the chips by 10,000")
    return None


def _shift(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Find means more than three pretraining deviations from the pretraining mean."""
    far = [s for s in band_statistics(modality, pixels) if abs(s.shift) > 3]
    if not far:
        return None
    listed = ", ".join(f"{s.band} ({s.shift:+.1f})" for s in far)
    message = (
        f"mean more than 3 pretraining standard deviations off: {listed}; check the unit ({modality.unit})"
    )
    return Finding("stop", "shift", modality.name, message)


def _missing(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Many pixels without observation."""
    share = float(np.isnan(pixels).mean())
    # a few percent are usual at the edges of swaths
    if share < 0.05:
        return None
    message = (
        f"{share:.0%} of the values are NaN or no data; they enter the generator as the pretraining mean"
    )
    if share <= 0.5:
        return Finding("note", "missing", modality.name, message)
    remedy = f"leave {modality.name} out with --inputs, or accept that with --accept-audit"
    return Finding("stop", "missing", modality.name, f"{message}; {remedy}")


def _common_value(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """One value that takes more of a band than noise and texture leave to any: a fill, a saturation, an edge."""
    if modality.name not in (*S1_MODALITIES, *S2_MODALITIES):
        return None  # heights repeat: seas, lakes, and plains in whole meters
    told, worst = [], 0.0
    for index, band in enumerate(modality.bands):
        values = pixels[:, index]
        valid = values[~np.isnan(values)]
        found, counts = np.unique(valid, return_counts=True)
        # a single value makes a constant band, which has a rule of its own
        share = float(counts.max() / values.size) if counts.size > 1 else 0.0
        if share >= COMMON_SHARE:
            value = found[counts.argmax()]
            # half the share counts an image, since a fill is spread unevenly over images
            images = int(((values == value).mean(axis=1) >= COMMON_SHARE / 2).sum())
            where = f" ({images} of {len(values)} images)" if len(values) > 1 else ""
            told.append(f"{band} is exactly {value:g} in {share:.0%} of the pixels{where}")
            worst = max(worst, share)
    if not told:
        return None
    message = (
        f"one value too often: {'; '.join(told[:4])}{' …' if len(told) > 4 else ''}. A fill outside the swath or a "
        "saturated band looks like this; if it means no data, declare that in the files (gdal_edit.py -a_nodata)"
    )
    level = "stop" if worst >= COMMON_STOP else "note"
    # one image of several stops nothing
    remedy = ", or accept it with --accept-audit" if level == "stop" and len(pixels) > 1 else ""
    return Finding(level, "common_value", modality.name, message + remedy)


def _void(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Heights of exactly 0 among hills: a void that was filled with 0."""
    if modality.unit != "m":
        return None
    zero = pixels == 0
    others = pixels[~np.isnan(pixels) & ~zero]
    # lowlands really touch 0 m; ground of 50 m and more does not
    if not zero.any() or not others.size or np.percentile(others, 1) < 50:
        return None
    message = (
        f"{_where(zero, modality)} are exactly 0 m, and 99 % of the others lie above "
        f"{np.percentile(others, 1):.0f} m: voids filled with 0? Declare no data in the files (gdal_edit.py -a_nodata)"
    )
    return Finding("note", "void", modality.name, message)


def _where(found: NDArray[np.bool_], modality: Modality) -> str:
    """Return how many pixels of how many images, and in which bands."""
    bands = [band for index, band in enumerate(modality.bands) if found[:, index].any()]
    images = int(found.any(axis=(1, 2)).sum())
    share = found.mean()
    # a smaller share would read 0.0 %
    text = f"{share:.1%}" if share >= 0.001 else f"{int(found.sum()):,}"
    return f"{text} of the pixels in {images} of {len(found)} images ({', '.join(bands[:4])})"


def _strict(rule: Rule) -> Rule:
    """Return a rule without its notes, which are for many images: a single one of snow or water is often odd."""

    def stops(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
        finding = rule(modality, pixels, units)
        return finding if finding is not None and finding.level == "stop" else None

    return stops


IMAGE_RULES: Final[tuple[Rule, ...]] = (
    _linear_power,
    _strict(_band_order),
    _strict(_range),
    _strict(_common_value),
    _void,
)
"""Rules that hold for each image: faults of a few chips are lost among the pixels of all."""

RULES: Final[tuple[Rule, ...]] = (
    _constant_band,
    _linear_power,
    _converted_twice,
    _offset,
    _band_order,
    _range,
    _shift,
    _common_value,
    _void,
    _missing,
)
