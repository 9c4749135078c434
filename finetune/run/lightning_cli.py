"""LightningCLI over TerraTorch's segmentation task, built from one YAML and one command line."""

from __future__ import annotations

import contextlib
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from jsonargparse import ArgumentError, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser
from terratorch.cli_tools import MyLightningCLI, import_custom_modules
from terratorch.tasks import SemanticSegmentationTask

from augment_store.errors import AugmentStoreError
from augment_store.modalities.map_arrays import TOKENS
from augment_store.utils.log_filters import filter_warnings
from augment_store.utils.text import pluralize, single_line
from finetune.augment.augmentation import Augmentation
from finetune.augment.encodings import TRAINED_LAYERS, Placement
from finetune.data.datamodule import TimStoreDataModule
from finetune.data.dataset import find_bands
from finetune.data.split_checks import INPUT_MODALITIES_BY_DEFAULT
from finetune.errors import ConfigError
from finetune.log_filters import REMARKS
from finetune.model import BACKBONE, LATE_FACTORY
from finetune.model.logged_metrics import lighten_metrics
from finetune.model.losses import count_labeled_only
from finetune.run.import_lock import import_lock
from finetune.run.known_classes import FACTORY
from finetune.run.trust import CUSTOM_MODULES

Config = dict[str, Any]


BUILD_ERRORS: Final = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    ImportError,
    MisconfigurationException,
)
"""Errors that TerraTorch and the classes a YAML names raise on values they do not accept."""


BUILT_FROM: Final = frozenset(
    {"albumentations", "peft", "segmentation_models_pytorch", "terratorch", "timm", "torch", "torchgeo"}
)
"""Packages whose classes a YAML builds; their own words on a wrong argument say most."""

MAX_LENGTH: Final = 300
"""Characters of an error's text that a message shows."""

NOISE: Final = (
    *("Does not validate", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>", "Given value"),
    *("Subclass types expect", "a class path (str)", "a dict with"),
)
"""Beginnings of lines in which the parser talks about its own types."""


class FinetuneCLI(MyLightningCLI):  # type: ignore[misc] # terratorch is untyped
    """TerraTorch's command line, so that it takes the same YAMLs, restricted to the task and datamodule of stage 2.

    It parses and instantiates, and leaves running to `finetune.run`. The datamodule comes first: it settles what is
    joined, and then tells the model.

    Args:
        args: A YAML and what overrides it.
        settle: Turns what these two say into the configuration of the run.
        bare: Whether a checkpoint is about to replace the published weights, which then need not be there.

    Attributes:
        record: The final configuration as plain values.
    """

    task: SemanticSegmentationTask
    datamodule: TimStoreDataModule

    def __init__(self, args: Sequence[str], settle: Callable[[Config], Config], *, bare: bool) -> None:
        self._settle = settle
        self._bare = bare
        self.record: Config = {}
        super().__init__(
            model_class=SemanticSegmentationTask,
            datamodule_class=TimStoreDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            # the run writes its configuration itself, as it was settled
            save_config_callback=None,
            # errors are put into one line here; abbreviated options would slip past our own checks
            parser_kwargs={"exit_on_error": False, "allow_abbrev": False},
            args=list(args),
            # no subcommands, and nothing is run: `finetune.run.train` does
            run=False,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: list[str]) -> None:
        """Settle what was given, with overrides and without defaults, before it becomes the configuration."""
        given = parser.parse_args(args, defaults=False)
        self.config = parser.parse_object(self._settle(self._plain(given)))

    def instantiate_classes(self) -> None:
        """Build the datamodule, tell the model, and build the rest."""
        # the datamodule knows timesteps and encoding, which the model is told before it is built
        alone = Namespace(data=self.config.data)  # type: ignore[no-untyped-call] # jsonargparse is untyped here
        made = self.parser.instantiate_classes(alone).data
        data, model = self.config.data.init_args, self.config.model.init_args
        configure_backbone(model.model_args, made.augmentation)
        model.model_factory = choose_factory(model.model_factory, made.augmentation)
        check_agreement(model, made)
        data.encoding = list(made.augmentation.encoding)
        data.timesteps = list(made.reading.timesteps)
        if made.statistics.preset is not None:
            # the preset may come from the layout, and the record must name it
            data.means = data.stds = made.statistics.preset
        self.record = self._plain(self.config)
        # recorded first: the run keeps what it was started with
        if self._bare:
            model.model_args["backbone_pretrained"] = False
        # the second pass takes the datamodule that exists instead of building another
        self.parser.add_instantiator(lambda _, *__, **___: made, TimStoreDataModule)
        super().instantiate_classes()
        count_labeled_only(self.model)
        lighten_metrics(self.model)

    def _plain(self, config: Namespace) -> Config:
        plain: Config = yaml.safe_load(self.parser.dump(config, skip_validation=True))
        return plain


def build(
    given: Mapping[str, Any],
    origin: Path,
    overrides: Sequence[str] = (),
    settle: Callable[[Config], Config] = dict,
    *,
    bare: bool = False,
    recorded: bool = False,
) -> FinetuneCLI:
    """Build task, datamodule and trainer of a configuration.

    Args:
        given: The YAML, with our datamodule.
        origin: Where it came from, for messages.
        overrides: Further options for TerraTorch's parser.
        settle: Turns the YAML with these options into the configuration of the run.
        bare: Whether to leave out the published weights, which a checkpoint is about to replace.
        recorded: Whether the YAML is a recorded run's, by `finetune.run.trust.rebuild`.

    Raises:
        ConfigError: If the configuration has an unknown key or a wrong value, in one line.
        AugmentStoreError: If the datamodule or the backbone raises it.
    """
    lock = import_lock(given, overrides) if recorded else contextlib.nullcontext()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), lock:
        filter_warnings(REMARKS)  # again, because importing TerraTorch puts its own filter in front
        path = Path(folder) / "config.yaml"
        # through a file, as TerraTorch's command line takes its YAML
        path.write_text(yaml.safe_dump(dict(given), sort_keys=False), encoding="utf-8")
        try:
            # TerraTorch looks for it only under a subcommand
            import_custom_modules(given.get(CUSTOM_MODULES))
            return FinetuneCLI(["--config", str(path), *overrides], settle, bare=bare)
        except Exception as error:  # the parser and TerraTorch wrap errors from inside in errors of any kind
            ours = _our_error(error)
            if ours is not None:
                raise ours from None
            inside = _from_inside(error)
            if inside is not None:
                raise ConfigError(f"{origin}: cannot be built: {inside}") from error
            if isinstance(error, ArgumentError):
                raise ConfigError(_parsers_message(str(error), origin)) from error
            if isinstance(error, BUILD_ERRORS):
                raise ConfigError(f"{origin}: cannot be built: {single_line(error)}") from error
            raise


def _our_error(error: BaseException | None) -> AugmentStoreError | None:
    """Return the first of this project's errors in the chain that led to an error."""
    while error is not None and not isinstance(error, AugmentStoreError):
        # the cause of `raise … from`, else what was being handled
        error = error.__cause__ or error.__context__
    return error


def _from_inside(error: BaseException | None) -> str | None:
    """Return the sentence of the class that could not be built, without what the parser wraps around it.

    A decoder with a wrong argument, for example: the parser would quote all its types and the whole configuration.
    """
    while error is not None:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        # the innermost frame tells which package raised it
        package = str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] if frames else ""
        if isinstance(error, BUILD_ERRORS) and package in BUILT_FROM:
            # the text of a KeyError is its argument with quotes
            told = single_line(
                str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
            )
            # a registry's whole message may be the name that it does not know
            if isinstance(error, KeyError) and told.isidentifier():
                told = f"unknown name {told!r}"
            # "list index out of range" alone says nothing
            owners = [type(frame.f_locals["self"]).__name__ for frame in frames if "self" in frame.f_locals]
            told = f"{owners[-1]}: {told}" if owners else told
            return told if len(told) <= MAX_LENGTH else f"{told[:MAX_LENGTH]} …"
        error = error.__cause__ or error.__context__
    return None


def _parsers_message(message: str, origin: Path) -> str:
    """Say what is wrong and where, from the parser's account of all the types it tried."""
    # the parser's own names for arguments of the command line
    said_there = "NestedArg" in message or message.startswith("unrecognized arguments")
    lines = (line.strip(" -") for line in message.splitlines())
    # one mistake may be told for each of several types
    told = " ".join(dict.fromkeys(line for line in lines if line and not line.startswith(NOISE)))
    return f"{'command line' if said_there else origin}: {told}"


def configure_backbone(arguments: dict[str, Any], augmentation: Augmentation) -> None:
    """Tell the backbone what is joined to its inputs, overriding the YAML.

    Args:
        arguments: The model's arguments, ``model_args``; changed.
        augmentation: What is joined.

    Raises:
        ConfigError: If the backbone takes no cached modalities.
    """
    for key in ("backbone_encoding", "backbone_token_modality"):
        arguments.pop(key, None)
    placement = augmentation.plan.placement
    if placement is Placement.NOWHERE:
        return
    architecture = str(arguments.get("backbone_architecture", arguments.get("backbone")))
    if architecture.endswith("_tim") or arguments.get("backbone") != BACKBONE:
        raise ConfigError(
            f"backbone {architecture!r} cannot take cached modalities; use a plain TerraMind backbone such as "
            "terramind_v1_base"
        )
    arguments["backbone_encoding"] = list(augmentation.encoding)
    if placement is Placement.TOKENS:
        arguments["backbone_token_modality"] = augmentation.token_modality
    if arguments.get("peft_config") and placement in TRAINED_LAYERS:
        kwargs = arguments["peft_config"].setdefault("peft_config_kwargs", {})
        # peft freezes all else, and a new layer has nothing pretrained to adapt
        layers = kwargs.get("modules_to_save") or []
        kwargs["modules_to_save"] = [*dict.fromkeys([*layers, TRAINED_LAYERS[placement]])]


def choose_factory(named: str | None, augmentation: Augmentation) -> str | None:
    """Return the factory that builds a network with a place for what is joined.

    Raises:
        ConfigError: If planes go to the head of a network that another factory builds.
    """
    if augmentation.plan.placement is not Placement.LATE:
        # a recorded run's YAML may name ours
        return FACTORY if named == LATE_FACTORY else named
    if named not in (FACTORY, LATE_FACTORY):
        raise ConfigError(
            f"model_factory {named!r} builds networks whose head takes no planes; with --encoding late take {FACTORY}"
        )
    return LATE_FACTORY


def check_agreement(model: Mapping[str, Any], datamodule: TimStoreDataModule) -> None:
    """Make sure that data and model of a configuration agree on the inputs.

    Args:
        model: Arguments of the task, with ``model_args``.
        datamodule: The data.

    Raises:
        ConfigError: Naming both keys.
        ChipSetError: If no timesteps are named and there are no chips to tell.
    """
    arguments = model["model_args"]
    if arguments.get("backbone") == BACKBONE:
        ours = datamodule.bands
        # as the datamodule does, so that naming all bands equals naming none
        theirs = find_bands(
            arguments.get("backbone_modalities") or INPUT_MODALITIES_BY_DEFAULT,
            arguments.get("backbone_bands"),
        )
        for key, found, expected in (("modalities", list(ours), list(theirs)), ("bands", ours, theirs)):
            if found != expected:
                raise ConfigError(
                    f"data has {key} {found}, model_args has backbone_{key} {expected}; make them agree"
                )
    _check_time(len(datamodule.reading.timesteps), arguments)
    if TOKENS in datamodule.augmentation.encoding and model.get("tiled_inference_parameters"):
        raise ConfigError(
            "tiled_inference_parameters with encoding tokens: tiles are not cut along the token grid, so tokens "
            "would shift; leave it out"
        )


def _check_time(timesteps: int, arguments: Mapping[str, Any]) -> None:
    """Make sure that TerraTorch's temporal wrapper gets several timesteps, and their number."""
    temporal = bool(arguments.get("backbone_use_temporal"))
    expected = arguments.get("backbone_temporal_n_timestamps")
    if temporal != (timesteps > 1) or (temporal and expected not in (None, timesteps)):
        raise ConfigError(
            f"data has {pluralize(timesteps, 'timestep')}, model_args has backbone_use_temporal {temporal} and "
            f"backbone_temporal_n_timestamps {expected}; the wrapper is for two or more, and their number must agree"
        )
