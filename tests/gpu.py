"""The tests marked `gpu`, and a table of generation on the GPU for docs/results.md: `python -m tests.gpu`."""

from __future__ import annotations

import contextlib
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any, Final

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from generate.model.batch_invariance import choose_network_batch_by_probe
from generate.model.map_decoder import Generated, ImageKey
from generate.model.terramind import TerraMindGenerator
from terramind_weights.tf32 import TF32, float32_products, has_tf32
from tests.benchmarks import generation_speed

BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
MATMUL_SIDE: Final = 4096


def seconds(work: Callable[[], Any], device: torch.device, repeats: int = 3) -> float:
    """The shortest of a few runs by the clock, after one that warms up."""
    found = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - started)
    return min(found[1:])


def matmul_peak(device: torch.device, side: int = MATMUL_SIDE) -> float:
    """Floating-point operations a second of a large float32 product, 2 n³ of them."""
    factor = torch.randn(side, side, device=device)
    return 2 * side**3 / seconds(lambda: factor @ factor, device)


def busy_share(work: Callable[[], Any], device: torch.device) -> str:
    """Share of the time in which a kernel runs on the card; the card waits for the rest."""
    if device.type != "cuda":
        return "–"
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        spent = seconds(work, device, repeats=1)
    kernels = sum(event.self_device_time_total for event in seen.key_averages()) / 1e6
    return f"{min(1.0, kernels / 2 / spent):.0%}"  # two runs were recorded, one that warms up


def changed_tokens(
    module: TerraMindGenerator, given: dict[str, torch.Tensor], arithmetic: AbstractContextManager[Any]
) -> float:
    """Share of tokens that another arithmetic changes."""
    keys = [ImageKey(str(slot), 0) for slot in range(len(given["DEM"]))]

    def tokens() -> torch.Tensor:
        made: Generated = module.generate(given, keys)
        return made.tokens

    exact = tokens()
    with arithmetic:
        return (exact != tokens()).float().mean().item()


def measure(device: torch.device, generator: str, batches: Sequence[int], size: int) -> Iterator[list[str]]:
    """Rows of the table: batch, probe's verdict, images a second, share of the peak, share of time at work."""
    module = generation_speed.load(generator).module.to(device)
    peak = matmul_peak(device)
    for batch in batches:
        steady = choose_network_batch_by_probe(module, batch, (size, size), contextlib.nullcontext())
        module.network_batch = batch
        given = {name: image.to(device) for name, image in generation_speed.images(batch, size).items()}
        keys = [ImageKey(str(slot), 0) for slot in range(batch)]

        def work(given: Any = given, keys: Any = keys) -> None:
            module.generate(given, keys)

        with FlopCounterMode(display=False) as counter:
            work()
        spent = seconds(work, device)
        share = counter.get_total_flops() / spent / peak
        verdict = "equal" if steady else "differs"
        yield [str(batch), verdict, f"{batch / spent:.1f}", f"{share:.0%}", busy_share(work, device)]


def table(
    device: torch.device, generator: str = "base", batches: Sequence[int] = BATCHES, size: int = 224
) -> str:
    """The table as Markdown, and below it what the other arithmetics change."""
    heads = ["batch", "probe", "images/s", "of matmul peak", "time at work"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    with float32_products("32-true"):
        lines += [f"| {' | '.join(row)} |" for row in measure(device, generator, batches, size)]
        module = generation_speed.load(generator, batch=4).module.to(device)
        given = {name: image.to(device) for name, image in generation_speed.images(4, size).items()}
        mixed = torch.autocast(device.type, dtype=torch.bfloat16)
        lines += ["", f"bf16-mixed changes {changed_tokens(module, given, mixed):.1%} of the tokens"]
        if has_tf32(device):
            changed = changed_tokens(module, given, float32_products(TF32))
            lines.append(f"tf32 changes {changed:.1%} of the tokens")
    return "\n".join(lines)


def main() -> int:
    """Runs the tests and prints the table; 1 where a test fails, 2 where there is no CUDA device."""
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
        "then the table of: python -m tests.benchmarks\n\n"
    )
    sys.stdout.write(f"{table(torch.device('cuda', 0))}\n")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
