"""Feature maps on disk: a Zarr array for each chip, and the key of what they were made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from augment_store.io.files import (
    OUTPUT_LOCALLY,
    atomic_folder,
    check_local,
    read_text,
    write_json,
)
from augment_store.utils.text import join_first, pluralize
from augment_store.utils.validation import load_json, parse
from finetune.errors import RunError

HEADER: Final = "features.json"
"""File that holds the key; beside it each chip has a Zarr array of its name."""

MAX_LENGTH: Final = 80
"""Characters of a key's value that a message shows."""


@dataclass(frozen=True)
class FeatureKey:
    """What decides features beside a chip's own input and maps: features of another key are of no use.

    Attributes:
        network: Arguments of the backbone, as JSON.
        weights: SHA-256 of its tensors.
        layers: Positions of its outputs that are kept.
        inputs: Modalities with their bands, as JSON.
        timesteps: Timesteps in use.
        statistics: Means and standard deviations of the bands, as JSON.
        no_data: Value that means no observation in this data set, and what replaces it.
        encoding: Encodings that enter the backbone; empty for none.
        maps: Control with the seed of its draws, and fingerprint of the store, that these encodings read; empty for
            none.
        precision: Arithmetic of the backbone: ``tf32``, or Lightning's precision.
        dtype: Type in which features are kept.
        versions: Packages that decide the result.
    """

    network: str
    weights: str
    layers: tuple[int, ...]
    inputs: str
    timesteps: tuple[int, ...]
    statistics: str
    no_data: str
    encoding: tuple[str, ...]
    maps: str
    precision: str
    dtype: str
    versions: Mapping[str, str]

    def check(self, path: Path, found: FeatureKey) -> None:
        """Make sure that features on disk are of this key.

        Raises:
            RunError: Naming the first field that differs.
        """
        for field in dataclasses.fields(self):
            wanted, there = getattr(self, field.name), getattr(found, field.name)
            if wanted != there:
                raise RunError(
                    f"{path}: features of other {field.name}: {_cut(there)} there, {_cut(wanted)} here; name the "
                    "features of this configuration, or make them with encode into another --features"
                )


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} …"


@dataclass(frozen=True)
class ChipRecord:
    """What the features of a chip were made from.

    Attributes:
        inputs: Digest of its raw input.
        maps: Digest of its maps that entered the backbone; empty for none.
        symmetries: Symmetries of the image, in the order of the array.
        axes: Order of a layer's axes on disk; empty as long as there are no features.
    """

    inputs: str
    maps: str
    symmetries: tuple[str, ...]
    axes: tuple[int, ...] = ()

    def is_of(self, wanted: ChipRecord) -> bool:
        """Tell whether features of this record were made from the wanted input and maps."""
        return (self.inputs, self.maps) == (wanted.inputs, wanted.maps)

    def serves(self, wanted: ChipRecord) -> bool:
        """Tell whether features of this record are there for all that is wanted."""
        return self.is_of(wanted) and set(wanted.symmetries) <= set(self.symmetries)


class FeatureStore:
    """Features of one key, ``[symmetry, layer, …]`` for each chip.

    A chip's array is written whole or not at all, so that what is there is complete, whenever its writer was killed.

    Args:
        path: Folder.
        key: What its features were made from.
    """

    def __init__(self, path: Path, key: FeatureKey) -> None:
        self.path = path
        self.key = key

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open features on disk.

        Raises:
            RunError: If there are none, or another version wrote them.
        """
        header = path / HEADER
        if not header.is_file():
            raise RunError(
                f"{header}: no such file; make features with tim-finetune encode --features {path}"
            )
        try:
            return cls(path, parse(FeatureKey, load_json(read_text(header))))
        except (OSError, ValueError) as error:
            raise RunError(f"{header}: not the key of features that this version wrote ({error})") from error

    @classmethod
    def create(cls, path: Path, key: FeatureKey) -> Self:
        """Open features of this key, or begin them in a folder that is free.

        Raises:
            RunError: If there are features of another key.
            OutputError: If anything else is there, or it cannot be written.
        """
        check_local("--features", path, OUTPUT_LOCALLY)
        if (path / HEADER).is_file():
            made = cls.open(path)
            key.check(path, made.key)
            return made
        # the folder appears with its key, so that a kill leaves none that the next start would refuse
        with atomic_folder(path) as draft:
            write_json(draft / HEADER, dataclasses.asdict(key))
        return cls(path, key)

    def record(self, chip_id: str) -> ChipRecord | None:
        """Return what a chip's features were made from; None if it has none.

        Raises:
            RunError: If what is there is damaged.
        """
        metadata = self.path / chip_id / "zarr.json"
        if not metadata.is_file():
            return None
        try:
            # read as JSON: zarr takes ten times as long for each of many chips
            return parse(ChipRecord, load_json(read_text(metadata))["attributes"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{metadata}: damaged ({error}); delete {self.path / chip_id}, and run encode again"
            ) from error

    def missing(self, wanted: Mapping[str, ChipRecord]) -> dict[str, ChipRecord]:
        """Return what must be made: chips without features, or with features of other input or too few symmetries.

        A chip keeps the symmetries that another training has of it.
        """
        return _missing_features(self._records(wanted), wanted)

    def _records(self, chip_ids: Iterable[str]) -> dict[str, ChipRecord | None]:
        return {chip_id: self.record(chip_id) for chip_id in chip_ids}

    def check(self, wanted: Mapping[str, ChipRecord]) -> tuple[int, ...]:
        """Make sure that there are features of every chip; return the order of a layer's axes, which is that of all.

        Raises:
            RunError: Naming chips and what they lack, or two whose axes differ.
        """
        records = self._records(wanted)
        lacking = _missing_features(records, wanted)
        if lacking:
            first = next(iter(lacking))
            raise RunError(
                f"{self.path}: {pluralize(len(lacking), 'chip')} ({join_first(lacking, 5)}): {first} "
                f"{_what_lacks(records[first], wanted[first])} them"
            )
        # one chip of each order
        orders = {record.axes: chip_id for chip_id, record in records.items() if record is not None}
        if len(orders) > 1:
            one, other, *_ = orders.values()
            raise RunError(
                f"{self.path}: features of chips {one} and {other} have their axes in other orders, as two kinds of "
                "device leave them; delete the folder, and encode all chips on one kind of device"
            )
        return next(iter(orders))

    def write(self, chip_id: str, record: ChipRecord, values: NDArray[np.float32]) -> None:
        """Write features of a chip in place of any that it has.

        Args:
            chip_id: The chip.
            record: What they were made from.
            values: ``[symmetry, layer, …]``.

        Raises:
            RunError: If a value is beyond the range of the type in which features are kept.
            OutputError: If the disk fails; what the chip had is then still there.
        """
        with np.errstate(over="ignore"):  # reported below
            kept = values.astype(self.key.dtype)
        if not np.isfinite(kept).all():
            what = (
                "not finite"
                if not np.isfinite(values).all()
                else f"beyond {self.key.dtype} ({np.abs(values).max():g})"
            )
            raise RunError(
                f"{self.path}: features of chip {chip_id} are {what}; encode them with --dtype float32"
            )
        # those that it has are of other inputs, or of fewer symmetries
        with atomic_folder(self.path / chip_id, replaces=True) as draft:
            array = zarr.create_array(
                draft,
                shape=kept.shape,
                # one image's features, as a training reads them
                chunks=(1, *kept.shape[1:]),
                dtype=kept.dtype,
                # features are finite, so that a chunk that is gone is told from one of zeros
                fill_value=np.nan,
                compressors=[Crc32cCodec()],
                attributes=dataclasses.asdict(record),
                dimension_names=("symmetry", "layer", *(f"axis_{n}" for n in range(kept.ndim - 2))),
            )
            # one chunk at a time: on a full disk, threads would make folders in a draft that is being removed
            for number, image in enumerate(kept):
                array[number] = image

    def read(self, chip_id: str, symmetry: str, wanted: ChipRecord) -> NDArray[Any]:
        """Return features of one image, ``[layer, …]``.

        Args:
            chip_id: The chip.
            symmetry: Symmetry of the image.
            wanted: What they must be made from.

        Raises:
            RunError: If they are missing or damaged, or encode has replaced them since `check`.
        """
        try:
            array = zarr.open_array(self.path / chip_id, mode="r")
            found = parse(ChipRecord, dict(array.attrs))
            values = array[found.symmetries.index(symmetry)] if found.serves(wanted) else None
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{self.path / chip_id}: cannot be read ({error}); delete it, and run encode again"
            ) from error
        # looked at again, as encode may replace a chip between its attributes and its values
        if values is None or self.record(chip_id) != found:
            raise RunError(
                f"{self.path / chip_id}: replaced while this training was reading it; run encode again with this "
                "training's configuration, and the training, which resumes"
            )
        features = np.asarray(values)
        # one chunk holds the image's features, and all of it is the fill value if the chunk is gone
        if np.isnan(features.flat[0]):
            raise RunError(
                f"{self.path / chip_id}: features of symmetry {symmetry} are gone; delete it, and run encode again"
            )
        return features


def _missing_features(
    records: Mapping[str, ChipRecord | None], wanted: Mapping[str, ChipRecord]
) -> dict[str, ChipRecord]:
    lacking = {}
    for chip_id, record in wanted.items():
        found = records[chip_id]
        if found is None or not found.is_of(record):
            lacking[chip_id] = record
        elif not found.serves(record):
            # what there is stays, since another training may use it
            whole = tuple(dict.fromkeys((*found.symmetries, *record.symmetries)))
            lacking[chip_id] = dataclasses.replace(record, symmetries=whole)
    return lacking


def _what_lacks(found: ChipRecord | None, wanted: ChipRecord) -> str:
    """Say what is wrong with a chip's features, and what encode does about it."""
    again = "run encode again with this configuration, which"
    if found is None:
        return f"has no features; {again} adds"
    if found.inputs != wanted.inputs:
        return f"has features of other inputs than are on disk; {again} replaces"
    if found.maps != wanted.maps:
        return f"has features of other maps than the store's; {again} replaces"
    # in the order of the eight, not of a set
    gone = [name for name in wanted.symmetries if name not in found.symmetries]
    return f"lacks the symmetries {' '.join(gone)} of the train_transform; {again} adds"
