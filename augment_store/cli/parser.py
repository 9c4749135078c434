"""Parts that the command lines of all stages share: subcommands, common options, errors and exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import json
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol, cast

from augment_store.cli.process import discard_output, prepare_streams, short_thread_errors
from augment_store.errors import AugmentStoreError
from augment_store.io.files import printable
from augment_store.io.remote import as_path, without_secrets
from augment_store.io.signals import SignalInterrupt, signals_as_interrupts
from augment_store.modalities.legend_table import SHIPPED
from augment_store.store.history import SCRIPTS, command_line
from augment_store.utils.text import did_you_mean

_DISK_NAMES: Final = (
    *("EIO", "ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM", "EROFS", "EBUSY", "ETXTBSY", "ENODEV", "ENXIO"),
    *("EMFILE", "ENFILE", "ENOMEM", "ENOLCK", "ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EDEADLK", "EXDEV"),
    *("ESTALE", "EREMOTEIO", "EREMOTE", "ETIMEDOUT", "ENOTCONN", "ECONNABORTED", "ECONNREFUSED"),
    *(
        "ECONNRESET",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENOLINK",
        "ECOMM",
        "EPROTO",
        "ESHUTDOWN",
    ),
    *("EAGAIN", "EINTR", "EMEDIUMTYPE", "ENOMEDIUM", "EUCLEAN", "EKEYEXPIRED", "EKEYREVOKED", "EKEYREJECTED"),
)
DISK: Final = frozenset(getattr(errno, name) for name in _DISK_NAMES if hasattr(errno, name))
"""Errors of local and network disks, and of limits of the process; not every system has each."""

_PERMISSION: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""Errors of a path that may not be written to: another one helps."""

_INTERRUPTED: Final = "interrupted"
_PATH: Final = "path"
_DISK: Final = "disk"
"""Kinds of what ends a command and is no error of ours; see `AugmentStoreError.kind`."""

PATH: Final = frozenset({errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR})
"""Errors of a path that the user named; errors in neither set keep their traceback."""


class CommandModule(Protocol):
    """The module of a subcommand; imports at its top what it needs, since it is imported only when it is used."""

    EXAMPLES: str
    """Command lines, one a line, shown at the end of its `--help`."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work and return the exit status."""


@dataclass(frozen=True)
class Command:
    """One subcommand, before its module is imported.

    Attributes:
        module: Import path of its `CommandModule`.
        summary: One line for `--help`; kept here so that the list of commands imports none of them.
    """

    module: str
    summary: str

    def load(self) -> CommandModule:
        """Import the module."""
        return cast(CommandModule, importlib.import_module(self.module))


def new_parser(module: str, description: str, examples: str = "") -> argparse.ArgumentParser:
    """Return the parser of a module by its console script's name, with `--version` and examples after the options."""
    parser = argparse.ArgumentParser(
        SCRIPTS.get(module, f"python -m {module}"),
        description=description,
        epilog=_epilog(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"terramind-tim-store {version('terramind-tim-store')}"
    )
    return parser


def add_commands(
    parser: argparse.ArgumentParser, commands: Mapping[str, Command], arguments: Sequence[str]
) -> None:
    """Declare subcommands; ``parsed.command`` is the name of the chosen one and ``parsed.run`` does its work.

    Only the module of the subcommand that `arguments` name is imported: its own help and parsing need it, the
    list of commands does not.

    Args:
        parser: Parser whose own options take no value.
        commands: Subcommands by name.
        arguments: The command line.
    """
    # the first word that is no option; no option before it takes a word as its value
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    if chosen is not None and chosen not in commands:
        parser.error(f"no command {chosen!r}; expected {', '.join(commands)}{did_you_mean(chosen, commands)}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        subparser = subparsers.add_parser(
            name,
            help=command.summary,
            description=command.summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == chosen:
            module = command.load()
            subparser.epilog = _epilog(module.EXAMPLES)
            module.add_arguments(subparser)
            # `run` is an argument of eval publish
            subparser.set_defaults(run_module=module.run, parser=subparser)


def run_command(
    program: str, description: str, examples: str, commands: Mapping[str, Command], arguments: Sequence[str]
) -> int:
    """Parse a command line with subcommands, run the chosen one guarded, and return the exit status."""

    # parsed within the guard: importing the subcommand takes time in which Ctrl-C may come
    def run() -> int:
        parser = new_parser(program, description, examples)
        add_commands(parser, commands, arguments)
        parsed = parse_whole(parser, arguments)
        return cast(int, parsed.run_module(parsed))

    return run_guarded(run, command_line(program, arguments), as_json="--json" in arguments)


def parse_whole(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; exit with status 2 at words that are not known, with the option that was probably meant."""
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        # of a subcommand, if there is one
        own: argparse.ArgumentParser = getattr(parsed, "parser", parser)
        # argparse has no public list of its options
        known = [option for action in own._actions for option in action.option_strings]
        meant = did_you_mean(unknown[0].partition("=")[0], known)
        own.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
    return parsed


def _epilog(examples: str) -> str | None:
    return f"examples:\n{textwrap.indent(examples.strip(), '  ')}" if examples else None


def add_layout_argument(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, default: str = "detected from the files"
) -> None:
    """Add `--layout`, which every command that takes `--chips` has; `default` says what applies without it."""
    parser.add_argument(
        "--layout",
        metavar="NAME|FILE",
        help="where the files of a chip are: a name that tim-store layouts lists, or a YAML file "
        f"(default: {default})",
    )


def add_legend_argument(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--legend`, the table to the masks' classes; `default` says what applies without it."""
    # numpy and pydantic, which commands without this option need not wait for
    names = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
    parser.add_argument(
        "--legend",
        type=Path,
        metavar="FILE",
        help="legend table to the masks' classes, YAML with the keys name, classes (a list of value, name, rgb) and "
        f"mapping (TerraMind's class: the masks' label), or one that ships: {names}; those are in "
        f"augment_store/modalities/legend_files, to copy and edit (default: {default})",
    )


def add_quiet_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--quiet`, which every command with a progress report has."""
    parser.add_argument("--quiet", action="store_true", help="report no progress; results are still printed")


def add_location_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--chips`, `--layout` and `--store`: where the chip set and the store of a run are now."""
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
    """Add `--scenes`, the rule that gives a chip its scene."""
    parser.add_argument(
        "--scenes",
        metavar="FILE|REGEX",
        help="the acquisition that each chip was cut from: a CSV file with the columns chip and scene, or a regular "
        "expression for what to strip from a chip id (default: the store's scenes; for other chips the layout's rule, "
        "or else a trailing _r<row>c<col> or _<row>_<col> is stripped)",
    )


def positive(text: str) -> int:
    """Parse a whole number of at least 1, as an argument's type."""
    # argparse turns a ValueError into its own message about the argument
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}; expected at least 1")
    return number


def run_guarded(run: Callable[[], int], command: str = "", *, as_json: bool = False) -> int:
    """Run a command; turn the errors a user can act on into one line on stderr and an exit status.

    Args:
        run: Does the work and returns the exit status.
        command: The command line, for whoever interrupts it; empty if it is not known.
        as_json: Whether programs read the output, who are told the kind of an error on stdout too.

    Returns:
        The command's own status; 2 for usage and configuration errors, including a wrong path; 1 if the
        disk fails or nobody reads the output; 130 on Ctrl-C, 143 on SIGTERM, 129 on SIGHUP.
    """
    # first, since every message below needs a stream that can be written to
    prepare_streams()
    kept = "what is complete is kept, and the same command resumes" + (f": {command}" if command else "")
    try:
        with signals_as_interrupts(), short_thread_errors():
            status = run()
            sys.stdout.flush()  # a full disk behind stdout is found here rather than at exit
            return status
    except AugmentStoreError as error:
        # a disk that fails is no wrong usage
        full = isinstance(error, OSError) and error.errno in DISK - _PERMISSION
        return _fail(str(error), 1 if full else 2, error.kind, as_json)
    # before KeyboardInterrupt, of which it is a kind
    except SignalInterrupt as error:
        return _fail(f"stopped by {error}; {kept}", error.status, _INTERRUPTED, as_json)
    except KeyboardInterrupt:
        return _fail(f"interrupted; {kept}", 130, _INTERRUPTED, as_json)
    # before OSError, of which it is a kind: a reader such as `head` has gone
    except BrokenPipeError:
        discard_output()
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in PATH:
            return _fail(f"{where}{error.strerror}; name another path", 2, _PATH, as_json)
        # neither the path nor the disk: likely a bug of ours, which its traceback helps to find
        if error.errno not in DISK:
            raise
        remedy = "Check the disk, its space and permissions, and limits (ulimit), then run it again"
        return _fail(f"{where}{error.strerror}; what is complete is kept. {remedy}", 1, _DISK, as_json)


def _fail(message: str, status: int, kind: str, as_json: bool) -> int:
    shown = printable(without_secrets(message))
    with contextlib.suppress(OSError):  # where they cannot be written either, the status still tells
        sys.stderr.write(f"error: {shown}\n")
        if as_json:
            sys.stdout.write(json.dumps({"error": {"kind": kind, "message": shown}}) + "\n")
            sys.stdout.flush()
    return status
