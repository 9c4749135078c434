"""Every attack on a small store, with counts: `python -m tests.faults`. Exit 1 where one is believed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.augment_store.stores import make_store
from tests.faults import attacks


def main() -> int:
    """Prints a row an attack."""
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        path = make_store(Path(folder) / "store", chips=8, timesteps=2, shard_chips=2).path
        small = make_store(Path(folder) / "small", chips=4, size=16, shard_chips=2).path
        rows = {
            "bit flips": attacks.bit_flips(path, seed=0, each=20),
            "truncations": attacks.truncations(path, seed=0, each=6),
            "objects swapped or deleted": attacks.replacements(path),
        }
        made = [(name, path, found) for name, found in rows.items()]
        for name, store, found in [*made, ("JSON changed", small, attacks.json_changes(small))]:
            counts, failures = attacks.run(store, found)
            bad += len(failures)
            line = f"{name}: {counts.total()} tried, {counts['found']} found, {counts['harmless']} harmless, "
            sys.stdout.write(line + f"{counts['failed']} failed\n")
            sys.stdout.writelines(f"  {failure}\n" for failure in failures)
            sys.stdout.flush()
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
