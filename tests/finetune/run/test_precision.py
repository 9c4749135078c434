"""TF32 in a training, as far as it can be asked for where there is no GPU."""

import pytest
import torch

from eval.score.recorded import check_recipe
from finetune.run import train
from finetune.run.load import arithmetic, load_run
from finetune.run.manifest import RunManifest
from finetune.run.recipe import with_overrides
from tests.finetune.run.foreign import fit

pytestmark = pytest.mark.slow

TF32 = ("--precision", "tf32")


def allowed():
    """What CUDA and cuDNN may do; the first also of CPUs, which know no TF32 and may take bfloat16."""
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def test_a_device_without_tf32_refuses_it(config, tmp_path, capsys):
    assert fit(config, tmp_path, *TF32) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "--precision tf32: TF32 is the arithmetic of NVIDIA GPUs" in told
    assert told.endswith("this run is on cpu; use --precision 32-true")
    assert not (tmp_path / "run").exists()


def test_a_training_in_tf32_is_another_recipe_and_evaluated_so(config, tmp_path, monkeypatch, capsys):
    """A CPU stands in for the GPU: it has the switches, and no such arithmetic."""
    seen, before = [], allowed()
    monkeypatch.setattr(train, "has_tf32", lambda device: True)
    whole = train._train
    monkeypatch.setattr(train, "_train", lambda *given: (seen.append(allowed()), whole(*given)))
    assert fit(config, tmp_path, *TF32) == 0
    manifest = RunManifest.read(tmp_path / "run")
    assert (manifest.cost.precision, manifest.recipe["trainer.precision"]) == ("tf32", "tf32")
    loaded = load_run(tmp_path / "run")
    assert loaded.precision == "tf32"
    check_recipe(loaded)  # the YAML has no name for it
    with arithmetic(loaded.precision, torch.device("cpu")):
        seen.append(allowed())
    assert seen == [("high", True)] * 2
    assert allowed() == before
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert fit(config, tmp_path, "--ckpt_path", str(last), "--trainer.max_epochs", "2") == 2
    assert "has another recipe.trainer.precision" in capsys.readouterr().err


def test_float32_is_float32_though_terratorch_allows_less_as_it_is_imported():
    terratorch_sets = allowed()
    assert terratorch_sets == ("medium", True)
    with arithmetic("32-true", torch.device("cpu")):
        assert allowed() == ("highest", False)
    assert allowed() == terratorch_sets


def test_a_plan_knows_of_it():
    assert with_overrides({}, TF32) == {"trainer.precision": "tf32"}
    assert with_overrides({}, ["--precision=bf16-mixed"]) == {"trainer.precision": "bf16-mixed"}
