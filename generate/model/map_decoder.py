"""Maps of tokens: an output tokenizer's decoder, which a generator ends with and which also works alone.

Like `generate.model.terramind`, and no other file, this one touches TerraTorch's internals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from augment_store.modalities.definitions import PATCH_SIZE
from augment_store.modalities.map_arrays import TOKEN_PROBABILITY, TOKENS
from augment_store.store.spec import WINDOW_STEP, SamplingSpec
from generate.model.async_copy import to_device
from generate.model.sampling import StreamKey

OUTPUT: Final = "output"
"""Name of the output modality's buffers of statistics, since it may be an input as well."""

ENCODER_PARTS: Final = ("encoder", "quant_proj")
"""Parts of a tokenizer that turn images into tokens, which generation never does."""


DIFFUSION_STEP: Final = WINDOW_STEP
"""What a published diffusion decoder, which halves an image again and again, needs its sides to be a multiple of."""


class ImageKey(NamedTuple):
    """The chip and timestep of an image; keys its random streams.

    Attributes:
        chip_id: Id of the chip.
        timestep: Its timestep.
    """

    chip_id: str
    timestep: int


@dataclass(frozen=True)
class Generated:
    """Results for B images and S samples, on the network's device.

    Attributes:
        tokens: Codebook indices, int64 ``[B, S, ty, tx]``; those of several windows one below the other.
        token_probability: The network's probability of each, before temperature and filters, ``[B, S, ty, tx]``; of
            several windows the mean over the pixels of each patch, weighted as the map.
        decoded: The tokenizer decoder's output in float32, ``[B, S, C, H, W]``: class logits of a categorical
            modality, values in its unit of a continuous one.
        finite: Whether all outputs of the network and of the tokenizer's decoder are finite, bool ``[B, 2]``.
    """

    tokens: Tensor
    token_probability: Tensor
    decoded: Tensor
    finite: Tensor


PARTS: Final = ("network", "tokenizer's decoder")
"""Columns of `Generated.finite`."""


class MapDecoder(nn.Module):
    """One output tokenizer's decoder.

    Args:
        upstream: TerraTorch's `TerraMindGeneration`, whose tokenizer is taken over.
        modality: Output modality.
        sampling: How tokens are drawn, and of diffusion the steps and the seed.

    Attributes:
        network_batch: Images at a time; fewer are padded, since kernels choose their arithmetic by the number.
        shape: Height and width of the chips whose tokens are decoded; None where they are a whole number of patches.
    """

    network_batch = 1
    shape: tuple[int, int] | None = None

    def __init__(self, upstream: Any, modality: str, sampling: SamplingSpec) -> None:
        super().__init__()
        # Upstream knows a modality that is both by its key as an input; as output it is another one, of tokens.
        self.target = next(key for key, name in upstream.output_mod_name_mapping.items() if name == modality)
        self.modality = modality
        self.sampling = sampling
        self.tokenizer = upstream.tokenizer[self.target]
        self.diffuses = hasattr(self.tokenizer, "noise_scheduler")  # the demo's NDVI decoder does not
        self.step = DIFFUSION_STEP if self.diffuses else PATCH_SIZE
        for part in ENCODER_PARTS:
            # half of a tokenizer's weights, and of no use here
            delattr(self.tokenizer, part)
        self.keep_statistics(OUTPUT, upstream, self.target)
        # TerraTorch's tokenizers have dropout in the decoder, which is on until `eval`
        self.eval().requires_grad_(requires_grad=False)

    def keep_statistics(self, name: str, upstream: Any, key: str) -> None:
        """Keep upstream's pretraining mean and deviation of a modality as buffers ``mean_`` and ``std_``."""
        # buffers, since upstream's plain tensors do not follow a parent module to its device
        self.register_buffer(f"mean_{name}", upstream.pretraining_mean[key][0].clone(), persistent=False)
        # not persistent: the state dict must hold what the published files hold, and no more
        self.register_buffer(f"std_{name}", upstream.pretraining_std[key][0].clone(), persistent=False)

    @torch.inference_mode()
    def generate(self, images: Mapping[str, Tensor], owners: Sequence[ImageKey]) -> Generated:
        """Decode tokens that were generated before, as the generator would have decoded them.

        Args:
            images: ``tokens`` and ``token_probability``, each ``[B, S, ty, tx]`` of up to `network_batch` images.
            owners: Owner of each image, ``[B]``.
        """
        count = len(owners)
        tokens = self._padded(images[TOKENS])
        size = (tokens.shape[-2] * PATCH_SIZE, tokens.shape[-1] * PATCH_SIZE)
        height, width = self.shape or size
        decoded = self._decode_samples(tokens, self._noise(owners, size))
        # [network_batch, S, C, H, W] → [network_batch]
        finite = decoded.isfinite().flatten(1).all(dim=1)
        return Generated(
            images[TOKENS],
            images[TOKEN_PROBABILITY],
            self._in_unit(decoded[..., :height, :width])[:count],
            # no network ran here, so its column is true; [:count] drops the padded slots
            torch.stack([torch.ones_like(finite), finite], dim=1)[:count],
        )

    def _decode_samples(self, tokens: Tensor, noise: Tensor | None) -> Tensor:
        """Return the decoder's output ``[B, S, C, H, W]``, standardised, for tokens ``[B, S, ty, tx]``."""
        samples = range(self.sampling.samples)
        # one sample after another: a batch of all would have another shape, and so perhaps other last bits
        maps = [self._decode_map(tokens[:, s], None if noise is None else noise[:, s]) for s in samples]
        return torch.stack(maps, dim=1)

    def _in_unit(self, decoded: Tensor) -> Tensor:
        """Standardised values in the modality's unit; logits, whose mean is 0 and deviation 1, as they are."""
        return decoded * self.get_buffer(f"std_{OUTPUT}") + self.get_buffer(f"mean_{OUTPUT}")

    def _padded(self, values: Tensor) -> Tensor:
        """Append zeros to values ``[B, ...]`` for the slots without an image."""
        missing = self.network_batch - len(values)
        return torch.cat([values, values.new_zeros((missing, *values.shape[1:]))]) if missing else values

    def _noise(self, owners: Sequence[ImageKey], size: tuple[int, int]) -> Tensor | None:
        """Draw the initial noise ``[network_batch, S, C, H, W]`` of a diffusion decoder; None for other decoders.

        It is drawn for whole images, so that windows begin with the same where they overlap.
        """
        if not self.diffuses:
            return None
        return self._gather(owners, lambda key: key.noise((self.tokenizer.n_channels, *size)))

    def _gather(self, owners: Sequence[ImageKey], draw_one: Callable[[StreamKey], Tensor]) -> Tensor:
        """Stack the draws of each image and sample, ``[network_batch, S, ...]``, on the network's device."""
        seed, samples = self.sampling.seed, range(self.sampling.samples)
        # an owner is chip id and timestep
        rows = [torch.stack([draw_one(StreamKey(seed, *owner, s)) for s in samples]) for owner in owners]
        return self._padded(to_device(torch.stack(rows), self.get_buffer(f"std_{OUTPUT}").device))

    def _decode_map(self, tokens: Tensor, noise: Tensor | None) -> Tensor:
        """Decode tokens ``[B, ty, tx]`` to the tokenizer's output ``[B, C, H, W]``, standardized."""
        if noise is None:
            height, width = (side * PATCH_SIZE for side in tokens.shape[-2:])
            # (height, width); upstream's own `forward` passes them swapped, which only squares bear
            decoded: Tensor = self.tokenizer.decode_tokens(tokens, image_size=(height, width))
            return decoded.float()
        return self._denoise(noise, self.tokenizer.tokens_to_embedding(tokens))

    def _denoise(self, image: Tensor, condition: Tensor) -> Tensor:
        """Denoise as TerraTorch's `PipelineCond` does, but from each image's own noise instead of the batch's."""
        scheduler = self.tokenizer.noise_scheduler
        # upstream's own mode, in which the first step begins at pure noise
        scheduler.set_timesteps(self.sampling.diffusion_steps, mode="trailing")
        for step in scheduler.timesteps:
            predicted = self.tokenizer.decoder(image, step, condition)
            # the scheduler adds small differences, which 16 bits would lose
            with torch.autocast(image.device.type, enabled=False):
                image = scheduler.step(predicted.float(), step, image).prev_sample
        return image
