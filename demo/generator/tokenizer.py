"""Small tokenizers: TerraTorch's VQ-VAE with narrow ViTs and the codebooks of the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from safetensors.torch import load_file
from terratorch.models.backbones.terramind.tokenizer.models.vit_models import ViTDecoder, ViTEncoder
from terratorch.models.backbones.terramind.tokenizer.vqvae import VQVAE

from augment_store.modalities.definitions import LULC_LEGEND, PATCH_SIZE

IMAGE_SIZE: Final = 128
"""Side in pixels at which the tokenizers are trained; other multiples of 16 work by interpolation."""
LULC_CODEBOOK: Final = "7-5-5-5-5"
"""Levels of the finite scalar quantiser: 4375 codes, as in TerraMind v1's LULC tokenizer."""
NDVI_CODEBOOK: Final = "8-8-8-6-5"
"""Levels of the finite scalar quantiser: 15,360 codes, as in TerraMind v1's NDVI tokenizer."""
DEPTH: Final = 2
HEADS: Final = 2


def build_tokenizer(channels: int, codebook: str, width: int) -> VQVAE:
    """Build TerraTorch's `VQVAE` at a width it has no preset for.

    The constructor knows ViTs by preset name only, so it is asked for point-wise MLPs of the right width,
    which sizes the projections around the quantiser, and the ViTs are then put in their place.

    Args:
        channels: Channels of the map; classes if it is categorical.
        codebook: Levels of the finite scalar quantiser, joined by ``-``.
        width: Width of the transformer tokens.

    Returns:
        A `VQVAE` with random weights.
    """
    placeholder = f"MLP/B_1-Wi_{width}"
    tokenizer = VQVAE(
        image_size=IMAGE_SIZE,
        n_channels=channels,
        enc_type=placeholder,
        dec_type=placeholder,
        patch_size=PATCH_SIZE,
        quant_type="fsq",
        codebook_size=codebook,
        # a scalar quantizer rounds each latent dimension to the levels given for it
        latent_dim=len(codebook.split("-")),
    )
    shape = {
        "patch_size": PATCH_SIZE,
        "resolution": IMAGE_SIZE,
        "dim_tokens": width,
        "depth": DEPTH,
        "num_heads": HEADS,
    }
    tokenizer.encoder = ViTEncoder(in_channels=channels, **shape)
    tokenizer.decoder = ViTDecoder(out_channels=channels, **shape)
    return tokenizer


def build_lulc_tokenizer() -> VQVAE:
    """Build the LULC tokenizer: class maps [B, H, W] to tokens [B, H/16, W/16] to class logits [B, 10, H, W]."""
    return build_tokenizer(len(LULC_LEGEND), LULC_CODEBOOK, width=80)


def build_ndvi_tokenizer() -> VQVAE:
    """Build the NDVI tokenizer: standardized NDVI [B, 1, H, W] to tokens [B, H/16, W/16] and back."""
    return build_tokenizer(1, NDVI_CODEBOOK, width=48)


def load_tokenizer(tokenizer: VQVAE, path: Path) -> VQVAE:
    """Load a tokenizer's weights in place; every tensor must be in the file, and no other.

    Args:
        tokenizer: As `build_lulc_tokenizer` or `build_ndvi_tokenizer` made it.
        path: safetensors file.

    Returns:
        The same tokenizer, in evaluation mode.
    """
    tokenizer.load_state_dict(load_file(path), strict=True)
    return tokenizer.eval()
