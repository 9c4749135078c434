import hashlib
import os
from pathlib import Path

import pytest
import torch

from generate.cli.main import main
from generate.model.terramind import load_generator
from terramind_weights.catalog import PUBLISHED
from terramind_weights.weight_files import WeightsError, locate
from tests.worlds import make_sampling

pytestmark = pytest.mark.slow

TINY = PUBLISHED["terramind_v1_tiny"]


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A folder with TerraMind tiny and its LULC tokenizer in the published key layout, with random tensors."""
    from terratorch.registry import TERRATORCH_FULL_MODEL_REGISTRY

    folder = tmp_path_factory.mktemp("published")
    model = TERRATORCH_FULL_MODEL_REGISTRY.build(
        TINY.architecture,
        modalities=["S2L2A", "S1RTC", "DEM", "tok_lulc@224"],
        output_modalities=["LULC"],
        pretrained=False,
    )
    network = {name: tensor.clone() for name, tensor in model.sampler.model.state_dict().items()}
    assert not any(name.startswith("sampler") for name in network)
    torch.save(
        network | {"encoder_embeddings.caption.mod_emb": torch.ones(3)}, folder / TINY.network.filename
    )
    torch.save(model.tokenizer["tok_lulc@224"].state_dict(), folder / TINY.tokenizers["LULC"].filename)
    return folder


def load(weights, **changes):
    return load_generator(TINY, ["S2L2A", "DEM"], "LULC", make_sampling(**changes), str(weights))


@pytest.mark.parametrize("steps", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_published_files_load_with_proof_and_their_digests(published, steps):
    loaded = load(published, decoding_steps=steps)
    saved = torch.load(published / TINY.network.filename, weights_only=True)
    for name, tensor in loaded.module.network.state_dict().items():
        assert torch.equal(tensor, saved[name])
    assert loaded.weights == "checkpoint"
    content = (published / TINY.network.filename).read_bytes()
    assert loaded.network_sha256 == hashlib.sha256(content).hexdigest()


def test_a_filled_hugging_face_cache_works_offline(published, tmp_path, monkeypatch):
    from huggingface_hub import constants

    for file in (TINY.network, TINY.tokenizers["LULC"]):
        repo = tmp_path / f"models--{str(file.repo_id).replace('/', '--')}"
        (repo / "refs").mkdir(parents=True)
        (repo / "refs" / "main").write_text("abc123")
        (repo / "snapshots" / "abc123").mkdir(parents=True)
        os.link(published / file.filename, repo / "snapshots" / "abc123" / file.filename)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert locate(TINY.network, TINY, None).name == "TerraMind_v1_tiny.pt"
    assert load("hub").weights == "checkpoint"


def test_an_empty_cache_says_how_to_fill_it(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    expected = r"not in the Hugging Face cache .*hf download ibm-esa-geospatial/TerraMind-1.0-tiny .*--weights FOLDER"
    with pytest.raises(WeightsError, match=expected):
        load("hub")


@pytest.mark.parametrize(
    "change", ["renamed", *(pytest.param(c, marks=pytest.mark.nightly) for c in ("missing", "reshaped"))]
)
def test_the_published_file_with_one_tensor_wrong_is_refused(published, tmp_path, change):
    name = "encoder.11.mlp.fc2.weight"
    state = torch.load(published / TINY.network.filename, weights_only=True)
    tensor = state.pop(name)
    if change != "missing":
        state[name if change == "reshaped" else f"sampler.model.{name}"] = tensor[:, :-1]
    torch.save(state, tmp_path / TINY.network.filename)
    os.link(published / TINY.tokenizers["LULC"].filename, tmp_path / TINY.tokenizers["LULC"].filename)
    with pytest.raises(WeightsError, match=rf"TerraMind_v1_tiny.pt: tensor {name} (is missing|has shape)"):
        load(tmp_path)


def test_unknown_generator_lists_the_known_ones(chips, tmp_path, capsys):
    arguments = ["--chips", str(chips), "--store", str(tmp_path / "s"), "--generator", "terramind_v9"]
    assert main(arguments) == 2
    assert "unknown generator 'terramind_v9'; known generators: terramind_v1_tiny" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
