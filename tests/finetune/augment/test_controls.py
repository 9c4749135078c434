"""What is joined: controls, maps of several bands, and the scenes that a store brings along."""

import dataclasses
from importlib import resources

import numpy as np
import pytest

from augment_store.errors import ChipSetError
from augment_store.store.chip_index import ChipEntry
from augment_store.store.writer import AugmentStore
from finetune.augment.augmentation import Augmentation, AugmentRequest
from finetune.augment.controls import AnalyticNdvi, ConstantMaps, ShuffledMaps
from finetune.data.datamodule import TimStoreDataModule
from finetune.data.splits import SceneRule
from finetune.errors import ConfigError
from finetune.run.manifest_builder import augment_record
from tests.worlds import make_spec, make_world, store_of, write_zarr_zip

pytestmark = pytest.mark.slow


def datamodule(world, **arguments):
    return TimStoreDataModule(data_root=str(world.root), **{"batch_size": 2, **arguments})


def test_shuffle_gives_every_chip_anothers_maps(world, plain_store):
    module = datamodule(world, augment=str(plain_store), control="shuffle", control_seed=5)
    module.setup("fit")
    source, _ = module.augmentation.source(module.chips, module.splits.ids["train"], (32, 32))
    assert isinstance(source, ShuffledMaps)
    assert sorted(source.donor.values()) == sorted(module.splits.ids["train"])
    assert all(chip_id != donor for chip_id, donor in source.donor.items())
    same, other = (ShuffledMaps(None, world.ids, seed).donor for seed in (5, 6))
    assert same == ShuffledMaps(None, world.ids, 5).donor != other
    with pytest.raises(ConfigError, match="the split has one chip"):
        ShuffledMaps(None, ("a",), 0)


def test_analytic_ndvi_needs_no_store(tmp_path):
    world = make_world(tmp_path / "w", timesteps=1)
    values = np.zeros((1, 12, 32, 32), dtype=np.int16)
    values[0, 3], values[0, 7] = 1000, 3000  # (3000 − 1000) / 4000 = 0.5
    values[0, :, 0, 0] = 0  # no light at all: no NDVI
    write_zarr_zip(world.chips.path("delta_0_0", "S2L2A"), values)
    ndvi = AnalyticNdvi(world.chips).read("delta_0_0", "ndvi")
    assert ndvi.shape == (1, 1, 32, 32)
    assert ndvi[0, 0, 5, 5] == 5000
    assert ndvi[0, 0, 0, 0] == -32768
    chips = type(world.chips)(world.root, dataclasses.replace(world.chips.layout, s2_offset=500.0))
    assert AnalyticNdvi(chips).read("delta_0_0", "ndvi")[0, 0, 5, 5] == 6667  # 2000 / 3000
    taken = [dataclasses.replace(entry, offset=250.0) for entry in make_spec().inputs]
    named = AnalyticNdvi(chips, taken).read("delta_0_0", "ndvi")
    assert named[0, 0, 5, 5] == 5714  # 2000 / 3500, by the store's offset
    module = datamodule(world, control="analytic-ndvi", timesteps=[0])
    module.setup("test")
    image = module.model_batch(next(iter(module.test_dataloader())))["image"]["S2L2A"]
    assert image.shape[1] == 13
    assert image[0, 12, 5, 5] == pytest.approx((0.5 - 0.327) / 0.322)


def converted(modality, name, **changes):
    """Spec of a generator that took an input in another unit than the layout says."""
    spec = make_spec(modality, inputs=[name])
    return dataclasses.replace(spec, inputs=(dataclasses.replace(spec.inputs[0], **changes),))


def test_the_controls_offset_is_the_named_stores(world, tmp_path):
    spec = converted("NDVI", "S2L2A", offset=100.0)
    store = store_of(world.chips, tmp_path / "s", spec)
    module = datamodule(world, augment=str(store.path), control="analytic-ndvi")
    module.setup("test")
    assert (
        augment_record(module, "zero").fingerprint == store.fingerprint
    )  # without it, the control is another
    own = module.datasets["test"][0]["maps"]["ndvi"]
    raw = world.chips.read("delta_0_0", ("S2L2A",)).rasters["S2L2A"][0].astype(float) - 100
    expected = np.round((raw[7] - raw[3]) / (raw[7] + raw[3]) * 1e4)
    there = own[0].numpy() != -32768
    assert there.any()
    np.testing.assert_allclose(own[0].numpy()[there], expected[there], atol=1)


def test_a_map_of_several_bands_enters_as_a_plane_per_band(world, tmp_path):
    store = store_of(world.chips, tmp_path / "s1", make_spec("S1RTC"))
    module = datamodule(world, augment=str(store.path), encoding=["value"])
    module.setup("test")
    assert module.augmentation.encoding == ("s1rtc",)
    batch = next(iter(module.test_dataloader()))
    image = module.model_batch(batch)["image"]["S2L2A"]
    assert image.shape[1:] == (14, 4, 32, 32)
    raw = store.read(batch["chip_id"][0], "s1rtc")[0, 2]  # band, y, x of the third timestep
    expected = (raw * 0.01 - [[[-10.93]], [[-17.329]]]) / [[[4.391]], [[4.459]]]
    np.testing.assert_allclose(image[0, 12:, 2], expected, atol=1e-4)
    assert Augmentation(AugmentRequest(store=store.path), 1).encoding == ("s1rtc",)  # what suits the store


def test_encodings_of_a_single_token_refuse_several_codebooks(world, tmp_path):
    store = store_of(world.chips, tmp_path / "s", make_spec(codebooks=2))
    for encoding in ("tokens", "token_probability"):
        with pytest.raises(ConfigError, match=f"2 codebooks; encoding {encoding} takes one"):
            datamodule(world, augment=str(store.path), encoding=[encoding])
    assert datamodule(world, augment=str(store.path), encoding=["onehot"]).augmentation.plan.channels == 10


def test_constant_maps_carry_nothing(world):
    module = datamodule(world, control="constant", encoding=["onehot", "ndvi", "probabilities"])
    module.setup("fit")
    batch = module.model_batch(next(iter(module.train_dataloader())))
    planes = batch["image"]["S2L2A"][:, 12:]
    assert planes.shape == (2, 21, 4, 32, 32)
    assert (planes == planes[:1, :, :1, :1, :1]).all()
    tokens = ConstantMaps({"tokens": np.zeros((1, 1, 1, 1), np.uint16)}, (32, 32)).read("any", "tokens")
    assert tokens.shape == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoding": ["onehot"]}, "encoding onehot without a store"),
        ({"control": "shuffle"}, "name the store with --augment"),
        ({"control": "mirror"}, "unknown control 'mirror'; expected shuffle"),
        ({"control": "analytic-ndvi", "encoding": ["onehot"]}, "use --encoding ndvi"),
        ({"modalities": ["S3"]}, "unknown modality 'S3'"),
        ({"bands": {"S2L2A": ["PINK"]}}, "expected some of COASTAL_AEROSOL"),
    ],
)
def test_impossible_wishes(world, arguments, message):
    with pytest.raises(ConfigError, match=message):
        datamodule(world, **arguments)


def test_the_root_may_be_the_data_folder(world):
    inside = TimStoreDataModule(data_root=str(world.root / "data"))
    assert inside.chips.root == world.root
    assert inside.splits.ids == datamodule(world).splits.ids


def test_scenes_of_a_store_are_those_of_the_run(world, tmp_path):
    """What `generate --scenes` told the store counts, and contradicting it is an error."""
    path = tmp_path / "store"
    store_of(world.chips, path)
    store = AugmentStore.open(path, mode="r+")
    table = {chip_id: f"flight {chip_id.split('_')[0]}" for chip_id in world.ids}
    store.announce([ChipEntry(chip_id, scene) for chip_id, scene in table.items()])
    module = TimStoreDataModule(str(world.root), augment=str(path))
    assert module.splits.scenes == table
    assert TimStoreDataModule(str(world.root)).splits.scenes["alpha_0_0"] == "alpha"
    with pytest.raises(
        ChipSetError, match=r"of scene 'alpha_0' by --scenes _0\$, of 'flight alpha' by the store"
    ):
        _ = TimStoreDataModule(str(world.root), augment=str(path), scenes="_0$").splits


def test_the_default_rule_need_not_fit_chips_whose_scene_the_store_knows(world):
    known = SceneRule(store={"_0_0": "harbour"})
    assert known.scenes(world.chips, ["_0_0", "alpha_0_1"]) == {"_0_0": "harbour", "alpha_0_1": "alpha"}
    with pytest.raises(ChipSetError, match="_0_0"):
        SceneRule().scenes(world.chips, ["_0_0"])


def test_scenes_take_a_file_a_pattern_or_the_layouts_own_rule(world, tmp_path):
    table = tmp_path / "scenes.csv"
    table.write_text("".join(f"{chip_id},{chip_id[0]}\n" for chip_id in world.ids))
    by_table = TimStoreDataModule(str(world.root), scenes=str(table)).splits.scenes
    assert (by_table["alpha_0_0"], by_table["echo_0_0"]) == ("a", "e")
    by_pattern = TimStoreDataModule(str(world.root), scenes="_0$", allow_scene_overlap=True).splits.scenes
    assert (by_pattern["alpha_0_0"], by_pattern["alpha_0_1"]) == ("alpha_0", "alpha_0_1")
    shipped = (
        resources.files("augment_store.chips")
        .joinpath("layout_files/impactmesh.yaml")
        .read_text(encoding="utf-8")
    )
    layout = tmp_path / "own.yaml"
    layout.write_text(shipped + "scenes: '[a-z]_0_[01]$'\n", encoding="utf-8")
    module = TimStoreDataModule(str(world.root), layout=str(layout))
    assert module.splits.scenes["alpha_0_0"] == "alph"
    with pytest.raises(ChipSetError, match=f"give the chip set's root, {world.root}"):
        _ = TimStoreDataModule(str(world.root / "data"), layout="impactmesh").chips
