"""The model card of the demo's generator, written by the command that trains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from demo.world.scenes import GENERATOR_HELD_OUT, GENERATOR_SCENES
from tools.demo_generator.score import Scores
from tools.demo_generator.training import Schedule

TEMPLATE: Final = """# Model card: the demo's generator

A small TerraMind (TerraTorch's own classes, width 72, {parameters:.1f} M parameters) with two small VQ-VAE
tokenizers for LULC and NDVI. It knows a procedural world only. It shows that the pipeline works; it maps
nothing real.

## Training

- Data: {train_scenes} procedural scenes of 256 x 256 pixels at 10 m with four timesteps each (`demo.world.scenes`,
  numbers from {first_scene}, seed {seed}), in random windows of 128 px, turned and mirrored. No fine-tune
  draws from these numbers. No real imagery; class medians as measured on TerraMesh chips.
- Steps: {steps}.
- Objective: masked-token prediction from random subsets of S2L2A, S1RTC and DEM, some of the target's tokens
  shown in part of the steps; cross-entropy over the codes, and the error of the map that the expected codes
  decode to.
- Command: `python -m tools.demo_generator --out DIR --seed {seed}`. Deterministic from the seed on one
  machine; equal bytes are tested on a plan of two steps.
- Weights are stored as float16 and scored as stored.

## Scores on held-out scenes

{windows} chips of {scenes} scenes (numbers from {first_held_out}), one timestep each. Share of pixels that
agree with the true map; generation by TerraTorch's `TerraMindGeneration`, one step, most probable token.

| map | ten-class LULC | five NYC classes |
|---|---|---|
{rows}

| LULC tokens predicted from | exactly right |
|---|---|
{token_rows}

NDVI tokenizer: mean absolute error of the reconstruction {ndvi_error:.3f}. The nearest-spectrum rules know
the true class medians; the most frequent class is that of the held-out chips themselves.
"""


def agreement_rows(scores: Scores) -> list[tuple[str, str, str]]:
    """Return rows of the table of maps: source, agreement with ten classes, agreement with five."""
    maps = scores.maps | {"LULC tokenizer's reconstruction of the truth": scores.reconstruction}
    return [(name, f"{value.classes:.1%}", f"{value.macro:.1%}") for name, value in maps.items()]


def model_card(
    scores: Scores, parameters: int, seed: int, scenes: int, schedules: Mapping[str, Schedule]
) -> str:
    """Write the card.

    Args:
        scores: Scores on held-out scenes.
        parameters: Number of parameters of the network.
        seed: Seed of the training.
        scenes: How many scenes it trained on.
        schedules: How long each part was trained, by its name.

    Returns:
        Markdown.
    """
    return TEMPLATE.format(
        parameters=parameters / 1e6,
        seed=seed,
        train_scenes=scenes,
        first_scene=GENERATOR_SCENES.start,
        steps=", ".join(f"{name} {plan.steps} of {plan.batch} windows" for name, plan in schedules.items()),
        rows="\n".join(f"| {' | '.join(row)} |" for row in agreement_rows(scores)),
        token_rows="\n".join(f"| {name} | {value:.1%} |" for name, value in scores.tokens.items()),
        windows=scores.windows,
        scenes=scores.scenes,
        first_held_out=GENERATOR_HELD_OUT.start,
        ndvi_error=scores.ndvi_error,
    )
