"""Calibration of a network: its temperature, and whether its probabilities come true before and after."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

from augment_store.io.files import read_text
from augment_store.modalities.definitions import IGNORED_LABEL
from augment_store.utils.validation import load_json
from eval.errors import EvaluationError
from eval.score.calibration import CALIBRATION, Reliability, write_calibration
from eval.score.predict import run_network
from eval.score.record import FOLDER
from finetune.run.load import LoadedRun
from finetune.run.manifest import RunManifest
from finetune.run.temperature import TEMPERATURE, Temperature

RANGE: Final = (0.05, 20.0)
"""Temperatures that are tried; beyond, a network says nothing or is never wrong."""

CHIP_PIXELS: Final = 4096
"""Pixels of a chip that the temperature is fitted on, evenly spread, as neighbors say the same."""

AS_TRAINED: Final = "as trained"
CALIBRATED: Final = "calibrated"

Pixels = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Logits ``[pixel, class]`` and references ``[pixel]`` of labeled pixels."""


def calibrate(
    loaded: LoadedRun, folder: Path, manifest: RunManifest
) -> tuple[Temperature, Mapping[str, Reliability]]:
    """Fit a run's temperature on its validation split, keep it with the run, and look at the test split with it.

    Args:
        loaded: The run.
        folder: Its directory.
        manifest: What its training recorded.

    Returns:
        The temperature, and the reliability of the likeliest class on the test split, as trained and calibrated.

    Raises:
        EvaluationError: If the validation split is not that of the training, or no pixel of it or of the test split has
            a label.
        AugmentStoreError: If a chip, its mask or its maps cannot be used.
        OutputError: If it cannot be written.
    """
    data = loaded.datamodule
    data.setup("validate")
    digests = data.splits.digests
    if digests["val"] != manifest.data.splits["val"].ids:
        raise EvaluationError(
            f"{loaded.source}: the validation split is not that of its training, so a temperature could be fitted on "
            "chips that it was trained on; put the splits of the training back"
        )
    fitted = [_thinned(pixels) for pixels in _labeled_pixels(loaded, "val", data.val_dataloader())]
    logits, references = (np.concatenate(parts) for parts in zip(*fitted, strict=True))
    value = fit_temperature(logits, references)
    data.setup("test")
    found = _reliability(_labeled_pixels(loaded, "test", data.test_dataloader()), value)
    temperature = Temperature(
        value,
        loaded.checkpoint_sha256,
        val_ids=digests["val"],
        pixels=len(references),
        test_ids=digests["test"],
        reliability_sha256=write_calibration(folder / FOLDER, found),
    )
    temperature.write(folder)
    return temperature, found


def describe_temperature(run: Path, checkpoint_sha256: str, test_ids: str) -> str:
    """Return a sentence about the temperature of a run's weights and what it does; empty if none was fitted to them.

    Args:
        run: Run directory.
        checkpoint_sha256: SHA-256 of the weights.
        test_ids: SHA-256 of the sorted ids of the test chips that it is said for.

    Raises:
        RunError: If its file is damaged.
        EvaluationError: If the reliability that was found with it is missing, another, or of other test chips.
    """
    temperature, path = Temperature.read(run), run / FOLDER / CALIBRATION
    if temperature is None or not temperature.fits(checkpoint_sha256):
        return ""
    try:
        text = read_text(path)
        if hashlib.sha256(text.encode()).hexdigest() != temperature.reliability_sha256:
            raise ValueError(f"not the file that {TEMPERATURE} was written with")
        if temperature.test_ids != test_ids:
            raise ValueError("of other test chips than the report's")
        found = load_json(text)
        before, after = (
            float(found[name]["expected_calibration_error"]) for name in (AS_TRAINED, CALIBRATED)
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EvaluationError(
            f"{path}: not the reliability of a run ({error}); make it with tim-eval score {run} --calibrate"
        ) from error
    return (
        f"Divided by {temperature.value:.4g}, a temperature fitted on the validation split, the logits give "
        f"probabilities whose expected calibration error on the test split is {100 * after:.1f} pp instead of "
        f"{100 * before:.1f} pp."
    )


def fit_temperature(logits: NDArray[np.float64], references: NDArray[np.int64]) -> float:
    """Return the temperature of the least mean negative log-likelihood, which has one minimum.

    Args:
        logits: ``[pixel, class]``.
        references: Label of each pixel.
    """
    # of the reference's class; a likelihood is made of differences alone
    own = logits[np.arange(len(references)), references]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float((logsumexp(logits * scale, axis=1) - own * scale).mean())

    low, high = np.log(RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _labeled_pixels(loaded: LoadedRun, split: str, batches: Iterable[Any]) -> Iterator[Pixels]:
    """Yield the labeled pixels of each chip.

    Raises:
        EvaluationError: If there is none.
    """
    device, labeled = torch.device("cuda" if torch.cuda.is_available() else "cpu"), False
    for _, output, reference in run_network(loaded, device, batches):
        chips: Tensor = output.output
        # [class, y, x] → [pixel, class]
        for scores, labels in zip(chips.cpu().double().numpy(), reference, strict=True):
            counted = labels != IGNORED_LABEL
            if counted.any():
                labeled = True
                yield scores[:, counted].T, labels[counted]
    if not labeled:
        raise EvaluationError(f"{loaded.source}: no pixel of the {split} split has a label to calibrate with")


def _thinned(pixels: Pixels) -> Pixels:
    step = -(-len(pixels[1]) // CHIP_PIXELS)
    # copies: a view would keep the whole chip in memory
    return pixels[0][::step].copy(), pixels[1][::step].copy()


def _reliability(chips: Iterable[Pixels], temperature: float) -> Mapping[str, Reliability]:
    parts: dict[str, list[Reliability]] = {AS_TRAINED: [], CALIBRATED: []}
    for logits, references in chips:
        right = logits.argmax(axis=1) == references
        for name, divisor in ((AS_TRAINED, 1.0), (CALIBRATED, temperature)):
            parts[name].append(Reliability.of(_largest_share(logits / divisor), right))
    # from the first chip's on, since `sum` would start from 0, to which no Reliability can be added
    return {name: sum(found[1:], found[0]) for name, found in parts.items()}


def _largest_share(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability ``[pixel]`` of the likeliest class."""
    share: NDArray[np.float64] = np.exp(logits.max(axis=1) - logsumexp(logits, axis=1))
    return share
