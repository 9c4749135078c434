import pytest

from augment_store.entries import ChipEntry
from augment_store.spec import GenerationSpec
from augment_store.store import AugmentStore
from tests.worlds import EXTENT, make_record, make_spec


@pytest.fixture
def spec() -> GenerationSpec:
    return make_spec()


@pytest.fixture
def store(tmp_path, spec) -> AugmentStore:
    """Five chips in shards of two; the first four complete."""
    made = AugmentStore.create(tmp_path / "store.zarr", spec, EXTENT, shard_chips=2)
    made.announce([ChipEntry(f"chip{i}", f"scene{i // 2}") for i in range(5)])
    for shard in (0, 1):
        made.write_shard(shard, [make_record(spec, f"chip{i}", i) for i in made.shards()[shard]])
    return made
