"""The training recipe of a run: every setting that is not what its arm asks about, and could explain a difference."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from augment_store.words import LISTED
from finetune.model import BACKBONE

LONGEST: Final = 100
"""Characters of a value that a message shows."""

Recipe = Mapping[str, str]
"""Settings by their key in the YAML, without ``init_args``."""

TRAINER: Final = (
    *(
        "precision",
        "accumulate_grad_batches",
        "gradient_clip_val",
        "gradient_clip_algorithm",
        "sync_batchnorm",
    ),
    *("max_epochs", "min_epochs", "max_steps", "min_steps", "max_time"),
    *("limit_train_batches", "limit_val_batches", "overfit_batches", "fast_dev_run"),
    *("val_check_interval", "check_val_every_n_epoch", "callbacks"),
)
"""Keys of the trainer that decide what is learnt; the others say where it runs and what it prints."""

LENGTH: Final = frozenset(f"trainer.{name}" for name in ("max_epochs", "max_steps", "max_time"))
"""Settings that a resumed run may change, to train for longer."""

ONLOOKERS: Final = (
    *("ProgressBar", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "DeviceStatsMonitor", "Timer"),
)
"""Ends of the names of callbacks that change nothing; which checkpoint counts is the run's own rule."""

DATA: Final = (
    *("bands", "timesteps", "no_data_value", "no_data_replace", "means", "stds", "batch_size"),
    *("train_transform", "val_transform", "test_transform"),
)
"""Keys of the datamodule; what is joined is the question, and chips and masks are compared by digest."""

ASKED: Final = re.compile(
    r"model\.(class_names|plot_on_val|model_args\.(backbone_(encoding|token_modality|new_columns|modalities|bands"
    r"|pretrained|weights|tim_modalities)|peft_config\.peft_config_kwargs\.modules_to_save))$"
)
"""Keys of the model that an arm is about, or that are compared elsewhere: the start by digest, modalities by inputs."""


def recipe_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The recipe of a configuration.

    Args:
        config: A YAML, or what a run keeps of it, as plain values.
    """
    trainer, data = (_arguments(config.get(name)) for name in ("trainer", "data"))
    sections = {
        "trainer": {name: _without_onlookers(trainer.get(name)) for name in TRAINER},
        "data": {name: data.get(name) for name in DATA},
        "model": _with_plain_backbone(_arguments(config.get("model"))),
        "optimizer": config.get("optimizer"),
        "lr_scheduler": config.get("lr_scheduler"),
    }
    return {key: text for key, text in _settings(sections, "") if not ASKED.match(key)}


def differences(one: Recipe, other: Recipe) -> list[tuple[str, str, str]]:
    """Settings that differ: key, value of the one and of the other."""
    pairs = ((key, one.get(key, "none"), other.get(key, "none")) for key in sorted({*one, *other}))
    return [(key, ours, theirs) for key, ours, theirs in pairs if ours != theirs]


def describe(found: Sequence[tuple[str, str, str]], one: str, other: str) -> str:
    """The first differences of two named recipes, for a message; empty without any."""
    said = [f"{key} is {_cut(ours)} in {one}, {_cut(theirs)} in {other}" for key, ours, theirs in found]
    return "; ".join(said[:LISTED]) + (f"; and {len(said) - LISTED} more" if len(said) > LISTED else "")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def overridden(config: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """A YAML with what a command line says of its keys, as in ``--trainer.max_epochs 5``.

    An estimate for a plan: TerraTorch's parser has the last word.

    Args:
        config: The YAML as plain values.
        words: Arguments of `python -m finetune fit`.
    """
    made: dict[str, Any] = json.loads(json.dumps(config, default=str))
    split = [part for word in words for part in (word.split("=", 1) if word.startswith("--") else (word,))]
    for option, value in itertools.pairwise(split):
        if option.startswith("--") and "." in option:
            *path, last = option[2:].split(".")
            place: Any = made
            for name in path:
                place = place.setdefault(name, {}) if isinstance(place, dict) else None
            if isinstance(place, dict):
                place[last] = _value(value)
    return made


def _value(text: str) -> Any:
    """What YAML makes of a text; the text itself if it is not YAML."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


def _arguments(section: Any) -> dict[str, Any]:
    """Keys of a section, whether it names a class or not."""
    plain = section if isinstance(section, dict) else {}
    return dict(plain.get("init_args") or {}) if "class_path" in plain else dict(plain)


def _without_onlookers(value: Any) -> Any:
    """A value; of callbacks, those that change the training."""
    if not isinstance(value, list):
        return value
    return [entry for entry in value if not str(_class(entry)).endswith(ONLOOKERS)] or None


def _class(entry: Any) -> Any:
    return entry.get("class_path") if isinstance(entry, dict) else entry


def _with_plain_backbone(model: dict[str, Any]) -> dict[str, Any]:
    """The network by its architecture alone: who generates, the network itself or a store, is what arms ask."""
    arguments = dict(model.get("model_args") or {})
    architecture = arguments.pop("backbone_architecture", None)
    if arguments.get("backbone") in (None, BACKBONE):
        arguments["backbone"] = architecture
    arguments["backbone"] = str(arguments["backbone"]).removesuffix("_tim")
    return {**model, "model_args": arguments}


def _settings(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every setting with its key; what is not set is left out, and a list is one setting."""
    if isinstance(value, dict):
        for name, entry in value.items():
            here = key if name == "init_args" else ".".join(filter(None, (key, str(name))))
            yield from _settings(entry, here)
    elif value is not None:
        yield key, _said(value)


def _said(value: Any) -> str:
    """A value as a line, whatever the order of its keys; a class as its name with its arguments."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_said, value))}]"
    if isinstance(value, dict) and "class_path" in value:
        name, given = str(value["class_path"]).rsplit(".", 1)[-1], value.get("init_args") or {}
        listed = ", ".join(f"{key}={_said(given[key])}" for key in sorted(given))
        return f"{name}({listed})" if listed else name
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_said(value[key])}' for key in sorted(value))}}}"
    try:
        return str(value).lower() if isinstance(value, bool) else f"{float(value):.12g}"
    except (TypeError, ValueError):  # no number; one that YAML takes for text, as 1e-4, is
        return str(value)
