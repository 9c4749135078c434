"""From a YAML and the command line's options to the one configuration of a run."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from augment_store.chips.layouts import SPLITS
from augment_store.io.remote import as_path, check_no_credentials
from augment_store.modalities.definitions import IGNORED_LABEL
from augment_store.store.columns import no_store_at
from finetune.errors import ConfigError
from finetune.log_filters import notify
from finetune.model import BACKBONE, UNABLE_TO_IGNORE
from finetune.model.loss_names import loss_names
from finetune.options import STARTING, Options
from finetune.run.model_checks import check_model
from finetune.run.trainer import resolve_trainer
from finetune.run.yaml_file import Config, check_class_keys

DATAMODULE: Final = "finetune.data.datamodule.TimStoreDataModule"
TAKEN: Final = ("ImpactMeshDataModule", "TimStoreDataModule")
"""Datamodules whose arguments ours accepts; the first is Phase 2's."""

DEFAULT_SEED: Final = 42
SMOKE_CHIPS: Final = 4

OWN_OPTIMIZER: Final = ("optimizer", "optimizer_hparams", "scheduler", "scheduler_hparams")
"""Arguments of the task that a section optimizer replaces."""


def with_our_datamodule(given: Config, origin: Path) -> Config:
    """Put the datamodule of stage 2 in place of one whose arguments it accepts.

    Raises:
        ConfigError: If it has any other datamodule; the message says how to write the section.
    """
    check_model(given["model"], origin)  # first: data of another task need no other section
    named = str(given["data"].get("class_path", ""))
    name = named.split(".")[-1]
    if name not in TAKEN:
        raise ConfigError(
            f"{origin}: data.class_path: {named or 'missing'}; expected {DATAMODULE}, with init_args data_root (folder "
            "of S2L2A/<id>.tif and so on by modality, MASK/<id>.tif, split/{train,val,test}.txt), modalities, "
            "batch_size, class_names and the transforms as they are; or keep yours under terratorch fit, joined with a "
            "store by finetune.data.joined.JoinedDataModule"
        )
    check_class_keys(given, "data", origin)
    if name != TAKEN[1]:
        notify(f"{origin}: {named} is replaced by {DATAMODULE}, which accepts its arguments")
    return {**given, "data": {**given["data"], "class_path": DATAMODULE}}


def section(config: Config, *names: str) -> Config:
    """Return a nested section, created if it is missing.

    Raises:
        ConfigError: If something other than keys is in its place.
    """
    for name in names:
        if config.get(name) is None:
            config[name] = {}
        config = config[name]
        if not isinstance(config, dict):
            raise ConfigError(f"YAML section {'.'.join(names)}: expected keys, found {config!r}")
    return config


def normalize(given: Config) -> Config:
    """Add what stage 2 needs to any YAML of TerraTorch: its backbone, class names and a seed.

    Args:
        given: The YAML, with what the command line overrides.

    Raises:
        ConfigError: If the YAML lacks the number of classes, names two networks, or data and model contradict each
            other.
    """
    config = copy.deepcopy(given)
    check_model(section(config, "model"), "configuration")  # again, with what the command line overrides
    seed = config.setdefault("seed_everything", DEFAULT_SEED)
    data, model = section(config, "data", "init_args"), section(config, "model", "init_args")
    # arms of one seed draw the same shuffled maps
    data.setdefault("control_seed", seed if _is_number(seed) else DEFAULT_SEED)
    # TerraTorch's default draws validation samples by a method of the datamodule, which ours has not
    if model.get("plot_on_val"):
        notify(
            f"plot_on_val {model['plot_on_val']} draws nothing here; tim-eval score draws what a run predicts"
        )
    model["plot_on_val"] = False
    arguments = section(model, "model_args")
    _use_our_backbone(arguments)
    # band names stand once in a YAML, under data
    if data.get("bands") and arguments.get("backbone") == BACKBONE:
        arguments.setdefault("backbone_bands", data["bands"])  # named twice, they must agree
    data["class_names"] = _class_names(data, model)
    return config


def check_classes(given: Config) -> None:
    """Make sure that data and model of a YAML agree on the classes.

    Raises:
        ConfigError: If they do not.
    """
    config = copy.deepcopy(given)
    data, model = (section(config, name, "init_args") for name in ("data", "model"))
    # what is no list is told by TerraTorch's parser
    if all(isinstance(part.get("class_names") or [], list) for part in (data, model)):
        section(model, "model_args")
        _check_names(data, model)
        _class_names(data, model)


def _use_our_backbone(arguments: Config) -> None:
    """Replace a TerraMind that ``model_args`` names by the backbone that takes cached modalities."""
    named, architecture = str(arguments.get("backbone", "")), arguments.get("backbone_architecture")
    if not named.startswith("terramind_") or named == BACKBONE:
        return
    if architecture not in (None, named):
        raise ConfigError(
            f"model_args: backbone {named!r} and backbone_architecture {architecture!r} name two networks; give one: "
            f"backbone_architecture where the YAML's backbone is {BACKBONE}, else backbone"
        )
    arguments |= {"backbone": BACKBONE, "backbone_architecture": named}


def _class_names(data: Config, model: Config) -> list[str]:
    """Return the names of the classes: the datamodule's, or the task's, or ``class 0`` and so on."""
    classes = model["model_args"].get("num_classes")
    if not isinstance(classes, int) or classes < 2:
        raise ConfigError(
            f"model.init_args.model_args: num_classes {classes!r}; expected the number of classes in the masks, 2 or "
            "more, since the background of a single class is one too"
        )
    names = (
        data.get("class_names") or model.get("class_names") or [f"class {label}" for label in range(classes)]
    )
    if len(names) != classes:
        raise ConfigError(f"num_classes {classes}, but class_names names {len(names)}; make them agree")
    weights = model.get("class_weights")
    if weights is None:
        return list(names)
    if not isinstance(weights, list) or len(weights) != classes:
        found = f"{len(weights)} class_weights" if isinstance(weights, list) else f"class_weights {weights}"
        raise ConfigError(f"num_classes {classes}, but {found}; give one for each class")
    if not _are_weights(weights):
        raise ConfigError(
            f"class_weights {weights}; expected numbers of 0 or more, and not 0 for every class"
        )
    return list(names)


def _are_weights(values: Iterable[Any]) -> bool:
    """Tell whether values can weigh the terms of a loss: not negative, finite, and one of them more than 0."""
    try:
        numbers = [float(value) for value in values]  # 1e-4 without a dot is a text in YAML
    except (TypeError, ValueError):
        return False
    return all(math.isfinite(number) and number >= 0 for number in numbers) and any(numbers)


def resolve(given: Config, options: Options, *, gpu: bool) -> Config:
    """Return the configuration of a run, except for what the data tell the model.

    Args:
        given: The YAML, with what the command line overrides.
        options: The command line, which wins.
        gpu: Whether there is a GPU to train on.

    Raises:
        ConfigError: If the YAML lacks what is needed, or contradicts itself or the command line.
    """
    # the command line wins over the YAML
    config = {**given, "seed_everything": options.seed} if options.seed is not None else given
    _check_names(section(given, "data", "init_args"), section(given, "model", "init_args"))
    config = normalize(config)
    _check_training(config, options)
    resolve_data(config["data"]["init_args"], options)
    _resolve_weights(config["model"]["init_args"]["model_args"], options)
    resolve_trainer(section(config, "trainer"), options, gpu=gpu)
    return config


def _check_names(data: Config, model: Config) -> None:
    """Refuse two lists that differ: one class' numbers would get another's name."""
    ours, theirs = (list(map(str, part.get("class_names") or ())) for part in (data, model))
    if ours and theirs and ours != theirs:
        raise ConfigError(
            f"class_names: {', '.join(ours)} under data, but {', '.join(theirs)} under model; give one list, by label"
        )


def _check_training(config: Config, options: Options) -> None:
    """Make sure that a training can be paired by its seed, and that its loss ignores what masks call ignored."""
    seed, model = config["seed_everything"], config["model"]["init_args"]
    if not _is_number(seed):
        raise ConfigError(
            f"{options.config}: seed_everything: {seed}; expected a whole number, since arms are paired by seed; give "
            "it here or with --seed"
        )
    if model.get("ignore_index") not in (None, IGNORED_LABEL):
        raise ConfigError(
            f"model.init_args.ignore_index {model['ignore_index']}; expected {IGNORED_LABEL}, which masks have where a "
            "pixel is ignored, or nothing; a label that your files have for it goes into ignored_labels of a layout "
            "file (--layout)"
        )
    if model.get("path_to_record_metrics"):
        raise ConfigError(
            f"model.init_args.path_to_record_metrics {model['path_to_record_metrics']}: TerraTorch then counts test "
            "batches twice; leave it out, and score the run with tim-eval score"
        )
    starting = options.command in STARTING
    # what only a training reads does not keep a finished run from being looked at
    if starting and config.get("lr_scheduler") is not None and config.get("optimizer") is None:
        raise ConfigError(
            "lr_scheduler without a section optimizer would be left out without a word; add optimizer, such as "
            "class_path: AdamW with init_args: {lr: 1.0e-4}"
        )
    unused = [key for key in OWN_OPTIMIZER if model.get(key) is not None]
    if starting and unused and config.get("optimizer") is not None:
        notify(f"model.init_args: {', '.join(unused)} not used, since the section optimizer replaces them")
    if starting and isinstance(model.get("loss"), dict) and not _are_weights(model["loss"].values()):
        raise ConfigError(
            f"loss {model['loss']}; expected for each loss a weight of 0 or more, not 0 for all"
        )
    arguments = model["model_args"]
    unread = arguments.get("backbone_weights") and not arguments.get("backbone_pretrained")
    # weights are read by a fit alone, and not where a checkpoint replaces them
    if unread and options.ckpt_path is None and starting:
        raise ConfigError(
            f"{options.config}: model_args: backbone_weights {arguments['backbone_weights']} is not read without "
            "backbone_pretrained: true; add that, or leave the file out to train from random weights"
        )
    if UNABLE_TO_IGNORE in loss_names(model.get("loss")):
        model.pop("ignore_index", None)  # that loss takes none; masks with ignored pixels are refused
    else:
        model["ignore_index"] = IGNORED_LABEL


def _is_number(seed: object) -> bool:
    # True is an int in Python, and what Lightning takes for a seed of its own choice
    return isinstance(seed, int) and not isinstance(seed, bool)


def resolve_data(data: Config, options: Options) -> None:
    """Set what the datamodule reads and joins.

    Args:
        data: Arguments of the datamodule; changed.
        options: The command line, which wins.

    Raises:
        ConfigError: If the store is not there.
    """
    # a chip set comes with its own splits, unless the command line names others
    if options.chips is not None:
        # an override such as --data.init_args.val_split wins over the chip set's own split
        named = {word.split("=")[0].rsplit(".", 1)[-1] for word in options.overrides}
        splits = {f"{split}_split" for split in SPLITS} - named
        # None: the datamodule then takes the chip set's own file
        data |= {"data_root": str(options.chips), **dict.fromkeys(splits)}
    # of the two only what the command line gives, so that the YAML's stays
    data |= {key: value for key in ("layout", "scenes") if (value := getattr(options, key)) is not None}
    data["augment"] = _store(data.get("augment"), options)
    for value in data.values():  # the run keeps its configuration
        if isinstance(value, str) and "://" in value:
            check_no_credentials(value)
    data["control"] = options.control or data.get("control")
    if options.encoding is not None:
        data["encoding"] = list(options.encoding)
    # an evaluation draws the control's maps as the training did
    if options.command in STARTING and options.seed is not None:
        data["control_seed"] = options.seed
    if options.allow_scene_overlap:
        data["allow_scene_overlap"] = True
    if options.smoke:
        # no workers: starting them takes longer than reading a few chips
        data |= {"limit_chips": SMOKE_CHIPS, "num_workers": 0}


def _store(named: str | None, options: Options) -> str | None:
    """Return the store of the command line, or of the YAML; the error for a missing one says who named it."""
    store = str(options.augment) if options.augment is not None else named
    if not store or (as_path(store) / "zarr.json").is_file():
        return store
    if options.augment is not None:  # even if a control does not read it: a wrong path is an error
        raise ConfigError(f"--augment {store}: {no_store_at(options.augment)}")
    if options.control is None:
        raise ConfigError(
            f"{options.config}: data.init_args.augment: {store} is not an augment store (no zarr.json); name yours "
            "with --augment STORE, or make one with tim-generate --store"
        )
    return store


def _resolve_weights(arguments: Config, options: Options) -> None:
    if options.new_columns is not None:
        arguments["backbone_new_columns"] = options.new_columns
    if options.weights is not None:
        arguments["backbone_pretrained"] = options.weights != "random"
        # None: the Hugging Face cache, or nothing for random weights
        arguments["backbone_weights"] = None if options.weights in ("hub", "random") else options.weights
