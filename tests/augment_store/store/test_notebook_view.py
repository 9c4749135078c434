"""How a store and a chip set show themselves in a terminal and in a notebook."""

import base64
import io
import re

import pytest
from PIL import Image

from augment_store import AugmentStore, ChipSet
from augment_store.store.chip_index import ChipEntry
from tests.worlds import make_spec, make_store, write_folder_chips


def pictures(html):
    uris = re.findall(r"src='data:image/\w+;base64,([^']+)'", html)
    return [Image.open(io.BytesIO(base64.b64decode(uri))) for uri in uris]


def test_a_store_says_what_it_is(tmp_path):
    store = make_store(tmp_path / "s", chips=6, pending=1)
    assert len(store) == 6
    assert repr(store) == (
        f"<AugmentStore {tmp_path}/s: LULC by terramind_v1_tiny, 6 chips of 1 timestep of 32 px>"
    )


@pytest.mark.parametrize("modality", ["LULC", "NDVI", "S1RTC"])
def test_a_store_shows_a_table_and_maps_in_a_notebook(tmp_path, modality):
    html = make_store(tmp_path / "s", chips=6, pending=1, spec=make_spec(modality))._repr_html_()
    assert "5 of 6 chips complete, 1 pending" in html
    assert f"{modality} by terramind_v1_tiny, random weights" in html
    assert [picture.size for picture in pictures(html)] == [(32, 32)] * 4


def test_an_id_is_no_markup_in_a_notebook(tmp_path):
    html = make_store(tmp_path / "s", chips=1, entries=[ChipEntry("<img src=x>", "s")])._repr_html_()
    assert "&lt;img src=x&gt;" in html
    assert "<img src=x>" not in html


def test_a_store_without_chips_and_a_damaged_one_show_their_table(tmp_path):
    assert "0 of 0 chips complete" in make_store(tmp_path / "none", chips=0)._repr_html_()
    store = make_store(tmp_path / "s", chips=2)
    chunk = next(path for path in (store.path / "lulc" / "c").rglob("*") if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-7])
    html = AugmentStore.open(store.path)._repr_html_()
    assert "2 of 2 chips complete" in html


def test_a_chip_set_says_what_it_is(tmp_path):
    write_folder_chips(tmp_path / "c", ["a_r0c0", "a_r0c1"])
    chips = ChipSet.open(tmp_path / "c")
    assert len(chips) == 2
    assert repr(chips) == f"<ChipSet {tmp_path}/c: 2 chips, layout folders>"
    html = chips._repr_html_()
    assert re.search(r"modalities</th><td[^>]*>S2L2A, S1RTC, DEM</td>", html)
    assert [picture.size for picture in pictures(html)] == [(32, 32)] * 2
