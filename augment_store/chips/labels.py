"""Masks and references of classes: one band of whole numbers, or one-hot bands where a layout says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.declarations import FileContent
from augment_store.chips.rasters import read_file
from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import IGNORED_LABEL
from augment_store.utils.text import join_first

_MOST: Final = 2**31
"""No label is larger."""

ONE_HOT: Final = "one-hot"
"""What a layout's ``mask_band`` says of masks with a band of 0 and 1 for each class."""


@dataclass(frozen=True)
class LabelRaster:
    """The labels of a raster.

    Attributes:
        labels: ``[H, W]`` int64, −1 where a pixel is ignored.
        notes: What the file declares and was applied, with the share of the pixels it concerns.
        ignored: Share of the pixels that the file declares as no data or masks out, 0 to 1.
        declared: How it does, in words.
    """

    labels: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    ignored: float = 0.0
    declared: str = ""


def read_labels(path: Path, band: int | str | None = None) -> LabelRaster:
    """Read a mask; what its file declares as no data or masks out is ignored.

    Args:
        path: The file.
        band: Which band holds the labels, counted from 1, or `ONE_HOT` where each class has a band; None for the only
            one. Bands of 0 and 1 alone do not tell: a picture in three colors has them too.

    Raises:
        ChipNotFoundError: If there is no such file.
        ChipDataError: If it cannot be read, or does not hold one label a pixel.
    """
    return to_labels(read_file(path), path, band)


def to_labels(content: FileContent, where: object, band: int | str | None = None) -> LabelRaster:
    """Return the labels in a file's content; see `read_labels`."""
    if isinstance(
        band, str
    ):  # before an alpha band is looked for: uint8 files of four bands get one by default
        return _one_hot(content, where)
    content = content.without_alpha(where)
    values, notes = content.values, list(content.notes)
    # timesteps count as bands: a mask has one of either
    count = len(values) * values.shape[1]
    if band is None and count != 1:
        raise ChipDataError(
            f"{where}: {count} bands{_as_pages(content)}; expected one band of labels; name it in a layout file "
            f"(mask_band: 1 for the first, or mask_band: {ONE_HOT})"
        )
    slot = (band or 1) - 1
    if slot >= values.shape[1]:
        raise ChipDataError(f"{where}: {values.shape[1]} bands; the layout's mask_band is {band}")
    if (content.bands[slot].scale, content.bands[slot].offset) != (1.0, 0.0):
        raise ChipDataError(
            f"{where}: declares scale {content.bands[slot].scale:g} and offset {content.bands[slot].offset:g}; labels "
            "are class numbers as they are stored: remove both (gdal_edit.py -scale 1 -offset 0)"
        )
    plane = values[0, slot]
    ignored, text = _hidden(content, slot)
    if text:
        notes.append(f"{_share(ignored)} of the pixels are ignored (−1): {text}")
    return LabelRaster(_whole(plane, ignored, where), tuple(notes), float(ignored.mean()), text)


def _hidden(content: FileContent, slot: int) -> tuple[NDArray[np.bool_], str]:
    """Return where a file masks a band out or declares no data in it, ``[H, W]``, and how, in words."""
    plane, declared = content.values[0, slot], content.bands[slot].nodata
    # a copy, since the file's no data is added to it
    ignored = np.zeros(plane.shape, bool) if content.unobserved is None else content.unobserved[0, 0].copy()
    told = ["its mask hides them"] if ignored.any() else []
    # NaN is unequal to itself, and ignored by `_whole`; −1 is ignored already
    if declared is not None and declared == declared and declared != IGNORED_LABEL:
        hits = plane == declared
        told += [f"the file declares {declared:g} as no data"] if hits.any() else []
        ignored |= hits
    outside = content.bands[slot].is_outside(plane)
    if outside is not None:
        told.append("the file declares other values valid")
        ignored |= outside
    return ignored, " and ".join(told)


def translate_labels(
    found: LabelRaster, where: object, codes: Mapping[int, int], ignored: Sequence[int]
) -> LabelRaster:
    """Return a mask's labels by its codes.

    Args:
        found: The mask as read.
        where: Its name, for messages.
        codes: Label of each code; empty where masks have labels.
        ignored: Codes, or labels, to ignore.

    Raises:
        ChipDataError: If it has a code without a label.
    """
    if not codes and not ignored:
        _check_no_negative(found.labels, where)
        return found
    present = np.unique(found.labels).tolist()
    skipped = [code for code in present if code in ignored]
    notes = (*found.notes, *(f"label {code} is ignored (ignored_labels)" for code in skipped))
    # without a table, codes are labels already
    known = codes or {code: code for code in present}
    table = {
        code: IGNORED_LABEL if code in (IGNORED_LABEL, *ignored) else known.get(code) for code in present
    }
    unknown = [str(code) for code, label in table.items() if label is None]
    if unknown:
        raise ChipDataError(
            f"{where}: codes {join_first(unknown, 8)} have no label; the layout or legend has labels for "
            f"{join_first(map(str, codes), 8)}; add them to labels or ignored_labels of a layout file (--layout)"
        )
    # each pixel's position in `present`, which is sorted
    labels = np.array([table[code] for code in present])[np.searchsorted(present, found.labels)]
    _check_no_negative(labels, where)
    return dataclasses.replace(found, labels=labels.astype(np.int64), notes=notes)


def _check_no_negative(labels: NDArray[Any], where: object) -> None:
    lowest = int(labels.min())
    if lowest < IGNORED_LABEL:
        raise ChipDataError(
            f"{where}: label {lowest}; expected classes from 0, and −1 for pixels to ignore; in a layout file, "
            f"ignored_labels: [{lowest}] leaves them out"
        )


def _whole(plane: NDArray[Any], ignored: NDArray[np.bool_], where: object) -> NDArray[np.int64]:
    """Return whole numbers, −1 where `ignored` or NaN.

    Raises:
        ChipDataError: If other values are not whole.
    """
    if plane.dtype.kind not in "iufb":
        raise ChipDataError(f"{where}: data type {plane.dtype}; expected whole labels")
    if plane.dtype.kind == "f":
        ignored = ignored | np.isnan(plane)
        # 0 for what is ignored: NaN is not whole and cannot be converted
        kept = np.where(ignored, 0, plane)
        # infinity equals its rounded self, so the limit has to catch it
        broken = (kept != np.round(kept)) | (np.abs(kept) > _MOST)
        if broken.any():
            some = join_first(f"{value:g}" for value in np.unique(plane[broken])[:4])
            raise ChipDataError(
                f"{where}: {_share(broken)} of the pixels are no whole label ({some}); expected class numbers: "
                "resample masks with nearest, not bilinear"
            )
        plane = kept
    elif (plane[~ignored] > _MOST).any():  # the type's largest value, which would wrap around
        raise ChipDataError(
            f"{where}: label {plane[~ignored].max()}; expected class numbers: where that marks no label, declare it as "
            "the file's no data (gdal_edit.py -a_nodata)"
        )
    labels: NDArray[np.int64] = plane.astype(np.int64)
    labels[ignored] = IGNORED_LABEL
    return labels


def _one_hot(content: FileContent, where: object) -> LabelRaster:
    """Return the labels of one band for each class; a pixel without any 1 is ignored, as is one without data.

    Raises:
        ChipDataError: If the values are not 0 and 1, or a pixel has several classes.
    """
    values = content.values
    if values.shape[1] < 2:
        raise ChipDataError(
            f"{where}: 1 band; a one-hot mask has one for each class: leave out the layout's mask_band"
        )
    hidden = [_hidden(content, slot) for slot in range(values.shape[1])]
    hits = np.stack([hit for hit, _ in hidden])
    # 0 and 1 say which class a pixel has, so a no data of 0 is one only where all bands have it
    ignored = hits.all(axis=0) | (hits & (values[0] != 0) & (values[0] != 1)).any(axis=0)
    text = " and ".join(dict.fromkeys(text for _, text in hidden if text)) if ignored.any() else ""
    if values.dtype.kind == "f":
        ignored = ignored | np.isnan(values[0]).any(axis=0)
    planes = np.where(ignored, 0, values[0])
    # [class, H, W] → [H, W]: how many classes a pixel has
    total = planes.sum(axis=0, dtype=np.float64)
    if len(values) != 1 or not ((planes == 0) | (planes == 1)).all() or total.max() > 1:
        raise ChipDataError(
            f"{where}: not one-hot; expected 0 and 1, and one class a pixel (the layout's mask_band: {ONE_HOT})"
        )
    labels = np.where(total == 1, planes.argmax(axis=0), IGNORED_LABEL).astype(np.int64)
    notes = [f"{len(planes)} one-hot bands read as labels from 0"]
    if text:
        notes.append(f"{_share(ignored)} of the pixels are ignored (−1): {text}")
    return LabelRaster(labels, tuple(notes), float(ignored.mean()), text)


def _as_pages(content: FileContent) -> str:
    """Return a hint at a TIFF with a page for each band."""
    return next((f" ({note})" for note in content.notes if "pages" in note), "")


def _share(where: NDArray[np.bool_]) -> str:
    share = float(where.mean())
    # below 1 %, whole per cents would say 0 or 1
    return f"{share:.0%}" if share >= 0.01 else f"{share:.2%}"
