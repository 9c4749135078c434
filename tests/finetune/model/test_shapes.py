"""Chips that are not square in training: what TerraTorch takes, and what stops before a step."""

import pytest
import torch
import yaml
from terratorch.tasks import SemanticSegmentationTask

from augment_store.chips.chip_set import ChipSet
from finetune.__main__ import main
from finetune.data.datamodule import TimStoreDataModule
from finetune.errors import ConfigError
from finetune.model.shapes import check_shape, try_network
from finetune.run.manifest import RunManifest
from tests.worlds import make_world, store_of, two_class_config

pytestmark = pytest.mark.slow

SHAPE = (48, 96)
"""3 × 6 patches; TerraTorch pads them to 4 × 6."""

IDS = {"train": ("a_0_0", "a_0_1", "a_0_2", "a_0_3"), "val": ("b_0_0",), "test": ("c_0_0",)}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("shapes") / "chips", SHAPE, timesteps=1, splits=IDS)


@pytest.fixture(scope="module")
def store(world, tmp_path_factory):
    return str(store_of(world.chips, tmp_path_factory.mktemp("stores") / "s").path)


@pytest.fixture
def fit(world, store, tmp_path):
    """Trains a tiny network on the chips, or on others; gives the exit status."""

    def run(*words, root=world.root, config="nyc_tim_lulc", joined=True, change=lambda made: None):
        made = two_class_config(config, data_root=str(root))
        made["model"]["init_args"]["model_args"]["num_classes"] = 5
        made["trainer"]["precision"] = 32
        change(made)
        path = tmp_path / "own.yaml"
        path.write_text(yaml.safe_dump(made))
        augment = ("--augment", store, "--encoding", "onehot") if joined else ()
        return main(["fit", "--config", str(path), *augment, "--run", str(tmp_path / "run"), *words])

    return run


def transformed(*names):
    """Puts Albumentations transforms into the training split."""

    def change(made):
        made["data"]["init_args"]["train_transform"] = [
            *names,
            {"class_path": "albumentations.pytorch.ToTensorV2"},
        ]

    return change


D4 = {"class_path": "albumentations.D4"}
FLIP = {"class_path": "albumentations.HorizontalFlip"}
SQUARE = {"class_path": "albumentations.RandomCrop", "init_args": {"height": 48, "width": 48}}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(transformed(FLIP), id="flips", marks=pytest.mark.nightly),
        pytest.param(transformed(SQUARE, D4), id="squares", marks=pytest.mark.nightly),
    ],
)
def test_two_steps_and_a_test(fit, tmp_path, change):
    assert fit(change=change) == 0
    assert RunManifest.read(tmp_path / "run").cost.steps == 2
    assert main(["test", "--run", str(tmp_path / "run")]) == 0


def test_a_turn_by_90_degrees_stops(fit, tmp_path, capsys):
    assert fit(change=transformed(D4)) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "transform D4 turns some images of" in told
    assert "take HorizontalFlip and VerticalFlip, or crop squares before it" in told
    assert not (tmp_path / "run").exists()


@pytest.mark.nightly
def test_a_turn_before_a_crop_is_no_harm(fit, tmp_path):
    """On 64 px squares every image is 48 × 64 px in the end; TerraTorch tests without a crop."""
    wide = {"class_path": "albumentations.CenterCrop", "init_args": {"height": 48, "width": 64}}
    world = make_world(tmp_path / "square", 64, timesteps=1, splits=IDS)
    assert fit(root=world.root, joined=False, change=transformed(D4, wide)) == 0
    assert RunManifest.read(tmp_path / "run").cost.steps == 2


def test_tokens_need_squares(fit, tmp_path, capsys):
    assert fit("--encoding", "tokens", joined=True) == 2
    told = capsys.readouterr().err
    assert (
        "encoding tokens needs square chips whose side is a multiple of 32 px; these have 48 × 96 px" in told
    )
    assert not (tmp_path / "run").exists()


def test_inline_tim_needs_squares(fit, tmp_path, capsys):
    assert fit(config="nyc_inline_tim", joined=False, change=tiny_tim) == 2
    told = capsys.readouterr().err
    assert "images of 48 × 96 px: TerraTorch's in-line TiM takes squares only; cut squares" in told
    assert not (tmp_path / "run").exists()


def tiny_tim(made):
    made["model"]["init_args"]["model_args"]["backbone"] = "terramind_v1_tiny_tim"


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Chips of 2 × 8 patches, as many as in a square of 4 × 4."""
    return make_world(tmp_path_factory.mktemp("long") / "chips", (32, 128), timesteps=1, splits=IDS).root


def test_as_many_tokens_as_in_a_square_would_be_laid_out_as_one(fit, long, tmp_path, capsys):
    assert fit(root=long, joined=False) == 2
    told = capsys.readouterr().err
    assert (
        "images of 32 × 128 px have 2 × 8 tokens, which TerraTorch's ReshapeTokensToImage would lay out in 4 rows: say "
        "h: 2 at that neck in the YAML, or cut squares"
    ) in told
    assert not (tmp_path / "run").exists()


def test_the_remedy_that_the_message_names_works(fit, long, tmp_path):
    assert fit(root=long, joined=False, change=two_rows) == 0
    assert RunManifest.read(tmp_path / "run").cost.steps == 2


def two_rows(made):
    (neck,) = (
        n for n in made["model"]["init_args"]["model_args"]["necks"] if n["name"].startswith("Reshape")
    )
    neck["h"] = 2


def test_tiles_longer_and_shorter_than_the_chips_stop(fit, tmp_path, capsys):
    tiles = {"h_crop": 64, "w_crop": 64, "h_stride": 48, "w_stride": 48}
    assert fit(change=lambda made: made["model"]["init_args"].update(tiled_inference_parameters=tiles)) == 2
    told = capsys.readouterr().err
    assert (
        "images of 48 × 96 px are longer than the tiles of 64 px of tiled_inference_parameters in one" in told
    )
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def task():
    """A network of random weights."""
    arguments = two_class_config("nyc_tim_lulc")["model"]["init_args"]["model_args"]
    return SemanticSegmentationTask(arguments, "EncoderDecoderFactory", loss="ce")


@pytest.mark.parametrize(
    "shape", [(192, 224), (180, 256), (40, 56), (48, 80), (16, 40), (224, 224), (100, 400)]
)
def test_other_shapes_keep_their_tokens_in_place(task, shape):
    """The layout that the neck gives the tokens is the one that the image had, padded to multiples of 32 px."""
    check_shape(task, shape)
    rows = []
    neck = next(m for m in task.modules() if type(m).__name__ == "ReshapeTokensToImage")
    hook = neck.register_forward_hook(lambda _, __, made: rows.append(tuple(made[0].shape[-2:])))
    with torch.inference_mode():
        bands = {"S2L2A": 12, "S1RTC": 2, "DEM": 1}
        made = task.model({name: torch.zeros(1, count, *shape) for name, count in bands.items()})
    hook.remove()
    assert rows == [tuple(2 * -(-side // 32) for side in shape)]
    assert made.output.shape == (1, 2, *shape)


@pytest.mark.parametrize("shape", [(64, 256), (256, 64), (32, 128), (100, 500)])
def test_shapes_that_would_be_scrambled(task, shape):
    with pytest.raises(ConfigError, match=r"ReshapeTokensToImage would lay out in \d+ rows"):
        check_shape(task, shape)


class Failing(torch.nn.Module):
    """A network that fails as told, and keeps its layer's mode and a buffer of its own."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error
        self.frozen, self.norm = torch.nn.BatchNorm2d(1).eval(), torch.nn.BatchNorm2d(1)

    def forward(self, images):
        self.register_buffer("grid", torch.zeros(1))
        if self.error is not None:
            raise self.error
        return self.norm(self.frozen(images["S2L2A"]))


CHIP = {"S2L2A": torch.arange(16.0).reshape(1, 1, 4, 4)}


@pytest.mark.parametrize(
    "error", [KeyError("S1RTC"), AssertionError(), RuntimeError("shape '[1]' is invalid")]
)
def test_a_network_that_fails_is_a_line(error):
    with pytest.raises(
        ConfigError, match=r"fails on a chip of 4 px: (KeyError\('S1RTC'\)|AssertionError|shape)"
    ):
        try_network(Failing(error), CHIP, "3 chips")


@pytest.mark.parametrize(
    "error",
    [NotImplementedError("no kernel on CPU"), RuntimeError("DefaultCPUAllocator: not enough memory: 9 GB")],
)
def test_what_the_computer_of_the_trial_lacks_blames_no_network(error):
    try_network(Failing(error), CHIP, None)


@pytest.mark.parametrize("counted", [None, "3 chips"])
def test_a_trial_leaves_modes_and_statistics_of_each_layer(counted):
    network = Failing()
    try_network(network, CHIP, counted)
    assert (network.training, network.frozen.training, network.norm.training) == (True, False, True)
    assert network.norm.running_mean.item() == 0
    assert network.norm.num_batches_tracked.item() == 0


def test_constant_maps_have_the_shape_of_the_chips(world, store):
    module = TimStoreDataModule(
        str(world.root), modalities=["S2L2A"], augment=store, encoding=["onehot"], control="constant"
    )
    module.setup("test")
    assert module.datasets["test"][0]["maps"]["lulc"].shape[-2:] == SHAPE
    assert ChipSet.open(world.root).mask("c_0_0").shape == SHAPE
