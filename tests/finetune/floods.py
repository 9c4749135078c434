"""A small chip set as Sen1Floods11 publishes its own, which the shipped sen1floods11 YAMLs train on."""

from pathlib import Path

from augment_store.chips.chip_set import ChipSet
from tests.worlds import World, write_sen1floods11

CHIPS = {
    "train": ("Ghana_11", "Ghana_12", "India_21", "Mekong_31"),
    "valid": ("Ghana_13", "India_22"),
    "test": ("Ghana_14", "India_23", "Mekong_32"),
}
"""Splits by chip, so that train, validation and test share floods, as the published ones do."""


class Floods(World):
    """Sen1Floods11's hand-labelled chips, one timestep."""

    @property
    def chips(self) -> ChipSet:
        return ChipSet.open(self.root, "sen1floods11")


def make_floods(root: Path, size: int = 32) -> Floods:
    """Writes the chips of `CHIPS`, labels −1, 0 and 1 in their masks."""
    write_sen1floods11(root, [chip_id for ids in CHIPS.values() for chip_id in ids], size)
    for split, ids in CHIPS.items():
        lines = [f"{chip_id}_S1Hand.tif,{chip_id}_LabelHand.tif\n" for chip_id in ids]
        (root / "splits" / "flood_handlabeled" / f"flood_{split}_data.csv").write_text("".join(lines))
    return Floods(root)
