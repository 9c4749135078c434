"""Two things of ours that were swapped: messages say what was given instead."""

import pytest

from augment_store.chips.layouts import load_layout
from augment_store.errors import AugmentStoreError
from augment_store.modalities.legend_table import LegendTable
from augment_store.store.writer import AugmentStore
from eval.score.record import Score
from eval.study.config import Study
from finetune.run.manifest import RunManifest
from finetune.run.yaml_file import read_yaml

FINE_TUNE = "data: {}\nmodel: {}\n"
STUDY = "arms: {}\ncomparisons: {}\n"


@pytest.mark.parametrize(
    ("read", "text", "told"),
    [
        (read_yaml, STUDY, "not a fine-tune, but a study; give it to tim-eval study"),
        (Study.load, FINE_TUNE, "not a study, but a fine-tune; give it to tim-finetune fit"),
        (lambda path: load_layout(str(path)), STUDY, "not a layout, but a study; give it to tim-eval study"),
        (LegendTable.load, "images: {}\n", "not a legend table, but a layout; give it as --layout"),
        # the right kind with a mistake in it is told by its key
        (Study.load, f"{STUDY}seed: [1]\n", "not a study: seed: no such key; did you mean seeds?"),
        # a nested key is not offered itself
        (
            Study.load,
            "arms: {base: {confg: x}}\ncomparisons: {}\n",
            "not a study: arms.base.confg: no such key; did you mean config?",
        ),
    ],
)
def test_a_yaml_of_another_kind_is_named(read, text, told, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(AugmentStoreError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {told}")


@pytest.mark.parametrize(
    ("read", "file", "told"),
    [
        (
            AugmentStore.open,
            "manifest.json",
            "not an augment store (no zarr.json), but a run of tim-finetune fit; ",
        ),
        (RunManifest.read, "zarr.json", "directory of a run of tim-finetune fit, but an augment store"),
        (Score.read, "zarr.json", "no score, but an augment store; expected a run directory"),
        (Score.read, "absent", "no score; expected a run directory"),
    ],
)
def test_a_folder_of_another_kind_is_named(read, file, told, tmp_path):
    if file != "absent":
        (tmp_path / file).write_text("{}")
    with pytest.raises(AugmentStoreError) as caught:
        read(tmp_path)
    assert told in str(caught.value)
