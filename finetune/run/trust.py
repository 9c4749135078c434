"""Rebuild the configuration of a recorded run, which a stranger may have made, from what is known to be harmless.

The parser of a YAML imports whatever a class path names, reads a file whose name stands in place of a class, and
TerraTorch's factories import by name. So nothing of a recorded configuration is handed on unless it is listed, key by
key, in `finetune.run.known_classes`: a class by its full path at the one key where it belongs, and arguments that are
numbers, words or lists of them. Nothing is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from augment_store.utils.text import single_line
from finetune.errors import ConfigError
from finetune.model import BACKBONE, LATE_FACTORY
from finetune.run import known_classes as known
from finetune.run.config import DATAMODULE

Config = dict[str, Any]
Check = Callable[[Any, str], Any]
"""Returns the value at a key as it may be used, or raises `ConfigError`."""

CUSTOM_MODULES: Final = "custom_modules_path"
"""TerraTorch's key for a folder of the user's own modules, which it imports."""

IGNORED: Final = frozenset({"out_dtype", "deploy_config_file", "predict_output_dir", "ckpt_path", "verbose"})
"""Keys of TerraTorch's command line that our commands do not use."""

WORD: Final = re.compile(r"(?!.*:(\s|$))(?!.*[^\W\d]\w*\.[^\W\d])[\w. /:+<>()*,%-]{0,200}")
"""Text without a brace, a bracket, a key or two names joined by a dot: neither a class path nor YAML in a text."""

TERRAMIND: Final = re.compile(r"terramind_\w{1,100}")
# deeper than TerraTorch's YAMLs nest, and far from Python's own limit
MAX_DEPTH: Final = 20


def _unlisted(key: str, found: object, expected: str) -> ConfigError:
    return ConfigError(f"{key}: {_short(found)}; expected {expected}")


def rebuild(
    config: Mapping[str, Any], origin: Path, *, training: bool, given: Collection[str] = ()
) -> Config:
    """Return a recorded configuration with nothing in it but listed classes and plain arguments.

    Loggers, profiler, plugins and folders of its trainer are left out, since they are always our own; for an
    evaluation, so is everything that only a training needs.

    Args:
        config: The configuration as plain values.
        origin: Its file, for the message.
        training: Whether a training is about to resume with it.
        given: Keys of the datamodule that the user gives anew; left out, and so not checked.

    Raises:
        ConfigError: Naming the first key whose value is not listed, and how to use the configuration if it is trusted.
    """
    try:
        return _rebuilt(_without(config, {*given, *(() if training else ("train_transform",))}), training)
    except (ConfigError, RecursionError) as error:
        reason = str(error) if isinstance(error, ConfigError) else "nested too deep"
        raise ConfigError(
            f"{origin}: {reason}, since a run that may be someone else's must not run code of its own; if you trust "
            f"it, name it: fit, test or predict with --config {origin}, score with --config {origin} --checkpoint FILE"
        ) from None


def _without(config: Mapping[str, Any], names: Collection[str]) -> Config:
    """Return a configuration without some arguments of its datamodule."""
    data = config.get("data")
    arguments = data.get("init_args") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(arguments, dict):
        return dict(config)
    kept = {name: value for name, value in arguments.items() if name not in names}
    return {**config, "data": {**data, "init_args": kept}}


def _rebuilt(config: Config, training: bool) -> Config:
    if config.get(CUSTOM_MODULES) is not None:
        raise _unlisted(CUSTOM_MODULES, config[CUSTOM_MODULES], "no folder of modules to import")
    sections: dict[str, Check] = {"seed_everything": _plain, "data": _data, "model": _model}
    # an evaluation has no use for these, so a user's own classes there do not matter
    later: dict[str, Check] = {"trainer": _trainer, "optimizer": _optimizer, "lr_scheduler": _scheduler}
    sections |= later if training else {}
    ignored = {*IGNORED, CUSTOM_MODULES, *(() if training else later)}
    made: Config = _keys(sections, ignored)(config, "")
    return made


# Values ----------------------------------------------------------------------------------------------


def _plain(value: Any, key: str) -> Any:
    """Check for numbers, words, and lists and mappings of them."""
    return _plain_below(value, key, 0)


def _plain_below(value: Any, key: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise _unlisted(key, "nested values", f"at most {MAX_DEPTH} levels")
    if value is None or isinstance(value, bool | int | float):
        return value
    # YAML takes 1e-4 for a text
    if isinstance(value, str) and (WORD.fullmatch(value) or _is_number(value)):
        return value
    if isinstance(value, list | tuple):
        return [_plain_below(entry, f"{key}[{index}]", depth + 1) for index, entry in enumerate(value)]
    # a mapping with these keys would be a class in the parser's eyes, wherever it stands
    if isinstance(value, dict) and not {"class_path", "init_args"}.intersection(value):
        return {
            _word(name, key): _plain_below(entry, f"{key}.{name}", depth + 1) for name, entry in value.items()
        }
    raise _unlisted(key, value, "a number, a word, or a list of them")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _word(value: Any, key: str) -> Any:
    """Check for a word or a whole number, as the keys of a mapping are."""
    if isinstance(value, int) or (isinstance(value, str) and WORD.fullmatch(value)):
        return value
    raise _unlisted(key, value, "a word")


def _text(value: Any, key: str) -> Any:
    """Check for text on one line, for keys that the parser takes for text alone."""
    if value is None or (isinstance(value, str) and value.isprintable()):
        return value
    raise _unlisted(key, value, "text on one line")


def _texts(value: Any, key: str) -> Any:
    """Check for one text or a list of them."""
    if isinstance(value, list):
        return [_text(entry, f"{key}[{index}]") for index, entry in enumerate(value)]
    return _text(value, key)


def _path(value: Any, key: str) -> Any:
    """Check for a folder or file of this machine."""
    if isinstance(value, str) and "://" in value:
        option = {"data_root": "--chips", "augment": "--store or --augment"}.get(key.rsplit(".", 1)[-1])
        raise _unlisted(key, value, f"no URL, unless you give it by {option}" if option else "no URL")
    return _text(value, key)


def _names(listed: Collection[str], prefix: str = "") -> Check:
    """Return a check for one of the names listed, or None."""

    def check(value: Any, key: str) -> Any:
        if value is None or (isinstance(value, str) and value.removeprefix(prefix) in listed):
            return value
        raise _unlisted(key, value, f"one of {', '.join(sorted(listed))}")

    return check


def _keys(checks: Mapping[str, Check], ignored: Collection[str] = ()) -> Check:
    """Return a check for a mapping with no other keys than these; those `ignored` are left out."""

    def check(value: Any, key: str) -> Any:
        if not isinstance(value, dict):
            raise _unlisted(key or "configuration", value, "keys")
        made = {}
        for name, entry in value.items():
            here = f"{key}.{name}" if key else str(name)
            if name in checks:
                made[name] = checks[name](entry, here)
            elif name not in ignored:
                raise _unlisted(here, entry, f"no key of this name here (known: {', '.join(sorted(checks))})")
        return made

    return check


def _classes(paths: Mapping[str, str], arguments: Check = _plain) -> Check:
    """Return a check for one of the listed classes, built from arguments that pass a check of their own."""

    def check(value: Any, key: str) -> Any:
        # the parser also takes the bare name of a class
        given = {"class_path": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or set(given) - {"class_path", "init_args"}:
            raise _unlisted(key, value, "class_path and init_args")
        named = given.get("class_path")
        if not isinstance(named, str) or named not in paths:
            raise _unlisted(
                f"{key}.class_path", named, "a class that is listed in finetune/run/known_classes.py"
            )
        made = {"class_path": paths[named]}
        if given.get("init_args") is not None:
            made["init_args"] = arguments(given["init_args"], f"{key}.init_args")
        return made

    return check


def _absent(value: Any, key: str) -> None:
    """Check that nothing is given."""
    if value is not None:
        raise _unlisted(key, value, "nothing here")


def _optional(check: Check) -> Check:
    return lambda value, key: None if value is None else check(value, key)


# Sections --------------------------------------------------------------------------------------------


def _transforms(value: Any, key: str) -> Any:
    """Check for a transform, or a list of them, compositions of transforms included."""
    if value is None:
        return None
    if isinstance(value, list):
        return [_transforms(entry, f"{key}[{index}]") for index, entry in enumerate(value)]
    composed = isinstance(value, dict) and value.get("class_path") in known.COMPOSITIONS
    if not composed:
        return _classes(known.TRANSFORMS)(value, key)
    checks: dict[str, Check] = dict.fromkeys(
        ("p", "n", "replace", "shuffle", "is_check_shapes", "seed"), _plain
    )
    return _classes(known.COMPOSITIONS, _keys({**checks, "transforms": _transforms}))(value, key)


def _data(value: Any, key: str) -> Any:
    checks: dict[str, Check] = dict.fromkeys(known.DATA_ARGUMENTS, _plain)
    checks |= dict.fromkeys(known.DATA_PATHS, _path)
    checks |= dict.fromkeys(("train_transform", "val_transform", "test_transform"), _transforms)
    checks |= {"scenes": _path, "class_names": _texts}
    made = _classes({DATAMODULE: DATAMODULE}, _keys(checks))(value, key)
    # callers add to it
    return {"init_args": {}, **made}


def _backbone(value: Any, key: str) -> Any:
    """Check for the name of a TerraMind in TerraTorch's registry."""
    if value is None or value == BACKBONE or (isinstance(value, str) and TERRAMIND.fullmatch(value)):
        return value
    raise _unlisted(key, value, "a TerraMind backbone by its name in TerraTorch's registry")


def _losses(value: Any, key: str) -> Any:
    """Check for a loss by name, or several, in a list or with their weights."""
    one = _names(known.LOSSES)
    if isinstance(value, dict):
        return {one(name, key): _plain(weight, f"{key}.{name}") for name, weight in value.items()}
    return [one(name, key) for name in value] if isinstance(value, list) else one(value, key)


def _neck(value: Any, key: str) -> Any:
    name = value.get("name") if isinstance(value, dict) else value
    _names(known.NECKS, "terratorch_")(name, f"{key}.name")
    return _plain(value, key)


def _necks(value: Any, key: str) -> Any:
    if not isinstance(value, list):
        raise _unlisted(key, value, "a list of necks")
    return [_neck(entry, f"{key}[{index}]") for index, entry in enumerate(value)]


def _peft(value: Any, key: str) -> Any:
    """Check for LoRA's configuration."""
    layers: dict[str, Check] = dict.fromkeys(known.LORA_LAYERS, _texts)
    kwargs = _keys({**dict.fromkeys(known.LORA, _plain), **layers})
    checks = {"method": _names({"LORA"}), "replace_qkv": _texts, "peft_config_kwargs": _optional(kwargs)}
    return _keys(checks)(value, key)


def _schedulers(value: Any, key: str) -> Any:
    """Check for the arguments of TerraTorch's scheduler, which may hold schedulers by name."""
    if not isinstance(value, dict) or "schedulers" not in value:
        return _plain(value, key)
    # TerraTorch itself makes the function of a LambdaLR among them, from a word
    nested = _keys(dict.fromkeys((*known.SCHEDULER_NAMES.split(), "LambdaLR"), _plain))
    rest = {name: entry for name, entry in value.items() if name != "schedulers"}
    return {"schedulers": nested(value["schedulers"], f"{key}.schedulers"), **_plain(rest, key)}


def _model(value: Any, key: str) -> Any:
    decoder = _names(known.DECODERS, "terratorch_")
    arguments: dict[str, Check] = dict.fromkeys(known.MODEL_ARGUMENTS, _plain)
    arguments |= {"backbone": _backbone, "backbone_architecture": _backbone, "backbone_weights": _path}
    arguments |= {"necks": _optional(_necks), "decoder": decoder, "peft_config": _optional(_peft)}
    checks: dict[str, Check] = dict.fromkeys(known.TASK_ARGUMENTS, _plain)
    checks |= {
        "model_factory": _names({known.FACTORY, LATE_FACTORY}),
        "model_args": _keys(arguments),
        "loss": _losses,
    }
    checks |= {"class_names": _texts, "optimizer": _names(known.OPTIMIZER_NAMES.split())}
    checks |= {"scheduler": _names((*known.SCHEDULER_NAMES.split(), "SequentialLR"))}
    checks |= {"scheduler_hparams": _schedulers}
    checks |= dict.fromkeys(("model", "aux_heads", "path_to_record_metrics"), _absent)
    short = known.TASK.rsplit(".", 1)[-1]
    return _classes({known.TASK: known.TASK, short: known.TASK}, _keys(checks))(value, key)


def _trainer(value: Any, key: str) -> Any:
    checks: dict[str, Check] = dict.fromkeys(known.TRAINER_ARGUMENTS, _plain)
    # these two also take classes, which the parser would read from a file of that name
    checks |= {"accelerator": _names(known.ACCELERATORS), "strategy": _names(known.STRATEGIES)}
    return _keys({**checks, "callbacks": _callbacks}, known.OURS)(value or {}, key)


def _callbacks(value: Any, key: str) -> Any:
    """Check for a list of callbacks, without those that save checkpoints, which a run has of its own."""
    entries = value if isinstance(value, list) else [] if value is None else [value]
    # a run keeps its best and last checkpoint by callbacks of its own
    kept = [entry for entry in entries if not _saves_checkpoints(entry)]
    one = _classes(known.CALLBACKS, _callback_arguments)
    made = [one(entry, f"{key}[{index}]") for index, entry in enumerate(kept)]
    for entry in made:
        if entry["class_path"].endswith("ProgressBar"):
            entry.pop("init_args", None)  # colors and styles, which may be objects
    return made


def _callback_arguments(value: Any, key: str) -> Any:
    """Check for plain arguments, apart from a progress bar's looks, which are left out afterwards."""
    if not isinstance(value, dict):
        raise _unlisted(key, value, "keys")
    return _plain({name: entry for name, entry in value.items() if name != "theme"}, key)


def _saves_checkpoints(entry: Any) -> bool:
    return isinstance(entry, dict) and str(entry.get("class_path")).endswith("ModelCheckpoint")


def _optimizer(value: Any, key: str) -> Any:
    return _optional(_classes(known.OPTIMIZERS))(value, key)


def _scheduler(value: Any, key: str) -> Any:
    return _optional(_classes(known.SCHEDULERS))(value, key)


def _short(value: object) -> str:
    """Return a value on one line, as far as a message needs it."""
    line = single_line(str(value))
    return line if len(line) <= 100 else f"{line[:100]} …"
