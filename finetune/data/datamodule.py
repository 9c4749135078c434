"""The Lightning datamodule of stage 2: chips, splits and an optional store, under Phase 2's argument names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader

import finetune.model.backbone
import finetune.model.late_fusion  # noqa: F401 - both are registered, so that `terratorch fit` finds them too
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import Georeference
from augment_store.chips.shared_ground import Pair
from augment_store.io.remote import as_path
from augment_store.modalities.definitions import IGNORED_LABEL
from augment_store.utils.text import format_size
from finetune.augment.augmentation import MEGABYTE, Augmentation, AugmentRequest
from finetune.augment.encodings import Placement
from finetune.augment.planes import join_images
from finetune.data.dataset import ChipDataset, ReadConfig, SplitMembers, collate, find_bands
from finetune.data.normalization import (
    DEFAULT_PRESET,
    PRESETS,
    Statistics,
    check_units,
    find_statistics,
    find_unit_concerns,
    preset_of,
)
from finetune.data.split_checks import (
    INPUT_MODALITIES_BY_DEFAULT,
    SplitDigest,
    SplitRequirements,
    check_labels,
    check_shared_chips,
    find_shared_chips,
    open_chips,
    survey_chips,
)
from finetune.data.splits import SceneRule, Splits, read_splits, require_split
from finetune.data.standardization_audit import audit_split
from finetune.data.training_checks import check_training
from finetune.data.transform_checks import PixelGrid, check_stays, find_fill, find_grid, try_transforms
from finetune.data.transforms import SampleTransform, TransformList, Transforms
from finetune.errors import ConfigError
from finetune.log_filters import notify
from finetune.model.shapes import PADDED_TO, check_shape

STAGES: Final = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}
"""Splits that each of Lightning's stages needs."""


class TimStoreDataModule(LightningDataModule):
    """Chips joined with an augment store, for TerraTorch's `SemanticSegmentationTask`.

    Args:
        data_root: Root folder of the chip set, or its ``data`` folder if no layout is named.
        train_split: File with a chip id a line; by default the chip set's own.
        val_split: See `train_split`.
        test_split: See `train_split`.
        predict_split: Chips to predict; by default those of the test split.
        modalities: Input modalities in the order the model gets them.
        bands: Band names of each modality that does not use all of them.
        timesteps: Timesteps, counted from 0; by default all that the chips have. A single one gives images without
            a time axis.
        no_data_value: A value that means "no observation" in this data set, besides those of each modality.
        no_data_replace: What replaces it in the model's input.
        means: ``impactmesh_flood`` (as Phase 2), ``impactmesh_fire``, ``terramind_v1``, or numbers by modality; by
            default those of ImpactMesh's set that the chips are, else ``impactmesh_flood``, with a note.
        stds: Likewise, from the same origin; a preset named under one of the two applies to both.
        batch_size: Chips per batch.
        num_workers: Processes that read ahead.
        train_transform: Albumentations transforms of training samples.
        val_transform: See `train_transform`.
        test_transform: See `train_transform`; prediction uses it too.
        class_names: Names of the classes, by label; without them labels have no upper bound.
        augment: Folder of the augment store, or None for the plain fine-tune.
        encoding: How cached modalities enter, see `finetune.augment.encodings`; by default as the store suggests.
        control: What stands in for the store's maps, see `finetune.augment.controls`.
        control_seed: Seed for random draws of the control: which chip gets whose maps under ``shuffle``.
        layout: How the chips lie on disk: a layout that ships, or a YAML file; by default detected from the files.
        scenes: Rule for a chip's scene: a CSV file of chip and scene, or a regular expression for what to strip
            from an id; by default the store's scenes, and without a store the layout's rule.
        allow_scene_overlap: Whether a scene, the same ground, or the same input under two ids, may be in two splits.
        memory_limit_mb: MiB that the store's maps may take, and features as much; beyond it they are read each time.
        limit_chips: Takes only the first chips of each split, for a smoke run.

    Raises:
        AugmentStoreError: If an argument is invalid; `setup` raises the errors that only the data reveal.
    """

    def __init__(
        self,
        data_root: str,
        train_split: str | None = None,
        val_split: str | None = None,
        test_split: str | None = None,
        predict_split: str | None = None,
        modalities: list[str] | None = None,
        bands: dict[str, list[str]] | None = None,
        timesteps: list[int] | None = None,
        no_data_value: float | None = None,
        no_data_replace: float | None = 0.0,
        means: str | dict[str, list[float]] | None = None,
        stds: str | dict[str, list[float]] | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        train_transform: TransformList = None,
        val_transform: TransformList = None,
        test_transform: TransformList = None,
        class_names: list[str] | None = None,
        augment: str | None = None,
        encoding: list[str] | None = None,
        control: str | None = None,
        control_seed: int = 0,
        layout: str | None = None,
        scenes: str | None = None,
        allow_scene_overlap: bool = False,
        memory_limit_mb: int = 2048,
        limit_chips: int | None = None,
    ) -> None:
        super().__init__()
        self.data_root = as_path(data_root)
        self.files = {"train": train_split, "val": val_split, "test": test_split}
        self.predict_split, self.limit_chips = predict_split, limit_chips
        self.bands = find_bands(modalities or INPUT_MODALITIES_BY_DEFAULT, bands)
        self.timesteps = tuple(timesteps) if timesteps else None
        self.no_data = (no_data_value, no_data_replace or 0.0)  # null in a YAML means 0
        self._named_statistics = means or None, stds or None
        # mistakes are reported before any file is opened; a data set's own preset is chosen when its layout is known
        find_statistics(*self._named_statistics, self.bands)
        self.class_names = tuple(class_names or ())
        if batch_size < 1 or num_workers < 0:
            raise ConfigError(
                f"batch_size {batch_size}, num_workers {num_workers}; expected 1 or more, and 0 or more"
            )
        self.batch_size, self.num_workers = batch_size, num_workers
        self.transforms: dict[str, Transforms] = {"train": train_transform, "val": val_transform}
        self.transforms |= {"test": test_transform, "predict": test_transform}
        request = AugmentRequest.from_arguments(augment, encoding, control, control_seed)
        self.augmentation = Augmentation(request, memory_limit_mb)
        self.memory_limit = memory_limit_mb * MEGABYTE
        self.layout = layout
        self.scene_rule = SceneRule(scenes, allow_scene_overlap, self.augmentation.scenes)
        self.survey_folder: Path | None = None
        self.audits = True
        self.surveys: dict[str, SplitDigest] = {}
        self.shared_chips: tuple[Pair, ...] = ()
        self.datasets: dict[str, ChipDataset] = {}
        self.grids, self.shapes = dict[str, PixelGrid | None](), dict[str, tuple[int, int]]()

    # Data on disk ------------------------------------------------------------------------------------

    @cached_property
    def chips(self) -> ChipSet:
        """Chip set on disk.

        Raises:
            ChipSetError: If there is none, or the layout is unknown.
            ConfigError: If its values are in other units than the statistics.
        """
        check_units(self.statistics, self._opened.layout)
        return self._opened

    @cached_property
    def _opened(self) -> ChipSet:
        # apart from `chips`: the check there needs the statistics, and these may depend on the layout
        return open_chips(self.data_root, self.layout)

    @cached_property
    def statistics(self) -> Statistics:
        """Means and standard deviations in use.

        Raises:
            ChipSetError: If none are named and there are no chips to tell.
        """
        means, stds = self._named_statistics
        if means is None and stds is None:
            means = preset_of(self._opened.layout)
        return find_statistics(means, stds, self.bands)

    @cached_property
    def reading(self) -> ReadConfig:
        """Bands and timesteps that are read from a chip; if no timesteps are named, all that the first chip has.

        Raises:
            AugmentStoreError: If that chip cannot be read.
        """
        timesteps = self.timesteps
        if timesteps is None:
            # one chip tells; `survey_chips` then refuses any that has fewer
            timesteps = tuple(range(self.chips.read(self.chips.ids[0], tuple(self.bands)).timesteps))
        return ReadConfig(self.bands, timesteps, *self.no_data)

    @cached_property
    def splits(self) -> Splits:
        """Chips of each split.

        Raises:
            ChipSetError: If a split file is missing or empty, or splits overlap.
        """
        files = {split: as_path(name) if name else None for split, name in self.files.items()}
        return read_splits(self.chips, files, self.scene_rule)

    def _members(self, split: str) -> SplitMembers:
        if split != "predict":
            ids, scenes = require_split(self.splits, split, self.chips), self.splits.scenes
        else:
            named = (
                self.chips.read_split(as_path(self.predict_split))
                if self.predict_split
                else self.splits.ids.get("test")
            )
            # without a test split every chip is predicted
            ids = named or self.chips.ids
            scenes = self.scene_rule.scenes(self.chips, ids)
        return SplitMembers(ids[: self.limit_chips], scenes, training=split == "train")

    def setup(self, stage: str) -> None:
        """Check every chip of the splits a stage needs and make their datasets.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``predict``.

        Raises:
            AugmentStoreError: If a split, a chip, a mask or the store is invalid; the message names it.
        """
        # our own command sets up before Lightning does
        first = stage == "fit" and "train" not in self.datasets
        if first:
            self._doubt_units()
            self._doubt_preset()
        for split in STAGES[stage]:
            # Lightning asks again for validation and test, and a split is surveyed once in a process
            if split not in self.datasets:
                self.datasets[split] = self._dataset(split)
                self._check_fits(split)
        if first:
            # only now have both splits been surveyed; that of the test is only looked at
            splits = {split: ids[: self.limit_chips] for split, ids in self.splits.ids.items()}
            self.shared_chips = find_shared_chips(self.chips, splits, self.surveys, self.survey_folder)
            check_shared_chips(self.shared_chips, allowed=self.scene_rule.allow_overlap)
            for split in STAGES[stage] if self.audits else ():
                audit_split(split, self.datasets[split], self.transforms[split], self.statistics)
            if self.trainer is not None:  # as above
                check_training(self.trainer, self)

    @rank_zero_only
    def _doubt_preset(self) -> None:
        if self._named_statistics == (None, None) and preset_of(self.chips.layout) is None:
            notify(
                f"no means and stds are named, so those of ImpactMesh's flood set ({DEFAULT_PRESET}) are used; name "
                f"{', '.join(PRESETS)}, or numbers in the unit on disk"
            )

    @rank_zero_only
    def _doubt_units(self) -> None:
        for concern in find_unit_concerns(self.statistics, self.augmentation.inputs):
            notify(f"{self.augmentation.request.store}: {concern}")

    def _dataset(self, split: str) -> ChipDataset:
        members = self._members(split)
        # chips to predict may have no masks
        reading = dataclasses.replace(self.reading, mask=split != "predict")
        classes = len(self.class_names) or None
        rules = SplitRequirements(reading.modalities, reading.timesteps, classes, reading.mask)
        # before any map is read: it stops at chips that the store was not generated from
        survey = survey_chips(self.chips, members.ids, rules, self.augmentation.maps, self.survey_folder)
        if self.limit_chips is None:  # the first chips alone may hold no label
            check_labels(self.chips, split, survey, self.class_names)
        self._check_tokens(survey.shape)
        self.surveys[split] = survey
        maps = self.augmentation.source(self.chips, members.ids, survey.shape)
        arrays = maps.arrays if maps else ()
        transform = SampleTransform(
            self.transforms[split], reading.modalities, arrays, len(reading.timesteps)
        )
        return ChipDataset(self.chips, members, reading, transform, maps)

    def _check_tokens(self, shape: tuple[int, int]) -> None:
        """Check the size: TerraTorch embeds tokens of squares only, and its padding would shift a token grid."""
        height, width = shape
        if self.augmentation.plan.placement is Placement.TOKENS and (height != width or height % PADDED_TO):
            raise ConfigError(
                f"encoding tokens needs square chips whose side is a multiple of {PADDED_TO} px; these have "
                f"{format_size(shape)}; take another encoding, or cut such chips (tim-store cut)"
            )

    def _check_fits(self, split: str) -> None:
        """Note the shape that transforms make of a chip, and stop if a batch or the network cannot take it."""
        dataset, transforms = self.datasets[split], self.transforms[split]
        (height, width), shape = try_transforms(dataset, transforms)
        self._note_fill(split, (height, width))
        if split in {"test", "predict"}:
            self._find_grid(split, (height, width))
        self.shapes[split] = shape
        if self.trainer is not None:  # under terratorch's own command; ours checks its task itself
            check_shape(self.trainer.lightning_module, shape)
            if split == "predict":
                check_stays(transforms, (height, width))

    @rank_zero_only
    def _note_fill(self, split: str, shape: tuple[int, int]) -> None:
        fill = find_fill(self.transforms[split], shape)
        if fill is not None:
            notify(
                f"{split}_transform {fill.transform} makes up to {fill.share:.0%} of an image's pixels, which come "
                f"from no chip; their label is {IGNORED_LABEL} (ignored), not {min(fill.labels)}"
            )

    def _find_grid(self, split: str, shape: tuple[int, int]) -> None:
        self.grids[split] = find_grid(self.transforms[split], shape)
        if self.grids[split] is None:
            rank_zero_only(notify)(
                "test_transform takes pixels off the chip's grid, or moves them at random; predictions have no "
                "georeference"
            )

    def georeference(self, split: str, chip_id: str) -> Georeference:
        """Return where the pixels of a chip lie behind the transforms of a split; unknown if they are on no grid."""
        grid = self.grids.get(split, PixelGrid())
        return Georeference() if grid is None else grid.place(self.chips.georeference(chip_id))

    # Loading -----------------------------------------------------------------------------------------

    def _loader(self, split: str) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            self.datasets[split],
            shuffle=split == "train",
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            # kept between epochs with the chips and store they opened; PyTorch refuses True without workers
            persistent_workers=self.num_workers > 0,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
        )

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return batches of the training split, shuffled."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return batches of the validation split."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return batches of the test split."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Return batches of the chips to predict, without masks."""
        return self._loader("predict")

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Turn a loaded batch into what the model sees; Lightning calls this on the model's device."""
        return self.model_batch(batch)

    def model_batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return a loaded batch as TerraTorch's task takes it.

        Chip and scene ids are left out, since TerraTorch passes every further key to the network.

        Args:
            batch: Batch of a dataloader of this module, on any device.

        Returns:
            ``image`` (standardised ``[B, C, T, H, W]`` or ``[B, C, H, W]`` by modality, planes or tokens joined),
            ``filename``, and ``mask`` and ``features`` if there are any.
        """
        images = {name: self._standardise(name, image) for name, image in batch["image"].items()}
        if "features" in batch:
            # the network asks an image for the size of its output; expanded, this one takes no memory
            mask = batch["mask"]
            images = {"blank": mask.new_zeros((), dtype=torch.float32).expand(len(mask), 1, *mask.shape[-2:])}
        augmentation = self.augmentation
        # without maps: nothing is joined, or tokens are in the features
        joined = (
            join_images(augmentation.plan, images, batch["maps"], augmentation.token_modality)
            if batch["maps"]
            else images
        )
        model = {"image": joined, "filename": batch["filename"]}
        return model | {name: batch[name] for name in ("mask", "features") if name in batch}

    def _standardise(self, modality: str, image: Tensor) -> Tensor:
        # [1, C, 1, 1], or [1, C, 1, 1, 1] for images with time
        shape = (1, -1, *(1 for _ in image.shape[2:]))
        mean, std = (
            torch.tensor(table[modality], device=image.device).view(shape)
            for table in (self.statistics.means, self.statistics.stds)
        )
        return (image - mean) / std
