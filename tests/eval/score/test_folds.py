"""One score of the folds of a cross-validation, and what a comparison makes of it."""

import dataclasses
import hashlib
import shutil

import numpy as np
import pytest

from eval.cli.main import main
from eval.compare.arms import Arm
from eval.compare.comparability import check_runs, check_same_test, concerns
from eval.compare.comparison import compare_arms, paired
from eval.compare.inference import PairedArms, compare, nadeau_bengio_factor, variances
from eval.errors import EvaluationError
from eval.publish.report import read_report
from eval.score.counts import Counts
from eval.score.folds import fold_runs, pool_folds
from eval.score.metrics import MIOU
from eval.score.record import Score
from finetune.run.manifest import SplitRecord
from tests.eval.scores import NAMES, make_counts, make_origin


def folds_of(folder, gain=0.0, seed=1, scenes=4, **origin):
    """Scores of one seed whose folds test a scene each."""
    whole = make_counts(gain, scenes=scenes, seed=seed)
    found = []
    for number, scene in enumerate(whole.scenes, start=1):
        ids = [i for i, of in zip(whole.chip_ids, whole.scene_ids, strict=True) if of == scene]
        test = SplitRecord(len(ids), 1, scene[0] * 64, "d" * 64, "d" * 64)
        made = make_origin(seed=seed, test=test, **{"kind": "run", **origin})
        found.append(Score(folder / f"fold_{number}", whole.ordered(ids), made))
    return found


def written(folder, **given):
    """The same on disk: runs with a manifest and a score; returns the folder of the seed."""
    for score in folds_of(folder, **given):
        score.write()
        score.origin.run.write(score.folder)
    return folder


def test_counts_of_the_folds_are_pooled(tmp_path):
    folds = folds_of(tmp_path, gain=0.1)
    pooled = pool_folds(tmp_path, folds)
    whole = make_counts(0.1, scenes=4, seed=1)
    assert pooled.counts.ordered(whole.chip_ids).values.tolist() == whole.values.tolist()
    assert pooled.metrics == Score(tmp_path, whole, make_origin()).metrics
    # four trainings of a minute
    assert pooled.origin.run.cost.wall_seconds == 240.0
    assert pooled.origin.test.chips == 8
    assert pooled.origin.test.masks == hashlib.sha256("\n".join(["d" * 64] * 4).encode()).hexdigest()
    # a chip's prediction is that of the fold in which it was tested
    assert pooled.prediction("s02_0_1") == tmp_path / "fold_3/score/predictions/s02_0_1.tif"


def test_a_scene_in_two_folds_or_folds_of_two_seeds_are_refused(tmp_path):
    folds = folds_of(tmp_path)
    with pytest.raises(EvaluationError, match=r"scenes were tested in two folds \(s00\)"):
        pool_folds(tmp_path, [*folds[1:], folds[0], dataclasses.replace(folds[0], counts=renamed(folds[0]))])
    with pytest.raises(EvaluationError, match="its folds have the seeds 1, 2"):
        pool_folds(tmp_path, [*folds[1:], folds_of(tmp_path, seed=2)[0]])


def renamed(score):
    return Counts(("x", "y"), score.counts.scene_ids, NAMES, score.counts.values)


def test_the_folds_of_a_run_are_found_by_their_numbers(tmp_path):
    written(tmp_path, scenes=11)
    (tmp_path / "fold_old").mkdir()
    assert [run.name for run in fold_runs(tmp_path)] == [f"fold_{number}" for number in range(1, 12)]


def test_the_variance_over_scenes_allows_for_shared_trainings():
    """Four folds: 1 / 4 + 1 / 3 in place of 1 / 4, which is 7 / 3 of it; the part of the seeds stays."""
    assert nadeau_bengio_factor(0) == 1
    assert nadeau_bengio_factor(4) == pytest.approx(7 / 3)
    arms = [np.stack([make_counts(g, scenes=4, seed=s).by_scene() for s in (1, 2, 3)]) for g in (0.0, 0.05)]
    one, four = (variances(PairedArms(*arms, True, (MIOU,), folds)) for folds in (0, 4))
    assert four[0][2] == pytest.approx(one[0][2] * 7 / 3)
    assert four[1][2] == pytest.approx(one[1][2])
    found = [compare(PairedArms(*arms, True, (MIOU,), folds))[MIOU.key][0] for folds in (0, 4)]
    assert found[0].difference == found[1].difference
    assert found[1].low < found[0].low


def arms_of(tmp_path, **candidate):
    """Baseline and candidate with three seeds of four folds each."""

    def arm(name, **given):
        return [
            pool_folds(
                tmp_path / name / f"seed_{s}", folds_of(tmp_path / name / f"seed_{s}", seed=s, **given)
            )
            for s in (1, 2, 3)
        ]

    return {"baseline": arm("baseline"), "candidate": arm("candidate", gain=0.1, **candidate)}


def test_a_cross_validation_is_compared_like_any_other(tmp_path):
    found = compare_arms(arms_of(tmp_path))
    assert found.setting.scenes == 4
    assert found.setting.folds == 4
    assert paired(found.candidate, found.baseline).folds == 4
    assert found.verdict.words[3].startswith(
        "Cross-validated: each scene was tested in one of 4 folds, by trainings on the others;"
    )


def test_what_one_fold_differs_in_is_a_concern(tmp_path):
    arms = arms_of(tmp_path)
    folds = list(arms["candidate"][1].folds)
    folds[2] = dataclasses.replace(
        folds[2], origin=dataclasses.replace(folds[2].origin, versions={"torch": "x"})
    )
    arms["candidate"][1] = pool_folds(tmp_path / "candidate/seed_2", folds)
    told = concerns([Arm(name, tuple(scores)) for name, scores in arms.items()])
    assert told == ("one environment for all runs; torch of the score is test or x",)


def test_a_fold_that_started_from_other_weights_is_a_concern(tmp_path):
    arms = arms_of(tmp_path)
    [first, second, *others] = arms["candidate"][0].folds
    run = dataclasses.replace(
        second.origin.run, start=dataclasses.replace(second.origin.run.start, init_sha256="e" * 64)
    )
    second = dataclasses.replace(second, origin=dataclasses.replace(second.origin, run=run))
    arms["candidate"][0] = pool_folds(tmp_path / "candidate/seed_1", [first, second, *others])
    [told] = concerns([Arm(name, tuple(scores)) for name, scores in arms.items()])
    assert told.startswith("the same start for every arm: baseline started from ")


def test_folds_that_are_missing_or_beside_a_run_are_refused(tmp_path, capsys):
    words = ["compare", "--out", str(tmp_path / "report")]
    for name in ("baseline", "candidate"):
        words += [f"--{name}", str(written(tmp_path / name))]
    shutil.rmtree(tmp_path / "candidate/fold_2")
    assert main(words) == 2
    assert (
        "candidate: holds fold_1, fold_3, fold_4; expected fold_1 to the last fold" in capsys.readouterr().err
    )
    shutil.copy(tmp_path / "candidate/fold_1/manifest.json", tmp_path / "candidate")
    assert main(words) == 2
    assert "candidate: holds a run and the folds of a cross-validation" in capsys.readouterr().err


def test_folds_must_be_those_of_the_other_arm_and_each_run_its_own(tmp_path):
    one = folds_of(tmp_path / "one")
    # the same chips, scenes two by two
    pairs = [
        dataclasses.replace(
            one[index],
            counts=make_counts(scenes=4, seed=1).ordered(
                [i for fold in one[index : index + 2] for i in fold.counts.chip_ids]
            ),
        )
        for index in (0, 2)
    ]
    with pytest.raises(EvaluationError, match="tested the same chips in different folds"):
        check_same_test(pool_folds(tmp_path / "one", one), pool_folds(tmp_path / "two", pairs))
    arms = arms_of(tmp_path)
    copied = [arms["baseline"][0].folds[0], *arms["candidate"][0].folds[1:]]
    arms["candidate"][0] = pool_folds(tmp_path / "candidate/seed_1", copied)
    with pytest.raises(EvaluationError, match="are the same weights"):
        check_runs(arms)


@pytest.mark.slow
def test_a_folder_of_folds_is_one_run_of_compare(tmp_path, capsys):
    """By the command, from files, with the report's numbers those of the folds."""
    words = []
    for name, gain in (("baseline", 0.0), ("candidate", 0.1)):
        runs = [written(tmp_path / name / f"seed_{s}", gain=gain, seed=s) for s in (1, 2, 3)]
        words += [f"--{name}", *map(str, runs)]
    assert main(["compare", *words, "--out", str(tmp_path / "report")]) == 0
    assert "Cross-validated: each scene was tested in one of 4 folds" in capsys.readouterr().out
    report = read_report(tmp_path / "report")
    assert report.statistics.folds == 4
    assert [len(arm.runs) for arm in report.arms] == [3, 3]
    assert report.test.chips == 8
    # left out: a seed beside the named ones, by its folds
    written(tmp_path / "baseline/seed_4", seed=4)
    assert main(["compare", *words, "--out", str(tmp_path / "report")]) == 0
    assert "all runs of baseline; left out: " in capsys.readouterr().out
