"""Which units a chip set's values are in on disk: by its layout, unless a command says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from augment_store.chips.layouts import Layout
from augment_store.modalities.definitions import NATIVE, S1_MODALITIES, S2_MODALITIES


@dataclass(frozen=True)
class Units:
    """How values on disk become TerraMind's pretraining units.

    Attributes:
        s1_unit: Unit of radar on disk, one of `S1_UNITS`; what is not dB is converted to it.
        s2_offset: Subtracted from Sentinel-2, in reflectance × 10⁴ (1000 if the offset of processing baseline 04.00
            or later was left in).
    """

    s1_unit: str = "dB"
    s2_offset: float = 0.0

    @classmethod
    def of(cls, layout: Layout, s1_unit: str | None = None, s2_offset: float | None = None) -> Self:
        """Return the units by the layout, unless the command line says otherwise.

        Args:
            layout: Layout of the chip set.
            s1_unit: One of `S1_UNITS`, or None for the layout's.
            s2_offset: The offset, or None for the layout's.
        """
        return cls(s1_unit or layout.s1_unit, layout.s2_offset if s2_offset is None else s2_offset)

    def offset(self, modality: str) -> float:
        """Return the offset of one modality, in its unit on disk."""
        return self.s2_offset if modality in S2_MODALITIES else 0.0

    def name(self, modality: str) -> str:
        """Return ``native``, ``linear`` or ``amplitude``, as the generation spec records it."""
        return self.s1_unit if modality in S1_MODALITIES and self.s1_unit != "dB" else NATIVE
