"""Scores of each generated sample, and of all of them, as arms of a comparison."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from terratorch.models.model import ModelOutput

from augment_store.chips.rasters import read_raster
from augment_store.store.writer import AugmentStore
from eval.cli.main import main
from eval.compare.arms import Arm
from eval.compare.comparability import check_runs
from eval.compare.controls import control_record
from eval.errors import EvaluationError
from eval.score.predict import _batches_of, _mean_of
from eval.score.record import Score, describe_samples, run_of
from finetune.data.datamodule import TimStoreDataModule
from tests.eval.conftest import fit
from tests.eval.scores import make_counts, make_origin
from tests.sharing import made_once
from tests.worlds import lulc_of_labels, make_spec, store_of

pytestmark = pytest.mark.slow


def score(folder, gain=0.0, sample=0, **origin):
    made = dataclasses.replace(make_origin(seed=1, **origin), sample=sample)
    return Score(folder, make_counts(gain, seed=1), made)


def test_the_spread_between_samples_is_said(tmp_path):
    each = [score(tmp_path / str(number), gain, number) for number, gain in enumerate((0.0, 0.1, 0.05))]
    lines = list(describe_samples([*each, score(tmp_path / "ensemble", 0.12, None)]))
    values = [100 * entry.metrics.miou for entry in each]
    assert lines[1] == f"{tmp_path}/1: sample 1, mIoU {values[1]:.2f} %"
    spread = f"SD {np.std(values, ddof=1):.2f} pp, from {values[0]:.2f} % to {values[1]:.2f} %"
    assert lines[3] == f"  between 3 samples: mean {np.mean(values):.2f} %, {spread}"
    assert lines[4].startswith(f"{tmp_path}/ensemble: 24 chips, 12 scenes")


def test_a_run_and_its_samples_are_arms_of_their_own(tmp_path):
    run = tmp_path / "tim_1"
    first = score(run, checkpoint_sha256="c" * 64)
    mean = score(run / "samples/ensemble", sample=None, checkpoint_sha256="c" * 64)
    check_runs({"baseline": [first], "candidate": [mean]})
    assert run_of(mean.folder) == run == run_of(run)
    assert [Arm("a", (entry,)).title for entry in (first, mean)] == ["tim", "tim ensemble"]
    with pytest.raises(EvaluationError, match="are the same weights"):
        check_runs({"baseline": [first], "candidate": [dataclasses.replace(mean, origin=first.origin)]})
    with pytest.raises(EvaluationError, match=r"has sample number 0, .* has all; the runs of an arm"):
        check_runs({"baseline": [first, dataclasses.replace(mean, origin=other_seed(mean))]})


def test_a_run_in_a_folder_called_samples_is_a_run(tmp_path):
    run = tmp_path / "samples" / "base_1"
    run.mkdir(parents=True)
    assert run_of(run) == tmp_path
    (run / "manifest.json").write_text("{}")
    assert run_of(run) == run
    assert run_of(run / "samples" / "sample_1") == run


def other_seed(entry):
    return dataclasses.replace(entry.origin, seed=2, checkpoint_sha256="e" * 64)


def test_a_control_of_one_sample_is_none_of_an_ensemble(tmp_path):
    maps = {"encoding": ("onehot",), "fingerprint": "f" * 64}
    shuffled = Arm("shuffle", (score(tmp_path / "s", control="shuffle", **maps),))
    ensemble = Arm("candidate", (score(tmp_path / "c", sample=None, **maps),))
    assert control_record(shuffled, ensemble).why_not == "its sample is number 0, the candidate's all"


@pytest.fixture(scope="session")
def sampled_store(world, tmp_path_factory):
    """Three samples a chip: the labels, the next class of each, and one class everywhere."""
    several = {
        # [sample, time, y, x]
        chip_id: {"lulc": np.concatenate([maps["lulc"], maps["lulc"] % 9 + 1, np.ones_like(maps["lulc"])])}
        for chip_id, maps in lulc_of_labels(world).items()
    }
    return made_once(
        tmp_path_factory,
        "sampled_store",
        lambda path: store_of(world.chips, path, make_spec(samples=3), given=several),
    )


def test_batches_have_the_sample_that_is_asked_for(world, sampled_store):
    """Side by side, as an ensemble reads them; afterwards the dataset has its first sample as before."""
    datamodule = TimStoreDataModule(
        str(world.root), modalities=["S2L2A"], augment=str(sampled_store), encoding=["index"], batch_size=1
    )
    datamodule.setup("test")
    loaded = SimpleNamespace(datamodule=datamodule)
    store = AugmentStore.open(sampled_store)
    for batches in zip(*(_batches_of(loaded, sample) for sample in (0, 1, 2)), strict=True):
        for sample, batch in enumerate(batches):
            expected = store.read(batch["chip_id"][0], "lulc")[sample]
            assert np.array_equal(batch["maps"]["lulc"][0], expected)
    assert datamodule.datasets["test"].sample == 0


def test_probabilities_are_averaged_and_not_logits():
    """Shares of 0.9 and 0.1 are on average 0.5 for the first class, whatever the size of the logits."""
    sure, other = (np.log([[0.9, 0.1]]), np.log([[0.1, 0.9]]) + 7)
    outputs = [ModelOutput(torch.tensor(logits).reshape(1, 2, 1, 1)) for logits in (sure, other)]
    assert _mean_of(outputs).output.flatten().tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.nightly
def test_each_sample_is_scored_and_all_of_them(world, sampled_store, tmp_path, capsys):
    run = fit(world, tmp_path / "tim_1", "nyc_tim_lulc", "--augment", str(sampled_store))
    assert main(["score", str(run)]) == 0
    plain = Score.read(run)
    assert main(["score", str(run), "--samples", "all"]) == 0
    assert "between 3 samples: mean" in capsys.readouterr().out
    folders = [run, *(run / f"samples/{name}" for name in ("sample_1", "sample_2", "ensemble"))]
    scores = [Score.read(folder) for folder in folders]
    assert np.array_equal(scores[0].counts.values, plain.counts.values)
    assert [entry.origin.sample for entry in scores] == [0, 1, 2, None]
    maps = [np.stack([read_raster(s.prediction(i)) for i in s.counts.chip_ids]) for s in scores]
    # where all samples agree so does their mean
    agreed = (maps[0] == maps[1]) & (maps[1] == maps[2])
    assert (maps[3][agreed] == maps[0][agreed]).all()
    words = ["compare", "--baseline", str(run), "--pictures", "0", "--out", str(tmp_path / "report")]
    assert main([*words, "--candidate", str(folders[3])]) == 0
    missing = str(run / "samples/sample_9")
    assert main([*words, "--candidate", missing]) == 2
    assert f"{missing}: not scored yet; run tim-eval score {run} --samples all" in capsys.readouterr().err


def test_runs_without_several_samples_are_refused(tim, capsys):
    assert main(["score", str(tim), "--samples", "all"]) == 2
    told = "joins one generated sample of each chip; train on a store that was generated with --samples"
    assert told in capsys.readouterr().err
