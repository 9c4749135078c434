"""The page for the browser: one file with everything in it, written chip by chip."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.georeference import footprint
from augment_store.inspect.images import colour_confidence, photo_uri
from augment_store.inspect.page.assembly import PageAssets, as_json, as_legend, assemble
from augment_store.inspect.statistics import MEASURES, ChipStatistics
from augment_store.inspect.store_inspector import Group, StoreInspector, summarise
from augment_store.inspect.views import ChipView, view_chip
from augment_store.io.files import atomic_write
from augment_store.modalities.definitions import PATCH_SIZE

CHIP_BUDGET: Final = 21_500
"""Characters of pictures per chip on average, so that 60 chips stay below 1.5 MB; fewer chips share the same total."""

FULL_PAGE: Final = 60
"""Chips that share the budget of a page."""

_ASSETS: Final = PageAssets("augment_store.inspect", ("chips.js", "footprints.js", "viewer.js", "main.js"))


@dataclass(frozen=True)
class ImageQuality:
    """How much detail pictures keep: the RGB's longer side, the other inputs' one, WebP quality, stride of maps."""

    rgb: int
    others: int
    quality: int
    stride: int


LEVELS: Final = (
    ImageQuality(256, 160, 72, 1),
    ImageQuality(192, 96, 60, 1),
    ImageQuality(160, 72, 50, 1),
    ImageQuality(128, 56, 42, 1),
    ImageQuality(128, 56, 40, 2),
    ImageQuality(96, 48, 35, 4),
)
"""From fine to coarse; a chip gets the first that fits its share of the remaining budget, or the last."""


def write_page(
    path: Path,
    survey: StoreInspector,
    seen: Sequence[ChipStatistics],
    chosen: Sequence[ChipStatistics],
    timestep: int,
) -> None:
    """Writes the page.

    Args:
        path: File to write.
        survey: The store.
        seen: Statistics of the chips that the summary covers.
        chosen: Statistics of the chips to show.
        timestep: Which timestep's pictures are shown.

    Raises:
        OutputError: If the file cannot be written.
    """
    atomic_write(path, (part.encode() for part in _parts(survey, seen, chosen, timestep)))


def _parts(
    survey: StoreInspector, seen: Sequence[ChipStatistics], chosen: Sequence[ChipStatistics], timestep: int
) -> Iterator[str]:
    data = {"store": [as_json(_store(survey, seen, timestep))], "chips": _chips(survey, chosen, timestep)}
    return assemble(_ASSETS, f"{survey.store.path.name}: {survey.store.spec.modality}", data)


def _chips(survey: StoreInspector, chosen: Sequence[ChipStatistics], timestep: int) -> Iterator[str]:
    """A list in JSON, chip by chip, so that only one chip's pictures are in memory."""
    left = CHIP_BUDGET * max(len(chosen), FULL_PAGE)
    yield "[\n"
    for position, statistics in enumerate(chosen):
        chip = _chip(view_chip(survey, statistics, timestep), survey, left // (len(chosen) - position))
        left -= _weight(chip["layers"])
        yield (",\n" if position else "") + as_json(chip)
    yield "\n]"


def _store(survey: StoreInspector, seen: Sequence[ChipStatistics], timestep: int) -> dict[str, Any]:
    store = survey.store
    return {
        "name": store.path.name,
        "modality": store.spec.modality,
        "title": survey.title,
        "fingerprint": store.fingerprint,
        "progress": str(survey.progress),
        "seen": len(seen),
        "complete": survey.progress.complete.size,
        "cells": [side / PATCH_SIZE for side in store.extent.shape],
        "timesteps": store.extent.timesteps,
        "timestep": timestep,
        "samples": store.spec.sampling.samples,
        "continuous": survey.kind.continuous,
        "drawnByLegend": survey.kind.drawn_by_legend,
        "classes": as_legend(survey.kind.legend),
        "measures": MEASURES,
        "groups": [_group(group) for group in summarise(seen)],
        "flags": Counter(flag for entry in seen for flag in entry.flags).most_common(),
        "wrong": sum(bool(entry.flags) for entry in seen),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "chips": group.chips,
        "shares": _shares(group.shares),
        "measures": _finite(group.measures),
        "mean": _number(group.mean_value),
    }


def _chip(view: ChipView, survey: StoreInspector, budget: int) -> dict[str, Any]:
    facts = view.statistics
    reference = None if view.reference is None else as_legend(view.reference.picture.classes)
    return {
        "id": facts.chip_id,
        "scene": view.scene_id,
        "split": facts.split,
        "shares": _shares(facts.shares),
        "measures": _finite(facts.measures),
        "doubt": sum(facts.doubt),
        "mean": _number(facts.mean_value),
        "flags": facts.flags,
        "series": view.series_index,
        "ring": footprint(view.georeference, survey.store.extent.shape),
        "referenceClasses": reference,
        "tokens": None if view.tokens is None else [_as_text(sample) for sample in view.tokens],
        "layers": _layers(view, budget),
    }


def _layers(view: ChipView, budget: int) -> dict[str, list[str]]:
    """Data URIs by layer, at the finest level that stays within the budget."""
    for level in LEVELS:
        layers = _encode(view, level)
        if _weight(layers) <= budget:
            break
    return layers


def _weight(layers: dict[str, list[str]]) -> int:
    return sum(len(uri) for uris in layers.values() for uri in uris)


def _encode(view: ChipView, level: ImageQuality) -> dict[str, list[str]]:
    closeness = (level.rgb, level.quality, level.stride)
    layers = {"map": [picture.uri(*closeness) for picture in view.maps]}
    if view.rgb is not None:
        layers["rgb"] = [photo_uri(view.rgb, level.rgb, level.quality)]
    for name, picture in (("radar", view.radar), ("relief", view.relief)):
        if picture is not None:
            layers[name] = [photo_uri(picture, level.others, level.quality)]
    sure = [colour_confidence(sample) for sample in view.token_probability]
    layers["token"] = [photo_uri(picture, level.others, level.quality) for picture in sure]
    if view.confidence is not None:
        coloured = [colour_confidence(sample) for sample in view.confidence]
        layers["confidence"] = [photo_uri(picture, level.others, level.quality) for picture in coloured]
    if view.reference is not None:
        layers["reference"] = [view.reference.picture.uri(*closeness)]
    return layers


def _as_text(tokens: NDArray[np.uint16]) -> str:
    return base64.b64encode(tokens.astype("<u2").tobytes()).decode()


def _shares(shares: Iterable[float]) -> list[float]:
    return [round(float(share), 4) for share in shares]


def _number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def _finite(measures: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in measures.items() if np.isfinite(value)}
