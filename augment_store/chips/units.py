"""Which units a chip set's values are in on disk: by its layout, unless a command says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from augment_store.chips.layouts import Layout
from augment_store.modalities.definitions import S1_MODALITIES, S2_MODALITIES


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
