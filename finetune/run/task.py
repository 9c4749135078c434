"""LightningCLI over TerraTorch's segmentation task, built from one resolved configuration."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from terratorch.cli_tools import MyLightningCLI
from terratorch.tasks import SemanticSegmentationTask

from augment_store.errors import AugmentStoreError
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import ConfigError

BUILD_ERRORS: Final = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    ImportError,
    MisconfigurationException,
)
"""What TerraTorch and the classes a YAML names raise on values they cannot take."""


class FinetuneCLI(MyLightningCLI):  # type: ignore[misc] # terratorch is untyped
    """TerraTorch's command line, so that it takes the same YAMLs, held to the task and datamodule of stage 2.

    It parses and instantiates, and leaves running to `finetune.run`.
    """

    task: SemanticSegmentationTask
    datamodule: TimStoreDataModule

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(
            model_class=SemanticSegmentationTask,
            datamodule_class=TimStoreDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            parser_kwargs={"exit_on_error": False, "allow_abbrev": False},
            args=list(args),
            run=False,
        )

    def plain_config(self) -> dict[str, Any]:
        """The final configuration as plain values."""
        plain: dict[str, Any] = yaml.safe_load(self.parser.dump(self.config))
        return plain


def build(config: Mapping[str, Any], overrides: Sequence[str], origin: Path) -> FinetuneCLI:
    """Task, datamodule and trainer of a configuration.

    Args:
        config: Resolved configuration.
        overrides: Further options for TerraTorch's parser.
        origin: The YAML it came from, for messages.

    Raises:
        ConfigError: If the configuration has an unknown key or a wrong value, in one line.
        AugmentStoreError: As the datamodule and the backbone raise.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="LightningCLI's args parameter is intended to run from within"
        )
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        try:
            return FinetuneCLI(["--config", str(path), *overrides])
        except (
            Exception
        ) as error:  # the parser and TerraTorch wrap what is raised inside in errors of any kind
            ours = _our_error(error)
            if ours is not None:
                raise ours from None
            if isinstance(error, ArgumentError):
                raise ConfigError(f"{origin}: {one_line(error)}") from error
            if isinstance(error, BUILD_ERRORS):
                raise ConfigError(f"{origin}: cannot be built: {one_line(error)}") from error
            raise


def build_bare(config: Mapping[str, Any], overrides: Sequence[str], origin: Path) -> FinetuneCLI:
    """As `build`, without the published weights, which a checkpoint is about to replace and need not be there."""
    bare = copy.deepcopy(dict(config))
    bare["model"]["init_args"]["model_args"] |= {"backbone_pretrained": False}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using PEFT without a pretrained backbone")
        return build(bare, overrides, origin)


def _our_error(error: BaseException | None) -> AugmentStoreError | None:
    """The first error of this project's in the chain that led to an error."""
    while error is not None and not isinstance(error, AugmentStoreError):
        error = error.__cause__ or error.__context__
    return error


def one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())
