"""A share of the attacks that `python -m tests.faults` makes all of: none is believed, none ends in a traceback."""

import copy
import itertools
import json
import os
import threading

import pytest
import yaml
import zarr
from zarr.storage import ZipStore

from augment_store.chips.rasters import read_raster
from augment_store.errors import AugmentStoreError, ChipDataError, StoreError
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from augment_store.utils.validation import ValidationError, load_yaml
from eval.score.record import Score
from eval.study.config import Study
from finetune.errors import ConfigError
from finetune.run.manifest import RunManifest
from finetune.run.yaml_file import read_yaml
from tests.eval.scores import make_score
from tests.faults import attacks
from tests.faults.scenarios import MANIFEST
from tests.worlds import make_store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacked") / "store"
    return make_store(folder, chips=4, size=16, shard_chips=2).path


@pytest.mark.parametrize(
    ("made", "every", "tried"),
    [
        (lambda path: attacks.bit_flips(path, seed=1, each=1), 1, 25),
        (lambda path: attacks.truncations(path, seed=1, each=1), 1, 25),
        pytest.param(attacks.replacements, 1, 35, marks=pytest.mark.nightly),
        pytest.param(attacks.json_changes, 149, 50, marks=pytest.mark.nightly),
    ],
    ids=["bit flips", "truncations", "swapped or deleted", "JSON"],
)
def test_no_damage_is_believed(path, made, every, tried):
    tally = attacks.run("damage", path, made(path), every)
    assert tally.failures == []
    assert tally.counts["refused"] >= tried


def changed(plain):
    """Every single change of nested plain values."""
    for keys, what in itertools.product(list(attacks.leaves(plain)), attacks.MUTATIONS):
        made = copy.deepcopy(plain)
        attacks.mutate(made, keys, what)
        yield keys, what, made


def readers(folder):
    """Files of ours, and how each is read."""
    MANIFEST.write(folder)
    yield folder / "manifest.json", json.dumps, lambda: RunManifest.read(folder)
    make_score(folder)
    yield folder / "score/score.json", json.dumps, lambda: Score.read(folder)
    study = {
        "out": "o",
        "chips": "c",
        "seeds": [1],
        "arms": {"a": {"config": "x"}, "b": {"config": "y", "arguments": ["--z"]}},
        "comparisons": {"main": {"baseline": "a", "candidate": "b", "controls": ["a"]}},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    yield folder / "study.yaml", yaml.safe_dump, lambda: Study.load(folder / "study.yaml")


def test_records_of_another_shape_are_refused_in_a_line(tmp_path):
    tried, told = 0, []
    for file, dump, read in readers(tmp_path):
        plain = yaml.safe_load(file.read_text())
        read()
        for _, _, made in changed(plain):
            file.write_text(dump(made))
            tried += 1
            try:
                read()
            except AugmentStoreError as error:
                told.append(str(error))
        file.write_text(dump(plain))
    assert tried > 300
    assert not [line for line in told if "\n" in line]


def test_an_edited_score_is_refused_whatever_the_edit(tmp_path):
    make_score(tmp_path)
    file = tmp_path / "score/score.json"
    plain = json.loads(file.read_text())
    for _, _, made in changed(plain):
        if made != plain:
            file.write_text(json.dumps(made))
            with pytest.raises(AugmentStoreError):
                Score.read(tmp_path)


def test_a_checkpoint_outside_its_run_is_refused(tmp_path):
    MANIFEST.write(tmp_path)
    plain = json.loads((tmp_path / "manifest.json").read_text())
    plain["checkpoints"]["best"] = "../../etc/passwd"
    (tmp_path / "manifest.json").write_text(json.dumps(plain))
    with pytest.raises(AugmentStoreError, match=r"'../../etc/passwd' lies outside the run"):
        RunManifest.read(tmp_path).checkpoint(tmp_path, "best")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + step)}: &{chr(98 + step)} [{', '.join(['*' + chr(97 + step)] * 9)}]\n" for step in range(9)
)


def test_a_yaml_of_aliases_is_refused_before_it_is_walked(tmp_path):
    (tmp_path / "x.yaml").write_text(BOMB + "data: {}\nmodel: {}\n")
    with pytest.raises(ConfigError, match="stands for more than 100,000 values"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(ValidationError, match="more than"):
        load_yaml("a: &a [*a]\n")
    assert load_yaml("a: &a [1]\nb: *a\n") == {"a": [1], "b": [1]}


@pytest.mark.parametrize("name", ["lulc/c/0/0/0/0/0", "state/c/0", "lulc/zarr.json"])
def test_a_pipe_in_a_store_is_refused_not_waited_for(tmp_path, name):
    path = make_store(tmp_path / "s", chips=2, size=16).path
    (path / name).unlink()
    os.mkfifo(path / name)
    told: list[str] = []

    def read():
        try:
            store = AugmentStore.open(path)
            store.chips_in(State.COMPLETE)
            store.read("scene0_r0c0", "lulc")
        except StoreError as error:
            told.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(20)
    assert told
    assert "missing" in told[0] or "not a regular file" in told[0]


def zip_of(path, shape, chunks, drop=None):
    with ZipStore(path, mode="w") as store:
        group = zarr.open_group(store, mode="w", zarr_format=2)
        array = group.create_array("bands", shape=shape, dtype="int16", chunks=chunks, fill_value=0)
        if drop is not None:
            array[drop:] = 5
    return path


def test_chips_that_lack_chunks_or_declare_too_much_are_refused(tmp_path):
    with pytest.raises(ChipDataError, match="1 of 4 chunks are missing"):
        read_raster(zip_of(tmp_path / "a.zarr.zip", (4, 2, 16, 16), (1, 2, 16, 16), drop=1))
    with pytest.raises(ChipDataError, match=r"declares 22\.4 GiB, at most 1 are read"):
        read_raster(zip_of(tmp_path / "b.zarr.zip", (1000, 12, 1000, 1000), (1, 12, 1000, 1000)))


def test_leftovers_of_a_crash_are_swept_by_repair(tmp_path):
    from augment_store.integrity.repair import repair_store

    store = make_store(tmp_path / "s", chips=2)
    left = store.path / "lulc/c/0/0/0/0/0.abc.partial"
    left.write_bytes(b"half")
    assert repair_store(AugmentStore.open(store.path, mode="r+"), []) == 0
    assert not left.exists()


def test_no_order_to_the_terminal_leaves_a_store(tmp_path, capsys):
    from augment_store.cli.main import main

    store = make_store(tmp_path / "s", chips=2, failed={"scene0_r0c1": "\x1b[2J[bold]gone[/bold]"})
    assert main(["verify", str(store.path)]) == 1
    assert main(["info", str(store.path)]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert r"failed: \x1b[2J[bold]gone[/bold]" in told
