from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from terratorch.registry import BACKBONE_REGISTRY, FULL_MODEL_REGISTRY

from demo.generator.registration import SOURCE, WEIGHTS, load_generator, read_network
from demo.world.scenes import GENERATOR_HELD_OUT, draw_scene
from terramind_weights.catalog import find_generator
from tools.demo_generator.samples import LULC, NDVI
from tools.demo_generator.score import Trained, agreement, generated_maps, most_frequent, radar_rule

pytestmark = pytest.mark.slow

MODALITIES = ["S2L2A", "S1RTC", "DEM"]


def test_the_catalogue_finds_the_demo() -> None:
    source = find_generator("demo")
    assert source == SOURCE
    assert source.folder is not None
    for file in (source.network, *source.tokenizers.values()):
        assert (source.folder / file.filename).is_file()


def test_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 10_000_000


def test_every_tensor_is_in_the_files() -> None:
    model = FULL_MODEL_REGISTRY.build(
        SOURCE.architecture,
        modalities=[*MODALITIES, "LULC", "NDVI"],
        output_modalities=["LULC", "NDVI"],
        pretrained=True,
    )
    network = read_network(WEIGHTS / SOURCE.network.filename)
    assert network.keys() == model.sampler.model.state_dict().keys()
    for key, tensor in model.sampler.model.state_dict().items():
        torch.testing.assert_close(tensor, network[key], rtol=0, atol=0, msg=key)
    for key, modality in ((LULC, "LULC"), (NDVI, "NDVI")):
        stored = load_file(WEIGHTS / SOURCE.tokenizers[modality].filename)
        loaded = model.tokenizer[key].state_dict()
        assert stored.keys() == loaded.keys()
        assert all(torch.equal(loaded[name], stored[name].float()) for name in stored)


def test_backbone_gets_the_generators_encoder() -> None:
    backbone = BACKBONE_REGISTRY.build("terramind_demo", modalities=[*MODALITIES, "LULC"], pretrained=True)
    network = read_network(WEIGHTS / SOURCE.network.filename)
    state = {key: value for key, value in backbone.state_dict().items() if not key.startswith("tokenizer.")}
    assert all(torch.equal(value, network[key]) for key, value in state.items())


def test_backbone_takes_band_subsets_and_new_bands() -> None:
    bands = {"S2L2A": ["RED", "NEW"]}
    backbone = BACKBONE_REGISTRY.build("terramind_demo", modalities=["S2L2A"], pretrained=True, bands=bands)
    key = "encoder_embeddings.untok_sen2l2a@224.proj.weight"
    ours = backbone.state_dict()[key].unflatten(1, (256, 2))
    whole = read_network(WEIGHTS / SOURCE.network.filename)[key].unflatten(1, (256, 12))
    torch.testing.assert_close(ours[..., 0], whole[..., 3], rtol=0, atol=0)
    assert backbone(torch.zeros(1, 2, 64, 64))[-1].shape == (1, 16, 72)


def test_backbone_takes_another_file(tmp_path: Path) -> None:
    copy = tmp_path / "network.safetensors"
    copy.write_bytes((WEIGHTS / SOURCE.network.filename).read_bytes())
    backbone = BACKBONE_REGISTRY.build("terramind_demo", modalities=["DEM"], ckpt_path=str(copy))
    network = read_network(copy)
    assert all(torch.equal(value, network[key]) for key, value in backbone.state_dict().items())


def test_in_line_tim_runs_on_the_same_weights() -> None:
    model = BACKBONE_REGISTRY.build(
        "terramind_demo_tim", modalities=["S1RTC"], tim_modalities=["LULC"], pretrained=True
    )
    network = read_network(WEIGHTS / SOURCE.network.filename)
    state = model.sampler.model.state_dict()
    assert all(torch.equal(state[key], network[key]) for key in state)
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 2, 64, 64))[-1].shape == (1, 16, 72)


@pytest.mark.nightly
def test_generated_maps_beat_rules_that_need_no_learning() -> None:
    scenes = [draw_scene(number, rows=1, columns=2) for number in GENERATOR_HELD_OUT[100:108]]
    windows = [(chip, 0) for scene in scenes for chip in scene.chips()]
    truth = np.stack([chip.lulc for chip, _ in windows])
    model = load_generator(WEIGHTS)
    trained = Trained(model.sampler.model, dict(model.tokenizer.items()))
    full = agreement(generated_maps(trained, windows, MODALITIES), truth)
    radar = agreement(generated_maps(trained, windows, ["S1RTC"]), truth)
    assert full.classes > agreement(radar_rule(windows), truth).classes + 0.15
    assert full.classes > agreement(most_frequent(windows), truth).classes + 0.2
    assert full.classes > radar.classes


@pytest.mark.parametrize("architecture", ["terramind_demo_generate"])
def test_random_weights_are_to_be_had(architecture: str) -> None:
    first, second = (
        FULL_MODEL_REGISTRY.build(architecture, modalities=["DEM"], output_modalities=["NDVI"])
        for _ in range(2)
    )
    assert not torch.equal(first.sampler.model.mask_token, second.sampler.model.mask_token)
