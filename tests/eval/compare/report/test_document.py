"""The three reports of one comparison, as the command writes them."""

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from augment_store.io.lock import file_lock
from augment_store.modalities.legend_table import LegendTable, legend
from eval.cli.main import main
from eval.compare.declaration import (
    Declaration,
    DeclaredComparison,
    DeclaredTest,
    declare,
    digest_of_scenes,
    read_declarations,
)
from eval.compare.report import files
from eval.compare.report.model import Report, schema
from eval.compare.report.pictures import AGREEMENT, _agreement, choose
from eval.compare.verdict import points
from eval.score.counts import Counts
from eval.score.metrics import INTERVALS, METRICS, MIOU, OVERALL
from eval.score.record import Score
from tests.eval.scores import NAMES, SPLIT, make_counts, make_origin, make_score

JOINED = {
    "b": {},
    "c": {"encoding": ("onehot",), "fingerprint": "f" * 64},
    "shuffle": {"encoding": ("onehot",), "fingerprint": "f" * 64, "control": "shuffle"},
    "random": {"encoding": ("onehot",), "fingerprint": "f" * 64, "control": "constant"},
}


def make_arms(folder, gains):
    """Three seeds of each arm, as a study lays them out."""
    return {
        f"{name}{seed}": make_score(
            folder / "study/runs" / name / f"seed_{seed}",
            gain,
            seed=seed + 10 * place,
            origin={"seed": seed, **JOINED[name]},
        )
        for place, (name, gain) in enumerate(gains.items())
        for seed in (1, 2, 3)
    }


def make_declaration(controls=("shuffle",), **changes):
    """What a study of those arms declares before their trainings; `more` further comparisons beside it."""
    scenes = dict(zip(make_counts().chip_ids, make_counts().scene_ids, strict=True))
    more = changes.pop("more", 0)
    named = {"main": controls} | {f"other{number}": () for number in range(more)}
    given = {
        "created": "2025-12-31T00:00:00+00:00",
        "study_sha256": "a" * 64,
        "seeds": (1, 2, 3),
        "comparisons": {name: DeclaredComparison("b", "c", tuple(wanted)) for name, wanted in named.items()},
        "thresholds": {},
        "test": DeclaredTest(SPLIT.ids, SPLIT.masks, digest_of_scenes(scenes)),
    }
    return Declaration(**{**given, **changes})


def declared(folder, *controls, **changes):
    """Options of a comparison that its study declared with these controls."""
    declare(folder / "study", make_declaration(controls, **changes))
    return ("--study", folder / "study", "--comparison", "main")


GAINS = {"b": 0.0, "c": 0.1, "shuffle": 0.0, "random": 0.14}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Three seeds of baseline, candidate, which gains ten points, and two controls; the reports on one of these."""
    folder = tmp_path_factory.mktemp("compared")
    runs = make_arms(folder, GAINS)
    assert compare(runs, folder / "out", "--control", *control(runs, "shuffle")) == 0
    return folder


@pytest.fixture
def runs(compared, tmp_path):
    """A copy of the scored runs."""
    study = shutil.copytree(compared / "study", tmp_path / "study")
    return {f"{name}{seed}": study / f"runs/{name}/seed_{seed}" for name in GAINS for seed in (1, 2, 3)}


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
    jsonschema.validate(report, schema())
    arms = [report["baseline"], report["candidate"], *report["controls"]]
    assert [arm["name"] for arm in arms] == ["baseline", "candidate", "shuffle", "random"]
    assert report["verdict"]["outcome"] == "a difference, but no claim"
    assert report["verdict"]["not_beaten"] == ["random"]
    assert report["statistics"]["paired_by_seed"]
    scores = [Score.read(runs[name]) for name in ("c1", "c2", "c3", "b1", "b2", "b3")]
    mious = [score.metrics.miou for score in scores]
    expected = np.mean(mious[:3]) - np.mean(mious[3:])
    assert report["difference"]["difference"] == pytest.approx(expected)
    assert report["baseline"]["metrics"]["overall"][MIOU.key] == pytest.approx(np.mean(mious[3:]))
    assert [row["seed"] for row in report["seeds"]] == [1, 2, 3]
    assert [row["difference"] for row in report["seeds"]] == pytest.approx(np.subtract(mious[:3], mious[3:]))
    assert sum(report["test"]["scenes_by_class"].values()) == 5 * 12
    gains = [row["difference"] for row in report["chips"]]
    assert gains == sorted(gains)
    assert len(gains) == 24


def test_scenes_are_compared_over_all_their_pixels(tmp_path):
    """Two scenes of two classes; the first of two chips, whose counts add up before any average."""
    chips = {
        "b": [[[8, 2, 0], [0, 10, 0]], [[0, 0, 0], [10, 10, 0]], [[6, 4, 0], [4, 6, 0]]],
        "c": [[[10, 0, 0], [0, 10, 0]], [[0, 0, 0], [0, 20, 0]], [[6, 4, 0], [5, 5, 0]]],
    }
    for name, values in chips.items():
        counts = Counts(("p", "q", "r"), ("one", "one", "two"), ("x", "y"), np.array(values))
        Score(tmp_path / name, counts, make_origin()).write()
    words = ["compare", "--baseline", tmp_path / "b", "--candidate", tmp_path / "c"]
    assert main([str(word) for word in (*words, "--out", tmp_path / "out")]) == 0
    one, two = 8 / 20 / 2 + 20 / 32 / 2, 6 / 14  # the baseline's: x 8 of 8 + 2 + 10, y 20 of 20 + 2 + 10
    lost, gained = document(tmp_path / "out")["scenes"]
    assert (lost["scene"], lost["chips"], gained["scene"], gained["chips"]) == ("two", 1, "one", 2)
    assert gained["baseline"] == pytest.approx(one)
    assert gained["candidate"] == 1.0
    assert lost["baseline"] == pytest.approx(two)
    assert lost["candidate"] == pytest.approx((6 / 15 + 5 / 14) / 2)
    assert lost["difference"] == pytest.approx((6 / 15 + 5 / 14) / 2 - two)
    ahead = f"c is ahead in 1 of 2 scenes: from {points(lost['difference'])} in `two` to"
    assert ahead in (tmp_path / "out/report.md").read_text()


def test_markdown_says_the_verdict_first(runs, tmp_path):
    given = ("--control", *control(runs, "shuffle"), *declared(tmp_path, "shuffle"))
    assert compare(runs, tmp_path / "out", *given) == 0
    text = (tmp_path / "out/report.md").read_text()
    assert text.startswith("# Strong improvement: mIoU +1")
    assert "95 % interval" in text.splitlines()[2]
    assert "| shuffle | 3 |" in text
    assert "| seed | b: mIoU | c: mIoU | difference |" in text
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
    made = make_arms(tmp_path, {"b": 0.0, "c": gain} | ({"shuffle": 0.0} if controlled else {}))
    controls = ["--control", *control(made, "shuffle")] if controlled else []
    more = [*controls, *(["--require", *required] if required else [])]
    names = ["shuffle"] if controlled else []
    assert compare(made, tmp_path / "out", *more, *declared(tmp_path, *names)) == status


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


def test_a_shipped_legend_wins_and_other_classes_get_the_usual_color_of_their_name():
    table = LegendTable.load(Path("flood"))
    assert [entry.rgb for entry in legend([c.name for c in table.classes])] == [c.rgb for c in table.classes]
    land, water = legend(("land", "water"))
    assert land.rgb != water.rgb
    assert water.rgb[2] == max(water.rgb)


def test_bad_input(runs, tmp_path, capsys):
    def refused(*more):
        assert compare(runs, tmp_path / "out", *more) == 2
        return capsys.readouterr().err

    assert "expected NAME=RUN" in refused("--control", "nothing")
    assert "expected NAME=RUN" in refused("--control", f"baseline={runs['shuffle1']}")
    assert "no score; expected a run directory" in refused("--control", f"x={tmp_path}")
    record, whole = runs["shuffle1"] / "score/score.json", (runs["shuffle1"] / "score/score.json").read_text()
    record.write_text('{"score_version": 9}')
    assert "version 9, expected 6" in refused("--control", f"x={runs['shuffle1']}")
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
    assert "no manifest.json, so there is no record of what was trained" in refused("--control", f"x={lost}")
    make_score(tmp_path / "few", scenes=3)
    assert "lacks 18 test chips" in refused("--control", f"x={tmp_path / 'few'}")
    assert "no chips found" in refused("--chips", tmp_path)


def test_statistics_need_no_forward_pass(runs, tmp_path):
    """The saved counts are all that is read."""
    kept = make_counts(0.1, seed=11)
    assert np.array_equal(Score.read(runs["c1"]).counts.values, kept.values)
    assert compare(runs, tmp_path / "out") == 0
    assert tuple(document(tmp_path / "out")["test"]["classes"]) == NAMES


# What the model refuses -------------------------------------------------------------------------------


@pytest.fixture
def written(compared, tmp_path):
    """A copy of the reports, of which this is report.json."""
    return document(shutil.copytree(compared / "out", tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["difference"].update(p_value=2), "less than or equal to 1"),
        (lambda r: r["difference"].update(low=0.3, high=0.1), "low 0.3 is above high 0.1"),
        (lambda r: r["difference"].update(low=None), "two ends or none"),
        (lambda r: r["candidate"]["confusion"][0].__setitem__(0, -1), "greater than or equal to 0"),
        (
            lambda r: r["candidate"]["metrics"]["overall"].update(pixel_accuracy=1.1),
            "less than or equal to 1",
        ),
        (lambda r: r["candidate"].update(to_baseline=None), "lacks its difference from the baseline"),
        (lambda r: r["baseline"]["metrics"]["overall"].pop("pixel_accuracy"), "has the metrics"),
        (
            lambda r: r["candidate"]["to_baseline"]["overall"].update(speed=r["difference"]),
            "'speed'\\], expected",
        ),
        (lambda r: r.update(extra=1), "Extra inputs are not permitted"),
        (lambda r: r["test"].update(chips=0), "greater than 0"),
    ],
)
def test_what_is_no_report_is_refused(written, change, message):
    Report.model_validate(written)
    change(written)
    with pytest.raises(ValidationError, match=message):
        Report.model_validate(written)


@pytest.mark.parametrize(("key", "value"), [("p_value", 2), ("standard_error", -1), ("difference", "much")])
def test_the_schema_refuses_it_too(written, key, value):
    written["difference"][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, schema())


def test_the_schema_knows_the_metrics(written):
    written["baseline"]["metrics"]["overall"]["speed"] = 0.5
    with pytest.raises(jsonschema.ValidationError, match="speed"):
        jsonschema.validate(written, schema())
    del (
        written["baseline"]["metrics"]["overall"]["speed"],
        written["baseline"]["metrics"]["overall"][MIOU.key],
    )
    with pytest.raises(jsonschema.ValidationError, match="required"):
        jsonschema.validate(written, schema())


def test_every_metric_is_in_every_table(written, tmp_path):
    assert [entry["key"] for entry in written["metrics"]] == [metric.key for metric in METRICS]
    heads = next(
        line for line in (tmp_path / "out/report.md").read_text().splitlines() if line.startswith("| arm")
    )
    assert all(f"| {metric.label} |" in heads for metric in OVERALL)
    differences = written["candidate"]["to_baseline"]
    assert {*differences["overall"], *differences["by_class"]} == {metric.key for metric in INTERVALS}


def test_sign_alone_is_said_to_be_no_evidence(tmp_path, capsys):
    runs = [make_score(tmp_path / "b", seed=1), make_score(tmp_path / "c", 0.0005, seed=2)]
    words = ("compare", "--baseline", runs[0], "--candidate", runs[1], "--out", tmp_path / "out", "--require")
    status = main([str(word) for word in (*words, "acceptable")])
    told = capsys.readouterr().out
    assert told.startswith("One run is not evidence: mIoU ")
    assert "[" in told.splitlines()[0]
    assert "looks only at the sign of the point estimate, while the interval covers zero" in told
    assert status == (0 if document(tmp_path / "out")["difference"]["difference"] >= 0 else 1)


# What a reader can recompute --------------------------------------------------------------------------


def read_counts(out):
    """Counts by arm, ``[seed, scene, class, class + 1]``, by nothing of this project."""
    with (out / "counts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    arms = {}
    for row in rows:
        arms.setdefault(row["arm"], {}).setdefault(row["run"], []).append(int(row["pixels"]))
    classes = len({row["reference"] for row in rows})
    shape = (-1, classes, classes + 1)
    return {name: np.stack([np.reshape(run, shape) for run in runs.values()]) for name, runs in arms.items()}


def plain_miou(counts):
    hits = counts[..., :-1].diagonal(axis1=-2, axis2=-1)
    return (hits / (counts.sum(-1) + counts[..., :-1].sum(-2) - hits)).mean(-1)


def test_counts_by_run_and_scene_give_every_arm(runs, written, tmp_path):
    arms = read_counts(tmp_path / "out")
    assert {name: counts.shape for name, counts in arms.items()} == {
        "baseline": (3, 12, 5, 6),
        "candidate": (3, 12, 5, 6),
        "shuffle": (3, 12, 5, 6),
    }
    for arm in (written["baseline"], written["candidate"], *written["controls"]):
        counts = arms[arm["name"]]
        assert counts.sum(axis=(0, 1)).tolist() == arm["confusion"]
        assert plain_miou(counts.sum(axis=1)).mean() == pytest.approx(arm["metrics"]["overall"][MIOU.key])


def test_a_reader_can_recompute_the_interval(written, tmp_path):
    """From the table alone: jackknife over scenes, spread of paired seeds, degrees of freedom, Student's t."""
    found, arms = written["difference"], read_counts(tmp_path / "out")

    def apart(kept):
        ours, theirs = (plain_miou(arms[name][:, kept].sum(axis=1)) for name in ("candidate", "baseline"))
        return ours - theirs

    scenes = 12
    left_out = np.array([apart([k for k in range(scenes) if k != gone]).mean() for gone in range(scenes)])
    by_seed = apart(range(scenes))
    parts = [(left_out.var() * (scenes - 1), scenes - 1), (by_seed.var(ddof=1) / 3, 2)]
    variance = sum(part for part, _ in parts)
    freedom = 1 / sum((part / variance) ** 1.4 / own for part, own in parts)
    reach = stats.t.ppf(0.975, freedom) * variance**0.5
    assert [row["difference"] for row in written["seeds"]] == pytest.approx(by_seed)
    assert [part["variance"] for part in found["parts"]] == pytest.approx([part for part, _ in parts])
    assert found["degrees_of_freedom"] == pytest.approx(freedom)
    assert found["difference"] == pytest.approx(by_seed.mean(), abs=1e-8)
    assert found["low"] == pytest.approx(by_seed.mean() - reach, abs=1e-8)
    assert found["high"] == pytest.approx(by_seed.mean() + reach, abs=1e-8)


def test_what_the_difference_rests_on(written, tmp_path):
    """From the table alone: the scene, and the seed, without which least of the gain is left."""
    arms = read_counts(tmp_path / "out")

    def apart(scenes, seeds):
        ours, theirs = (
            plain_miou(arms[name][seeds][:, scenes].sum(axis=1)) for name in ("candidate", "baseline")
        )
        return (ours - theirs).mean()

    scenes = [apart([k for k in range(12) if k != gone], [0, 1, 2]) for gone in range(12)]
    seeds = [apart(list(range(12)), [k for k in range(3) if k != gone]) for gone in range(3)]
    scene, seed = written["left_out"]
    assert (scene["kind"], scene["name"]) == ("scene", f"s{np.argmin(scenes):02}")
    assert scene["difference"]["difference"] == pytest.approx(min(scenes), abs=1e-8)
    assert (seed["kind"], seed["name"]) == ("seed", str(1 + np.argmin(seeds)))
    assert seed["difference"]["difference"] == pytest.approx(min(seeds), abs=1e-8)
    assert {part["name"]: part["units"] for part in seed["difference"]["parts"]} == {"scenes": 12, "seeds": 2}
    assert seed["words"] in (tmp_path / "out/report.md").read_text()


def test_the_checklist_is_answered_from_the_records(runs, written, tmp_path):
    answers = {entry["question"]: (entry["yes"], entry["words"]) for entry in written["checklist"]}
    assert answers["Are the weights named?"] == (True, "terramind_v1_tiny, weights bbbbbbbbbbbb")
    assert answers["Is there a variance?"] == (True, "3 seeds of each arm, 12 scenes")
    assert answers["Was the comparison declared before the trainings?"] == (False, "no")
    assert answers["Are the splits geographic, not random?"][0] is True
    overlapping = [
        make_score(tmp_path / f"o{seed}", 0.1, seed=seed, origin={"seed": seed, "scene_overlap": ("s01",)})
        for seed in (1, 2, 3)
    ]
    given = {**runs, **{f"c{seed}": folder for seed, folder in zip((1, 2, 3), overlapping, strict=True)}}
    assert compare(given, tmp_path / "other") == 0
    text = (tmp_path / "other/report.md").read_text()
    assert "- [ ] Are the splits geographic, not random? scenes in two splits: s01" in text
    assert "- [ ] Are there controls? none by its record" in text


def test_mious_without_a_class_and_scenes_by_class(runs, written, tmp_path):
    counts = read_counts(tmp_path / "out")["candidate"]
    assert written["test"]["scenes_by_class"] == dict.fromkeys(NAMES, 12)
    total = counts.sum(axis=1)
    hits = total[..., :-1].diagonal(axis1=-2, axis2=-1)
    iou = hits / (total.sum(-1) + total[..., :-1].sum(-2) - hits)
    assert written["candidate"]["miou_without_class"]["water"] == pytest.approx(iou[:, 1:].mean())


def test_several_comparisons_declared(runs, tmp_path, capsys):
    assert compare(runs, tmp_path / "out", *declared(tmp_path, "shuffle", more=3)) == 0
    report = document(tmp_path / "out")
    assert report["family"]["declared"] == 4
    assert report["family"]["study_sha256"] == "a" * 64
    assert report["family"]["dates"] == ["2025-12-31T00:00:00+00:00"]
    assert report["family"]["p_family"] == pytest.approx(min(1, 4 * report["difference"]["p_value"]))
    assert "One of 4 comparisons declared" in (tmp_path / "out/report.md").read_text()
    assert compare(runs, tmp_path / "out", "--study", tmp_path / "study") == 2
    assert "--study and --comparison go together" in capsys.readouterr().err
    assert compare(runs, tmp_path / "out", "--study", tmp_path, "--comparison", "main") == 2
    assert "is not the out folder of a study that has run" in capsys.readouterr().err


def lacking(runs, tmp_path, *more, controls=("shuffle",), named=("shuffle",), **changes):
    """What a claim lacks, of the runs and controls named, by what was declared."""
    given = [word for name in named for word in control(runs, name)]
    words = (*(("--control", *given) if given else ()), *declared(tmp_path, *controls, **changes), *more)
    assert compare(runs, tmp_path / "out", *words) == 0
    return document(tmp_path / "out")["verdict"]["lacking"]


def test_what_was_declared_and_is_there_is_claimed(runs, tmp_path):
    assert lacking(runs, tmp_path) == []


@pytest.mark.parametrize(
    ("given", "phrase"),
    [
        ({"controls": ("shuffle", "random")}, "declared controls: random"),  # the one that is not beaten
        ({"seeds": (1, 2, 3, 4, 5, 6)}, "declared seeds: baseline has no run of seed 4, 5, 6"),
        ({"seeds": (1, 2)}, "seeds that were declared: seed 3 of baseline was not"),
        ({"created": "2026-02-01T00:00:00+00:00"}, "a declaration before the training: "),
        ({"test": DeclaredTest("x" * 64, SPLIT.masks, "y" * 64)}, "its chips and scenes are others now"),
        ({"test": None}, "a test split that was recorded before the trainings"),
        ({"comparisons": {"other": DeclaredComparison("b", "c", ())}}, "a declaration of comparison main"),
        ({"comparisons": {"main": DeclaredComparison("phase1", "c", ("shuffle",))}}, "runs of the study: "),
    ],
)
def test_what_was_declared_otherwise_is_not_claimed(runs, tmp_path, given, phrase):
    assert phrase in " · ".join(lacking(runs, tmp_path, **given))


def test_a_later_declaration_takes_nothing_back(runs, tmp_path):
    """Six seeds and a control that was not beaten, declared once, cannot be declared away after the results."""
    declare(tmp_path / "study", make_declaration(("shuffle", "random"), seeds=(1, 2, 3, 4, 5, 6), more=2))
    found = " · ".join(lacking(runs, tmp_path, created="2026-03-01T00:00:00+00:00"))
    assert "declared controls: random" in found
    assert "declared seeds: baseline has no run of seed 4, 5, 6" in found
    family = document(tmp_path / "out")["family"]
    assert (family["declared"], len(family["dates"])) == (3, 2)
    assert "The declaration was changed later" in family["words"]


def test_declarations_that_were_edited_are_refused(runs, tmp_path, capsys):
    given = declared(tmp_path, "shuffle", "random")
    declare(tmp_path / "study", make_declaration())
    path = tmp_path / "study" / "declarations.jsonl"
    first, second = path.read_text().splitlines()
    for text in (first.replace('"random"', '"constant"') + f"\n{second}\n", f"{second}\n", "{\n"):
        path.write_text(text)
        assert compare(runs, tmp_path / "out", *given) == 2
        assert "not the declarations of a study" in capsys.readouterr().err


def test_a_design_that_has_not_changed_is_declared_once(tmp_path):
    for created in ("2026-01-01", "2026-01-02"):
        declare(tmp_path, make_declaration(created=created))
    (entry,) = read_declarations(tmp_path)
    assert entry.created == "2026-01-01"


# The set of files -------------------------------------------------------------------------------------


def test_files_are_replaced_together_or_not_at_all(runs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert compare(runs, out) == 0
    assert {path.name for path in out.iterdir()} == files.FILES
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(*given):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr("eval.api.to_csv", fail)
        assert compare(runs, out, "--pictures", 1) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == [".out.lock"]


def test_two_reports_are_not_written_to_one_folder_at_once(runs, tmp_path, capsys):
    with file_lock(tmp_path / "out"):
        assert compare(runs, tmp_path / "out") == 2
    assert "another run is writing here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


STRANGE = ("=cmd|'/C calc'!A0", "+1|+1", "a|b\n| x |", "<script>alert(1)</script>", "`rm`")


def test_names_of_strangers_stay_names(tmp_path):
    """Neither a formula for a spreadsheet, nor a further cell of a table, nor a tag of a page."""
    made = make_counts(names=STRANGE)
    scenes = tuple({"s00": "@SUM(1)", "s01": "\t=1+1", "s02": "-2+3"}.get(s, s) for s in made.scene_ids)
    for name, seed in (("b", 1), ("c", 2)):
        Score(tmp_path / name, dataclasses.replace(made, scene_ids=scenes), make_origin(seed=seed)).write()
    words = [
        "compare",
        "--baseline",
        tmp_path / "b",
        "--candidate",
        tmp_path / "c",
        "--out",
        tmp_path / "out",
    ]
    assert main([str(word) for word in words]) == 0
    with (tmp_path / "out/counts.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))] == []
    assert {"'@SUM(1)", "'-2+3", "'\t=1+1", "'+1|+1"} <= set(cells)
    text = (tmp_path / "out/report.md").read_text()
    assert "<script>" not in text
    lines = text.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("| class |"))
    classes, width = lines[head + 2 : head + 2 + len(STRANGE)], len(re.findall(r"(?<!\\)\|", lines[head]))
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in classes} == {width}


def test_a_report_set_aside_by_a_crash_comes_back(tmp_path):
    """The old report was moved aside and the new one not yet put there."""
    (tmp_path / ".old.out").mkdir()
    (tmp_path / ".old.out/report.json").write_text("old")

    def interrupted():
        with files.replaced(tmp_path / "out"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "out/report.json").read_text() == "old"


def test_a_folder_with_other_things_is_left_alone(runs, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    assert compare(runs, tmp_path / "out") == 2
    assert "holds thesis.txt, which is not part of a report" in capsys.readouterr().err
    assert (tmp_path / "out/thesis.txt").read_text() == "mine"
