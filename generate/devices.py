"""Devices of a run: Lightning's trainer on them, and whether they have the arithmetic asked for."""

from __future__ import annotations

from typing import Final

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from generate.errors import OptionsError
from generate.requests import DeviceRequest
from terramind_weights.tf32 import TF32, has_tf32

FLOAT32: Final = "32-true"

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


def settled_precision(request: DeviceRequest, trainer: lightning.Trainer) -> str:
    """Return the arithmetic for the generation spec: the one in use, which is not always the one asked for."""
    return TF32 if request.precision == TF32 else str(trainer.precision)


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
