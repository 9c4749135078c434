"""The process of a job: what further processes of a training do, and how an interrupted training is resumed."""

import dataclasses

import pytest

from augment_store.io.lock import file_lock
from eval.study import worker
from eval.study.plan import Step
from eval.study.runner import resuming_words, run_step
from finetune.options import parse
from tests.eval.scores import make_manifest


@pytest.fixture
def step(tmp_path):
    """A training that has written down what it is, and has no checkpoint yet."""
    run = tmp_path / "run"
    run.mkdir()
    dataclasses.replace(make_manifest(), complete=False).write(run)
    words = ("finetune", "fit", "--config", "nyc_phase2", "--run", str(run))
    checkpoints = run / "checkpoints"
    return Step("fit", words, checkpoints / "best.ckpt", (), True, checkpoints / "last.ckpt", "fit")


def test_a_further_process_of_a_training_only_trains(step, tmp_path, monkeypatch):
    """Lightning starts it by the worker's command, when the first one has written the manifest."""
    ran = []
    monkeypatch.setattr(worker, "entry_point", lambda module: lambda words: ran.append((module, *words)) or 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    score = Step("score", ("eval", "score", "run"), tmp_path / "score.json", ("fit",))
    assert worker.main([worker.work_for(tmp_path, [step, score])]) == 0
    assert ran == [step.words]
    assert (tmp_path / "run" / "manifest.json").is_file()
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("init", [("--init", "phase1.ckpt"), ("--init=phase1.ckpt",)])
def test_an_arm_that_began_with_a_checkpoint_is_resumed_from_its_own(step, init):
    step = dataclasses.replace(step, words=(*step.words, *init, "--seed", "7"))
    assert resuming_words(step) == step.words
    step.checkpoint.parent.mkdir()
    step.checkpoint.touch()
    options = parse(resuming_words(step)[1:])
    assert (options.ckpt_path, options.init, options.seed) == (step.checkpoint, None, 7)


def test_a_step_that_was_done_while_its_job_waited_is_not_done_again(tmp_path, capsys):
    product, ran = tmp_path / "score.json", []
    step = Step("score", ("eval", "score", "run"), product, ())

    def score(words):
        ran.append(words)
        product.touch()
        return 0

    assert [run_step(tmp_path, step, lambda module: score) for _ in range(2)] == [0, 0]
    assert len(ran) == 1
    assert "step score is done already" in capsys.readouterr().out
    product.unlink()  # its record alone is not enough
    assert run_step(tmp_path, step, lambda module: score) == 0
    assert len(ran) == 2


def test_a_run_that_another_process_still_trains_is_not_cleared(step, tmp_path, capsys):
    """As a scheduler's job may that has outlived its study."""
    with file_lock(tmp_path / "run"):
        assert run_step(tmp_path, step, lambda module: pytest.fail("trained")) == 2
    assert (tmp_path / "run" / "manifest.json").is_file()
    assert "another run is writing here" in capsys.readouterr().err
