"""A store, and one tiny run of each kind, trained once for all of evaluation's tests."""

from pathlib import Path

import pytest

from finetune.__main__ import main
from tests.worlds import World, lulc_of_labels, make_spec, store_of, tiny_options


@pytest.fixture(scope="session")
def store(world, tmp_path_factory) -> Path:
    """LULC maps that predict the mask: class number is label + 1."""
    path = tmp_path_factory.mktemp("eval_stores") / "lulc"
    store_of(world.chips, path, make_spec(), given=lulc_of_labels(world))
    return path


def fit(world: World, run: Path, config: str, *arguments: str) -> Path:
    """Trains the tiny backbone for one batch."""
    short = [
        *("--run", str(run), "--trainer.max_epochs", "1"),
        *("--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"),
    ]
    assert main(["fit", *tiny_options(world, config), *short, *arguments]) == 0
    return run


@pytest.fixture(scope="session")
def baseline(world, tmp_path_factory) -> Path:
    """A run without cached modalities."""
    return fit(world, tmp_path_factory.mktemp("runs") / "baseline", "nyc_phase2")


@pytest.fixture(scope="session")
def tim(world, store, tmp_path_factory) -> Path:
    """A run with cached LULC."""
    return fit(world, tmp_path_factory.mktemp("runs") / "tim", "nyc_tim_lulc", "--augment", str(store))
