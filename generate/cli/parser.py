"""Parsers of stage 1, made from the dataclasses of `generate.options`."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from importlib.metadata import version
from typing import Any, Final, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser

from augment_store.utils.text import did_you_mean
from generate.options import OptionGroup, option_name

Options = TypeVar("Options", bound=OptionGroup)

_WRONG_TYPE: Final = re.compile(
    r'Parser key "(\w+)"(?: element \d+)?:\s*Expected an? (?:<class \')?(\w+).*Got value: (.*)', re.DOTALL
)
"""What jsonargparse says of a value that does not fit its type."""


_UNKNOWN: Final = re.compile(r"unrecognized arguments: ([^\s=]+)", re.IGNORECASE)
"""What it says of words that it does not know, with the first of them."""

SUBCOMMANDS: Final = ("audit", "decode")
"""Words that choose another command, where they come first."""


class OptionsParser(ArgumentParser):
    """A parser that says what is wrong in one line, and exits with status 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print a line and exit."""
        # jsonargparse names the key and Python's type; users know the option
        if found := _WRONG_TYPE.fullmatch(message.strip()):
            message = f"{option_name(found[1])} {found[3]}: expected {found[2]}"
        line = " ".join(message.split())
        if found := _UNKNOWN.match(line):
            known = [option for action in self._actions for option in action.option_strings]
            line += did_you_mean(found[1], [*known, *SUBCOMMANDS])
        sys.stderr.write(f"error: {line}; {self.prog} --help lists the options\n")
        sys.exit(2)


def make_parser(command: str, description: str, examples: str, options: type[OptionGroup]) -> OptionsParser:
    """Make the parser of a command.

    Args:
        command: Console script, and its subcommand, such as ``tim-generate audit``.
        description: Beginning of the help text.
        examples: Command lines at its end.
        options: Dataclass of the options; each class that it is made of becomes a group of arguments.
    """
    parser = OptionsParser(
        prog=command,
        description=description,
        epilog=f"examples:\n{textwrap.indent(examples.strip(), '  ')}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    text = f"terramind-tim-store {version('terramind-tim-store')}"
    parser.add_argument("--version", action="version", version=text, help="print the version and exit")
    hints = get_type_hints(options)
    # from the class that all inherit from to the class itself: the order in which dataclasses collect fields
    for group in reversed([one for one in options.__mro__ if issubclass(one, OptionGroup)]):
        # `fields` lists inherited options too, and each belongs to one group
        own = [one for one in fields(options) if one.name in inspect.get_annotations(group)]
        if own:
            arguments, helps = parser.add_argument_group(group.title), _help_texts(group)
            for one in own:
                arguments.add_argument(
                    option_name(one.name), **_argument(one, hints[one.name], helps[one.name])
                )
    return parser


def parse_options(parser: OptionsParser, options: type[Options], arguments: Sequence[str]) -> Options:
    """Parse arguments into the dataclass that the parser was made from; exit with status 2 where they do not fit.

    An option that takes several values may be given once: argparse would keep the values after the last one alone,
    which is not what anyone means by ``--inputs S2L2A --inputs DEM``.
    """
    # argparse has no public list of its options
    for action in parser._actions:
        given = [word for word in arguments if word.partition("=")[0] in action.option_strings]
        if action.nargs == "+" and len(given) > 1:
            name = action.option_strings[0]
            parser.error(f"{name} is given {len(given)} times; name all values after one {name}")
    parsed = parser.parse_args(arguments)
    return options(**{one.name: getattr(parsed, one.name) for one in fields(options)})


def _help_texts(group: type[OptionGroup]) -> Mapping[str, str]:
    """Return the help text of each option, which is what the dataclass's docstring says of the attribute."""
    documented = docstring_parser.parse(group.__doc__ or "", docstring_parser.DocstringStyle.GOOGLE)
    return {entry.arg_name: " ".join((entry.description or "").split()) for entry in documented.params}


def _argument(option: Field[Any], hint: Any, text: str) -> dict[str, Any]:
    """Return the keywords of `add_argument` for a field of a dataclass.

    A flag takes no value; a sequence takes one or more words, each of its items' type.
    """
    required, choices = option.default is MISSING, option.metadata.get("choices")
    default: Any = option.default
    text = text.removesuffix(".")
    if known := option.metadata.get("known"):
        text += f": {', '.join(known())}"
    # a field's type is a text where its module postpones annotations
    if option.type in ("bool", bool):
        return {"action": "store_true", "help": text}
    several = get_origin(hint) is Sequence
    if several:
        # `Sequence[str]` → `str`, the type of one word
        [hint] = get_args(hint)
        default = list(default)
    if not required and default not in (None, []):
        text += f" (default: {' '.join(default) if several else default})"
    return {
        "type": hint,
        # argparse formats help texts by %
        "help": text.replace("%", "%%"),
        "metavar": f"{{{','.join(choices)}}}" if choices else option.metadata["metavar"],
        **({"nargs": "+"} if several else {}),
        **({"required": True} if required else {"default": default}),
    }
