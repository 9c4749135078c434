"""The command that generates a store, so that an error can name it."""

from __future__ import annotations

import shlex
from pathlib import Path

from augment_store.modalities import S1_MODALITIES
from augment_store.spec import GenerationSpec


def generate_command(spec: GenerationSpec, chips: Path, store: Path) -> str:
    """The `python -m generate` command that makes chips complete in a store of this spec.

    Args:
        spec: The generation spec to repeat.
        chips: Root folder of the chip set.
        store: Folder of the store.
    """
    words = ["python", "-m", "generate", "--chips", str(chips), "--store", str(store)]
    words += ["--generator", spec.generator, "--modality", spec.modality]
    words += ["--inputs", *(entry.name for entry in spec.inputs)]
    words += [*_unit_words(spec), *_sampling_words(spec), "--precision", spec.precision]
    words += ["--weights", "random"] if spec.weights == "random" else []
    words += ["--probabilities"] if spec.probabilities else []
    return shlex.join(words)


def _unit_words(spec: GenerationSpec) -> list[str]:
    """Unit conversions that differ from the defaults."""
    words = []
    if any(entry.unit == "linear" for entry in spec.inputs if entry.name in S1_MODALITIES):
        words += ["--s1-unit", "linear"]
    offset = next((entry.offset for entry in spec.inputs if entry.name == "S2L2A"), 0.0)
    return [*words, "--s2-offset", f"{offset:g}"] if offset else words


def _sampling_words(spec: GenerationSpec) -> list[str]:
    sampling = spec.sampling
    words = ["--temperature", f"{sampling.temperature:g}", "--top-k", str(sampling.top_k)]
    words += ["--top-p", f"{sampling.top_p:g}", "--decoding-steps", str(sampling.decoding_steps)]
    words += ["--samples", str(sampling.samples), "--seed", str(sampling.seed)]
    steps = sampling.diffusion_steps
    return words if steps is None else [*words, "--diffusion-steps", str(steps)]
