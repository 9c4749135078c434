"""The dataset card: what the maps are, how far to trust them, how to open them, where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Final

from huggingface_hub import DatasetCardData

from augment_store.inspect.statistics import MEASURES
from augment_store.publish.attribution import ATTRIBUTIONS, UNSTATED
from augment_store.publish.facts import StoreFacts
from augment_store.publish.stac import COLLECTION, FOOTPRINTS
from augment_store.utils.text import code_span, escape_markdown, pluralize

_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Hugging Face's size categories, each below a number of chips."""


def write_dataset_card(facts: StoreFacts) -> str:
    """Return the card as Markdown with Hugging Face's YAML header."""
    sections = (
        _opening(facts),
        _content(facts),
        _trust(facts),
        _usage_section(facts),
        _license_section(facts),
    )
    body = "\n\n".join("\n".join(section) for section in sections)
    return f"---\n{_card_metadata(facts).to_yaml()}\n---\n\n# {escape_markdown(facts.publication.name)}\n\n{body}\n"


def _card_metadata(facts: StoreFacts) -> DatasetCardData:
    spec = facts.spec
    return DatasetCardData(
        # Hugging Face has SPDX's identifiers in lower case
        license=facts.publication.license_id.lower(),
        annotations_creators="machine-generated",
        pretty_name=facts.publication.name,
        # the first category that is large enough
        size_categories=next((words for most, words in _SIZES if facts.chips < most), "1M<n<10M"),
        # without it the viewer of Hugging Face would look for data in the store's own files
        configs=[{"config_name": "chips", "data_files": FOOTPRINTS}],
        tags=["earth-observation", "terramind", "generated", "zarr", "stac", spec.modality.lower()],
    )


def _opening(facts: StoreFacts) -> Iterator[str]:
    yield "**These maps are generated, not reference.**"
    yield ""
    yield facts.summary
    yield "Do not score a model against them, and do not train on them as if they were labels that someone checked."


def _content(facts: StoreFacts) -> Iterator[str]:
    spec, extent = facts.spec, facts.spatial_extent
    sampling = spec.sampling
    # text is escaped: names of plug-ins and reference systems could hold Markdown
    rows = {
        "generator": escape_markdown(spec.generator)
        + (", random weights" if spec.weights == "random" else ""),
        "SHA-256 of its weights": code_span(spec.network_sha256),
        f"SHA-256 of the {spec.modality} tokenizer": code_span(spec.tokenizer_sha256),
        "generated from": ", ".join(escape_markdown(entry.name) for entry in spec.inputs),
        "sampling": f"temperature {sampling.temperature:g}, top-k {sampling.top_k}, top-p {sampling.top_p:g}, "
        f"{pluralize(sampling.decoding_steps, 'decoding step')}, seed {sampling.seed}"
        + (f", in blended windows of {sampling.window} px" if sampling.window else ""),
        "chips": f"{facts.chips:,} of {facts.chip_shape.height} × {facts.chip_shape.width} pixels",
        "scenes": f"{facts.scenes:,}",
        "timesteps, samples of each": f"{facts.chip_shape.timesteps}, {sampling.samples}",
        "coordinate reference systems": escape_markdown(", ".join(extent.systems)) or "not known",
        "pixel": "not known" if extent.metres is None else f"{extent.metres:g} m",
        "extent (west, south, east, north)": "not known"
        if extent.box is None
        else ", ".join(map(str, extent.box)),
        "fingerprint of the spec": code_span(spec.fingerprint),
    }
    yield "## What is in it"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield from (f"| {key} | {value} |" for key, value in rows.items())
    if facts.shares:
        yield ""
        yield (
            "Shares of the classes: "
            + ", ".join(f"{name} {share:.1%}" for name, share in facts.shares.items())
            + "."
        )


def _trust(facts: StoreFacts) -> Iterator[str]:
    yield "## How far to trust them"
    yield ""
    yield f"Means over {pluralize(facts.chips, 'chip')}; shares are fractions, 0 to 1."
    yield ""
    yield "| measure | mean |"
    yield "|---|---|"
    for name, label in MEASURES.items():
        # "#" below keeps zeros at the end, so that every mean has three digits
        value = facts.measures[name]
        yield f"| {label} | {f'{value:#.3g}' if isfinite(value) else '–'} |"
    yield ""
    if not isfinite(facts.measures["reference"]):
        yield "They were compared with no reference."
    yield (
        "Confidence is the tokenizer decoder's, given the token, and is high even where the generator guesses; token "
        "probability and agreement between samples say how sure the generator was. None says whether it was right."
    )
    for finding in facts.audit:
        yield ""
        yield f"Accepted despite the input audit: {escape_markdown(finding)}"


def _usage_section(facts: StoreFacts) -> Iterator[str]:
    array = facts.spec.map.array
    yield "## Open it"
    yield ""
    yield "```python"
    yield "import xarray"
    yield ""
    yield f"store = xarray.open_zarr({facts.folder!r}, mask_and_scale=False)  # else xarray turns classes into floats"
    yield f"maps = store.set_xindex('chip_id').sel(chip_id={facts.first_chip!r})[{array!r}]"
    yield "```"
    yield ""
    yield (
        "With `terramind-tim-store`, `augment_store.AugmentStore.open(FOLDER).to_xarray(CHIP)` gives a chip with its "
        "coordinates and in units, checked against the digests written with it. "
        f"`{COLLECTION}` is a STAC collection, and `{FOOTPRINTS}` a GeoParquet table of the chips with their "
        "footprints, scenes, splits, class shares and measures, for `geopandas.read_parquet`, QGIS or `load_dataset`."
    )


def _license_section(facts: StoreFacts) -> Iterator[str]:
    license_id = facts.publication.license_id
    yield "## Origin and licenses"
    yield ""
    yield f"- license of these maps: {'not stated; ask who published them' if license_id == UNSTATED else license_id}"
    versions = ", ".join(f"{name} {version}" for name, version in facts.spec.versions.items())
    made = f"made with {versions}; {facts.spec.precision} on {facts.spec.device}; published {facts.date}"
    yield f"- {escape_markdown(made)}"
    yield from (f"- {escape_markdown(words)}" for words in (*ATTRIBUTIONS, *facts.publication.attributions))
