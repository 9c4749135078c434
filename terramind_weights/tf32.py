"""Arithmetic of matrix products: float32 as such, or NVIDIA's TF32; torch is imported where work starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

TF32: Final = "tf32"
"""Arithmetic of ``--precision``: float32 whose matrix products round their factors to 10 bits, as NVIDIA's
Ampere GPUs and later ones do in hardware."""

ARITHMETICS: Final = ("32-true", TF32, "16-mixed", "bf16-mixed")
"""Values of ``--precision``, Lightning's but for TF32."""

TF32_CAPABILITY: Final = (8, 0)
"""Compute capability from which on an NVIDIA GPU has TF32; earlier ones would compute in float32 and not say so."""


def has_tf32(device: torch.device) -> bool:
    """Tell whether a device multiplies matrices in TF32."""
    import torch

    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= TF32_CAPABILITY


@contextlib.contextmanager
def float32_products(precision: str) -> Iterator[None]:
    """Multiply float32 matrices in TF32 or in float32, whatever the process had set before.

    As it is imported, TerraTorch sets "medium" (``clay_v15/model.py``), by which GPUs multiply in TF32 and some CPUs in
    bfloat16, whatever precision a trainer has.

    Args:
        precision: Arithmetic; only ``tf32`` allows it.
    """
    import terratorch  # noqa: F401 # now, so that what it sets is set back
    import torch

    cudnn = torch.backends.cudnn
    try:
        products = torch.get_float32_matmul_precision()
    except RuntimeError:
        # a module of a user's own has set `allow_tf32`, after which torch does not tell
        products = "highest"
    # both hold for the whole process, so they are put back
    before = products, cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == TF32 else "highest")
    cudnn.allow_tf32 = precision == TF32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]
