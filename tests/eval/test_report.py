"""The three reports of one comparison, as the command writes them."""

import json

import jsonschema
import numpy as np
import pytest

from eval.cli import main
from eval.compare.report.document import schema
from eval.compare.report.pictures import AGREEMENT, _agreement, choose, legend
from eval.score.record import Score
from tests.eval.scores import NAMES, make_counts, make_score


@pytest.fixture
def runs(tmp_path):
    """Two seeds of baseline and candidate, which gains ten points, and two controls."""
    made = {f"b{seed}": make_score(tmp_path / f"b{seed}", seed=seed) for seed in (1, 2)}
    made |= {f"c{seed}": make_score(tmp_path / f"c{seed}", 0.1, seed=seed + 2) for seed in (1, 2)}
    made["shuffle"] = make_score(tmp_path / "shuffle", 0.0, seed=5)
    made["random"] = make_score(tmp_path / "random", 0.14, seed=6)
    return made


def compare(runs, out, *more):
    words = [
        "compare",
        "--baseline",
        runs["b1"],
        runs["b2"],
        "--candidate",
        runs["c1"],
        runs["c2"],
        "--out",
        out,
    ]
    return main([str(word) for word in (*words, *more)])


def document(out):
    return json.loads((out / "report.json").read_text())


def test_report_json_follows_its_schema(runs, tmp_path):
    controls = ("--control", f"shuffle={runs['shuffle']}", f"random={runs['random']}")
    assert compare(runs, tmp_path / "out", *controls) == 0
    report = document(tmp_path / "out")
    jsonschema.validate(report, schema())
    assert [arm["name"] for arm in report["arms"]] == ["baseline", "candidate", "shuffle", "random"]
    assert report["verdict"]["headline"] == "strong, explained by control random"
    scores = [Score.read(runs[name]) for name in ("c1", "c2", "b1", "b2")]
    mious = [score.metrics.miou_macro_reference_classes for score in scores]
    expected = np.mean(mious[:2]) - np.mean(mious[2:])
    assert report["difference"]["difference"] == pytest.approx(expected)
    assert report["arms"][0]["metrics"]["miou_macro_reference_classes"] == pytest.approx(np.mean(mious[2:]))
    gains = [row["difference"] for row in report["chips"]]
    assert gains == sorted(gains)
    assert len(gains) == 24


def test_markdown_says_the_verdict_first(runs, tmp_path):
    assert compare(runs, tmp_path / "out", "--control", f"shuffle={runs['shuffle']}") == 0
    text = (tmp_path / "out/report.md").read_text()
    assert text.startswith("# Strong: mIoU +1")
    assert "95 % interval" in text.splitlines()[3]
    assert "| shuffle | 1 |" in text
    assert "p after Holm" in text


@pytest.mark.parametrize(
    ("gain", "required", "status"),
    [
        (0.1, ["strong"], 0),
        (0.1, ["strong", "conclusive"], 0),
        (0.1, ["unexplained"], 1),  # nothing could have explained it
        (0.0, ["strong"], 1),
        (0.0, ["conclusive"], 1),
        (-0.1, ["acceptable"], 1),
        (-0.1, [], 0),
    ],
)
def test_exit_status(tmp_path, gain, required, status):
    runs = [make_score(tmp_path / "b", seed=1), make_score(tmp_path / "c", gain, seed=2)]
    words = ["compare", "--baseline", runs[0], "--candidate", runs[1], "--out", tmp_path / "out"]
    assert main([str(word) for word in (*words, *(["--require", *required] if required else []))]) == status


def test_explained_is_not_unexplained(runs, tmp_path):
    arguments = ("--control", f"random={runs['random']}", "--require", "unexplained")
    assert compare(runs, tmp_path / "out", *arguments) == 1
    arguments = ("--control", f"shuffle={runs['shuffle']}", "--require", "unexplained")
    assert compare(runs, tmp_path / "out", *arguments) == 0


def test_a_single_scene_is_reported_without_interval(tmp_path):
    runs = [make_score(tmp_path / "b", scenes=1, seed=1), make_score(tmp_path / "c", 0.1, scenes=1, seed=2)]
    words = ["compare", "--baseline", runs[0], "--candidate", runs[1], "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    report = document(tmp_path / "out")
    jsonschema.validate(report, schema())
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
    assert "expected NAME=RUN" in refused("--control", f"baseline={runs['shuffle']}")
    assert "not scored yet; run python -m eval score" in refused("--control", f"x={tmp_path}")
    (runs["shuffle"] / "score/score.json").write_text('{"score_version": 9}')
    assert "version 9, expected 1" in refused("--control", f"x={runs['shuffle']}")
    (runs["shuffle"] / "score/score.json").write_text("{")
    assert "not a score this version wrote" in refused("--control", f"x={runs['shuffle']}")
    make_score(tmp_path / "few", scenes=3)
    assert "lacks 18 test chips" in refused("--control", f"x={tmp_path / 'few'}")
    assert "no chips found" in refused("--chips", tmp_path)


def test_statistics_need_no_forward_pass(runs, tmp_path):
    """The saved counts are all that is read."""
    kept = make_counts(0.1, seed=3)
    assert np.array_equal(Score.read(runs["c1"]).counts.values, kept.values)
    assert compare(runs, tmp_path / "out") == 0
    assert tuple(document(tmp_path / "out")["test"]["classes"]) == NAMES
