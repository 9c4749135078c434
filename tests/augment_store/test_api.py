"""Looking at a store from Python."""

import pytest
from matplotlib.figure import Figure

from augment_store import inspect_store, plot_chip
from augment_store.errors import AugmentStoreError
from augment_store.testing import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("looked") / "s", chips=6, pending=1)


def test_an_inspection_shows_a_summary_and_the_first_maps(store):
    found = inspect_store(store.path, worst=2, quiet=True)
    assert len(found) == 5  # of six, one is pending
    assert len(found.chosen) == 2
    assert repr(found).startswith(f"<StoreInspection {store.path}: 5 chips summarized, ")
    html = found._repr_html_()
    assert "chips summarized" in html
    assert html.count("<img") == 2


def test_chips_are_drawn_a_row_each(store):
    # a column for map, token probability and confidence
    assert len(inspect_store(store.path, ids=store.chip_ids[:2], quiet=True).plot().axes) == 2 * 3
    figure = plot_chip(store.path, store.chip_ids[0])
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 3
    assert figure._repr_png_().startswith(b"\x89PNG")  # a notebook shows it without %matplotlib inline


def test_what_the_command_refuses_is_refused(store):
    with pytest.raises(AugmentStoreError, match="--timestep 9: the store has 0 to"):
        inspect_store(store.path, timestep=9)
    with pytest.raises(AugmentStoreError, match="nobody"):
        plot_chip(store.path, "nobody")
