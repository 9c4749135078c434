"""`tim-generate decode`: make the maps of a store that holds tokens alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from augment_store.io.files import check_writable
from augment_store.io.remote import as_path
from augment_store.store.history import command_line
from generate.cli.parser import OptionsParser, make_parser, parse_options
from generate.options import DeviceOptions, check_weights
from generate.requests import DecodingRequest

DESCRIPTION: Final = """\
Makes the maps of a store that was generated with --arrays tokens, into a store of their own: the one that generate
would have made at once, to the last bit. If interrupted, the same command resumes."""

EXAMPLES: Final = """
tim-generate decode --tokens stores/lulc_tokens --store stores/lulc
tim-generate decode --tokens stores/lulc_tokens --store stores/lulc --weights folder/with/weights
"""


@dataclass(frozen=True)
class DecodeOptions(DeviceOptions):
    """Options of decoding.

    Attributes:
        tokens: Store that holds the tokens: a folder, or its URL.
        store: Store to make or resume: a folder, or its s3:// or gs:// URL.
        weights: Hugging Face cache, a folder with the published files, or untrained weights (default: random for
            tokens of random weights, else hub).
        quiet: Report no progress; results are still printed.
    """

    title: ClassVar[str] = "stores"

    tokens: str | Path = field(kw_only=True, metadata={"metavar": "DIR"})
    store: str | Path = field(kw_only=True, metadata={"metavar": "DIR"})
    weights: str | Path | None = field(default=None, kw_only=True, metadata={"metavar": "hub|DIR|random"})
    quiet: bool = field(default=False, kw_only=True)

    def request(self) -> DecodingRequest:
        """Check the options, and say what is to be decoded.

        Raises:
            AugmentStoreError: If a value is invalid, or the store cannot be written.
        """
        given = self.checked()
        check_writable("--store", as_path(given.store))
        weights = None if given.weights is None else str(given.weights)
        if weights is not None:
            check_weights(weights)
        device = given.device_request()
        return DecodingRequest(as_path(given.tokens), as_path(given.store), device, weights, given.workers)


def decode_parser() -> OptionsParser:
    """Return the parser of `tim-generate decode`."""
    return make_parser("tim-generate decode", DESCRIPTION, EXAMPLES, DecodeOptions)


def prepare(arguments: Sequence[str]) -> Callable[[], int]:
    """Parse arguments; exit with status 2 where they do not fit, or return the work to do."""
    options = parse_options(decode_parser(), DecodeOptions, arguments)
    return lambda: run(options, command_line("generate", ["decode", *arguments]))


def run(options: DecodeOptions, command: str) -> int:
    """Decode; return 1 if chips failed."""
    request = options.request()
    from generate.decode import run_decoding  # torch and TerraTorch are imported here, when work starts

    return run_decoding(request, command, quiet=options.quiet)
