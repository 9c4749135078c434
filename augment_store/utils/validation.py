"""Reading plain values from files into typed dataclasses: what does not fit is named in one line."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any, Final, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter
from pydantic import ValidationError as PydanticError

from augment_store.utils.text import did_you_mean

Model = TypeVar("Model")

MAX_VALUES: Final = 100_000

STRICT: Final = ConfigDict(extra="forbid")
"""For dataclasses that files are read into: a key that this version does not know is refused."""


class ValidationError(ValueError):
    """A value is missing, of another type, or out of bounds; the message names its key."""


@functools.cache
def _type_adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parse(kind: type[Model], plain: Any) -> Model:
    """Build a dataclass, with all that is nested in it, from plain values as JSON or YAML give them.

    Types are not converted (``"3"`` is not a number), lists become tuples, and unknown keys are refused where the
    dataclass has ``__pydantic_config__ = STRICT``.

    Raises:
        ValidationError: Naming the first key that does not fit and what was found there.
    """
    try:
        adapter: TypeAdapter[Model] = _type_adapter(kind)  # type: ignore[arg-type] # a class is hashable
        # through JSON, since strict mode takes lists for tuples only there; dates of YAML become text
        return adapter.validate_json(json.dumps(plain, default=str), strict=True)
    except (PydanticError, ValueError, RecursionError) as error:
        raise ValidationError(_first_problem(error, kind)) from error


def load_json(text: str | bytes) -> Any:
    """Return the plain values of a JSON text.

    Raises:
        ValueError: If it is not JSON, or nested deeper than Python can walk.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValidationError("nested too deep") from error


def load_yaml(text: str) -> Any:
    """Return the plain values of a YAML text.

    With aliases, a few lines can stand for any number of values, which would take forever to walk; so they are
    counted first.

    Raises:
        yaml.YAMLError: If it is not YAML.
        ValidationError: If it stands for more than `MAX_VALUES` values, or is nested deeper than Python can walk.
    """
    try:
        values = yaml.safe_load(text)
        count = _count_values(values, {})
    except RecursionError as error:
        raise ValidationError("nested too deep") from error
    if count > MAX_VALUES:
        raise ValidationError(
            f"stands for more than {MAX_VALUES:,} values, aliases counted where they are used"
        )
    return values


def _count_values(value: Any, known: dict[int, int]) -> int:
    """Count the values that a nested value stands for; what an alias repeats is counted once and multiplied."""
    if not isinstance(value, dict | list):
        return 1
    # by identity: an alias is the same object again
    if id(value) not in known:
        known[id(value)] = MAX_VALUES + 1  # for a value that holds itself
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count_values(part, known) for part in parts)
    return known[id(value)]


def _first_problem(error: Exception, kind: Any) -> str:
    if not isinstance(error, PydanticError):
        return str(error)
    problems = error.errors(include_url=False)
    # a key that is misspelled is missing too, and what is written in the file is told first
    unknown = [found for found in problems if found["type"] == "unexpected_keyword_argument"]
    found = (unknown or problems)[0]
    # the value as a whole has an empty location
    key = ".".join(map(str, found["loc"])) or "the whole"
    shown = "" if found["type"] == "missing" else f", found {str(found['input'])[:60]!r}"
    if not unknown:
        return f"{key}: {found['msg']}{shown}"
    *parents, last = found["loc"]
    # of a nested value only keys that are missing are known: the unknown one would be offered itself
    beside = [
        str(other["loc"][-1])
        for other in problems
        if other["type"] == "missing" and [*other["loc"][:-1]] == parents
    ]
    known = beside if parents else [field.name for field in dataclasses.fields(kind)]
    return f"{key}: no such key{did_you_mean(str(last), known) or shown}"
