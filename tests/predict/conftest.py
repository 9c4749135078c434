"""A world of small chips, and a run of each kind that the demo's generator made maps for, trained for one batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from finetune import load_run
from finetune.__main__ import main as finetune
from generate import generate
from tests.conftest import ROOT
from tests.sharing import made_once
from tests.worlds import SPLITS, World, make_world, rasters, write_tif

CONFIG = ROOT / "demo" / "configs" / "demo.yaml"
SIZE = 32
INPUTS = ("S2L2A", "S1RTC", "DEM")


@pytest.fixture(scope="session")
def dated(tmp_path_factory) -> World:
    """Chips of 32 px and two dates, as the demo's network takes them."""
    return World(made_once(tmp_path_factory, "dated", lambda root: make_world(root, SIZE, 2, SPLITS)))


@pytest.fixture(scope="session")
def maps(dated, tmp_path_factory) -> Path:
    """Land cover that the demo's generator made, tokens drawn at random."""

    def make(path: Path) -> None:
        generate(dated.root, path, generator="demo", accelerator="cpu", probabilities=True)

    return made_once(tmp_path_factory, "maps", make)


def train(world: World, run: Path, *arguments: str) -> Path:
    words = ["--config", str(CONFIG), "--chips", str(world.root), "--run", str(run), *arguments]
    words += ["--trainer.accelerator", "cpu", "--trainer.max_epochs", "1", "--data.init_args.batch_size", "2"]
    words += ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
    assert finetune(["fit", *words]) == 0
    return run


@pytest.fixture(scope="session")
def plain_run(dated, tmp_path_factory) -> Path:
    """A run without maps."""
    return made_once(tmp_path_factory, "plain_run", lambda run: train(dated, run))


@pytest.fixture(scope="session")
def other_run(dated, tmp_path_factory) -> Path:
    """The same with another seed."""
    return made_once(tmp_path_factory, "other_run", lambda run: train(dated, run, "--seed", "1"))


@pytest.fixture(scope="session")
def tim_run(dated, maps, tmp_path_factory) -> Path:
    """A run with generated maps."""
    return made_once(tmp_path_factory, "tim_run", lambda run: train(dated, run, "--augment", str(maps)))


def write_scene(folder: Path, made: dict[str, np.ndarray], name: str = "scene") -> dict[str, list[str]]:
    """Write rasters ``[T, C, H, W]`` as a scene, all dates in one file; return its files by modality."""
    files = {}
    for modality, values in made.items():
        path = folder / f"{name}_{modality}.tif"
        stored = values.astype(np.float32) if modality == "S1RTC" else values
        write_tif(path, stored.reshape(-1, *values.shape[-2:]))
        files[modality] = [str(path)]
    return files


@pytest.fixture(scope="session")
def scene(tmp_path_factory) -> dict[str, list[str]]:
    """A scene of 72 × 88 px: 4 × 5 windows."""
    return write_scene(tmp_path_factory.mktemp("scene"), rasters(3, (72, 88), 2))


def words_of(scene: dict[str, list[str]]) -> list[str]:
    """The scene as words of the command."""
    return ["--scene", *(f"{name}={file}" for name, files in scene.items() for file in files)]


@torch.inference_mode()
def predicted(run: Path, chip_id: str) -> np.ndarray:
    """Classes of a chip as `finetune predict` writes them."""
    loaded = load_run(run)
    loaded.datamodule.setup("predict")
    for batch in loaded.datamodule.predict_dataloader():
        (classes, _), _ = loaded.task.predict_step(loaded.datamodule.model_batch(batch), 0)
        if chip_id in batch["chip_id"]:
            return classes[batch["chip_id"].index(chip_id)].numpy()
    raise AssertionError(chip_id)
