"""Memory of a process that opens a store a thousand times and reads of it: `python -m tests.faults.reopening`."""

import gc
import resource
import sys
import tempfile
from pathlib import Path

from augment_store.store.writer import AugmentStore
from tests.worlds import make_store


def resident_kilobytes() -> int:
    """Return this process's memory in KiB, as Linux tells it."""
    return (
        int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() // 1024
    )


def grow(path: Path, times: int) -> int:
    """Open a store so many times and read a chip each time; return the KiB by which memory grew."""
    before = resident_kilobytes()
    for _ in range(times):
        store = AugmentStore.open(path)
        store.read(store.chip_ids[0], "lulc")
    gc.collect()
    return resident_kilobytes() - before


def main() -> int:
    """Print the memory before, and its growth over the first hundred and each further hundred openings."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(Path(folder) / "store", chips=6, size=32).path
        sys.stdout.write(f"after importing: {resident_kilobytes():,} KiB\n")
        for hundred in range(1, 11):
            sys.stdout.write(f"openings up to {100 * hundred:>4}: {grow(path, 100):+,} KiB\n")
        sys.stdout.write(f"after 1,000 openings: {resident_kilobytes():,} KiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
