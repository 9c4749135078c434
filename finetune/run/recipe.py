"""The training recipe of a run: every setting that is not what its arm asks about, and could explain a difference.

What an arm is about is left out by name, so that a setting which TerraTorch adds tomorrow counts.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.utils.text import LISTED
from finetune.augment.encodings import TRAINED_LAYERS
from finetune.data.normalization import DEFAULT_PRESET
from finetune.model import BACKBONE, LATE_FACTORY
from finetune.run.config import section
from finetune.run.known_classes import FACTORY
from finetune.run.trainer import WHOLE_CHECKPOINTS
from finetune.run.yaml_file import Config

Recipe = Mapping[str, str]
"""Settings by their key in the YAML, without ``init_args``; the trainer's are left out where they have their default.

A run adds `OF_A_RUN`, and a score which ``checkpoint`` it took.
"""

OF_A_RUN: Final = ("processes", "features")
"""Settings that no YAML has: the number of processes, and the type of the features that a training read."""

MAX_LENGTH: Final = 100
"""Characters of a value that a message shows."""

TRAINER: Final[Mapping[str, Any]] = {
    **{"precision": "32-true", "accumulate_grad_batches": 1, "gradient_clip_val": 0},
    **{"gradient_clip_algorithm": "norm", "sync_batchnorm": False, "use_distributed_sampler": True},
    **{"max_epochs": None, "min_epochs": None, "max_steps": -1, "min_steps": None, "max_time": None},
    **{"limit_train_batches": 1.0, "limit_val_batches": 1.0, "overfit_batches": 0, "fast_dev_run": False},
    **{"val_check_interval": 1.0, "check_val_every_n_epoch": 1, "callbacks": None, "plugins": None},
}
"""Keys of the trainer that decide what is learnt, and their defaults; the others say where it runs and what it
prints."""

PRECISIONS: Final = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
"""Lightning's short names."""

LENGTH: Final = frozenset(f"trainer.{name}" for name in ("max_epochs", "max_steps", "max_time"))
"""Settings that a resumed run may change, to train for longer."""

ONLOOKERS: Final = re.compile(
    r"((lightning|pytorch_lightning|terratorch)\.(\w+\.)*)?(RichProgressBar|TQDMProgressBar|LearningRateMonitor"
    r"|\w*ModelCheckpoint|ModelSummary|RichModelSummary|DeviceStatsMonitor)"
)
"""Callbacks that change nothing; which checkpoint counts is the run's own rule."""

DATA: Final = (
    *("bands", "timesteps", "no_data_value", "no_data_replace", "means", "stds", "batch_size"),
    *("train_transform", "val_transform", "test_transform"),
)
"""Keys of the datamodule; what is joined is the question, and chips and masks are compared by digest."""

ASKED: Final = re.compile(
    r"model\.(class_names|plot_on_val|model_args\.backbone_(encoding|token_modality|new_columns|modalities|bands"
    r"|pretrained|weights|tim_modalities))"
)
"""Keys of the model that an arm is about, or that are compared elsewhere: the start by digest, modalities by inputs."""

OVERRULED: Final = ("lr", "lr_overrides", "optimizer", "optimizer_hparams", "scheduler", "scheduler_hparams")
"""Keys of the task that a section ``optimizer`` of the YAML overrules."""

SUBCLASSES: Final = ("data", "model", "optimizer", "lr_scheduler")
"""Sections that name a class; TerraTorch's parser takes their keys with and without ``init_args``."""


def recipe_of(config: Config, *, short_names: bool = False) -> dict[str, str]:
    """Return the recipe of a configuration.

    Args:
        config: A YAML, or what a run keeps of it, as plain values.
        short_names: Whether classes go by the last part of their names, as YAMLs may write them.

    Raises:
        ConfigError: If a section that has keys is something else.
    """
    plain = copy.deepcopy(config)
    sections = {
        "trainer": _trainer(section(plain, "trainer")),
        "data": _data(section(plain, "data", "init_args")),
        "model": {"class_path": section(plain, "model").get("class_path"), **_model(plain)},
        "optimizer": plain.get("optimizer"),
        "lr_scheduler": plain.get("lr_scheduler"),
    }
    return {key: text for key, text in _settings(sections, "", short=short_names) if not ASKED.fullmatch(key)}


def differences(one: Recipe, other: Recipe) -> list[tuple[str, str, str]]:
    """List settings that differ: key, value of the one and of the other."""
    # a key that one of them lacks has its default there
    pairs = ((key, one.get(key, "default"), other.get(key, "default")) for key in sorted({*one, *other}))
    return [(key, ours, theirs) for key, ours, theirs in pairs if ours != theirs]


def describe(found: Sequence[tuple[str, str, str]], one: str, other: str) -> str:
    """Describe the first differences of two named recipes, for a message; empty without any."""
    said = [
        f"{key} is {_cut_short_text(ours)} in {one}, {_cut_short_text(theirs)} in {other}"
        for key, ours, theirs in found
    ]
    return "; ".join(said[:LISTED]) + (f"; and {len(said) - LISTED} more" if len(said) > LISTED else "")


def _cut_short_text(text: str) -> str:
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]} …"


def with_overrides(recipe: Recipe, words: Sequence[str]) -> Recipe:
    """Return a recipe with what a command line says of its settings, as in ``--trainer.max_epochs 5``.

    An estimate for a plan: TerraTorch's parser has the last word.

    Args:
        recipe: Recipe of a YAML, with short names.
        words: Arguments of `tim-finetune fit`.
    """
    made = dict(recipe)
    # `--key=value` and `--key value` become two words each, so that options pair with their values
    split = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else (word,))]
    for word, text in itertools.pairwise(split):
        option = "--trainer.precision" if word == "--precision" else word
        key = option.removeprefix("--").replace(".init_args", "")
        section, _, name = key.partition(".")
        if not option.startswith("--") or (not name and section not in SUBCLASSES) or ASKED.fullmatch(key):
            continue
        if name not in {"trainer": TRAINER, "data": DATA}.get(section, (name,)):
            continue  # an argument that no recipe counts
        # null on the command line takes a setting back to its default
        # a setting given anew replaces all that is nested below it
        made = {old: said for old, said in made.items() if old != key and not (name and _is_below(old, key))}
        if (value := _parsed_value(text)) is not None:
            made[key if name else f"{key}.class_path"] = _said(value, short=True)
    return made


def _is_below(key: str, parent: str) -> bool:
    """Say whether a setting's key is nested below another."""
    return key.startswith((f"{parent}.", f"{parent}["))


def _parsed_value(text: str) -> Any:
    """Parse a text as YAML; return the text itself if it is none."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


def _listed(value: Any) -> list[Any]:
    """List the entries of a key that takes one or several."""
    return list(value) if isinstance(value, list) else [] if value is None else [value]


def _class(entry: Any) -> str:
    return str(entry.get("class_path") if isinstance(entry, dict) else entry)


def _trainer(given: Config) -> Config:
    """Select what decides the training, without what has its default."""
    named = {name: given.get(name) for name in TRAINER}
    named["precision"] = PRECISIONS.get(str(named["precision"]), named["precision"])
    # what only watches, and our own plugin, say nothing of what is learnt
    callbacks = [e for e in _listed(named["callbacks"]) if not ONLOOKERS.fullmatch(_class(e))]
    # our plugin changes how a file is written, not what is learnt
    plugins = [entry for entry in _listed(named["plugins"]) if _class(entry) != WHOLE_CHECKPOINTS]
    named |= {"callbacks": callbacks or None, "plugins": plugins or None}
    return {name: value for name, value in named.items() if value != TRAINER[name]}


def _data(given: Config) -> Config:
    """Select what decides how a chip looks: a preset counts for means and stds, as in the datamodule."""
    named = {name: given.get(name) for name in DATA}
    means, stds = named["means"], named["stds"]
    if all(value is None or isinstance(value, str) for value in (means, stds)):
        named["means"] = named["stds"] = means or stds or DEFAULT_PRESET
    bands = named["bands"] if isinstance(named["bands"], dict) else {}
    # naming all bands is the same as naming none
    every = {name: list(modality.bands) for name, modality in INPUT_MODALITIES.items()}
    named["bands"] = {name: chosen for name, chosen in bands.items() if chosen != every.get(name)}
    # 0 and nothing mean the same to the datamodule
    named["no_data_replace"] = named["no_data_replace"] or None
    return named


def _model(plain: Config) -> Config:
    """Select the task and its network, by architecture: who generates, the network or a store, is what arms ask."""
    task = dict(section(plain, "model", "init_args"))
    arguments = section(plain, "model", "init_args", "model_args")
    architecture = arguments.pop("backbone_architecture", None)
    if arguments.get("backbone") in (None, BACKBONE):
        arguments["backbone"] = architecture
    if task.get("model_factory") == LATE_FACTORY:  # the same network plus a place for planes
        task["model_factory"] = FACTORY
    # in-line TiM is the same network plus its own generator
    arguments["backbone"] = str(arguments["backbone"]).removesuffix("_tim")
    if arguments.get("peft_config") is not None:
        kwargs = section(arguments, "peft_config", "peft_config_kwargs")
        # the layer that the encoding adds is trained whole in any case
        saved = [
            name for name in _listed(kwargs.get("modules_to_save")) if name not in TRAINED_LAYERS.values()
        ]
        kwargs["modules_to_save"] = saved or None
    for name in OVERRULED if plain.get("optimizer") is not None else ():
        task.pop(name, None)
    return {**task, "model_args": arguments}


def _settings(value: Any, key: str, *, short: bool) -> Iterator[tuple[str, str]]:
    """Yield every setting with its key; what is not set is left out, and a list is one setting."""
    if isinstance(value, dict):
        for name, entry in value.items():
            # init_args is the parser's word, no part of a setting's name
            # `filter` drops the empty key of the top level
            here = key if name == "init_args" else ".".join(filter(None, (key, str(name))))
            yield from _settings(entry, here, short=short)
    elif value is not None:
        named = _name(value, short=short) if key.endswith("class_path") else _said(value, short=short)
        yield key, named


def _name(class_path: Any, *, short: bool) -> str:
    return str(class_path).rsplit(".", 1)[-1] if short else str(class_path)


def _said(value: Any, *, short: bool) -> str:
    """Write a value as a line, whatever the order of its keys; a class as its name with its arguments."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(_said(entry, short=short) for entry in value)}]"
    if isinstance(value, dict) and "class_path" in value:
        name, given = _name(value["class_path"], short=short), value.get("init_args") or {}
        listed = ", ".join(f"{key}={_said(given[key], short=short)}" for key in sorted(given))
        return f"{name}({listed})" if listed else name
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_said(value[key], short=short)}' for key in sorted(value))}}}"
    try:
        # 12 digits: 1e-4, 0.0001 and the text "1e-4" are one value
        return str(value).lower() if isinstance(value, bool) else f"{float(value):.12g}"
    except (TypeError, ValueError):  # no number; one that YAML takes for text, as 1e-4, is
        return str(value)
