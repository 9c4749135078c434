"""What the command lines of all stages share: a subcommand, and how errors become a line and an exit status."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from augment_store.errors import AugmentStoreError
from augment_store.files import printable

DISK: Final = frozenset(
    {
        *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    }
)
"""Errors of the disk."""

PATH: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR})
"""Errors of a path that was named; what is in neither set keeps its traceback."""


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        help: One line for `--help`.
        add_arguments: Declares its arguments.
        run: Does the work and returns the exit status.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def run_guarded(run: Callable[[], int]) -> int:
    """Runs a command; turns the errors a user can act on into one line on stderr and an exit status.

    Returns:
        The command's own status; 2 for usage and configuration errors, a path that is none included; 1 where the disk
        fails; 130 on Ctrl-C.
    """
    try:
        return run()
    except AugmentStoreError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted; what is complete is kept, the same command goes on from there", 130)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in PATH:
            return _fail(f"{where}{error.strerror}; name another path", 2)
        if error.errno not in DISK:
            raise
        return _fail(
            f"{where}{error.strerror}; what is complete is kept. Mend the disk, its room or permissions, run again",
            1,
        )


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {printable(message)}\n")
    return status
