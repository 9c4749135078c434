"""Devices of a run: Lightning's trainer on them, and the arithmetic they work in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from generate.errors import OptionsError
from generate.requests import DeviceRequest

TF32: Final = "tf32"
"""Arithmetic of ``--precision``: float32 whose matrix products round their factors to 10 bits, as NVIDIA's
Ampere GPUs and later ones do in hardware."""

FLOAT32: Final = "32-true"

TF32_CAPABILITY: Final = (8, 0)
"""Compute capability from which on an NVIDIA GPU has TF32; earlier ones would compute in float32 and not say so."""

GPU_NAMES: Final = ("gpu", "cuda")


def make_trainer(request: DeviceRequest) -> lightning.Trainer:
    """Make Lightning's trainer, for prediction only: it logs, saves and samples nothing.

    Raises:
        OptionsError: If there is no such accelerator or number of devices, or the device lacks the arithmetic.
    """
    devices: int | str = int(request.devices) if request.devices.isdigit() else request.devices
    try:
        trainer = lightning.Trainer(
            accelerator=request.accelerator,
            devices=devices,
            num_nodes=request.num_nodes,
            # Lightning has no name for TF32; `float32_products` turns it on
            precision=FLOAT32 if request.precision == TF32 else request.precision,  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,  # `ChipDataModule` deals out whole shards
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise OptionsError(f"{request}: {str(error).splitlines()[0]}") from error
    device = trainer.strategy.root_device
    if device.type == "mps":
        raise OptionsError(
            f"{request}: Apple's MPS has no float64, in which tokens are drawn; use --accelerator cpu"
        )
    if request.precision == TF32 and not has_tf32(device):
        raise OptionsError(
            f"{request}: TF32 is the arithmetic of NVIDIA GPUs of compute capability 8.0 or more, and this run is on "
            f"{device.type}; use --precision {FLOAT32}"
        )
    return trainer


def has_tf32(device: torch.device) -> bool:
    """Tell whether a device multiplies matrices in TF32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= TF32_CAPABILITY


def settled_precision(request: DeviceRequest, trainer: lightning.Trainer) -> str:
    """Return the arithmetic for the generation spec: the one in use, which is not always the one asked for."""
    return TF32 if request.precision == TF32 else str(trainer.precision)


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Let CUDA multiply float32 matrices in TF32 or never, whatever the process had set before.

    Args:
        precision: Arithmetic of the generation spec; only ``tf32`` allows it.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    # both hold for the whole process, so they are put back
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == TF32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def predict(
    trainer: lightning.Trainer, module: lightning.LightningModule, data: lightning.LightningDataModule
) -> None:
    """Run the trainer; raise the interruption, Ctrl-C or a signal, that Lightning turns into `SystemExit`."""
    try:
        trainer.predict(module, datamodule=data, return_predictions=False)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise stop.__context__ from stop
        raise


def planned_device(request: DeviceRequest) -> tuple[str, str]:
    """Return arithmetic and kind of device for a plan, which may be made where there is no GPU to run on.

    Raises:
        OptionsError: If the devices would be refused by a run as well.
    """
    # Lightning makes no trainer for a GPU that is not there
    if request.accelerator in GPU_NAMES and not torch.cuda.is_available():
        return request.precision, "cuda"
    trainer = make_trainer(request)
    return settled_precision(request, trainer), trainer.strategy.root_device.type
