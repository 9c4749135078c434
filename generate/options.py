"""Options of `python -m generate`."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.units import Units
from augment_store.cli.parser import add_layout_argument, add_scenes_argument, new_parser
from augment_store.errors import AugmentStoreError
from augment_store.io.files import check_writable
from augment_store.io.remote import as_path
from augment_store.modalities.definitions import INPUT_MODALITIES, LULC
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.registry import MAPS
from augment_store.store.schema import MAX_SHARD_CHIPS
from augment_store.store.spec import MAX_SAMPLES, WINDOW_STEP, SamplingSpec
from terramind_weights.catalog import HUB, RANDOM, check_generator, generator_names

DEFAULT_MODALITY: Final = LULC.name

DESCRIPTION: Final = """\
Runs TerraMind in generate mode over a chip set and writes tokens and maps into an augment store.
If interrupted, the same command resumes.

There is one subcommand:
  audit    compare the inputs with what TerraMind was pretrained on (python -m generate audit --help)"""

EXAMPLES: Final = """
python -m generate audit --chips data/nyc
python -m generate --chips data/nyc --store stores/lulc --dry-run
python -m generate --chips data/nyc --store stores/lulc
python -m generate --chips data/nyc --store stores/s1only --inputs S1RTC --samples 3
python -m generate --chips data/nyc --store stores/ndvi --modality NDVI --weights folder/with/weights
python -m generate --chips data/large --store stores/windows --window 224
python -m generate --chips s3://chips/nyc --store s3://maps/nyc_lulc
python -m generate --chips tiles --layout my_layout.yaml --scenes scenes.csv --store stores/mine
"""

AUDIT_EXAMPLES: Final = """
python -m generate audit --chips data/nyc
python -m generate audit --chips sen1floods11 --inputs S2L1C S1GRD --json audit.json
"""


class OptionsError(AugmentStoreError, ValueError):
    """An option has an invalid value, or two options contradict each other."""


@dataclass(frozen=True)
class ChipOptions:
    """Which chips, and what they hold."""

    chips: Path
    layout: str | None
    split: tuple[Path, ...]
    inputs: tuple[str, ...]
    s1_unit: str | None
    s2_offset: float | None

    def open(self) -> tuple[ChipSet, Units]:
        """The chips, and what their values are in.

        Raises:
            ChipSetError: If there are none, the layout is unknown, or a split file is unusable.
        """
        chip_set = ChipSet.open(self.chips, self.layout, self.split)
        return chip_set, Units.of(chip_set.layout, self.s1_unit, self.s2_offset)


@dataclass(frozen=True)
class GenerateOptions:
    """Options of one generation run; the `--help` texts say what each means."""

    source: ChipOptions
    store: Path
    generator: str
    weights: str
    modality: str
    sampling: SamplingSpec
    probabilities: bool
    scenes: str | None
    accept_audit: bool
    shard_chips: int
    network_batch: int | None
    workers: int
    accelerator: str
    devices: str
    num_nodes: int
    precision: str
    dry_run: bool


def _add_chip_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("chips")
    group.add_argument(
        "--chips", type=as_path, required=True, metavar="DIR", help="root folder of the chip set, or its URL"
    )
    add_layout_argument(group)
    group.add_argument(
        "--split",
        type=as_path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="only the chips of these split files",
    )
    group.add_argument(
        "--inputs",
        nargs="+",
        choices=INPUT_MODALITIES,
        default=["S2L2A", "S1RTC", "DEM"],
        help="input modalities (default: S2L2A S1RTC DEM)",
    )
    group.add_argument(
        "--s1-unit",
        choices=["dB", "linear"],
        help="unit of radar on disk; linear power is converted by 10·log10 (default: the layout's, or else dB)",
    )
    group.add_argument(
        "--s2-offset",
        type=float,
        metavar="N",
        help="subtracted from Sentinel-2, e.g. 1000 if baseline 04.00's offset was left in (default: the layout's, "
        "or else 0)",
    )


def _add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--temperature", type=float, default=1.0, help="divides the logits (default: 1)")
    group.add_argument(
        "--top-k", type=int, default=0, metavar="K", help="keep the K likeliest codes; 0: all (default)"
    )
    group.add_argument(
        "--top-p",
        type=float,
        default=0.8,
        metavar="P",
        help="keep the likeliest codes up to probability P; 0: all (default: 0.8, as in TerraTorch)",
    )
    group.add_argument(
        "--decoding-steps", type=int, default=1, metavar="N", help="rounds of filling in (default: 1)"
    )
    group.add_argument(
        "--samples", type=int, default=1, metavar="K", help="maps generated per chip (default: 1)"
    )
    group.add_argument("--seed", type=int, default=0, help="run seed (default: 0)")
    group.add_argument(
        "--diffusion-steps",
        type=int,
        metavar="N",
        help="rounds of a continuous modality's diffusion decoder (default: 10, as in the published notebooks)",
    )
    group.add_argument(
        "--window",
        type=int,
        metavar="N",
        help="generate chips larger than N px in windows of N px that overlap by half, and blend them: no tokens are "
        "kept then; TerraMind was pretrained at 224 px (default: the whole chip at once)",
    )
    group.add_argument(
        "--probabilities", action="store_true", help="keep the class probabilities (LULC: 10 × the space)"
    )


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument(
        "--network-batch",
        type=int,
        metavar="N",
        help="images the network sees at a time, part of the spec (default: the store's; for a new one 1 on a CPU, "
        "1 to 32 on a GPU, by its memory)",
    )
    group.add_argument(
        "--workers", type=int, default=2, metavar="N", help="threads that read ahead (default: 2)"
    )
    group.add_argument(
        "--shard-chips",
        type=int,
        default=32,
        metavar="N",
        help="chips per shard of a new store (default: 32)",
    )
    group.add_argument(
        "--accelerator", default="auto", help="Lightning's accelerator: auto, cpu, gpu (default: auto)"
    )
    group.add_argument("--devices", default="1", help="devices per machine, or auto (default: 1)")
    group.add_argument("--num-nodes", type=int, default=1, metavar="N", help="machines (default: 1)")
    group.add_argument(
        "--precision",
        choices=["32-true", "16-mixed", "bf16-mixed"],
        default="32-true",
        help="arithmetic, part of the spec (default: 32-true)",
    )
    group.add_argument(
        "--accept-audit", action="store_true", help="continue despite what the audit finds, and record it"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print the plan and stop; needs neither weights nor network"
    )


def generate_parser() -> argparse.ArgumentParser:
    """Parser of `python -m generate`."""
    parser = new_parser("generate", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--store",
        type=as_path,
        required=True,
        metavar="DIR",
        help="augment store to make or resume: a folder, or its s3:// or gs:// URL",
    )
    group = parser.add_argument_group("generator")
    group.add_argument(
        "--generator",
        default="terramind_v1_base",
        metavar="NAME",
        help=f"one of {', '.join(generator_names())} (default: terramind_v1_base)",
    )
    group.add_argument(
        "--weights",
        default=HUB,
        metavar="hub|DIR|random",
        help="Hugging Face cache, a folder with the published files, or untrained weights as a control (default: hub)",
    )
    group.add_argument(
        "--modality",
        choices=MAPS,
        default=DEFAULT_MODALITY,
        help=f"what to generate (default: {DEFAULT_MODALITY})",
    )
    _add_chip_arguments(parser)
    add_scenes_argument(parser)
    _add_sampling_arguments(parser)
    _add_run_arguments(parser)
    return parser


def audit_parser() -> argparse.ArgumentParser:
    """Parser of `python -m generate audit`."""
    description = (
        "Compares the inputs with TerraMind's pretraining statistics; exits 1 if a run would be stopped."
    )
    parser = new_parser("generate audit", description, AUDIT_EXAMPLES)
    _add_chip_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the audit as JSON")
    return parser


def chip_options(parsed: argparse.Namespace) -> ChipOptions:
    """Chip options from parsed arguments.

    Raises:
        OptionsError: If an input modality is named twice.
    """
    inputs = tuple(parsed.inputs)
    if len(set(inputs)) < len(inputs):
        raise OptionsError(f"--inputs {' '.join(inputs)}: a modality appears twice; name each once")
    places = (parsed.chips, parsed.layout, tuple(parsed.split))
    return ChipOptions(*places, inputs, parsed.s1_unit, parsed.s2_offset)


def generate_options(parsed: argparse.Namespace) -> GenerateOptions:
    """Checked options from parsed arguments.

    Raises:
        OptionsError: If a value is out of range, or options contradict each other; the message names them.
    """
    _check_ranges(parsed)
    check_generator(parsed.generator)
    check_writable("--store", parsed.store)
    kind = _check_modality(parsed)
    sampling = SamplingSpec(
        temperature=parsed.temperature,
        top_k=parsed.top_k,
        top_p=parsed.top_p,
        decoding_steps=parsed.decoding_steps,
        samples=parsed.samples,
        seed=parsed.seed,
        diffusion_steps=parsed.diffusion_steps or kind.diffusion_steps,
        window=parsed.window,
    )
    plain = ("store", "generator", "weights", "modality", "probabilities", "scenes")
    running = (
        "accept_audit",
        "shard_chips",
        "network_batch",
        "workers",
        "accelerator",
        "devices",
        "num_nodes",
    )
    names = (*plain, *running, "precision", "dry_run")
    return GenerateOptions(
        source=chip_options(parsed), sampling=sampling, **{name: getattr(parsed, name) for name in names}
    )


def check_weights(options: GenerateOptions) -> None:
    """Makes sure that a folder of weights is there, where one will be read.

    Raises:
        OptionsError: If it is not.
    """
    weights = options.weights
    if weights not in (HUB, RANDOM) and not options.dry_run and not Path(weights).is_dir():
        raise OptionsError(
            f"--weights {weights}: no such folder; expected {HUB}, {RANDOM}, or a folder with the published files"
        )


def _check_modality(parsed: argparse.Namespace) -> GeneratedMap:
    """What to generate, after a check that the options suit it."""
    kind = MAPS[parsed.modality]
    by_diffusion = [name for name, other in MAPS.items() if other.diffusion_steps is not None]
    if parsed.diffusion_steps is not None and kind.diffusion_steps is None:
        raise OptionsError(
            f"--diffusion-steps is for --modality {', '.join(by_diffusion)}; {kind.name}'s decoder is not a diffusion "
            "model"
        )
    if parsed.probabilities and kind.continuous:
        classed = ", ".join(name for name, other in MAPS.items() if not other.continuous)
        raise OptionsError(f"--probabilities is for --modality {classed}; {kind.name} has no classes")
    return kind


def _check_ranges(parsed: argparse.Namespace) -> None:
    for name in (
        "decoding_steps",
        "samples",
        "network_batch",
        "workers",
        "shard_chips",
        "num_nodes",
        "diffusion_steps",
    ):
        value = getattr(parsed, name)
        if value is not None and value < 1:
            raise OptionsError(f"--{name.replace('_', '-')} {value}: expected at least 1")
    for name, most in (("samples", MAX_SAMPLES), ("shard_chips", MAX_SHARD_CHIPS)):
        if getattr(parsed, name) > most:
            raise OptionsError(f"--{name.replace('_', '-')} {getattr(parsed, name)}: expected at most {most}")
    if parsed.window is not None and (parsed.window <= 0 or parsed.window % WINDOW_STEP):
        raise OptionsError(
            f"--window {parsed.window}: expected a multiple of {WINDOW_STEP}; TerraMind was pretrained at 224"
        )
    if parsed.top_k < 0:
        raise OptionsError(f"--top-k {parsed.top_k}: expected 0 or more")
    if not 0 <= parsed.seed < 2**63:
        raise OptionsError(f"--seed {parsed.seed}: expected 0 to 2⁶³ − 1")
    if not 0 < parsed.temperature < math.inf:
        raise OptionsError(
            f"--temperature {parsed.temperature}: expected a positive number; --top-k 1 takes the likeliest"
        )
    if not 0 <= parsed.top_p <= 1:
        raise OptionsError(f"--top-p {parsed.top_p}: expected 0 to 1")
