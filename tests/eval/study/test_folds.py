"""Cross-validation over scenes: who is in which fold, what a study runs, and what it declares."""

import hashlib
from pathlib import Path

import pytest
import yaml

from eval.cli.main import main
from eval.errors import EvaluationError
from eval.study.checks import costs
from eval.study.config import Study
from eval.study.declared import declaration_of
from eval.study.folds import deal_folds, write_folds
from eval.study.plan import plan
from finetune.options import parse
from tests.worlds import World, make_world

STUDY = {
    "out": "out",
    "chips": "chips",
    "seeds": [1, 2],
    "arms": {"plain": {"config": "nyc_phase2"}, "other": {"config": "nyc_phase2"}},
    "comparisons": {"main": {"baseline": "plain", "candidate": "other"}},
    "folds": "scenes",
}


@pytest.fixture(scope="module")
def four_scenes(tmp_path_factory) -> World:
    """Five chips of the scenes a, b, c and d, dealt to splits in another way."""
    splits = {"train": ("d_0_0", "a_0_0"), "val": ("b_0_0",), "test": ("c_0_0", "a_0_1")}
    # a is in two splits, which does not matter: folds replace the splits
    return make_world(tmp_path_factory.mktemp("four") / "chips", splits=splits)


@pytest.fixture
def load(four_scenes, tmp_path, monkeypatch):
    """Gives the study with some keys changed."""
    monkeypatch.chdir(tmp_path)

    def load(**changes) -> Study:
        Path("study.yaml").write_text(yaml.safe_dump({**STUDY, "chips": str(four_scenes.root), **changes}))
        return Study.load(Path("study.yaml"))

    return load


def test_each_scene_is_tested_once_and_the_next_one_validates(load):
    folds = deal_folds(load())
    assert [fold.ids["test"] for fold in folds] == [
        ("a_0_0", "a_0_1"),
        ("b_0_0",),
        ("c_0_0",),
        ("d_0_0",),
    ]
    assert folds[0].ids["val"] == ("b_0_0",)
    assert folds[0].ids["train"] == ("c_0_0", "d_0_0")
    # the last fold is validated on the first one's scene
    assert folds[3].ids["val"] == ("a_0_0", "a_0_1")
    assert folds[3].ids["train"] == ("b_0_0", "c_0_0")


def test_groups_of_scenes_are_dealt_in_turn(load):
    folds = deal_folds(load(folds=3))
    assert [fold.ids["test"] for fold in folds] == [("a_0_0", "a_0_1", "d_0_0"), ("b_0_0",), ("c_0_0",)]


def test_every_arm_and_seed_is_trained_on_every_fold(load):
    study = load()
    write_folds(study)
    steps = {step.name: step for step in plan(study)}
    assert len(steps) == 2 * 2 * 4 * 2 + 1  # arms, seeds, folds; fit and score; one comparison
    fit = steps["fit_other_2_3"]
    assert fit.product == Path("out/runs/other/seed_2/fold_3/checkpoints/best.ckpt")
    named = dict(zip(parse(fit.words[1:]).overrides[::2], parse(fit.words[1:]).overrides[1::2], strict=True))
    assert Path(named["--data.init_args.test_split"]).read_text() == "c_0_0\n"
    assert Path(named["--data.init_args.val_split"]).read_text() == "d_0_0\n"
    assert Path(named["--data.init_args.train_split"]).read_text() == "a_0_0\na_0_1\nb_0_0\n"
    compare = steps["compare_main"]
    assert len(compare.after) == 16
    # the runs of a comparison are the folders of the seeds, with the folds in them
    assert compare.words[2:5] == ("--baseline", "out/runs/plain/seed_1", "out/runs/plain/seed_2")


def test_features_are_whole_before_a_training_of_any_fold_reads_them(load):
    """What a fold validates with, another trains on, with more symmetries: chips that its encoding replaces."""
    arms = {name: {"config": "nyc_phase2", "features": "frozen"} for name in ("plain", "other")}
    steps = {step.name: step for step in plan(load(arms=arms))}
    encodings = [f"encode_frozen_{number}" for number in range(1, 5)]
    assert [name for name in steps if name.startswith("encode")] == encodings
    assert [steps[name].after for name in encodings] == [(), *((name,) for name in encodings[:-1])]
    assert {steps[name].after for name in steps if name.startswith("fit")} == {("encode_frozen_4",)}
    assert steps["encode_frozen_2"].words[-2:] == steps["fit_other_2_2"].words[-2:]  # the splits of its fold


def test_scenes_are_not_dealt_anew_once_a_study_has_begun(load):
    write_folds(load())
    write_folds(load())
    with pytest.raises(
        EvaluationError, match=r"train.txt: the chips or the folds are not those .* another out"
    ):
        write_folds(load(folds=3))


def test_the_declared_test_is_that_of_all_folds(load, four_scenes):
    declared = declaration_of(load(), "now").test
    # by hand: the digest of the folds' digests, each of sorted ids
    folds = ["a_0_0\na_0_1", "b_0_0", "c_0_0", "d_0_0"]
    ids = "\n".join(hashlib.sha256(text.encode()).hexdigest() for text in folds)
    assert declared.ids == hashlib.sha256(ids.encode()).hexdigest()
    labels = {i: hashlib.sha256(four_scenes.labels(i).tobytes()).digest() for i in " ".join(folds).split()}
    masks = [
        hashlib.sha256(b"".join(i.encode() + labels[i] for i in text.split())).hexdigest() for text in folds
    ]
    assert declared.masks == hashlib.sha256("\n".join(masks).encode()).hexdigest()
    assert declared.scenes == hashlib.sha256(b"a\na\nb\nc\nd").hexdigest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 5}, "folds 5: .* has 4 scenes; expected as many folds at most, and 3 at least"),
        ({"folds": 2}, "folds 2: expected scenes, or a number of groups of scenes from 3 on"),
        ({"folds": "chips"}, "folds chips: expected scenes"),
        ({"chips": "elsewhere"}, "folds: elsewhere: expected a folder with the chips"),
        (
            {"stores": {"lulc": {}}, "zero_shot": {"zero": {"store": "lulc"}}},
            "zero_shot: maps are scored on the test split alone",
        ),
    ],
)
def test_invalid_folds(load, changes, message):
    with pytest.raises(EvaluationError, match=message):
        plan(load(**changes))


def test_a_dry_run_counts_all_scenes(load, capsys):
    load(seeds=[1, 2, 3])
    assert main(["study", "--config", "study.yaml", "--dry-run", "--scene-spread", "1"]) == 0
    told = capsys.readouterr().out
    assert "# power: 4 test scenes, 3 seeds, 1 comparison declared" in told
    assert not Path("out").exists()


def test_features_that_folds_share_take_their_disk_once(load):
    frozen = {name: {**arm, "features": "frozen"} for name, arm in STUDY["arms"].items()}
    study = load(arms=frozen)
    steps = plan(study)
    features = study.features("frozen")
    features.mkdir(parents=True)
    (features / "some.zarr").write_bytes(bytes(2_000_000))
    left = [step for step in steps if step.name != "encode_frozen_1"]
    told = list(costs(study, steps, left, {"encode": [60.0]}))
    assert told[0] == "3 × encode: about 3 min one after another, and 2.0 MB of disk"
