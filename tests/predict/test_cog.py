"""A map's file is whole or is not there, even where GDAL raises nothing."""

import numpy as np
import pytest
import rasterio

from augment_store.chips.georeference import Georeference
from augment_store.errors import OutputError
from predict import cog
from predict.layers import class_map

SIDE = 700
"""More than a tile, so that there is an overview."""

PLACE = Georeference(rasterio.CRS.from_epsg(32618).to_wkt(), (10.0, 0.0, 5e5, 0.0, -10.0, 4e6))
VALUES = np.random.default_rng(0).integers(0, 3, (1, SIDE, SIDE)).astype(np.uint8)


def write(folder):
    (folder / "scratch").mkdir()
    layer = class_map(["water", "forest", "other"])
    strips = lambda: [(0, VALUES[:, :400]), (400, VALUES[:, 400:])]  # noqa: E731
    tags = {"MADE_BY": "a test"}
    cog.write_cog_of_strips(folder / "map.tif", layer, (SIDE, SIDE), PLACE, strips, tags, folder / "scratch")


def test_a_map_has_overviews_tags_and_every_value(tmp_path):
    write(tmp_path)
    with rasterio.open(tmp_path / "map.tif") as found:
        np.testing.assert_array_equal(found.read(), VALUES)
        assert found.overviews(1) == [2]
        assert found.tags()["MADE_BY"] == "a test"
    assert not any((tmp_path / "scratch").iterdir())


def test_an_overview_that_was_not_written_leaves_no_map(tmp_path, monkeypatch):
    """As where one write of GDAL's fails, after which it goes on and says nothing."""
    real, copies = cog._copy, []

    def copy(plain, draft, layer):
        real(plain, draft, layer)
        copies.append(draft)
        if len(copies) == 1:
            content = bytearray(draft.read_bytes())
            # a COG keeps its overview first, behind the directories
            content[len(content) // 10] ^= 255
            draft.write_bytes(content)
            with rasterio.open(draft) as damaged:  # the values themselves are as they were
                np.testing.assert_array_equal(damaged.read(), VALUES)

    monkeypatch.setattr(cog, "_copy", copy)
    with pytest.raises(OutputError, match="what was written is not what was predicted"):
        write(tmp_path)
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize(
    ("told", "raised"),
    [
        ("Unknown GDAL Error. To debug: https://rasterio.readthedocs.io", OutputError),
        ("error return without exception set", SystemError),
    ],
)
def test_a_bug_is_not_taken_for_a_full_disk(told, raised, tmp_path, monkeypatch):
    def copy(*_):
        raise SystemError(told)

    monkeypatch.setattr(cog, "_copy", copy)
    with pytest.raises(raised, match=told):
        write(tmp_path)
    assert not (tmp_path / "map.tif").exists()
