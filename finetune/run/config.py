"""From a YAML and the options of the command line to the one configuration that a run has."""

from __future__ import annotations

import copy
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from augment_store.maps.arrays import TOKENS
from augment_store.store import AugmentStore
from augment_store.typed import load_yaml
from finetune.augment.augmentation import Wish, effective_encoding, token_modality
from finetune.augment.encodings import PLANES_MODALITY, Placement, plan_encoding
from finetune.data.dataset import find_bands
from finetune.errors import ConfigError
from finetune.model.backbone import BACKBONE
from finetune.options import Options
from finetune.run.manifest import CHECKPOINTS

Config = dict[str, Any]

DATAMODULE: Final = "finetune.data.datamodule.TimStoreDataModule"
WHOLE_CHECKPOINTS: Final = "finetune.run.checkpoints.WholeCheckpoints"
DEFAULT_SEED: Final = 42
INPUT_MODALITIES_BY_DEFAULT: Final = ("S2L2A", "S1RTC", "DEM")
"""Of the datamodule and of the backbone, where neither names any."""

DOTTED: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
"""What the parser may take for the place of a class."""

TRUSTED: Final = frozenset(
    {
        *("albumentations", "finetune", "lightning", "pytorch_lightning", "segmentation_models_pytorch"),
        *("terratorch", "timm", "torch", "torchgeo", "torchmetrics", "torchvision"),
    }
)
"""Packages whose classes the configuration of someone else's run may name."""

NEED_A_LOGGER: Final = ("LearningRateMonitor",)
"""Callbacks that Lightning refuses without a logger, which a smoke run has none of."""

SMOKE_STEPS: Final = 2
SMOKE_CHIPS: Final = 4

TRAINED_LAYERS: Final[Mapping[Placement, str]] = {
    Placement.BANDS: "added",
    Placement.MODALITY: f"encoder_embeddings.{PLANES_MODALITY}",
}
"""Layer that an encoding adds and that LoRA must train whole, since there is nothing pretrained to adapt."""


def read_yaml(path: Path) -> Config:
    """A YAML as plain values.

    Raises:
        ConfigError: If it cannot be read, or is not made of the sections data and model.
    """
    try:
        config: Config = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read ({reason})") from error
    for section in ("data", "model"):
        if not isinstance(config, dict) or not isinstance(config.get(section), dict):
            raise ConfigError(f"{path}: no section {section!r}; expected a YAML as terratorch fit takes it")
    return config


def check_trusted(config: Config, origin: Path) -> None:
    """Makes sure that building a run's configuration imports no code that came with it.

    The parser imports whatever a dotted name leads to before it looks at what it is, and the working folder is on the
    path. Nothing is imported here.

    Raises:
        ConfigError: Naming the first key that leads to a package outside `TRUSTED`.
    """
    for key, text in _strings(config, ""):
        root = text.partition(".")[0]
        if DOTTED.fullmatch(text) and root not in TRUSTED and importlib.util.find_spec(root) is not None:
            raise ConfigError(
                f"{origin}: {key}: {text} would run code of the package {root}, which is none of "
                f"{', '.join(sorted(TRUSTED))}; if you trust it, score with --config {origin} --checkpoint FILE"
            )


def _strings(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Every text of a configuration with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _strings(entry, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from _strings(entry, f"{key}[{place}]")


def resolve(given: Config, options: Options, *, gpu: bool) -> Config:
    """The configuration of a run.

    Args:
        given: The YAML.
        options: The command line; what it names wins.
        gpu: Whether there is a GPU to train on.

    Raises:
        ConfigError: If the YAML lacks what is needed, or what is asked for contradicts itself.
    """
    config = copy.deepcopy(given)
    seed = options.seed if options.seed is not None else config.get("seed_everything", DEFAULT_SEED)
    config["seed_everything"] = seed
    wish = _resolve_data(config, options, seed)
    _resolve_model(config, options, wish)
    _resolve_trainer(config, options, gpu=gpu)
    return config


def _section(config: Config, *names: str) -> Config:
    """A nested section, made where it is missing."""
    for name in names:
        if config.get(name) is None:
            config[name] = {}
        config = config[name]
        if not isinstance(config, dict):
            raise ConfigError(f"YAML section {'.'.join(names)}: expected keys, found {config!r}")
    return config


def _resolve_data(config: Config, options: Options, seed: int) -> Wish:
    """Sets the datamodule and what it joins; returns the wish with the encoding in effect."""
    if str(config["data"].get("class_path", "")).split(".")[-1] in (
        "ImpactMeshDataModule",
        "TimStoreDataModule",
    ):
        config["data"]["class_path"] = DATAMODULE  # Phase 2's, whose arguments ours takes
    data = _section(config, "data", "init_args")
    if options.chips is not None:
        data["data_root"] = str(options.chips)
        for split in ("train_split", "val_split", "test_split"):
            data[split] = None
    data["augment"] = str(options.augment) if options.augment else data.get("augment")
    if options.augment is not None:
        AugmentStore.open(options.augment)  # also where a control does not read it: a wrong path is an error
    data["control"] = options.control or data.get("control")
    if options.command == "fit" and options.seed is not None:
        data["control_seed"] = seed
    data.setdefault("control_seed", seed)
    if options.allow_scene_overlap:
        data["allow_scene_overlap"] = True
    if options.smoke:
        data |= {"limit_chips": SMOKE_CHIPS, "num_workers": 0}
    named = options.encoding if options.encoding is not None else data.get("encoding")
    store = Path(data["augment"]) if data["augment"] else None
    wish = Wish(store, None if named is None else tuple(named), data["control"], data["control_seed"])
    encoding = effective_encoding(wish)
    data.pop("encoding", None)
    if encoding:
        data["encoding"] = list(encoding)
    return Wish(store, encoding, wish.control, wish.seed)


def _resolve_model(config: Config, options: Options, wish: Wish) -> None:
    """Puts the backbone of stage 2 in the place of TerraTorch's, and tells it the encoding."""
    model = _section(config, "model", "init_args")
    model.setdefault("plot_on_val", False)
    arguments = _section(config, "model", "init_args", "model_args")
    architecture = str(arguments.get("backbone", ""))
    if architecture.startswith("terramind_") and architecture != BACKBONE:
        arguments |= {"backbone": BACKBONE, "backbone_architecture": architecture}
    bands = config["data"]["init_args"].get("bands")
    if bands and arguments.get("backbone") == BACKBONE:
        arguments.setdefault("backbone_bands", bands)
    plan = plan_encoding(wish.encoding or ())
    if plan.placement is not Placement.NOWHERE:
        inline = str(arguments.get("backbone_architecture")).endswith("_tim")
        if inline or arguments.get("backbone") != BACKBONE:
            raise ConfigError(
                f"backbone {architecture!r} cannot take cached modalities; use a plain TerraMind backbone such as "
                "terramind_v1_base"
            )
        arguments["backbone_encoding"] = list(wish.encoding or ())
        if TOKENS in arguments["backbone_encoding"]:
            arguments["backbone_token_modality"] = token_modality(wish)
        _train_added_layer(arguments, plan.placement)
    if options.new_columns is not None:
        arguments["backbone_new_columns"] = options.new_columns
    if options.weights is not None:
        arguments["backbone_pretrained"] = options.weights != "random"
        arguments["backbone_weights"] = None if options.weights in ("hub", "random") else options.weights


def _train_added_layer(arguments: Config, placement: Placement) -> None:
    """With LoRA, names the added layer among those that are trained whole."""
    if arguments.get("peft_config") and placement in TRAINED_LAYERS:
        kwargs = _section(arguments, "peft_config", "peft_config_kwargs")
        layers = kwargs.get("modules_to_save") or []
        kwargs["modules_to_save"] = [*dict.fromkeys([*layers, TRAINED_LAYERS[placement]])]


def _resolve_trainer(config: Config, options: Options, *, gpu: bool) -> None:
    """Sends logs and checkpoints into the run directory."""
    trainer = _section(config, "trainer")
    trainer["default_root_dir"] = str(options.run)
    if not gpu and str(trainer.get("precision", "")).startswith("16"):
        trainer["precision"] = "32-true"  # there is no float16 arithmetic on CPU
    dropped = (
        "ModelCheckpoint",
        *(NEED_A_LOGGER if options.smoke else ()),
    )  # also classes derived from these
    kept = [
        entry
        for entry in _callbacks(trainer)
        if not entry["class_path"].endswith(dropped) and options.command == "fit"
    ]
    if options.smoke:
        trainer |= {"fast_dev_run": SMOKE_STEPS, "logger": False, "callbacks": kept}
        return
    plugins = [entry for entry in _listed(trainer, "plugins") if WHOLE_CHECKPOINTS not in str(entry)]
    sharded = re.search("fsdp|deepspeed|model_parallel|xla", str(trainer.get("strategy")), re.IGNORECASE)
    if not sharded and "CheckpointIO" not in str(plugins):  # those write in ways of their own
        trainer["plugins"] = [*plugins, {"class_path": WHOLE_CHECKPOINTS}]
    trainer["logger"] = _loggers(options.run, options.command)
    trainer["callbacks"] = [*kept, _checkpoints(options.run)] if options.command == "fit" else kept


def _callbacks(trainer: Config) -> list[Config]:
    """The YAML's callbacks, after making sure that each names its class."""
    callbacks = _listed(trainer, "callbacks")
    for entry in callbacks:
        if not isinstance(entry, dict) or not isinstance(entry.get("class_path"), str):
            raise ConfigError(f"YAML section trainer.callbacks: expected a class_path, found {entry!r}")
    return callbacks


def _listed(trainer: Config, key: str) -> list[Any]:
    """Entries of a key that takes one or several."""
    given = trainer.get(key) or []
    if not isinstance(given, dict | str | list):
        raise ConfigError(f"YAML section trainer.{key}: expected a list, found {given!r}")
    return list(given) if isinstance(given, list) else [given]


def _loggers(run: Path, command: str) -> list[Config]:
    """CSV and TensorBoard logs in a folder of their own, so that a resumed run keeps the earlier ones."""
    count = len(list((run / "logs").glob(f"{command}_*")))
    place = {"save_dir": str(run), "name": "logs", "version": f"{command}_{count}"}
    return [
        {"class_path": f"lightning.pytorch.loggers.{name}", "init_args": dict(place)}
        for name in ("CSVLogger", "TensorBoardLogger")
    ]


def _checkpoints(run: Path) -> Config:
    """The best checkpoint by validation loss, and the last."""
    return {
        "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
        "init_args": {
            "dirpath": str(run / CHECKPOINTS),
            "filename": "best",
            "monitor": "val/loss",
            "mode": "min",
            "save_last": True,
            "enable_version_counter": False,
        },
    }


def check_agreement(config: Mapping[str, Any], encoding: tuple[str, ...]) -> None:
    """Makes sure that data and model of a final configuration speak of the same thing.

    Args:
        config: Configuration as plain values.
        encoding: Encodings in effect.

    Raises:
        ConfigError: Naming both keys.
    """
    data, model = config["data"]["init_args"], config["model"]["init_args"]["model_args"]
    names = data.get("class_names")
    if names and model.get("num_classes") != len(names):
        raise ConfigError(
            f"num_classes {model.get('num_classes')}, but class_names names {len(names)}; make them agree"
        )
    pairs: list[tuple[str, Any, Any]] = [
        ("encoding", list(encoding), list(model.get("backbone_encoding") or []))
    ]
    if model.get("backbone") == BACKBONE:
        ours, theirs = _inputs(data, ""), _inputs(model, "backbone_")
        pairs += [("modalities", list(ours), list(theirs)), ("bands", ours, theirs)]
    for key, found, expected in pairs:
        if found != expected:
            raise ConfigError(
                f"data has {key} {found}, model_args has backbone_{key} {expected}; make them agree"
            )
    _check_time(len(data.get("timesteps") or (0, 1, 2, 3)), model)
    if TOKENS in encoding and config["model"]["init_args"].get("tiled_inference_parameters"):
        raise ConfigError(
            "tiled_inference_parameters with encoding tokens: tiles are not cut along the grid of tokens, which would "
            "move them; leave it out"
        )


def _inputs(arguments: Mapping[str, Any], prefix: str) -> dict[str, tuple[str, ...]]:
    """Bands in effect by modality, in the model's order, those left to the default included."""
    modalities = arguments.get(f"{prefix}modalities") or list(INPUT_MODALITIES_BY_DEFAULT)
    return find_bands(modalities, arguments.get(f"{prefix}bands"))


def _check_time(timesteps: int, model: Mapping[str, Any]) -> None:
    """TerraTorch's temporal wrapper wants several timesteps, and their number."""
    temporal = bool(model.get("backbone_use_temporal"))
    expected = model.get("backbone_temporal_n_timestamps")
    if temporal != (timesteps > 1) or (temporal and expected not in (None, timesteps)):
        raise ConfigError(
            f"data has {timesteps} timesteps, model_args has backbone_use_temporal {temporal} and "
            f"backbone_temporal_n_timestamps {expected}; the wrapper is for two or more, and their number must agree"
        )
