"""A store's `history`, as the CF conventions have it: a line for every run that wrote to it, its time and command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from augment_store.io.files import printable, short_path
from augment_store.io.remote import without_secrets

SCRIPTS: Final = {
    "augment_store": "tim-store",
    "demo": "tim-demo",
    "eval": "tim-eval",
    "finetune": "tim-finetune",
    "generate": "tim-generate",
    "predict": "tim-predict",
}
"""Console script of each package; unlike ``python -m``, a module in the working folder cannot stand in for it."""

MAX_HISTORY_CHARS: Final = 65_536
"""Characters that are kept and read; a command line takes about 200."""


def command_line(module: str, arguments: Sequence[str]) -> str:
    """Return a command as one line that a shell takes back, for example ``tim-generate --chips 'my chips'``.

    URLs in it have no user and password and no query.
    """
    return printable(shlex.join([SCRIPTS[module], *map(without_secrets, arguments)]))


def with_line(history: str, command: str, moment: datetime | None = None) -> str:
    """Return a history with one more line; the oldest lines are dropped if it would grow too long.

    Args:
        history: What is there already, oldest line first.
        command: One line, as `command_line` gives it.
        moment: When it was run, now by default.
    """
    time = (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"{time}: {command}"
    if len(line) > MAX_HISTORY_CHARS:
        # 2: the space and the ellipsis count too
        return f"{line[: MAX_HISTORY_CHARS - 2]} …"
    kept = f"{history}\n{line}" if history else line
    while len(kept) > MAX_HISTORY_CHARS:
        # drops the oldest line; it ends, as the new line fits by itself
        kept = kept.partition("\n")[2]
    return kept


def without_local_paths(history: str) -> str:
    """Return a history in which paths of the machine it was written on are cut down to their last two parts."""
    return "\n".join(map(_without_local_paths, history.splitlines()))


def _without_local_paths(line: str) -> str:
    time, colon, command = line.partition(": ")
    try:
        words = shlex.split(command)
    except ValueError:  # not a line that `with_line` wrote whole
        return f"{time}{colon}…"
    # of --store=/a/b/c what follows the = is shortened; a word without = is all value
    pairs = (word.rpartition("=") for word in words)
    return f"{time}{colon}{shlex.join(f'{option}{equals}{short_path(value)}' for option, equals, value in pairs)}"


def last_command(history: str) -> str | None:
    """Return the command of the last line; None if there is none, or if no package of this project was run by it.

    A store may be a stranger's, and what is returned is printed for users to run again: a line that is anything but
    one command of ours with quoted arguments could do whatever its author liked.
    """
    command = history.rpartition("\n")[2].partition(": ")[2]
    try:
        words = shlex.split(command)
    except ValueError:  # cut short
        return None
    # slices, since the line may be empty
    ours = words[:1] in [[script] for script in SCRIPTS.values()]
    ours |= words[:2] == ["python", "-m"] and words[2:3] in [[module] for module in SCRIPTS]
    # what `command_line` wrote joins to itself again; a bare ; or > or $( ) would come back quoted
    return command if ours and shlex.join(words) == command else None
