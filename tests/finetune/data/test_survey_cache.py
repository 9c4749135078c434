"""What is kept of chips between runs: believed only where no file has changed since it was read."""

import json
import os
import shutil
import tarfile
import time

import numpy as np
import pytest

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import Image, Layout
from augment_store.errors import ChipDataError
from augment_store.store.writer import AugmentStore
from finetune.augment.map_cache import MapCache
from finetune.data import survey_cache
from finetune.data.split_checks import SplitRequirements, survey_chips
from finetune.data.survey_cache import CachedSurvey
from tests.worlds import World, make_world, rasters, store_of, write_impactmesh_chip

MODALITIES = ("S2L2A", "DEM")


@pytest.fixture
def chips(world, tmp_path, monkeypatch):
    """Chips whose files count as settled, though they were written a moment ago."""
    monkeypatch.setattr(survey_cache, "SETTLED", 0)
    return World(shutil.copytree(world.root, tmp_path / "chips")).chips


@pytest.fixture
def read(monkeypatch):
    """Ids of the chips that were read from disk."""
    found = []
    reading = ChipSet.read
    monkeypatch.setattr(
        ChipSet, "read", lambda chips, *asked: (found.append(asked[0]), reading(chips, *asked))[1]
    )
    return found


def survey(chips, folder, **more):
    return dict(CachedSurvey(chips, MODALITIES, folder=folder, **more).read(reversed(chips.ids)))


def test_a_second_survey_reads_nothing_and_finds_the_same(chips, read, tmp_path):
    first = survey(chips, tmp_path / "kept")
    assert sorted(read) == sorted(chips.ids)
    assert tuple(first) == tuple(sorted(chips.ids))
    read.clear()
    assert survey(chips, tmp_path / "kept") == first
    assert not read
    assert survey(chips, None) != first  # without a folder there is no stamp
    assert sorted(read) == sorted(chips.ids)
    assert not (tmp_path / "chips" / "kept").exists()


def test_what_is_kept_is_what_a_reader_finds(chips, tmp_path):
    survey(chips, tmp_path / "kept")
    found = survey(chips, tmp_path / "kept")[chips.ids[0]]
    chip, mask = chips.read(chips.ids[0], MODALITIES), chips.mask(chips.ids[0])
    assert bytes.fromhex(found.inputs) == chip.digests().tobytes()
    assert found.shape.shape == found.mask_shape == mask.shape
    assert found.labels == tuple(np.unique(mask).tolist())
    assert found.informative


def test_a_chip_whose_file_has_changed_is_read_again_whatever_its_size_and_time(chips, read, tmp_path):
    first = survey(chips, tmp_path / "kept")
    path = chips.path(chips.ids[2], "DEM")
    before = path.stat()
    write_impactmesh_chip(chips.root, chips.ids[2], rasters(99, 32, 4))
    assert path.stat().st_size == before.st_size
    for name in MODALITIES:  # as a copy that keeps the time of modification leaves it
        changed = chips.path(chips.ids[2], name)
        os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    read.clear()
    second = survey(chips, tmp_path / "kept")
    assert read == [chips.ids[2]]
    assert [name for name in first if first[name].inputs != second[name].inputs] == [chips.ids[2]]


def test_a_mask_or_a_sidecar_that_comes_is_noticed(chips, read, tmp_path):
    survey(chips, tmp_path / "kept")
    read.clear()
    dem = chips.path(chips.ids[1], "DEM")
    dem.with_name(f"{dem.name}.aux.xml").write_text("<PAMDataset/>")
    os.utime(chips.mask_path(chips.ids[3]))
    survey(chips, tmp_path / "kept")
    assert sorted(read) == [chips.ids[1], chips.ids[3]]


@pytest.mark.parametrize("other", [{"masks": False}, {"generator": ("S1RTC",)}])
def test_another_question_is_another_survey(chips, read, tmp_path, other):
    survey(chips, tmp_path / "kept")
    read.clear()
    survey(chips, tmp_path / "kept", **other)
    assert sorted(read) == sorted(chips.ids)


def test_files_of_the_last_two_seconds_are_not_kept(chips, read, tmp_path, monkeypatch):
    """A file system that counts in whole seconds gives a change within one the same time."""
    monkeypatch.setattr(survey_cache, "SETTLED", 2_000_000_000)
    survey(chips, tmp_path / "kept")
    assert len(read) == len(chips.ids)
    now = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(survey_cache.time, "time_ns", lambda: now)
    survey(chips, tmp_path / "kept")
    assert len(read) == 2 * len(chips.ids)
    survey(chips, tmp_path / "kept")
    assert len(read) == 2 * len(chips.ids)


@pytest.mark.parametrize("content", ["", "{", '{"chips": {"a": {"stamp": 1}}}', '{"chips": [], "more": 1}'])
def test_a_damaged_file_is_said_and_made_again(chips, read, tmp_path, capsys, content):
    first = survey(chips, tmp_path / "kept")
    [path] = (tmp_path / "kept").iterdir()
    path.write_text(content)
    assert survey(chips, tmp_path / "kept") == first
    assert f"{path}: cannot be read (" in capsys.readouterr().err
    assert json.loads(path.read_text())["chips"].keys() == set(chips.ids)


def test_a_folder_that_cannot_be_written_costs_the_next_run_alone(chips, read, tmp_path, capsys):
    (tmp_path / "kept").write_text("a file in the way")
    assert len(survey(chips, tmp_path / "kept")) == len(chips.ids)
    assert "the next run reads every chip again" in capsys.readouterr().err


def test_a_chip_that_is_refused_costs_no_other(chips, read, tmp_path):
    """The rest is neither read before the refusal is told nor read again after it."""
    rules = SplitRequirements(MODALITIES, (4,), 5)
    with pytest.raises(ChipDataError, match="it has 4"):
        survey_chips(chips, chips.ids, rules, None, tmp_path / "kept")
    assert chips.ids[0] in json.loads(next((tmp_path / "kept").iterdir()).read_text())["chips"]


def test_chips_in_archives_are_stamped_by_the_archive(read, tmp_path, monkeypatch):
    monkeypatch.setattr(survey_cache, "SETTLED", 0)
    (tmp_path / "tars/S2L2A").mkdir(parents=True)
    world = make_world(tmp_path / "chips").chips
    archive = tmp_path / "tars/S2L2A/one.tar"
    with tarfile.open(archive, "w") as tar:
        for chip_id in world.ids[:2]:
            tar.add(world.path(chip_id, "S2L2A"), f"{chip_id}.zarr.zip")
    layout = Layout("tars", {"S2L2A": Image(("S2L2A/*.tar/{id}.zarr.zip",))})
    chips = ChipSet(tmp_path / "tars", layout)
    kinds = {"masks": False}
    first = dict(CachedSurvey(chips, ("S2L2A",), folder=tmp_path / "kept", **kinds).read(chips.ids))
    read.clear()
    assert dict(CachedSurvey(chips, ("S2L2A",), folder=tmp_path / "kept", **kinds).read(chips.ids)) == first
    assert not read
    os.utime(archive)
    assert dict(CachedSurvey(chips, ("S2L2A",), folder=tmp_path / "kept", **kinds).read(chips.ids)) != first
    assert len(read) == 2


def test_a_split_is_the_same_from_what_was_kept(chips, tmp_path):
    rules = SplitRequirements(MODALITIES, (0, 1, 2, 3), 5)
    store_of(chips, tmp_path / "store")
    maps = MapCache(AugmentStore.open(tmp_path / "store"), ("lulc",), 0)
    plain = survey_chips(chips, chips.ids, rules, maps)
    kept = [survey_chips(chips, chips.ids, rules, maps, tmp_path / "kept") for _ in range(2)]
    assert kept == [plain, plain]
    narrow = SplitRequirements(MODALITIES, (0, 1, 2, 3), 1)
    with pytest.raises(ChipDataError, match="mask holds label"):
        survey_chips(chips, chips.ids, narrow, maps, tmp_path / "kept")
    with pytest.raises(ChipDataError, match=r"timesteps \[4\] asked for; it has 4"):
        survey_chips(chips, chips.ids, SplitRequirements(MODALITIES, (4,), 5), maps, tmp_path / "kept")
