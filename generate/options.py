"""Options of stage 1, each said once: parsers, help texts, the Python functions and the checks are made from them.

A dataclass is one group of options. Its docstring holds the help texts, its defaults are the command's, and the
metadata of a field hold what only a command line needs. `GenerateOptions.request` checks the values, opens the chip
set, and makes the request that the rest of the package works from.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pydantic import TypeAdapter, ValidationError

from augment_store.chips.units import Units
from augment_store.io.files import check_writable
from augment_store.io.remote import RemotePath, as_path
from augment_store.modalities.definitions import INPUT_MODALITIES, LULC, S1_UNITS
from augment_store.modalities.generated_map import GeneratedMap
from augment_store.modalities.registry import MAPS
from augment_store.store.schema import MAX_SHARD_CHIPS
from augment_store.store.spec import MAX_SAMPLES, WINDOW_STEP, SamplingSpec
from generate.errors import OptionsError
from generate.requests import DeviceRequest, GenerationRequest, InputRequest, MapRequest, StoreRequest
from terramind_weights.catalog import HUB, PUBLISHED, RANDOM, check_generator, generator_names
from terramind_weights.tf32 import ARITHMETICS
from terramind_weights.weight_files import locate

ALL_ARRAYS: Final = "all"
TOKENS_ALONE: Final = "tokens"
"""Values of ``--arrays``."""

DEFAULT_INPUTS: Final = ("S2L2A", "S1RTC", "DEM")


def _shown(
    metavar: str = "N", choices: Sequence[str] = (), known: Callable[[], Sequence[str]] | None = None
) -> Mapping[str, Any]:
    """Return the metadata of a field.

    Args:
        metavar: Name of its value in a help text.
        choices: The values it may have.
        known: Function that lists the values to name in a help text, where looking them up takes time.
    """
    return {"metavar": metavar, "choices": tuple(choices), "known": known}


@dataclass(frozen=True)
class OptionGroup:
    """Options that belong together, checked by their types and choices alone."""

    title: ClassVar[str]

    def checked(self) -> Self:
        """Return the same options with values of their types, as texts and lists are accepted for several.

        Raises:
            OptionsError: If a value is of another type, or none of the choices; the message names the option.
        """
        try:
            typed: Self = _adapter(type(self)).validate_python(vars(self))  # type: ignore[arg-type] # a class is hashable
        except ValidationError as error:
            # the first alone: others often follow from it
            found = error.errors(include_url=False)[0]
            name, value = str(found["loc"][0]), str(found["input"])[:60]
            raise OptionsError(f"{option_name(name)} {value}: {found['msg']}") from error
        for one in fields(typed):
            choices: Sequence[str] = one.metadata.get("choices", ())
            for given in _values(getattr(typed, one.name)) if choices else ():
                if given not in choices:
                    raise OptionsError(f"{option_name(one.name)} {given}: expected {', '.join(choices)}")
        return typed


@functools.cache
def _adapter(group: type[OptionGroup]) -> TypeAdapter[Any]:
    return TypeAdapter(group)


def _values(value: Any) -> Iterator[Any]:
    """Yield each value of an option, none for None."""
    if value is not None:
        yield from (value,) if isinstance(value, str) else value


def option_name(name: str) -> str:
    """Return the option of a field, ``--top-k`` of ``top_k``."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class ChipOptions(OptionGroup):
    """Chips to read, and how their values are stored.

    Attributes:
        chips: Root folder of the chip set, or its URL.
        layout: Where the files of a chip are: a name that tim-store layouts lists, or a YAML file
            (default: detected from the files).
        split: Only the chips of these split files.
        inputs: Input modalities.
        s1_unit: Unit of radar on disk; linear power is converted by 10·log10, amplitude by 20·log10 (default: the
            layout's, or else dB).
        s2_offset: Subtracted from Sentinel-2, e.g. 1000 if the offset of baseline 04.00 was left in (default: the
            layout's, or else 0).
    """

    title: ClassVar[str] = "chips"

    chips: str | Path = field(metadata=_shown("DIR"))
    _: KW_ONLY
    layout: str | Path | None = field(default=None, metadata=_shown("NAME|FILE"))
    split: Sequence[str | Path] = field(default=(), metadata=_shown("FILE"))
    inputs: Sequence[str] = field(default=DEFAULT_INPUTS, metadata=_shown(choices=tuple(INPUT_MODALITIES)))
    s1_unit: str | None = field(default=None, metadata=_shown(choices=S1_UNITS))
    s2_offset: float | None = field(default=None, metadata=_shown())

    def input_request(self) -> InputRequest:
        """Check the options and open the chip set.

        Raises:
            OptionsError: If a value is invalid, or an input modality is named twice.
            ChipSetError: If there are no chips, the layout is unknown, or a split file is unusable.
        """
        given = self.checked()
        if len(set(given.inputs)) < len(given.inputs):
            raise OptionsError(f"--inputs {' '.join(given.inputs)}: a modality appears twice; name each once")
        from augment_store.chips.chip_set import (
            ChipSet,  # rasterio and zarr are imported here, not for a help text
        )

        layout = None if given.layout is None else str(given.layout)
        chip_set = ChipSet.open(as_path(given.chips), layout, tuple(map(as_path, given.split)))
        units = Units.of(chip_set.layout, given.s1_unit, given.s2_offset)
        return InputRequest(chip_set, tuple(given.inputs), units)


@dataclass(frozen=True)
class SamplingOptions(OptionGroup):
    """How tokens are drawn, and which arrays are made of them.

    Attributes:
        temperature: Divides the logits.
        top_k: Keep the K likeliest codes; 0 keeps all.
        top_p: Keep the likeliest codes up to probability P, TerraTorch's default being 0.8; 0 keeps all.
        decoding_steps: Rounds of filling in.
        samples: Maps generated per chip.
        seed: Run seed.
        diffusion_steps: Rounds of a continuous modality's diffusion decoder (default: 10, as in the published
            notebooks).
        window: Generate chips larger than N px in windows of N px that overlap by half, and blend them: no tokens are
            kept then; TerraMind was pretrained at 224 px (default: the whole chip at once).
        probabilities: Keep the class probabilities (LULC: 10 × the space).
        arrays: All arrays, or tokens alone, which take a fraction of the time and space; tim-generate decode
            makes the maps of them later.
    """

    title: ClassVar[str] = "sampling"

    _: KW_ONLY
    temperature: float = field(default=1.0, metadata=_shown("T"))
    top_k: int = field(default=0, metadata=_shown("K"))
    top_p: float = field(default=0.8, metadata=_shown("P"))
    decoding_steps: int = field(default=1, metadata=_shown())
    samples: int = field(default=1, metadata=_shown("K"))
    seed: int = field(default=0, metadata=_shown())
    diffusion_steps: int | None = field(default=None, metadata=_shown())
    window: int | None = field(default=None, metadata=_shown())
    probabilities: bool = False
    arrays: str = field(default=ALL_ARRAYS, metadata=_shown(choices=(ALL_ARRAYS, TOKENS_ALONE)))


@dataclass(frozen=True)
class DeviceOptions(OptionGroup):
    """Devices to run on.

    Attributes:
        accelerator: Lightning's accelerator: auto, cpu, gpu.
        devices: Devices per machine, or auto.
        num_nodes: Machines.
        workers: Threads that read ahead.
    """

    title: ClassVar[str] = "running"

    _: KW_ONLY
    accelerator: str = field(default="auto", metadata=_shown("NAME"))
    devices: str | int = field(default="1", metadata=_shown())
    num_nodes: int = field(default=1, metadata=_shown())
    workers: int = field(default=2, metadata=_shown())

    def device_request(self, precision: str = "32-true") -> DeviceRequest:
        """Check the numbers, and return the devices to run on with an arithmetic.

        Raises:
            OptionsError: If a number is below 1.
        """
        _check_counts(self, ("num_nodes", "workers"))
        if str(self.devices) == "0":
            raise OptionsError("--devices 0: expected 1 or more, or auto; --accelerator cpu needs no GPU")
        return DeviceRequest(self.accelerator, str(self.devices), self.num_nodes, precision)


# the last base has the first fields: `chips`, then `store`, by position; all others by keyword
@dataclass(frozen=True)
class GenerateOptions(DeviceOptions, SamplingOptions, ChipOptions):
    """Options of one generation run.

    Attributes:
        store: Augment store to make or resume: a folder, or its s3:// or gs:// URL.
        generator: Name of the generator.
        weights: Hugging Face cache, a folder with the published files, or untrained weights as a control.
        modality: What to generate.
        scenes: The acquisition that each chip was cut from: a CSV file with the columns chip and scene, or a regular
            expression for what to strip from a chip id (default: the store's scenes; for other chips the layout's
            rule, or else a trailing _r<row>c<col> or _<row>_<col> is stripped).
        network_batch: Images the network sees at a time, part of the spec (default: the store's; for a new one 1 on a
            CPU, 1 to 32 on a GPU, by its memory).
        shard_chips: Chips per shard of a new store.
        precision: Arithmetic, part of the spec; tf32 is for NVIDIA GPUs, and faster there than 32-true.
        accept_audit: Continue despite what the audit finds, and record it.
    """

    title: ClassVar[str] = "generator and store"

    store: str | Path = field(metadata=_shown("DIR"))
    _: KW_ONLY
    generator: str = field(default="terramind_v1_base", metadata=_shown("NAME", known=generator_names))
    weights: str | Path = field(default=HUB, metadata=_shown("hub|DIR|random"))
    modality: str = field(default=LULC.name, metadata=_shown(choices=tuple(MAPS)))
    scenes: str | Path | None = field(default=None, metadata=_shown("FILE|REGEX"))
    network_batch: int | None = field(default=None, metadata=_shown())
    shard_chips: int = field(default=32, metadata=_shown())
    precision: str = field(default="32-true", metadata=_shown(choices=ARITHMETICS))
    accept_audit: bool = False

    def request(self) -> GenerationRequest:
        """Check the options, open the chip set, and say what the run is to do.

        Raises:
            OptionsError: If a value is out of range, or options contradict each other; the message names them.
            AugmentStoreError: If the generator is unknown, the store cannot be written, or the chips are unusable.
        """
        given = self.checked()
        _check_ranges(given)
        check_generator(given.generator)
        _check_store(as_path(given.store))
        device = given.device_request(given.precision)
        maps = given._map_request()  # before the chips, which take longer to find
        scenes = None if given.scenes is None else str(given.scenes)
        return GenerationRequest(
            inputs=given.input_request(),
            maps=maps,
            store=StoreRequest(as_path(given.store), scenes, given.shard_chips),
            device=device,
            workers=given.workers,
            accept_audit=given.accept_audit,
        )

    def _map_request(self) -> MapRequest:
        kind = _check_modality(self)
        sampling = SamplingSpec(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            decoding_steps=self.decoding_steps,
            samples=self.samples,
            seed=self.seed,
            # 0 was refused, so that only None takes the default
            diffusion_steps=self.diffusion_steps or kind.diffusion_steps,
            window=self.window,
        )
        return MapRequest(
            generator=self.generator,
            weights=str(self.weights),
            modality=self.modality,
            sampling=sampling,
            probabilities=self.probabilities,
            tokens_only=self.arrays == TOKENS_ALONE,
            network_batch=self.network_batch,
        )


def check_weights(weights: str) -> None:
    """Make sure that a folder of weights is there.

    Raises:
        OptionsError: If it is not.
    """
    if weights not in (HUB, RANDOM) and not Path(weights).is_dir():
        raise OptionsError(
            f"--weights {weights}: no such folder; expected {HUB}, {RANDOM}, or a folder with the published files"
        )


def locate_published(maps: MapRequest) -> None:
    """Make sure that the published files are there, or fetch them, before torch is imported.

    Raises:
        WeightsError: If they are not, and the Hub does not answer.
    """
    source = PUBLISHED.get(maps.generator)  # others are imported to be asked
    if source is not None and maps.weights != RANDOM:
        folder = None if maps.weights == HUB else Path(maps.weights)
        for file in (source.network, source.tokenizer(maps.modality)):
            locate(file, source, folder)


def _check_modality(options: GenerateOptions) -> GeneratedMap:
    """Return what to generate, after a check that the other options suit it."""
    kind = MAPS[options.modality]
    if options.diffusion_steps is not None and kind.diffusion_steps is None:
        by_diffusion = ", ".join(name for name, other in MAPS.items() if other.diffusion_steps is not None)
        raise OptionsError(
            f"--diffusion-steps is for --modality {by_diffusion}; {kind.name}'s decoder is not a diffusion model"
        )
    if options.probabilities and kind.continuous:
        classed = ", ".join(name for name, other in MAPS.items() if not other.continuous)
        raise OptionsError(f"--probabilities is for --modality {classed}; {kind.name} has no classes")
    if options.arrays == TOKENS_ALONE and options.window is not None:
        raise OptionsError(
            "--arrays tokens: maps blended of windows have no tokens to keep; leave out --window"
        )
    return kind


def _check_store(path: Path) -> None:
    """Make sure that a store can be written at a path, as far as that takes no network.

    Raises:
        StoreError: If something else is there.
        RemotePathError: If it is a URL that cannot be written to.
    """
    from augment_store.store.creation import check_store_free  # zarr is imported here, not for a help text

    check_writable("--store", path)
    if not isinstance(path, RemotePath) and not (path / "zarr.json").is_file():
        check_store_free(path)


def _check_counts(options: OptionGroup, names: Sequence[str]) -> None:
    """Make sure that numbers are 1 or more, where they are given."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise OptionsError(f"{option_name(name)} {value}: expected at least 1")


def _check_ranges(options: GenerateOptions) -> None:
    """Make sure that numbers are within what a run can do.

    Raises:
        OptionsError: Naming the first that is not.
    """
    _check_counts(options, ("decoding_steps", "samples", "network_batch", "shard_chips", "diffusion_steps"))
    for name, most in (("samples", MAX_SAMPLES), ("shard_chips", MAX_SHARD_CHIPS)):
        if getattr(options, name) > most:
            raise OptionsError(f"{option_name(name)} {getattr(options, name)}: expected at most {most}")
    if options.window is not None and (options.window <= 0 or options.window % WINDOW_STEP):
        raise OptionsError(
            f"--window {options.window}: expected a multiple of {WINDOW_STEP}; TerraMind was pretrained at 224"
        )
    if options.top_k < 0:
        raise OptionsError(f"--top-k {options.top_k}: expected 0 or more")
    if not 0 <= options.seed < 2**63:
        raise OptionsError(f"--seed {options.seed}: expected 0 to 2⁶³ − 1")
    if not 0 < options.temperature < math.inf:
        raise OptionsError(
            f"--temperature {options.temperature}: expected a positive number; --top-k 1 takes the likeliest"
        )
    if not 0 <= options.top_p <= 1:
        raise OptionsError(f"--top-p {options.top_p}: expected 0 to 1")
