"""A small TerraMind for the demo, registered in TerraTorch like the published ones.

Importing this module registers the generator ``terramind_demo_generate`` and the backbones ``terramind_demo``
and ``terramind_demo_tim``. `SOURCE` is the catalogue entry behind ``--generator demo``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from terratorch.models.backbones.terramind.model.terramind_generation import TerraMindGeneration
from terratorch.models.backbones.terramind.model.terramind_register import (
    PRETRAINED_BANDS,
    checkpoint_filter_fn,
    checkpoint_filter_fn_tim,
    select_modality_patch_embed_weights,
    v1_pretraining_mean,
    v1_pretraining_std,
)
from terratorch.models.backbones.terramind.model.terramind_tim import TerraMindTiM
from terratorch.models.backbones.terramind.model.terramind_vit import TerraMindViT
from terratorch.models.backbones.terramind.model.tm_utils import LayerNorm
from terratorch.models.backbones.terramind.tokenizer.vqvae import VQVAE
from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY, TERRATORCH_FULL_MODEL_REGISTRY
from torch import nn

from demo.generator.tokenizer import build_lulc_tokenizer, build_ndvi_tokenizer, load_tokenizer
from terramind_weights.catalog import GeneratorSource, WeightFile

WEIGHTS: Final = Path(__file__).parents[1] / "weights"

SOURCE: Final = GeneratorSource(
    name="demo",
    architecture="terramind_demo_generate",
    network=WeightFile("terramind_demo.safetensors"),
    tokenizers={
        "LULC": WeightFile("tokenizer_lulc.safetensors"),
        "NDVI": WeightFile("tokenizer_ndvi.safetensors"),
    },
    folder=WEIGHTS,
)
"""The demo's generator; its files ship with the package."""

ENCODER: Final[dict[str, Any]] = {
    "dim": 72,
    "encoder_depth": 6,
    "num_heads": 2,
    "mlp_ratio": 4,
    "norm_layer": partial(LayerNorm, eps=1e-6, bias=False),
    "act_layer": nn.GELU,
}
"""Size of the encoder, which the generator and the backbones share."""
DECODER_DEPTH: Final = 3


def _lulc_tokenizer(pretrained: bool) -> VQVAE:
    tokenizer = build_lulc_tokenizer()
    return (
        load_tokenizer(tokenizer, WEIGHTS / SOURCE.tokenizers["LULC"].filename) if pretrained else tokenizer
    )


def _ndvi_tokenizer(pretrained: bool) -> VQVAE:
    tokenizer = build_ndvi_tokenizer()
    return (
        load_tokenizer(tokenizer, WEIGHTS / SOURCE.tokenizers["NDVI"].filename) if pretrained else tokenizer
    )


TOKENIZERS: Final = {"tok_lulc@224": _lulc_tokenizer, "tok_ndvi@224": _ndvi_tokenizer}
"""Tokenizer builders by TerraMind's modality key, in the form TerraTorch's models take."""


def read_network(path: Path) -> dict[str, torch.Tensor]:
    """Read a network file in the published key layout.

    TerraMind ties each output layer to its token embedding. A safetensors file holds no shared storage, so it
    has ``decoder_embeddings.<modality>.token_emb.weight`` alone; ``to_logits.weight`` is added here.

    Args:
        path: safetensors file, keys without the prefix ``sampler.model.``.

    Returns:
        Every tensor of `TerraMind` as float32.
    """
    # the shipped files are in half precision, to be small
    state = {key: value.float() for key, value in load_file(path).items()}
    tied = {
        key.replace("token_emb", "to_logits"): value
        for key, value in state.items()
        if key.startswith("decoder_embeddings.") and key.endswith(".token_emb.weight")
    }
    return state | tied


def _network_file(pretrained: bool, ckpt_path: str | None) -> Path | None:
    if ckpt_path is not None:
        return Path(ckpt_path)
    return WEIGHTS / SOURCE.network.filename if pretrained else None


def terramind_demo_generate(
    pretrained: bool = False, ckpt_path: str | None = None, **kwargs: object
) -> TerraMindGeneration:
    """Build the demo's any-to-any generator.

    Args:
        pretrained: Load network and tokenizers from the package.
        ckpt_path: Another network file to load, in the same layout.
        **kwargs: Keywords of `TerraMindGeneration`, first of all `modalities` and `output_modalities`.

    Returns:
        A `TerraMindGeneration`.
    """
    model = TerraMindGeneration(
        **ENCODER,
        decoder_depth=DECODER_DEPTH,
        pretraining_mean=dict(v1_pretraining_mean),
        pretraining_std=dict(v1_pretraining_std),
        tokenizer_dict=TOKENIZERS,
        pretrained=pretrained,
        **kwargs,
    )
    if (path := _network_file(pretrained, ckpt_path)) is not None:
        state = read_network(path)
        network = model.sampler.model
        # by the network's keys: it has the modalities asked for, while the file has all
        network.load_state_dict({key: state[key] for key in network.state_dict()}, strict=True)
    return model


def terramind_demo(
    pretrained: bool = False,
    ckpt_path: str | None = None,
    bands: dict[str, list[str]] | None = None,
    **kwargs: object,
) -> TerraMindViT:
    """Build the demo's encoder as a fine-tuning backbone.

    Args:
        pretrained: Load the weights of the package.
        ckpt_path: Another network file to load, in the same layout.
        bands: Bands of each modality, if they differ from the pretrained ones; pretrained columns are copied.
        **kwargs: Keywords of `TerraMindViT`, first of all `modalities`.

    Returns:
        A `TerraMindViT`.
    """
    model = TerraMindViT(**ENCODER, tokenizer_dict=TOKENIZERS, pretrained=pretrained, **kwargs)
    if (path := _network_file(pretrained, ckpt_path)) is not None:
        # the filter drops what an encoder has no place for, such as the decoder
        model.load_state_dict(checkpoint_filter_fn(read_network(path), model), strict=True)
    if bands is not None:
        # after the loading, since it copies columns of the pretrained patch embedding
        model = select_modality_patch_embed_weights(model, bands, PRETRAINED_BANDS)
    return model


def terramind_demo_tim(
    pretrained: bool = False, ckpt_path: str | None = None, **kwargs: object
) -> TerraMindTiM:
    """Build the demo's backbone with in-line Thinking-in-Modalities.

    Args:
        pretrained: Load network and tokenizers from the package.
        ckpt_path: Another network file to load, in the same layout.
        **kwargs: Keywords of `TerraMindTiM`, first of all `modalities` and `tim_modalities`.

    Returns:
        A `TerraMindTiM`.
    """
    model = TerraMindTiM(
        **ENCODER, decoder_depth=DECODER_DEPTH, tokenizer_dict=TOKENIZERS, pretrained=pretrained, **kwargs
    )
    if (path := _network_file(pretrained, ckpt_path)) is not None:
        model.load_state_dict(checkpoint_filter_fn_tim(read_network(path), model), strict=True)
    return model


def load_generator(folder: Path) -> TerraMindGeneration:
    """Build the generator with every modality it knows, and read its weights from a folder.

    Args:
        folder: Holds the files named in `SOURCE`.

    Returns:
        A `TerraMindGeneration` that reads images and both reads and makes LULC and NDVI, in evaluation mode.
    """
    model = terramind_demo_generate(
        ckpt_path=str(folder / SOURCE.network.filename),
        modalities=["S2L2A", "S1RTC", "DEM", "LULC", "NDVI"],
        output_modalities=["LULC", "NDVI"],
    )
    # the builder loads tokenizers only from the package; these are from the folder
    for key, modality in (("tok_lulc@224", "LULC"), ("tok_ndvi@224", "NDVI")):
        load_tokenizer(model.tokenizer[key], folder / SOURCE.tokenizers[modality].filename)
    return model.eval()


TERRATORCH_FULL_MODEL_REGISTRY.register(terramind_demo_generate)
TERRATORCH_BACKBONE_REGISTRY.register(terramind_demo)
TERRATORCH_BACKBONE_REGISTRY.register(terramind_demo_tim)
