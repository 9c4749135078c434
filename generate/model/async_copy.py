"""Asynchronous copies to the device and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy values from the CPU to a device; CUDA copies from pinned memory while the program continues."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


class AsyncDeviceToHost:
    """Tensors on their way from the device to the CPU.

    Args:
        values: Tensors by name, on one device.
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        # Non-blocking copies from CUDA arrive in pinned memory; they are complete once the event is.
        self._values = {name: tensor.to("cpu", non_blocking=True) for name, tensor in values.items()}
        device = next(iter(values.values())).device
        self._event = None if device.type == "cpu" else torch.Event(device)
        if self._event is not None:
            self._event.record()

    def result(self) -> dict[str, NDArray[Any]]:
        """Wait until all values have arrived, and return them as arrays."""
        if self._event is not None:
            self._event.synchronize()
        return {name: tensor.numpy() for name, tensor in self._values.items()}
