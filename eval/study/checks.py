"""What can be told of a study's steps before the first one runs: each is parsed and checked as its own command does."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from rich.filesize import decimal

from augment_store.chips.chip_set import ChipSet
from augment_store.cli.parser import Command, add_commands
from augment_store.errors import AugmentStoreError
from augment_store.io.remote import RemotePath, as_path
from augment_store.modalities.legend_table import LegendTable
from augment_store.modalities.map_arrays import TOKENS
from augment_store.utils.progress import format_duration
from augment_store.utils.text import single_line
from eval.errors import EvaluationError
from eval.score.zero_shot import masks_legend
from eval.study.config import Study
from eval.study.plan import Step
from eval.study.runner import resuming_words, step_command
from finetune.options import Options, parse
from finetune.run.config import with_our_datamodule
from finetune.run.preflight import check_early, check_features, check_free, resume_interrupted
from finetune.run.yaml_file import read_yaml
from generate.cli.generate import CommandOptions, generate_parser
from generate.cli.parser import parse_options
from generate.options import check_weights


def check_study_steps(study: Study, left: Sequence[Step], evaluation: Mapping[str, Command]) -> None:
    """Make sure that the commands that are left can be understood, and that what they read is there.

    A store or features that another step will make are not looked for, nor are chips where there is no chip set yet.

    Args:
        study: The study.
        left: Steps to check.
        evaluation: Subcommands of evaluation, whose parsers are used.

    Raises:
        EvaluationError: Naming the first step that would fail, and why.
    """
    made = {str(step.folder) for step in left if step.kind in ("generate", "encode")}
    checks: Mapping[str, Callable[[Sequence[str]], None]] = {
        "generate": lambda words: _check_generation(words, chips=_is_there(study)),
        "finetune": lambda words: _check_fit(study, words, made),
        "eval": lambda words: _check_evaluation(words, evaluation, chips=_is_there(study)),
    }
    for step in left:
        module, *words = resuming_words(step)
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                checks[module](words)
        except SystemExit as error:  # a parser's, which has told why on its last line
            *_, why = ["wrong arguments", *said.getvalue().splitlines()]
            raise EvaluationError(_message(step, why.partition("error: ")[2] or why)) from error
        except AugmentStoreError as error:
            raise EvaluationError(_message(step, single_line(error))) from error


def _message(step: Step, why: str) -> str:
    return f"step {step.name} would fail: {why} ({step_command(step)})"


def _is_there(study: Study) -> bool:
    root = as_path(study.chips)
    # a URL is asked when its chips are read
    return isinstance(root, RemotePath) or root.is_dir()


def _check_generation(words: Sequence[str], *, chips: bool) -> None:
    options = parse_options(generate_parser(), CommandOptions, words)
    if chips:
        check_weights(options.request().maps.weights)


def _check_fit(study: Study, words: Sequence[str], made: set[str]) -> None:
    options = resume_interrupted(parse(words))
    _check_shared_features(study, options)
    if str(options.features) in made:  # an encoding reads no features
        options = dataclasses.replace(options, features=None)
    if _is_there(study):
        # the header of a store says what suits it, and there may be none yet
        check_early(options, store=str(options.augment) not in made)
    else:
        check_free(options)
        check_features(options)
        read_yaml(options.config)


def _check_shared_features(study: Study, options: Options) -> None:
    """Make sure that a training does not join other tokens than its features were made of, by the first seed."""
    if options.features is None or options.seed in (None, study.seeds[0]):
        return
    given = with_our_datamodule(read_yaml(options.config), options.config)["data"].get("init_args")
    data = given if isinstance(given, dict) else {}
    encoding, control = options.encoding or data.get("encoding"), options.control or data.get("control")
    entry = next(
        (name for name, entry in study.stores.items() if entry.per_seed and _joins(study, name, options)), ""
    )
    differs = f"--control {control}" if control else f"store {entry}, which is per_seed," if entry else ""
    # the backbone sees no other encoding
    if differs and isinstance(encoding, list | tuple) and TOKENS in encoding:
        raise EvaluationError(
            f"{options.features} has features of the tokens of seed {study.seeds[0]}, and {differs} gives each seed "
            "others; leave features out of this arm, and of those that it is compared with"
        )


def _joins(study: Study, store: str, options: Options) -> bool:
    return options.seed is not None and str(options.augment) == str(study.store(store, options.seed))


def _check_evaluation(words: Sequence[str], commands: Mapping[str, Command], *, chips: bool) -> None:
    parser = argparse.ArgumentParser("eval", allow_abbrev=False)
    add_commands(parser, commands, words)
    parsed = parser.parse_args(words)
    if parsed.command == "zero-shot" and chips:
        masks_legend(ChipSet.open(parsed.chips, parsed.layout), parsed.legend)
    elif parsed.command == "zero-shot" and parsed.legend is not None:
        LegendTable.load(parsed.legend)


def costs(
    study: Study, steps: Sequence[Step], left: Sequence[Step], took: Mapping[str, Sequence[float]]
) -> Iterator[str]:
    """Say what the steps that are left take, by those that are done: hours, and disk for trainings and stores.

    Args:
        study: The study.
        steps: All of its steps.
        left: Those that are missing.
        took: Seconds of the steps that are done, by kind.
    """
    done = [step for step in steps if step not in left]
    for kind in dict.fromkeys(step.kind for step in left if step.costly):
        count = sum(step.kind == kind for step in left)
        if kind == "generate" and all(step.product.exists() for step in left if step.kind == kind):
            yield f"{count} × {kind}: there already; what is missing is added"
            continue
        if kind not in took:
            yield f"{count} × {kind}: nobody knows how long one takes and how large it is until the first is done"
            continue
        # the features of all folds lie in one folder
        made = {step.folder for step in done if step.kind == kind}
        folders = {step.folder for step in left if step.kind == kind}
        yield (
            f"{count} × {kind}: about {format_duration(count * fmean(took[kind]))} one after another, and "
            f"{decimal(round(len(folders) * fmean(map(_size, made))))} of disk"
        )
    existing = next(path for path in [study.out.absolute(), *study.out.absolute().parents] if path.exists())
    yield f"{decimal(shutil.disk_usage(existing).free)} are free at {existing}"


def _size(folder: Path) -> int:
    """Return the bytes of a store, of features, or of a run with its checkpoints."""
    found = 0
    for path in folder.rglob("*"):
        # another job may be writing there
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_size if path.is_file() else 0
    return found
