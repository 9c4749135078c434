"""A static Space of Hugging Face: pick a test chip, and see what the model saw and said, and the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from augment_store.inspect.page.assembly import PageAssets, as_json, as_legend, assemble
from augment_store.inspect.views import draw_first
from augment_store.io.files import atomic_folder, atomic_write
from augment_store.modalities.definitions import DEM, IGNORED_LABEL, S1_MODALITIES, S2_MODALITIES
from augment_store.modalities.legend_table import legend
from augment_store.modalities.pictures import MapPicture, color_confidence, map_uri, photo_uri
from augment_store.modalities.rendering import NO_CODE
from augment_store.publish.attribution import ATTRIBUTIONS, PublicationInfo
from augment_store.store.writer import AugmentStore
from eval.errors import EvaluationError
from eval.score.predict import run_network
from finetune.data.dataset import collate
from finetune.data.transform_checks import PixelGrid
from finetune.run.load import LoadedRun
from finetune.run.temperature import Temperature

MAX_CHIPS: Final = 24
"""Test chips that are shown, spread evenly over the split."""

SIDE: Final = 256
QUALITY: Final = 70

INPUTS: Final = {"natural colors": S2_MODALITIES, "radar": S1_MODALITIES, "relief": (DEM.name,)}
"""Modalities of which the first that a chip has is shown, by caption."""

_ASSETS: Final = PageAssets("eval.publish", ("space.js",))


def write_space(loaded: LoadedRun, claim: str, folder: Path, imprint: PublicationInfo) -> None:
    """Write the folder of a Space, whole or not at all.

    Args:
        loaded: The run that is published.
        claim: What its card says of it.
        folder: Folder to make.
        imprint: Name, license and credits.

    Raises:
        EvaluationError: If predictions do not lie where the pixels of a chip do.
        AugmentStoreError: If a test chip cannot be used.
        OutputError: If the folder is taken or cannot be written.
    """
    data, names = loaded.datamodule, loaded.datamodule.class_names
    data.setup("test")
    if data.grids["test"] != PixelGrid():
        raise EvaluationError(
            f"{loaded.source}: its test_transform crops, scales or moves pixels, so that pictures would not lie on one "
            "another; leave out --space"
        )
    legends = [{"title": "classes", "classes": as_legend(legend(names))}]
    store = _shown_store(loaded)
    if store is not None and store.spec.map.drawn_by_legend:
        legends.append({"title": "generated map", "classes": as_legend(store.spec.map.legend)})
    page = {"name": imprint.name, "claim": claim, "legends": legends, "chips": list(_chips(loaded))}
    with atomic_folder(folder) as draft:
        parts = assemble(_ASSETS, imprint.name, {"space": [as_json(page)]})
        atomic_write(draft / "index.html", (part.encode() for part in parts))
        (draft / "README.md").write_text(_card(imprint), encoding="utf-8")


def _card(imprint: PublicationInfo) -> str:
    header = {"title": imprint.name, "sdk": "static", "license": imprint.license_id, "pinned": False}
    credits_ = "\n".join(f"- {words}" for words in (*ATTRIBUTIONS, *imprint.attributions))
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\nTest chips of {imprint.name}.\n\n{credits_}\n"
    )


@torch.inference_mode()
def _chips(loaded: LoadedRun) -> Iterator[dict[str, Any]]:
    """Yield the chips that are shown, each with its pictures."""
    data = loaded.datamodule
    dataset, temperature = data.datasets["test"], Temperature.read(loaded.source)
    # the first of as many equal parts of the split as are shown
    places = np.linspace(0, len(dataset), min(MAX_CHIPS, len(dataset)), endpoint=False).astype(int)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    calibrated = temperature is not None and temperature.fits(loaded.checkpoint_sha256)
    divisor = temperature.value if temperature is not None and calibrated else 1.0
    batches = (collate([dataset[place]]) for place in places.tolist())
    for given, output, reference in run_network(loaded, device, batches):
        shares = (output.output[0].cpu().double() / divisor).softmax(dim=0).numpy()
        yield _chip(loaded, given, shares, reference[0])


def _chip(
    loaded: LoadedRun, given: Mapping[str, Any], shares: NDArray[np.float64], reference: NDArray[np.int64]
) -> dict[str, Any]:
    """Return what the page shows of a chip.

    Args:
        loaded: The run.
        given: Its batch.
        shares: Class probabilities ``[class, H, W]``.
        reference: ``[H, W]``.
    """
    [chip_id], [scene] = given["chip_id"], given["scene_id"]
    classes, predicted = legend(loaded.datamodule.class_names), shares.argmax(axis=0)
    labeled = reference != IGNORED_LABEL
    codes = np.where(labeled, reference, NO_CODE).astype(np.uint8)
    pictures = {
        **_input_pictures(loaded, chip_id),
        **_generated(loaded, chip_id),
        "prediction": map_uri(predicted.astype(np.uint8), classes),
        "probability of it, dark 0 to light 1": _photo(color_confidence(shares.max(axis=0))),
        "reference": map_uri(codes, classes),
    }
    return {
        "id": chip_id,
        "scene": scene,
        "right": float((predicted == reference)[labeled].mean()) if labeled.any() else None,
        "pictures": [{"caption": caption, "uri": uri} for caption, uri in pictures.items()],
    }


def _input_pictures(loaded: LoadedRun, chip_id: str) -> dict[str, str]:
    """Draw the inputs that the network reads, at the first timestep that it sees."""
    data = loaded.datamodule
    first, inputs = data.reading.timesteps[0], data.augmentation.inputs
    drawn = {
        caption: draw_first(data.chips, chip_id, _those_read(names, data.reading.modalities), inputs, first)
        for caption, names in INPUTS.items()
    }
    return {caption: _photo(picture) for caption, picture in drawn.items() if picture is not None}


def _those_read(names: Sequence[str], modalities: Sequence[str]) -> list[str]:
    return [name for name in names if name in modalities]


def _generated(loaded: LoadedRun, chip_id: str) -> dict[str, str]:
    """Draw the first sample of the generated map at the same timestep, where the network reads it."""
    store = _shown_store(loaded)
    if store is None:
        return {}
    kind = store.spec.map
    values = store.read(chip_id, kind.array)[0, loaded.datamodule.reading.timesteps[0]]
    return {"generated map": MapPicture.from_values(kind, values).uri(SIDE, QUALITY)}


def _shown_store(loaded: LoadedRun) -> AugmentStore | None:
    augmentation = loaded.datamodule.augmentation
    store = augmentation.store
    # a control joins other maps, and a store of tokens alone has none
    shown = store is not None and augmentation.control is None and not store.spec.tokens_only
    return store if shown else None


def _photo(picture: NDArray[np.uint8]) -> str:
    return photo_uri(picture, SIDE, QUALITY)
