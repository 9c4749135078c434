"""What is joined to the chips: the encoding, the store and the control, and that they fit one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

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


@dataclass(frozen=True)
class Wish:
    """What a user asks for.

    Attributes:
        store: Folder of the store, or None.
        encoding: Encodings; None, or none, for what suits the store or the control.
        control: Name of a control, or None.
        seed: Fixes what is random in a control.
    """

    store: Path | None = None
    encoding: tuple[str, ...] | None = None
    control: str | None = None
    seed: int = 0


def effective_encoding(wish: Wish) -> tuple[str, ...]:
    """The encodings in effect: those named, or the default of the store or the control; none without either.

    Raises:
        ConfigError: If the control is unknown, or contradicts the encoding or the lack of a store.
        EncodingError: If encodings are named with nothing to encode.
        StoreError: If the store cannot be opened.
    """
    named = wish.encoding or None  # a baseline's saved configuration says []
    if wish.control is not None and wish.control not in CONTROLS:
        raise ConfigError(f"unknown control {wish.control!r}; expected {', '.join(CONTROLS)}")
    if wish.control == SHUFFLE and wish.store is None:
        raise ConfigError("--control shuffle shuffles a store's maps; name the store with --augment")
    if wish.control == ANALYTIC_NDVI and named not in (None, ("ndvi",), ("modality", "ndvi")):
        raise EncodingError(
            f"--control {ANALYTIC_NDVI} makes one plane, not {' '.join(named or ())}; use --encoding ndvi"
        )
    if named is not None and wish.store is None and wish.control is None:
        raise EncodingError(
            f"encoding {' '.join(named)} without a store; name one with --augment, or a --control"
        )
    return _default_encoding(wish) if named is None else named


def store_modality(wish: Wish) -> str | None:
    """Modality of the store that is named, even where a control stands in for its maps; None without one.

    Raises:
        StoreError: If the store cannot be opened.
    """
    return None if wish.store is None else AugmentStore.open(wish.store).spec.modality


def token_modality(wish: Wish) -> str:
    """Modality of the tokens: the store's, under a control as without, and LULC where none is named."""
    return store_modality(wish) or "LULC"


def _default_encoding(wish: Wish) -> tuple[str, ...]:
    if wish.control == ANALYTIC_NDVI:
        return ("ndvi",)
    modality = store_modality(wish)
    if modality is not None:
        return DEFAULT_ENCODINGS[modality]
    return ("onehot",) if wish.control == CONSTANT else ()


class Augmentation:
    """Cached maps for the splits of one fine-tune.

    Args:
        wish: What the user asks for.
        memory_limit_mb: Memory the store's maps may take, in MiB; above it they are read each time.

    Raises:
        AugmentStoreError: If the wish is invalid: see `effective_encoding` and `StoreMaps`.
    """

    def __init__(self, wish: Wish, memory_limit_mb: int) -> None:
        self.wish = wish
        self.encoding = effective_encoding(wish)
        self.plan: EncodingPlan = plan_encoding(self.encoding)
        self.store: StoreMaps | None = None
        if wish.store is not None and wish.control in (None, SHUFFLE) and self.plan.arrays:
            self.store = StoreMaps(wish.store, self.plan.arrays, memory_limit_mb * MEGABYTE)

    @cached_property
    def scenes(self) -> dict[str, str]:
        """Scene of each chip by the store that is named, even where a control stands in; none without one."""
        if self.wish.store is None or (self.store is None and not self.wish.store.is_dir()):
            return {}  # a control that reads no maps does without the store
        entries = read_entries(AugmentStore.open(self.wish.store))
        return {chip_id: entry.scene_id for chip_id, entry in entries.items() if entry.scene_id}

    @cached_property
    def token_modality(self) -> str:
        """Modality whose tokens the encoding ``tokens`` feeds to the model."""
        return token_modality(self.wish)

    def source(self, chips: ChipSet, ids: Sequence[str], size: int) -> tuple[Maps, tuple[str, ...]] | None:
        """Maps for the chips of a split and the arrays to read of them; None where nothing is joined.

        Args:
            chips: The chip set.
            ids: Chips of the split, checked by `survey_chips`.
            size: Their side in pixels.

        Raises:
            ConfigError: If the split is too small for the control.
        """
        if not self.plan.arrays:
            return None
        return self._maps(chips, ids, size), self.plan.arrays

    def _maps(self, chips: ChipSet, ids: Sequence[str], size: int) -> Maps:
        if self.store is not None:
            self.store.hold(ids)
            return ShuffledMaps(self.store, ids, self.wish.seed) if self.wish.control else self.store
        if self.wish.control == ANALYTIC_NDVI:
            return AnalyticNdvi(chips)
        return ConstantMaps(self.plan.constants, size)
