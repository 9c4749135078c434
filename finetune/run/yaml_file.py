"""A fine-tune's YAML as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from augment_store.io.file_kinds import found_yaml
from augment_store.io.files import read_text
from augment_store.utils.text import single_line
from augment_store.utils.validation import load_yaml
from finetune.errors import ConfigError

Config = dict[str, Any]

RENAMED: Final = ("scene_pattern", "scene_table")
"""Former arguments of the datamodule that `scenes` has replaced."""

SECTIONS: Final = ("data", "model", "trainer", "optimizer", "lr_scheduler")
"""Sections of a YAML that may be files of their own."""


def read_yaml(path: Path, *, inline: bool = True) -> Config:
    """Read a YAML as plain values.

    Args:
        path: The file.
        inline: Whether a section may name a file beside it that holds its keys, as LightningCLI allows.

    Raises:
        ConfigError: If it cannot be read, or lacks the sections data and model.
    """
    config: Config = _load(path)
    if inline and isinstance(config, dict):
        # a text in place of a section may be a file's name, or a mistake that is reported below
        named = {key: config[key] for key in SECTIONS if isinstance(config.get(key), str)}
        files = {key: path.parent / name for key, name in named.items() if name.endswith((".yaml", ".yml"))}
        config |= {key: _load(file) for key, file in files.items()}
    for section in ("data", "model"):
        if not isinstance(config, dict) or not isinstance(config.get(section), dict):
            other = found_yaml(config, "a fine-tune")
            raise ConfigError(
                f"{path}: not a fine-tune{other}"
                if other
                else f"{path}: no section {section!r}; expected a YAML as terratorch fit takes it"
            )
    # data may be of another class, which is told first
    for section in ("model", "optimizer", "lr_scheduler"):
        check_class_keys(config, section, path)
    if config.get("ckpt_path") is not None:
        raise ConfigError(
            f"{path}: ckpt_path {config['ckpt_path']}; give it as --ckpt_path, to resume that training or to evaluate "
            "it, or as --init, to start from its weights"
        )
    _check_renamed(config["data"].get("init_args"), path)
    # in a YAML of terratorch fit it may stand empty
    config.pop("ckpt_path", None)
    return config


def _load(path: Path) -> Any:
    try:
        return load_yaml(read_text(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({single_line(error)})") from error


def check_class_keys(config: Config, section: str, path: Path) -> None:
    """Make sure that a section with a class has its arguments under init_args.

    Raises:
        ConfigError: If some stand beside class_path, of which the parser would say that class_path is unknown.
    """
    given = config.get(section)
    if not isinstance(given, dict) or "class_path" not in given:
        return
    beside = [str(key) for key in given if key not in ("class_path", "init_args")]
    if beside:
        raise ConfigError(
            f"{path}: {section}: {', '.join(beside)} beside class_path; expected class_path and init_args alone, with "
            "arguments under init_args"
        )


def _check_renamed(data: Any, path: Path) -> None:
    """Refuse the earlier names of the scene rule, which is now `scenes`."""
    old = [key for key in RENAMED if isinstance(data, dict) and key in data]
    if old:
        raise ConfigError(
            f"{path}: data.init_args: {' and '.join(old)} {'is' if len(old) == 1 else 'are'} now scenes, a CSV file or "
            "a regular expression; put yours under that key, or remove the old one for the store's or the layout's "
            "scenes"
        )
