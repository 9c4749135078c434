"""Check a command without importing torch, so that most mistakes are reported at once."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from augment_store.chips.scenes import scenes_by_rule
from augment_store.io.remote import as_path
from augment_store.store.writer import AugmentStore
from augment_store.utils.validation import ValidationError, parse
from finetune.augment.augmentation import Augmentation, AugmentRequest
from finetune.data.split_checks import open_chips
from finetune.errors import ConfigError, RunError
from finetune.options import Options
from finetune.run.config import Config, read_yaml, resolve_data, with_our_datamodule
from finetune.run.manifest import CHECKPOINTS, CONFIG
from finetune.run.trust import CUSTOM_MODULES, check_trusted


@dataclass(frozen=True)
class _Joined:
    """Arguments of the datamodule that say what is read and joined."""

    data_root: str
    layout: str | None = None
    augment: str | None = None
    encoding: list[str] | None = None
    control: str | None = None
    scenes: str | None = None


READ: Final = frozenset(_Joined.__annotations__)


def check_early(options: Options) -> Config:
    """Checks the YAML, the run directory, the store's header and the folder of the chips.

    Returns:
        The YAML, with our datamodule.

    Raises:
        AugmentStoreError: If one of them is missing or invalid, or they do not suit one another.
    """
    given = _given(options)
    if options.command == "fit":
        check_free(options)
        _check_weights(options)
    if not any(map(_says_what_is_read, options.overrides)):
        _check_data(given["data"].get("init_args"), options)
    return given


def _given(options: Options) -> Config:
    """The YAML; one found in a run, which may be someone else's, must not run any code of its own."""
    given = read_yaml(options.config)
    if options.config == options.run / CONFIG:  # a YAML named by the user is trusted
        check_trusted(given, options.config, options.custom_modules_path)
    if options.custom_modules_path is not None:
        given[CUSTOM_MODULES] = options.custom_modules_path
    return with_our_datamodule(given, options.config)


def check_free(options: Options) -> None:
    """A run directory holds one run; one that left no checkpoint, such as a smoke run, may be replaced.

    Raises:
        RunError: If there is a run in it, and the command does not resume it.
    """
    left = sorted((options.run / CHECKPOINTS).glob("*.ckpt"), key=lambda path: path.stem != "last")
    if options.ckpt_path is None and left:
        raise RunError(
            f"{options.run}: holds a run already; choose another --run, or resume it with --ckpt_path {left[0]}"
        )


def _check_weights(options: Options) -> None:
    """A run that resumes has its weights from the checkpoint."""
    weights = options.weights
    if weights not in (None, "hub", "random") and options.ckpt_path is None and not Path(weights).exists():
        raise ConfigError(
            f"--weights {weights}: no such file or folder; expected hub, random, or the published file or its folder"
        )


def _says_what_is_read(word: str) -> bool:
    """Whether an override, which only TerraTorch's parser can read, changes what is checked here."""
    name = word.split("=")[0].rstrip("+")
    return name in ("--data", "--data.init_args") or (
        name.startswith("--data.") and name.split(".")[-1] in READ
    )


def _check_data(data: Any, options: Options) -> None:
    """Opens the store and the chips as the datamodule will."""
    try:
        _joined(data)
        resolved = copy.deepcopy(data)
        resolve_data(resolved, options)
        wanted = _joined(resolved)
    except ValidationError:
        return  # of the wrong type, or missing: TerraTorch's parser names the key
    Augmentation(
        AugmentRequest.from_arguments(wanted.augment, wanted.encoding, wanted.control), memory_limit_mb=0
    )
    open_chips(as_path(wanted.data_root), wanted.layout)
    if wanted.scenes is not None:
        scenes_by_rule((), wanted.scenes)  # only the splits tell which chips need a scene


def _joined(data: Any) -> _Joined:
    if not isinstance(data, dict):
        raise ValidationError("expected keys")
    return parse(_Joined, {key: value for key, value in data.items() if key in READ})


@dataclass(frozen=True)
class PathOverrides:
    """Where things are now, if they have moved since the run was made.

    Attributes:
        chips: Root folder of the chip set.
        store: Folder of the augment store.
        layout: Layout of the chips there, a name or a file.
    """

    chips: Path | None = None
    store: Path | None = None
    layout: str | None = None

    def check(self) -> None:
        """Makes sure that there are chips and a store where they are said to be.

        Raises:
            AugmentStoreError: If there are not.
        """
        if self.chips is not None:
            open_chips(self.chips, self.layout)
        if self.store is not None:
            AugmentStore.open(self.store)
