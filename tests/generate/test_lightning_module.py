"""From the decoder's output to the store's arrays, by family, against values computed by hand."""

import numpy as np
import pytest
import torch

from augment_store.modalities.registry import MAPS
from augment_store.store.schema import ChipShape, map_arrays
from generate.data.datamodule import ChipInput, ImageBatch
from generate.lightning_module import GenerationModule, device_maps, stored
from generate.model.map_decoder import Generated
from tests.worlds import make_sampling, make_spec

pytestmark = pytest.mark.slow


def test_classes_confidence_and_mean_probabilities():
    logits = torch.zeros(2, 10, 1, 1)  # S, classes, H, W
    logits[0, 3] = np.log(11.0)  # 11 / (9 + 11) = 0.55 of the whole, 0.05 each of the others
    logits[1, 7] = np.log(81.0)  # 81 / 90 = 0.9, and 1/90 each of the others
    made = {name: values[0].numpy() for name, values in device_maps(MAPS["LULC"], logits[None]).items()}
    assert made["lulc"].flatten().tolist() == [3, 7]
    assert made["confidence"].flatten().tolist() == [140, 230]  # 0.55 · 255 = 140.25, 0.9 · 255 = 229.5
    assert made["probabilities"].shape == (10, 1, 1)
    assert made["probabilities"][3, 0, 0] == 72  # (0.55 + 1/90) / 2 · 255 = 71.5
    assert {str(values.dtype) for values in made.values()} == {"uint8"}


def stored_values(modality, decoded):
    """The main array of one image's samples, as the store takes it."""
    kind = MAPS[modality]
    [array, *_] = kind.arrays(probabilities=False)
    return stored(kind, array, device_maps(kind, decoded[None])[array.name][0].numpy())


def test_values_lose_the_band_axis_where_there_is_one_band():
    assert stored_values("NDVI", torch.full((2, 1, 4, 4), 0.25)).shape == (2, 4, 4)
    radar = stored_values("S1RTC", torch.full((2, 2, 4, 4), -10.93))
    assert radar.shape == (2, 2, 4, 4)
    assert (radar == -1093).all()
    assert radar.dtype == np.int16


class Stub(torch.nn.Module):
    """Generates the number of the timestep."""

    modality = "S2L2A"
    sampling = make_sampling()

    def generate(self, images, owners):
        numbers = torch.tensor([float(owner.timestep) for owner in owners]).view(-1, 1, 1, 1)
        tokens = numbers.expand(-1, 2, 2, 2)
        decoded = numbers[..., None].expand(-1, 2, 12, 32, 32)
        return Generated(tokens, tokens / 10, decoded, torch.ones(len(owners), 2, dtype=torch.bool))


def test_a_timestep_is_generated_once_and_copied_to_those_with_the_same_input():
    sources, taken = np.array([0, 0, 2], np.int16), np.array([[0, 4, 9]], np.int32)
    chip = ChipInput("a", {"DEM": torch.zeros(2, 1, 32, 32)}, np.zeros((3, 16), np.uint8), sources, taken)
    module = GenerationModule(Stub(), probabilities=False)
    images = {"DEM": torch.zeros(2, 1, 32, 32)}
    assert module.predict_step(ImageBatch([chip, chip], [0, 1], images, []), 0) == []  # it is under way
    [record] = module.predict_step(ImageBatch([], [], {}, []), 1)
    schemas = map_arrays(make_spec("S2L2A", samples=2), ChipShape(3, 32, 32))
    assert {s.name: s.shape for s in schemas} == {s.name: record.arrays[s.name].shape for s in schemas}
    assert record.arrays["series_index"].tolist() == [[0, 4, 9]]
    for name, scale in (("tokens", 1), ("token_probability", 10), ("s2l2a", 1)):
        in_time = record.arrays[name][1].reshape(3, -1)[:, 0] * scale
        assert in_time.tolist() == pytest.approx([0, 0, 2])
