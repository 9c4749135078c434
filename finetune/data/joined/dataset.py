"""Samples of any TerraTorch dataset joined with cached maps, which go through its own transforms.

TerraTorch's datasets apply their transforms inside ``__getitem__``. So a sample's maps are handed to the dataset's
transform before the dataset is asked for the sample, and taken out again when it is done: whatever turns, flips or
crops the image does the same to the maps, with the same random draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

import albumentations as A  # noqa: N812 - the name everyone knows it by
import numpy as np
import torch
from numpy.typing import NDArray
from terratorch.datasets.transforms import MultimodalToTensor, MultimodalTransforms
from torch import Tensor
from torch.utils.data import Dataset

from augment_store.utils.text import format_size, pluralize
from finetune.augment.augmentation import JoinedMaps
from finetune.augment.encodings import Placement, carrier_of
from finetune.data.dataset import SampleDraw, read_maps
from finetune.data.transforms import (
    COVERAGE,
    COVERED,
    check_steps,
    every_step,
    fill_maps,
    flatten_maps,
    unflatten_maps,
)
from finetune.errors import ConfigError

LISTS: Final = ("samples", "image_files", "id_patches")
"""Attributes under which TerraTorch's datasets list what they read, a sample an entry."""

PREFIX: Final = "cached_"
"""Of the maps' names in a transform, so that a modality of the same name is another."""


@dataclass(frozen=True)
class Sample:
    """Files and chip of a sample, known before it is read.

    Attributes:
        files: Its files by modality, as the dataset names them; one that has no modalities is under ``image``. Empty
            where the dataset names its samples by id.
        file: The one of them whose name holds the chip's id, or the id.
        chip_id: The chip.
    """

    files: Mapping[str, str]
    file: str
    chip_id: str

    @property
    def name(self) -> str:
        """Name of the file that holds the chip's id."""
        return PurePath(self.file).name


def list_samples(dataset: Any, split: str, pattern: str) -> tuple[Sample, ...]:
    """List the samples of a dataset in its order.

    Args:
        dataset: A dataset of TerraTorch's.
        split: Its split, for messages.
        pattern: How a file's name holds the chip's id, such as ``{id}_S2L2A.tif``; ``{id}`` alone for a name without
            its type.

    Raises:
        ConfigError: If the dataset does not list its files, or a name does not match the pattern.
    """
    found = next((getattr(dataset, name) for name in LISTS if hasattr(dataset, name)), None)
    # a list of another length is no list of samples
    if found is None or len(found) != len(dataset):
        raise ConfigError(
            f"{split} split: {type(dataset).__name__} does not list what it reads, a file a sample, under "
            f"{', '.join(LISTS)}, so that nothing tells which chip a sample is; wrap another datamodule"
        )
    return tuple(_sample(entry, split, pattern) for entry in found)


def _sample(entry: Any, split: str, pattern: str) -> Sample:
    named = entry if isinstance(entry, Mapping) else {"image": entry}
    # tabular modalities are arrays; a mask names its labels, not the image
    files = {
        str(key): str(value)
        for key, value in named.items()
        if isinstance(value, str | PurePath | int | np.integer) and key != "mask"
    }
    for file in files.values():
        chip_id = find_id(PurePath(file).name, pattern)
        if chip_id:
            # a bare number names the chip, but no file to compare
            return Sample({} if isinstance(entry, int | np.integer) else files, file, chip_id)
    raise ConfigError(
        f"{split} split: no file name of sample {next(iter(files.values()), entry)!s} matches chip_files {pattern!r}; "
        "expected a pattern with {id} once, such as {id}_S2L2A.tif"
    )


def find_id(name: str, pattern: str) -> str | None:
    """Return the chip's id in a file's name; None if the name does not match the pattern."""
    if pattern == "{id}":
        # the stem of a .zarr.zip would keep its .zarr
        return name.removesuffix(".zarr.zip") if name.endswith(".zarr.zip") else PurePath(name).stem
    prefix, suffix = pattern.split("{id}")
    # the length rules out an empty id, and a prefix that overlaps the suffix
    fits = name.startswith(prefix) and name.endswith(suffix) and len(name) > len(prefix) + len(suffix)
    return name[len(prefix) : len(name) - len(suffix)] if fits else None


class JoinedTransform:
    """Transform of a dataset, through which the maps of a sample go too.

    Args:
        inner: The dataset's transform.
        arrays: Names of the cached maps.
        timesteps: Number of timesteps.

    Attributes:
        given: Maps of the sample that is about to be read, ``[T, …, H, W]`` by array.
        moved: The same maps behind the transform.

    Raises:
        ConfigError: If the maps cannot go along.
    """

    def __init__(self, inner: Any, arrays: Sequence[str], timesteps: int) -> None:
        self.inner = inner
        # a dataset hands only its own sample to the transform, so the maps wait here
        self.given: dict[str, NDArray[Any]] = {}
        self.moved: dict[str, Tensor] = {}
        self._compose = _shared_compose(inner)
        if self._compose is not None:
            check_steps(self._compose.transforms, arrays, timesteps)
            # as masks they are resampled by nearest neighbor, and photometric steps leave them alone
            self._compose.add_targets({f"{PREFIX}{name}": "mask" for name in (*arrays, COVERAGE)})

    def __call__(self, *positional: dict[str, Any], **named: Any) -> dict[str, Any]:
        """Transform a sample, given as one dict or by name, as the dataset calls it."""
        data = positional[0] if positional else named
        _check_size(data, self.given)
        if self._compose is not None:
            size = next(iter(self.given.values())).shape[-2:]
            flat = {name: flatten_maps(maps) for name, maps in self.given.items()}
            # a plane of one value that moves along: where it has another behind the transform, there is no image
            flat[COVERAGE] = np.full(size, COVERED, np.int16)
            data = {**data, **{f"{PREFIX}{name}": values for name, values in flat.items()}}
        made: dict[str, Any] = self.inner(data) if positional else self.inner(**data)
        # no step moves a pixel, so the maps stay as they are
        if self._compose is None:
            self.moved = {name: torch.from_numpy(maps) for name, maps in self.given.items()}
            return made
        # popped, so that the dataset gets back what it would have got without maps
        outside = torch.as_tensor(made.pop(f"{PREFIX}{COVERAGE}")) != COVERED
        moved = {
            name: unflatten_maps(made.pop(f"{PREFIX}{name}"), maps.shape[:-2])
            for name, maps in self.given.items()
        }
        self.moved = {name: fill_maps(name, values, outside) for name, values in moved.items()}
        return made


def given_to_transform(dataset: Any) -> dict[str, NDArray[Any]]:
    """Return images and mask of the first sample as a dataset gives them to its transforms; empty without any."""
    inner = dataset.inner if isinstance(dataset, JoinedDataset) else dataset
    if transforms_of(inner) is None:
        return {}
    transform, given = inner.transform, dict[str, Any]()

    def record(*positional: dict[str, Any], **named: Any) -> dict[str, Any]:
        given.update(positional[0] if positional else named)
        made: dict[str, Any] = transform(*positional, **named)
        return made

    # for one sample, a transform that also writes down what it was given
    inner.transform = record
    try:
        dataset[0]
    finally:
        inner.transform = transform
    arrays = {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    # images have three axes or more; smaller arrays, such as tables, are none
    return {name: value for name, value in arrays.items() if value.ndim > 2 or name == "mask"}


def transforms_of(dataset: Any) -> A.Compose | None:
    """Return the Albumentations that all modalities of a dataset share, or None if none can be found."""
    transform = getattr(dataset, "transform", None)
    inner = transform.inner if isinstance(transform, JoinedTransform) else transform
    steps = inner.transforms if isinstance(inner, MultimodalTransforms) else inner
    return steps if isinstance(steps, A.Compose) else None


def _shared_compose(transform: Any) -> A.Compose | None:
    """Return the Albumentations that all modalities share; None if nothing of the transform moves a pixel.

    Raises:
        ConfigError: If modalities are moved one by one, or what the transform does is unknown.
    """
    if isinstance(transform, MultimodalTransforms):
        if transform.shared:
            return transform.transforms
        steps = [
            step for single in transform.transforms.values() for step in getattr(single, "transforms", ())
        ]
        # a DualTransform moves the pixels of image and mask; others change values alone
        spatial = [type(step).__name__ for step in every_step(steps) if isinstance(step, A.DualTransform)]
        if spatial:
            raise ConfigError(
                f"transform {spatial[0]} moves each modality by itself, so that cached maps have nothing to move with; "
                "give one list of transforms for all modalities, and leave shared_transforms at its default"
            )
        return None
    if isinstance(transform, A.Compose):
        return transform
    if isinstance(transform, MultimodalToTensor) or _of_terratorch(transform):
        return None
    raise ConfigError(
        f"transform {transform!r}: whether it moves pixels is unknown; expected a list of Albumentations"
    )


def _of_terratorch(transform: Any) -> bool:
    """Tell whether it is one of TerraTorch's functions that make tensors where no transform is named."""
    # functions have code; instances of TerraTorch's classes, which could move pixels, have not
    return str(getattr(transform, "__module__", "")).startswith("terratorch.") and hasattr(
        transform, "__code__"
    )


def _check_size(data: Mapping[str, Any], maps: Mapping[str, NDArray[Any]]) -> None:
    """Make sure that an image, ``[…, H, W, C]`` here, and its maps have the same pixels before any transform."""
    shapes = [
        value.shape[-3:-1] for value in data.values() if isinstance(value, np.ndarray) and value.ndim > 2
    ]
    for own in (values.shape[-2:] for values in maps.values()):
        if shapes and own != shapes[0]:
            raise ConfigError(
                f"{format_size(shapes[0])} before its transforms, {format_size(own)} in the store"
            )


class JoinedDataset(Dataset[dict[str, Any]]):
    """Dataset of TerraTorch's whose samples have cached maps, raw, under ``maps``.

    Args:
        inner: The dataset; its transform is replaced by one that takes the maps along.
        samples: Its samples, by `list_samples`.
        maps: Where the maps come from, and the arrays that are read.
        timesteps: The store's timesteps that are joined.
        placement: Where the maps enter the model.
        store: The store, for messages.
        training: Whether one of several generated samples is drawn at random; otherwise it is the first.

    Raises:
        ConfigError: If the maps cannot go through the dataset's transform.
    """

    def __init__(
        self,
        inner: Any,
        samples: Sequence[Sample],
        maps: JoinedMaps,
        timesteps: tuple[int, ...],
        placement: Placement,
        store: Path,
        *,
        training: bool,
    ) -> None:
        self.inner = inner
        self.samples_joined = samples
        self._maps, self._timesteps, self._placement = maps, timesteps, placement
        self._store, self._draw = store, SampleDraw() if training else None
        self._transform: JoinedTransform | None = None
        if getattr(inner, "transform", None) is not None:
            self._transform = JoinedTransform(inner.transform, maps.arrays, len(timesteps))
            inner.transform = self._transform
        elif getattr(inner, "transforms", None) is not None:
            raise ConfigError(
                f"{type(inner).__name__} keeps its transforms where cached maps cannot go through them"
            )

    def __getattr__(self, name: str) -> Any:
        """Return what tasks ask of the dataset itself, such as ``plot``."""
        if name.startswith("_") or name == "inner":  # unpickling asks before there is any
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __len__(self) -> int:
        return len(self.samples_joined)

    def __getitem__(self, index: Any) -> dict[str, Any]:
        """Return the dataset's sample, with ``maps`` ``[T, …, H, W]`` by array, transformed alike.

        Args:
            index: As the dataset takes it; a pair begins with the position.

        Raises:
            ConfigError: If image and maps differ in size or time; the message names file, chip and store.
        """
        known = self.samples_joined[index[0] if isinstance(index, tuple) else index]
        maps = read_maps(self._maps, known.chip_id, self._timesteps, self._draw)
        try:
            if self._transform is None:
                sample = dict(self.inner[index])
                moved = {name: torch.from_numpy(values) for name, values in maps.items()}
            else:
                # handed over before, taken back after: the dataset calls its transform inside `__getitem__`
                self._transform.given = maps
                sample = dict(self.inner[index])
                moved = self._transform.moved
            self._check_same_grid(sample["image"], moved)
        except ConfigError as error:
            raise ConfigError(f"{known.name}, chip {known.chip_id} of {self._store}: {error}") from None
        return sample | {"maps": moved}

    def _check_same_grid(self, image: Tensor | Mapping[str, Tensor], maps: Mapping[str, Tensor]) -> None:
        if not isinstance(image, Mapping) and self._placement is not Placement.BANDS:
            raise ConfigError(
                "its image is not by modality, so that planes can only be bands; use another encoding"
            )
        seen = image[carrier_of(tuple(image))] if isinstance(image, Mapping) else image
        moved = next(iter(maps.values()))
        if seen.ndim not in (3, 4):
            raise ConfigError(
                f"an image of {seen.ndim} dimensions; expected [band, y, x] or [band, time, y, x]"
            )
        if tuple(seen.shape[-2:]) != tuple(moved.shape[-2:]):
            raise ConfigError(f"{format_size(seen.shape[-2:])}, but its maps {format_size(moved.shape[-2:])}")
        # [C, T, H, W], or [C, H, W] for one timestep
        times = seen.shape[1] if seen.ndim == 4 else 1
        joined = len(self._timesteps)
        if times != joined:
            raise ConfigError(
                f"the image has {pluralize(times, 'timestep')}, but {joined} of the store are joined; name "
                "those that stand for the image's with timesteps, such as [0], or let the datamodule take as many"
            )
