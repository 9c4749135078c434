"""From a study to the commands that make its stores, runs, scores and reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from augment_store.utils.text import shipped_or_given
from eval.compare.report.files import REPORT
from eval.errors import EvaluationError
from eval.score.folds import FOLD
from eval.score.record import FOLDER, RECORD
from eval.study.config import CommandArgs, Study
from eval.study.folds import Fold, deal_folds, split_words
from finetune.errors import ConfigError
from finetune.features.feature_store import HEADER
from finetune.options import CONFIGS, DEMO_CONFIGS, shipped_configs
from finetune.run.manifest import CHECKPOINTS
from finetune.run.recipe import Recipe, describe, differences, recipe_of, with_overrides
from finetune.run.yaml_file import read_yaml

STARTS: Final = ("--init", "--weights")
"""Arguments of a training that say where its weights start."""


@dataclass(frozen=True)
class Training:
    """One training of a study.

    Attributes:
        arm: Name of its arm.
        seed: Its seed.
        fold: Its fold, None in a study without folds.
        run: Its run directory.
    """

    arm: str
    seed: int
    fold: Fold | None
    run: Path

    @property
    def name(self) -> str:
        """Return how the names of its steps end."""
        return f"{self.arm}_{self.seed}" + (f"_{self.fold.number}" if self.fold else "")

    @property
    def title(self) -> str:
        """Return what it is, for people."""
        return f"{self.arm} seed {self.seed}" + (f" fold {self.fold.number}" if self.fold else "")


@dataclass(frozen=True)
class Step:
    """One command of a study.

    Attributes:
        name: What it makes, as a path without suffix.
        words: The command after ``python -m``.
        product: File that is there once it is done.
        after: Names of the steps whose products it reads.
        costly: Whether it is too costly to be repeated just because its command has changed.
        checkpoint: For training, the checkpoint from which it can resume.
        title: What it does, for people; the first word is its kind.
    """

    name: str
    words: CommandArgs
    product: Path
    after: tuple[str, ...] = ()
    costly: bool = False
    checkpoint: Path | None = None
    title: str = ""

    @property
    def kind(self) -> str:
        """Return the first word of its title, such as ``generate``, ``encode``, ``fit`` or ``zero-shot``."""
        return self.title.partition(" ")[0]

    @property
    def folder(self) -> Path:
        """Return the folder of what it makes."""
        return self.product.parent if self.checkpoint is None else self.product.parents[1]


def plan(study: Study) -> tuple[Step, ...]:
    """Return the commands of a study in the order they can be run.

    Raises:
        AugmentStoreError: If scenes are to be dealt to folds, and cannot be.
    """
    trainings = tuple(_trainings(study))
    named = dict.fromkeys(arm.features for arm in study.arms.values() if arm.features is not None)
    encodings = {name: _encode_steps(study, name, trainings) for name in named}
    return (
        # what is read comes first: stores and features by trainings, runs by scores, scores by comparisons
        *(
            _generate_step(study, name, seed)
            for name, entry in study.stores.items()
            for seed in (study.seeds if entry.per_seed else study.seeds[:1])
        ),
        *(step for steps in encodings.values() for step in steps),
        *(_fit_step(study, training, encodings) for training in trainings),
        *(_score_step(study, training) for training in trainings),
        *(_zero_shot_step(study, name) for name in study.zero_shot),
        *(_compare_step(study, name, trainings) for name in study.comparisons),
    )


def unequal_starts(study: Study) -> Iterator[str]:
    """Find comparisons whose arms start from different weights, as far as their arguments show."""
    for name, comparison in study.comparisons.items():
        wanted = (comparison.baseline, comparison.candidate, *comparison.controls)
        # a zero-shot row among the controls has no training, hence no start
        starts = {arm: _start(study, arm) for arm in wanted if arm in study.arms}
        if len(set(starts.values())) > 1:
            listed = ", ".join(f"{arm} with {start}" for arm, start in starts.items())
            yield (
                f"warning: the arms of comparison {name} start from different weights, which "
                f"could explain any difference: {listed}"
            )


def unequal_recipes(study: Study) -> Iterator[str]:
    """Find comparisons whose arms are trained in different ways, as far as their YAMLs and arguments show.

    Raises:
        EvaluationError: If an arm's YAML is not there, or is invalid.
    """
    for name, comparison in study.comparisons.items():
        baseline = _recipe(study, comparison.baseline)
        for arm in (comparison.candidate, *comparison.controls):
            found = differences(baseline, _recipe(study, arm)) if arm in study.arms else []
            if found:
                yield (
                    f"warning: comparison {name} can claim nothing if its arms are trained as differently as it seems: "
                    f"{describe(found, comparison.baseline, arm)}"
                )


def _recipe(study: Study, arm: str) -> Recipe:
    """Return how an arm is trained, by its YAML and arguments."""
    entry = study.arms[arm]
    path = shipped_or_given(entry.config, CONFIGS, DEMO_CONFIGS)
    if path is None:
        raise EvaluationError(
            f"arm {arm}: config {entry.config}: no such file, and none of that name ships; expected a YAML of "
            f"tim-finetune, or one of {', '.join(shipped_configs())}"
        )
    words = (*study.finetune_arguments, *entry.arguments)
    try:
        # short names, as an arm's YAML may or may not write a class in full
        recipe = with_overrides(recipe_of(read_yaml(path), short_names=True), words)
    except ConfigError as error:
        raise EvaluationError(f"arm {arm}: config {entry.config}: {error}") from error
    # the type in which `_encode_steps` has them kept
    return recipe if entry.features is None else {**recipe, "features": "float16"}


def _start(study: Study, arm: str) -> str:
    """Return where an arm's weights start: its architecture's published file, unless told otherwise."""
    arguments = (*study.finetune_arguments, *study.arms[arm].arguments)
    # `--init=FILE` becomes two words, like `--init FILE`
    words = [word for argument in arguments for word in argument.split("=", 1)]
    # each option with the word after it, the last of several; a final option without one is skipped
    given = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word in STARTS}
    return " ".join(f"{flag} {given[flag]}" for flag in sorted(given)) or "the YAML's weights"


def _trainings(study: Study) -> Iterator[Training]:
    """Yield every training; those of folds lie side by side in the folder of their seed."""
    folds = deal_folds(study)
    for name in study.arms:
        for seed, run in zip(study.seeds, study.runs(name), strict=True):
            if not folds:
                yield Training(name, seed, None, run)
            for fold in folds:
                yield Training(name, seed, fold, run / f"{FOLD}{fold.number}")


def _generate_step(study: Study, name: str, seed: int) -> Step:
    """Return the command that makes a store, for each seed where there is one for each."""
    position, entry = study.store(name, seed), study.stores[name]
    words = ("generate", *study.chip_words, "--store", str(position))
    words += (*study.generate_arguments, *entry.arguments)
    words += ("--seed", str(seed)) if entry.per_seed else ()
    title = f"generate {name} seed {seed}" if entry.per_seed else f"generate {name}"
    return Step(_made_by(study, name, seed), words, position / "zarr.json", costly=True, title=title)


def _made_by(study: Study, store: str, seed: int) -> str:
    """Return the name of the step that makes the store that a run with this seed joins."""
    return f"generate_{store}_{seed}" if study.stores[store].per_seed else f"generate_{store}"


def _encode_steps(study: Study, name: str, trainings: Sequence[Training]) -> tuple[Step, ...]:
    """Return the commands that make features, by the first arm of that name and the first seed.

    There is one for each fold, as each trains on other chips.
    """
    arm = next(arm for arm, entry in study.arms.items() if entry.features == name)
    steps: list[Step] = []
    for training in (one for one in trainings if (one.arm, one.seed) == (arm, study.seeds[0])):
        fold = f"_{training.fold.number}" if training.fold else ""
        words = _finetune_words(study, training, "encode", "--features", str(study.features(name)))
        # one after another, since they write to one folder
        after = (*_stores_of(study, training), *(step.name for step in steps[-1:]))
        title = f"encode {name}" + (f" fold {training.fold.number}" if training.fold else "")
        product = study.features(name) / HEADER
        steps.append(Step(f"encode_{name}{fold}", words, product, after, costly=True, title=title))
    return tuple(steps)


def _finetune_words(study: Study, training: Training, command: str, *output: str) -> CommandArgs:
    arm, seed = study.arms[training.arm], training.seed
    joined = () if arm.store is None else ("--augment", str(study.store(arm.store, seed)))
    words: CommandArgs = ("finetune", command, "--config", arm.config, *study.chip_words, *joined)
    words += ("--seed", str(seed), *output, *study.finetune_arguments, *arm.arguments)
    return words if training.fold is None else (*words, *split_words(study, training.fold))


def _stores_of(study: Study, training: Training) -> tuple[str, ...]:
    """Return the name of the step that makes the store that a training joins, if there is one."""
    store = study.arms[training.arm].store
    return () if store is None else (_made_by(study, store, training.seed),)


def _fit_step(study: Study, training: Training, encodings: Mapping[str, Sequence[Step]]) -> Step:
    run, features, after = training.run, study.arms[training.arm].features, _stores_of(study, training)
    output: CommandArgs = ("--run", str(run))
    if features is not None:
        output += ("--features", str(study.features(features)))
        # the last of them, which may replace chips of an earlier fold: nobody must be reading these then
        after += (encodings[features][-1].name,)
    return Step(
        f"fit_{training.name}",
        _finetune_words(study, training, "fit", *output),
        run / CHECKPOINTS / "best.ckpt",
        after,
        costly=True,
        checkpoint=run / CHECKPOINTS / "last.ckpt",
        title=f"fit {training.title}",
    )


def _score_step(study: Study, training: Training) -> Step:
    run, store = training.run, study.arms[training.arm].store
    words: CommandArgs = ("eval", "score", str(run))
    # a run never reads a URL that only its own record names
    words += ("--chips", str(study.chips), *study.layout_words) if "://" in str(study.chips) else ()
    position = "" if store is None else str(study.store(store, training.seed))
    words += ("--store", position) if "://" in position else ()
    return Step(
        f"score_{training.name}",
        words,
        run / FOLDER / RECORD,
        (f"fit_{training.name}",),
        title=f"score {training.title}",
    )


def _zero_shot_step(study: Study, name: str) -> Step:
    entry, (folder,) = study.zero_shot[name], study.runs(name)
    store = study.store(entry.store, study.seeds[0])  # the same for each seed, as the study has checked
    legend = () if entry.legend is None else ("--legend", entry.legend)
    chips = ("--chips", str(study.chips), *study.layout_words)
    words = ("eval", "zero-shot", str(store), *chips, "--out", str(folder), *legend)
    after = (f"generate_{entry.store}",)
    return Step(f"score_{name}", words, folder / FOLDER / RECORD, after, title=f"zero-shot {name}")


def _compare_step(study: Study, name: str, trainings: Sequence[Training]) -> Step:
    entry, out = study.comparisons[name], study.out / "reports" / name
    words = ["eval", "compare"]
    for option, arm in (("--baseline", entry.baseline), ("--candidate", entry.candidate)):
        words += [option, *map(str, study.runs(arm))]
    # the name again for each run, by which the command groups them
    controls = [f"{control}={run}" for control in entry.controls for run in study.runs(control)]
    words += [*(["--control", *controls] if controls else []), "--out", str(out)]
    words += ["--study", str(study.out), "--comparison", name]
    arms = (entry.baseline, entry.candidate, *entry.controls)
    after = tuple(f"score_{arm}" for arm in arms if arm in study.zero_shot)
    after += tuple(f"score_{training.name}" for arm in arms for training in trainings if training.arm == arm)
    return Step(f"compare_{name}", tuple(words), out / REPORT, after, title=f"compare {name}")
