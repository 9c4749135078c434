"""Reading one raster file, whole, whatever wrote it, and picking the bands that TerraMind takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.band_names import BandOrder, known_band, order_bands
from augment_store.chips.declarations import (
    NO_DATA,
    BandDeclaration,
    FileContent,
    apply_declarations,
)
from augment_store.chips.geotiff import read_geotiff
from augment_store.chips.layouts import Image, Layout, bands_of_word
from augment_store.chips.limits import MAX_RASTER_BYTES, FileFormatError, check_size
from augment_store.chips.zarr_zip import read_zarr_zip
from augment_store.errors import ChipDataError, ChipNotFoundError, RemotePathError
from augment_store.io.remote import local_file
from augment_store.modalities.definitions import PATCH_SIZE, S2L1C, Modality
from augment_store.utils.text import format_size, pluralize


@dataclass(frozen=True)
class ModalityRaster:
    """One modality of a chip.

    Attributes:
        values: ``[T or 1, C, H, W]``, TerraMind's bands in TerraMind's order, in the modality's unit as far as the
            file declares another.
        positions: Position in its file of each timestep, ``[T or 1]``.
        notes: What the file declares and was applied.
    """

    values: NDArray[Any]
    positions: NDArray[np.int32]
    notes: tuple[str, ...] = ()


def read_file(path: Path) -> FileContent:
    """Read a GeoTIFF, a NumPy file or a zipped Zarr group, with what it declares about its values.

    Raises:
        ChipNotFoundError: If there is no such file.
        ChipDataError: If it cannot be read, or is not two- to four-dimensional.
    """
    if not path.is_file():
        raise ChipNotFoundError(f"{path}: no such file")
    try:
        with local_file(path, MAX_RASTER_BYTES) as local:
            return READERS.get(path.suffix.lower(), read_geotiff)(local)
    # they name file and remedy already
    except (RemotePathError, ChipDataError):
        raise
    except FileFormatError as error:
        raise ChipDataError(f"{path}: cannot be read ({error}); {error.remedy}") from error
    except Exception as error:  # damaged files make zarr and GDAL raise anything; all mean the same
        reason = str(error) or type(error).__name__
        raise ChipDataError(f"{path}: cannot be read ({reason}); restore the file") from error


def read_raster(path: Path) -> NDArray[Any]:
    """Read a file's values as they are stored, ``[T, C, H, W]``.

    Raises:
        ChipNotFoundError: If there is no such file.
        ChipDataError: If it cannot be read, or is not two- to four-dimensional.
    """
    return read_file(path).values


def read_modality(path: Path, modality: Modality, layout: Layout) -> ModalityRaster:
    """Read one modality of a chip; see `pick_bands`.

    Raises:
        ChipNotFoundError: If there is no such file.
        ChipDataError: If it cannot be read, or bands, timesteps, type or size are not as expected.
    """
    # a zipped array has a time axis; in other files, dates may lie among the bands
    series = layout.timesteps if path.suffix.lower() != ".zip" and modality.temporal else None
    return pick_bands(read_file(path), path, modality, layout, layout.images[modality.name], series)


def read_band_files(paths: Sequence[Path], modality: Modality, layout: Layout) -> ModalityRaster:
    """Read a modality whose bands lie in several files, one for each word of the layout's ``bands``.

    The first file sets the pixel grid; pixels of coarser ones are repeated, never averaged or interpolated.

    Raises:
        ChipNotFoundError: If a file is missing.
        ChipDataError: If a file cannot be read, or its bands or its size do not fit.
    """
    image = layout.images[modality.name]
    fitted: list[FileContent] = []
    for path, word in zip(paths, image.bands, strict=True):
        content = _of_word(read_file(path), path, bands_of_word(word, modality))
        first = fitted[0] if fitted else content
        _check_joined_size(first, content.values.itemsize, len(image.names(modality)), path)
        fitted.append(_repeated(content, first.values.shape, path))
    masks = [content.unobserved for content in fitted if content.unobserved is not None]
    joined = FileContent(
        np.concatenate([content.values for content in fitted], axis=1),
        tuple(band for content in fitted for band in content.bands),
        # what one file hides is hidden in all bands, as in a file of several pages
        np.logical_or.reduce(masks) if masks else None,
        tuple(dict.fromkeys(note for content in fitted for note in content.notes)),
    )
    return pick_bands(joined, paths[0], modality, layout, image)


def _check_joined_size(first: FileContent, itemsize: int, bands: int, path: Path) -> None:
    """Make sure that all bands on the grid of the first file are no more than one modality may take."""
    times, _, height, width = first.values.shape
    try:
        check_size(times * bands * height * width * itemsize)
    except ValueError as error:
        raise ChipDataError(
            f"{path}: with the other bands, it {error}; cut smaller chips (tim-store cut)"
        ) from error


def _of_word(content: FileContent, path: Path, expected: Sequence[str]) -> FileContent:
    """Return a file with as many bands as its word names; a file of one band need not call it anything."""
    content = content.without_alpha(path, [len(expected)])
    count = content.values.shape[1]
    if count != len(expected):
        raise ChipDataError(
            f"{path}: {count} bands; expected {len(expected)} ({' '.join(expected)}), as the layout's bands say"
        )
    if count > 1:
        return content
    # the file's name says which band it is, and what is in the file is often the same word in all ("Band 1")
    return dataclasses.replace(content, bands=(dataclasses.replace(content.bands[0], name=""),))


def _repeated(content: FileContent, shape: Sequence[int], path: Path) -> FileContent:
    """Return a file on the grid of another of `shape` ``[T, C, H, W]``, its pixels repeated where they are larger."""
    times, _, height, width = content.values.shape
    factor = max(shape[2] // max(height, 1), 1)
    if (times, height * factor, width * factor) != (shape[0], *shape[2:]):
        raise ChipDataError(
            f"{path}: {pluralize(times, 'timestep')} of {format_size((height, width))}; the first file has "
            f"{pluralize(shape[0], 'timestep')} of {format_size((shape[2], shape[3]))}; expected that, or pixels "
            "that are a whole number of times larger: name a band with the smallest pixels first in the layout's bands"
        )
    if factor == 1:
        return content
    mask = None if content.unobserved is None else _magnified(content.unobserved, factor)
    note = f"pixels of {format_size((height, width))} repeated {factor} × {factor} times"
    return dataclasses.replace(
        content, values=_magnified(content.values, factor), unobserved=mask, notes=(*content.notes, note)
    )


def _magnified(values: NDArray[Any], factor: int) -> NDArray[Any]:
    return values.repeat(factor, axis=-2).repeat(factor, axis=-1)


def pick_bands(
    content: FileContent,
    where: object,
    modality: Modality,
    layout: Layout,
    image: Image | None = None,
    series: int | None = None,
) -> ModalityRaster:
    """Return TerraMind's bands of a file in TerraMind's order, with what the file declares applied.

    Args:
        content: The file.
        where: Its name, for messages.
        modality: What it holds.
        layout: How many timesteps a file has.
        image: Which bands the file has; None for the modality's own.
        series: Timesteps that may lie among the file's bands.

    Raises:
        ChipDataError: If bands, timesteps, type or size are not as expected.
    """
    # the pattern is not used, only what an image without a list of bands means
    image = image or Image(("{id}.tif",))
    present = image.names(modality)
    _check_values(content.values, where, modality)
    # An alpha band is a mask, unless the layout counts it among the bands; 13 bands need not be Level-1C.
    content = _named_alpha(content, modality)
    content = content.without_alpha(where, [len(present) * (series or 1)] if image.bands else ())
    content, notes = _in_order(content, where, modality, layout, image, series)
    found, _, height, width = content.values.shape
    if layout.timesteps and modality.temporal and found != layout.timesteps:
        raise ChipDataError(f"{where}: {found} timesteps; the layout {layout.name!r} says {layout.timesteps}")
    positions = np.arange(found, dtype=np.int32)
    if layout.evenly_spaced and modality.temporal:
        positions = _evenly_spaced(found, layout.evenly_spaced, where)
    if min(height, width) < PATCH_SIZE:
        raise ChipDataError(
            f"{where}: {height} × {width} pixels; expected {PATCH_SIZE} or more each way; cut larger chips of the "
            "original raster (tim-store cut)"
        )
    values, applied = apply_declarations(content.values, content.bands, content.unobserved, modality, where)
    # only now: the declarations were for every date of the file
    values = values if len(positions) == found else values[positions]
    if image.absent:
        values = _with_absent(values, modality, image.absent)
    notes = tuple(dict.fromkeys((*content.notes, *notes, *applied)))
    return ModalityRaster(np.ascontiguousarray(values), positions, notes)


def _named_alpha(content: FileContent, modality: Modality) -> FileContent:
    """Return a file in which no band that bears the name of one of the modality's is alpha, as some writers mark it."""
    if not any(band.alpha for band in content.bands):
        return content
    bands = tuple(
        dataclasses.replace(band, alpha=band.alpha and not known_band(band.name, modality))
        for band in content.bands
    )
    return dataclasses.replace(content, bands=bands)


def _check_values(values: NDArray[Any], where: object, modality: Modality) -> None:
    if not values.shape[0]:
        raise ChipDataError(f"{where}: no timestep; expected one or more")
    if values.dtype.kind not in "iuf":
        raise ChipDataError(
            f"{where}: data type {values.dtype}; expected integers or floats in {modality.unit}"
        )


def _in_order(
    content: FileContent,
    where: object,
    modality: Modality,
    layout: Layout,
    image: Image,
    series: int | None,
) -> tuple[FileContent, tuple[str, ...]]:
    """Return a file with the bands that are wanted alone, dates apart from bands, and how they were found."""
    present = image.names(modality)
    names = tuple(band.name for band in content.bands)
    order: BandOrder | None = None
    try:
        # first as a series among the bands, then as one date; `fromkeys` drops a second 1
        for dates in dict.fromkeys((series if len(content.values) == 1 and series else 1, 1)):
            # the first way that fits counts
            order = order or order_bands(
                names,
                modality,
                present,
                dates,
                described=bool(image.bands),
                by_date=layout.interleave == "time",
            )
    except ValueError as error:
        raise ChipDataError(
            f"{where}: {error}; correct the names, or give the order in a layout file (bands, --layout FILE)"
        ) from error
    if order is None:
        expected = _expected(len(names), present, modality, layout)
        last = content.values.shape[-1]
        turned = f"; its last axis has {last}: write band, y, x, or name its dimensions" * (
            last == len(present)
        )
        raise ChipDataError(f"{where}: {len(names)} bands{turned}; expected {expected}")
    return _taken(content, order), order.notes


def _taken(content: FileContent, order: BandOrder) -> FileContent:
    """Return a file with the bands of an order; all of them in their order are not copied."""
    index, values = order.index, content.values
    if len(index) > 1:
        picked = values[0][index]  # [T, C, H, W]: dates that lie among the bands
    elif np.array_equal(index[0], np.arange(values.shape[1])):
        picked = values
    else:
        # [T, bands of the file, H, W] → [T, C, H, W]
        picked = values[:, index[0]]
    bands: tuple[BandDeclaration, ...] = tuple(content.bands[slot] for slot in index.ravel())
    return FileContent(picked, bands, content.unobserved, content.notes)


def _evenly_spaced(found: int, count: int, where: object) -> NDArray[np.int32]:
    """Return the positions of `count` timesteps of a series of `found`, from first to last in even steps."""
    if found < count:
        raise ChipDataError(
            f"{where}: {found} timesteps; the layout takes {count}, evenly spaced (its key evenly_spaced)"
        )
    return np.linspace(0, found - 1, count).round().astype(np.int32)


def _with_absent(values: NDArray[Any], modality: Modality, absent: Sequence[str]) -> NDArray[Any]:
    """Return ``[T, C, H, W]`` with bands of no data where the sensor has none, in a type that holds it."""
    # unsigned types do not hold −9999
    if values.dtype.kind == "u":
        values = values.astype(np.promote_types(values.dtype, np.int16))
    count, height, width = len(values), *values.shape[-2:]
    filled = np.full((count, len(modality.bands), height, width), modality.nodata[0], values.dtype)
    filled[:, [slot for slot, band in enumerate(modality.bands) if band not in absent]] = values
    return filled


def _expected(bands: int, present: Sequence[str], modality: Modality, layout: Layout) -> str:
    """Return what a file should hold, and what to do if it holds something else."""
    if modality.name == "S2L2A" and bands == len(S2L1C.bands):
        remedy = (
            "13 bands are those of Level-1C, at the top of the atmosphere: give them as S2L1C (--inputs S2L1C); if it "
            "is Level-2A with an empty B10, drop B10 (CIRRUS), or name it in a layout"
        )
    else:
        remedy = "If the file has other bands or another order, describe it in a layout file (--layout FILE)"
    times = f" × {layout.timesteps} timesteps" if layout.timesteps and layout.timesteps > 1 else ""
    return f"{len(present)}{times} ({' '.join(present)}). {remedy}"


def _read_npy(path: Path) -> FileContent:
    # A map of the file instead of a read: a header that declares more than there is takes no memory.
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype.kind not in "iufb":
        raise ValueError(f"data type {array.dtype}, expected numbers")
    check_size(array.nbytes)
    if not 2 <= array.ndim <= 4:
        raise FileFormatError(f"{array.ndim} dimensions {array.shape}", "write time, band, y, x")
    # copied into memory, as the file may be a temporary one that ends before the array
    return FileContent.plain(np.array(array))


READERS: Final[Mapping[str, Callable[[Path], FileContent]]] = {".zip": read_zarr_zip, ".npy": _read_npy}
"""Reader by file type, for all that GDAL does not read."""

__all__ = [
    "MAX_RASTER_BYTES",
    "NO_DATA",
    "ModalityRaster",
    "pick_bands",
    "read_band_files",
    "read_file",
    "read_modality",
    "read_raster",
]
