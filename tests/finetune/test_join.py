"""Chips joined with a store: completeness, digests, memory, and worker processes."""

import pickle
import shutil

import numpy as np
import pytest
from torch.utils.data import DataLoader

from augment_store.chips.chip_set import Chip
from augment_store.errors import StoreError
from finetune.augment.store_maps import StoreMaps
from finetune.data.checks import SurveyRules, survey_chips
from finetune.data.dataset import ChipDataset, Members, Reading, collate, find_bands
from finetune.data.transforms import SampleTransform
from finetune.errors import EncodingError, JoinError
from tests.finetune.world import make_spec, make_store, make_world, write_chip

RULES = SurveyRules(("S2L2A", "S1RTC", "DEM"), (0, 1, 2, 3), 5)
MANY = 2**30


def test_a_store_that_fits_is_held_in_memory(world, lulc_store):
    maps = StoreMaps(lulc_store, ("lulc", "confidence"), MANY)
    maps.hold(world.ids)
    assert maps.read("lulc", world.ids[0]) is maps.read("lulc", world.ids[0])
    assert np.array_equal(maps.read("lulc", world.ids[0]), maps.store.read("lulc", world.ids[0]))


def test_a_larger_store_is_read_each_time(world, lulc_store):
    one_chip = 2 * 4 * 32 * 32  # samples × timesteps × pixels, one byte each
    maps = StoreMaps(lulc_store, ("lulc",), 9 * one_chip - 1)
    maps.hold(world.ids)
    assert maps.read("lulc", world.ids[0]) is not maps.read("lulc", world.ids[0])
    fits = StoreMaps(lulc_store, ("lulc",), 9 * one_chip)
    fits.hold(world.ids)
    assert fits.read("lulc", world.ids[0]) is fits.read("lulc", world.ids[0])


def test_only_the_path_travels_to_another_process(world, lulc_store):
    maps = StoreMaps(lulc_store, ("lulc",), MANY)
    maps.hold(world.ids)
    copy = pickle.loads(pickle.dumps(maps))
    assert len(pickle.dumps(maps)) < 2000
    assert np.array_equal(copy.read("lulc", world.ids[0]), maps.read("lulc", world.ids[0]))


@pytest.mark.parametrize(("context", "limit"), [("fork", MANY), ("fork", 0), ("spawn", MANY)])
def test_workers_read_what_the_parent_reads(world, lulc_store, context, limit):
    maps = StoreMaps(lulc_store, ("lulc",), limit)
    maps.hold(world.ids)
    reading = Reading(find_bands(["S1RTC"], None), (0, 1, 2, 3))
    dataset = ChipDataset(
        world.chips,
        Members(world.ids),
        reading,
        SampleTransform(None, ("S1RTC",), ("lulc",), 4),
        (maps, ("lulc",)),
    )
    loader = DataLoader(
        dataset, batch_size=4, num_workers=2, collate_fn=collate, multiprocessing_context=context
    )
    read = {
        chip_id: lulc
        for batch in loader
        for chip_id, lulc in zip(batch["chip_id"], batch["maps"]["lulc"], strict=True)
    }
    assert tuple(read) == world.ids
    for chip_id, lulc in read.items():
        assert np.array_equal(lulc, maps.read("lulc", chip_id)[0])


def test_chips_that_are_not_complete_are_named_with_the_command(world, tmp_path):
    store = tmp_path / "store"
    make_store(world, store, make_spec(samples=2), ids=world.ids[2:])
    maps = StoreMaps(store, ("lulc",), MANY)
    with pytest.raises(JoinError) as raised:
        survey_chips(world.chips, world.ids, RULES, maps)
    message = str(raised.value)
    assert "2 chips are not complete in the store: alpha_0_0, alpha_0_1" in message
    command = message.split("Generate them with: ")[1]
    assert command.startswith(
        f"python -m generate --chips {world.root} --store {store} --generator terramind_v1_tiny"
    )
    assert "--samples 2" in command
    assert "--seed 7" in command


def test_the_command_named_is_one_that_generate_takes(world, tmp_path):
    options = pytest.importorskip("generate.options")
    store = tmp_path / "store"
    make_store(world, store, make_spec(probabilities=True), ids=())
    maps = StoreMaps(store, ("lulc",), MANY)
    with pytest.raises(JoinError) as raised:
        survey_chips(world.chips, world.ids, RULES, maps)
    words = str(raised.value).split("python -m generate ")[1].split()
    asked = options.generate_options(options.generate_parser().parse_args(words))
    spec = maps.store.spec
    assert asked.sampling == spec.sampling
    assert asked.source.inputs == tuple(entry.name for entry in spec.inputs)
    assert (asked.generator, asked.modality, asked.probabilities, asked.weights) == (
        spec.generator,
        spec.modality,
        True,
        "random",
    )


def test_a_chip_that_has_changed_is_named(tmp_path):
    world = make_world(tmp_path / "chips")
    make_store(world, tmp_path / "store")
    write_chip(world.root, "bravo_0_1", 32, 4, np.random.default_rng(99))
    with pytest.raises(JoinError, match=r"1 chips have other inputs on disk .*: bravo_0_1.*store_new"):
        survey_chips(world.chips, world.ids, RULES, StoreMaps(tmp_path / "store", ("lulc",), MANY))


def test_a_store_of_another_size_or_time_is_refused(world, tmp_path):
    other = make_world(tmp_path / "chips", size=64, timesteps=1)
    make_store(other, tmp_path / "store")
    with pytest.raises(JoinError, match=r"have 4 × 32 px on disk where the store has 1 × 64 px"):
        survey_chips(world.chips, world.ids, RULES, StoreMaps(tmp_path / "store", ("lulc",), MANY))


def test_a_store_without_the_array_is_refused(plain_store, ndvi_store):
    with pytest.raises(
        EncodingError, match=r"no array 'probabilities'.*generate a store with --probabilities"
    ):
        StoreMaps(plain_store, ("probabilities",), MANY)
    with pytest.raises(EncodingError, match="no array 'lulc' in this NDVI store, it has tokens, token_prob"):
        StoreMaps(ndvi_store, ("lulc",), MANY)


def test_a_missing_store_is_refused(tmp_path):
    with pytest.raises(StoreError, match="not an augment store"):
        StoreMaps(tmp_path, ("lulc",), MANY)


def test_a_damaged_chunk_is_named(world, tmp_path):
    make_store(world, tmp_path / "store")
    shard = next(path for path in (tmp_path / "store/lulc/c").rglob("*") if path.is_file())
    content = bytearray(shard.read_bytes())
    content[10:40] = bytes(30)
    shard.write_bytes(content)
    maps = StoreMaps(tmp_path / "store", ("lulc",), MANY)
    with pytest.raises(StoreError, match=r"lulc of chip .* cannot be read"):
        maps.hold(world.ids)


def test_the_digest_covers_the_generators_inputs_alone(world, tmp_path):
    make_store(world, tmp_path / "store", make_spec(inputs=("S1RTC",)))
    maps = StoreMaps(tmp_path / "store", ("lulc",), MANY)
    assert maps.inputs == ("S1RTC",)
    chip = world.chips.read(world.ids[0], ("S1RTC",))
    maps.note(Chip(chip.chip_id, chip.rasters))
    maps.check(world.chips)
    shutil.rmtree(tmp_path / "store")
