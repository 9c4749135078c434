"""TerraMind in generate mode. With `generate.model.map_decoder` the only file that touches TerraTorch's internals.

Upstream's `TerraMindGeneration.forward` samples across the batch, seeds itself from the global `random`,
returns images without tokens and fails with more than one decoding step. So its published sub-modules are
driven here: encode, decode the masked target tokens, draw them from the chip's own random stream, decode
them to a map. A kernel chooses its arithmetic by the shape of its input, so the network always sees the same
number of images, `network_batch`: once `generate.model.batch_invariance` has shown that slot and neighbours do not
matter, a chip's result is the same to the last bit in any batch, order or process. Nothing here waits for the device:
whether a result is finite is a tensor, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from augment_store.store.spec import SamplingSpec
from generate.model.map_decoder import Generated, ImageKey, MapDecoder
from generate.model.sampling import draw, filtered_probabilities, token_probabilities
from generate.model.windows import WindowBlender, WindowGrid
from terramind_weights.catalog import HUB, RANDOM, GeneratorSource
from terramind_weights.meta_init import without_weights
from terramind_weights.verified_loading import load_proven, sha256_of_tensors
from terramind_weights.weight_files import locate, read_state, sha256_of_file


@dataclass(frozen=True)
class RandomDraws:
    """Random numbers for the tokens of a batch, on the network's device.

    Attributes:
        grid: Tokens along y and x, N together.
        uniforms: One for each token, float64 ``[B, S, N]``.
        orders: Orders in which tokens are drawn, int64 ``[B, S, N]``; None with one decoding step.
    """

    grid: tuple[int, int]
    uniforms: Tensor
    orders: Tensor | None


class SampledTokens(NamedTuple):
    """Tokens of a batch, the network's probability of each, and whether all logits are finite.

    `tokens` and `probability` are ``[B, N]``, `finite` is ``[B]``.
    """

    tokens: Tensor
    probability: Tensor
    finite: Tensor


class TerraMindGenerator(MapDecoder):
    """TerraMind's network and one output tokenizer's decoder.

    Args:
        upstream: TerraTorch's `TerraMindGeneration`, whose parts are taken over.
        inputs: Input modalities in the order the network sees them.
        modality: Output modality.
        sampling: How tokens are drawn.

    Attributes:
        decodes: False to generate tokens alone.
    """

    decodes = True

    def __init__(self, upstream: Any, inputs: Sequence[str], modality: str, sampling: SamplingSpec) -> None:
        super().__init__(upstream, modality, sampling)
        self.inputs = {name: upstream.mod_name_mapping[name] for name in inputs}
        self.network = upstream.sampler.model
        for name, key in self.inputs.items():
            self.keep_statistics(name, upstream, key)
        # again: the network was added after the decoder had been set
        self.eval().requires_grad_(requires_grad=False)

    def statistics(self, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per band with which an input modality is standardised."""
        mean, std = self.get_buffer(f"mean_{name}"), self.get_buffer(f"std_{name}")
        # digits beyond the sixth are noise of float32
        return tuple(round(float(v), 6) for v in mean.flatten()), tuple(
            round(float(v), 6) for v in std.flatten()
        )

    @torch.inference_mode()
    def generate(self, images: Mapping[str, Tensor], owners: Sequence[ImageKey]) -> Generated:
        """Generate the output modality for up to `network_batch` images.

        Args:
            images: ``[B, C, H, W]`` per input modality in pretraining units on the network's device, NaN where
                nothing was observed.
            owners: Owner of each image, ``[B]``.
        """
        height, width = next(iter(images.values())).shape[-2:]
        windows = WindowGrid.of(height, width, self.sampling.window, self.step)
        padded = {name: windows.padded(self._standardise(name, image)) for name, image in images.items()}
        noise = self._noise(owners, windows.padded_shape) if self.decodes else None
        decoded, probability = WindowBlender(windows), WindowBlender(windows)
        tokens, finite = [], []
        for number, window in enumerate(windows):
            shown = {name: windows.cut(image, window) for name, image in padded.items()}
            # a chip seen whole draws from its own stream, as it does without windows
            draws = self._draws(owners, windows.grid, number if windows.several else None)
            made = self._window(shown, draws, None if noise is None else windows.cut(noise, window))
            tokens.append(windows.tokens(made.tokens))
            finite.append(made.finite)
            if self.decodes:
                decoded.add(window, made.decoded)
            probability.add_patches(window, made.token_probability)
        count = len(owners)
        return Generated(
            # [B, S, ty, tx] of each window, one below the other along ty
            torch.cat(tokens, dim=2)[:count],
            probability.patches()[:count],
            # for tokens alone, the empty tensor that stands for no map
            self._in_unit(decoded.image())[:count] if self.decodes else made.decoded,
            # [windows, network_batch, 2] → [B, 2]
            torch.stack(finite).all(dim=0)[:count],
        )

    def _window(self, shown: Mapping[str, Tensor], draws: RandomDraws, noise: Tensor | None) -> Generated:
        """Generate `network_batch` windows; inputs and decoded values are standardized."""
        count = draws.uniforms.shape[-1]
        drawn = self._draw_tokens(shown, draws, count)
        # S × [network_batch, N] → [network_batch, S, ty, tx], of tokens and of probabilities
        tokens, probability = (
            torch.stack(parts, dim=1).view(self.network_batch, -1, *draws.grid)
            for parts in zip(*((one.tokens, one.probability) for one in drawn), strict=True)
        )
        # without a map a tensor of no values, all of which are finite
        decoded = self._decode_samples(tokens, noise) if self.decodes else tokens.new_zeros(len(tokens), 0)
        finite = torch.stack(
            [torch.stack([one.finite for one in drawn]).all(dim=0), decoded.isfinite().flatten(1).all(dim=1)],
            dim=1,
        )
        return Generated(tokens, probability, decoded, finite)

    def _standardise(self, name: str, image: Tensor) -> Tensor:
        """Standardize images to ``[network_batch, C, H, W]`` by pretraining statistics; missing values get the mean."""
        standardised = (image - self.get_buffer(f"mean_{name}")) / self.get_buffer(f"std_{name}")
        # the mean is 0 once standardized
        return self._padded(standardised.nan_to_num(nan=0.0))

    def _draws(self, owners: Sequence[ImageKey], grid: tuple[int, int], window: int | None) -> RandomDraws:
        """Random numbers for a batch's tokens; each image's come from its own streams."""
        count = grid[0] * grid[1]
        uniforms = self._gather(owners, lambda key: replace(key, window=window).uniforms(count))
        if self.sampling.decoding_steps == 1:
            return RandomDraws(grid, uniforms, None)
        return RandomDraws(
            grid, uniforms, self._gather(owners, lambda key: replace(key, window=window).order(count))
        )

    def _draw_tokens(
        self, images: Mapping[str, Tensor], draws: RandomDraws, count: int
    ) -> list[SampledTokens]:
        """Draw the tokens of each sample; with one decoding step all samples share one forward pass."""
        # once for all samples, which share the inputs
        embedded = [
            self.network.encoder_embeddings[self.inputs[name]]({"tensor": i}) for name, i in images.items()
        ]
        if draws.orders is None:
            # [N] → [network_batch, N]: every token is masked
            positions = torch.arange(count, device=draws.uniforms.device).expand(self.network_batch, count)
            logits = self._logits(embedded, positions, count)
            # [network_batch, S, N] → S × [network_batch, N], all from the same logits
            return [self._pick(logits, uniforms) for uniforms in draws.uniforms.unbind(dim=1)]
        rounds = _rounds(self.sampling.decoding_steps, count)
        return [
            self._draw_in_rounds(embedded, uniforms, order, rounds)
            for uniforms, order in zip(draws.uniforms.unbind(dim=1), draws.orders.unbind(dim=1), strict=True)
        ]

    def _draw_in_rounds(
        self, embedded: list[dict[str, Tensor]], uniforms: Tensor, order: Tensor, rounds: Sequence[int]
    ) -> SampledTokens:
        """Random-order autoregression: each round's tokens are shown to the encoder in the next."""
        tokens = torch.zeros_like(order)
        probability, finite = torch.zeros_like(uniforms), torch.ones_like(order[:, 0], dtype=torch.bool)
        for round_, positions in enumerate(torch.split(order, list(rounds), dim=1)):
            # positions of earlier rounds
            known = order[:, : sum(rounds[:round_])]
            shown = [*embedded, self._embed_known(tokens, known)] if round_ else embedded
            logits = self._logits(shown, positions, order.shape[1])
            # each token has a random number of its own, in whichever round it is drawn
            drawn = self._pick(logits, uniforms.gather(1, positions))
            tokens.scatter_(1, positions, drawn.tokens)
            probability.scatter_(1, positions, drawn.probability)
            finite &= drawn.finite
        return SampledTokens(tokens, probability, finite)

    def _pick(self, logits: Tensor, uniforms: Tensor) -> SampledTokens:
        """Draw from logits ``[B, N, V]`` with random numbers ``[B, N]``, image by image to bound the memory."""
        sampling, drawn = self.sampling, []
        for own, numbers in zip(logits, uniforms, strict=True):
            filtered = filtered_probabilities(own, sampling.temperature, sampling.top_k, sampling.top_p)
            tokens = draw(filtered, numbers)
            drawn.append((tokens, token_probabilities(own, tokens), own.isfinite().all()))
        return SampledTokens(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))

    def _embed_known(self, tokens: Tensor, known: Tensor) -> dict[str, Tensor]:
        """Embed the target tokens ``[B, N]`` drawn so far, at positions ``[B, K]``, for the encoder."""
        # windows are square
        side = int(tokens.shape[1] ** 0.5)
        embedded = self.network.encoder_embeddings[self.target]({"tensor": tokens.view(-1, side, side)})
        # `x` is what a token holds, `emb` its position and modality
        return {part: _at(embedded[part], known) for part in ("x", "emb")}

    def _logits(self, embedded: Sequence[Mapping[str, Tensor]], positions: Tensor, count: int) -> Tensor:
        """Compute logits ``[B, N, V]`` of the codes of masked target tokens ``[B, N]`` in one forward pass."""
        # [B, N₁ + N₂ + …, D], modality after modality
        embeddings = torch.cat([part["emb"] for part in embedded], dim=1)
        encoded = self.network.forward_encoder(
            torch.cat([part["x"] for part in embedded], dim=1) + embeddings, None
        )
        context = self.network.decoder_proj_context(encoded) + embeddings
        head = self.network.decoder_embeddings[self.target]
        # codes without effect: only position and modality of the queries are taken
        blank = torch.zeros((len(positions), count), dtype=torch.long, device=positions.device)
        queries = self.network.mask_token + _at(head.forward_embed({"tensor": blank})["emb"], positions)
        logits: Tensor = head.forward_logits(self.network.forward_decoder(queries, context, None, None))
        return logits


def _at(embedded: Tensor, positions: Tensor) -> Tensor:
    """Pick embeddings ``[B, K, D]`` at positions ``[B, K]`` of ``[B, N, D]``."""
    return embedded.gather(1, positions.unsqueeze(-1).expand(-1, -1, embedded.shape[-1]))


def _rounds(steps: int, count: int) -> list[int]:
    """Return how many tokens each decoding step fills in, by upstream's linear schedule."""
    from terratorch.models.backbones.terramind.model.generate import linear_schedule

    return [int(tokens) for tokens in linear_schedule(steps, count)]


@dataclass(frozen=True)
class LoadedGenerator:
    """A generator with proven weights.

    Attributes:
        module: The generator.
        weights: ``checkpoint`` or ``random``.
        network_sha256: SHA-256 of the weight file, or of the tensors if weights are random.
        tokenizer_sha256: The same for the tokenizer.
    """

    module: TerraMindGenerator
    weights: str
    network_sha256: str
    tokenizer_sha256: str


def load_generator(
    source: GeneratorSource, inputs: Sequence[str], modality: str, sampling: SamplingSpec, weights: str
) -> LoadedGenerator:
    """Build a generator and loads its weights with proof.

    Args:
        source: Which generator.
        inputs: Input modalities.
        modality: Output modality.
        sampling: How tokens are drawn.
        weights: ``hub``, a folder with the published files, or ``random`` (seeded by the run seed).

    Raises:
        AugmentStoreError: If the generator does not make the modality.
        WeightsError: If weights are missing, unreadable or not provably in use.
    """
    tokenizer = source.tokenizer(modality)
    files = None
    if weights != RANDOM:  # before the slow build, so that a missing file is reported at once
        folder = None if weights == HUB else Path(weights)
        files = [locate(file, source, folder) for file in (source.network, tokenizer)]
    # weights that files replace are not initialized, which takes longer than reading the files
    with contextlib.nullcontext() if files is None else without_weights():
        upstream = _build(source.architecture, inputs, modality, sampling)
    module = TerraMindGenerator(upstream, inputs, modality, sampling)
    del upstream  # frees the parts of its tokenizer that are not kept
    if files is None:
        digests = [sha256_of_tensors(part) for part in (module.network, module.tokenizer)]
        return LoadedGenerator(module, "random", *digests)
    network, decoder = files
    # The tokenizer first: half of its file is an encoder that is dropped, best before the network takes its memory.
    load_proven(module.tokenizer, read_state(decoder), decoder)
    load_proven(module.network, read_state(network), network)
    return LoadedGenerator(module, "checkpoint", *map(sha256_of_file, files))


def load_decoder(
    source: GeneratorSource, inputs: Sequence[str], modality: str, sampling: SamplingSpec, weights: str
) -> tuple[MapDecoder, str]:
    """Build the decoder that a generator ends with, and load its weights with proof.

    Args:
        source: Which generator.
        inputs: Its input modalities, which decide what random weights are drawn.
        modality: Output modality.
        sampling: How its tokens were drawn.
        weights: ``hub``, a folder with the published files, or ``random`` (seeded by the run seed).

    Returns:
        The decoder, and the SHA-256 of its weight file, or of its tensors if weights are random.

    Raises:
        AugmentStoreError: If the generator does not make the modality.
        WeightsError: If weights are missing, unreadable or not provably in use.
    """
    if weights == RANDOM:
        module = MapDecoder(_build(source.architecture, inputs, modality, sampling), modality, sampling)
        return module, sha256_of_tensors(module.tokenizer)
    path = locate(source.tokenizer(modality), source, None if weights == HUB else Path(weights))
    with without_weights():
        upstream = _build(source.architecture, inputs, modality, sampling)
    module = MapDecoder(upstream, modality, sampling)
    load_proven(module.tokenizer, read_state(path), path)
    return module, sha256_of_file(path)


def _build(architecture: str, inputs: Sequence[str], modality: str, sampling: SamplingSpec) -> Any:
    """Build TerraTorch's `TerraMindGeneration` from the run seed without touching global randomness."""
    from terratorch.registry import TERRATORCH_FULL_MODEL_REGISTRY

    # Several decoding steps show drawn tokens to the encoder, which needs their embedding.
    shown = [token_key(modality)] if sampling.decoding_steps > 1 else []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sampling.seed)
        return TERRATORCH_FULL_MODEL_REGISTRY.build(
            architecture,
            modalities=[*inputs, *shown],
            output_modalities=[modality],
            # TerraTorch's own loading would go online, and leave what does not fit random
            pretrained=False,
        )


def token_key(modality: str) -> str:
    """Return TerraTorch's key of a modality's tokens, for example ``tok_sen2l2a@224``."""
    return f"tok_{modality.lower().replace('s1', 'sen1').replace('s2', 'sen2')}@224"
