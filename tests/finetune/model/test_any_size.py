"""Chips whose side is no multiple of 16, from a store that stage 1 wrote."""

import numpy as np
import pytest
import rasterio
import yaml

from finetune.__main__ import main
from finetune.data.datamodule import TimStoreDataModule
from finetune.run.manifest import RunManifest
from tests.worlds import two_class_config, write_folder_chips, write_tif

pytestmark = pytest.mark.slow

SPLITS = {"train": ("a_0_0", "a_0_1"), "val": ("b_0_0",), "test": ("c_0_0",)}
SIZE = 40


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    """Four chips of 40 px with masks of two classes."""
    root = tmp_path_factory.mktemp("any") / "chips"
    write_folder_chips(root, [chip_id for ids in SPLITS.values() for chip_id in ids], size=SIZE)
    (root / "split").mkdir()
    rng = np.random.default_rng(3)
    for split, ids in SPLITS.items():
        (root / "split" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for chip_id in ids:
            with rasterio.open(root / "DEM" / f"{chip_id}.tif") as file:
                east, north = file.transform.c, file.transform.f
            labels = rng.integers(0, 2, (1, SIZE, SIZE)).astype(np.int8)
            write_tif(root / "MASK" / f"{chip_id}.tif", labels, east, north)
    return root


@pytest.fixture(scope="module")
def store(chips, tmp_path_factory):
    """Land cover blended of windows."""
    from generate.cli.main import main as generate

    path = tmp_path_factory.mktemp("stores") / "windows"
    words = (
        "--chips",
        chips,
        "--store",
        path,
        "--generator",
        "demo",
        "--weights",
        "random",
        "--window",
        "32",
    )
    assert generate([*map(str, words), "--accelerator", "cpu"]) == 0
    return path


@pytest.fixture
def config(chips, tmp_path):
    config = two_class_config("nyc_tim_lulc", data_root=str(chips))
    config["trainer"]["precision"] = 32
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def fit(config, store, run, *encodings):
    return main(
        ["fit", "--config", str(config), "--augment", str(store), "--run", str(run), "--encoding", *encodings]
    )


@pytest.mark.nightly
def test_planes_have_the_chips_own_size_and_a_run_is_trained_and_tested(config, chips, store, tmp_path):
    assert fit(config, store, tmp_path / "run", "onehot", "token_probability") == 0
    assert RunManifest.read(tmp_path / "run").cost.steps == 1
    assert main(["test", "--run", str(tmp_path / "run")]) == 0


def test_a_patch_has_one_probability_up_to_the_edge_of_the_chip(chips, store):
    module = TimStoreDataModule(
        data_root=str(chips),
        modalities=["S2L2A", "S1RTC", "DEM"],
        batch_size=1,
        augment=str(store),
        encoding=["token_probability"],
    )
    module.setup("test")
    plane = module.datasets["test"][0]["maps"]["token_probability"].reshape(SIZE, SIZE)
    assert len(np.unique(plane[:16, :16])) == len(np.unique(plane[32:, 32:])) == 1
    assert plane[0, 0] != plane[39, 39]


def test_tokens_of_a_store_of_windows_are_refused_with_the_remedy(config, store, tmp_path, capsys):
    assert fit(config, store, tmp_path / "run", "tokens") == 2
    told = capsys.readouterr().err
    assert "no array 'tokens' in this LULC store" in told
    assert "its maps are blended of windows, which leaves none: generate a store without --window" in told
    assert not (tmp_path / "run").exists()
