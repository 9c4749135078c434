"""Fixtures that several packages' tests share: where the real chips are, and small chips made on the spot."""

import os
from pathlib import Path

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # two test processes share the cores; set before torch is imported

import pytest

from tests.worlds import World, make_world

pytest_plugins = ["tests.browser"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real example chips; tests that use it are skipped where it is absent."""
    folder = Path(os.environ.get("TIM_STORE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real example chips at {folder}; set TIM_STORE_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Nine chips of 32 px and four timesteps in five scenes; three test chips in two."""
    return make_world(tmp_path_factory.mktemp("world") / "chips")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests of the marker `gpu` where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
