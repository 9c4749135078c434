"""Requests: what the command line and the Python function ask of a run, checked and opened.

Options are texts and numbers as a user gives them; `generate.options` makes requests from them, and nothing below
knows that there are options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from augment_store.chips.units import Units
from augment_store.store.spec import SamplingSpec

if TYPE_CHECKING:
    from augment_store.chips.chip_set import ChipSet


@dataclass(frozen=True)
class InputRequest:
    """Chips to read, and how their values are stored.

    Attributes:
        chip_set: Chips of the run.
        modalities: Input modalities in the order the network sees them.
        units: Units of their values on disk.
    """

    chip_set: ChipSet
    modalities: Sequence[str]
    units: Units


@dataclass(frozen=True)
class MapRequest:
    """Maps to generate; all of it becomes part of the generation spec.

    Attributes:
        generator: Name of the generator.
        weights: ``hub``, a folder with the published files, or ``random``.
        modality: Output modality.
        sampling: How tokens are drawn.
        probabilities: True to keep the class probabilities.
        tokens_only: True to keep the tokens and decode no maps.
        network_batch: Images that the network sees at a time; None for the store's, or what suits the device.
    """

    generator: str
    weights: str
    modality: str
    sampling: SamplingSpec
    probabilities: bool = False
    tokens_only: bool = False
    network_batch: int | None = None


@dataclass(frozen=True)
class DeviceRequest:
    """Devices to run on.

    Attributes:
        accelerator: Lightning's name of the kind of device, or ``auto``.
        devices: Devices per machine, a number or ``auto``.
        num_nodes: Machines.
        precision: ``tf32``, or Lightning's name of the arithmetic, for example ``32-true``.
    """

    accelerator: str = "auto"
    devices: str = "1"
    num_nodes: int = 1
    precision: str = "32-true"

    def __str__(self) -> str:
        return f"--accelerator {self.accelerator} --devices {self.devices} --precision {self.precision}"


@dataclass(frozen=True)
class StoreRequest:
    """Store to make or resume.

    Attributes:
        path: Its folder, or its URL.
        scenes: Rule that gives a chip its scene; None for the store's, or else the layout's.
        shard_chips: Chips per shard, if the store is new.
    """

    path: Path
    scenes: str | None = None
    shard_chips: int = 32


@dataclass(frozen=True)
class GenerationRequest:
    """One generation run.

    Attributes:
        inputs: Chips to read.
        maps: Maps to generate.
        store: Store to write.
        device: Devices to run on.
        workers: Threads that read ahead.
        accept_audit: True to continue despite what the audit finds.
    """

    inputs: InputRequest
    maps: MapRequest
    store: StoreRequest
    device: DeviceRequest
    workers: int = 2
    accept_audit: bool = False


@dataclass(frozen=True)
class DecodingRequest:
    """Maps to make of tokens that are there already.

    Attributes:
        tokens: Folder of the store that holds them, or its URL.
        store: Folder of the store to make or resume, or its URL.
        device: Devices to run on; the arithmetic is the store's.
        weights: ``hub``, a folder with the published files, or ``random``; None for what the tokens were made with.
        workers: Threads that read ahead.
    """

    tokens: Path
    store: Path
    device: DeviceRequest
    weights: str | None = None
    workers: int = 2
