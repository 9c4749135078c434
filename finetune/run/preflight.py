"""Check a command without importing torch, so that most mistakes are reported at once."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from augment_store.chips.scenes import scenes_by_rule
from augment_store.io.remote import as_path
from augment_store.modalities.definitions import INPUT_MODALITIES
from augment_store.store.writer import AugmentStore
from augment_store.utils.validation import ValidationError, parse
from finetune.augment.augmentation import Augmentation, AugmentRequest
from finetune.data.split_checks import INPUT_MODALITIES_BY_DEFAULT, check_named_inputs, open_chips
from finetune.errors import ConfigError, RunError
from finetune.features.feature_store import FeatureStore
from finetune.log_filters import notify
from finetune.options import STARTING, Options
from finetune.run.config import check_classes, resolve_data, with_our_datamodule
from finetune.run.early_keys import check_class_names, check_keys, check_monitored
from finetune.run.manifest import CHECKPOINTS, MANIFEST, RunManifest
from finetune.run.trainer import check_precision
from finetune.run.trust import CUSTOM_MODULES, rebuild
from finetune.run.yaml_file import Config, read_yaml
from terramind_weights.catalog import HUB, PUBLISHED, RANDOM, GeneratorSource
from terramind_weights.weight_files import locate


@dataclass(frozen=True)
class _Joined:
    """Arguments of the datamodule that say what is read and joined."""

    data_root: str
    layout: str | None = None
    augment: str | None = None
    encoding: list[str] | None = None
    control: str | None = None
    scenes: str | None = None
    modalities: list[str] | None = None
    timesteps: list[int] | None = None


FOUND_BY_TERRATORCH: Final = "custom_modules"
"""Folder of the working directory that `terratorch` imports unasked; we do not, see `terramind_weights`."""

REQUEUED: Final = "hpc_ckpt_*.ckpt"
"""Checkpoints that Lightning saves in the run directory before SLURM requeues a job."""

SET_MONITORS: Final = ("--model", "--trainer.callbacks", "--lr_scheduler")
"""Options of TerraTorch's parser that change what is watched, or what is logged."""

READ: Final = frozenset(_Joined.__annotations__)


def check_early(options: Options, *, store: bool = True) -> Config:
    """Check the YAML, the run directory, the headers of store and features, and the folder of the chips.

    Args:
        options: The command line.
        store: Whether its store is there already.

    Returns:
        The YAML, with our datamodule.

    Raises:
        AugmentStoreError: If one of them is missing or invalid, or they do not suit one another.
    """
    given = _given(options)
    if isinstance(given.get("trainer"), dict):  # here, since the parser names every type that it tried
        check_precision(given["trainer"].get("precision"))
    check_keys(given, options.config, options.overrides)
    check_class_names(given, options.config)
    if not any(word.startswith(("--model", "--data")) for word in options.overrides):
        check_classes(given)
    if options.command == "fit":
        if not any(word.startswith(SET_MONITORS) for word in options.overrides):
            check_monitored(given, options.config)
        check_free(options)
    check_features(options)
    if options.command in STARTING:
        _check_weights(options)
        start = published_start(options, given)
        if start is not None and start[1] is not None:
            locate(start[0].network, *start)
    if not any(map(_says_what_is_read, options.overrides)):
        _check_data(given["data"].get("init_args"), options, store=store)
    return given


def _given(options: Options) -> Config:
    """Read the YAML; one found in a run, which may be someone else's, is rebuilt from what is harmless."""
    given = read_yaml(options.config, inline=not options.recorded)
    if options.recorded:  # a YAML that the user names is trusted
        named = {"data_root": options.chips, "augment": options.augment, "layout": options.layout}
        anew = {key: str(value) for key, value in named.items() if value is not None}
        given = rebuild(given, options.config, training=options.command == "fit", given=anew)
        # after the check, which a user's own paths need not pass
        given["data"]["init_args"] |= anew
    if options.custom_modules_path is not None:
        given[CUSTOM_MODULES] = options.custom_modules_path
    elif given.get(CUSTOM_MODULES) is None and Path(FOUND_BY_TERRATORCH).is_dir() and not options.recorded:
        notify(
            f"./{FOUND_BY_TERRATORCH} is not imported; if it is yours, add --{CUSTOM_MODULES} {FOUND_BY_TERRATORCH}"
        )
    return with_our_datamodule(given, options.config)


def check_free(options: Options) -> None:
    """Refuse a directory that holds a run, unless it left no checkpoint, as a smoke run does.

    Raises:
        RunError: If there is a run in it, and the command does not resume it.
    """
    # the last is named first, since it resumes
    left = sorted((options.run / CHECKPOINTS).glob("*.ckpt"), key=lambda path: path.stem != "last")
    if options.ckpt_path is None and left:
        raise RunError(
            f"{options.run}: holds a run already; choose another --run, or resume it with --ckpt_path {left[0]}"
        )


def check_features(options: Options) -> None:
    """Make sure that the features of a training are there; what they were made from needs the network.

    Raises:
        RunError: If there are none, or another version wrote them.
    """
    if options.command == "fit" and options.features is not None:
        FeatureStore.open(options.features)


def resume_interrupted(options: Options) -> Options:
    """Let the same command resume a training that was interrupted, by a signal or by preemption.

    A run whose manifest says that it is not complete resumes from its newest checkpoint; `resume_manifest` refuses to
    do so as another run.

    Raises:
        RunError: If the manifest cannot be read.
    """
    again = options.command == "fit" and options.ckpt_path is None and not options.smoke
    if not again or not (options.run / MANIFEST).is_file() or RunManifest.read(options.run).complete:
        return options
    newest = _newest_checkpoint(options.run)
    if newest is None:
        return options
    notify(f"{options.run}: its training was interrupted; resumes from {newest}")
    return dataclasses.replace(options, ckpt_path=newest, init=None)  # which the run has started from


def _newest_checkpoint(run: Path) -> Path | None:
    # killed within the first epoch, a run may have its best checkpoint but no last
    kept = [path for name in ("last", "best") if (path := run / CHECKPOINTS / f"{name}.ckpt").is_file()]
    # SLURM's checkpoint lies within an epoch, so the newer of the two has more steps
    # the last, or else the best
    return max([*kept[:1], *run.glob(REQUEUED)], key=lambda path: path.stat().st_mtime, default=None)


def _check_weights(options: Options) -> None:
    """Make sure that weights are where the command line says, unless the run resumes from a checkpoint."""
    weights = options.weights
    if weights not in (None, "hub", "random") and options.ckpt_path is None and not Path(weights).exists():
        raise ConfigError(
            f"--weights {weights}: no such file or folder; expected hub, random, or the published file or its folder"
        )


def published_start(options: Options, given: Config) -> tuple[GeneratorSource, Path | None] | None:
    """Return whose published weights a training starts from, and the folder that has them, None for the Hub.

    Args:
        options: The command line.
        given: The YAML, with our datamodule.

    Returns:
        None where it starts from a file, from random weights, from a checkpoint, or where only the parser can tell.
    """
    task = given["model"].get("init_args")
    arguments = task.get("model_args") if isinstance(task, dict) else None
    if not isinstance(arguments, dict) or any(word.startswith("--model") for word in options.overrides):
        return None
    architecture = str(arguments.get("backbone_architecture") or arguments.get("backbone"))
    source = PUBLISHED.get(architecture.removesuffix("_tim"))
    named = (arguments.get("backbone_weights") or HUB) if arguments.get("backbone_pretrained") else RANDOM
    weights = options.weights or str(named)
    if source is None or weights == RANDOM or options.ckpt_path is not None or Path(weights).is_file():
        return None
    return source, None if weights == HUB else Path(weights)


def locate_on_hub(options: Options, given: Config) -> None:
    """Make sure that a training's weights are in the Hugging Face cache, or fetch them, before torch is imported.

    Raises:
        WeightsError: If they are not, and the Hub does not answer.
    """
    start = published_start(options, given) if options.command in STARTING else None
    if start is not None and start[1] is None:
        locate(start[0].network, *start)


def _says_what_is_read(word: str) -> bool:
    """Return whether an override, which only TerraTorch's parser can read, changes what is checked here."""
    # jsonargparse appends to a list by `--key+`
    name = word.split("=")[0].rstrip("+")
    return name in ("--data", "--data.init_args") or (
        name.startswith("--data.") and name.split(".")[-1] in READ
    )


def _check_data(data: Any, options: Options, *, store: bool) -> None:
    """Open the store, if there is one yet, and the chips as the datamodule will."""
    try:
        _joined(data)
        # `resolve_data` changes its argument, and the YAML is still to be settled as given
        resolved = copy.deepcopy(data)
        if not store:
            resolved.pop("augment", None)
        resolve_data(resolved, options if store else dataclasses.replace(options, augment=None))
        wanted = _joined(resolved)
    except ValidationError:
        return  # of the wrong type, or missing: TerraTorch's parser names the key
    if store:
        Augmentation(
            AugmentRequest.from_arguments(wanted.augment, wanted.encoding, wanted.control),
            # only the store's header is read here
            memory_limit_mb=0,
        )
    chips = open_chips(as_path(wanted.data_root), wanted.layout)
    modalities = wanted.modalities or INPUT_MODALITIES_BY_DEFAULT
    if INPUT_MODALITIES.keys() >= set(modalities):  # an unknown one is told by the datamodule
        check_named_inputs(chips, modalities, wanted.timesteps or (), options.config)
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

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of the datamodule that they replace."""
        given = {"data_root": self.chips, "augment": self.store, "layout": self.layout}
        return {name: str(value) for name, value in given.items() if value is not None}

    def check(self) -> None:
        """Make sure that there are chips and a store where they are said to be.

        Raises:
            AugmentStoreError: If there are not.
        """
        if self.chips is not None:
            open_chips(self.chips, self.layout)
        if self.store is not None:
            AugmentStore.open(self.store)
