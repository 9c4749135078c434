"""Which generators there are and where their weights are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from augment_store.errors import AugmentStoreError
from augment_store.modalities.registry import MAPS

ENTRY_POINT_GROUP: Final = "terramind_tim_store.generators"
"""Entry points of this group add generators; each names a `GeneratorSource`."""

HUB: Final = "hub"
"""Weights from the Hugging Face cache or, where there is a network, from the Hub."""

RANDOM: Final = "random"
"""Untrained weights, for controls and tests."""


PUBLISHED_FILES: Final[Mapping[str, tuple[int, str]]] = {
    "TerraMind_v1_tiny.pt": (211_873_402, "e56ea9ebcd4451078b9ca4893d5cd8a89bbee376ae16829c3e7fbbbc76de0eba"),
    "TerraMind_v1_small.pt": (
        504_231_662,
        "755e9cce9483fd61334ef66c79f805406db5151a8b44a685c8fbbe023c684701",
    ),
    "TerraMind_v1_base.pt": (
        1_518_713_958,
        "83c3a0938067c83867a46e564443c2fa38383bf4f966d931b11cb025b847d7ec",
    ),
    "TerraMind_v1_large.pt": (
        3_787_890_978,
        "a1c6b567ce6862c7ac07181551add840edce52f652abccfe5f17d23544060f81",
    ),
}
"""Bytes and SHA-256 of the published networks, as quoted by second-hand sources that agree; nobody quotes those of
the tokenizers. They serve to name a file, never to refuse one: what is loaded is proven tensor by tensor."""


def published_name(sha256: str) -> str:
    """Name of the published network with that SHA-256, empty if unknown."""
    return next((name for name, (_, known) in PUBLISHED_FILES.items() if known == sha256), "")


@dataclass(frozen=True)
class WeightFile:
    """One published weight file.

    Attributes:
        filename: Name of the file, in its repository and in a local folder alike.
        repo_id: Hugging Face repository, or None if the file ships with a package.
    """

    filename: str
    repo_id: str | None = None


@dataclass(frozen=True)
class GeneratorSource:
    """A generator by name: its TerraTorch architecture and the files that hold its weights.

    Attributes:
        name: The name users type, for example ``terramind_v1_base``.
        architecture: Key in TerraTorch's full-model registry that builds a `TerraMindGeneration`.
        network: Weight file of the encoder and decoder, keys without the prefix ``sampler.model.``.
        tokenizers: Weight file of each output modality's tokenizer, by modality name.
        folder: Folder that ships the files, or None if they come from Hugging Face.
    """

    name: str
    architecture: str
    network: WeightFile
    tokenizers: Mapping[str, WeightFile]
    folder: Path | None = None

    def tokenizer(self, modality: str) -> WeightFile:
        """Weight file of an output modality's tokenizer.

        Raises:
            AugmentStoreError: If the generator does not make that modality; the message lists those it makes.
        """
        if modality not in self.tokenizers:
            known = ", ".join(self.tokenizers)
            raise AugmentStoreError(f"generator {self.name!r} does not make {modality}; it makes {known}")
        return self.tokenizers[modality]


def _published(size: str) -> GeneratorSource:
    """TerraMind v1 of one size, as published by IBM and ESA on Hugging Face."""
    owner = "ibm-esa-geospatial"
    return GeneratorSource(
        name=f"terramind_v1_{size}",
        architecture=f"terramind_v1_{size}_generate",
        network=WeightFile(f"TerraMind_v1_{size}.pt", f"{owner}/TerraMind-1.0-{size}"),
        tokenizers={
            modality: WeightFile(
                f"TerraMind_Tokenizer_{modality}.pt", f"{owner}/TerraMind-1.0-Tokenizer-{modality}"
            )
            for modality in MAPS
        },
    )


PUBLISHED: Final[Mapping[str, GeneratorSource]] = {
    source.name: source for source in map(_published, ("tiny", "small", "base", "large"))
}
"""The four published sizes of TerraMind v1."""


def generator_names() -> tuple[str, ...]:
    """Name the published generators and those that installed packages add, without importing them."""
    return (*PUBLISHED, *sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP)))


def check_generator(name: str) -> None:
    """Make sure that there is a generator of that name.

    Raises:
        AugmentStoreError: If there is none; the message lists the known ones.
    """
    if name not in generator_names():
        raise AugmentStoreError(
            f"unknown generator {name!r}; known generators: {', '.join(generator_names())}"
        )


def find_generator(name: str) -> GeneratorSource:
    """Look a generator up by name, among the published ones and the installed entry points.

    Raises:
        AugmentStoreError: If no generator has that name; the message lists the known ones.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    check_generator(name)
    # exactly one: which of two packages with one name is meant cannot be known
    [point] = entry_points(group=ENTRY_POINT_GROUP, name=name)
    source: GeneratorSource = point.load()
    return source
