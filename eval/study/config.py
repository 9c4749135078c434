"""A study as its YAML says it: stores, arms × seeds, zero-shot rows and the comparisons wanted of them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from augment_store.files import read_text
from augment_store.typed import Unfit, load_yaml, parse
from eval.errors import StudyError

Words = tuple[str, ...]
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class StoreEntry:
    """A store to generate.

    Attributes:
        arguments: Further arguments of `python -m generate`.
        path: Folder of the store; by default in the study's folder.
    """

    arguments: Words = ()
    path: str | None = None


@dataclass(frozen=True)
class ArmEntry:
    """A training configuration, run once a seed.

    Attributes:
        config: YAML of `python -m finetune`, a file or the name of one that ships.
        store: Name of the store to join, or None.
        arguments: Further arguments of `python -m finetune fit`.
    """

    config: str
    store: str | None = None
    arguments: Words = ()


@dataclass(frozen=True)
class ZeroShotEntry:
    """A store's maps as a prediction.

    Attributes:
        store: Name of the store.
        legend: Legend table, or None for the one that ships.
    """

    store: str
    legend: str | None = None


@dataclass(frozen=True)
class ComparisonEntry:
    """A report.

    Attributes:
        baseline: Name of an arm.
        candidate: Name of an arm.
        controls: Names of arms or zero-shot rows.
    """

    baseline: str
    candidate: str
    controls: Words = ()


@dataclass(frozen=True)
class Study:
    """A study as its YAML says it.

    Attributes:
        out: Folder for everything the study makes.
        chips: Root folder of the chip set.
        seeds: Seeds that every arm is run with.
        arms: By name.
        comparisons: By name.
        stores: By name.
        zero_shot: By name.
        generate_arguments: Arguments of every `python -m generate`.
        finetune_arguments: Arguments of every `python -m finetune fit`.
    """

    out: Path
    chips: Path
    seeds: tuple[int, ...]
    arms: Mapping[str, ArmEntry]
    comparisons: Mapping[str, ComparisonEntry]
    stores: Mapping[str, StoreEntry] = field(default_factory=dict)
    zero_shot: Mapping[str, ZeroShotEntry] = field(default_factory=dict)
    generate_arguments: Words = ()
    finetune_arguments: Words = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads a study's YAML.

        Raises:
            StudyError: If it cannot be read, has an unknown key, or names what it does not define.
        """
        try:
            plain = load_yaml(read_text(path))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise StudyError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
        given = _known(cls, plain, str(path))
        kinds = {
            "arms": ArmEntry,
            "comparisons": ComparisonEntry,
            "stores": StoreEntry,
            "zero_shot": ZeroShotEntry,
        }
        for key, kind in kinds.items():
            given[key] = _entries(kind, given.get(key), f"{path}: {key}")
        try:
            study = parse(cls, _plain(given))
        except Unfit as error:
            raise StudyError(f"{path}: {error}") from error
        study.check(path)
        return study

    def check(self, path: Path) -> None:
        """Makes sure that every name is defined, once, and that there is something to do.

        Raises:
            StudyError: Naming the key.
        """
        if not self.seeds or not all(isinstance(seed, int) for seed in self.seeds):
            raise StudyError(f"{path}: seeds {list(self.seeds)}; expected whole numbers, such as [1, 2, 3]")
        if len(set(self.seeds)) < len(self.seeds):
            raise StudyError(
                f"{path}: a seed appears twice in {list(self.seeds)}; a run repeated is no second run"
            )
        shared = sorted(set(self.arms) & set(self.zero_shot))
        if shared:
            raise StudyError(f"{path}: {shared[0]} is both an arm and a zero-shot row; rename one")
        wanted = {name: entry.store for name, entry in self.arms.items() if entry.store is not None}
        wanted |= {name: entry.store for name, entry in self.zero_shot.items()}
        for name, store in wanted.items():
            _defined(f"{path}: store of {name}", [store], self.stores)
        for name, found in self.comparisons.items():
            _defined(f"{path}: comparison {name}", [found.baseline, found.candidate], self.arms)
            _defined(
                f"{path}: controls of comparison {name}", found.controls, {**self.arms, **self.zero_shot}
            )

    @property
    def digest(self) -> str:
        """SHA-256 of its settings but `out`, where it is made being no part of what is asked."""
        plain = {**dataclasses.asdict(self), "out": None, "chips": str(self.chips)}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    # Places ------------------------------------------------------------------------------------------

    def store(self, name: str) -> Path:
        """Folder of a store."""
        return Path(self.stores[name].path or self.out / "stores" / name)

    def runs(self, name: str) -> tuple[Path, ...]:
        """Run directories of an arm, or the folder of a zero-shot row."""
        if name in self.zero_shot:
            return (self.out / "zero_shot" / name,)
        return tuple(self.out / "runs" / name / f"seed_{seed}" for seed in self.seeds)


def _known(kind: type, plain: Any, where: str) -> dict[str, Any]:
    """The keys of a section, lists as tuples, after making sure that they are known and none is missing."""
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    if not isinstance(plain, dict) or not set(plain) <= set(fields):
        strange = sorted(map(str, set(plain) - set(fields)))[0] if isinstance(plain, dict) else plain
        raise StudyError(f"{where}: {strange!r} is no key; expected {', '.join(fields)}")
    missing = [name for name, entry in fields.items() if name not in plain and _is_required(entry)]
    if missing:
        raise StudyError(f"{where}: key {missing[0]!r} is missing")
    return {
        key: _words(value, f"{where}: {key}") if isinstance(value, list) else value
        for key, value in plain.items()
    }


def _plain(value: Any) -> Any:
    """Entries as the plain values they were read from."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return (
        dataclasses.asdict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else value
    )


def _words(value: list[Any], where: str) -> tuple[Any, ...]:
    if where.endswith("seeds"):
        return tuple(value)
    if any(isinstance(entry, (dict, list)) for entry in value):
        raise StudyError(f"{where}: expected a plain list of words")
    return tuple(str(entry) for entry in value)


def _is_required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _entries(kind: type[Entry], plain: Any, where: str) -> dict[str, Entry]:
    if not isinstance(plain, dict | None):
        raise StudyError(f"{where}: expected names with their settings")
    return {
        str(name): kind(**_known(kind, value or {}, f"{where}.{name}"))
        for name, value in (plain or {}).items()
    }


def _defined(where: str, names: Sequence[str], known: Mapping[str, Any]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise StudyError(f"{where}: {unknown[0]!r} is not defined; there is {', '.join(known) or 'none'}")
