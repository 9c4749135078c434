"""What `tim-demo` does, as the commands a user would type."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from augment_store.store.history import SCRIPTS, command_line

CONFIG: Final = Path(__file__).parent / "configs" / "demo.yaml"


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        title: What it is for.
        module: Module that `python -m` runs.
        arguments: Its arguments.
    """

    title: str
    module: str
    arguments: tuple[str, ...]

    @property
    def command(self) -> str:
        """Return the command as a user would type it."""
        if self.module in SCRIPTS:
            return command_line(self.module, self.arguments)
        return shlex.join(["python", "-m", self.module, *self.arguments])  # the world has no script

    def run(self) -> int:
        """Run the command in this process, which saves importing TerraTorch again; return its exit status."""
        main: Callable[[Sequence[str]], int] = importlib.import_module(f"{self.module}.__main__").main
        return main(self.arguments)


def stages(out: Path, seed: int, *, quick: bool) -> tuple[Stage, ...]:
    """Return the commands of the demo, in order.

    Args:
        out: Folder that everything goes into.
        seed: Seed of the world, the generation and the fine-tunes.
        quick: Fewer scenes and epochs.
    """
    chips, store, report = str(out / "chips"), str(out / "stores" / "lulc"), str(out / "report")
    # two equal fine-tunes, of which only the second sees the generated maps
    arms = {"baseline": (), "tim_lulc": ("--augment", store)}
    scenes = ("--train", "3", "--val", "1", "--test", "3") if quick else ()
    seeded = ("--seed", str(seed))
    shorter = ("--trainer.max_epochs", "3") if quick else ()
    # top-k 1 takes the likeliest token each time, where others would draw one
    generator = ("--generator", "demo", "--accelerator", "cpu", "--top-k", "1", "--shard-chips", "16")
    fit = ("fit", "--config", str(CONFIG), "--chips", chips, *seeded)
    # each command reads what those before it have written
    return (
        Stage("Chips of a procedural world", "demo.world", ("--chips", chips, *scenes, *seeded)),
        Stage("Are the inputs what TerraMind expects?", "generate", ("audit", "--chips", chips)),
        Stage("Generate LULC", "generate", ("--chips", chips, "--store", store, *generator, *seeded)),
        Stage("Can the store be trusted?", "augment_store", ("verify", store, "--chips", chips)),
        Stage(
            "Look at the maps",
            "augment_store",
            ("inspect", store, "--chips", chips, "--png", str(out / "maps.png")),
        ),
        *(
            Stage(
                f"Fine-tune: {arm}", "finetune", (*fit, *augment, "--run", str(out / "runs" / arm), *shorter)
            )
            for arm, augment in arms.items()
        ),
        Stage(
            "Did it help?",
            "eval",
            (
                *("compare", "--baseline", str(out / "runs" / "baseline")),
                *("--candidate", str(out / "runs" / "tim_lulc"), "--out", report),
            ),
        ),
    )
