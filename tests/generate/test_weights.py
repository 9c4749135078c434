import hashlib
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from augment_store.catalog import PUBLISHED, GeneratorSource, WeightFile, find_generator
from generate.command import main
from generate.terramind import load_generator
from generate.weights import WeightsError, load_proven, locate, read_state
from tests.generate.conftest import sampling

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
    return load_generator(TINY, ["S2L2A", "DEM"], "LULC", sampling(**changes), str(weights))


@pytest.mark.parametrize("steps", [1, 2])
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
    assert locate(TINY.network, TINY, "hub").name == "TerraMind_v1_tiny.pt"
    assert load("hub").weights == "checkpoint"


def test_an_empty_cache_says_how_to_fill_it(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    expected = r"not in the Hugging Face cache .*hf download ibm-esa-geospatial/TerraMind-1.0-tiny .*--weights FOLDER"
    with pytest.raises(WeightsError, match=expected):
        load("hub")


@pytest.fixture
def head() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))


def changed(state, change):
    state = {name: tensor.clone() for name, tensor in state.items()}
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.bias"), "tensor 0.bias is missing"),
        (lambda s: s.update({"0.biases": s.pop("0.bias")}), "tensor 0.bias is missing"),
        (
            lambda s: s.update({"0.weight": torch.ones(2, 4)}),
            r"tensor 0.weight has shape \(2, 4\), expected \(2, 3\)",
        ),
        (lambda s: s["1.weight"].fill_(torch.nan), "tensor 1.weight differs from the file after loading"),
    ],
)
def test_missing_renamed_reshaped_or_nan_tensors_are_refused(head, change, message):
    state = changed(head.state_dict(), change)
    with pytest.raises(WeightsError, match=message):
        load_proven(head, state, Path("file.pt"))


@pytest.mark.parametrize("change", ["missing", "renamed", "reshaped"])
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


def test_tied_tensors_must_agree(head):
    head[0].bias = head[1].bias
    state = changed(head.state_dict(), lambda s: s.update({"1.bias": torch.ones(2)}))
    with pytest.raises(WeightsError, match=r"tensor 0.bias differs"):
        load_proven(head, state, Path("file.pt"))
    only_one = changed(head.state_dict(), lambda s: s.pop("1.bias"))
    load_proven(head, only_one, Path("file.pt"))


def test_half_precision_files_are_compared_after_the_cast(head):
    state = {name: tensor.half() for name, tensor in head.state_dict().items()}
    load_proven(head, state, Path("file.pt"))
    assert torch.equal(head[0].weight, state["0.weight"].float())


class Trap:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("content", ["damaged", "trap", "nested"])
def test_files_that_are_no_flat_state_dict_are_refused(tmp_path, content):
    path = tmp_path / "file.pt"
    made = {"trap": Trap(), "nested": {"model": {"a": torch.ones(1)}}}
    path.write_bytes(b"PK\x03\x04 not a zip") if content == "damaged" else torch.save(made[content], path)
    with pytest.raises(WeightsError, match=r"file.pt: (cannot be read|expected a flat state dict)"):
        read_state(path)


def test_safetensors_are_read(tmp_path):
    save_file({"a": torch.arange(3.0)}, tmp_path / "file.safetensors")
    assert torch.equal(read_state(tmp_path / "file.safetensors")["a"], torch.arange(3.0))


def test_files_that_ship_with_a_package_are_found_there(tmp_path):
    file = WeightFile("w.safetensors")
    source = GeneratorSource("x", "x_generate", file, {}, folder=tmp_path)
    with pytest.raises(WeightsError, match="ships with its package; install that again"):
        locate(file, source, "hub")
    (tmp_path / "w.safetensors").touch()
    assert locate(file, source, "hub") == tmp_path / "w.safetensors"


def test_unknown_generator_lists_the_known_ones(chips, tmp_path, capsys):
    arguments = ["--chips", str(chips), "--store", str(tmp_path / "s"), "--generator", "terramind_v9"]
    assert main(arguments) == 2
    assert "unknown generator 'terramind_v9'; known generators: terramind_v1_tiny" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_the_catalogue_names_the_published_files():
    base = find_generator("terramind_v1_base")
    assert base.network == WeightFile("TerraMind_v1_base.pt", "ibm-esa-geospatial/TerraMind-1.0-base")
    assert base.tokenizers["NDVI"].filename == "TerraMind_Tokenizer_NDVI.pt"
