"""Chips joined with a store: completeness, digests, memory, and worker processes."""

import pickle
import shutil

import numpy as np
import pytest
import zarr
from torch.utils.data import DataLoader

from augment_store.errors import ChipSetError, StoreError
from augment_store.store.schema import ChipShape
from augment_store.store.writer import AugmentStore
from finetune.augment.augmentation import Augmentation, AugmentRequest, JoinedMaps
from finetune.augment.map_cache import MapCache
from finetune.data.dataset import ChipDataset, ReadConfig, SplitMembers, collate, find_bands
from finetune.data.split_checks import SplitRequirements, survey_chips
from finetune.data.transforms import SampleTransform
from finetune.errors import ConfigError
from tests.worlds import make_spec, make_world, rasters, store_of, write_impactmesh_chip

RULES = SplitRequirements(("S2L2A", "S1RTC", "DEM"), (0, 1, 2, 3), 5)
MANY = 2**30


def maps_of(path, *arrays, limit=MANY):
    return MapCache(AugmentStore.open(path), arrays, limit)


def test_a_store_that_fits_is_held_in_memory(world, lulc_store):
    maps = maps_of(lulc_store, "lulc", "confidence")
    maps.hold(world.ids)
    assert maps.read(world.ids[0], "lulc") is maps.read(world.ids[0], "lulc")
    assert np.array_equal(maps.read(world.ids[0], "lulc"), maps.store.read(world.ids[0], "lulc"))


def test_a_larger_store_is_read_each_time(world, lulc_store):
    one_chip = 2 * 4 * 32 * 32  # samples × timesteps × pixels, one byte each
    maps = maps_of(lulc_store, "lulc", limit=9 * one_chip - 1)
    maps.hold(world.ids)
    assert maps.read(world.ids[0], "lulc") is not maps.read(world.ids[0], "lulc")
    fits = maps_of(lulc_store, "lulc", limit=9 * one_chip)
    fits.hold(world.ids)
    assert fits.read(world.ids[0], "lulc") is fits.read(world.ids[0], "lulc")


def test_only_the_path_travels_to_another_process(world, lulc_store):
    maps = maps_of(lulc_store, "lulc")
    maps.hold(world.ids)
    copy = pickle.loads(pickle.dumps(maps))
    assert len(pickle.dumps(maps)) < 2000
    assert np.array_equal(copy.read(world.ids[0], "lulc"), maps.read(world.ids[0], "lulc"))


@pytest.mark.parametrize(
    ("context", "limit", "workers"),
    [("fork", MANY, 2), ("fork", 0, 2), pytest.param("spawn", MANY, 1, marks=pytest.mark.nightly)],
)
def test_workers_read_what_the_parent_reads(world, lulc_store, context, limit, workers):
    maps = maps_of(lulc_store, "lulc", limit=limit)
    maps.hold(world.ids)
    reading = ReadConfig(find_bands(["S1RTC"], None), (0, 1, 2, 3))
    dataset = ChipDataset(
        world.chips,
        SplitMembers(world.ids),
        reading,
        SampleTransform(None, ("S1RTC",), ("lulc",), 4),
        JoinedMaps(maps, ("lulc",)),
    )
    loader = DataLoader(
        dataset, batch_size=4, num_workers=workers, collate_fn=collate, multiprocessing_context=context
    )
    read = {
        chip_id: lulc
        for batch in loader
        for chip_id, lulc in zip(batch["chip_id"], batch["maps"]["lulc"], strict=True)
    }
    assert tuple(read) == world.ids
    for chip_id, lulc in read.items():
        assert np.array_equal(lulc, maps.read(chip_id, "lulc")[0])


MADE_BY = (
    "python -m generate --chips chips --store 'my store' --generator terramind_v1_tiny --accelerator cpu"
)


def with_history(path):
    """A store that keeps the commands that wrote to it, one a line after its time, as CF has it."""
    lines = [
        "2026-11-20T10:00:00+00:00: python -m generate --chips old",
        f"2026-11-21T10:00:00+00:00: {MADE_BY}",
    ]
    zarr.open_group(path, mode="r+").attrs["history"] = "\n".join(lines)


def refused(chips, ids, store):
    with pytest.raises(ChipSetError) as raised:
        survey_chips(chips, ids, RULES, maps_of(store, "lulc"))
    return str(raised.value)


def test_chips_that_are_not_complete_are_named_with_the_command_that_made_the_store(world, tmp_path):
    store = tmp_path / "store"
    store_of(world.chips, store, pending=world.ids[:2])
    expected = f"{store}: 2 chips (alpha_0_0, alpha_0_1): not complete in the store. Generate them with: "
    assert refused(world.chips, world.ids, store) == f"{expected}the tim-generate command that made the store"
    with_history(store)
    assert refused(world.chips, world.ids, store) == f"{expected}{MADE_BY}"


def test_a_chip_that_has_changed_is_named(tmp_path):
    """Its store refuses other chips, so the command is not what to run again."""
    world = make_world(tmp_path / "chips")
    store_of(world.chips, tmp_path / "store")
    with_history(tmp_path / "store")
    write_impactmesh_chip(world.root, "bravo_0_1", rasters(99, 32, 4))
    message = refused(world.chips, world.ids, tmp_path / "store")
    assert (
        "1 chip (bravo_0_1): content differs from what the store was generated from. Restore the files"
        in message
    )
    assert message.endswith(f"into another --store (this one was made by: {MADE_BY})")
    assert "Generate them with" not in message


def test_a_store_of_another_size_or_time_is_refused(world, tmp_path):
    other = make_world(tmp_path / "chips", size=64, timesteps=1)
    store_of(other.chips, tmp_path / "store")
    message = refused(world.chips, world.ids, tmp_path / "store")
    assert "9 chips (alpha_0_0, alpha_0_1, " in message
    assert (
        "timesteps or size differ, 4 timesteps of 32 px on disk, 1 timestep of 64 px in the store" in message
    )
    assert "into another --store" in message


def test_a_store_without_the_array_is_refused(plain_store, ndvi_store):
    with pytest.raises(ConfigError, match=r"no array 'probabilities'.*generate a store with --probabilities"):
        maps_of(plain_store, "probabilities")
    with pytest.raises(ConfigError, match="no array 'lulc' in this NDVI store, it has tokens, token_prob"):
        maps_of(ndvi_store, "lulc")


def test_a_missing_store_is_refused(tmp_path):
    with pytest.raises(StoreError, match="not an augment store"):
        Augmentation(AugmentRequest(tmp_path), memory_limit_mb=1)


def test_a_damaged_chunk_is_named(world, tmp_path):
    store_of(world.chips, tmp_path / "store")
    shard = next(path for path in (tmp_path / "store/lulc/c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[10:40] = bytes(30)
    shard.write_bytes(content)
    maps = maps_of(tmp_path / "store", "lulc")
    with pytest.raises(StoreError, match=r"lulc of chip .* cannot be read"):
        maps.hold(world.ids)


def test_the_digest_covers_the_generators_inputs_alone(world, tmp_path):
    store_of(world.chips, tmp_path / "store", make_spec(inputs=("S1RTC",)))
    maps = maps_of(tmp_path / "store", "lulc")
    assert maps.inputs == ("S1RTC",)
    chip = world.chips.read(world.ids[0], ("S1RTC",))
    maps.note(chip.chip_id, ChipShape.from_chip(chip), chip.digests())
    maps.check(world.chips)
    shutil.rmtree(tmp_path / "store")


@pytest.mark.slow
def test_a_worker_refuses_a_store_that_was_generated_anew_by_another_spec(world, tmp_path):
    path, other = tmp_path / "store", tmp_path / "other"
    store_of(world.chips, path)
    sent = pickle.dumps(maps_of(path, "lulc"))
    shutil.rmtree(path)
    store_of(world.chips, other, make_spec(samples=2))
    other.rename(path)
    with pytest.raises(StoreError, match="generated by another spec since this run opened it"):
        pickle.loads(sent).read(world.ids[0], "lulc")
    shutil.rmtree(path)
    store_of(world.chips, path)  # the same spec again makes the same maps
    assert pickle.loads(sent).read(world.ids[0], "lulc").shape == (1, 4, 32, 32)
