"""A run's temperature: what its logits are divided by, so that stated probabilities come true (Guo et al. 2017)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from augment_store.io.files import atomic_write, read_text
from augment_store.utils.validation import load_json, parse
from finetune.errors import RunError

TEMPERATURE: Final = "temperature.json"


@dataclass(frozen=True)
class Temperature:
    """A temperature fitted on a run's validation split.

    Attributes:
        value: What logits are divided by; above 1 where the network is too sure of itself.
        checkpoint_sha256: SHA-256 of the weights that it was fitted to.
        val_ids: SHA-256 of the sorted ids of the validation chips.
        pixels: Number of pixels that it was fitted on.
        test_ids: SHA-256 of the sorted ids of the chips that its effect was measured on.
        reliability_sha256: SHA-256 of the file that says what was measured.
    """

    value: float
    checkpoint_sha256: str
    val_ids: str
    pixels: int
    test_ids: str = ""
    reliability_sha256: str = ""

    def write(self, run: Path) -> None:
        """Write it into a run directory, whole or not at all.

        Raises:
            OutputError: If it cannot be written.
        """
        atomic_write(run / TEMPERATURE, [json.dumps(dataclasses.asdict(self), indent=1).encode() + b"\n"])

    def fits(self, checkpoint_sha256: str) -> bool:
        """Tell whether it was fitted to these weights; those of another checkpoint need another."""
        return self.checkpoint_sha256 == checkpoint_sha256

    @classmethod
    def read(cls, run: Path) -> Self | None:
        """Read the temperature of a run; None if none was fitted.

        Raises:
            RunError: If the file is damaged.
        """
        path = run / TEMPERATURE
        if not path.is_file():
            return None
        try:
            found = parse(cls, load_json(read_text(path)))
            if not 0 < found.value < float("inf"):
                raise ValueError(f"temperature {found.value}, expected a number above 0")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{path}: not a temperature ({error}); fit it again with tim-eval score --calibrate"
            ) from error
        return found
