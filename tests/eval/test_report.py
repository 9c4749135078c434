"""The three reports of one comparison, as the command writes them."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from eval.cli import main
from eval.compare.report.document import check_document
from eval.compare.report.pictures import AGREEMENT, _agreement, choose, legend
from eval.score.record import Score
from tests.eval.scores import NAMES, make_counts, make_score


@pytest.fixture
def runs(tmp_path):
    """Three seeds of baseline, candidate, which gains ten points, and two controls."""
    gains = {"b": 0.0, "c": 0.1, "shuffle": 0.0, "random": 0.14}
    return {
        f"{name}{seed}": make_score(
            tmp_path / f"{name}{seed}", gain, seed=seed + 10 * place, origin={"seed": seed}
        )
        for place, (name, gain) in enumerate(gains.items())
        for seed in (1, 2, 3)
    }


def control(runs, name):
    return [f"{name}={runs[f'{name}{seed}']}" for seed in (1, 2, 3)]


def compare(runs, out, *more):
    arms = {option: [runs[f"{name}{seed}"] for seed in (1, 2, 3)] for option, name in ARMS.items()}
    words = [word for option, folders in arms.items() for word in (option, *folders)]
    return main([str(word) for word in ("compare", *words, "--out", out, *more)])


ARMS = {"--baseline": "b", "--candidate": "c"}


def document(out):
    return json.loads((out / "report.json").read_text())


def test_report_json_follows_its_schema(runs, tmp_path):
    controls = ("--control", *control(runs, "shuffle"), *control(runs, "random"))
    assert compare(runs, tmp_path / "out", *controls) == 0
    report = document(tmp_path / "out")
    check_document(report)
    assert [arm["name"] for arm in report["arms"]] == ["baseline", "candidate", "shuffle", "random"]
    assert report["verdict"]["headline"] == "a difference, but no claim"
    assert report["verdict"]["not_beaten"] == ["random"]
    assert report["statistics"]["paired_by_seed"]
    scores = [Score.read(runs[name]) for name in ("c1", "c2", "c3", "b1", "b2", "b3")]
    mious = [score.metrics.miou_macro_reference_classes for score in scores]
    expected = np.mean(mious[:3]) - np.mean(mious[3:])
    assert report["difference"]["difference"] == pytest.approx(expected)
    assert report["arms"][0]["metrics"]["miou_macro_reference_classes"] == pytest.approx(np.mean(mious[3:]))
    assert [row["seed"] for row in report["seeds"]] == [1, 2, 3]
    assert [row["difference"] for row in report["seeds"]] == pytest.approx(np.subtract(mious[:3], mious[3:]))
    assert sum(report["test"]["scenes_by_class"].values()) == 5 * 12
    gains = [row["difference"] for row in report["chips"]]
    assert gains == sorted(gains)
    assert len(gains) == 24


def spoilt(report, *path, value):
    """A copy with another value in one place."""
    made = json.loads(json.dumps(report))
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return made


def test_the_schema_refuses_what_no_report_can_hold(runs, tmp_path):
    assert compare(runs, tmp_path / "out") == 0
    report = document(tmp_path / "out")
    miou = ("arms", 1, "to_baseline", "miou")
    for path, value, message in (
        (("difference", "p_value"), 2, r"\$.difference.p_value: 2 is greater"),
        (("arms", 0, "confusion", 0, 0), -1, r"confusion.*-1 is less"),
        ((*miou, "low"), 0.9, "the interval 0.9 to .* is invalid"),
    ):
        with pytest.raises(ValueError, match=message):
            check_document(spoilt(report, *path, value=value))


def test_a_reader_can_work_out_the_interval_from_the_table(runs, tmp_path):
    """By nothing but the table: the mean difference of mIoU, its jackknife over scenes and its spread over seeds."""
    assert compare(runs, tmp_path / "out") == 0
    counts = {}
    with (tmp_path / "out/counts.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            where = counts.setdefault((row["arm"], row["seed"], row["scene"]), np.zeros((5, 5)))
            where[NAMES.index(row["reference"]), NAMES.index(row["prediction"])] += int(row["pixels"])
    scenes = sorted({scene for _, _, scene in counts})

    def miou(arm, seed, left_out=None):
        total = sum(counts[arm, seed, scene] for scene in scenes if scene != left_out)
        hits = np.diag(total)
        return np.mean(hits / (total.sum(0) + total.sum(1) - hits))

    def by_seed(left_out=None):
        return [miou("candidate", s, left_out) - miou("baseline", s, left_out) for s in "123"]

    left_out = np.array([np.mean(by_seed(scene)) for scene in scenes])
    parts = [(left_out.var() * 11, 11), (np.var(by_seed(), ddof=1) / 3, 2)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / free for part, free in parts)
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    found = document(tmp_path / "out")["difference"]
    expected = (np.mean(by_seed()) - reach, np.mean(by_seed()) + reach)
    assert (found["low"], found["high"]) == pytest.approx(expected)
    assert found["degrees_of_freedom"] == pytest.approx(freedom)


def test_markdown_says_the_verdict_first(runs, tmp_path):
    assert compare(runs, tmp_path / "out", "--control", *control(runs, "shuffle")) == 0
    text = (tmp_path / "out/report.md").read_text()
    assert text.startswith("# Strong improvement: mIoU +1")
    assert "95 % interval" in text.splitlines()[2]
    assert "| shuffle | 3 |" in text
    assert "| seed | baseline mIoU |" in text
    assert "p after Holm" in text


@pytest.mark.parametrize(
    ("gain", "controlled", "required", "status"),
    [
        (0.1, True, ["strong"], 0),
        (0.1, True, ["improvement", "conclusive"], 0),
        (0.1, False, ["improvement"], 1),  # nothing that could have explained it was tried
        (0.1, False, ["conclusive"], 0),
        (0.015, True, ["strong"], 1),
        (0.0, True, ["improvement"], 1),
        (0.0, False, ["conclusive"], 1),
        (-0.1, False, ["acceptable"], 1),
        (-0.1, False, [], 0),
    ],
)
def test_exit_status(tmp_path, gain, controlled, required, status):
    gains = {"b": 0.0, "c": gain} | ({"x": 0.0} if controlled else {})
    made = {
        name: [
            make_score(tmp_path / f"{name}{seed}", value, seed=seed + 10 * place, origin={"seed": seed})
            for seed in (1, 2, 3)
        ]
        for place, (name, value) in enumerate(gains.items())
    }
    words = ["compare", "--baseline", *made["b"], "--candidate", *made["c"], "--out", tmp_path / "out"]
    words += ["--control", *(f"x={run}" for run in made["x"])] if controlled else []
    assert main([str(word) for word in (*words, *(["--require", *required] if required else []))]) == status


def test_a_single_scene_is_reported_without_interval(tmp_path):
    runs = [make_score(tmp_path / "b", scenes=1, seed=1), make_score(tmp_path / "c", 0.1, scenes=1, seed=2)]
    words = ["compare", "--baseline", runs[0], "--candidate", runs[1], "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    report = document(tmp_path / "out")
    check_document(report)
    assert report["difference"]["low"] is None
    assert "(no interval)" in (tmp_path / "out/report.md").read_text()


def test_chips_that_gained_and_lost_most():
    rows = [{"id": str(number)} for number in range(5)]
    chosen = lambda count: [row["id"] for row in choose(rows, count)]  # noqa: E731
    assert chosen(0) == []
    assert chosen(1) == ["4", "0"]
    assert chosen(2) == ["4", "3", "1", "0"]
    assert chosen(9) == ["4", "3", "2", "1", "0"]


def test_where_predictions_differ():
    reference = np.array([[0, 0, 0, 0, -1]])
    codes = _agreement(reference, np.array([[0, 1, 0, 1, 0]]), np.array([[0, 0, 1, 1, 0]]))
    assert codes.tolist() == [[0, 1, 2, 3, 255]]
    assert [entry.value for entry in AGREEMENT] == [0, 1, 2, 3]


def test_colours_go_by_class_name():
    assert legend(("forest", "water"))[1].rgb == (49, 113, 173)
    assert len({entry.rgb for entry in legend(tuple("abcde"))}) == 5


def test_bad_input(runs, tmp_path, capsys):
    def refused(*more):
        assert compare(runs, tmp_path / "out", *more) == 2
        return capsys.readouterr().err

    assert "expected NAME=RUN" in refused("--control", "nothing")
    assert "expected NAME=RUN" in refused("--control", f"baseline={runs['shuffle1']}")
    assert "not scored yet; run python -m eval score" in refused("--control", f"x={tmp_path}")
    record, whole = runs["shuffle1"] / "score/score.json", (runs["shuffle1"] / "score/score.json").read_text()
    record.write_text('{"score_version": 9}')
    assert "version 9, expected 2" in refused("--control", f"x={runs['shuffle1']}")
    record.write_text("{")
    assert "not a score this version wrote" in refused("--control", f"x={runs['shuffle1']}")
    record.write_text(whole.replace('"seed": 1', '"seed": 2'))
    assert "was changed after it was written; score the run again" in refused(
        "--control", f"x={runs['shuffle1']}"
    )
    record.write_text(whole)
    (record.parent / "counts.npz").write_bytes((runs["random1"] / "score/counts.npz").read_bytes())
    assert "not the counts of" in refused("--control", f"x={runs['shuffle1']}")
    lost = make_score(tmp_path / "lost", seed=8, origin={"kind": "run"})
    assert "no manifest.json, so nothing shows what was trained" in refused("--control", f"x={lost}")
    make_score(tmp_path / "few", scenes=3)
    assert "lacks 18 test chips" in refused("--control", f"x={tmp_path / 'few'}")
    assert "no chips found" in refused("--chips", tmp_path)


def test_statistics_need_no_forward_pass(runs, tmp_path):
    """The saved counts are all that is read."""
    kept = make_counts(0.1, seed=11)
    assert np.array_equal(Score.read(runs["c1"]).counts.values, kept.values)
    assert compare(runs, tmp_path / "out") == 0
    assert tuple(document(tmp_path / "out")["test"]["classes"]) == NAMES
