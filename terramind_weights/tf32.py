"""TF32, the arithmetic of NVIDIA GPUs between float32 and bfloat16; torch is imported where work starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

TF32: Final = "tf32"
"""Arithmetic of ``--precision``: float32 whose matrix products round their factors to 10 bits, as NVIDIA's
Ampere GPUs and later ones do in hardware."""

TF32_CAPABILITY: Final = (8, 0)
"""Compute capability from which on an NVIDIA GPU has TF32; earlier ones would compute in float32 and not say so."""


def has_tf32(device: torch.device) -> bool:
    """Tell whether a device multiplies matrices in TF32."""
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= TF32_CAPABILITY


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Let CUDA multiply float32 matrices in TF32 or never, whatever the process had set before.

    Args:
        precision: Arithmetic; only ``tf32`` allows it.
    """
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    # both hold for the whole process, so they are put back
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == TF32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
