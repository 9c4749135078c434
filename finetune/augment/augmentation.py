"""What is joined to the chips: the encoding, the store and the control, checked against one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from augment_store.chips.chip_set import ChipSet
from augment_store.io.remote import as_path
from augment_store.modalities.definitions import LULC
from augment_store.modalities.map_arrays import TOKEN_PROBABILITY, TOKENS
from augment_store.modalities.registry import MAPS
from augment_store.store.chip_index import read_entries
from augment_store.store.schema import ChipShape
from augment_store.store.spec import InputSpec
from augment_store.store.writer import AugmentStore
from finetune.augment.controls import CONTROLS, Control, ControlInputs, MapSource
from finetune.augment.encodings import EncodingPlan, named_in_full, plan_encoding
from finetune.augment.map_cache import MapCache
from finetune.errors import ConfigError

MEGABYTE: Final = 2**20

DEFAULT_MAP: Final = MAPS[LULC.name]
"""The map that a control stands in for if no store says which."""


@dataclass(frozen=True)
class AugmentRequest:
    """Store, encodings and control that a user asks for.

    Attributes:
        store: Folder of the store, or None.
        encoding: Encodings; None or empty for the default of the store or the control.
        control: Name of a control, or None.
        seed: Seed for random draws of a control.
    """

    store: Path | None = None
    encoding: tuple[str, ...] | None = None
    control: str | None = None
    seed: int = 0

    @classmethod
    def from_arguments(
        cls, augment: str | None, encoding: Sequence[str] | None, control: str | None, seed: int = 0
    ) -> AugmentRequest:
        """Return the request that the datamodule's arguments of these names make."""
        store = as_path(augment) if augment else None
        return cls(store, None if encoding is None else tuple(encoding), control, seed)


def _check(request: AugmentRequest) -> Control | None:
    """Return the control asked for, or None.

    Raises:
        ConfigError: If it is unknown, or needs a store that is not named, or encodings have nothing to encode.
    """
    # an empty list, as a baseline's saved configuration has it, names nothing
    name, named = request.control, request.encoding or None
    if name is not None and name not in CONTROLS:
        raise ConfigError(f"unknown control {name!r}; expected {', '.join(CONTROLS)}")
    control = None if name is None else CONTROLS[name]
    if control is not None and control.needs_store and request.store is None:
        raise ConfigError(f"--control {name} takes the maps of a store; name the store with --augment")
    if named is not None and request.store is None and control is None:
        raise ConfigError(
            f"encoding {' '.join(named)} without a store; name one with --augment, or a --control"
        )
    return control


class JoinedMaps(NamedTuple):
    """Maps for the chips of a split, and the names of the arrays that are read."""

    source: MapSource
    arrays: tuple[str, ...]


class Augmentation:
    """Cached maps for the splits of one fine-tune; it opens the store, once.

    Args:
        request: What the user asks for.
        memory_limit_mb: Memory the store's maps may take, in MiB; above it they are read each time.

    Attributes:
        encoding: Encodings in effect: those named, or the default of the store or the control; none without either.
        plan: What is read for them and where it goes.
        store: The named store, even if a control stands in for its maps; None without one.
        maps: The store's maps; None if they are not read.

    Raises:
        ConfigError: If the request contradicts itself, or the store lacks what the encoding needs.
        StoreError: If the store cannot be opened.
    """

    def __init__(self, request: AugmentRequest, memory_limit_mb: int) -> None:
        self.request = request
        self.control = _check(request)
        self.store = self._open()
        self.encoding = self._choose_encoding()
        self.plan: EncodingPlan = plan_encoding(self.encoding)
        self.maps: MapCache | None = None
        # a control that makes its own maps asks the store only for its kind of map and its units
        if self.store is not None and self._reads_store and self.plan.arrays:
            self.maps = MapCache(self.store, self.plan.arrays, memory_limit_mb * MEGABYTE)
            _check_codebooks(self.store, self.plan)

    @property
    def _reads_store(self) -> bool:
        return self.control is None or self.control.needs_store

    def _open(self) -> AugmentStore | None:
        path = self.request.store
        if path is None:
            return None
        if not (
            self._reads_store or path.is_dir() or (path / "zarr.json").is_file()
        ):  # servers list no folders
            return None  # a control that reads no maps needs no store
        return AugmentStore.open(path)

    def _choose_encoding(self) -> tuple[str, ...]:
        """Return the encodings in effect, by their full names.

        Raises:
            ConfigError: If the control cannot make those named.
        """
        named, control = self.request.encoding, self.control
        made = control.encodings if control is not None else ()
        kind = None if self.store is None else self.store.spec.map
        if not named:  # a baseline's saved configuration says []
            if kind is None and control is None:
                return ()
            kind = kind or DEFAULT_MAP
            # a control that makes only some encodings begins with its own first, whatever the store suggests
            return made[0] if made else named_in_full((kind.encoding,), kind)
        # compared by full names: with a store of NDVI `value` is `ndvi`
        full = named_in_full(named, kind)
        if made and full not in made:
            raise ConfigError(
                f"--control {self.request.control} cannot make {' '.join(named)}; use --encoding {' '.join(made[0])}"
            )
        return full

    @property
    def token_modality(self) -> str:
        """Modality whose tokens the encoding ``tokens`` feeds to the model: the store's, or LULC without a store."""
        return DEFAULT_MAP.name if self.store is None else self.store.spec.modality

    @property
    def extent(self) -> ChipShape | None:
        """Timesteps and size of the named store's chips; None without a store."""
        return None if self.store is None else self.store.extent

    @property
    def depends_on_store(self) -> bool:
        """True if a sample depends on the named store: on its maps, or on the units of its inputs."""
        takes_units = self.control is not None and self.control.takes_units
        return self.maps is not None or (self.store is not None and takes_units)

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        """Units in which the inputs of the named store's chips entered the generator; empty without a store."""
        return () if self.store is None else self.store.spec.inputs

    @cached_property
    def scenes(self) -> dict[str, str]:
        """Scene of each chip in the named store, even if a control stands in for it; empty without a store."""
        if self.store is None:
            return {}
        entries = read_entries(self.store)
        # one without a scene is left out, so that the rule of the splits applies to it
        return {chip_id: entry.scene_id for chip_id, entry in entries.items() if entry.scene_id}

    def source(self, chips: ChipSet | None, ids: Sequence[str], shape: tuple[int, int]) -> JoinedMaps | None:
        """Return maps for the chips of a split; None if nothing is joined.

        Args:
            chips: The chip set; None if samples come from elsewhere.
            ids: Chips of the split, checked by `survey_chips`.
            shape: Their height and width in pixels.

        Raises:
            ConfigError: If the split is too small for the control, or the control needs a chip set.
        """
        if not self.plan.arrays:
            return None
        return JoinedMaps(self._maps(chips, ids, shape), self.plan.arrays)

    def _maps(self, chips: ChipSet | None, ids: Sequence[str], shape: tuple[int, int]) -> MapSource:
        if self.maps is not None:
            # read here, in the parent process, so that forked workers share the memory
            self.maps.hold(ids)
        if self.control is not None:
            seed, constants = self.request.seed, self.plan.constants
            given = ControlInputs(chips, ids, shape, seed, constants, self.maps, self.inputs)
            return self.control.make(given)
        if self.maps is None:
            raise ConfigError("there is no store to read maps from; name one with --augment, or a --control")
        return self.maps


def _check_codebooks(store: AugmentStore, plan: EncodingPlan) -> None:
    """Refuse encodings that need one index or one probability per token if there are several codebooks."""
    single = [name for name in plan.arrays if name in (TOKENS, TOKEN_PROBABILITY)]
    if store.spec.codebooks > 1 and single:
        raise ConfigError(
            f"{store.path}: its tokens have {store.spec.codebooks} codebooks; encoding {single[0]} takes one"
        )
