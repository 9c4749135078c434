"""Any TerraTorch datamodule joined with an augment store, by the names of its files, for plain ``terratorch fit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch
from kornia.augmentation import GeometricAugmentationBase2D, GeometricAugmentationBase3D
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor, nn

import finetune.model.backbone  # noqa: F401 - registers the backbone, so that `terratorch fit` finds it too
from augment_store.chips.chip_set import ChipSet
from augment_store.store.schema import ChipShape
from augment_store.utils.text import pluralize
from finetune.augment.augmentation import Augmentation, AugmentRequest
from finetune.augment.encodings import Placement
from finetune.augment.map_cache import MapCache
from finetune.augment.planes import join_images
from finetune.data.datamodule import STAGES
from finetune.data.joined.batch_audit import audit_batches
from finetune.data.joined.dataset import (
    JoinedDataset,
    Sample,
    given_to_transform,
    list_samples,
    transforms_of,
)
from finetune.data.joined.loaders import check_loaders
from finetune.data.joined.sample_checks import check_files, check_known, check_one_file_each, describe_dates
from finetune.data.reach import check_reached
from finetune.data.transform_checks import check_stays, check_values, find_fill
from finetune.data.transforms import Transforms, one_shape
from finetune.errors import ConfigError
from finetune.model.monitors import check_monitors
from finetune.model.shapes import check_shape

MEMORY_LIMIT_MB: Final = 2048
"""Memory the store's maps may take; beyond it they are read each time."""


class JoinedDataModule(LightningDataModule):
    """Datamodule of TerraTorch's whose samples gain the cached planes of a store.

    Maps go through the datamodule's own transforms together with the image, so that they turn with it. Planes are made
    of them and joined after the datamodule has standardised the image.

    Args:
        datamodule: The datamodule, whose datasets list their files: in a YAML, its class_path and init_args.
        augment: Folder of the augment store; None for the datamodule's own samples, as a baseline's. `encoding` then
            has no effect, and a `control` is refused.
        chip_files: How a file's name holds the chip's id, such as ``{id}_S2L2A.tif``; by default the name without
            its type.
        chips: Root folder of the chip set that the store was generated from. With it, the files that the datamodule
            reads are compared by digest with what the generator saw; without it, samples are joined by name alone.
        layout: How that chip set lies on disk: a layout that ships, or a YAML file; by default detected.
        timesteps: The store's timesteps that stand for those of the image, counted from 0; by default all.
        encoding: How cached modalities enter, see `finetune.augment.encodings`; by default as the store suggests. The
            model's ``backbone_encoding`` says the same.
        control: What stands in for the store's maps, see `finetune.augment.controls`.
        control_seed: Seed for random draws of the control.

    Raises:
        AugmentStoreError: If an argument is invalid; `setup` raises the errors that only the data reveal.
    """

    def __init__(
        self,
        datamodule: LightningDataModule,
        augment: str | None,
        chip_files: str = "{id}",
        chips: str | None = None,
        layout: str | None = None,
        timesteps: list[int] | None = None,
        encoding: list[str] | None = None,
        control: str | None = None,
        control_seed: int = 0,
    ) -> None:
        super().__init__()
        if chip_files.count("{id}") != 1:
            raise ConfigError(f"chip_files {chip_files!r}; expected {{id}} once, as in {{id}}_S2L2A.tif")
        # an empty string in a YAML is no store either
        augment = augment or None
        if augment is None and control is not None:
            raise ConfigError(f"control {control} without a store; name one with augment")
        self.datamodule = datamodule
        self.chip_files = chip_files
        request = (
            AugmentRequest.from_arguments(augment, encoding, control, control_seed)
            if augment
            else AugmentRequest()
        )
        self.augmentation = Augmentation(request, MEMORY_LIMIT_MB)
        if (placement := self.augmentation.plan.placement) in (Placement.TOKENS, Placement.LATE):
            raise ConfigError(
                f"encoding {placement.value}: samples of another datamodule are joined with planes for the backbone; "
                "take another encoding, or use finetune.data.datamodule.TimStoreDataModule"
            )
        self.timesteps = () if augment is None else _timesteps_of(timesteps, self.extent, augment)
        self.chips = None if chips is None or augment is None else ChipSet.open(chips, layout)
        self.samples: dict[str, tuple[Sample, ...]] = {}
        # Lightning hands these to every logger and puts them into each checkpoint
        self.save_hyperparameters({"joined": self._record()})

    def _record(self) -> dict[str, Any]:
        """Return what is joined, as plain values."""
        augmentation, maps = self.augmentation, self.augmentation.maps
        return {
            "store": str(augmentation.request.store or ""),
            "fingerprint": maps.fingerprint if maps else "",
            "encoding": list(augmentation.encoding),
            "planes": list(augmentation.plan.plane_names),
            "control": augmentation.request.control or "",
            "control_seed": augmentation.request.seed,
            "timesteps": list(self.timesteps),
            "chip_files": self.chip_files,
            "inputs_compared": maps is not None and self.chips is not None,
        }

    @property
    def extent(self) -> ChipShape:
        """Timesteps and size of the store's chips."""
        if self.augmentation.extent is None:  # a control that reads no maps needs no store elsewhere
            raise ConfigError(
                f"augment {self._store_path}: no such folder; joined planes have the size and time of a store"
            )
        return self.augmentation.extent

    def __getattr__(self, name: str) -> Any:
        """Return what tasks and callbacks ask of the datamodule itself, such as ``val_dataset`` or ``plot``."""
        if name.startswith("_") or name == "datamodule":  # unpickling asks before there is any
            raise AttributeError(name)
        return getattr(self.datamodule, name)

    # Joining -----------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Set the datamodule up and join the datasets that a stage needs.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            AugmentStoreError: If a sample has no maps in the store, or is not what the store was generated from.
        """
        self.datamodule.trainer = self.trainer  # by which it tells training from validation
        self.datamodule.setup(stage)
        for split in STAGES[stage]:
            datasets = self._join_split(split)
            for dataset in datasets:
                # a baseline's too, or a network could scramble its images without a word
                self._check_fits(dataset, split)
            if split == "train" and self.augmentation.plan.arrays and isinstance(self._task, LightningModule):
                # the sample and the trial draw random numbers, which training must not miss
                with torch.random.fork_rng(devices=[]):
                    check_reached(self._task, datasets[0][0], self.augmentation)
        if stage == "fit" and self.trainer is not None:  # which tells the datamodule how to standardize
            with torch.random.fork_rng(devices=[]):
                audit_batches(self.datamodule, self._task)
                self._check_task()

    @property
    def _task(self) -> Any:
        return None if self.trainer is None else self.trainer.lightning_module

    def _check_task(self) -> None:
        if isinstance(self._task, LightningModule) and isinstance(self.trainer, Trainer):
            check_monitors(self.trainer, self._task)

    def _join_split(self, split: str) -> list[Any]:
        """Join every dataset of a split: the one under its name, and those in a list, as for several test sets."""
        named = getattr(self.datamodule, f"{split}_dataset", None)
        listed = getattr(self.datamodule, f"{split}_datasets", None)
        several = list(listed) if isinstance(listed, list | tuple) else []
        if not self.augmentation.plan.arrays:
            return [dataset for dataset in (named, *several) if dataset is not None]
        # the one under the split's name is often the first of the list, and must stay the same object
        joined: dict[int, JoinedDataset] = {}
        for dataset in (named, *several):
            if id(dataset) not in joined:
                joined[id(dataset)] = self._join_once(dataset, split)
        # put back where the datamodule's own loaders look for them
        setattr(self.datamodule, f"{split}_dataset", joined[id(named)])
        if several:
            setattr(self.datamodule, f"{split}_datasets", [joined[id(dataset)] for dataset in several])
        return list(joined.values())

    def _join_once(self, dataset: Any, split: str) -> JoinedDataset:
        # another stage sets up again; joined twice, maps would be transformed twice
        return dataset if isinstance(dataset, JoinedDataset) else self._join(dataset, split)

    def _check_fits(self, dataset: Any, split: str) -> None:
        """Stop here, and not in a worker or the network, where sizes or times differ or transforms destroy."""

        def draw() -> tuple[int, int]:
            image = dataset[0]["image"]
            first: Tensor = next(iter(image.values())) if isinstance(image, dict) else image
            return first.shape[-2], first.shape[-1]

        with torch.random.fork_rng(devices=[]):  # training then shuffles as it would without a store
            given = given_to_transform(dataset)
            shape = one_shape(draw, transforms_of(dataset))
        if given:
            self._try_transforms(transforms_of(dataset), given)
        if given and split == "predict":
            # […, H, W, C] → (H, W)
            size = next(iter(given.values())).shape[-3:-1]
            check_stays(transforms_of(dataset), size)
        if self._task is not None:
            check_shape(self._task, shape)

    def _try_transforms(self, transforms: Transforms, given: Mapping[str, NDArray[Any]]) -> None:
        images = {name: value for name, value in given.items() if name != "mask"}
        check_values(transforms, images, given.get("mask"))
        # […, H, W, C] → (H, W)
        fill = find_fill(transforms, next(iter(images.values())).shape[-3:-1])
        ignored = getattr(self._task, "hparams", {}).get("ignore_index")
        # labels that the loss would learn as a class, from pixels of no image
        counted = (
            () if fill is None else sorted(label for label in fill.labels if label >= 0 and label != ignored)
        )
        if fill is not None and counted and self._task is not None:
            label = -1 if ignored is None else ignored
            raise ConfigError(
                f"transform {fill.transform} makes up to {fill.share:.0%} of an image's pixels, which come from no "
                f"image and get label {counted[0]}; give it fill_mask: {label}, and the task ignore_index: {label}"
            )

    def _join(self, dataset: Any, split: str) -> JoinedDataset:
        if dataset is None:
            raise ConfigError(
                f"{type(self.datamodule).__name__} has no {split}_dataset after its setup, so there is nothing to "
                "join; check the datamodule's arguments for that split"
            )
        # torchgeo's names for what a datamodule applies to batches on the device
        for name in ("aug", f"{split}_aug"):
            _check_stays(getattr(self.datamodule, name, None), name)
        samples = list_samples(dataset, split, self.chip_files)
        check_one_file_each([*chain.from_iterable(self.samples.values()), *samples])  # across splits too
        # several samples may be of one chip
        ids = tuple(dict.fromkeys(sample.chip_id for sample in samples))
        if self.augmentation.maps is not None:
            check_known(self.augmentation.maps, samples)
            self._check_inputs(self.augmentation.maps, samples)
        maps = self.augmentation.source(self.chips, ids, self.extent.shape)
        if maps is None:
            raise ConfigError("nothing to join; name an encoding")
        joined = JoinedDataset(
            dataset,
            samples,
            maps,
            self.timesteps,
            self.augmentation.plan.placement,
            self._store_path,
            training=split == "train",
        )
        # a split of several datasets is joined one after another
        self.samples[split] = (*self.samples.get(split, ()), *samples)
        return joined

    @property
    def _store_path(self) -> Path:
        return self.augmentation.request.store or Path()

    def _check_inputs(self, maps: MapCache, samples: Sequence[Sample]) -> None:
        """Compare what the datamodule reads with what the generator saw, if a chip set is named.

        Args:
            maps: The store's maps.
            samples: Samples of a split.

        Raises:
            ConfigError: If a sample's files are not the chip's.
            ChipSetError: If the chips are not those of the store.
        """
        dates = describe_dates(maps, samples[0].chip_id)
        if self.chips is None:
            rank_zero_warn(
                f"{maps.path}: joined by file name alone, so nothing tells whether the samples, or their dates, are "
                f"what it was generated from; to have them compared, name the chip set with chips.{dates}"
            )
            return
        if self.chips.layout.evenly_spaced:
            rank_zero_warn(
                f"{maps.path}: nothing tells which dates a sample has; let the datamodule take the store's.{dates}"
            )
        for sample in samples:
            check_files(self.chips, sample, maps.path)
            chip = self.chips.read(sample.chip_id, maps.inputs)
            maps.note(sample.chip_id, ChipShape.from_chip(chip), chip.digests())
        maps.check(self.chips)

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Standardize a batch as the datamodule does, then join the planes; Lightning calls this on the device."""
        # taken out first: the datamodule's own step knows no such key
        maps = batch.pop("maps", None)
        made: dict[str, Any] = self.datamodule.on_after_batch_transfer(batch, dataloader_idx)
        if maps is None:
            return made
        image: Tensor | dict[str, Tensor] = made["image"]
        # datamodules of a single modality give a tensor instead of a dict
        by_modality = image if isinstance(image, dict) else {"image": image}
        augmentation = self.augmentation
        joined = join_images(augmentation.plan, by_modality, maps, augmentation.token_modality)
        return {**made, "image": joined if isinstance(image, dict) else joined["image"]}

    # Left to the datamodule ---------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Download and prepare data."""
        self.datamodule.prepare_data()

    def teardown(self, stage: str) -> None:
        """End a stage."""
        self.datamodule.teardown(stage)

    def train_dataloader(self) -> Any:
        """Return batches of the training split."""
        return self._checked_loaders("train")

    def val_dataloader(self) -> Any:
        """Return batches of the validation split."""
        return self._checked_loaders("val")

    def test_dataloader(self) -> Any:
        """Return batches of the test split."""
        return self._checked_loaders("test")

    def predict_dataloader(self) -> Any:
        """Return batches of the samples to predict."""
        return self._checked_loaders("predict")

    def _checked_loaders(self, split: str) -> Any:
        made = getattr(self.datamodule, f"{split}_dataloader")()
        if self.augmentation.plan.arrays:
            check_loaders(made, split)
        return made


def _timesteps_of(named: list[int] | None, extent: ChipShape, store: str) -> tuple[int, ...]:
    steps = tuple(range(extent.timesteps)) if named is None else tuple(named)
    if not steps or min(steps) < 0 or max(steps) >= extent.timesteps:
        raise ConfigError(
            f"timesteps {list(steps)}; {store} has {pluralize(extent.timesteps, 'timestep')}, from 0"
        )
    return steps


def _check_stays(augmentation: Any, name: str) -> None:
    """Make sure that batches are not turned on the device, where the planes are not yet joined to the image."""
    steps = augmentation.modules() if isinstance(augmentation, nn.Module) else ()
    moving = (GeometricAugmentationBase2D, GeometricAugmentationBase3D)
    for step in steps:
        if isinstance(step, moving):
            raise ConfigError(
                f"the datamodule's {name} has Kornia's {type(step).__name__}, which would move the image without its "
                "maps; use an Albumentations transform of the datamodule instead"
            )
