"""All tests marked `gpu`, and what to report of them: `python -m tests.gpu`."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version

import pytest
import torch


def main() -> int:
    """Runs the tests; 1 where one fails, 2 where there is no CUDA device."""
    if not torch.cuda.is_available():
        sys.stderr.write("error: no CUDA device is visible to PyTorch; nothing was run\n")
        return 2
    status = pytest.main(["-m", "gpu", "-v", "--durations=0"])
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "terratorch", "lightning", "diffusers")
    )
    properties = torch.cuda.get_device_properties(0)
    sys.stdout.write(
        "\nPlease report the lines above, and these:\n"
        f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}, Python {platform.python_version()}, {packages}\n"
        "then the table of: python -m tests.benchmarks\n"
    )
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
