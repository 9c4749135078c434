"""Checks that the samples of another datamodule are the chips whose maps they get."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from augment_store.chips.chip_set import ChipSet
from augment_store.errors import ChipSetError
from augment_store.store.history import last_command
from finetune.augment.map_cache import MapCache
from finetune.data.joined.dataset import Sample
from finetune.errors import ConfigError


def check_one_file_each(samples: Iterable[Sample]) -> None:
    """Make sure that no two files have one id, which would mean a wrong pattern."""
    seen: dict[str, Sample] = {}
    for sample in samples:
        # returns the first sample of the id, which is this one if the id is new
        first = seen.setdefault(sample.chip_id, sample)
        if first.files != sample.files:
            raise ConfigError(
                f"{first.file} and {sample.file} are both chip {sample.chip_id}; correct chip_files, the pattern that "
                "finds the id in a file's name"
            )


def describe_dates(maps: MapCache, chip_id: str) -> str:
    """Say where the store's timesteps are in one chip's files, for a message; empty for a single timestep."""
    if maps.extent.timesteps == 1:
        return ""
    rows = dict(zip(maps.inputs, maps.store.read(chip_id, "series_index"), strict=True))
    listed = ", ".join(f"{name} {' '.join(map(str, row.tolist()))}" for name, row in rows.items())
    return f" Its timesteps are those at the positions {listed} in the files of chip {chip_id}"


def check_files(chips: ChipSet, sample: Sample, store: Path) -> None:
    """Make sure that a sample's files are those of its chip, so that the chip's digests hold for them.

    Raises:
        ConfigError: If one is another chip's or another folder's.
    """
    if not sample.files:  # the dataset names the chip, not its files
        return
    own = {name: chips.path(sample.chip_id, name).resolve() for name in chips.layout.images}
    read = {name: Path(file).resolve() for name, file in sample.files.items()}
    apart = [file for name, file in read.items() if own.get(name, file) != file]
    # where the dataset has names of its own for modalities, one of the chip's files must be among its own
    if not apart and not set(read.values()) & set(own.values()):
        apart = list(read.values())
    if apart:
        raise ConfigError(
            f"{apart[0]}: not a file of chip {sample.chip_id} under {chips.root}, with which {store} is compared; "
            "name the chip set that is read with chips, or leave chips out to join by name alone"
        )


def check_known(maps: MapCache, samples: Sequence[Sample]) -> None:
    """Make sure that every sample has maps.

    Raises:
        ChipSetError: Naming file, chip and store.
    """
    missing = [sample for sample in samples if sample.chip_id not in maps.complete]
    if not missing:
        return
    first = missing[0]
    more = f" (and {len(missing) - 1:,} more)" if len(missing) > 1 else ""
    if first.chip_id in maps.store.chip_ids:
        command = last_command(maps.store.history) or "the tim-generate command that made the store"
        what, remedy = "not complete", f"Generate it with: {command}"
    else:
        example = next(iter(sorted(maps.complete)), "none")
        what = "not in it"
        remedy = (
            f"It has chips such as {example}; say with chip_files how names hold that id, as {{id}}_S2L2A.tif"
        )
    raise ChipSetError(f"{first.name}: chip {first.chip_id} of {maps.path}: {what}{more}. {remedy}")
