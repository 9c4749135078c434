"""Chips that are not square: their maps are those of the square they are padded to, everywhere in the store."""

import json

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from augment_store.chips.chip_set import ChipSet
from augment_store.cli.main import main as store_main
from augment_store.integrity.verify import verify_store
from augment_store.store.schema import ChipShape
from augment_store.store.writer import AugmentStore
from generate.cli.main import main
from generate.model.windows import WindowAxis, WindowGrid, shares
from tests.augment_store.inspect.test_command import page_data
from tests.generate.model.test_terramind import generate_one, images, load, scatter_weights
from tests.worlds import NORTH, write_folder_chips

pytestmark = pytest.mark.slow

SHAPE = (24, 56)


def by_hand(made, height, width):
    """Images ``[C, H, W]`` with their edge pixels repeated up to a height and a width."""
    return {
        name: torch.from_numpy(
            np.pad(i, ((0, 0), (0, height - i.shape[1]), (0, width - i.shape[2])), mode="edge")
        )
        for name, i in made.items()
    }


@pytest.mark.parametrize(
    ("shape", "window", "step", "starts", "padding", "grid"),
    [
        ((192, 224), None, 16, ((0,), (0,)), (32, 0), (14, 14)),
        ((250, 180), None, 32, ((0,), (0,)), (6, 76), (16, 16)),
        ((192, 400), 224, 16, ((0,), (0, 88, 176)), (32, 0), (14, 14)),  # 176 px in steps of at most 112
        ((400, 20), 224, 16, ((0, 88, 176), (0,)), (0, 204), (14, 14)),
        ((377, 377), None, 16, ((0,), (0,)), (7, 7), (24, 24)),
        ((48, 48), None, 32, ((0,), (0,)), (16, 16), (4, 4)),
    ],
)
def test_what_the_network_sees_is_square(shape, window, step, starts, padding, grid):
    made = WindowGrid.of(*shape, window, step)
    assert (made.rows.starts, made.columns.starts) == starts
    assert (made.rows.padding, made.columns.padding) == padding
    assert made.grid == grid


def test_shares_are_made_once_for_sides_that_are_equal():
    cpu = torch.device("cpu")
    assert shares(WindowAxis.of(203, 64), cpu) is shares(WindowAxis.of(203, 64), cpu)
    assert shares(WindowAxis.of(203, 64), cpu) is not shares(WindowAxis.of(202, 64), cpu)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param({"samples": 2}, id="one step"),
        pytest.param({"decoding_steps": 3}, id="three steps", marks=pytest.mark.nightly),
        pytest.param({"modality": "NDVI", "diffusion_steps": 2}, id="diffusion", marks=pytest.mark.nightly),
    ],
)
def module(request):
    made = load(generator="terramind_v1_tiny", **request.param)
    scatter_weights(made.tokenizer)
    return made


@pytest.mark.parametrize("shape", [SHAPE, SHAPE[::-1], (16, 33)])
def test_a_chip_gets_the_map_of_its_square(shape, module):
    made, side = images(module, shape), max(shape)
    found = generate_one(module, made, "c", 0)
    square = generate_one(module, by_hand(made, side, side), "c", 0)
    height, width = shape
    rows, columns = -(-height // 16), -(-width // 16)
    assert found.tokens.shape == (module.sampling.samples, rows, columns)
    assert found.decoded.shape[-2:] == shape
    assert torch.equal(found.decoded, square.decoded[..., :height, :width])
    assert torch.equal(found.tokens, square.tokens[..., :rows, :columns])
    assert torch.equal(found.token_probability, square.token_probability[..., :rows, :columns])
    assert len(found.decoded.unique()) > 10


@pytest.mark.parametrize("shape", [SHAPE, pytest.param(SHAPE[::-1], marks=pytest.mark.nightly)])
def test_with_windows_only_the_side_that_is_shorter_is_padded(shape):
    module = load(generator="terramind_v1_tiny", window=32)
    scatter_weights(module.tokenizer)
    made = images(module, shape)
    found = generate_one(module, made, "c", 0)
    padded = generate_one(module, by_hand(made, *(max(side, 32) for side in shape)), "c", 0)
    height, width = shape
    assert torch.equal(found.decoded, padded.decoded[..., :height, :width])
    assert found.token_probability.shape == (1, -(-height // 16), -(-width // 16))


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """Three chips of 24 × 56 px side by side."""
    root = tmp_path_factory.mktemp("shapes") / "chips"
    return write_folder_chips(root, ["a_0_0", "a_0_1", "b_0_0"], size=SHAPE)


@pytest.fixture(scope="module")
def store(command, flat, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "s"
    assert main(command(path, "--chips", flat, "--network-batch", "2")) == 0
    return AugmentStore.open(path)


def test_the_store_holds_height_and_width_and_verifies(store, flat, capsys):
    assert store.extent == ChipShape(1, 24, 56)
    assert str(store.extent) == "1 timestep of 24 × 56 px"
    assert store.read("a_0_0", "lulc").shape == (1, 1, 24, 56)
    assert (
        store.read("a_0_0", "tokens").shape == store.read("a_0_0", "token_probability").shape == (1, 1, 2, 4)
    )
    assert list(verify_store(store, ChipSet.open(flat))) == []
    assert store_main(["info", str(store.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["height"], told["width"]) == (24, 56)


def test_a_run_gives_the_maps_of_chips_padded_by_hand(store, flat, command, tmp_path):
    """The same ids and weights, so the same draws; GeoTIFFs of 56 × 56 px written from the arrays."""
    for path in flat.rglob("*.tif"):
        with rasterio.open(path) as source:
            raster, profile = source.read(), source.profile
        target = tmp_path / "square" / path.relative_to(flat)
        target.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(target, "w", **{**profile, "height": 56}) as file:
            file.write(np.pad(raster, ((0, 0), (0, 32), (0, 0)), mode="edge"))
    assert main(command(tmp_path / "s", "--chips", tmp_path / "square", "--network-batch", "2")) == 0
    square = AugmentStore.open(tmp_path / "s")
    assert square.extent == ChipShape(1, 56, 56)
    for chip_id in store.chip_ids:
        for array in ("lulc", "confidence"):
            np.testing.assert_array_equal(
                store.read(chip_id, array), square.read(chip_id, array)[..., :24, :]
            )
        np.testing.assert_array_equal(
            store.read(chip_id, "tokens"), square.read(chip_id, "tokens")[..., :2, :]
        )


def test_xarray_and_export_place_rows_and_columns(store, tmp_path):
    chip = store.to_xarray("a_0_1")
    np.testing.assert_allclose(chip["y"], NORTH - 10 * (np.arange(24) + 0.5))
    np.testing.assert_allclose(chip["x"], 580_560 + 10 * (np.arange(56) + 0.5))
    np.testing.assert_allclose(chip["ty"], NORTH - 160 * (np.arange(2) + 0.5))
    assert chip["tx"].shape == (4,)
    words = ["export", str(store.path), "--arrays", "lulc", "tokens", "--format"]
    for name, shape in (("geotiff", (24, 56)), ("cog", (24, 56))):
        assert store_main([*words, name, "--out", str(tmp_path / name)]) == 0
        with rasterio.open(tmp_path / name / "a_0_1_lulc.tif") as file:
            assert (file.shape, file.transform.c, file.transform.f) == (shape, 580_560, NORTH)
            np.testing.assert_array_equal(file.read(1), store.read("a_0_1", "lulc")[0, 0])
        with rasterio.open(tmp_path / name / "a_0_1_tokens.tif") as file:
            assert (file.shape, file.transform.a) == ((2, 4), 160)
    assert store_main([*words[:2], "--format", "geotiff", "--mosaic", "--out", str(tmp_path / "m")]) == 0
    with rasterio.open(tmp_path / "m" / "a_lulc.tif") as file:
        assert file.shape == (24, 112)
        np.testing.assert_array_equal(file.read(1)[:, 56:], store.read("a_0_1", "lulc")[0, 0])
    assert store_main([*words, "zarr", "--out", str(tmp_path / "zarr")]) == 0
    attributes = json.loads(next((tmp_path / "zarr").rglob("a_0_1/lulc/zarr.json")).read_text())["attributes"]
    assert attributes["spatial:shape"] == [24, 56]
    west, south, east, north = attributes["spatial:bbox"]
    assert (east - west, north - south) == (560, 240)


def test_inspect_draws_rectangles(store, flat, tmp_path, capsys):
    words = ["inspect", str(store.path), "--chips", str(flat), "--png", str(tmp_path / "a.png")]
    assert store_main([*words, "--html", str(tmp_path / "a.html")]) == 0
    assert "24 × 56 px · 1 timestep" in capsys.readouterr().out
    assert page_data(tmp_path / "a.html", "store")["cells"] == [1.5, 3.5]
    (west, north), (east, _), (_, south), _ = page_data(tmp_path / "a.html", "chips")[0]["ring"]
    metres = 111_320 * np.cos(np.radians(north))
    assert (east - west) * metres / 560 == pytest.approx(1, abs=0.05)
    assert (north - south) * 111_132 / 240 == pytest.approx(1, abs=0.05)  # the grid is not quite north up
    with Image.open(tmp_path / "a.png") as image:
        columns = (
            6  # RGB, radar, relief, map, token probability, confidence: 24 px are 1.75 inches at 120 dots
        )
        assert image.width == pytest.approx(120 * (columns * 1.75 * 56 / 24 + 1.9), abs=1)


def test_what_is_published_has_both_sides(store, tmp_path):
    assert store_main(["publish", str(store.path), "--out", str(tmp_path / "out")]) == 0
    assert "| chips | 3 of 24 × 56 pixels |" in (tmp_path / "out" / "README.md").read_text()


def test_chips_turned_are_chips_of_another_size(store, command, tmp_path, capsys):
    turned = write_folder_chips(tmp_path / "turned", ["a_0_0"], size=SHAPE[::-1])
    assert main(command(store.path, "--chips", turned)) == 2
    assert (
        "holds 1 timestep of 24 × 56 px, the chips have 1 timestep of 56 × 24 px" in capsys.readouterr().err
    )
