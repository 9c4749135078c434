"""What a store's attributes must hold before anything else is read of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import Field

from augment_store.errors import StoreError
from augment_store.history import LONGEST_HISTORY
from augment_store.schema import Extent
from augment_store.spec import GenerationSpec
from augment_store.typed import Unfit, parse

MOST_SHARD_CHIPS: Final = 65_536


@dataclass(frozen=True)
class Header:
    """The attributes that decide how a store is read.

    Attributes:
        spec: What made it.
        extent: Sizes of its chips.
        shard_chips: Chips per shard.
        audit: Findings of input audits that a user accepted.
        history: Commands that wrote to the store, see `augment_store.history`.
    """

    spec: GenerationSpec
    extent: Extent
    shard_chips: Annotated[int, Field(ge=1, le=MOST_SHARD_CHIPS)]
    audit: list[dict[str, str]]
    history: Annotated[str, Field(max_length=LONGEST_HISTORY)] = ""

    @classmethod
    def read(cls, attributes: Mapping[str, Any], path: Path) -> Self:
        """Reads them.

        Raises:
            StoreError: If one is missing, of another type or out of bounds.
        """
        try:
            return parse(cls, dict(attributes))
        except Unfit as error:
            raise StoreError(f"{path}: attribute {error}; the store is damaged") from error
