"""Images of any size, and overlapping windows: what the network sees, and how the map is put together."""

import contextlib
import re

import numpy as np
import pytest
import rasterio
import torch

from augment_store.chips.chip_set import ChipSet
from augment_store.cli.main import main as store_main
from augment_store.integrity.verify import verify_store
from augment_store.store.schema import ChipShape, State
from augment_store.store.writer import AugmentStore
from generate.cli.main import main
from generate.model.batch_invariance import choose_network_batch_by_probe
from generate.model.map_decoder import ImageKey
from generate.model.sampling import StreamKey
from generate.model.windows import WindowAxis, WindowBlender, WindowGrid, shares
from tests.augment_store.inspect.test_command import page_data
from tests.generate.conftest import assert_equal_stores
from tests.generate.model.test_terramind import generate_one, images, load, scatter_weights
from tests.worlds import write_folder_chips

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
DIFFUSION = {"modality": "NDVI", "diffusion_steps": 2}


@pytest.mark.parametrize(
    ("length", "window", "expected"),
    [
        (256, 224, (224, (0, 32), 0)),
        (380, 224, (224, (0, 78, 156), 0)),  # 156 px beyond the first, in steps of at most 112
        (448, 224, (224, (0, 112, 224), 0)),
        (224, 224, (224, (0,), 0)),
        (100, 224, (224, (0,), 124)),
    ],
)
def test_windows_begin_evenly_spaced_and_end_with_the_image(length, window, expected):
    side = WindowAxis.of(length, window)
    assert (side.window, side.starts, side.padding) == expected


@pytest.mark.parametrize(
    ("shape", "window", "step", "expected"),
    [
        ((377, 380), None, 16, 384),
        ((40, 100), None, 32, 128),
        ((180, 300), 224, 16, 224),
        ((100, 90), 224, 16, 112),  # no more padding than the image needs
    ],
)
def test_the_network_sees_the_smallest_squares_that_will_do(shape, window, step, expected):
    windows = WindowGrid.of(*shape, window, step)
    assert (windows.rows.window, windows.columns.window) == (expected, expected)


def test_windows_fade_into_each_other_and_are_whole_where_they_are_alone():
    first, second = shares(WindowAxis.of(24, 16), CPU)
    fade = (
        np.sin(np.pi * (np.arange(8) + 0.5) / 16) ** 2
    )  # sin² of one window and cos² of the other add up to 1
    np.testing.assert_array_equal(first[:8], np.ones(8))
    np.testing.assert_allclose(second[:8], fade, rtol=1e-12)
    np.testing.assert_allclose(first[8:], fade[::-1], rtol=1e-12)
    np.testing.assert_array_equal(second[8:], np.ones(8))


def test_the_shares_of_every_pixel_add_up_to_one():
    side = WindowAxis.of(203, 64)
    total = np.zeros(203)
    for start, share in zip(side.starts, shares(side, CPU), strict=True):
        total[start : start + 64] += share.numpy()
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_a_blend_is_the_weighted_mean_and_patches_its_mean():
    windows = WindowGrid.of(24, 20, 16)
    blend, sure = WindowBlender(windows), WindowBlender(windows)
    for number, window in enumerate(windows):
        blend.add(window, torch.full((1, 1, 16, 16), float(number)))
        sure.add_patches(window, torch.full((1, 1, 1, 1), number / 4))
    image = blend.image()[0, 0]
    assert image.shape == (24, 20)
    assert image[0, 0] == 0  # of the first window alone
    assert image[23, 19] == 3
    share = (
        np.sin(np.pi * 4.5 / 16) ** 2
    )  # at row 12 the lower window is 4 px in; the columns meet at 4 to 15
    assert image[12, 0] == pytest.approx(2 * share, rel=1e-6)
    assert sure.patches().shape == (1, 1, 2, 2)
    assert sure.patches()[0, 0, 1, 1] == pytest.approx(float(image[16:, 16:].mean()) / 4, rel=1e-6)


def test_an_image_of_any_size_is_one_with_its_edges_repeated():
    module = load(top_k=1, generator="terramind_v1_tiny")
    whole = images(module, 40)
    padded = {
        name: torch.from_numpy(np.pad(i, ((0, 0), (0, 8), (0, 8)), mode="edge")) for name, i in whole.items()
    }
    found, expected = generate_one(module, whole, "c", 0), generate_one(module, padded, "c", 0)
    assert found.tokens.shape == (1, 3, 3)
    assert torch.equal(found.tokens, expected.tokens)
    assert found.decoded.shape == (1, 10, 40, 40)
    assert torch.equal(found.decoded, expected.decoded[..., :40, :40])


def test_a_diffusion_decoder_gets_sides_that_it_can_halve():
    """Of 48 px it made a RuntimeError, although three patches are whole."""
    module = load(generator="terramind_v1_tiny", modality="NDVI", diffusion_steps=1)
    found = generate_one(module, images(module, 48), "c", 0)
    assert found.decoded.shape == (1, 1, 48, 48)
    assert found.tokens.shape == found.token_probability.shape == (1, 3, 3)


def test_a_window_sees_its_part_of_the_image_and_nothing_else():
    module = load(top_k=1, generator="terramind_v1_tiny", window=32)
    made = images(module, 48)
    found = generate_one(module, made, "c", 0)
    assert found.decoded.shape == (1, 10, 48, 48)
    assert found.token_probability.shape == (1, 3, 3)
    for rows, columns in ((slice(0, 32), slice(0, 32)), (slice(16, 48), slice(16, 48))):
        alone = generate_one(module, {name: image[:, rows, columns] for name, image in made.items()}, "c", 0)
        corner = slice(0, 16) if rows.start == 0 else slice(32, 48)  # where no other window reaches
        inner = slice(corner.start - rows.start, corner.stop - rows.start)
        assert torch.equal(found.decoded[..., corner, corner], alone.decoded[..., inner, inner])


@pytest.mark.parametrize(
    ("changes", "window", "shape"),
    [
        pytest.param({"samples": 2}, None, (40, 40), marks=pytest.mark.nightly, id="whole, one step"),
        pytest.param({"decoding_steps": 3}, 32, (32, 40), id="two windows, three steps"),
        pytest.param({"decoding_steps": 3}, None, (40, 40), marks=pytest.mark.nightly),
        pytest.param({"samples": 2}, 32, (32, 40), marks=pytest.mark.nightly),
        pytest.param(DIFFUSION, None, (40, 40), marks=pytest.mark.nightly),
        pytest.param(DIFFUSION, 32, (32, 40), marks=pytest.mark.nightly),
    ],
)
def test_bits_are_the_same_whatever_the_batch(window, shape, changes):
    module = load(generator="terramind_v1_tiny", window=window, **changes)
    scatter_weights(module.tokenizer)
    made = [images(module, shape, seed) for seed in range(3)]
    owners = [ImageKey("a", 0), ImageKey("a", 1), ImageKey("b", 0)]
    module.network_batch = 3
    alone = [generate_one(module, image, *owner) for image, owner in zip(made, owners, strict=True)]
    together = module.generate(
        {name: torch.stack([image[name] for image in made]) for name in made[0]}, owners
    )
    for slot, one in enumerate(alone):
        for part in ("tokens", "token_probability", "decoded", "finite"):
            assert torch.equal(getattr(together, part)[slot], getattr(one, part))
    assert not torch.equal(together.decoded[0], together.decoded[1])
    assert choose_network_batch_by_probe(module, 3, shape, contextlib.nullcontext())


def test_windows_draw_their_own_tokens_from_the_same_noise():
    whole, first, second = (StreamKey(1, "c", 0, 0, window) for window in (None, 0, 1))
    assert not torch.equal(first.uniforms(4), second.uniforms(4))
    assert not torch.equal(first.order(9), second.order(9))
    assert torch.equal(first.noise((1, 4, 4)), whole.noise((1, 4, 4)))
    assert whole == StreamKey(1, "c", 0, 0)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Three chips of 40 px, which is no multiple of 16."""
    return write_folder_chips(tmp_path_factory.mktemp("odd") / "chips", ["a_0_0", "a_0_1", "b_0_0"], size=40)


@pytest.fixture(scope="module")
def run(command):
    """Runs the command on other chips."""
    return lambda chips, store, *more: main(command(store, "--chips", chips, *more))


def test_a_store_holds_the_chips_own_size(run, odd, tmp_path, capsys):
    assert run(odd, tmp_path / "one") == 0
    assert run(odd, tmp_path / "three", "--network-batch", "3") == 0
    store, other = AugmentStore.open(tmp_path / "one"), AugmentStore.open(tmp_path / "three")
    assert store.extent == ChipShape(1, 40, 40)
    assert list(verify_store(store, ChipSet.open(odd))) == []
    assert store.read("a_0_0", "lulc").shape == (1, 1, 40, 40)
    assert store.read("a_0_0", "tokens").shape == (1, 1, 3, 3)
    np.testing.assert_array_equal(store.values("tokens"), other.values("tokens"))
    chip = store.to_xarray("a_0_0")
    np.testing.assert_allclose(
        chip["tx"], 580_000 + 160 * np.array([0.5, 1.5, 2.5])
    )  # 16 pixels of 10 m each
    shown = ["inspect", str(store.path), "--chips", str(odd), "--png", str(tmp_path / "a.png")]
    assert store_main([*shown, "--html", str(tmp_path / "a.html")]) == 0
    out = [
        "export",
        str(store.path),
        "--out",
        str(tmp_path / "out"),
        "--arrays",
        "lulc",
        "tokens",
        "--format",
    ]
    assert store_main([*out, "geotiff", "--mosaic"]) == 2  # tokens of neighbours 40 px apart do not meet
    assert "0 rows and 40 columns from the corner, not a multiple of 16" in capsys.readouterr().err
    assert store_main([*out, "geotiff"]) == 0
    assert store_main([*out, "zarr"]) == 0
    with rasterio.open(tmp_path / "out" / "a_0_0_tokens.tif") as file:
        assert (file.shape, file.transform.a) == ((3, 3), 160)


def test_a_store_of_windows_has_maps_and_no_tokens(run, odd, tmp_path):
    assert run(odd, tmp_path / "w", "--window", "32", "--probabilities") == 0
    assert run(odd, tmp_path / "batch", "--window", "32", "--probabilities", "--network-batch", "2") == 0
    store = AugmentStore.open(tmp_path / "w")
    assert store.spec.sampling.window == 32
    assert store.map_names == ("token_probability", "lulc", "confidence", "probabilities")
    assert list(verify_store(store, ChipSet.open(odd))) == []
    assert store.read("a_0_0", "token_probability").shape == (1, 1, 3, 3)
    np.testing.assert_array_equal(
        store.values("probabilities"), AugmentStore.open(tmp_path / "batch").values("probabilities")
    )
    words = ["inspect", str(store.path), "--chips", str(odd), "--html", str(tmp_path / "a.html")]
    assert store_main([*words, "--png", str(tmp_path / "a.png")]) == 0
    assert page_data(tmp_path / "a.html", "chips")[0]["tokens"] is None
    assert "tokens" not in store.to_xarray("a_0_0")


def test_windows_are_part_of_the_spec_and_a_run_resumes(run, odd, tmp_path, capsys):
    assert run(odd, tmp_path / "w", "--window", "32") == 0
    assert run(odd, tmp_path / "again", "--window", "32") == 0
    store = AugmentStore.open(tmp_path / "again", mode="r+")
    store.reset([1])
    assert run(odd, tmp_path / "again", "--window", "32") == 0
    assert_equal_stores(tmp_path / "w", tmp_path / "again")
    capsys.readouterr()
    assert run(odd, tmp_path / "w") == 2
    assert "sampling.window: 32 ≠ None" in capsys.readouterr().err
    assert AugmentStore.open(tmp_path / "w").chips_in(State.COMPLETE) == ("a_0_0", "a_0_1", "b_0_0")


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("48", "--window 48: expected a multiple of 32"),
        ("0", "--window 0: expected a multiple of 32"),
        ("64", "--window 64: the chips have 40 px, and windows are for larger ones; leave it out"),
    ],
)
def test_windows_that_do_nothing_are_refused(run, odd, tmp_path, capsys, window, message):
    assert run(odd, tmp_path / "w", "--window", window) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_inspect_compares_windows_with_whole_chips(run, odd, tmp_path, capsys):
    """The share of pixels that agree, worked out from both stores."""
    whole, windows = tmp_path / "whole", tmp_path / "windows"
    assert run(odd, whole, "--temperature", "5", "--top-p", "0") == 0
    assert run(odd, windows, "--temperature", "5", "--top-p", "0", "--window", "32") == 0
    page = tmp_path / "page.html"
    capsys.readouterr()
    assert store_main(["inspect", str(windows), "--against", str(whole), "--html", str(page)]) == 0
    one, other = AugmentStore.open(whole), AugmentStore.open(windows)
    shown = {chip["id"]: chip for chip in page_data(page, "chips")}
    for chip_id in one.chip_ids:
        expected = (one.read(chip_id, "lulc") == other.read(chip_id, "lulc")).mean()
        assert 0 < expected < 1
        assert shown[chip_id]["measures"]["reference"] == pytest.approx(expected, abs=1e-4)
        assert "reference" in shown[chip_id]["layers"]
    assert "agreement with reference" in capsys.readouterr().out
    assert store_main(["inspect", str(whole), "--against", str(whole), "--html", str(page)]) == 0
    assert {chip["measures"]["reference"] for chip in page_data(page, "chips")} == {1.0}


@pytest.mark.nightly
def test_only_stores_of_the_same_chips_are_compared(run, odd, tmp_path, capsys):
    assert run(odd, tmp_path / "lulc") == 0
    larger = write_folder_chips(tmp_path / "larger_chips", ["a_0_0"], size=48)
    others = write_folder_chips(tmp_path / "other_chips", ["c_0_0"], size=40)
    assert run(odd, tmp_path / "ndvi", "--modality", "NDVI") == 0
    assert run(larger, tmp_path / "larger") == 0
    assert run(others, tmp_path / "others") == 0
    capsys.readouterr()
    for name, message in (
        ("ndvi", "holds NDVI and 1 timestep of 40 px, .*lulc LULC and 1 timestep of 40 px"),
        ("larger", "holds LULC and 1 timestep of 48 px"),
        ("others", "has no complete chip that .*lulc has as well"),
    ):
        assert store_main(["inspect", str(tmp_path / "lulc"), "--against", str(tmp_path / name)]) == 2
        assert re.search(message, capsys.readouterr().err)
    changed = write_folder_chips(tmp_path / "changed", ["b_0_0", "a_0_0", "a_0_1"], size=40)
    assert run(changed, tmp_path / "changed_lulc") == 0
    capsys.readouterr()
    assert store_main(["inspect", str(tmp_path / "lulc"), "--against", str(tmp_path / "changed_lulc")]) == 2
    assert "was generated from other pixels" in capsys.readouterr().err


def test_the_plan_and_the_card_name_the_windows(run, odd, tmp_path, capsys):
    assert run(odd, tmp_path / "w", "--window", "32", "--dry-run") == 0
    assert "1 timestep of 40 px in windows of 32 px" in capsys.readouterr().err
    assert run(odd, tmp_path / "w", "--window", "32") == 0
    assert store_main(["publish", str(tmp_path / "w"), "--out", str(tmp_path / "out")]) == 0
    assert "in blended windows of 32 px" in (tmp_path / "out" / "README.md").read_text()
