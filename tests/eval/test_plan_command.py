"""`python -m eval plan` on a report of synthetic runs."""

import pytest

from eval.cli.main import main
from tests.eval.scores import make_score


@pytest.mark.slow
def test_the_command_plans_from_a_report_and_so_does_the_report_itself(tmp_path, capsys):
    runs = {
        name: [
            make_score(tmp_path / name / f"seed_{seed}", gain, seed=seed + 10 * place, origin={"seed": seed})
            for seed in (1, 2, 3)
        ]
        for place, (name, gain) in enumerate({"b": 0.0, "c": 0.02}.items())
    }
    words = ["compare", "--baseline", *runs["b"], "--candidate", *runs["c"], "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    capsys.readouterr()
    assert main(["plan", str(tmp_path / "out"), "--goal", "2.0"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(
        "To claim a true gain of 2.00 pp with 80% power against 1 control, by the spread found here ("
    )
    assert told.rstrip() in (tmp_path / "out/report.md").read_text()
    with pytest.raises(SystemExit):
        main(["plan", str(tmp_path / "out"), "--goal", "0"])
    assert main(["plan", str(tmp_path / "nothing")]) == 2
