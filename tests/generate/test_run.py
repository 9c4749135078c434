import json
import os
import shutil
import signal
import socket
import sys

import numpy as np
import pytest
import torch
import xarray
from terratorch.models.backbones.terramind.model.terramind import TerraMind

from augment_store.chips.chip_set import ChipSet
from augment_store.integrity.verify import verify_store
from augment_store.modalities.definitions import S2L2A
from augment_store.store.history import command_line, last_command
from augment_store.store.schema import ChipShape, State
from augment_store.store.writer import AugmentStore
from generate.cli.main import main
from generate.model.terramind import TerraMindGenerator
from tests.conftest import ROOT
from tests.forks import start_fork
from tests.generate.conftest import IDS, LONG, assert_equal_stores, kill_when, run_subprocess
from tests.worlds import (
    rasters,
    write_folder_chips,
    write_impactmesh_chips,
    write_sen1floods11,
    write_tif,
)

pytestmark = pytest.mark.slow

SPEC = ("--samples", "2", "--probabilities", "--network-batch", "3")


def test_the_reference_is_complete_sound_and_opens_in_xarray(reference, chips, command):
    ran = command(reference, *SPEC)
    store = AugmentStore.open(reference)
    assert store.chip_ids == IDS
    assert store.extent == ChipShape(timesteps=2, height=32, width=32)
    assert list(verify_store(store, ChipSet.open(chips))) == []
    assert store.values("scene_id").tolist() == [chip_id[:6] for chip_id in IDS]
    assert '"EPSG","32618"' in store.values("crs_wkt")[0]
    assert store.spec.weights == "random"
    assert last_command(store.history) == command_line("generate", ran)
    with xarray.open_zarr(reference) as dataset:
        assert dataset["lulc"].dims == ("chip", "sample", "time", "y", "x")
        assert dataset["lulc"].shape == (6, 2, 2, 32, 32)
        shares = dataset["probabilities"].sum("class")
        np.testing.assert_allclose(shares, 1, atol=10 * 0.5 / 255)


def test_confidence_is_the_probability_of_the_class_taken(command, tmp_path):
    assert main(command(tmp_path / "s", "--probabilities")) == 0
    store = AugmentStore.open(tmp_path / "s")
    probabilities, classes = store.values("probabilities"), store.values("lulc")[:, 0]
    taken = np.take_along_axis(probabilities, classes[:, :, None], axis=2)[:, :, 0]
    np.testing.assert_array_equal(taken, store.values("confidence")[:, 0])
    np.testing.assert_array_equal(taken, probabilities.max(axis=2))


def test_identical_timesteps_are_generated_once_and_copied(reference):
    store = AugmentStore.open(reference)
    for place, chip_id in enumerate(IDS):
        expected = [0, 0] if place % 2 else [0, 1]
        assert store.read(chip_id, "timestep_source").tolist() == expected
        assert store.read(chip_id, "series_index").tolist() == [[0, 1], [0, 1], [0, 0]]  # one DEM for both
        first, second = store.read(chip_id, "tokens")[0]
        assert np.array_equal(first, second) == bool(place % 2)


@pytest.mark.shared_data
def test_number_of_forward_passes_on_the_real_chips(shared_data, command, tmp_path, monkeypatch):
    calls: list[str] = []
    generate = TerraMindGenerator.generate

    def remember(self, images, owners):
        calls.extend(owner.chip_id for owner in owners)
        return generate(self, images, owners)

    monkeypatch.setattr(TerraMindGenerator, "generate", remember)
    assert main(command(tmp_path / "s", "--chips", str(shared_data / "impactmesh_layout"))) == 0
    assert [calls.count(c) for c in ("433D_629L_3_1", "282D_485L_3_3", "637U_59R_1_3")] == [1, 1, 4]


def test_what_was_settled_is_resumed(reference, command, tmp_path, capsys):
    """How many images the network sees at a time is the store's, unless another number is asked for."""
    store = shutil.copytree(reference, tmp_path / "s")
    assert main(command(store, *SPEC[:3])) == 0
    assert "0 done, 6 skipped, 0 failed" in capsys.readouterr().err
    assert main(command(store, *SPEC[:3], "--network-batch", "2")) == 2
    assert "network_batch: 3 ≠ 2" in capsys.readouterr().err


def test_a_store_whose_writer_was_killed_before_it_announced_a_chip_is_resumed(
    reference, command, tmp_path, capsys
):
    made = AugmentStore.open(reference)
    AugmentStore.create(tmp_path / "s", made.spec, made.extent, made.shard_chips)
    assert main(command(tmp_path / "s", *SPEC[:3])) == 0
    assert "6 done, 0 skipped, 0 failed" in capsys.readouterr().err
    assert_equal_stores(tmp_path / "s", reference)


def test_results_that_depend_on_the_place_in_a_batch_are_not_batched(command, tmp_path, capsys, monkeypatch):
    decode = TerraMind.forward_decoder

    def uneven(self, *asked):
        made = decode(self, *asked)
        return made + torch.linspace(0, 1, made.numel()).view_as(made)

    monkeypatch.setattr(TerraMind, "forward_decoder", uneven)
    assert main(command(tmp_path / "s", "--network-batch", "2")) == 0
    assert "one image at a time: on this device, results depend on the position" in capsys.readouterr().err
    assert AugmentStore.open(tmp_path / "s").spec.network_batch == 1


def take_share(arguments, rank, port):
    """What a fork does: one of two processes of a run, as a launcher such as SLURM's starts them."""
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sys.exit(main(arguments))


def test_one_spec_in_two_forks(reference, command, tmp_path, capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = command(tmp_path / "s", *SPEC, "--devices", "2")
    shares = [start_fork(take_share, arguments, rank, port) for rank in (0, 1)]
    for share in shares:
        share.join()
    assert [share.exitcode for share in shares] == [0, 0]
    assert "6 done, 0 skipped, 0 failed" in capfd.readouterr().err
    assert_equal_stores(tmp_path / "s", reference)


@pytest.mark.nightly
def test_one_spec_in_two_processes(reference, command, tmp_path):
    (tmp_path / "custom_modules").mkdir()  # which TerraTorch would import from the working folder
    (tmp_path / "custom_modules" / "__init__.py").write_text("open('RAN', 'w')")
    here = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    found = run_subprocess(*command(tmp_path / "s", *SPEC, "--devices", "2"), **here)
    assert found.returncode == 0, found.stderr
    assert not (tmp_path / "RAN").exists()
    assert "6 done, 0 skipped, 0 failed" in found.stderr
    assert_equal_stores(tmp_path / "s", reference)


def test_one_spec_with_chips_in_another_order(reference, command, chips, tmp_path):
    split = tmp_path / "reversed.txt"
    split.write_text("\n".join(reversed(IDS)))
    assert main(command(tmp_path / "s", *SPEC, "--split", str(split), "--workers", "3")) == 0
    assert_equal_stores(tmp_path / "s", reference)


@pytest.mark.parametrize(
    "stop",
    [
        signal.SIGKILL,
        *(pytest.param(stop, marks=pytest.mark.nightly) for stop in (signal.SIGINT, signal.SIGTERM)),
    ],
)
def test_one_spec_stopped_part_way_and_resumed(long_run, uninterrupted, tmp_path, stop):
    status = kill_when((tmp_path / "s" / "state" / "c" / "0").is_file, long_run(tmp_path / "s"), stop)
    assert status == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[stop]
    stopped = AugmentStore.open(tmp_path / "s")
    done = stopped.chips_in(State.COMPLETE)
    assert 0 < len(done) < len(LONG)
    kept = stopped.read(done[0], "tokens")
    assert all("pending" in str(problem) for problem in verify_store(stopped))
    assert main(long_run(tmp_path / "s")) == 0
    assert_equal_stores(tmp_path / "s", uninterrupted)
    np.testing.assert_array_equal(AugmentStore.open(tmp_path / "s").read(done[0], "tokens"), kept)


def test_running_again_does_nothing_and_new_chips_are_appended(command, chips, tmp_path, capsys):
    root = shutil.copytree(chips, tmp_path / "chips")
    arguments = command(tmp_path / "s", "--chips", str(root))
    assert main(arguments) == 0
    before = (tmp_path / "s" / "tokens" / "zarr.json").stat().st_mtime_ns
    assert main(arguments) == 0
    assert "0 done, 6 skipped, 0 failed" in capsys.readouterr().err
    assert (tmp_path / "s" / "tokens" / "zarr.json").stat().st_mtime_ns == before
    write_impactmesh_chips(root, [*IDS, "a_new_one"])
    assert main(arguments) == 0
    assert "1 done, 6 skipped, 0 failed" in capsys.readouterr().err
    assert AugmentStore.open(tmp_path / "s").chip_ids == (*IDS, "a_new_one")
    assert list(verify_store(AugmentStore.open(tmp_path / "s"), ChipSet.open(root))) == []


def test_scenes_follow_the_latest_command(command, tmp_path):
    assert main(command(tmp_path / "s")) == 0
    assert main(command(tmp_path / "s", "--scenes", "_.*$")) == 0
    table = tmp_path / "scenes.csv"
    table.write_text("".join(f"{chip_id},everywhere\n" for chip_id in IDS))
    assert main(command(tmp_path / "s", "--scenes", str(table))) == 0
    assert set(AugmentStore.open(tmp_path / "s").values("scene_id")) == {"everywhere"}
    assert main(command(tmp_path / "s")) == 0  # no rule: the store's scenes stay
    assert set(AugmentStore.open(tmp_path / "s").values("scene_id")) == {"everywhere"}


def test_sen1floods11_from_its_published_files(command, tmp_path, capsys):
    root = write_sen1floods11(tmp_path / "v1.1", ("Ghana_1", "Ghana_2", "India_7", "Spain_8"), size=32)
    inputs = ("--chips", str(root), "--inputs", "S2L1C", "S1GRD")
    assert main(["audit", *inputs]) == 0
    assert "CIRRUS" in capsys.readouterr().out
    assert main(command(tmp_path / "s", *inputs)) == 0
    store = AugmentStore.open(tmp_path / "s")
    assert list(verify_store(store, ChipSet.open(root))) == []
    assert store.values("scene_id").tolist() == ["Ghana", "Ghana", "India", "Spain"]
    assert [len(entry.mean) for entry in store.spec.inputs] == [13, 2]
    assert store.spec.inputs[0].mean[10] == pytest.approx(506.07)


def test_ten_bands_by_a_layout_file_are_generated_from_once_that_is_accepted(command, tmp_path, capsys):
    kept = [band for band in S2L2A.bands if band not in {"COASTAL_AEROSOL", "WATER_VAPOR"}]
    for seed, chip_id in enumerate(("a", "b")):
        bands = rasters(seed, 32)["S2L2A"][0]
        write_tif(
            tmp_path / "chips" / "S2" / f"{chip_id}.tif", bands[[S2L2A.bands.index(band) for band in kept]]
        )
    layout = tmp_path / "ten.yaml"
    layout.write_text(
        f"name: ten\nimages: {{S2L2A: {{files: 'S2/{{id}}.tif', bands: [{', '.join(kept)}], "
        "absent: [COASTAL_AEROSOL, WATER_VAPOR]}}\n"
    )
    ten = ("--chips", str(tmp_path / "chips"), "--layout", str(layout), "--inputs", "S2L2A")
    assert main(command(tmp_path / "s", *ten)) == 2
    assert "constant: COASTAL_AEROSOL (empty), WATER_VAPOR (empty)" in capsys.readouterr().err
    assert main(command(tmp_path / "s", *ten, "--accept-audit")) == 0
    store = AugmentStore.open(tmp_path / "s")
    assert "constant_band" in {finding["rule"] for finding in store.audit}
    assert list(verify_store(store, ChipSet.open(tmp_path / "chips", str(layout)))) == []


def test_inputs_alone_and_ndvi(command, tmp_path):
    assert main(command(tmp_path / "s1", "--inputs", "S1RTC")) == 0
    assert [entry.name for entry in AugmentStore.open(tmp_path / "s1").spec.inputs] == ["S1RTC"]
    assert main(command(tmp_path / "ndvi", "--modality", "NDVI", "--diffusion-steps", "5")) == 0
    store = AugmentStore.open(tmp_path / "ndvi")
    assert store.map_names == ("tokens", "token_probability", "ndvi")
    assert store.spec.sampling.diffusion_steps == 5
    assert list(verify_store(store)) == []


def test_accepted_findings_are_recorded(command, tmp_path, capsys):
    root = write_folder_chips(tmp_path / "chips", ["a", "b"])
    linear = ("--chips", str(root), "--s1-unit", "linear", "--inputs", "S1RTC")
    assert main(command(tmp_path / "s", *linear)) == 2
    assert "drop --s1-unit linear" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    assert main(command(tmp_path / "s", *linear, "--accept-audit")) == 0
    store = AugmentStore.open(tmp_path / "s")
    assert "not_linear_power" in {finding["rule"] for finding in store.audit}
    assert store.spec.inputs[0].unit == "linear"


def test_a_dry_run_tells_the_plan_and_writes_nothing(command, tmp_path, capsys):
    assert main(command(tmp_path / "s", "--dry-run")) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "6 chips of 2 scenes (impactmesh layout), 2 timesteps of 32 px" in told
    assert "S2L2A + S1RTC + DEM → LULC by demo on cpu" in told
    (tmp_path / "one.txt").write_text("scene0_r000c000\n")
    assert main(command(tmp_path / "s", "--dry-run", "--split", str(tmp_path / "one.txt"))) == 0
    assert "1 chip of 1 scene (impactmesh layout)" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "s").exists()


def test_a_dry_run_needs_no_weights_and_compares_all_else_with_the_store(
    command, reference, tmp_path, capsys, monkeypatch
):
    def no_weights(*_):
        raise AssertionError("weights were asked for")

    monkeypatch.setattr("generate.run.load_generator", no_weights)
    missing = ("--generator", "terramind_v1_base", "--weights", str(tmp_path / "nowhere"))
    assert main(command(tmp_path / "s", *missing, "--dry-run")) == 0
    assert f"the weights ({tmp_path}/nowhere) are not checked" in " ".join(capsys.readouterr().err.split())
    before = (reference / "zarr.json").read_bytes()
    assert main(command(reference, *SPEC, "--dry-run")) == 0
    assert f"resumes {reference}, 6 chips complete" in " ".join(capsys.readouterr().err.split())
    assert main(command(reference, *SPEC, "--dry-run", "--seed", "9")) == 2
    assert "sampling.seed: 0 ≠ 9" in capsys.readouterr().err
    assert (reference / "zarr.json").read_bytes() == before


def test_the_precision_recorded_is_the_one_used(command, tmp_path):
    with pytest.warns(UserWarning, match="Using `precision='bf16-mixed'` instead"):
        assert main(command(tmp_path / "s", "--precision", "16-mixed")) == 0
    assert AugmentStore.open(tmp_path / "s").spec.precision == "bf16-mixed"


def test_precision_is_part_of_the_spec(command, tmp_path):
    assert main(command(tmp_path / "s", "--precision", "bf16-mixed")) == 0
    assert main(command(tmp_path / "s")) == 2
    assert AugmentStore.open(tmp_path / "s").spec.precision == "bf16-mixed"
    attributes = json.loads((tmp_path / "s" / "zarr.json").read_text())["attributes"]
    assert json.loads(attributes["spec"])["precision"] == "bf16-mixed"
