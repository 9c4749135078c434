"""A store, and one tiny run of each kind, trained once for all of evaluation's tests."""

import shutil
from pathlib import Path

import pytest

from finetune.__main__ import main
from tests.sharing import made_once
from tests.worlds import World, lulc_of_labels, make_spec, store_of, tiny_options


@pytest.fixture(scope="session")
def store(world, tmp_path_factory) -> Path:
    """LULC maps that predict the mask: class number is label + 1."""

    def make(path: Path) -> None:
        store_of(world.chips, path, make_spec(), given=lulc_of_labels(world))

    return made_once(tmp_path_factory, "eval_store", make)


def fit(world: World, run: Path, config: str, *arguments: str) -> Path:
    """Trains the tiny backbone for one batch."""
    short = [
        *("--run", str(run), "--trainer.max_epochs", "1"),
        *("--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"),
    ]
    assert main(["fit", *tiny_options(world, config, "terramind_v1_tiny"), *short, *arguments]) == 0
    return run


def own_copy(factory: pytest.TempPathFactory, trained: Path) -> Path:
    """A worker's own copy of a run, to score and publish; its manifest has the paths of chips and store."""
    return shutil.copytree(trained, factory.mktemp("runs") / trained.name)


@pytest.fixture(scope="session")
def baseline(world, tmp_path_factory) -> Path:
    """A run without cached modalities."""
    trained = made_once(tmp_path_factory, "baseline", lambda run: fit(world, run, "nyc_phase2"))
    return own_copy(tmp_path_factory, trained)


@pytest.fixture(scope="session")
def tim(world, store, tmp_path_factory) -> Path:
    """A run with cached LULC."""
    augment = ("--augment", str(store))
    trained = made_once(tmp_path_factory, "tim", lambda run: fit(world, run, "nyc_tim_lulc", *augment))
    return own_copy(tmp_path_factory, trained)
