"""Options of `tim-finetune`; nothing heavy is imported here, so that --help answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from augment_store.cli.parser import add_layout_argument, add_scenes_argument, new_parser
from augment_store.io.remote import as_path
from augment_store.utils.text import did_you_mean, shipped_or_given
from finetune.augment.controls import describe_controls
from finetune.augment.encodings import describe_encodings
from finetune.errors import ConfigError
from terramind_weights.tf32 import ARITHMETICS

COMMANDS: Final = ("fit", "validate", "test", "predict", "encode")
STARTING: Final = ("fit", "encode")
"""Commands that read the weights from which a training starts."""

CONFIGS: Final = Path(__file__).with_name("configs")
"""Folder of the YAMLs that ship with the package."""

DEMO_CONFIGS: Final = Path(__file__).parents[1] / "demo" / "configs"
"""Folder of the demo's YAMLs; that package stands above this one, so its files are read and nothing is imported."""

DESCRIPTION: Final = """\
Fine-tunes TerraMind on chips joined with an augment store, by TerraTorch. Without --augment it is the
plain fine-tune of the YAML. Options that are not listed go to TerraTorch's own parser, for example
--trainer.max_epochs 5 or --data.init_args.batch_size 2."""

EXAMPLES: Final = """
tim-finetune fit --config nyc_phase2 --chips data/nyc --run runs/baseline
tim-finetune fit --config nyc_tim_lulc --chips data/nyc --augment stores/lulc --run runs/tim_lulc
tim-finetune fit --config mine.yaml --chips tiles --layout my_layout.yaml --scenes scenes.csv --run runs/mine
tim-finetune predict --run runs/tim_lulc
tim-finetune encode --config frozen.yaml --chips data/nyc --features features/nyc
tim-finetune fit --config frozen.yaml --chips data/nyc --features features/nyc --run runs/frozen
"""


TERRATORCHS: Final = (
    *(
        "--trainer",
        "--data",
        "--model",
        "--optimizer",
        "--lr_scheduler",
        "--seed_everything",
        "--print_config",
    ),
    *(
        "--compute_statistics",
        "--deploy_config_file",
        "--predict_output_dir",
        "--out_dtype",
        "--output_file_prefix",
    ),
    "--weights_only",
)
"""Options of TerraTorch's parser without a dot."""


@dataclass(frozen=True)
class Options:
    """Options of one run; the `--help` texts say what each means."""

    command: str
    config: Path
    run: Path
    chips: Path | None = None
    layout: str | None = None
    scenes: str | None = None
    augment: Path | None = None
    encoding: tuple[str, ...] | None = None
    control: str | None = None
    new_columns: str | None = None
    seed: int | None = None
    weights: str | None = None
    init: Path | None = None
    ckpt_path: Path | None = None
    recorded: bool = False
    """Whether the YAML is the run's own and nobody named it, so that it may be someone else's."""
    custom_modules_path: str | None = None
    smoke: bool = False
    cache: bool = True
    allow_scene_overlap: bool = False
    features: Path | None = None
    dtype: str = "float16"
    precision: str | None = None
    overrides: tuple[str, ...] = ()


def shipped_configs() -> tuple[str, ...]:
    """Return the names of the YAMLs that ship with the package."""
    return tuple(sorted(path.stem for path in CONFIGS.glob("*.yaml")))


def parser() -> argparse.ArgumentParser:
    """Make the parser of `tim-finetune`."""
    made = new_parser("finetune", DESCRIPTION, EXAMPLES)
    made.add_argument("command", choices=COMMANDS, help="what to do")
    shipped = ", ".join(shipped_configs())
    made.add_argument(
        "--config",
        metavar="YAML",
        help=f"a file, or one that ships: {shipped}, demo, demo_s1 (default: the run's own)",
    )
    made.add_argument(
        "--run", type=Path, metavar="DIR", help="run directory; all commands but encode need it"
    )
    made.add_argument(
        "--chips",
        type=as_path,
        metavar="DIR",
        help="root folder of the chip set, or its URL, with its own splits",
    )
    add_layout_argument(made, "the YAML's, or else detected from the files")
    add_scenes_argument(made)
    made.add_argument("--seed", type=int, metavar="N", help="seed for all random draws (default: the YAML's)")
    made.add_argument(
        "--smoke", action="store_true", help="two steps on a few chips, no logger, no checkpoint"
    )
    made.add_argument(
        "--precision",
        choices=ARITHMETICS,
        help="arithmetic, part of the recipe; tf32 is for NVIDIA GPUs, and faster there than 32-true (default: the "
        "YAML's)",
    )
    add_cache_argument(made)
    made.add_argument(
        "--allow-scene-overlap",
        action="store_true",
        help="record scenes, ground and inputs that are in two splits instead of stopping",
    )
    made.add_argument(
        "--custom_modules_path",
        metavar="DIR",
        help="folder of your own modules to import, as for terratorch",
    )
    _add_store_arguments(made)
    _add_weight_arguments(made)
    _add_feature_arguments(made)
    return made


def add_cache_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that reads every chip."""
    parser.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="read every chip again, instead of those that changed since a run beside this one read them",
    )


def _add_feature_arguments(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("frozen features")
    group.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="features of a frozen backbone: encode makes them, fit trains neck, decoder and head on them",
    )
    group.add_argument(
        "--dtype",
        choices=("float16", "float32"),
        help="encode: type in which features are kept (default: float16)",
    )


def _add_store_arguments(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("augmentation")
    group.add_argument(
        "--augment",
        type=as_path,
        metavar="STORE",
        help="augment store, a folder or a URL; without it the plain fine-tune",
    )
    group.add_argument(
        "--encoding",
        nargs="+",
        metavar="NAME",
        help=f"{describe_encodings()} (default: what suits the store)",
    )
    group.add_argument(
        "--control",
        metavar="NAME",
        help=describe_controls(),
    )
    group.add_argument(
        "--new-columns",
        choices=("zero", "random"),
        help="initialization of the added patch-embedding columns (default: zero)",
    )


def _add_weight_arguments(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("weights")
    group.add_argument(
        "--weights",
        metavar="hub|random|PATH",
        help="the Hugging Face cache, untrained, or the published file or its folder (default: the YAML's)",
    )
    group.add_argument(
        "--init",
        type=Path,
        metavar="CKPT",
        help="start from the weights of this TerraTorch checkpoint, such as Phase 1's, from which Phase 2 started",
    )
    group.add_argument(
        "--ckpt_path", type=Path, metavar="CKPT", help="fit: resume; else: use it (default: the best)"
    )


def parse(argv: Sequence[str]) -> Options:
    """Parse and check the options of the command line.

    Raises:
        ConfigError: If options contradict each other, or the YAML is not found.
        SystemExit: If argparse refuses an option, or help was asked for.
    """
    # what argparse does not know is left to TerraTorch's parser
    parsed, rest = parser().parse_known_args(argv)
    return make_options(vars(parsed), rest)


def make_options(given: Mapping[str, Any], rest: Sequence[str]) -> Options:
    """Check options, and make one object of them.

    Args:
        given: Values by their name in `Options`; those left out have their default.
        rest: Options for TerraTorch's parser.

    Raises:
        ConfigError: If options contradict each other, or the YAML is not found.
    """
    parsed = argparse.Namespace(
        **{**dict.fromkeys(("run", "features", "init", "ckpt_path", "dtype", "precision")), **given}
    )
    if rest and not rest[0].startswith("--"):
        raise ConfigError(f"unexpected argument {rest[0]!r}; see tim-finetune --help")
    _check_spelling(rest)
    # an option and its value may be one word or two
    if any(word.split("=")[0] == "--seed_everything" for word in rest):
        raise ConfigError("--seed_everything: use --seed, which also seeds the controls and is recorded")
    if parsed.precision not in (None, *ARITHMETICS):
        raise ConfigError(f"precision {parsed.precision}; expected one of {', '.join(ARITHMETICS)}")
    if parsed.precision is not None and any(word.startswith("--trainer.precision") for word in rest):
        raise ConfigError("--precision and --trainer.precision name the same thing; give one of them")
    _check_command(parsed)
    if parsed.init is not None and parsed.ckpt_path is not None:
        raise ConfigError("--init starts a run and --ckpt_path resumes one; choose one")
    for name in ("init", "ckpt_path"):
        path = getattr(parsed, name)
        if path is not None and not path.is_file():
            raise ConfigError(f"--{name} {path}: no such file")
    # a frozen dataclass holds tuples, argparse gives lists
    encoding = None if parsed.encoding is None else tuple(parsed.encoding)
    run = parsed.features if parsed.command == "encode" else parsed.run
    checked = {**vars(parsed), "run": run, "encoding": encoding, "config": find_config(parsed.config, run)}
    checked["dtype"] = parsed.dtype or "float16"
    return Options(**checked, recorded=parsed.config is None, overrides=tuple(rest))


def _check_spelling(rest: Sequence[str]) -> None:
    """Refuse what is like an option of ours and none of TerraTorch's, whose parser would tell after half a minute."""
    # argparse has no public list of its options
    ours = [option for action in parser()._actions for option in action.option_strings]
    for word in (word.split("=")[0] for word in rest if word.startswith("--") and "." not in word):
        meant = did_you_mean(word, [*ours, *TERRATORCHS])
        if word not in TERRATORCHS and meant:
            raise ConfigError(f"unknown option {word}{meant}")


def _check_command(parsed: argparse.Namespace) -> None:
    """Make sure that a command has what it needs, and nothing that belongs to another."""
    command = parsed.command
    if command not in STARTING and parsed.precision is not None:
        raise ConfigError(f"--precision is for fit and encode; {command} computes as the run's training did")
    if command == "encode":
        for option, given in (("--config", parsed.config), ("--features", parsed.features)):
            if given is None:
                raise ConfigError(f"encode needs {option}; see tim-finetune --help")
        for option in ("run", "ckpt_path"):
            if getattr(parsed, option) is not None:
                raise ConfigError(f"--{option} is not for encode, which writes to --features; leave it out")
        return
    if parsed.run is None:
        raise ConfigError(f"{command} needs --run, the run directory; see tim-finetune --help")
    if parsed.dtype is not None:
        raise ConfigError("--dtype is for encode; fit takes the type that the features have")
    if command != "fit" and parsed.features is not None:
        raise ConfigError(
            f"--features is for encode and fit; a run trained on features holds its backbone, and {command} needs none"
        )
    if command != "fit" and parsed.init is not None:
        raise ConfigError(f"--init is for fit; name the checkpoint to {command} with --ckpt_path")


def find_config(name: str | None, run: Path) -> Path:
    """Find a YAML: the file of that name, the shipped one, or the run's own.

    Raises:
        ConfigError: If there is none; the message lists those that ship.
    """
    if name is None:
        own = run / "config.yaml"
        if not own.is_file():
            raise ConfigError(f"{own}: no such file; name a YAML with --config")
        return own
    path = shipped_or_given(name, CONFIGS, DEMO_CONFIGS)
    if path is None:
        raise ConfigError(
            f"--config {name}: no such file; these ship: {', '.join(shipped_configs())}, demo, demo_s1"
        )
    return path
