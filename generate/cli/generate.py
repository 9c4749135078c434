"""`tim-generate`: write tokens and maps of a chip set into an augment store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from augment_store.store.history import command_line
from generate.cli.parser import OptionsParser, make_parser, parse_options
from generate.options import GenerateOptions, check_weights, locate_published

DESCRIPTION: Final = """\
Runs TerraMind in generate mode over a chip set and writes tokens and maps into an augment store.
If interrupted, the same command resumes.

There are subcommands:
  audit    compare the inputs with what TerraMind was pretrained on (tim-generate audit --help)
  decode   make the maps of a store that was generated with --arrays tokens (tim-generate decode --help)"""

EXAMPLES: Final = """
tim-generate audit --chips data/nyc
tim-generate --chips data/nyc --store stores/lulc --dry-run
tim-generate --chips data/nyc --store stores/lulc
tim-generate --chips data/nyc --store stores/s1only --inputs S1RTC --samples 3
tim-generate --chips data/nyc --store stores/ndvi --modality NDVI --weights folder/with/weights
tim-generate --chips data/nyc --store stores/lulc_tokens --arrays tokens
tim-generate --chips data/large --store stores/windows --window 224
tim-generate --chips s3://chips/nyc --store s3://maps/nyc_lulc
tim-generate --chips tiles --layout my_layout.yaml --scenes scenes.csv --store stores/mine
"""


@dataclass(frozen=True)
class CommandOptions(GenerateOptions):
    """Options of the command that the Python function has no use for.

    Attributes:
        dry_run: Print the plan and stop; needs neither weights nor network.
        quiet: Report no progress; results are still printed.
    """

    title: ClassVar[str] = "command"

    dry_run: bool = field(default=False, kw_only=True)
    quiet: bool = field(default=False, kw_only=True)


def generate_parser() -> OptionsParser:
    """Return the parser of `tim-generate`."""
    return make_parser("tim-generate", DESCRIPTION, EXAMPLES, CommandOptions)


def prepare(arguments: Sequence[str]) -> Callable[[], int]:
    """Parse arguments; exit with status 2 where they do not fit, or return the work to do."""
    options = parse_options(generate_parser(), CommandOptions, arguments)
    return lambda: run(options, command_line("generate", arguments))


def run(options: CommandOptions, command: str) -> int:
    """Generate, or print the plan; return 1 if chips failed."""
    request = options.request()  # before torch is imported, so that mistakes are reported at once
    if not options.dry_run:
        check_weights(request.maps.weights)
        locate_published(request.maps)
    from generate.run import run_generation, show_plan

    return show_plan(request) if options.dry_run else run_generation(request, command, quiet=options.quiet)
