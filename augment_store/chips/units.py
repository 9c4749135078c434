"""Which units a chip set's values are in on disk: by its layout, unless a command says otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from augment_store.chips.layouts import Layout
from augment_store.modalities import S1_MODALITIES, S2_MODALITIES
from augment_store.spec import InputSpec


@dataclass(frozen=True)
class Units:
    """How values on disk become TerraMind's pretraining units.

    Attributes:
        s1_linear: Whether radar is linear power on disk, to be converted to dB.
        s2_offset: Subtracted from Sentinel-2, in reflectance × 10⁴ (1000 if the offset of processing baseline 04.00
            or later was left in).
    """

    s1_linear: bool = False
    s2_offset: float = 0.0

    @classmethod
    def of(cls, layout: Layout, s1_unit: str | None = None, s2_offset: float | None = None) -> Self:
        """Units by the layout, unless the command line says otherwise.

        Args:
            layout: Layout of the chip set.
            s1_unit: ``dB``, ``linear``, or None for the layout's.
            s2_offset: The offset, or None for the layout's.
        """
        offset = layout.s2_offset if s2_offset is None else s2_offset
        return cls(s1_linear=(s1_unit or layout.s1_unit) == "linear", s2_offset=offset)

    def offset(self, modality: str) -> float:
        """Offset of one modality, in its unit on disk."""
        return self.s2_offset if modality in S2_MODALITIES else 0.0

    def name(self, modality: str) -> str:
        """``linear`` or ``native``, as the generation spec records it."""
        return "linear" if modality in S1_MODALITIES and self.s1_linear else "native"


def units_on_disk(modality: str, layout: Layout, inputs: Iterable[InputSpec]) -> tuple[bool, float]:
    """Whether a modality is linear power on disk, and its offset.

    Args:
        modality: Name of an input modality.
        layout: Layout of the chip set.
        inputs: How a generator took its inputs, since a command may have said otherwise than the layout.
    """
    taken = next((entry for entry in inputs if entry.name == modality), None)
    if taken is None:
        units = Units.of(layout)
        return units.name(modality) == "linear", units.offset(modality)
    return taken.unit == "linear", taken.offset
