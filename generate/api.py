"""Generation as a function, for notebooks and scripts; it takes the options of the command and does the same."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import fields
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from augment_store.io.remote import as_path
from augment_store.store.history import command_line
from augment_store.store.writer import AugmentStore
from generate.options import GenerateOptions, option_name

Keywords = ParamSpec("Keywords")
Options = TypeVar("Options")
Options_contra = TypeVar("Options_contra", contravariant=True)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class TakesOptions(Protocol[Keywords, Options_contra, Result_co]):
    """A function of an options object that can also be called with the object's own keywords."""

    @overload
    def __call__(self, options: Options_contra, /) -> Result_co: ...

    @overload
    def __call__(self, *args: Keywords.args, **kwargs: Keywords.kwargs) -> Result_co: ...


def takes_options(
    make: Callable[Keywords, Options],
) -> Callable[[Callable[[Options], Result]], TakesOptions[Keywords, Options, Result]]:
    """Let a function of an options object be called with the object's own keywords.

    The function gets the signature of the dataclass, which type checkers read from the types here, and Jupyter and
    `help` from ``__signature__``.

    Args:
        make: The dataclass of the options.
    """

    def decorate(function: Callable[[Options], Result]) -> TakesOptions[Keywords, Options, Result]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Result:
            # a whole options object, or else the keywords of one
            whole = len(args) == 1 and not kwargs and isinstance(args[0], make)  # type: ignore[arg-type]
            return function(args[0] if whole else make(*args, **kwargs))

        returns = inspect.signature(function).return_annotation
        call.__signature__ = inspect.signature(make).replace(return_annotation=returns)  # type: ignore[attr-defined]
        return call

    return decorate


@takes_options(GenerateOptions)
def generate(options: GenerateOptions) -> AugmentStore:
    """Generate what is missing from a store, as `tim-generate` does.

    Takes the chip set, the store and any other options as keywords, or one `GenerateOptions`, whose documentation
    says what each is for. If it was interrupted, the same call resumes.

    Returns:
        The store, open for reading; ``store.chips_in(State.FAILED)`` names chips that could not be generated.

    Raises:
        AugmentStoreError: If the options, chips, weights or store are invalid.

    Example:
        >>> generate("data/nyc", "stores/ndvi", modality="NDVI", inputs=["S1RTC"], samples=4)  # doctest: +SKIP
    """
    request = options.request()
    from generate.run import run_generation  # torch and TerraTorch are imported here, when work starts

    run_generation(request, command_line("generate", list(option_words(options))))
    return AugmentStore.open(as_path(options.store))


def option_words(options: Any, leave_out: Collection[str] = ()) -> Iterator[str]:
    """Yield the words of a command line that ask for the same, for a store's history.

    Args:
        options: A dataclass whose fields are options.
        leave_out: Fields that are something else.
    """
    for one in fields(options):
        value = getattr(options, one.name)
        # a command as short as a user would type it
        if value == one.default or one.name in leave_out:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str):
            yield from (option_name(one.name), *map(str, value))
        elif value is True:
            yield option_name(one.name)
        else:  # as one word, since a value may begin with a dash
            yield f"{option_name(one.name)}={value}"
