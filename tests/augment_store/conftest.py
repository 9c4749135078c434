import numpy as np
import pytest

from augment_store.entries import ChipEntry
from augment_store.schema import Extent, Role, chip_arrays, map_arrays
from augment_store.spec import GenerationSpec, InputSpec, SamplingSpec
from augment_store.store import AugmentStore, ChipRecord

EXTENT = Extent(timesteps=2, size=32)


def make_spec(**changes) -> GenerationSpec:
    fields = {
        "generator": "terramind_v1_base",
        "weights": "checkpoint",
        "network_sha256": "aa",
        "tokenizer_sha256": "bb",
        "modality": "LULC",
        "inputs": (InputSpec("S1RTC", "native", 0.0, (-10.93, -17.329), (4.391, 4.459)),),
        "sampling": SamplingSpec(1.0, 0, 0.8, 1, 1, 0, None),
        "probabilities": False,
        "precision": "32-true",
        "device": "cpu",
        "versions": {"torch": "2.9"},
    }
    return GenerationSpec(**{**fields, **changes})


def make_record(spec: GenerationSpec, chip_id: str, seed: int, extent: Extent = EXTENT) -> ChipRecord:
    """A complete record of random values that the legend and the codebook allow."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for schema in (*chip_arrays(spec, extent), *map_arrays(spec, extent)):
        brought = schema.role in {Role.GENERATED, Role.RESULT} and schema.name != "output_digest"
        if brought:
            top = 10 if schema.name == "lulc" else 100
            arrays[schema.name] = rng.integers(0, top, schema.shape).astype(schema.dtype)
    arrays["token_probability"] /= 100
    arrays["timestep_source"] = np.arange(extent.timesteps, dtype=np.int16)
    return ChipRecord(chip_id, arrays)


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
