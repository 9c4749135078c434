"""Keys and names of a YAML that nothing takes, told before torch is imported, with the one that was meant."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from augment_store.utils.text import did_you_mean
from finetune.errors import ConfigError
from finetune.model.loss_names import is_loss, logged_losses
from finetune.run.known_classes import (
    CALLBACKS,
    CLASS_METRICS,
    COMPOSITIONS,
    DATA_ARGUMENTS,
    DATA_PATHS,
    DECODERS,
    METRICS,
    MODEL_ARGUMENTS,
    NECKS,
    OPTIMIZERS,
    OURS,
    SCHEDULERS,
    TASK,
    TRAINER_ARGUMENTS,
    TRANSFORMS,
)
from finetune.run.trust import CUSTOM_MODULES
from finetune.run.yaml_file import RENAMED, Config

TRAINER_KEYS: Final = TRAINER_ARGUMENTS | OURS | {"accelerator", "strategy", "callbacks"}
"""Arguments of Lightning's Trainer."""

DATA_KEYS: Final = (
    DATA_ARGUMENTS
    | DATA_PATHS
    | {"scenes", "class_names", "train_transform", "val_transform", "test_transform"}
)
"""Arguments of our datamodule."""

MODEL_KEYS: Final = MODEL_ARGUMENTS | {
    *("backbone", "backbone_architecture", "backbone_weights", "decoder", "necks", "peft_config"),
}
"""Arguments of the network that are known; decoders have others."""

_SLIP: Final = 0.88
"""Likeness to a known key or name from which one that may be right is taken for misspelled."""

CLASSES: Final = {**OPTIMIZERS, **SCHEDULERS, **CALLBACKS, **COMPOSITIONS, **TRANSFORMS}
"""Classes of libraries by short and full name; each library has more."""

MONITORING: Final = {"ReduceLROnPlateau": "lr_scheduler", "EarlyStopping": "EarlyStopping"}
"""Who is told to watch a metric, by the class that watches it; our own callbacks keep the checkpoints."""

LIBRARIES: Final = ("lightning", "terratorch", "finetune")
"""Packages whose callbacks log no metric of their own."""

PACKAGES: Final = {path.rpartition(".")[0] for path in CLASSES.values()}


def check_keys(given: Config, origin: object, overrides: Sequence[str]) -> None:
    """Make sure that trainer, datamodule and network take what a YAML and the command line give them.

    Args:
        given: The YAML, with our datamodule.
        origin: The YAML's path, for messages.
        overrides: Options for TerraTorch's parser.

    Raises:
        ConfigError: Naming the first key that none takes, and the one that was probably meant.
    """
    for section, keys, known in (
        ("trainer", given.get("trainer"), TRAINER_KEYS),
        ("data.init_args", given["data"].get("init_args"), DATA_KEYS),
    ):
        # a section of another type is told by TerraTorch's parser
        for key in _unknown(keys if isinstance(keys, dict) else (), known):
            raise ConfigError(f"{origin}: {section}.{key}: no such key{did_you_mean(key, known)}")
        prefix = f"--{section}."
        named = [word.removeprefix(prefix) for word in overrides if word.startswith(prefix)]
        # of callbacks+=EarlyStopping and callbacks.patience the name is the first part
        for key in _unknown((word.split("=")[0].split(".")[0].rstrip("+") for word in named), known):
            raise ConfigError(f"{prefix}{key}: no such key{did_you_mean(key, known)}")
    task = given["model"].get("init_args")
    arguments = task.get("model_args") if isinstance(task, dict) else None
    # of a decoder of one's own, which has arguments of its own, nothing is known here
    theirs: Iterable[Any] = arguments if isinstance(arguments, dict) and not given.get(CUSTOM_MODULES) else ()
    for key in _unknown(theirs, MODEL_KEYS):
        if meant := did_you_mean(key, MODEL_KEYS, _SLIP):
            raise ConfigError(f"{origin}: model.init_args.model_args.{key}: no such key{meant}")


def check_class_names(given: Config, origin: object) -> None:
    """Make sure that there are the classes, decoders and necks that a YAML names by a name like that of a known one.

    Args:
        given: The YAML, with our datamodule.
        origin: The YAML's path, for messages.

    Raises:
        ConfigError: Naming the first that there is not, and the one that was probably meant.
    """
    if given.get(CUSTOM_MODULES):  # it may define them
        return
    for key, name in _named_classes(given, ""):
        known = {"decoder": DECODERS, "name": NECKS}.get(key.rpartition(".")[2], CLASSES)
        meant = did_you_mean(name, known, _SLIP)
        if meant and name not in known and not _is_defined(name):
            raise ConfigError(f"{origin}: {key}: there is no {name}{meant}")


def check_monitored(given: Config, origin: object) -> None:
    """Make sure that TerraTorch's task logs what a scheduler and callbacks watch.

    `finetune.model.monitors` has the task, and checks more; here nothing is said where the user's own code may log
    other metrics.

    Args:
        given: The YAML, with our datamodule.
        origin: The YAML's path, for messages.

    Raises:
        ConfigError: Naming the first metric that is not logged, and those that are.
    """
    trainer, task = given.get("trainer"), given["model"].get("init_args")
    named = trainer.get("callbacks") if isinstance(trainer, dict) else None
    callbacks = named if isinstance(named, list) else [] if named is None else [named]
    if given.get(CUSTOM_MODULES) or not isinstance(task, dict) or any(map(_may_log_more, callbacks)):
        return
    if str(given["model"].get("class_path")).rpartition(".")[2] != TASK.rpartition(".")[2]:
        return
    losses = logged_losses(task.get("loss"), task.get("aux_loss"))
    logged = (*losses, *(f"{stage}/{name}" for stage in ("val", "train") for name in METRICS))
    by_class = tuple(f"{stage}/{name}_" for stage in ("val", "train") for name in CLASS_METRICS)
    for owner, metric in _monitored([given.get("lr_scheduler"), *callbacks]):
        if not (is_loss(metric, losses) or metric in logged or metric.startswith(by_class)):
            raise ConfigError(
                f"{origin}: {owner}: monitor {metric} is no metric of this task; expected {', '.join(logged)}, or "
                f"{by_class[0]}0 of a class"
            )


def _monitored(entries: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Yield each metric that decides on rate or end of a training, with who watches it."""
    for entry in entries:
        arguments = entry.get("init_args") if isinstance(entry, dict) else None
        metric = arguments.get("monitor") if isinstance(arguments, dict) else None
        if (
            isinstance(metric, str)
            and (owner := str(entry.get("class_path")).rpartition(".")[2]) in MONITORING
        ):
            yield MONITORING[owner], metric


def _may_log_more(callback: Any) -> bool:
    """Return whether a callback may be a class of the user's, which may log anything."""
    path = str(callback.get("class_path")) if isinstance(callback, dict) else ""
    return path not in {*CALLBACKS, "ModelCheckpoint"} and path.split(".")[0] not in LIBRARIES


def _named_classes(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield each class path, decoder and neck below a key."""
    if isinstance(value, list):
        for entry in value:
            yield from _named_classes(entry, key)
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _named_classes(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, str) and key.endswith((".class_path", ".model_args.decoder", ".necks.name")):
        yield key, value.removeprefix("terratorch_")


def _is_defined(name: str) -> bool:
    """Return whether a library defines a class, or it is of none that is known here; nothing of it is imported."""
    package, _, attribute = name.rpartition(".")
    if not package:  # jsonargparse finds some classes by their short names
        return any(_is_defined(f"{each}.{name}") for each in PACKAGES)
    if package not in PACKAGES:
        return True
    library, *inner = package.split(".")
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:
        return False
    place = Path(spec.origin).parent.joinpath(*inner)
    files = place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    return any(f"class {attribute}(" in file.read_text(encoding="utf-8") for file in files)


def _unknown(keys: Iterable[Any], known: Iterable[str]) -> Iterator[str]:
    return (str(key) for key in keys if key not in {*known, *RENAMED})
