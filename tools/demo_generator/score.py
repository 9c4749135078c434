"""How well the generator maps land cover it has never seen, against rules that need no learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from terratorch.models.backbones.terramind.model.terramind import TerraMind
from terratorch.models.backbones.terramind.model.terramind_register import v1_pretraining_std
from terratorch.models.backbones.terramind.tokenizer.vqvae import VQVAE

from demo.generator.registration import terramind_demo_generate
from demo.world.scenes import MACRO_CLASS, Raster
from demo.world.spectra import SIGNATURES
from tools.demo_generator.prediction import predict, tokenize
from tools.demo_generator.samples import INPUTS, LULC, NDVI, Windows, collate

SCORED_INPUTS: Final = (("S2L2A", "S1RTC", "DEM"), ("S2L2A",), ("S1RTC", "DEM"), ("S1RTC",))
"""Input modalities for which generated maps are scored."""


@dataclass(frozen=True)
class Trained:
    """A trained generator.

    Attributes:
        network: Encoder and decoder, with LULC and NDVI among their modalities.
        tokenizers: By TerraMind's modality key.
    """

    network: TerraMind
    tokenizers: dict[str, VQVAE]


@dataclass(frozen=True)
class Agreement:
    """Share of pixels on which a map agrees with the truth.

    Attributes:
        classes: With the ten-class legend.
        macro: With the five NYC classes.
    """

    classes: float
    macro: float


def agreement(maps: NDArray[Any], truth: NDArray[np.uint8]) -> Agreement:
    """Compare class maps [B, H, W] of the ten-class legend with the truth, pixel by pixel."""
    macro = np.full(256, -1)
    macro[list(MACRO_CLASS)] = list(MACRO_CLASS.values())
    return Agreement(float((maps == truth).mean()), float((macro[maps] == macro[truth]).mean()))


def nearest_spectrum(pixels: NDArray[np.float32], medians: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Classify every pixel by the class median it lies closest to (Euclidean distance).

    Args:
        pixels: [B, C, H, W] values.
        medians: [K, C] class medians, in the order of `SIGNATURES`.

    Returns:
        [B, H, W] class values of the ten-class legend.
    """
    distance = np.stack([((pixels - median[None, :, None, None]) ** 2).sum(axis=1) for median in medians])
    values = np.array(list(SIGNATURES), dtype=np.uint8)
    return np.asarray(values[distance.argmin(axis=0)], dtype=np.uint8)


def radar_rule(windows: Windows) -> NDArray[np.uint8]:
    """Classify by nearest median VV and VH, in dB, to class maps [B, H, W]."""
    pixels = np.stack([chip.s1rtc[time] for chip, time in windows]).astype(np.float32)
    return nearest_spectrum(pixels, np.array([s.backscatter for s in SIGNATURES.values()], dtype=np.float32))


def optical_rule(windows: Windows) -> NDArray[np.uint8]:
    """Classify by nearest median spectrum, in log reflectance, which suits the world best, to class maps [B, H, W]."""
    pixels = np.log(np.stack([chip.s2l2a[time] for chip, time in windows]).astype(np.float32))
    medians = np.log(np.array([s.reflectance for s in SIGNATURES.values()], dtype=np.float32))
    return nearest_spectrum(pixels, medians)


def most_frequent(windows: Windows) -> NDArray[np.uint8]:
    """Fill class maps [B, H, W] with the class that is most frequent in these windows."""
    truth = np.stack([chip.lulc for chip, _ in windows])
    return np.full_like(truth, np.bincount(truth.ravel()).argmax())


def generated_maps(trained: Trained, windows: Windows, inputs: Sequence[str]) -> NDArray[np.uint8]:
    """LULC maps by TerraTorch's own generation, the most probable token everywhere (`top_k=1`, one step).

    Args:
        trained: The generator.
        windows: Chips and timesteps.
        inputs: TerraTorch's names of the modalities the generator sees.

    Returns:
        [B, H, W] class values.
    """
    model = terramind_demo_generate(
        modalities=list(inputs), output_modalities=["LULC"], top_k=1, top_p=0.0, standardize=False
    ).eval()
    network = model.sampler.model
    weights = trained.network.state_dict()
    network.load_state_dict({key: weights[key] for key in network.state_dict()})
    model.tokenizer[LULC].load_state_dict(trained.tokenizers[LULC].state_dict())
    images = collate(windows, [INPUTS[name] for name in inputs]).inputs
    with torch.no_grad():
        logits = model({name: images[INPUTS[name]] for name in inputs})["LULC"]
    return np.asarray(logits.argmax(1), dtype=np.uint8)


def token_accuracy(trained: Trained, windows: Windows, inputs: Sequence[str]) -> float:
    """Share of LULC tokens whose most probable prediction equals the tokenized truth."""
    batch = collate(windows, [INPUTS[name] for name in inputs])
    tokens = tokenize(trained.tokenizers[LULC], batch, LULC)
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    with torch.no_grad():
        logits = predict(trained.network, batch.inputs, {}, LULC, positions)
    return float((logits.argmax(-1) == tokens).float().mean())


@dataclass(frozen=True)
class Scores:
    """What the model card reports; all on held-out scenes.

    Attributes:
        windows: How many chips were scored, one timestep each.
        scenes: From how many scenes they come.
        reconstruction: Agreement of the LULC tokenizer's reconstruction, the ceiling of any generated map.
        ndvi_error: Mean absolute error of the NDVI tokenizer's reconstruction.
        maps: Agreement of each map, by the name of its source.
        tokens: Token accuracy by the inputs the generator saw.
    """

    windows: int
    scenes: int
    reconstruction: Agreement
    ndvi_error: float
    maps: dict[str, Agreement]
    tokens: dict[str, float]


def score(trained: Trained, scenes: Sequence[Raster]) -> Scores:
    """Score a trained generator on scenes it was not trained on.

    Args:
        trained: The generator.
        scenes: Held-out scenes; of each chip one timestep is taken, in turn.

    Returns:
        The scores.
    """
    windows = [
        (chip, index % len(chip.s2l2a)) for scene in scenes for index, chip in enumerate(scene.chips())
    ]
    truth = np.stack([chip.lulc for chip, _ in windows])
    batch = collate(windows, ())
    with torch.no_grad():
        rebuilt = trained.tokenizers[LULC](batch.map_of(LULC))[0].argmax(1).numpy()
        ndvi_error = (trained.tokenizers[NDVI](batch.map_of(NDVI))[0] - batch.ndvi).abs().mean()
    maps = {
        "most frequent class": agreement(most_frequent(windows), truth),
        "nearest spectrum, S1RTC": agreement(radar_rule(windows), truth),
        "nearest spectrum, S2L2A": agreement(optical_rule(windows), truth),
    }
    for inputs in SCORED_INPUTS:
        maps[f"generated from {' + '.join(inputs)}"] = agreement(
            generated_maps(trained, windows, inputs), truth
        )
    tokens = {" + ".join(inputs): token_accuracy(trained, windows, inputs) for inputs in SCORED_INPUTS}
    return Scores(
        len(windows),
        len(scenes),
        agreement(rebuilt, truth),
        ndvi_error.item() * v1_pretraining_std[NDVI][0],
        maps,
        tokens,
    )
