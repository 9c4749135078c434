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

DARK: Final = 300.0
"""S2 value up to which a surface is as dark as water, where haze and noise order the bands, not the ground."""

RADAR_NOISE: Final = -18.0
"""Radar in dB up to which VV and VH may both be noise, which is alike in them: Sentinel-1's lies about 4 dB below."""

WHOLE_NUMBERS: Final = 100.0
"""S2 value below which whole numbers repeat: a noise of 1 leaves a few values, and sen2cor sets water below 0 to 1."""

BRIGHT_RED: Final = 2500.0
"""Median of RED above which an image may have no dark pixel, as of sand, salt, snow and cloud; forest, crops and
towns rarely reach 1500, or 2500 with the offset."""

WHITE: Final = 10_000.0
"""Mean of an S2 band that snow and cloud reach: a reflectance of 1."""


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
    medians = [_median(pixels[:, index]) for index in range(len(modality.bands))]
    # a band without values, or with most of them 0, fits no unit
    index = next((index for index, median in enumerate(medians) if median > 0), 0)
    median, mean = medians[index], modality.mean[index]
    expected = f"dB around {mean:g} ({modality.bands[index]})"
    if median > LARGEST_AMPLITUDE:
        message = (
            f"no negative values (median {median:.4g}): this looks like digital numbers, which no option converts; "
            f"expected {expected}. Calibrate the product to sigma or gamma nought first"
        )
        return Finding("stop", "linear_power", modality.name, message)
    message = f"no negative values (1st percentile {low:.3g}): this is not dB; expected {expected}. "
    return Finding("stop", "linear_power", modality.name, message + _conversion(median, mean))


def _conversion(median: float, mean: float) -> str:
    """Return the options that make dB of radar with this median, the one nearest to the pretraining mean first."""
    if not median > 0:
        return "Most values are 0: check how the chips were made"
    # decibels are 10·log10 of power, and 20·log10 of an amplitude
    decibels = {LINEAR: 10 * np.log10(median), AMPLITUDE: 20 * np.log10(median)}
    units = sorted(decibels, key=lambda unit: abs(decibels[unit] - mean))
    return "Convert with " + " or ".join(
        f"--s1-unit {unit} if it is {UNIT_NAMES[unit]} (its median would be {decibels[unit]:.1f} dB)"
        for unit in units
    )


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
    valid = np.isfinite(darkest)
    if not valid.any():
        return None
    # of images without a value of RED, the median is NaN, and they are not bright
    bright = np.array([_median(image) > BRIGHT_RED for image in pixels[valid, modality.bands.index("RED")]])
    darkest = darkest[valid]
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
    # only images that should have dark pixels can tell
    elif bright.all() or (darkest[~bright] >= OFFSET_LEVEL).mean() < 0.9:
        message += "; sand, salt, snow and cloud have no dark pixels either"
    else:
        return Finding("stop", "s2_offset", modality.name, message)
    return Finding("note", "s2_offset", modality.name, message)


def _band_order(modality: Modality, pixels: Pixels, units: Units) -> Finding | None:
    """Orders that physics fixes: VV above VH, SWIR_1 above SWIR_2, the two NIR bands alike."""
    median = {band: _median(pixels[:, index]) for index, band in enumerate(modality.bands)}
    wrong, level = [], "stop"
    if modality.name in S1_MODALITIES and max(median["VV"], median["VH"]) > RADAR_NOISE:
        wrong += _radar_order(modality, pixels, median)
    if modality.name in S2_MODALITIES:
        if DARK < median["SWIR_2"] > median["SWIR_1"]:
            level = "note" if len(pixels) < FEW_IMAGES or _is_snow(median) else "stop"
            wrong.append(f"median SWIR_1 {median['SWIR_1']:.0f} lies below SWIR_2 {median['SWIR_2']:.0f}")
        if unlike := _unlike_infrared(modality, pixels, median):
            wrong.append(unlike)
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


def _radar_order(modality: Modality, pixels: Pixels, median: Mapping[str, float]) -> list[str]:
    """Return what is wrong with the order of VV and VH."""
    if median["VV"] < median["VH"]:
        return [f"median VV {median['VV']:.1f} dB lies below VH {median['VH']:.1f} dB"]
    # medians may be in order though half of the dates are swapped
    if (share := _swapped(modality, pixels)) > MIXED_SHARE:
        return [
            f"VV lies below VH in {share:.0%} of the pixels, as where a series holds all dates of a band together "
            "(a layout's interleave: band)"
        ]
    return []


def _unlike_infrared(modality: Modality, pixels: Pixels, median: Mapping[str, float]) -> str:
    """Return how B08 and B8A differ: they lie at 833 and 865 nm, alike over land, and over water both are dark."""
    broad, narrow = median["NIR_BROAD"], median["NIR_NARROW"]
    if not max(broad, narrow) > DARK:
        return ""
    index = modality.bands.index("NIR_BROAD")
    likeness = _correlation(pixels, index, modality.bands.index("NIR_NARROW"))
    low, high = np.nanpercentile(pixels[:, index], [10, 90])
    # flat ground, as of sand and salt, leaves mostly noise, in which no two bands are alike
    textured = high - low > 0.1 * abs(broad)
    if abs(narrow - broad) > 0.3 * abs(broad) or (textured and likeness < 0.7):
        pair = f"medians {broad:.0f} and {narrow:.0f}, correlation {likeness:.2f}"
        return f"NIR_BROAD and NIR_NARROW are not alike ({pair})"
    return ""


def _swapped(modality: Modality, pixels: Pixels) -> float:
    """Return the share of the pixels with both polarizations in which VV lies below VH, and not both in noise."""
    vv, vh = (pixels[:, modality.bands.index(band)] for band in ("VV", "VH"))
    valid = ~(np.isnan(vv) | np.isnan(vh))
    return float(((vv < vh) & (vh > RADAR_NOISE))[valid].mean()) if valid.any() else 0.0


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
    # fresh snow and thick clouds lie that far off too
    white = modality.name in S2_MODALITIES and all(s.mean <= WHITE for s in far)
    return Finding("note" if white else "stop", "shift", modality.name, message)


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
            if modality.name in S2_MODALITIES and 0 < value < WHOLE_NUMBERS:
                continue
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
    # and an islet is no more than a few pixels of a sea
    if not zero.any() or others.size < zero.sum() or np.percentile(others, 1) < 50:
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
