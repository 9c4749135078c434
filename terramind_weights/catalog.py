"""Which generators there are and where their weights are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from augment_store.errors import AugmentStoreError
from augment_store.maps.registry import MAPS

ENTRY_POINT_GROUP: Final = "terramind_tim_store.generators"
"""Entry points of this group add generators; each names a `GeneratorSource`."""

HUB: Final = "hub"
"""Weights from the Hugging Face cache or, where there is a network, from the Hub."""

RANDOM: Final = "random"
"""Untrained weights, for controls and tests."""


class UnknownGeneratorError(AugmentStoreError, KeyError):
    """No generator of that name is known, or it does not make the modality asked for."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class WeightFile:
    """One published weight file.

    Attributes:
        filename: Name of the file, in its repository and in a local folder alike.
        repo_id: Hugging Face repository, or None where the file ships with a package.
    """

    filename: str
    repo_id: str | None = None


@dataclass(frozen=True)
class GeneratorSource:
    """A generator by name: which TerraTorch architecture it is and which files hold its weights.

    Attributes:
        name: The name users type, for example ``terramind_v1_base``.
        architecture: Key in TerraTorch's full-model registry that builds a `TerraMindGeneration`.
        network: Weight file of the encoder and decoder, keys without the prefix ``sampler.model.``.
        tokenizers: Weight file of each output modality's tokenizer, by modality name.
        folder: Folder that ships the files, or None where they come from Hugging Face.
    """

    name: str
    architecture: str
    network: WeightFile
    tokenizers: Mapping[str, WeightFile]
    folder: Path | None = None

    def tokenizer(self, modality: str) -> WeightFile:
        """Weight file of an output modality's tokenizer.

        Raises:
            UnknownGeneratorError: If the generator does not make that modality; the message lists those it makes.
        """
        if modality not in self.tokenizers:
            known = ", ".join(self.tokenizers)
            raise UnknownGeneratorError(f"generator {self.name!r} does not make {modality}; it makes {known}")
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


def find_generator(name: str) -> GeneratorSource:
    """Looks a generator up by name, among the published ones and the installed entry points.

    Raises:
        UnknownGeneratorError: If no generator has that name; the message lists those there are.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    plugins = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in plugins:
        known = ", ".join([*PUBLISHED, *sorted(plugins)])
        raise UnknownGeneratorError(f"unknown generator {name!r}; known generators: {known}")
    source: GeneratorSource = plugins[name].load()
    return source
