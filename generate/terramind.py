"""TerraMind in generate mode. The only file of stage 1 that touches TerraTorch's internals.

Upstream's `TerraMindGeneration.forward` samples across the batch, seeds itself from the global `random`,
returns images without tokens and fails with more than one decoding step. So its published sub-modules are
driven here: encode, decode the masked target tokens, draw them from the chip's own random stream, decode
them to a map. The network sees one image at a time, since a kernel chooses its arithmetic by the shape of
its input: only so is a chip's result the same to the last bit in whatever batch, order or process it is
generated. With three inputs at 224 px an image is 588 tokens; what that costs against batches is measured in
`tests/benchmarks/generation_speed.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from augment_store.errors import ChipDataError
from augment_store.modalities import PATCH_SIZE
from augment_store.spec import SamplingSpec
from generate.sampling import StreamKey, draw, filtered_probabilities, token_probabilities
from terramind_weights.catalog import HUB, RANDOM, GeneratorSource
from terramind_weights.files import locate, read_state, sha256_of_file
from terramind_weights.proof import load_proven, sha256_of_tensors

OUTPUT: Final = "output"
"""Stands for the output modality among the buffers of statistics, since it may be an input as well."""


@dataclass(frozen=True)
class Generated:
    """What one image was given, for each of the S samples.

    Attributes:
        tokens: Codebook indices, int64 ``[S, ty, tx]``.
        token_probability: The network's probability of each, before temperature and filters, ``[S, ty, tx]``.
        decoded: The tokenizer decoder's output in float32, ``[S, C, H, W]``: class logits of a categorical modality,
            values in its unit of a continuous one.
    """

    tokens: Tensor
    token_probability: Tensor
    decoded: Tensor


class Drawn(NamedTuple):
    """Tokens of some positions and the network's probability of each, both ``[N]``."""

    tokens: Tensor
    probability: Tensor


class TerraMindGenerator(nn.Module):
    """TerraMind's network and one output tokenizer's decoder.

    Args:
        upstream: TerraTorch's `TerraMindGeneration`, whose parts are taken over.
        inputs: Input modalities in the order the network sees them.
        modality: Output modality.
        sampling: How tokens are drawn.
    """

    def __init__(self, upstream: Any, inputs: Sequence[str], modality: str, sampling: SamplingSpec) -> None:
        super().__init__()
        self.inputs = {name: upstream.mod_name_mapping[name] for name in inputs}
        # A modality that is both is known under its input's key there; as output it is another one, of tokens.
        self.target = next(key for key, name in upstream.output_mod_name_mapping.items() if name == modality)
        self.sampling = sampling
        self.network = upstream.sampler.model
        self.tokenizer = upstream.tokenizer[self.target]
        for part in ("encoder", "quant_proj"):  # they turn images into tokens, which generation never does
            delattr(self.tokenizer, part)
        for name, key in {**self.inputs, OUTPUT: self.target}.items():
            self.register_buffer(f"mean_{name}", upstream.pretraining_mean[key][0].clone(), persistent=False)
            self.register_buffer(f"std_{name}", upstream.pretraining_std[key][0].clone(), persistent=False)
        self.modality = modality
        self.eval().requires_grad_(requires_grad=False)

    def statistics(self, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per band with which an input modality is standardised."""
        mean, std = self.get_buffer(f"mean_{name}"), self.get_buffer(f"std_{name}")
        return tuple(round(float(v), 6) for v in mean.flatten()), tuple(
            round(float(v), 6) for v in std.flatten()
        )

    @torch.inference_mode()
    def generate(self, images: Mapping[str, Tensor], chip_id: str, timestep: int) -> Generated:
        """Generates the output modality for one image.

        Args:
            images: ``[C, H, W]`` per input modality in pretraining units, NaN where nothing was observed.
            chip_id: Chip the image is of; keys the random streams.
            timestep: Its timestep; likewise.

        Raises:
            ChipDataError: If the network gives NaN or infinity, as values far outside the pretraining range or
                an overflow in half precision make it.
        """
        standardised = {name: self._standardise(name, image) for name, image in images.items()}
        height, width = next(iter(standardised.values())).shape[-2:]
        keys = [StreamKey(self.sampling.seed, chip_id, timestep, s) for s in range(self.sampling.samples)]
        grid = (height // PATCH_SIZE, width // PATCH_SIZE)
        drawn = self._draw_tokens(standardised, keys, grid[0] * grid[1])
        tokens, probability = (
            torch.stack([part.view(grid) for part in parts]) for parts in zip(*drawn, strict=True)
        )
        decoded = [self._decode_map(t, key, (height, width)) for t, key in zip(tokens, keys, strict=True)]
        return Generated(tokens, probability, torch.stack(decoded))

    def _standardise(self, name: str, image: Tensor) -> Tensor:
        """``[1, C, H, W]`` with pretraining mean 0 and deviation 1; pixels without observation get the mean."""
        standardised = (image - self.get_buffer(f"mean_{name}")) / self.get_buffer(f"std_{name}")
        return standardised.nan_to_num(nan=0.0).unsqueeze(0)

    def _draw_tokens(
        self, images: Mapping[str, Tensor], keys: Sequence[StreamKey], count: int
    ) -> list[Drawn]:
        """Tokens of each sample; with one decoding step all samples share one forward pass."""
        embedded = [
            self.network.encoder_embeddings[self.inputs[name]]({"tensor": i}) for name, i in images.items()
        ]
        rounds = _rounds(self.sampling.decoding_steps, count)
        if len(rounds) == 1:
            positions = torch.arange(count, device=embedded[0]["x"].device)
            return self._pick(self._logits(embedded, positions, count), [key.uniforms(count) for key in keys])
        return [self._draw_in_rounds(embedded, key, rounds) for key in keys]

    def _draw_in_rounds(
        self, embedded: list[dict[str, Tensor]], key: StreamKey, rounds: Sequence[int]
    ) -> Drawn:
        """Random-order autoregression: each round's tokens are shown to the encoder in the next."""
        device, count = embedded[0]["x"].device, sum(rounds)
        order = torch.from_numpy(key.order(count)).to(device)
        uniforms = key.uniforms(count).to(device)
        tokens = torch.zeros(count, dtype=torch.long, device=device)
        probability = torch.zeros(count, dtype=torch.float64, device=device)
        for round_, positions in enumerate(torch.split(order, list(rounds))):
            known = order[: sum(rounds[:round_])]
            shown = [*embedded, self._embed_known(tokens, known)] if round_ else embedded
            [drawn] = self._pick(self._logits(shown, positions, count), [uniforms[positions]])
            tokens[positions], probability[positions] = drawn
        return Drawn(tokens, probability)

    def _pick(self, logits: Tensor, uniforms: Sequence[Tensor]) -> list[Drawn]:
        """A draw for each set of random numbers ``[N]`` from logits ``[N, V]``."""
        sampling = self.sampling
        filtered = filtered_probabilities(logits, sampling.temperature, sampling.top_k, sampling.top_p)
        drawn = [draw(filtered, numbers) for numbers in uniforms]
        return [Drawn(tokens, token_probabilities(logits, tokens)) for tokens in drawn]

    def _embed_known(self, tokens: Tensor, known: Tensor) -> dict[str, Tensor]:
        """Encoder input for the target tokens drawn so far."""
        side = int(tokens.numel() ** 0.5)
        embedded = self.network.encoder_embeddings[self.target]({"tensor": tokens.view(1, side, side)})
        return {"x": embedded["x"][:, known], "emb": embedded["emb"][:, known]}

    def _logits(self, embedded: Sequence[Mapping[str, Tensor]], positions: Tensor, count: int) -> Tensor:
        """Logits ``[len(positions), V]`` of the codes of masked target tokens, in one forward pass."""
        embeddings = torch.cat([part["emb"] for part in embedded], dim=1)
        encoded = self.network.forward_encoder(
            torch.cat([part["x"] for part in embedded], dim=1) + embeddings, None
        )
        context = self.network.decoder_proj_context(encoded) + embeddings
        head = self.network.decoder_embeddings[self.target]
        blank = torch.zeros((1, count), dtype=torch.long, device=positions.device)
        queries = self.network.mask_token + head.forward_embed({"tensor": blank})["emb"][:, positions]
        logits: Tensor = head.forward_logits(self.network.forward_decoder(queries, context, None, None))[0]
        _check_finite(logits, "network")
        return logits

    def _decode_map(self, tokens: Tensor, key: StreamKey, size: tuple[int, int]) -> Tensor:
        """The tokenizer decoder's output ``[C, H, W]`` for tokens ``[ty, tx]``."""
        diffusion = {}
        if self.sampling.diffusion_steps is not None:
            diffusion = {"timesteps": self.sampling.diffusion_steps, "generator": key.noise_generator()}
        decoded: Tensor = self.tokenizer.decode_tokens(tokens[None], image_size=size, **diffusion)[0].float()
        _check_finite(decoded, "tokenizer's decoder")
        return decoded * self.get_buffer(f"std_{OUTPUT}") + self.get_buffer(f"mean_{OUTPUT}")


def _check_finite(values: Tensor, part: str) -> None:
    if not values.isfinite().all():
        raise ChipDataError(
            f"the {part} gave NaN or infinity; look for extreme input values with python -m generate audit, "
            "or use --precision 32-true"
        )


def _rounds(steps: int, count: int) -> list[int]:
    """Tokens to fill in per decoding step, upstream's linear schedule; never more steps than tokens."""
    from terratorch.models.backbones.terramind.model.generate import linear_schedule

    return [int(tokens) for tokens in linear_schedule(steps, count)]


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator with proven weights.

    Attributes:
        module: The generator.
        weights: ``checkpoint`` or ``random``.
        network_sha256: Of the weight file, or of the tensors where weights are random.
        tokenizer_sha256: Likewise.
    """

    module: TerraMindGenerator
    weights: str
    network_sha256: str
    tokenizer_sha256: str


def load_generator(
    source: GeneratorSource, inputs: Sequence[str], modality: str, sampling: SamplingSpec, weights: str
) -> LoadedGenerator:
    """Builds a generator and loads its weights with proof.

    Args:
        source: Which generator.
        inputs: Input modalities.
        modality: Output modality.
        sampling: How tokens are drawn.
        weights: ``hub``, a folder with the published files, or ``random`` (seeded by the run seed).

    Raises:
        UnknownGeneratorError: If the generator does not make the modality.
        WeightsError: If weights are missing, unreadable or not provably in use.
    """
    tokenizer = source.tokenizer(modality)
    files = None
    if weights != RANDOM:  # before the slow build, so that a missing file is said at once
        folder = None if weights == HUB else Path(weights)
        files = [locate(file, source, folder) for file in (source.network, tokenizer)]
    upstream = _build(source.architecture, inputs, modality, sampling)
    module = TerraMindGenerator(upstream, inputs, modality, sampling)
    if files is None:
        digests = [sha256_of_tensors(part) for part in (module.network, module.tokenizer)]
        return LoadedGenerator(module, "random", *digests)
    for part, path in zip((module.network, module.tokenizer), files, strict=True):
        load_proven(part, read_state(path), path)
    return LoadedGenerator(module, "checkpoint", *map(sha256_of_file, files))


def _build(architecture: str, inputs: Sequence[str], modality: str, sampling: SamplingSpec) -> Any:
    """TerraTorch's `TerraMindGeneration`, initialised from the run seed without touching global randomness."""
    from terratorch.registry import TERRATORCH_FULL_MODEL_REGISTRY

    # Several decoding steps show drawn tokens to the encoder, which needs their embedding.
    shown = [token_key(modality)] if sampling.decoding_steps > 1 else []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sampling.seed)
        return TERRATORCH_FULL_MODEL_REGISTRY.build(
            architecture, modalities=[*inputs, *shown], output_modalities=[modality], pretrained=False
        )


def token_key(modality: str) -> str:
    """TerraTorch's key of a modality's tokens, for example ``tok_sen2l2a@224``."""
    return f"tok_{modality.lower().replace('s1', 'sen1').replace('s2', 'sen2')}@224"
