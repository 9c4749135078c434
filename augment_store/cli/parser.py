"""What the command lines of all stages share: a subcommand, and how errors become a line and an exit status."""

from __future__ import annotations

import argparse
import errno
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from augment_store.errors import AugmentStoreError
from augment_store.io.files import printable
from augment_store.io.remote import as_path, without_secrets

DISK: Final = frozenset(
    {
        *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    }
)
"""Errors of the disk."""

PATH: Final = frozenset({errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR})
"""Errors of a path that the user named; errors in neither set keep their traceback."""


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        help: One line for `--help`.
        add_arguments: Declares its arguments.
        run: Does the work and returns the exit status.
        examples: Command lines shown at the end of its `--help`.
    """

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    examples: str = ""


LEGEND_HELP: Final = (
    "legend table to the masks' classes, YAML with the keys name, classes (a list of value, name, rgb) and mapping "
    "(TerraMind's class: the masks' label), or one that ships: nyc (default), flood; both are in "
    "augment_store/modalities/legend_files, to copy and edit"
)


def new_parser(module: str, description: str, examples: str = "") -> argparse.ArgumentParser:
    """Parser of `python -m module`, with `--version` and examples after the options."""
    parser = argparse.ArgumentParser(
        f"python -m {module}",
        description=description,
        epilog=_epilog(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"terramind-tim-store {version('terramind-tim-store')}"
    )
    return parser


def add_commands(parser: argparse.ArgumentParser, commands: Mapping[str, Command]) -> None:
    """Declares subcommands; which one was chosen is in ``parsed.command``."""
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        subparser = subparsers.add_parser(
            name,
            help=command.help,
            description=command.help,
            epilog=_epilog(command.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(subparser)


def _epilog(examples: str) -> str | None:
    return f"examples:\n{textwrap.indent(examples.strip(), '  ')}" if examples else None


def add_layout_argument(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, default: str = "detected from the files"
) -> None:
    """Adds `--layout`, which every command that takes `--chips` has; `default` says what applies without it."""
    parser.add_argument(
        "--layout",
        metavar="NAME|FILE",
        help="where the files of a chip are: a name that python -m augment_store layouts lists, or a YAML file "
        f"(default: {default})",
    )


def add_places_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--chips`, `--layout` and `--store`: where the chip set and the store of a run are now."""
    parser.add_argument(
        "--chips",
        type=as_path,
        metavar="DIR",
        help="where the chip set is now, a folder or a URL (default: where the run read it)",
    )
    add_layout_argument(parser, "the run's, or else detected from the files")
    parser.add_argument(
        "--store",
        type=as_path,
        metavar="DIR",
        help="where the augment store is now, a folder or a URL (default: where the run read it)",
    )


def add_scenes_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds `--scenes`, the rule that gives a chip its scene."""
    parser.add_argument(
        "--scenes",
        metavar="FILE|REGEX",
        help="the acquisition that each chip was cut from: a CSV file with the columns chip and scene, or a regular "
        "expression for what to strip from a chip id (default: the store's scenes; for other chips the layout's rule, "
        "or else a trailing _r<row>c<col> or _<row>_<col> is stripped)",
    )


def positive(text: str) -> int:
    """A whole number of at least 1, as an argument's type."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; expected at least 1")
    return number


def run_guarded(run: Callable[[], int]) -> int:
    """Runs a command; turns the errors a user can act on into one line on stderr and an exit status.

    Returns:
        The command's own status; 2 for usage and configuration errors, including a wrong path; 1 if the
        disk fails; 130 on Ctrl-C.
    """
    try:
        return run()
    except AugmentStoreError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted; what is complete is kept, and the same command resumes", 130)
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
            f"{where}{error.strerror}; what is complete is kept. Check space and permissions, then run it again",
            1,
        )


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {printable(without_secrets(message))}\n")
    return status
