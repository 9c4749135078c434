"""The page for the browser: one file with everything in it, written chip by chip."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from augment_store.chips.georeference import footprint
from augment_store.inspect.page.assembly import PageAssets, as_json, as_legend, assemble
from augment_store.inspect.statistics import MEASURES, ChipStatistics
from augment_store.inspect.store_inspector import Group, StoreInspector, average_by_split
from augment_store.inspect.views import ChipView, view_chip
from augment_store.io.files import atomic_write
from augment_store.modalities.definitions import PATCH_SIZE
from augment_store.modalities.pictures import color_confidence, photo_uri

RGB_SIDE: Final = 192
INPUT_SIDE: Final = 96
"""Pixels of the longer side of natural-color pictures, and of the other inputs and probabilities."""

WEBP_QUALITY: Final = 60
"""Quality of pictures that are no maps, 0 to 100: a page of 60 chips of 256 px takes about 2 MB."""

_ASSETS: Final = PageAssets("augment_store.inspect", ("chips.js", "footprints.js", "viewer.js", "main.js"))


def write_maps_page(
    path: Path,
    inspector: StoreInspector,
    seen: Sequence[ChipStatistics],
    chosen: Sequence[ChipStatistics],
    timestep: int,
) -> None:
    """Write the page.

    Args:
        path: File to write.
        inspector: The store.
        seen: Statistics of the chips that the summary covers.
        chosen: Statistics of the chips to show.
        timestep: Which timestep's pictures are shown.

    Raises:
        OutputError: If the file cannot be written.
    """
    # a generator: the page is never in memory as a whole
    atomic_write(path, (part.encode() for part in _page_parts(inspector, seen, chosen, timestep)))


def _page_parts(
    inspector: StoreInspector, seen: Sequence[ChipStatistics], chosen: Sequence[ChipStatistics], timestep: int
) -> Iterator[str]:
    data = {
        "store": [as_json(_store_data(inspector, seen, timestep))],
        "chips": _chips_json(inspector, chosen, timestep),
    }
    return assemble(_ASSETS, f"{inspector.store.path.name}: {inspector.store.spec.modality}", data)


def _chips_json(inspector: StoreInspector, chosen: Sequence[ChipStatistics], timestep: int) -> Iterator[str]:
    """Yield a list in JSON, chip by chip, so that only one chip's pictures are in memory."""
    yield "[\n"
    for position, statistics in enumerate(chosen):
        chip = _chip(view_chip(inspector, statistics, timestep), inspector)
        # JSON takes no comma after the last entry, so it goes before each but the first
        yield (",\n" if position else "") + as_json(chip)
    yield "\n]"


def _store_data(inspector: StoreInspector, seen: Sequence[ChipStatistics], timestep: int) -> dict[str, Any]:
    store = inspector.store
    return {
        "name": store.path.name,
        "modality": store.spec.modality,
        "title": inspector.title,
        "fingerprint": store.fingerprint,
        "progress": str(inspector.progress),
        "seen": len(seen),
        "complete": inspector.progress.complete.size,
        # not whole where a side is no multiple of a token's: the last cells reach beyond the chip
        "cells": [side / PATCH_SIZE for side in store.extent.shape],
        "timesteps": store.extent.timesteps,
        "timestep": timestep,
        "samples": store.spec.sampling.samples,
        "continuous": inspector.kind.continuous,
        "drawnByLegend": inspector.kind.drawn_by_legend,
        "classes": as_legend(inspector.kind.legend),
        "measures": MEASURES,
        "groups": [_group_data(group) for group in average_by_split(seen)],
        # pairs of a flag and its number of chips, the most frequent first
        "flags": Counter(flag for entry in seen for flag in entry.flags).most_common(),
        "wrong": sum(bool(entry.flags) for entry in seen),
    }


def _group_data(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "chips": group.chips,
        "shares": _rounded_shares(group.shares),
        "measures": _finite(group.measures),
        "mean": _number_or_null(group.mean_value),
    }


def _chip(view: ChipView, inspector: StoreInspector) -> dict[str, Any]:
    facts = view.statistics
    reference = None if view.reference is None else as_legend(view.reference.picture.classes)
    return {
        "id": facts.chip_id,
        "scene": view.scene_id,
        "split": facts.split,
        "shares": _rounded_shares(facts.shares),
        "measures": _finite(facts.measures),
        # the page sorts by one number: flags, plus the mean lack of confidence, at most 1
        "doubt": sum(facts.doubt),
        "mean": _number_or_null(facts.mean_value),
        "flags": facts.flags,
        "series": view.series_index,
        "ring": footprint(view.georeference, inspector.store.extent.shape),
        "referenceClasses": reference,
        "tokens": None if view.tokens is None else [_as_text(sample) for sample in view.tokens],
        "layers": _layers(view),
    }


def _layers(view: ChipView) -> dict[str, list[str]]:
    """Return pictures as data URIs by layer: maps with all their pixels, everything else reduced."""
    layers = {"map": [picture.uri(RGB_SIDE, WEBP_QUALITY) for picture in view.maps]}
    if view.rgb is not None:
        layers["rgb"] = [photo_uri(view.rgb, RGB_SIDE, WEBP_QUALITY)]
    for name, picture in (("radar", view.radar), ("relief", view.relief)):
        if picture is not None:
            layers[name] = [photo_uri(picture, INPUT_SIDE, WEBP_QUALITY)]
    probabilities = {"token": view.token_probability, "confidence": view.confidence}
    for name, samples in probabilities.items():
        if samples is not None:
            colored = map(color_confidence, samples)
            layers[name] = [photo_uri(picture, INPUT_SIDE, WEBP_QUALITY) for picture in colored]
    if view.reference is not None:
        layers["reference"] = [view.reference.picture.uri(RGB_SIDE, WEBP_QUALITY)]
    return layers


def _as_text(tokens: NDArray[np.uint16]) -> str:
    # little-endian on any machine; a JSON list would take three times as much
    return base64.b64encode(tokens.astype("<u2").tobytes()).decode()


def _rounded_shares(shares: Iterable[float]) -> list[float]:
    return [round(float(share), 4) for share in shares]


def _number_or_null(value: float) -> float | None:
    # JSON has no NaN
    return round(value, 4) if np.isfinite(value) else None


def _finite(measures: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 4) for key, value in measures.items() if np.isfinite(value)}
