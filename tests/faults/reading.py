"""Commands that only read a store, while one file of it cannot be read (EIO)."""

from __future__ import annotations

import contextlib
import errno
import io
from pathlib import Path

from augment_store.cli.main import main
from tests.faults import operations
from tests.faults.tally import Tally
from tests.worlds import make_store

COMMANDS = (
    ("verify",),
    ("info",),
    ("inspect",),
    ("export", "--format", "geotiff", "--out"),
)


def errors(place: int, folder: Path, every: int = 1) -> Tally:
    """A command fails at every file that it opens: in a line, or not at all where it makes no difference."""
    name, *rest = COMMANDS[place]
    store = make_store(folder / "store", chips=4, size=16, shard_chips=2).path
    tally, told = Tally(f"unreadable: {name}"), io.StringIO()

    def act(path: Path) -> int:
        told.seek(0)
        told.truncate()
        out = [str(folder / "out")] if rest else []
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            return main([name, str(path), *rest, *out])

    for at in range(0, operations.count(store, act, changes=False), every):
        ended: list[int] = []
        raised = operations.refused(store, lambda path, ended=ended: ended.append(act(path)), at, errno.EIO)
        if raised is not None:
            outcome = f"{type(raised).__name__}: {raised}"
        elif ended != [0]:
            outcome = "refused" if "Traceback" not in told.getvalue() else "a traceback"
        else:
            outcome = "harmless"
        tally.add(f"operation {at}", outcome)
    return tally
