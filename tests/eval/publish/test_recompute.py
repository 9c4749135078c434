"""A report is published only if its numbers follow from its counts."""

import csv
import json
import shutil

import pytest

from eval.cli.main import main
from eval.errors import EvaluationError
from eval.publish.recompute import check_numbers, check_own_counts
from eval.publish.report import read_report
from eval.score.record import Score
from tests.eval.scores import make_score

JOINED = {"b": {}, "c": {"encoding": ("onehot",), "fingerprint": "f" * 64}}
JOINED["shuffle"] = {**JOINED["c"], "control": "shuffle"}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A report of three seeds, a candidate that gains, and a control."""
    folder = tmp_path_factory.mktemp("compared")
    runs = {
        name: [
            make_score(
                folder / name / f"seed_{seed}",
                gain,
                seed=seed + 10 * place,
                origin={"seed": seed, **JOINED[name]},
            )
            for seed in (3, 1, 2)
        ]
        for place, (name, gain) in enumerate({"b": 0.0, "c": 0.1, "shuffle": 0.0}.items())
    }
    words = [
        "compare",
        "--baseline",
        *runs["b"],
        "--candidate",
        *reversed(runs["c"]),
        "--out",
        folder / "out",
    ]
    words += ["--control", *(f"shuffle={run}" for run in runs["shuffle"])]
    assert main([str(word) for word in words]) == 0
    return folder / "out"


@pytest.fixture
def out(compared, tmp_path):
    """A copy of the report, to edit."""
    return shutil.copytree(compared, tmp_path / "out")


def edited(out, change):
    plain = json.loads((out / "report.json").read_text())
    change(plain)
    (out / "report.json").write_text(json.dumps(plain))
    return read_report(out)


def test_an_untouched_report_is_what_its_counts_say(out, tmp_path):
    report = read_report(out)
    table = check_numbers(out, report)
    assert table.counts["candidate"].shape == (3, 12, 5, 6)
    for run in report.candidate.runs:
        check_own_counts(table, report, Score.read(run.folder), run.origin.checkpoint_sha256)
    first = report.candidate.runs[0].origin.checkpoint_sha256
    with pytest.raises(EvaluationError, match="are not those of its score"):
        check_own_counts(table, report, Score.read(report.baseline.runs[0].folder), first)


def raise_difference(plain):
    for found in (
        plain["difference"],
        plain["candidate"]["to_baseline"]["overall"]["miou_macro_reference_classes"],
    ):
        found |= {"difference": found["difference"] + 0.05, "high": found["high"] + 0.05}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (raise_difference, "difference of the candidate against the baseline is"),
        (lambda r: r["difference"].update(p_value=0.9), "p_value of the candidate against the baseline"),
        (
            lambda r: r["controls"][0]["candidate_to_this"]["overall"]["miou_macro_reference_classes"].update(
                low=0.05
            ),
            "low of the candidate against control shuffle",
        ),
        (
            lambda r: r["controls"][0].update(candidate_to_this=None),
            "lacks the comparison with control shuffle",
        ),
        (lambda r: r.update(controls=[]), "holds other arms or runs than the report"),
        (lambda r: r["verdict"].update(claimed=True), "claims an improvement that its numbers do not allow"),
        (
            lambda r: r["verdict"].update(claimed=True, lacking=[]),
            "that its numbers do not allow",
        ),  # undeclared
        (lambda r: r["verdict"].update(lacking=[]), "names nothing that a claim lacks"),
        (
            lambda r: r["verdict"].update(headline="Strong improvement: mIoU +20.00 pp"),
            "headline does not say",
        ),
    ],
)
def test_an_edited_report_is_refused(out, change, message):
    report = edited(out, change)
    with pytest.raises(EvaluationError, match=message):
        check_numbers(out, report)


def test_edited_or_missing_counts_are_refused(out):
    report, path = read_report(out), out / "counts.csv"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    right = next(row for row in rows[1:] if row[0] == "candidate" and row[4] == row[5] and int(row[6]) > 100)
    right[6] = str(int(right[6]) - 100)
    path.write_text("\n".join(",".join(row) for row in rows))
    with pytest.raises(EvaluationError, match=r"but counts\.csv gives"):
        check_numbers(out, report)
    path.write_text("\n".join(",".join(row) for row in rows[:-1]))
    with pytest.raises(EvaluationError, match="not the counts of this report"):
        check_numbers(out, report)
    path.unlink()
    with pytest.raises(EvaluationError, match="no such file"):
        check_numbers(out, report)


def test_the_command_refuses_an_edited_report_before_it_opens_the_run(out, tmp_path, capsys):
    edited(out, raise_difference)
    words = [
        "publish",
        read_report(out).candidate.runs[0].folder,
        "--report",
        out,
        "--out",
        tmp_path / "bundle",
    ]
    assert main([str(word) for word in words]) == 2
    assert "one of them was changed: compare again" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
