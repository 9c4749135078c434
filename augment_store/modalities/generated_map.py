"""What every generated map has, whatever its family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from augment_store.modalities.definitions import LegendClass, Modality
from augment_store.modalities.map_arrays import MapArray, token_arrays
from augment_store.modalities.rendering import Picture


@dataclass(frozen=True)
class GeneratedMap(ABC):
    """A modality that a generator can make.

    Attributes:
        modality: Its bands, unit and pretraining statistics.
    """

    modality: Modality

    continuous: ClassVar[bool]
    encoding: ClassVar[str]
    """How it enters a fine-tune by default."""

    @property
    def name(self) -> str:
        """Name of the modality."""
        return self.modality.name

    @property
    def array(self) -> str:
        """Name of its main array in the store."""
        return self.modality.name.lower()

    @property
    def quantity(self) -> str:
        """Describe what `codes` and `mean` count."""
        return self.name

    @property
    @abstractmethod
    def legend(self) -> tuple[LegendClass, ...]:
        """Legend of its codes: classes, or bins of a continuous value."""

    @property
    @abstractmethod
    def diffusion_steps(self) -> int | None:
        """Default rounds of its tokenizer's diffusion decoder; None if the decoder is another kind."""

    @property
    @abstractmethod
    def drawn_by_legend(self) -> bool:
        """Say whether its picture has the legend's colors, so that a legend explains it."""

    @abstractmethod
    def arrays(self, *, probabilities: bool) -> tuple[MapArray, ...]:
        """Return the arrays it has beside the tokens, the main one first."""

    def all_arrays(
        self, *, probabilities: bool, codebooks: int, windows: bool = False, tokens_only: bool = False
    ) -> tuple[MapArray, ...]:
        """Return every array of tokens or maps in its store."""
        tokens = token_arrays(self.name, codebooks, windows=windows)
        return tokens if tokens_only else (*tokens, *self.arrays(probabilities=probabilities))

    @abstractmethod
    def codes(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the position in `legend` of each pixel of stored values; `NO_CODE` where a value is missing."""

    @abstractmethod
    def same(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
        """Return at which pixels two arrays of stored values agree; never where either has no value."""

    @abstractmethod
    def mean(self, values: NDArray[Any]) -> float:
        """Return the mean of stored values in their unit; NaN if there are none, or if they are classes."""

    @abstractmethod
    def picture(self, values: NDArray[Any]) -> Picture:
        """Draw one map of stored values."""
