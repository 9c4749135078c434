"""Initial weights that know what images and codes are like, so that a short training suffices.

Two priors, both plain linear algebra: what matters in a 16 x 16 patch of land is smooth, and two codes of a
finite scalar quantiser that share a level mean similar things.
"""

from __future__ import annotations

from typing import Final

import torch
from terratorch.models.backbones.terramind.model.terramind import TerraMind
from terratorch.models.backbones.terramind.tokenizer.vqvae import VQVAE

from augment_store.modalities.definitions import PATCH_SIZE
from tools.demo_generator.samples import INPUTS

FREQUENCIES: Final = 6
"""Cosines along each axis of a patch that the first projection sees, the constant among them."""
HARMONICS: Final = 4
"""Cosines along each axis of the codebook that distinguish its levels."""
CODE_SCALE: Final = 0.05
"""Standard deviation of the initial token embeddings."""


def cosines(count: int, positions: torch.Tensor) -> torch.Tensor:
    """Return the first `count` cosines of the DCT-II, [count, N], at N positions in 0..1."""
    return torch.cos(torch.pi * torch.arange(count)[:, None] * positions[None, :])


def smooth_projection(dim: int, channels: int) -> torch.Tensor:
    """Random patch projection that passes low spatial frequencies only.

    Args:
        dim: Width of a token.
        channels: Bands of the image.

    Returns:
        [dim, 16 * 16 * channels] weights in TerraMind's order (row, column, band); a flat patch of value 1
        gives tokens of about unit variance.
    """
    waves = cosines(FREQUENCIES, (torch.arange(PATCH_SIZE) + 0.5) / PATCH_SIZE)
    mixing = torch.randn(dim, FREQUENCIES, FREQUENCIES, channels)
    weights = torch.einsum("ofgc,fy,gx->oyxc", mixing, waves, waves).flatten(1)
    scaled: torch.Tensor = weights * (FREQUENCIES / PATCH_SIZE / weights.norm(dim=1, keepdim=True))
    return scaled


def code_embedding(codebook: torch.Tensor, dim: int) -> torch.Tensor:
    """Random token embedding in which codes with equal or neighbouring levels lie close together.

    Args:
        codebook: [codes, D] the quantiser's codes, each level in 0..1.
        dim: Width of a token.

    Returns:
        [codes, dim] embedding, standard deviation `CODE_SCALE`.
    """
    waves = torch.stack([cosines(HARMONICS + 1, levels)[1:] for levels in codebook.T])
    falling = torch.randn(len(waves), HARMONICS, dim) / torch.arange(1, HARMONICS + 1)[None, :, None]
    embedding = torch.einsum("dhv,dho->vo", waves, falling)
    return CODE_SCALE * embedding / embedding.std()


@torch.no_grad()
def initialise(network: TerraMind, tokenizers: dict[str, VQVAE]) -> None:
    """Set the initial weights of a network's patch projections and token embeddings, in place.

    Args:
        network: With the images of `INPUTS` and the tokenizers' modalities.
        tokenizers: By TerraMind's modality key.
    """
    for key in INPUTS.values():
        projection = network.encoder_embeddings[key]
        projection.proj.weight.copy_(smooth_projection(network.dim, projection.num_channels))
    for key, tokenizer in tokenizers.items():
        codebook = tokenizer.quantize.codebook.float()
        network.encoder_embeddings[key].token_emb.weight.copy_(code_embedding(codebook, network.dim))
        network.decoder_embeddings[key].token_emb.weight.copy_(code_embedding(codebook, network.dim))
