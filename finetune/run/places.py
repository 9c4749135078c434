"""Where the chips and the store of a run are now; it imports no torch, so that a wrong place is reported at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augment_store.store import AugmentStore
from finetune.data.checks import open_chips


@dataclass(frozen=True)
class Places:
    """Where things are now, if they have moved since the run was made.

    Attributes:
        chips: Root folder of the chip set.
        store: Folder of the augment store.
        layout: Layout of the chips there, a name or a file.
    """

    chips: Path | None = None
    store: Path | None = None
    layout: str | None = None

    def check(self) -> None:
        """Makes sure that there are chips and a store where they are said to be.

        Raises:
            AugmentStoreError: If there are not.
        """
        if self.chips is not None:
            open_chips(self.chips, self.layout)
        if self.store is not None:
            AugmentStore.open(self.store)
