"""Worlds, stores and tiny models that stage 2's tests share."""

from pathlib import Path

import pytest
import torch

from tests.worlds import lulc_of_labels, make_spec, store_of


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny models gain nothing from threads and lose much where cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def lulc_store(world, tmp_path_factory) -> Path:
    """Random LULC maps, with probabilities and two samples."""
    path = tmp_path_factory.mktemp("stores") / "lulc"
    store_of(world.chips, path, make_spec(samples=2, probabilities=True))
    return path


@pytest.fixture(scope="session")
def plain_store(world, tmp_path_factory) -> Path:
    """LULC maps that predict the mask; one sample, no probabilities."""
    path = tmp_path_factory.mktemp("stores") / "plain"
    store_of(world.chips, path, make_spec(), given=lulc_of_labels(world))
    return path


@pytest.fixture(scope="session")
def ndvi_store(world, tmp_path_factory) -> Path:
    """Random NDVI maps."""
    path = tmp_path_factory.mktemp("stores") / "ndvi"
    store_of(world.chips, path, make_spec("NDVI"))
    return path
