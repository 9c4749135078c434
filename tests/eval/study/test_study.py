"""Studies: what is run and in which order, resuming, and invalid configurations."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from augment_store.chips.layouts import LAYOUT_FILES
from augment_store.cli.parser import run_guarded
from augment_store.io.lock import file_lock
from eval.cli.main import main
from eval.cli.study import CONFIGS, make_study
from eval.compare.planner import Spread
from eval.study.config import Study
from eval.study.declared import declaration_of
from eval.study.plan import plan, unequal_recipes
from eval.study.power import resolvable
from eval.study.worker import run_steps
from finetune.data.split_checks import SplitRequirements, survey_chips
from finetune.options import CONFIGS as FINETUNES
from finetune.options import DEMO_CONFIGS
from finetune.options import parse as parse_finetune
from finetune.run.manifest import RunManifest
from generate.cli.generate import CommandOptions, generate_parser
from generate.cli.parser import parse_options
from tests.eval.scores import make_manifest
from tests.worlds import make_world

STUDY = {
    "out": "out",
    "chips": "chips",
    "seeds": [1, 2],
    "stores": {"lulc": {"arguments": ["--top-k", 1]}},
    "arms": {
        "plain": {"config": "nyc_phase2"},
        "tim": {"config": "nyc_tim_lulc", "store": "lulc"},
    },
    "zero_shot": {"zero": {"store": "lulc"}},
    "comparisons": {"tim": {"baseline": "plain", "candidate": "tim", "controls": ["zero"]}},
}
ORDER = [
    "generate",
    *["finetune", "score"] * 4,  # of one run, one after the other
    "zero-shot",
    "compare",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(STUDY)
    return tmp_path


def write(study):
    Path("study.yaml").write_text(yaml.safe_dump(study))


class Recorder:
    """An executor whose jobs run at once in this process, by commands that only make the product of each step.

    Attributes:
        commands: What was run.
        fail: A word of the commands that fail; None for none.
        leave: Whether products are made.
        incomplete: A word of the trainings that end early; None for none.
        before: Called with each command before it runs.
    """

    def __init__(self):
        self.commands, self.fail, self.leave, self.incomplete = [], None, True, None
        self.before = lambda words: None

    def find_running(self, jobs):
        pass

    def start(self, job, device):
        status = run_steps(Path("out"), job.steps, self.find)
        return SimpleNamespace(poll=lambda: status, log=None, interrupt=lambda: None, join=lambda: None)

    def pause(self):
        pass

    def close(self):
        pass

    def find(self, module):
        return lambda arguments: self.run((module, *arguments))

    def run(self, words):
        self.commands.append(words)
        self.before(words)
        if self.fail and self.fail in words:
            return 2
        plain = words[: words.index("--ckpt_path")] if "--ckpt_path" in words else words
        products = {step.words: step.product for step in plan(Study.load(Path("study.yaml")))}
        if self.leave:
            products[plain].parent.mkdir(parents=True, exist_ok=True)
            products[plain].touch()
            if words[0] == "finetune":
                complete = self.incomplete not in words
                dataclasses.replace(make_manifest(), complete=complete).write(products[plain].parents[1])
        return 0


@pytest.fixture
def ran():
    return Recorder()


def dry(*more):
    return main(["study", "--config", "study.yaml", "--dry-run", *more])


def study(executor):
    """Makes the study by the executor, guarded like the command; returns the exit status."""
    return run_guarded(lambda: make_study(Study.load(Path("study.yaml")), executor, [""]))


def kinds(commands):
    return [words[1] if words[0] == "eval" else words[0] for words in commands]


def test_commands(folder, capsys):
    assert dry() == 0
    printed = capsys.readouterr().out.splitlines()
    commands = [line for line in printed if not line.startswith("#")]
    lines = [printed[0], *commands, printed[-1]]
    assert lines[0] == "# 0 of 11 steps are done"
    assert lines[1] == "tim-generate --chips chips --store out/stores/lulc --top-k 1"
    assert lines[4] == (
        "tim-finetune fit --config nyc_tim_lulc --chips chips --augment out/stores/lulc --seed 1 "
        "--run out/runs/tim/seed_1"
    )
    assert lines[-2] == (
        "tim-eval compare --baseline out/runs/plain/seed_1 out/runs/plain/seed_2 --candidate "
        "out/runs/tim/seed_1 out/runs/tim/seed_2 --control zero=out/zero_shot/zero --out out/reports/tim "
        "--study out --comparison tim"
    )
    assert not Path("out").exists()


def test_runs_everything_once(folder, ran):
    assert study(ran) == 0
    assert kinds(ran.commands) == ORDER
    ran.commands.clear()
    assert study(ran) == 0
    assert ran.commands == []


def test_resumes_where_it_failed(folder, ran, capsys):
    ran.fail = "out/runs/tim/seed_1"
    assert study(ran) == 2
    assert "step fit_tim_1 ended with exit status 2" in capsys.readouterr().err
    last = Path("out/runs/tim/seed_1/checkpoints/last.ckpt")
    last.parent.mkdir(parents=True)
    last.touch()
    ran.fail = None
    ran.commands.clear()
    assert study(ran) == 0
    assert kinds(ran.commands) == ORDER[5:]
    assert ran.commands[0][-2:] == ("--ckpt_path", str(last))


def test_a_run_without_a_checkpoint_starts_again(folder, ran):
    """Killed between its best and its last checkpoint: there is nothing to resume from, and nothing in the way."""
    run = Path("out/runs/plain/seed_1")
    dataclasses.replace(make_manifest(), complete=False).write(run)
    (run / "checkpoints").mkdir()
    (run / "checkpoints/best.ckpt").touch()
    seen = []
    ran.before = lambda words: (
        seen.append((run / "checkpoints/best.ckpt").exists()) if str(run) in words else None
    )
    assert study(ran) == 0
    assert seen[0] is False
    assert RunManifest.read(run).complete


def test_a_whole_run_that_the_study_did_not_make_is_left_alone(folder, ran):
    run = Path("out/runs/plain/seed_1")
    make_manifest().write(run)
    (run / "checkpoints").mkdir()
    (run / "checkpoints/best.ckpt").write_text("mine")
    ran.fail = str(run)  # as fit does: it holds a run already
    assert study(ran) == 2
    assert (run / "checkpoints/best.ckpt").read_text() == "mine"


def test_a_training_that_was_stopped_is_not_done_whatever_its_exit_status(folder, ran, capsys):
    """SIGTERM ends a training tidily, with a best checkpoint and a manifest that says it is not complete."""
    ran.incomplete = "out/runs/tim/seed_1"
    assert study(ran) == 2
    told = capsys.readouterr().err
    assert "step fit_tim_1 was interrupted before it was complete" in told
    last = Path("out/runs/tim/seed_1/checkpoints/last.ckpt")
    last.touch()
    ran.incomplete = None
    ran.commands.clear()
    assert study(ran) == 0
    assert kinds(ran.commands) == ORDER[5:]
    assert ran.commands[0][-2:] == ("--ckpt_path", str(last))


def test_what_reads_a_new_product_is_made_again(folder, ran):
    assert study(ran) == 0
    Path("out/runs/tim/seed_2/checkpoints/best.ckpt").unlink()
    ran.commands.clear()
    assert study(ran) == 0
    assert kinds(ran.commands) == ["finetune", "score", "compare"]


def test_an_interruption_leaves_no_record_of_an_old_product(folder, ran):
    assert study(ran) == 0
    Path("out/runs/tim/seed_2/checkpoints/best.ckpt").unlink()
    ran.fail = "score"
    assert study(ran) == 2
    ran.fail = None
    ran.commands.clear()
    assert study(ran) == 0
    assert kinds(ran.commands) == ["score", "compare"]


def test_runs_whose_store_is_gone_are_not_trained_on_another(folder, ran, capsys):
    assert study(ran) == 0
    Path("out/stores/lulc/zarr.json").unlink()
    assert study(ran) == 2
    assert "fit_tim_1 was done from what generate_lulc made" in capsys.readouterr().err


def test_changed_commands(folder, ran, capsys):
    assert study(ran) == 0
    write({**STUDY, "comparisons": {"tim": {**STUDY["comparisons"]["tim"], "controls": []}}})
    ran.commands.clear()
    assert study(ran) == 0
    assert kinds(ran.commands) == ["compare"]
    write({**STUDY, "finetune_arguments": ["--smoke"]})
    assert study(ran) == 2
    assert "step fit_plain_1 was done by another command" in capsys.readouterr().err


def test_a_password_in_a_url_is_refused_before_any_step(folder, ran, capsys):
    write({**STUDY, "chips": "memory://key:s3cret@bucket/chips"})
    assert study(ran) == 2
    said = "".join(capsys.readouterr())
    assert "memory://bucket/chips: given with a password" in said
    records = [path.read_text() for path in Path("out").rglob("*.json*")]
    assert "s3cret" not in "".join([*records, said])
    assert ran.commands == []


def test_two_processes_do_not_run_one_study(folder, ran, capsys):
    with file_lock(Path("out")):
        assert study(ran) == 2
        assert "another run is writing here" in capsys.readouterr().err
        assert dry() == 0  # it writes nothing
    assert ran.commands == []


def test_a_step_that_leaves_nothing(folder, ran, capsys):
    ran.leave = False
    assert study(ran) == 2
    assert "left no out/stores/lulc/zarr.json" in capsys.readouterr().err


def test_a_damaged_record(folder, ran, capsys):
    assert study(ran) == 0
    Path("out/done/fit_plain_1.json").write_text("{")
    assert study(ran) == 2
    assert "remove it to do the step again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"generate_arguments": ["--topk", 1]},
            "step generate_lulc would fail: unrecognized arguments: --topk 1",
        ),
        (
            {"finetune_arguments": ["--seed_everything", 1]},
            "step fit_plain_1 would fail: --seed_everything: use --seed",
        ),
        (
            {"zero_shot": {"zero": {"store": "lulc", "legend": "mine.yaml"}}},
            "step score_zero would fail: mine.yaml",
        ),
    ],
)
def test_arguments_of_every_step_are_checked_before_the_first(folder, ran, capsys, changes, message):
    write({**STUDY, **changes})
    assert dry() == 2
    assert message in capsys.readouterr().err
    assert study(ran) == 2
    assert ran.commands == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--weights", "gone"],
            "step generate_lulc would fail: --weights gone: no such folder; expected hub, random",
        ),
        (
            [],
            "step score_zero would fail: layout 'ours' does not say which classes the masks have; give their legend",
        ),
    ],
)
def test_weights_and_classes_of_masks_are_asked_for_where_there_are_chips(folder, capsys, arguments, message):
    world = make_world(folder / "chips")
    layout = yaml.safe_load((LAYOUT_FILES / "impactmesh.yaml").read_text())
    del layout["legend"]
    (folder / "ours.yaml").write_text(yaml.safe_dump({**layout, "name": "ours"}))
    write({**STUDY, "chips": str(world.root), "layout": "ours.yaml", "generate_arguments": arguments})
    assert dry() == 2
    assert message in capsys.readouterr().err


def test_a_dry_run_says_what_is_left_by_what_was_done(folder, ran, capsys):
    assert study(ran) == 0
    Path("out/runs/tim/seed_2/checkpoints/best.ckpt").unlink()
    for name in ("fit_plain_1", "fit_plain_2", "fit_tim_1"):
        record = Path(f"out/done/{name}.json")
        record.write_text(json.dumps({**json.loads(record.read_text()), "seconds": 1200.0}))
    Path("out/runs/plain/seed_1/large").write_bytes(bytes(3_000_000))
    capsys.readouterr()
    assert dry() == 0
    # a third of 3 MB, and of each run's own manifest
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("# 1 × fit")]
    assert line == "# 1 × fit: about 20 min one after another, and 1.0 MB of disk"
    assert study(ran) == 0
    said = capsys.readouterr().out
    assert said.index(line) < said.index(" are free at ") < said.index("tim-finetune fit")
    assert dry() == 0
    assert " are free at " not in capsys.readouterr().out  # nothing is left


def test_a_store_per_seed(folder, capsys):
    write({**STUDY, "stores": {"lulc": {"per_seed": True}}, "zero_shot": {}, "comparisons": {}})
    steps = {step.name: step for step in plan(Study.load(Path("study.yaml")))}
    assert [name for name in steps if name.startswith("generate")] == ["generate_lulc_1", "generate_lulc_2"]
    assert steps["generate_lulc_2"].words[-4:] == ("--store", "out/stores/lulc/seed_2", "--seed", "2")
    assert steps["fit_tim_2"].after == ("generate_lulc_2",)
    assert "out/stores/lulc/seed_2" in steps["fit_tim_2"].words
    write({**STUDY, "stores": {"lulc": {"per_seed": True}}})
    assert dry() == 2
    assert "zero_shot.zero: store lulc is one per seed" in capsys.readouterr().err
    write({**STUDY, "generate_arguments": ["--seed=1"], "stores": {"lulc": {"per_seed": True}}})
    assert dry() == 2
    assert "stores.lulc: per_seed draws with the study's seeds; drop --seed" in capsys.readouterr().err


FROZEN = {
    "plain": {"config": "nyc_phase2", "features": "frozen"},
    "tim": {"config": "nyc_tim_lulc", "store": "lulc", "features": "frozen"},
}


def test_features_are_encoded_once_for_all_seeds_and_arms_that_name_them(folder, ran):
    write({**STUDY, "arms": FROZEN})
    steps = {step.name: step for step in plan(Study.load(Path("study.yaml")))}
    words = "finetune encode --config nyc_phase2 --chips chips --seed 1 --features out/features/frozen"
    assert steps["encode_frozen"].words == tuple(words.split())
    assert steps["encode_frozen"].after == ()  # by the first arm, which joins no store
    assert steps["fit_tim_2"].after == ("generate_lulc", "encode_frozen")
    assert parse_finetune(steps["fit_tim_2"].words[1:]).features == Path("out/features/frozen")
    assert study(ran) == 0
    assert kinds(ran.commands) == ["generate", "finetune", *ORDER[1:]]


@pytest.mark.parametrize(
    ("arm", "store", "why"),
    [
        ({"arguments": ["--control", "shuffle"]}, {}, "--control shuffle"),
        ({}, {"per_seed": True}, "store lulc, which is per_seed,"),
        # planes behind the backbone, and one store for all seeds
        ({"arguments": ["--control", "shuffle", "--encoding", "onehot", "late"]}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_features_of_other_tokens_with_each_seed_are_refused_before_they_are_made(
    folder, capsys, arm, store, why
):
    arms = {**STUDY["arms"], "tokens": {"config": "nyc_tokens", "store": "lulc", "features": "frozen", **arm}}
    write({**STUDY, "arms": arms, "zero_shot": {}, "comparisons": {}, "stores": {"lulc": store}})
    assert dry() == (2 if why else 0)
    said = (
        "step fit_tokens_2 would fail: out/features/frozen has features of the tokens of seed 1, and " + why
    )
    assert (said in capsys.readouterr().err) == bool(why)


def test_a_study_warns_where_one_arm_alone_is_trained_on_features(folder, capsys):
    write({**STUDY, "arms": {**FROZEN, "plain": STUDY["arms"]["plain"]}})
    assert dry() == 0
    assert "trained as differently as it seems: features is default in plain, float16 in tim" in (
        capsys.readouterr().out
    )


def test_features_that_have_served_are_made_again_only_for_what_is_left(folder, ran):
    write({**STUDY, "arms": FROZEN})
    assert study(ran) == 0
    Path("out/features/frozen/features.json").unlink()
    ran.commands.clear()
    assert study(ran) == 0
    assert ran.commands == []
    write({**STUDY, "arms": FROZEN, "seeds": [1, 2, 3]})
    assert study(ran) == 0
    assert [step.title for step in plan(Study.load(Path("study.yaml"))) if step.words in ran.commands] == [
        "encode frozen",
        *("fit plain seed 3", "fit tim seed 3", "score plain seed 3", "score tim seed 3", "compare tim"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed: no such key"),
        ({"chips": None, "seeds": []}, "seeds []; expected whole numbers"),
        ({"seeds": ["1"]}, "seeds.0: Input should be a valid integer, found '1'; "),
        ({"seeds": [1, 1]}, "a seed appears twice"),
        ({"arms": {"plain": {}}}, "arms.plain.config: Field required"),
        (
            {"arms": {**STUDY["arms"], "tim": {"config": "x", "store": "no"}}},
            "'no' is not defined; there is lulc",
        ),
        ({"arms": {**STUDY["arms"], "zero": {"config": "x"}}}, "zero is both an arm and a zero-shot row"),
        (
            {"comparisons": {"a": {"baseline": "plain", "candidate": "b"}}},
            "'b' is not defined; there is plain, tim",
        ),
        ({"arms": ["plain"]}, "arms: Input should be an object"),
        (
            {"stores": {"lulc": {"arguments": [{"a": 1}]}}},
            "stores.lulc.arguments.0: Input should be a valid string",
        ),
    ],
)
def test_invalid_configurations(folder, capsys, changes, message):
    write({**STUDY, "chips": "chips", **{key: value for key, value in changes.items() if value is not None}})
    assert dry() == 2
    assert message in capsys.readouterr().err


def test_no_study(folder, capsys):
    assert main(["study", "--config", "nothing"]) == 2
    assert "no study of that name ships" in capsys.readouterr().err
    Path("study.yaml").write_text("a: [")
    assert study(ran) == 2
    assert "cannot be read" in capsys.readouterr().err


# Power ------------------------------------------------------------------------------------------------


def test_power_by_hand():
    """Scenes alone: t(11) at 97.5 % and 80 % are 2.201 and 0.876; the standard error of 2 pp is 0.577 pp."""
    assert resolvable(12, 3, Spread(0.02, 0.0)) == pytest.approx(
        0.02 / 12**0.5 * (2.20099 + 0.87553), rel=1e-4
    )
    # seeds alone: t(2) at 97.5 % and 80 % are 4.303 and 1.061
    assert resolvable(12, 3, Spread(0.0, 0.01)) == pytest.approx(
        0.01 / 3**0.5 * (4.30265 + 1.06066), rel=1e-4
    )


def test_more_scenes_and_more_seeds_resolve_more():
    spread = Spread(0.02, 0.0064)
    assert resolvable(24, 3, spread) < resolvable(12, 3, spread)
    assert resolvable(12, 6, spread) < resolvable(12, 3, spread)
    assert resolvable(12, 1, spread) is None
    assert resolvable(1, 3, spread) is None


def test_a_dry_run_prints_the_power_of_the_design(tmp_path, monkeypatch, capsys):
    world = make_world(
        tmp_path / "chips",
        splits={
            "train": ("a_0_0",),
            "val": ("b_0_0",),
            "test": ("c_0_0", "c_0_1", "d_0_0", "e_0_0"),
        },
    )
    monkeypatch.chdir(tmp_path)
    write({**STUDY, "chips": str(world.root)})
    assert dry("--scene-spread", "1", "--seed-spread", "0.5") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    assert "# power: 3 test scenes, 2 seeds, 1 comparison declared" in lines
    assert "# warning: a claim needs 3 seeds; give at least 3" in lines
    assert (
        "# few test scenes: the line folds: scenes in the YAML, without zero_shot, makes each of the 5 scenes a test "
        "scene, for 5 times the trainings"
    ) in lines
    # two seeds claim nothing, whatever the spread
    assert "# tim: a true gain of 2.00 pp is claimed with 0% power against 1 control" in lines
    assert any("1.00 pp between scenes, 0.50 pp between seeds" in line for line in lines)
    (row,) = (line.split() for line in lines if line.startswith("#     2 "))
    assert row[2] == f"{100 * resolvable(3, 2, Spread(0.01, 0.005)):.2f}"


def test_the_masks_that_are_declared_are_those_that_a_training_and_a_score_record(tmp_path, monkeypatch):
    world = make_world(tmp_path / "chips", splits={"train": ("a_0_0",), "test": ("c_0_0", "c_0_1", "d_0_0")})
    monkeypatch.chdir(tmp_path)
    write({**STUDY, "chips": str(world.root)})
    rules = SplitRequirements(["DEM"], [0], None)
    recorded = survey_chips(world.chips, world.chips.splits["test"], rules, None)
    assert declaration_of(Study.load(Path("study.yaml")), "now").test.masks == recorded.masks


def test_layout_and_scenes_reach_every_command_that_reads_chips(tmp_path, monkeypatch, capsys):
    world = make_world(tmp_path / "chips", splits={"train": ("a_0_0",), "test": ("c_0_0", "c_0_1", "d_0_0")})
    monkeypatch.chdir(tmp_path)
    layout = world.chips.layout.name
    write({**STUDY, "chips": str(world.root), "layout": layout, "scenes": "_[01]$"})
    assert dry() == 0
    lines = capsys.readouterr().out.splitlines()
    named = f"--chips {world.root} --layout {layout}"
    for line in lines:
        if line.startswith(("tim-generate", "tim-finetune")):
            assert f"{named} --scenes '_[01]$'" in line
        if line.startswith("tim-eval zero-shot"):
            assert named in line
            assert "--scenes" not in line  # they are the store's
    assert "# power: 2 test scenes, 2 seeds, 1 comparison declared" in lines
    write({**STUDY, "chips": str(world.root), "layout": "folders"})
    assert dry() == 2
    assert "no chips found in the layout 'folders'" in capsys.readouterr().err


def test_a_dry_run_without_chips_says_so(folder, capsys):
    assert dry() == 0
    out = capsys.readouterr().out
    assert "no test split at chips yet: shown for 4, 12, 20 scenes" in out
    assert "# 1 × generate: nobody knows how long" in out
    Path("out/stores/lulc").mkdir(parents=True)
    Path("out/stores/lulc/zarr.json").touch()
    assert dry() == 0
    assert "# 1 × generate: there already; what is missing is added" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        dry("--seed-spread", "-1")
    assert "expected points from 0 to 100" in capsys.readouterr().err


SHIPPED = {path.stem: path for folder in (CONFIGS, DEMO_CONFIGS) for path in folder.glob("*_*.yaml")}
del SHIPPED["demo_s1"]  # a fine-tune


@pytest.mark.parametrize("name", sorted(SHIPPED))
@pytest.mark.slow
def test_every_command_of_a_shipped_study_is_understood(name, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    study = Study.load(SHIPPED[name])
    assert main(["study", "--config", name, "--dry-run"]) == 0
    fits = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tim-finetune fit ")]
    assert len(fits) == len(study.arms) * len(study.seeds)
    for step in plan(study):
        module, *words = step.words
        if module == "generate":
            parse_options(generate_parser(), CommandOptions, words).checked()
        elif module == "finetune":
            overrides = parse_finetune(words).overrides
            assert not overrides or "phase2_unturned" in step.name


def test_a_study_warns_where_arms_start_from_other_weights(folder, capsys):
    Path("phase1.ckpt").touch()
    arms = {**STUDY["arms"], "plain": {"config": "nyc_phase2", "arguments": ["--init=phase1.ckpt"]}}
    write({**STUDY, "arms": arms})
    assert main(["study", "--config", "study.yaml", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert (
        "comparison tim start from different weights, which could explain any difference: plain with --init phase1.ckpt"
        in told
    )
    write(STUDY)
    assert main(["study", "--config", "study.yaml", "--dry-run"]) == 0
    assert "start from different weights" not in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_the_arms_of_a_shipped_study_are_trained_alike(name):
    assert list(unequal_recipes(Study.load(CONFIGS / f"{name}.yaml"))) == []


def test_a_study_warns_where_arms_are_trained_in_different_ways(folder, capsys):
    arms = {**STUDY["arms"], "tim": {**STUDY["arms"]["tim"], "arguments": ["--trainer.max_epochs", 40]}}
    write({**STUDY, "arms": arms, "finetune_arguments": ["--optimizer.init_args.lr=1e-4"]})
    assert main(["study", "--config", "study.yaml", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert (
        "# warning: comparison tim can claim nothing if its arms are trained as differently as it seems: "
        "trainer.max_epochs is 20 in plain, 40 in tim\n"
    ) in told
    write(STUDY)
    assert main(["study", "--config", "study.yaml", "--dry-run"]) == 0
    assert "trained as differently" not in capsys.readouterr().out


def test_a_study_whose_yaml_is_not_there_ends_before_anything_is_run(folder, ran, capsys):
    write({**STUDY, "arms": {**STUDY["arms"], "tim": {"config": "missing.yaml", "store": "lulc"}}})
    assert study(ran) == 2
    assert (
        "arm tim: config missing.yaml: no such file, and none of that name ships" in capsys.readouterr().err
    )
    wrong = yaml.safe_load((FINETUNES / "nyc_phase2.yaml").read_text())
    wrong["data"]["init_args"] = "hello"
    Path("missing.yaml").write_text(yaml.safe_dump(wrong))
    assert study(ran) == 2
    told = "arm tim: config missing.yaml: YAML section data.init_args: expected keys, found 'hello'"
    assert told in capsys.readouterr().err
    assert ran.commands == []
