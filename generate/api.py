"""Generation as a function, for notebooks; it takes the same options as the command and does the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TypedDict, Unpack

from augment_store.store.history import command_line
from augment_store.store.writer import AugmentStore
from generate.options import OptionsError, generate_options, generate_parser


class GenerateKeywords(TypedDict, total=False):
    """Options of `python -m generate`, their names with underscores; defaults and meanings are the command's."""

    generator: str
    weights: str | Path
    modality: str
    layout: str | Path
    split: Sequence[str | Path]
    inputs: Sequence[str]
    s1_unit: str
    s2_offset: float
    scenes: str | Path
    temperature: float
    top_k: int
    top_p: float
    decoding_steps: int
    samples: int
    seed: int
    diffusion_steps: int
    window: int
    probabilities: bool
    network_batch: int
    workers: int
    shard_chips: int
    accelerator: str
    devices: str | int
    num_nodes: int
    precision: str
    accept_audit: bool


def generate(chips: str | Path, store: str | Path, **options: Unpack[GenerateKeywords]) -> AugmentStore:
    """Generates what is missing from a store, as `python -m generate` does.

    Args:
        chips: Root folder of the chip set, or its URL.
        store: Folder of the store to make or resume, or its s3:// or gs:// URL.
        **options: Any of `GenerateKeywords`, for example ``modality="NDVI"``, ``inputs=["S1RTC"]``, ``samples=4``;
            `python -m generate --help` says what each is for. Options left out, or None, take the command's default.

    Returns:
        The store, open for reading; ``store.chips_in(State.FAILED)`` names chips that could not be generated.

    Raises:
        AugmentStoreError: If the options, chips, weights or store are invalid.
    """
    from generate.run import run_generate  # torch and TerraTorch are imported here, when work starts

    parser = generate_parser()
    parser.error = _refuse  # type: ignore[method-assign] # a notebook must not end with exit status 2
    words = ["--chips", str(chips), "--store", str(store), *_words(options)]
    run_generate(generate_options(parser.parse_args(words)), command_line("generate", words))
    return AugmentStore.open(store)


def _words(options: GenerateKeywords) -> Iterator[str]:
    """Keyword arguments as the words of a command line, so that one parser checks both."""
    for name, value in options.items():
        if value is None or value is False:
            continue
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, list | tuple):
            yield from (option, *map(str, value))
        else:  # as one word, since a value may begin with a dash
            yield option if value is True else f"{option}={value}"


def _refuse(message: str) -> NoReturn:
    raise OptionsError(f"{message}; python -m generate --help lists the options")
