"""TerraMind's forward pass for training and scoring, token by token."""

from __future__ import annotations

import torch
from terratorch.models.backbones.terramind.model.terramind import TerraMind
from terratorch.models.backbones.terramind.tokenizer.vqvae import VQVAE

from augment_store.modalities.definitions import PATCH_SIZE
from tools.demo_generator.samples import Batch


def tokenize(tokenizer: VQVAE, batch: Batch, target: str) -> torch.Tensor:
    """Token indices [B, N] int64 of the true map, row by row."""
    with torch.no_grad():
        _, _, tokens = tokenizer.encode(batch.map_of(target))
    flat: torch.Tensor = tokens.flatten(1).long()
    return flat


def _pick(sequence: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Pick the elements [B, K, D] of a sequence [B, N, D] at positions [B, K]."""
    return sequence.gather(1, positions[..., None].expand(-1, -1, sequence.shape[-1]))


def predict(
    network: TerraMind,
    inputs: dict[str, torch.Tensor],
    shown: dict[str, tuple[torch.Tensor, torch.Tensor]],
    target: str,
    positions: torch.Tensor,
) -> torch.Tensor:
    """Compute logits of the target's tokens at some positions: TerraMind's encoder and decoder, without padding.

    Args:
        network: `TerraMind`.
        inputs: Standardised images [B, C, H, W] by modality key.
        shown: Token modalities the encoder sees: indices [B, N] and the positions [B, K] that are shown.
        target: Modality key to predict.
        positions: [B, M] positions to predict.

    Returns:
        [B, M, codes] logits.
    """
    parts = [network.encoder_embeddings[key]({"tensor": image}) for key, image in inputs.items()]
    tokens, places = [part["x"] for part in parts], [part["emb"] for part in parts]
    for key, (indices, seen) in shown.items():
        part = network.encoder_embeddings[key]({"tensor": indices})
        tokens.append(_pick(part["x"], seen))
        places.append(_pick(part["emb"], seen))
    place = torch.cat(places, dim=1)
    context = (
        network.decoder_proj_context(network.forward_encoder(torch.cat(tokens, dim=1) + place, None)) + place
    )
    images = next(iter(inputs.values()))
    count = images.shape[-2] * images.shape[-1] // PATCH_SIZE**2
    blank = torch.zeros(len(images), count, dtype=torch.long)
    queries = network.mask_token + _pick(
        network.decoder_embeddings[target].forward_embed({"tensor": blank})["emb"], positions
    )
    logits: torch.Tensor = network.decoder_embeddings[target].forward_logits(
        network.forward_decoder(queries, context, None, None)
    )
    return logits


def decode_expected(
    tokenizer: VQVAE, probabilities: torch.Tensor, tokens: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """Decode the expected code: true codes, replaced where predicted by the mean code of the prediction.

    Args:
        tokenizer: The frozen `VQVAE`.
        probabilities: [B, M, codes] predictions.
        tokens: [B, N] true indices.
        positions: [B, M] where the predictions belong.

    Returns:
        [B, C, H, W] decoded map, differentiable in the probabilities.
    """
    codebook = tokenizer.quantize.codebook.float()
    expected = probabilities @ codebook
    codes = codebook[tokens].scatter(1, positions[..., None].expand(-1, -1, codebook.shape[1]), expected)
    side = int(tokens.shape[1] ** 0.5)
    decoded: torch.Tensor = tokenizer.decode_quant(codes.transpose(1, 2).unflatten(2, (side, side)))
    return decoded
