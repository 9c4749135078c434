"""Each kind of bad input gives its own line and status, and loses nothing."""

import shutil

import numpy as np
import pytest
import rasterio
import torch
from terratorch.models.backbones.terramind.model.terramind import TerraMind

from augment_store.chips.units import Units
from augment_store.cli.main import main as store_main
from augment_store.integrity.verify import verify_store
from augment_store.io.lock import file_lock
from augment_store.store.schema import State
from augment_store.store.writer import AugmentStore
from generate.cli.audit import EXAMPLES as AUDIT_EXAMPLES
from generate.cli.audit import audit_parser
from generate.cli.generate import EXAMPLES, CommandOptions, generate_parser
from generate.cli.main import main
from generate.cli.parser import parse_options
from tests.generate.conftest import assert_equal_stores, run_subprocess
from tests.worlds import rasters, write_folder_chips, write_tif

pytestmark = pytest.mark.slow


@pytest.fixture
def broken(tmp_path):
    return write_folder_chips(tmp_path / "chips", [f"c_r000c{i:03d}" for i in range(5)])


def rewrite(path, values):
    """Replace the values of a raster, which stays where it is."""
    with rasterio.open(path, "r+") as file:
        file.write(values)


def nan_radar():
    return np.full((2, 32, 32), np.nan, np.float32)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "S1RTC" / "c_r000c002.tif").unlink(), "S1RTC/c_r000c002.tif: no such file"),
        pytest.param(
            lambda root: (root / "DEM" / "c_r000c002.tif").write_bytes(b"II*\0"),
            "DEM/c_r000c002.tif: cannot be read",
            marks=pytest.mark.nightly,
        ),
        (lambda root: rewrite(root / "S1RTC" / "c_r000c002.tif", nan_radar()), "S1RTC has no valid value"),
        pytest.param(
            lambda root: write_tif(root / "S2L2A" / "c_r000c002.tif", np.ones((3, 32, 32), np.int16)),
            "3 bands",
            marks=pytest.mark.nightly,
        ),
        (
            lambda root: write_folder_chips(root, ["c_r000c002"], size=48),
            "1 timestep of 48 px, but the store holds 1 timestep of 32 px",
        ),
    ],
)
def test_a_bad_chip_is_listed_and_the_others_are_generated(command, broken, tmp_path, capsys, spoil, message):
    spoil(broken)
    arguments = command(tmp_path / "s", "--chips", str(broken))
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "4 done, 0 skipped, 1 failed" in told
    store = AugmentStore.open(tmp_path / "s")
    assert store.chips_in(State.FAILED) == ("c_r000c002",)
    assert [str(p).split(":")[0] for p in verify_store(store)] == ["chip c_r000c002"]
    write_folder_chips(broken, ["c_r000c000", "c_r000c001", "c_r000c002"])  # mended, as it was made at first
    assert main(arguments) == 0
    assert list(verify_store(AugmentStore.open(tmp_path / "s"))) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--chips", "{tmp}/empty"), "no chips found"),
        (("--split", "{tmp}/split.txt"), "path separator"),
        (("--weights", "{tmp}"), "no such weight file"),
        (("--temperature", "0"), "--temperature 0.0: expected a positive number"),
        (("--seed", "99999999999999999999"), "expected 0 to 2⁶³ − 1"),
        (("--devices", "x"), "--devices x"),
        (("--split", "{tmp}/other.txt"), "chip 'unheard_of' has no file"),
        (("--split", "{tmp}/binary.txt"), "not a text file"),
        (("--samples", "0"), "--samples 0: expected at least 1"),
        (("--samples", "2000"), "--samples 2000: expected at most 1000"),
        (("--shard-chips", "100000"), "--shard-chips 100000: expected at most 65536"),
        (("--top-p", "1.5"), "--top-p 1.5: expected 0 to 1"),
        (("--inputs", "DEM", "DEM"), "a modality appears twice"),
        (("--inputs", "FOO"), "--inputs FOO: expected S2L2A, S2L1C"),
        (("--precision", "tf32"), "TF32 is the arithmetic of NVIDIA GPUs"),
        (("--diffusion-steps", "3"), "--diffusion-steps is for --modality NDVI"),
        (("--modality", "NDVI", "--probabilities"), "--probabilities is for --modality LULC"),
        (("--scenes", "("), "neither a file nor a regular expression"),
        (("--accelerator", "abacus"), "--accelerator abacus"),
        (("--generator", "terramind_v9"), "known generators: terramind_v1_tiny, terramind_v1_small"),
        (
            ("--store", "https://host/store"),
            "--store https://host/store: a store is written to a local folder",
        ),
        (("--chips", "abc://bucket/chips"), "abc://bucket/chips: cannot be read (Protocol not known: abc)"),
        (("--layout", "tiles"), "unknown layout 'tiles'"),
        (("--inputs", "S2L2A", "S1GRD"), "--inputs S2L2A S1RTC DEM"),
    ],
)
def test_configuration_errors_are_one_line_and_exit_2(command, tmp_path, capsys, more, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "split.txt").write_text("a/b\n")
    (tmp_path / "other.txt").write_text("unheard_of\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    assert main(command(tmp_path / "s", *(part.replace("{tmp}", str(tmp_path)) for part in more))) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--top-k", "x"), "--top-k x: expected int"),
        (("--temperature", "inf"), "--temperature inf: expected float"),
        (("--top-q", "1"), "unrecognized arguments: --top-q 1"),
        (
            ("--inputs", "S2L2A", "--inputs", "DEM"),
            "--inputs is given 2 times; name all values after one --inputs",
        ),
        (("--split=a.txt", "--split", "b.txt"), "--split is given 2 times; name all"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(command, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit, match="2"):
        main(command(tmp_path / "s", *more))
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert line.endswith("tim-generate --help lists the options")


@pytest.mark.nightly
def test_a_subprocess_shows_no_traceback(command, tmp_path):
    found = run_subprocess(*command(tmp_path / "s", "--weights", str(tmp_path)))
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seed", "9"), "sampling.seed: 0 ≠ 9"),
        (("--decoding-steps", "2"), "sampling.decoding_steps: 1 ≠ 2"),
        (("--inputs", "S1RTC"), "inputs.DEM.mean"),
        (("--samples", "2", "--top-k", "5"), "sampling.top_k: 0 ≠ 5"),
    ],
)
def test_a_store_of_another_spec_is_left_alone(command, reference, tmp_path, capsys, more, message):
    store = shutil.copytree(reference, tmp_path / "s")
    assert main(command(store, "--samples", "2", "--probabilities", *more)) == 2
    assert message in capsys.readouterr().err
    assert_equal_stores(store, reference)


def test_units_of_the_command_line_reach_the_request(tmp_path):
    root = write_folder_chips(tmp_path / "chips", ["a"])
    words = ["--chips", str(root), "--store", "s", "--s1-unit", "amplitude", "--s2-offset", "1000"]
    options = parse_options(generate_parser(), CommandOptions, words)
    assert options.input_request().units == Units("amplitude", 1000.0)


def test_a_folder_that_is_no_store_is_left_alone(command, tmp_path, capsys):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.tex").write_text("years of work")
    assert main(command(tmp_path / "s")) == 2
    assert "exists and is not an augment store" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["thesis.tex"]


def test_a_chip_that_changed_since_stops_the_run(command, broken, tmp_path, capsys):
    arguments = command(tmp_path / "s", "--chips", str(broken))
    assert main(arguments) == 0
    rewrite(broken / "DEM" / "c_r000c003.tif", rasters(40, 32)["DEM"][0])
    assert main(arguments) == 2
    assert (
        "1 chip (c_r000c003): content differs from what the store was generated from"
        in capsys.readouterr().err
    )
    assert list(verify_store(AugmentStore.open(tmp_path / "s"))) == []


def test_a_full_disk_keeps_what_is_complete(command, tmp_path, capsys, monkeypatch):
    written = []
    write_shard = AugmentStore.write_shard

    def full_after_one(self, shard, records):
        if written:
            raise OSError(28, "No space left on device")
        written.append(shard)
        write_shard(self, shard, records)

    with monkeypatch.context() as patch:
        patch.setattr(AugmentStore, "write_shard", full_after_one)
        assert main(command(tmp_path / "s", "--network-batch", "1")) == 1
    assert "error: No space left on device; what is complete is kept" in capsys.readouterr().err
    store = AugmentStore.open(tmp_path / "s")
    assert len(store.chips_in(State.COMPLETE)) == 2
    assert all("pending" in str(problem) for problem in verify_store(store))
    assert main(command(tmp_path / "s")) == 0
    assert list(verify_store(AugmentStore.open(tmp_path / "s"))) == []


def test_a_network_output_that_is_not_finite_fails_the_chip(command, tmp_path, capsys, monkeypatch):
    encode = TerraMind.forward_encoder

    def overflow(self, tokens, mask):
        calls.append(1)
        return encode(self, tokens * torch.inf if len(calls) == 1 else tokens, mask)

    calls: list[int] = []
    monkeypatch.setattr(TerraMind, "forward_encoder", overflow)
    assert main(command(tmp_path / "s")) == 1
    told = capsys.readouterr().err
    assert "chip scene0_r000c000: the network gave NaN or infinity" in told
    assert "5 done, 0 skipped, 1 failed" in told


def test_a_second_run_on_the_same_store_waits_for_no_one(command, tmp_path, capsys):
    with file_lock(tmp_path / "s"):
        assert main(command(tmp_path / "s")) == 2
    assert "another run is writing here" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    assert main(command(tmp_path / "s")) == 0


def test_damage_is_repaired_and_generated_again(command, reference, tmp_path):
    store = shutil.copytree(reference, tmp_path / "s")
    shard = store.joinpath("lulc", "c", "1", *"0000")
    content = bytearray(shard.read_bytes())
    content[20] ^= 0xFF
    shard.write_bytes(content)
    assert store_main(["verify", str(store), "--repair"]) == 1
    assert main(command(store, "--samples", "2", "--probabilities")) == 0
    assert_equal_stores(store, reference)


def test_help_lists_the_audit_the_generators_and_examples_that_the_parser_takes(tmp_path, capsys):
    for words in (["--help"], ["audit", "--help"]):
        with pytest.raises(SystemExit, match="0"):
            main(words)
    told = capsys.readouterr().out
    assert "audit    compare the inputs with what TerraMind was pretrained on" in told
    assert "terramind_v1_tiny" in told
    examples = [line.split()[1:] for line in told.splitlines() if line.startswith("  tim-generate ")]
    assert len(examples) == len([*EXAMPLES.split("\n"), *AUDIT_EXAMPLES.split("\n")]) - 4
    for words in examples:
        audit = words[0] == "audit"
        parsed = (audit_parser() if audit else generate_parser()).parse_args(words[audit:])
        assert parsed.chips
