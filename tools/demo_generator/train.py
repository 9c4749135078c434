"""Trains the demo's generator from nothing, and scores it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from safetensors.torch import save_file
from torch import nn

from demo.generator.registration import SOURCE, load_generator, terramind_demo_generate
from demo.world.scenes import GENERATOR_HELD_OUT, GENERATOR_SCENES, Raster, draw_scene
from tools.demo_generator.card import agreement_rows, model_card
from tools.demo_generator.initial import initialise
from tools.demo_generator.samples import LULC, NDVI
from tools.demo_generator.score import Trained, score
from tools.demo_generator.training import Report, Schedule, deterministic, train_network, train_tokenizer

THREADS: Final = 2


@dataclass(frozen=True)
class Plan:
    """How much to train.

    Attributes:
        scenes: Training scenes of 2 x 2 chips.
        held_out: Scenes to score on.
        lulc: Schedule of the LULC tokenizer.
        ndvi: Schedule of the NDVI tokenizer.
        network: Schedule of the network.
    """

    scenes: int
    held_out: int
    lulc: Schedule
    ndvi: Schedule
    network: Schedule


PLAN: Final = Plan(
    scenes=100,
    held_out=24,
    lulc=Schedule(steps=500, batch=32, peak=2e-3),
    ndvi=Schedule(steps=150, batch=32, peak=2e-3),
    network=Schedule(steps=1500, batch=16, peak=2e-3),
)
"""What the shipped weights were trained with."""


def stored(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a module's tensors as they go into a file: float16, tied output layers left out."""
    return {
        key: value.detach().half().clone().contiguous()
        for key, value in module.state_dict().items()
        if not key.endswith(".to_logits.weight")
    }


def save(trained: Trained, folder: Path) -> None:
    """Write network and tokenizers under the names the catalogue entry has."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(stored(trained.network), folder / SOURCE.network.filename)
    save_file(stored(trained.tokenizers[LULC]), folder / SOURCE.tokenizers["LULC"].filename)
    save_file(stored(trained.tokenizers[NDVI]), folder / SOURCE.tokenizers["NDVI"].filename)


@contextmanager
def shown(progress: Progress, what: str, total: int) -> Iterator[Report]:
    """Show a progress bar as a `Report`: steps done, and the mean loss of the last fifty."""
    task = progress.add_task(what, total=total)
    losses: list[float] = []

    def report(step: int, loss: float) -> None:
        losses.append(loss)
        progress.update(task, completed=step, description=f"{what}, loss {np.mean(losses[-50:]):.3f}")

    yield report


def draw_scenes(numbers: range, seed: int, progress: Progress, what: str) -> list[Raster]:
    """Draw scenes of 2 x 2 chips, with a progress bar."""
    return [draw_scene(number, seed=seed) for number in progress.track(numbers, description=what)]


def train(plan: Plan, seed: int, folder: Path, progress: Progress) -> None:
    """Train tokenizers and network and write the weight files.

    Args:
        plan: How much to train.
        seed: Seed of the scenes, the initial weights and the batches.
        folder: Where the weight files go.
        progress: Where the progress is shown.
    """
    scenes = draw_scenes(GENERATOR_SCENES[: plan.scenes], seed, progress, "scenes")
    rng = np.random.default_rng([seed, GENERATOR_SCENES.start])
    names = ["S2L2A", "S1RTC", "DEM", "LULC", "NDVI"]
    with deterministic(seed, THREADS):
        model = terramind_demo_generate(modalities=names, output_modalities=names[3:])
        tokenizers = {key: model.tokenizer[key] for key in (LULC, NDVI)}
        for key, schedule in ((LULC, plan.lulc), (NDVI, plan.ndvi)):
            with shown(progress, f"tokenizer {key}", schedule.steps) as report:
                train_tokenizer(tokenizers[key], key, scenes, rng, schedule, report)
        network = model.sampler.model
        initialise(network, tokenizers)
        with shown(progress, "network", plan.network.steps) as report:
            train_network(network, tokenizers, scenes, rng, plan.network, report)
    save(Trained(network, tokenizers), folder)


def evaluate(plan: Plan, seed: int, folder: Path, progress: Progress, console: Console) -> None:
    """Score the weight files on held-out scenes, print the figures and write the model card."""
    scenes = draw_scenes(GENERATOR_HELD_OUT[: plan.held_out], seed, progress, "held-out scenes")
    model = load_generator(folder)
    network = model.sampler.model
    with deterministic(seed, THREADS):
        scores = score(Trained(network, dict(model.tokenizer.items())), scenes)
    table = Table("map", "ten classes", "five classes", title="agreement with the true map, held-out scenes")
    for row in agreement_rows(scores):
        table.add_row(*row)
    console.print(table)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    schedules = {"LULC tokenizer": plan.lulc, "NDVI tokenizer": plan.ndvi, "network": plan.network}
    card = model_card(scores, parameters, seed, plan.scenes, schedules)
    (folder / "CARD.md").write_text(card)


def make(folder: Path, seed: int) -> None:
    """Train the generator, score it, and write weights and model card into a folder."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        train(PLAN, seed, folder, bar)
        evaluate(PLAN, seed, folder, bar, console)
    console.print(f"wrote {folder}")
