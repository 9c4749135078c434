"""What is joined to the chips: the encoding, the store and the control, and that they fit one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.entries import read_entries
from augment_store.maps.arrays import TOKEN_PROBABILITY, TOKENS
from augment_store.maps.registry import MAPS
from augment_store.modalities import LULC
from augment_store.store import AugmentStore
from finetune.augment.controls import CONTROLS, Control, Maps, Material
from finetune.augment.encodings import MODALITY, PLANE_ENCODINGS, EncodingPlan, named_in_full, plan_encoding
from finetune.augment.store_maps import StoreMaps
from finetune.errors import ConfigError, EncodingError

MEGABYTE: Final = 2**20

DEFAULT_MAP: Final = MAPS[LULC.name]
"""What a control stands in for where no store says of what its maps are."""


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
    control = _control(wish)
    if control is not None and control.needs_store and wish.store is None:
        raise ConfigError(
            f"--control {control.name} takes the maps of a store; name the store with --augment"
        )
    if named is not None and wish.store is None and control is None:
        raise EncodingError(
            f"encoding {' '.join(named)} without a store; name one with --augment, or a --control"
        )
    made = control.encodings if control is not None else ()
    if named is None:
        return made[0] if made else _default_encoding(wish)
    full = _in_full(named, wish)
    if made and full not in made:
        raise EncodingError(
            f"--control {wish.control} cannot make {' '.join(named)}; use --encoding {' '.join(made[0])}"
        )
    return full


def _control(wish: Wish) -> Control | None:
    """The control asked for.

    Raises:
        ConfigError: If there is none of that name.
    """
    if wish.control is not None and wish.control not in CONTROLS:
        raise ConfigError(f"unknown control {wish.control!r}; expected {', '.join(CONTROLS)}")
    return None if wish.control is None else CONTROLS[wish.control]


def _in_full(named: tuple[str, ...], wish: Wish) -> tuple[str, ...]:
    """Encodings by their full names; a store that only lends its modality to a control may be gone by then."""
    if set(named) <= {*PLANE_ENCODINGS, MODALITY, TOKENS} and wish.control is not None:
        return named
    modality = store_modality(wish)
    return named_in_full(named, None if modality is None else MAPS[modality])


def store_modality(wish: Wish) -> str | None:
    """Modality of the store that is named, even where a control stands in for its maps; None without one.

    Raises:
        StoreError: If the store cannot be opened.
    """
    return None if wish.store is None else AugmentStore.open(wish.store).spec.modality


def token_modality(wish: Wish) -> str:
    """Modality of the tokens: the store's, under a control as without, and LULC where none is named."""
    return store_modality(wish) or DEFAULT_MAP.name


def _default_encoding(wish: Wish) -> tuple[str, ...]:
    """What suits the store, or else the control; nothing without either."""
    modality = store_modality(wish)
    if modality is None and wish.control is None:
        return ()
    kind = DEFAULT_MAP if modality is None else MAPS[modality]
    return named_in_full((kind.encoding,), kind)


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
        self.control = _control(wish)
        self.store: StoreMaps | None = None
        reads = self.control is None or self.control.needs_store
        if wish.store is not None and reads and self.plan.arrays:
            self.store = StoreMaps(wish.store, self.plan.arrays, memory_limit_mb * MEGABYTE)
            _check_codebooks(self.store, self.plan)

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
        if self.control is not None:
            given = Material(chips, ids, size, self.wish.seed, self.plan.constants, self.store)
            return self.control.make(given)
        if self.store is None:
            raise ConfigError("maps are read of no store; name one with --augment, or a --control")
        return self.store


def _check_codebooks(maps: StoreMaps, plan: EncodingPlan) -> None:
    """A token of several codebooks is no single index, and has no single probability."""
    codebooks = maps.store.spec.codebooks
    single = [name for name in plan.arrays if name in (TOKENS, TOKEN_PROBABILITY)]
    if codebooks > 1 and single:
        raise EncodingError(
            f"{maps.path}: its tokens have {codebooks} codebooks; encoding {single[0]} takes one; use another"
        )
