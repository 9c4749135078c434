"""Drawing tokens: filtered distributions, inverse-CDF sampling, and random streams keyed by chip.

Nothing here holds state. A chip's random numbers come from a counter-based generator (Philox) whose key
is a digest of run seed, chip, timestep, sample and purpose, so that they depend on nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class StreamKey:
    """Names the random stream of one generation.

    Attributes:
        seed: Run seed.
        chip_id: Chip to generate for.
        timestep: Timestep, counted from 0.
        sample: Which of the chip's samples, counted from 0.
        window: Which of the chip's windows, counted from 0; None where it is generated whole. Noise is of the whole
            chip always, so that windows have the same where they overlap.
    """

    seed: int
    chip_id: str
    timestep: int
    sample: int
    window: int | None = None

    def _digest(self, purpose: str) -> int:
        # the id last, since it alone may hold the separator
        words = f"{self.seed}|{self.timestep}|{self.sample}|{purpose}|{self.chip_id}"
        # 16 bytes, as a Philox key has
        return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=16).digest(), "little")

    def _windowed(self, purpose: str) -> str:
        return purpose if self.window is None else f"{purpose} of window {self.window}"

    def uniforms(self, count: int) -> Tensor:
        """Draw `count` float64 numbers in [0, 1), one per token position."""
        stream = np.random.Generator(np.random.Philox(key=self._digest(self._windowed("tokens"))))
        return torch.from_numpy(stream.random(count))

    def order(self, count: int) -> Tensor:
        """Draw a random order of `count` token positions, int64, for more than one decoding step."""
        stream = np.random.Generator(np.random.Philox(key=self._digest(self._windowed("order"))))
        return torch.from_numpy(stream.permutation(count))

    def noise(self, shape: Sequence[int]) -> Tensor:
        """Draw standard normal noise for a diffusion decoder to begin with, on the CPU for every device."""
        # within the range of seeds that torch takes
        stream = torch.Generator("cpu").manual_seed(self._digest("diffusion") % 2**63)
        return torch.randn(tuple(shape), generator=stream)


def filtered_probabilities(logits: Tensor, temperature: float, top_k: int, top_p: float) -> Tensor:
    """Compute the probabilities of the codes after top-k and top-p filtering and temperature.

    The order is upstream's (`GenerationSampler.sample_tokens`): both filters look at the logits before the
    temperature divides them; top-p keeps the first code that crosses the threshold.

    Args:
        logits: ``[N, V]``, any float type.
        temperature: Positive; 1 leaves the distribution unchanged.
        top_k: Keeps the k largest logits and those equal to the k-th; 0 keeps all.
        top_p: Keeps the most probable codes up to this cumulative probability; 0 keeps all.

    Returns:
        float64 ``[N, V]``, each row summing to 1.
    """
    # in float32 the running sum over thousands of codes would lose digits
    logits = logits.double()
    if top_k > 0:
        # [N, 1], the smallest logit that is kept; a k beyond the codebook keeps all
        kth = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    if top_p > 0:
        # stable: equal logits have one order on every device
        ranked, order = logits.sort(dim=-1, descending=True, stable=True)
        shares = ranked.softmax(dim=-1)
        before = shares.cumsum(dim=-1) - shares  # probability of all codes ranked above
        # from ranks back to codes; nothing ranks above the first code, so one is always kept
        dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before > top_p)
        logits = logits.masked_fill(dropped, -torch.inf)
    return (logits / temperature).softmax(dim=-1)


def token_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """Probability of each drawn code under the network's own distribution, before temperature and filters.

    Args:
        logits: ``[N, V]``.
        tokens: ``[N]``.

    Returns:
        float64 ``[N]``.
    """
    # [N, V] → [N, 1] → [N]: of each row the drawn code's
    return logits.double().softmax(dim=-1).gather(-1, tokens[:, None])[:, 0]


def draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one code per row by inverting its cumulative distribution.

    Args:
        probabilities: ``[N, V]``.
        uniforms: ``[N]`` in [0, 1).

    Returns:
        int64 ``[N]``; a code of probability 0 is never drawn.
    """
    cumulative = probabilities.cumsum(dim=-1)
    # scaled by the last sum, which rounding keeps from being exactly 1
    thresholds = uniforms.to(cumulative)[:, None] * cumulative[:, -1:]
    # a code of probability 0 repeats the sum before it, and `right` steps over it
    drawn = torch.searchsorted(cumulative, thresholds, right=True)
    # a threshold rounded up to the last sum would point behind the last code
    return drawn[:, 0].clamp_(max=probabilities.shape[-1] - 1)
