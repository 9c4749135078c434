"""What is joined to the chips: the encoding, the store and the control, and that they fit one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from augment_store.chips.chip_set import ChipSet
from augment_store.entries import read_entries
from augment_store.store import AugmentStore
from finetune.augment.controls import (
    ANALYTIC_NDVI,
    CONSTANT,
    CONTROLS,
    SHUFFLE,
    AnalyticNdvi,
    ConstantMaps,
    Maps,
    ShuffledMaps,
)
from finetune.augment.encodings import EncodingPlan, plan_encoding
from finetune.augment.store_maps import StoreMaps
from finetune.errors import ConfigError, EncodingError

MEGABYTE: Final = 2**20

DEFAULT_ENCODINGS: Final = {"LULC": ("onehot",), "NDVI": ("ndvi",)}
"""Encoding of a store of each modality where none is named."""

NEED_THE_STORE: Final = (None, SHUFFLE)
"""Controls, none included, that read the store's maps."""


@dataclass(frozen=True)
class AugmentRequest:
    """What a user asks for.

    Attributes:
        store: Folder of the store, or None.
        encoding: Encodings; None, or none, for what suits the store or the control.
        control: Name of a control, or None.
        seed: Seed for random draws of a control.
    """

    store: Path | None = None
    encoding: tuple[str, ...] | None = None
    control: str | None = None
    seed: int = 0


def _check(request: AugmentRequest) -> None:
    """Raises ConfigError if the control is unknown, or contradicts the encoding or the lack of a store."""
    control, named = request.control, request.encoding or None
    if control is not None and control not in CONTROLS:
        raise ConfigError(f"unknown control {control!r}; expected {', '.join(CONTROLS)}")
    if control == SHUFFLE and request.store is None:
        raise ConfigError("--control shuffle shuffles a store's maps; name the store with --augment")
    if control == ANALYTIC_NDVI and named not in (None, ("ndvi",), ("modality", "ndvi")):
        raise EncodingError(
            f"--control {ANALYTIC_NDVI} makes one plane, not {' '.join(named or ())}; use --encoding ndvi"
        )
    if named is not None and request.store is None and control is None:
        raise EncodingError(
            f"encoding {' '.join(named)} without a store; name one with --augment, or a --control"
        )


class JoinedMaps(NamedTuple):
    """Maps for the chips of a split, and which of their arrays are read."""

    source: Maps
    arrays: tuple[str, ...]


class Augmentation:
    """Cached maps for the splits of one fine-tune; it opens the store, once.

    Args:
        request: What the user asks for.
        memory_limit_mb: Memory the store's maps may take, in MiB; above it they are read each time.

    Attributes:
        encoding: Encodings in effect: those named, or the default of the store or the control; none without either.
        plan: What is read for them and where it goes.
        store: The store's maps, where they are read.

    Raises:
        ConfigError: If the request contradicts itself, or the store lacks what the encoding needs.
        StoreError: If the store cannot be opened.
    """

    def __init__(self, request: AugmentRequest, memory_limit_mb: int) -> None:
        _check(request)
        self.request = request
        self._opened = self._open()
        self.encoding = request.encoding or self._default_encoding()
        self.plan: EncodingPlan = plan_encoding(self.encoding)
        self.store: StoreMaps | None = None
        if self._opened is not None and request.control in NEED_THE_STORE and self.plan.arrays:
            self.store = StoreMaps(self._opened, self.plan.arrays, memory_limit_mb * MEGABYTE)

    def _open(self) -> AugmentStore | None:
        path = self.request.store
        if path is None or (self.request.control not in NEED_THE_STORE and not path.is_dir()):
            return None  # a control that reads no maps does without the store
        return AugmentStore.open(path)

    def _default_encoding(self) -> tuple[str, ...]:
        if self.request.control == ANALYTIC_NDVI:
            return ("ndvi",)
        if self._opened is not None:
            return DEFAULT_ENCODINGS[self._opened.spec.modality]
        return ("onehot",) if self.request.control == CONSTANT else ()

    @property
    def token_modality(self) -> str:
        """Modality whose tokens the encoding ``tokens`` feeds to the model: the store's, LULC where there is none."""
        return "LULC" if self._opened is None else self._opened.spec.modality

    @cached_property
    def scenes(self) -> dict[str, str]:
        """Scene of each chip by the store that is named, even where a control stands in; none without one."""
        if self._opened is None:
            return {}
        entries = read_entries(self._opened)
        return {chip_id: entry.scene_id for chip_id, entry in entries.items() if entry.scene_id}

    def source(self, chips: ChipSet, ids: Sequence[str], size: int) -> JoinedMaps | None:
        """Maps for the chips of a split; None where nothing is joined.

        Args:
            chips: The chip set.
            ids: Chips of the split, checked by `survey_chips`.
            size: Their side in pixels.

        Raises:
            ConfigError: If the split is too small for the control.
        """
        if not self.plan.arrays:
            return None
        return JoinedMaps(self._maps(chips, ids, size), self.plan.arrays)

    def _maps(self, chips: ChipSet, ids: Sequence[str], size: int) -> Maps:
        if self.store is not None:
            self.store.hold(ids)
            return ShuffledMaps(self.store, ids, self.request.seed) if self.request.control else self.store
        if self.request.control == ANALYTIC_NDVI:
            return AnalyticNdvi(chips)
        return ConstantMaps(self.plan.constants, size)
