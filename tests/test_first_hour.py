"""The commands that `tim-store init` prints run as they stand, from a folder of files to a first comparison."""

import importlib
from pathlib import Path

import pytest
import yaml

from augment_store.cli.main import main
from augment_store.store.writer import AugmentStore
from eval.compare.planner import spread_of
from eval.publish.report import read_report
from tests.augment_store.cli.test_init import IDS, init, write_two_classes
from tools.documents import module_and_arguments

pytestmark = pytest.mark.nightly


def test_the_printed_commands_lead_to_a_map_and_a_comparison(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_two_classes(Path("mine"))
    lines = init(capsys, "mine")
    # a seed and two epochs show the same as three and twenty
    for name, changed in (("mine_study.yaml", {"seeds": [1]}), ("mine.yaml", {"trainer": {"max_epochs": 2}})):
        plain = yaml.safe_load(Path(name).read_text())
        kept = {**plain.get("trainer", {}), **changed["trainer"]} if "trainer" in changed else None
        Path(name).write_text(yaml.safe_dump({**plain, **({"trainer": kept} if kept else changed)}))
    for line in lines[lines.index("next:") + 1 :]:
        module, *words = module_and_arguments(line.strip())
        run = main if module == "augment_store" else importlib.import_module(f"{module}.__main__").main
        assert run(words) == 0, line
    assert len(AugmentStore.open("stores/mine_lulc")) == len(IDS)
    assert Path("mine_maps.html").stat().st_size > 10_000
    # both chips of the one test city, by the arms and the control of the study
    told = Path("studies/mine/reports/tim/report.md").read_text()
    assert "shuffle" in told
    # one seed tells nothing of the spread between seeds
    assert spread_of(read_report(Path("studies/mine/reports/tim")).difference.parts) is None
