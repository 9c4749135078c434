"""A study as its YAML describes it: stores, arms × seeds, zero-shot rows, and the comparisons between them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

import yaml
from pydantic import BeforeValidator, ConfigDict

from augment_store.io.file_kinds import found_yaml
from augment_store.io.files import read_text
from augment_store.io.remote import as_path
from augment_store.utils.text import single_line
from augment_store.utils.validation import STRICT, ValidationError, load_yaml, parse
from eval.errors import EvaluationError
from eval.score.folds import MIN_FOLDS


def _as_word(value: Any) -> Any:
    """Take a number for a word of a command line: YAML reads ``9`` as a number, but the command takes text."""
    # a bool is an int in Python, and no command takes True for a word
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


CommandArgs = tuple[Annotated[str, BeforeValidator(_as_word)], ...]
"""Arguments of a command, one by one as a shell would split them."""

BY_SCENE: Final = "scenes"
"""Word of a study's YAML for as many folds as there are scenes."""


@dataclass(frozen=True)
class StoreEntry:
    """A store to generate.

    Attributes:
        arguments: Further arguments of `tim-generate`.
        path: Folder of the store; by default in the study's folder.
        per_seed: Whether each seed of the study has a store of its own, drawn with that seed, so that the luck of the
            generator's draw is in the variation of the seeds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    arguments: CommandArgs = ()
    path: str | None = None
    per_seed: bool = False


@dataclass(frozen=True)
class ArmEntry:
    """A training configuration, run once per seed.

    Attributes:
        config: YAML of `tim-finetune`, a file or the name of one that ships.
        store: Name of the store to join, or None.
        arguments: Further arguments of `tim-finetune fit`.
        features: Name of the features of its frozen backbone, which all its seeds and all arms that give this name
            share; None for a training with its backbone.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    config: str
    store: str | None = None
    arguments: CommandArgs = ()
    features: str | None = None


@dataclass(frozen=True)
class ZeroShotEntry:
    """A store's maps as a prediction.

    Attributes:
        store: Name of the store.
        legend: Legend table, or None for the one that ships.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

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

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    baseline: str
    candidate: str
    controls: CommandArgs = ()


@dataclass(frozen=True)
class Study:
    """A study as its YAML describes it.

    Attributes:
        out: Folder for everything the study makes.
        chips: Root folder of the chip set.
        seeds: Seeds with which every arm is run.
        arms: Arms by name.
        comparisons: Reports by name.
        stores: Stores by name.
        zero_shot: Zero-shot rows by name.
        generate_arguments: Arguments of every `tim-generate`.
        finetune_arguments: Arguments of every `tim-finetune fit`.
        layout: How the chips lie on disk, for every command that reads them; None to detect it.
        scenes: Rule for a chip's scene, as `--scenes` takes it, for every store and every arm.
        folds: Cross-validation in place of the chip set's splits: ``scenes`` leaves out one scene at a time, a number
            as many groups of scenes.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    out: Path
    chips: Path
    seeds: tuple[int, ...]
    arms: Mapping[str, ArmEntry]
    comparisons: Mapping[str, ComparisonEntry]
    stores: Mapping[str, StoreEntry] = field(default_factory=dict)
    zero_shot: Mapping[str, ZeroShotEntry] = field(default_factory=dict)
    generate_arguments: CommandArgs = ()
    finetune_arguments: CommandArgs = ()
    layout: str | None = None
    scenes: str | None = None
    folds: int | str | None = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a study's YAML.

        Raises:
            EvaluationError: If it cannot be read, has an unknown key, or names what it does not define.
        """
        try:
            plain = load_yaml(read_text(path))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise EvaluationError(f"{path}: cannot be read ({single_line(error)})") from error
        try:
            study = parse(cls, _with_bare_stores(plain))
        except ValidationError as error:
            other = found_yaml(plain, "a study")
            remedy = f": {error}; tim-store configs show nyc_study prints one to copy"
            raise EvaluationError(f"{path}: not a study{other or remedy}") from error
        study.check(path)
        return study

    def check(self, path: Path) -> None:
        """Make sure that every name is defined exactly once, and that there is something to do.

        Raises:
            EvaluationError: Naming the key.
        """
        if not self.seeds:
            raise EvaluationError(
                f"{path}: seeds {list(self.seeds)}; expected whole numbers, such as [1, 2, 3]"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise EvaluationError(
                f"{path}: a seed appears twice in {list(self.seeds)}; a repeated run is not a second run"
            )
        # comparisons name both as controls, so a name must mean one of them
        shared = sorted(set(self.arms) & set(self.zero_shot))
        if shared:
            raise EvaluationError(f"{path}: {shared[0]} is both an arm and a zero-shot row; rename one")
        wanted = {name: entry.store for name, entry in self.arms.items() if entry.store is not None}
        wanted |= {name: entry.store for name, entry in self.zero_shot.items()}
        for name, store in wanted.items():
            _check_defined(f"{path}: store of {name}", [store], self.stores)
        self._check_stores(path)
        if self.folds not in (None, BY_SCENE) and not (
            isinstance(self.folds, int) and self.folds >= MIN_FOLDS
        ):
            raise EvaluationError(
                f"{path}: folds {self.folds}: expected {BY_SCENE}, or a number of groups of scenes from {MIN_FOLDS} on"
            )
        if self.folds is not None and self.zero_shot:
            raise EvaluationError(
                f"{path}: zero_shot: maps are scored on the test split alone, and folds test every scene; leave one out"
            )
        for name, found in self.comparisons.items():
            # arms alone: a zero-shot map has no seeds to be paired by
            _check_defined(f"{path}: comparison {name}", [found.baseline, found.candidate], self.arms)
            _check_defined(
                f"{path}: controls of comparison {name}", found.controls, {**self.arms, **self.zero_shot}
            )

    def _check_stores(self, path: Path) -> None:
        for name, entry in self.stores.items():
            words = (*self.generate_arguments, *entry.arguments)
            if entry.per_seed and any(word.partition("=")[0] == "--seed" for word in words):
                raise EvaluationError(
                    f"{path}: stores.{name}: per_seed draws with the study's seeds; drop --seed"
                )
        for name, row in self.zero_shot.items():
            if self.stores[row.store].per_seed:
                raise EvaluationError(
                    f"{path}: zero_shot.{name}: store {row.store} is one per seed; name a store without per_seed"
                )

    @property
    def digest(self) -> str:
        """Return the SHA-256 of its settings without `out`: where a study is made does not change what it asks."""
        plain = {**dataclasses.asdict(self), "out": None, "chips": str(self.chips)}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    @property
    def layout_words(self) -> CommandArgs:
        """Return `--layout`, if one is named."""
        return () if self.layout is None else ("--layout", self.layout)

    @property
    def chip_words(self) -> CommandArgs:
        """Return the arguments by which stores and arms know the chips and their scenes."""
        scenes = () if self.scenes is None else ("--scenes", self.scenes)
        return ("--chips", str(self.chips), *self.layout_words, *scenes)

    def store(self, name: str, seed: int) -> Path:
        """Return the folder of the store that a run with this seed joins."""
        entry = self.stores[name]
        folder = as_path(entry.path or self.out / "stores" / name)
        return folder / f"seed_{seed}" if entry.per_seed else folder

    def features(self, name: str) -> Path:
        """Return the folder of the features of this name."""
        return self.out / "features" / name

    def runs(self, name: str) -> tuple[Path, ...]:
        """Return the run directories of an arm, or the folder of a zero-shot row."""
        if name in self.zero_shot:
            return (self.out / "zero_shot" / name,)
        return tuple(self.out / "runs" / name / f"seed_{seed}" for seed in self.seeds)


def _with_bare_stores(plain: Any) -> Any:
    """Give a store with nothing after its name default settings."""
    stores = plain.get("stores") if isinstance(plain, dict) else None
    if not isinstance(stores, dict):
        return plain
    return {**plain, "stores": {name: {} if entry is None else entry for name, entry in stores.items()}}


def _check_defined(where: str, names: Sequence[str], known: Mapping[str, Any]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise EvaluationError(
            f"{where}: {unknown[0]!r} is not defined; there is {', '.join(known) or 'none'}"
        )
