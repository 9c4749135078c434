import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from demo.generator.registration import terramind_demo_generate
from demo.world.scenes import Raster, draw_scene
from tools.demo_generator.prediction import decode_expected, predict, tokenize
from tools.demo_generator.samples import DEM, LULC, NDVI, S1, S2, draw_batch
from tools.demo_generator.train import PLAN, Plan, evaluate, train
from tools.demo_generator.training import Schedule, Task, deterministic, draw_task, masked_token_loss

pytestmark = pytest.mark.slow

SHORT = Schedule(steps=2, batch=2, peak=1e-3)
TINY = Plan(scenes=1, held_out=1, lulc=SHORT, ndvi=SHORT, network=SHORT)


@pytest.fixture(scope="module")
def scene() -> Raster:
    return draw_scene(11)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    names = ["S2L2A", "S1RTC", "DEM", "LULC", "NDVI"]
    return terramind_demo_generate(modalities=names, output_modalities=["LULC", "NDVI"]).eval()


def quiet() -> Console:
    return Console(file=io.StringIO())


def train_tiny(folder: Path) -> Path:
    with Progress(console=quiet()) as progress:
        train(TINY, 4, folder, progress)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training of a few steps leaves."""
    return train_tiny(tmp_path_factory.mktemp("trained") / "weights")


@pytest.mark.nightly
def test_training_twice_gives_equal_bytes(trained: Path, tmp_path: Path) -> None:
    again = train_tiny(tmp_path / "again")
    files = sorted(path.name for path in trained.iterdir())
    assert files == ["terramind_demo.safetensors", "tokenizer_lulc.safetensors", "tokenizer_ndvi.safetensors"]
    assert sorted(path.name for path in again.iterdir()) == files
    for name in files:
        assert (again / name).read_bytes() == (trained / name).read_bytes(), name


@pytest.mark.nightly
def test_evaluation_prints_and_writes_the_card(trained: Path, tmp_path: Path) -> None:
    console, folder = quiet(), shutil.copytree(trained, tmp_path / "weights")
    with Progress(console=console) as progress:
        evaluate(TINY, 4, folder, progress, console)
    card = (folder / "CARD.md").read_text()
    for source in ("most frequent class", "nearest spectrum, S1RTC", "generated from S2L2A + S1RTC + DEM"):
        assert source in card
        assert source in console.file.getvalue()
    assert "network 2 of 2 windows" in card


def test_deterministic_puts_everything_back() -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    with deterministic(seed=1, threads=1):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        torch.rand(3)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_batches_are_standardised_windows(scene: Raster) -> None:
    batch = draw_batch(np.random.default_rng(0), [scene], 3, (S2, S1, DEM))
    assert {key: tuple(image.shape) for key, image in batch.inputs.items()} == {
        S2: (3, 12, 128, 128),
        S1: (3, 2, 128, 128),
        DEM: (3, 1, 128, 128),
    }
    planes = batch.map_of(LULC)
    assert torch.equal(planes.argmax(1), batch.lulc)
    assert torch.equal(planes.sum(1), torch.ones(3, 128, 128))
    assert batch.inputs[S1].abs().mean() < 2.0


def test_predict_equals_upstreams_own_forward(scene: Raster) -> None:
    model = terramind_demo_generate(
        modalities=["S2L2A", "DEM"], output_modalities=["LULC"], top_k=1, top_p=0.0
    ).eval()
    batch = draw_batch(np.random.default_rng(0), [scene], 2, (S2, DEM))
    positions = torch.arange(64).expand(2, -1)
    with torch.no_grad():
        ours = predict(model.sampler.model, batch.inputs, {}, LULC, positions).argmax(-1)
        theirs = model({"S2L2A": batch.inputs[S2], "DEM": batch.inputs[DEM]})["LULC"]
    decoded = model.tokenizer[LULC].decode_tokens(ours.unflatten(1, (8, 8)))
    torch.testing.assert_close(decoded, theirs)


def test_expected_code_of_a_certain_prediction_is_the_token(model: torch.nn.Module, scene: Raster) -> None:
    tokenizer = model.tokenizer[LULC]
    batch = draw_batch(np.random.default_rng(0), [scene], 2)
    tokens = tokenize(tokenizer, batch, LULC)
    positions = torch.arange(10).expand(2, -1)
    certain = torch.nn.functional.one_hot(tokens[:, :10], 4375).float()
    with torch.no_grad():
        decoded = decode_expected(tokenizer, certain, tokens, positions)
        torch.testing.assert_close(decoded, tokenizer.decode_tokens(tokens.unflatten(1, (8, 8))))


@pytest.mark.parametrize("target", [LULC, NDVI])
def test_loss_reaches_every_part_it_should(model: torch.nn.Module, scene: Raster, target: str) -> None:
    rng = np.random.default_rng(0)
    batch = draw_batch(rng, [scene], 2, (S1,))
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(64), (2, 1)), axis=1))
    network, tokenizers = model.sampler.model, dict(model.tokenizer.items())
    network.zero_grad()
    masked_token_loss(
        network, tokenizers, batch, Task((S1,), target, revealed=20, cross=True), order
    ).backward()
    for key in (LULC, NDVI):
        assert network.encoder_embeddings[key].token_emb.weight.grad.abs().sum() > 0
    assert network.decoder_embeddings[target].token_emb.weight.grad.abs().sum() > 0
    assert network.encoder_embeddings[S1].proj.weight.grad.abs().sum() > 0
    assert network.encoder_embeddings[S2].proj.weight.grad is None


def test_tasks_cover_what_generation_needs() -> None:
    rng = np.random.default_rng(0)
    tasks = [draw_task(rng) for _ in range(300)]
    assert {task.inputs for task in tasks} >= {(S1,), (S2,), (S2, S1, DEM)}
    assert {task.target for task in tasks} == {LULC, NDVI}
    assert max(task.revealed for task in tasks) < 64
    assert {task.cross for task in tasks} == {True, False}


def test_shipped_plan_is_the_cards() -> None:
    card = (Path(__file__).parents[2] / "demo" / "weights" / "CARD.md").read_text()
    assert f"network {PLAN.network.steps} of {PLAN.network.batch} windows" in card
    assert f"{PLAN.scenes} procedural scenes" in card
