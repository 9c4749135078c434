"""Counting what became of attacks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

FINE = ("refused", "harmless", "recovered")
"""What may become of an attack: an error of ours that names it, nothing at all, or the same end as without it."""


@dataclass
class Tally:
    """Outcomes of one kind of attack.

    Attributes:
        name: What kind.
        counts: How often each outcome of `FINE` was met.
        failures: What happened in each other case.
    """

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, what: str, outcome: str) -> None:
        """Notes one attack.

        Args:
            what: Which.
            outcome: One of `FINE`, or what went wrong.
        """
        self.counts[outcome if outcome in FINE else "failed"] += 1
        if outcome not in FINE:
            self.failures.append(f"{what}: {outcome}")

    def __str__(self) -> str:
        cells = "".join(f"{self.counts[outcome]:>11}" for outcome in (*FINE, "failed"))
        return f"{self.name:<38}{self.counts.total():>8}{cells}"


HEADING = f"{'attack':<38}{'tried':>8}" + "".join(f"{outcome:>11}" for outcome in (*FINE, "failed"))
