"""How the generator learns: tokenizers by reconstruction, the network by masked-token prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from terratorch.models.backbones.terramind.model.terramind import TerraMind
from terratorch.models.backbones.terramind.tokenizer.vqvae import VQVAE
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own abbreviation

from augment_store.modalities.definitions import PATCH_SIZE
from demo.world.scenes import CHIP_SIDE, Raster
from tools.demo_generator.prediction import decode_expected, predict, tokenize
from tools.demo_generator.samples import DEM, LULC, NDVI, S1, S2, Batch, draw_batch

INPUT_SETS: Final[tuple[tuple[tuple[str, ...], float], ...]] = (
    ((S2, S1, DEM), 0.35),
    ((S2,), 0.20),
    ((S1,), 0.20),
    ((S2, S1), 0.05),
    ((S1, DEM), 0.12),
    ((S2, DEM), 0.05),
    ((DEM,), 0.03),
)
"""Which inputs a training step shows the encoder, and how often."""
NDVI_SHARE: Final = 0.15
"""Share of the steps that predict NDVI instead of LULC."""
REVEAL_SHARE: Final = 0.3
"""Share of the steps that show the encoder some of the target's own tokens, as multi-step decoding does."""
CROSS_SHARE: Final = 0.1
"""Share of the steps that show the encoder all tokens of the other target, as chained generation does."""
PIXEL_WEIGHT: Final = 4.0
"""Weight of the loss on the decoded map against the loss on the tokens."""
CLIP_NORM: Final = 1.0
TOKENS: Final = (CHIP_SIDE // PATCH_SIZE) ** 2
"""Tokens of one modality in a training window."""

Report = Callable[[int, float], None]
"""Called with the step just done and its loss."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        steps: Optimiser steps.
        batch: Windows a step.
        peak: Highest learning rate, reached after a twentieth of the steps; a cosine takes it to zero.
    """

    steps: int
    batch: int
    peak: float


@contextmanager
def deterministic(seed: int, threads: int) -> Iterator[None]:
    """Fix everything that PyTorch's results depend on, and put it back.

    Args:
        seed: Seed of PyTorch's generator, which initialises the weights.
        threads: CPU threads; sums are split by thread, so another number gives other rounding.
    """
    before, was_deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(was_deterministic)
        torch.set_num_threads(before)


def optimise(
    parameters: list[nn.Parameter], loss_at: Callable[[int], torch.Tensor], schedule: Schedule, report: Report
) -> None:
    """Run AdamW with warm-up and cosine decay.

    Args:
        parameters: What to train.
        loss_at: The loss of a step.
        schedule: Steps and learning rate; the batch size is up to `loss_at`.
        report: Called after each step.
    """
    optimiser = torch.optim.AdamW(parameters, lr=schedule.peak, betas=(0.9, 0.97), weight_decay=0.02)
    curve = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=schedule.peak, total_steps=schedule.steps, pct_start=0.05, cycle_momentum=False
    )
    for step in range(schedule.steps):
        loss = loss_at(step)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimiser.step()
        curve.step()
        report(step + 1, float(loss.detach()))


def map_loss(decoded: torch.Tensor, batch: Batch, target: str) -> torch.Tensor:
    """Loss of a decoded map: cross-entropy per pixel for LULC, absolute difference for NDVI.

    Args:
        decoded: [B, C, H, W] class logits or standardised NDVI.
        batch: The truth.
        target: TerraMind's key of the target modality.

    Returns:
        Mean loss.
    """
    return F.cross_entropy(decoded, batch.lulc) if target == LULC else F.l1_loss(decoded, batch.ndvi)


def train_tokenizer(
    tokenizer: VQVAE,
    target: str,
    scenes: list[Raster],
    rng: np.random.Generator,
    schedule: Schedule,
    report: Report,
) -> None:
    """Trains a VQ-VAE in place to reconstruct true maps.

    Args:
        tokenizer: The `VQVAE`; afterwards in evaluation mode and frozen.
        target: TerraMind's key of the modality it encodes.
        scenes: Training scenes.
        rng: Source of randomness for the batches.
        schedule: Steps, batch size and learning rate.
        report: Called after each step.
    """

    def loss_at(_: int) -> torch.Tensor:
        batch = draw_batch(rng, scenes, schedule.batch)
        decoded, _code_loss = tokenizer(batch.map_of(target))
        return map_loss(decoded, batch, target)

    trainable = [parameter for parameter in tokenizer.parameters() if parameter.requires_grad]
    optimise(trainable, loss_at, schedule, report)
    tokenizer.eval().requires_grad_(False)


@dataclass(frozen=True)
class Task:
    """What one training step shows and asks.

    Attributes:
        inputs: Modality keys shown as images.
        target: Modality key to predict.
        revealed: How many of the target's own tokens are shown.
        cross: Whether all tokens of the other target are shown.
    """

    inputs: tuple[str, ...]
    target: str
    revealed: int
    cross: bool


def draw_task(rng: np.random.Generator) -> Task:
    """Draws a step's task at random; at least one of the target's tokens stays hidden."""
    chosen = rng.choice(len(INPUT_SETS), p=[share for _, share in INPUT_SETS])
    return Task(
        inputs=INPUT_SETS[chosen][0],
        target=NDVI if rng.random() < NDVI_SHARE else LULC,
        revealed=int(rng.integers(1, TOKENS)) if rng.random() < REVEAL_SHARE else 0,
        cross=bool(rng.random() < CROSS_SHARE),
    )


def masked_token_loss(
    network: TerraMind, tokenizers: dict[str, VQVAE], batch: Batch, task: Task, order: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy over the hidden tokens, plus the loss of the map their expected codes decode to.

    Args:
        network: `TerraMind`.
        tokenizers: Frozen tokenizers by modality key.
        batch: Windows.
        task: What is shown and asked.
        order: [B, N] a random order of the positions for each window; the first ones are revealed.

    Returns:
        The loss.
    """
    target, other = task.target, NDVI if task.target == LULC else LULC
    tokens = tokenize(tokenizers[target], batch, target)
    shown, hidden = order[:, : task.revealed], order[:, task.revealed :]
    tokens_shown = {target: (tokens, shown)} if task.revealed else {}
    if task.cross:
        everywhere = torch.arange(tokens.shape[1]).expand_as(tokens)
        tokens_shown[other] = (tokenize(tokenizers[other], batch, other), everywhere)
    logits = predict(network, batch.inputs, tokens_shown, target, hidden)
    surprise = -logits.log_softmax(-1)
    code_loss = surprise.gather(2, tokens.gather(1, hidden)[..., None]).mean()
    decoded = decode_expected(tokenizers[target], torch.exp(-surprise), tokens, hidden)
    return code_loss + PIXEL_WEIGHT * map_loss(decoded, batch, target)


def train_network(
    network: TerraMind,
    tokenizers: dict[str, VQVAE],
    scenes: list[Raster],
    rng: np.random.Generator,
    schedule: Schedule,
    report: Report,
) -> None:
    """Trains TerraMind in place by masked-token prediction.

    Args:
        network: `TerraMind` with both targets among its encoder and decoder modalities.
        tokenizers: Frozen tokenizers by modality key.
        scenes: Training scenes.
        rng: Source of randomness for batches and tasks.
        schedule: Steps, batch size and learning rate.
        report: Called after each step.
    """

    def loss_at(_: int) -> torch.Tensor:
        task = draw_task(rng)
        batch = draw_batch(rng, scenes, schedule.batch, task.inputs)
        order = rng.permuted(np.tile(np.arange(TOKENS), (schedule.batch, 1)), axis=1)
        return masked_token_loss(network, tokenizers, batch, task, torch.from_numpy(order))

    network.train()
    optimise(list(network.parameters()), loss_at, schedule, report)
    network.eval()
