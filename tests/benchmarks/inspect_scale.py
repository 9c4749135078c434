"""How long `inspect` takes on a large store, and how much memory: `python -m tests.benchmarks.inspect_scale`.

The store is synthetic (16-pixel chips, one sample, one timestep) and written to a temporary folder; writing
100,000 chips takes some minutes, which are not part of the figures.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.worlds import make_store


def measure(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak memory in MB of one `augment_store` command, in a process of its own."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "augment_store", *arguments], check=True, stdout=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # the largest child so far
    return time.perf_counter() - started, peak


def main() -> None:
    """Writes a store and inspects it in three ways, from the lightest to the heaviest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=100_000)
    chips = parser.parse_args().chips
    with tempfile.TemporaryDirectory() as folder:
        store, page, sheet = (str(Path(folder) / name) for name in ("store", "page.html", "sheet.png"))
        make_store(Path(store), chips, size=16, pending=chips // 500, shard_chips=32)
        for extra in ([], ["--html", page], ["--png", sheet, "--worst", "20"]):
            seconds, peak = measure(["inspect", store, *extra])
            what = " ".join(word for word in extra if word.startswith("--")) or "summary"
            sys.stdout.write(f"{chips} chips, {what}: {seconds:.1f} s, at most {peak:.0f} MB\n")


if __name__ == "__main__":
    main()
