"""Facts of each chip that the survey of a split needs: read in threads, and kept for later runs."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

import numpy as np
from lightning_utilities.core.rank_zero import rank_zero_only  # Lightning's own, without torch
from numpy.typing import NDArray
from pydantic import ConfigDict

from augment_store.chips.chip import Chip
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.shared_ground import shows_something
from augment_store.errors import OutputError
from augment_store.io.files import write_json
from augment_store.io.remote import RemotePath
from augment_store.io.tar import ArchivedPath
from augment_store.store.schema import ChipShape
from augment_store.utils.text import versions
from augment_store.utils.validation import STRICT, load_json, parse
from finetune.log_filters import notify

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kept = TypeVar("Kept")

SURVEY_FOLDER: Final = ".chip_surveys"
"""Folder beside runs that holds what was read of their chips."""

SETTLED: Final = 2_000_000_000
"""Nanoseconds after which a file's next change has another time: some file systems count in whole or even seconds."""

READERS: Final = ("terramind-tim-store", "numpy", "rasterio", "zarr")
"""Packages on which the values that are read of a file depend."""

_SIDECARS: Final = ("", ".msk", ".aux.xml")
"""Endings of the files that GDAL reads for one raster."""

_THREADS: Final = 8


@dataclass(frozen=True)
class SurveyedChip:
    """What a survey learns of one chip.

    Attributes:
        stamp: Digest of the sizes and times of its files; empty where these do not tell a change.
        shape: Sizes of all that was read.
        inputs: Digests of the modalities that the network reads, ``[T, 16]`` in hexadecimal.
        informative: Whether these have more than one value.
        generator_shape: Sizes of the modalities that a store was generated from; those of all without a store.
        generator_inputs: Digests of these, ``[T, 16]`` in hexadecimal; empty without a store.
        mask: Digest of the mask by `digest_mask`; empty where none is read.
        mask_shape: Height and width of the mask in pixels; empty where none is read.
        labels: Labels that the mask holds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    stamp: str
    shape: ChipShape
    inputs: str
    informative: bool
    generator_shape: ChipShape
    generator_inputs: str
    mask: str
    mask_shape: tuple[int, ...]
    labels: tuple[int, ...]

    def generator_digests(self) -> NDArray[np.uint8]:
        """Return the digests of the generator's inputs, ``[T, 16]``."""
        found = np.frombuffer(bytes.fromhex(self.generator_inputs), dtype=np.uint8)
        return found.reshape(self.generator_shape.timesteps, -1)


@dataclass(frozen=True)
class _KeptSurveys:
    """A file of surveys, by chip."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    chips: Mapping[str, SurveyedChip] = field(default_factory=dict)


@dataclass(frozen=True)
class CachedSurvey:
    """Reads what is to be known of each chip before it is trained on.

    Attributes:
        chips: The chip set.
        modalities: Modalities that the network reads.
        generator: Modalities that a store was generated from; empty without one.
        masks: Whether masks are read.
        folder: Where what was read is kept, beside the runs; None to read every chip.
    """

    chips: ChipSet
    modalities: Sequence[str]
    generator: Sequence[str] = ()
    masks: bool = True
    folder: Path | None = None

    def read(self, ids: Iterable[str]) -> Iterator[tuple[str, SurveyedChip]]:
        """Yield each chip, sorted by id; only those that have changed since they were kept are read.

        Raises:
            AugmentStoreError: If one cannot be read: the first by id.
        """
        kept = self._load()
        made: dict[str, SurveyedChip] = {}

        def survey(chip_id: str) -> SurveyedChip:
            # before it is read: what changes meanwhile is read again the next time
            stamp = self._stamp(chip_id)
            known = kept.get(chip_id)
            return (
                known if known is not None and stamp and known.stamp == stamp else self._read(chip_id, stamp)
            )

        ordered = sorted(ids)
        pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))
        try:
            for chip_id, found in zip(ordered, pool.map(survey, ordered), strict=True):
                made[chip_id] = found
                yield chip_id, found
        # also where one chip is refused: the others are not read again once it is mended
        finally:
            # those not begun are left, or the refusal would come after the last of them
            pool.shutdown(cancel_futures=True)
            if any(found is not kept.get(chip_id) for chip_id, found in made.items()):
                self._keep({**kept, **made})

    def _read(self, chip_id: str, stamp: str) -> SurveyedChip:
        # each modality once, though network and store may both take it
        chip = self.chips.read(chip_id, tuple(dict.fromkeys((*self.modalities, *self.generator))))
        used = Chip(chip_id, {name: chip.rasters[name] for name in self.modalities})
        seen = (
            Chip(chip_id, {name: chip.rasters[name] for name in self.generator}) if self.generator else None
        )
        mask = self.chips.mask(chip_id) if self.masks else None
        return SurveyedChip(
            stamp,
            ChipShape.from_chip(chip),
            used.digests().tobytes().hex(),
            shows_something(used),
            ChipShape.from_chip(seen or chip),
            "" if seen is None else seen.digests().tobytes().hex(),
            "" if mask is None else digest_mask(mask).hex(),
            () if mask is None else tuple(mask.shape),
            () if mask is None else tuple(int(label) for label in np.unique(mask)),
        )

    def _stamp(self, chip_id: str) -> str:
        paths = [
            path
            for name in (*self.modalities, *self.generator)
            for path in self.chips.band_paths(chip_id, name)
        ]
        mask = self.chips.mask_path(chip_id) if self.masks else None
        return "" if self.folder is None else stamp_files([*paths, *([] if mask is None else [mask])])

    def _path(self) -> Path | None:
        """Return the file for surveys of this kind: another layout, version or list of modalities has another."""
        return kept_path(self.folder, self.chips, sorted(self.modalities), sorted(self.generator), self.masks)

    def _load(self) -> Mapping[str, SurveyedChip]:
        return load_kept(self._path(), _KeptSurveys).chips

    def _keep(self, found: Mapping[str, SurveyedChip]) -> None:
        write_kept(self._path(), _KeptSurveys({name: each for name, each in found.items() if each.stamp}))


def stamp_files(paths: Iterable[Path]) -> str:
    """Return a digest of paths, sizes and times of files; empty if a later change may have the same."""
    unique = tuple(dict.fromkeys(paths))
    if any(isinstance(path, RemotePath) for path in unique):
        return ""
    state, latest = hashlib.sha256(), 0
    for path, ending in itertools.product(unique, _SIDECARS):
        # of a file in an archive, the archive's times tell
        file = f"{path.archive if isinstance(path, ArchivedPath) else path}{ending}"
        try:
            found = os.stat(file)  # noqa: PTH116 - for 2,000 chips a `Path` of each takes longer than to look
        # most have no sidecar; what must be there is missed when it is read, as in an archive without it
        except (FileNotFoundError, NotADirectoryError):
            continue
        # a copy may bring size and time of modification along, but not the time at which it was made
        state.update(f"{path}|{found.st_size}|{found.st_mtime_ns}|{found.st_ctime_ns}\n".encode())
        latest = max(latest, found.st_mtime_ns, found.st_ctime_ns)
    return "" if time.time_ns() - latest < SETTLED else state.hexdigest()


def kept_path(folder: Path | None, chips: ChipSet, *kind: object) -> Path | None:
    """Return the file in a folder for what is kept of chips: another layout, version or kind has another."""
    if folder is None:
        return None
    said = repr(((versions(READERS), str(chips.folder.absolute()), chips.layout), *kind))
    return folder / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.json"


def load_kept(path: Path | None, kind: type[Kept]) -> Kept:
    """Return what `write_kept` wrote; nothing, with a note, where it cannot be read."""
    if path is None or not path.is_file():
        return kind()
    try:
        return parse(kind, load_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        notify(f"{path}: cannot be read ({error}), so that every chip is read again")
        return kind()


def write_kept(path: Path | None, kept: DataclassInstance) -> None:
    """Keep what was found of chips; a disk that fails costs the next run time, and is noted."""
    # every process of a training reads all chips, and one is enough to keep what it found
    if path is None or getattr(rank_zero_only, "rank", None):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(kept))
    except (OSError, OutputError) as error:
        notify(f"{error}; the next run reads every chip again")


def digest_of_chips(digests: Mapping[str, bytes]) -> str:
    """Return the SHA-256 of chips by id, each with the digest of its inputs or mask, in hexadecimal, as recorded."""
    state = hashlib.sha256()
    # sorted: it must not depend on the order of a split file
    for chip_id in sorted(digests):
        state.update(chip_id.encode() + digests[chip_id])
    return state.hexdigest()


def digest_mask(mask: NDArray[np.int64]) -> bytes:
    """Return the SHA-256 of a mask's labels ``[H, W]``."""
    return hashlib.sha256(mask.tobytes()).digest()
