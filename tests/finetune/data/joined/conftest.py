"""Tiles in the layout of TerraTorch's own datamodules, and a store of them."""

from pathlib import Path

import pytest

from tests.finetune.data.joined.datamodules import Tiles, as_lulc, write_tiles
from tests.worlds import make_spec, store_of


@pytest.fixture(scope="session")
def tiles(tmp_path_factory) -> Tiles:
    """Every Sentinel-2 band is 100 × the class that the store has for the pixel; the mask is whether it is odd."""
    return write_tiles(tmp_path_factory.mktemp("tiles") / "mine")


@pytest.fixture(scope="session")
def store(tiles, tmp_path_factory) -> Path:
    """A store whose LULC maps are the classes of the tiles."""
    path = tmp_path_factory.mktemp("stores") / "lulc"
    store_of(tiles.chips, path, make_spec(inputs=("S2L2A", "S1RTC")), given=as_lulc(tiles.ids))
    return path
