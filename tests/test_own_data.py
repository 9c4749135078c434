"""docs/how-to/own_data.md: every line of it is understood, and its commands run on chips as it describes them."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

from augment_store.store.writer import AugmentStore
from demo.recipe import Stage
from eval.study.config import Study
from finetune.options import parse as finetune_options
from generate.cli.audit import AuditOptions, audit_parser
from generate.cli.generate import CommandOptions, generate_parser
from generate.cli.parser import parse_options
from terramind_weights.catalog import PUBLISHED
from tests.conftest import ROOT
from tests.worlds import EAST, rasters, write_tif
from tools.documents import module_and_arguments

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "how-to" / "own_data.md").read_text(encoding="utf-8")
SPLITS = {"train": ("alba_1", "alba_2"), "val": ("brno_1", "brno_2"), "test": ("cadiz_1", "cadiz_2")}
BANDS = (1, 2, 3, 7, 4, 5, 6, 8, 10, 11, 0, 9)  # TerraMind's, those of 10 m first, then 20 m and 60 m
CHEAP = {  # what the page says, on a machine without a GPU and without weights
    "--accelerator gpu": "--accelerator cpu",
    "--weights weights": "--weights random",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


SCRIPTS = [block for block in blocks("bash") if block.startswith("#!")]
LINES = [line for block in blocks("bash") for line in block.splitlines()]
FILES = {block.splitlines()[0]: block for block in blocks("yaml")}


def lines(start: str) -> list[str]:
    """Lines of the page's commands that begin so, in their order."""
    return [line for line in LINES if line.startswith(start)]


def sbatch(script: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([\w-]+)=(.+)$", script, flags=re.MULTILINE))


# What is written -----------------------------------------------------------------------------------------


def test_no_line_is_of_a_kind_that_nothing_checks():
    known = ("tim-", "srun tim-generate ", "torchrun --nproc-per-node 4 -m generate ")
    known += (
        "hf download ",
        "#!/bin/bash",
        "#SBATCH --",
        "source .venv/bin/activate",
        "export HF_HUB_OFFLINE=1",
    )
    assert LINES
    assert [line for line in LINES if not line.startswith(known)] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: sbatch(script)["job-name"])
def test_a_job_is_a_shell_script(script):
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert {"job-name", "time"} <= set(sbatch(script))


def test_generate_is_told_what_slurm_and_torchrun_are_told():
    [script] = [script for script in SCRIPTS if "srun" in script]
    asked, [line] = sbatch(script), lines("srun")
    options = parse_options(generate_parser(), CommandOptions, module_and_arguments(line)[1:])
    assert (options.devices, options.num_nodes) == (asked["ntasks-per-node"], int(asked["nodes"]))
    assert options.devices == asked["gpus-per-node"]
    [line] = lines("torchrun")
    words = shlex.split(line)
    options = parse_options(generate_parser(), CommandOptions, words[words.index("generate") + 1 :])
    assert (options.devices, options.num_nodes) == (words[2], 1)


def test_the_options_have_values_that_the_stages_take(tmp_path, monkeypatch):
    """Beyond the parsers, which `test_docs` asks: ranges, contradictions, files that have to be there."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(FILES["# fine-tune"])
    seen = 0
    for line in LINES:
        module, *words = module_and_arguments(line.replace("$SLURM_ARRAY_TASK_ID", "1")) or [""]
        if words[:1] == ["audit"]:
            assert parse_options(audit_parser(), AuditOptions, words[1:]).checked().inputs == [
                "S2L2A",
                "S1GRD",
            ]
        elif module == "generate":
            assert parse_options(generate_parser(), CommandOptions, words).checked().inputs == [
                "S2L2A",
                "S1GRD",
            ]
        elif module == "finetune":
            assert finetune_options(words).overrides == ()  # nothing is left to TerraTorch's parser
        seen += module in {"generate", "finetune"}
    assert seen == 9


def test_the_weights_are_those_that_generate_looks_for():
    source = PUBLISHED["terramind_v1_base"]
    wanted = [source.network, source.tokenizer("LULC")]
    told = [shlex.split(line) for line in lines("hf download")]
    assert [tuple(words[2:4]) for words in told] == [(file.repo_id, file.filename) for file in wanted]
    assert {words[-1] for words in told} == {"weights"}


def test_what_is_compared_was_trained(tmp_path):
    runs = {line.split("--run ")[1].split()[0] for line in lines("tim-finetune")} - {"runs/smoke"}
    seeds = range(1, 1 + int(sbatch(SCRIPTS[-1])["array"].removeprefix("1-")))
    trained = {run.replace("$SLURM_ARRAY_TASK_ID", str(seed)) for run in runs for seed in seeds}
    [compare] = lines("tim-eval compare")
    assert set(re.findall(r"runs/\w+", compare)) == trained
    [scored] = lines("tim-eval zero-shot")
    assert re.findall(r"--out (\S+)", scored) == re.findall(r"map=(\S+)", compare)
    (tmp_path / "study.yaml").write_text(FILES["# study"])
    study = Study.load(tmp_path / "study.yaml")
    assert set(study.arms) == {"base", "tim", "random", "shuffle"}
    assert list(study.seeds) == list(seeds)


# What happens --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with chips as the page describes them, and the files that it has the reader write."""
    root = tmp_path_factory.mktemp("own_data")
    chips, rng = root / "data" / "mine", np.random.default_rng(0)
    for seed, chip_id in enumerate(chip_id for ids in SPLITS.values() for chip_id in ids):
        made = rasters(seed, 64)
        labels = rng.choice([0, 1, 255], (1, 64, 64), p=[0.5, 0.4, 0.1]).astype(np.uint8)
        radar = made["S1RTC"][0].astype(np.float32)
        for name, raster in {"optical": made["S2L2A"][0, BANDS], "radar": radar, "labels": labels}.items():
            write_tif(chips / name / f"{chip_id}.tif", raster, east=EAST + 640 * seed)
    (chips / "lists").mkdir()
    for split, ids in SPLITS.items():
        (chips / "lists" / f"{split}.txt").write_text("\n".join(ids) + "\n")
    names = {"layout": "mine_layout", "legend": "legend", "fine-tune": "mine", "study": "mine_study"}
    for heading, name in names.items():
        (root / f"{name}.yaml").write_text(FILES[f"# {heading}"])
    return root


def run(line: str, *more: str) -> int:
    """Runs a command of the page in this process, without GPU and weights; returns its exit status."""
    for said, cheap in CHEAP.items():
        line = line.replace(said, cheap)
    module, *words = module_and_arguments(line)
    return Stage("", module, (*words, *more)).run()


def test_the_layout_file_finds_the_chips_and_the_audit_passes(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    [folders, mine] = lines("tim-store layouts check")
    assert run(folders) == 2  # no shipped layout finds these chips
    assert "data/mine" in capsys.readouterr().err
    assert run(mine) == 0
    told = capsys.readouterr().out
    assert "scenes   3; chip alba_1 is from alba\n" in told
    assert told.endswith("data/mine: no problem with layout mine_layout.yaml\n")
    [audit] = lines("tim-generate audit")
    assert run(audit) == 0


def test_maps_are_generated_looked_at_scored_and_joined(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    small = ("--generator", "demo")
    plan, few = (line for line in lines("tim-generate") if "--store" in line)
    assert run(plan, *small) == 0
    assert not (place / "stores").exists()
    assert run(few, *small) == 0
    assert AugmentStore.open("stores/try").chip_ids == SPLITS["val"]
    [inspect] = lines("tim-store inspect")
    assert run(inspect) == 0
    assert (place / "try.html").stat().st_size > 10_000
    assert run(plan.removesuffix(" --dry-run"), *small) == 0
    [verify], [scored] = lines("tim-store verify"), lines("tim-eval zero-shot")
    assert (run(verify), run(scored)) == (0, 0)
    assert "stores/mine_lulc: sound, 6 chips" in capsys.readouterr().out
    [smoke] = [line for line in lines("tim-finetune") if line.endswith("--smoke")]
    shrunk = {"backbone": "terramind_v1_tiny", "decoder_channels": "[16,8,8,8]"}
    words = [word for key, value in shrunk.items() for word in (f"--model.init_args.model_args.{key}", value)]
    assert run(smoke, *words, "--trainer.accelerator", "cpu", "--data.init_args.num_workers", "0") == 0


def test_the_study_can_be_planned(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    Path("weights").mkdir()  # a plan looks whether they are there
    Path("weights/TerraMind_v1_base.pt").touch()
    plan, whole = lines("tim-eval study")
    assert plan == f"{whole} --dry-run"
    assert run(plan) == 0
    told = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("tim-finetune fit ") for line in told) == 4 * 3
    assert sum(line.startswith("tim-generate ") for line in told) == 2
