import shutil
from pathlib import Path

import pytest

from augment_store.store.chip_index import ChipEntry
from augment_store.store.spec import GenerationSpec
from augment_store.store.writer import AugmentStore
from tests.worlds import EXTENT, make_record, make_spec


@pytest.fixture
def spec() -> GenerationSpec:
    return make_spec()


@pytest.fixture(scope="session")
def written_store(tmp_path_factory) -> Path:
    """Five chips in shards of two; the first four complete."""
    path, spec = tmp_path_factory.mktemp("written") / "store.zarr", make_spec()
    made = AugmentStore.create(path, spec, EXTENT, shard_chips=2)
    made.announce([ChipEntry(f"chip{i}", f"scene{i // 2}") for i in range(5)])
    for shard in (0, 1):
        made.write_shard(shard, [make_record(spec, f"chip{i}", i) for i in made.shards()[shard]])
    return path


@pytest.fixture
def store(written_store, tmp_path) -> AugmentStore:
    """A copy of that store, to write to."""
    return AugmentStore.open(shutil.copytree(written_store, tmp_path / "store.zarr"), mode="r+")
