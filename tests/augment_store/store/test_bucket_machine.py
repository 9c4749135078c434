"""The store's specification in a bucket, on a network that fails: every operation ends well, or in an error of ours.

Then the same operation, on a network that works, ends as the model in memory says. `TIM_STORE_MACHINE_RUNS` is the
number of stores that the machine makes.
"""

import itertools
import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from augment_store.errors import AugmentStoreError
from augment_store.integrity.verify import verify_store
from augment_store.io.lock import store_lock
from augment_store.io.objects import remove
from augment_store.io.remote import as_path
from augment_store.store.chip_index import ChipEntry
from augment_store.store.schema import ChipShape, State
from augment_store.store.writer import AugmentStore
from tests.faulty_proxy import FAULTS, NEVER
from tests.servers import proxied_bucket
from tests.worlds import make_record, make_spec

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("TIM_STORE_MACHINE_RUNS", "3"))
IDS = [f"{scene}_{number}" for scene in "ab" for number in range(2)]
SHAPE = ChipShape(1, 16, 16)
SPEC = make_spec()
_NUMBERS = itertools.count()

FAULTS_AT = st.dictionaries(st.integers(0, 40), st.sampled_from(FAULTS), max_size=6)
DEAD_FROM = st.one_of(st.just(NEVER), st.just(NEVER), st.integers(0, 40))
"""The request at which the process loses the network for good, as one that is killed does."""


class BucketStore:
    """A store in a bucket, what is done to it, and what readers have to see."""

    def __init__(self, bucket, proxy):
        self.path = as_path(f"{bucket}/store{next(_NUMBERS)}")
        self.proxy = proxy
        self.seeds: dict[str, int] = {}  # by chip that was announced; 0 where it has no maps

    def survive(self, act, faults, dead_from):
        """Do something on a network that fails, and again on one that works; return the first error."""
        error = None
        self.proxy.plan(faults, dead_from)
        try:
            self.locked(act)
        except AugmentStoreError as raised:
            error = raised
        self.proxy.plan()
        remove(self.path.with_name(f".{self.path.name}.lock"))  # as a person does for a run that is dead
        self.locked(act)
        return error

    def locked(self, act):
        with store_lock(self.path, "test"):
            act()

    def announce(self, ids, faults=None, dead_from=NEVER):
        def act():
            there = (self.path / "zarr.json").is_file()
            store = (
                AugmentStore.open(self.path, mode="r+")
                if there
                else AugmentStore.create(self.path, SPEC, SHAPE, 2)
            )
            store.announce([ChipEntry(chip_id, "x") for chip_id in ids])

        error = self.survive(act, faults, dead_from)
        for chip_id in ids:
            self.seeds.setdefault(chip_id, 0)
        return error

    def write(self, shard, seed, faults=None, dead_from=NEVER):
        ids = list(self.seeds)[2 * shard : 2 * shard + 2]
        records = [make_record(SPEC, chip_id, seed, SHAPE) for chip_id in ids]
        error = self.survive(
            lambda: AugmentStore.open(self.path, mode="r+").write_shard(shard, records), faults, dead_from
        )
        self.seeds.update(dict.fromkeys(ids, seed))
        return error

    def check(self):
        """Compare what readers see with the model."""
        store = AugmentStore.open(self.path)
        assert tuple(store.chip_ids) == tuple(self.seeds)
        written = [chip_id for chip_id, seed in self.seeds.items() if seed]
        assert list(store.chips_in(State.COMPLETE)) == written
        for chip_id in written:
            expected = make_record(SPEC, chip_id, self.seeds[chip_id], SHAPE).arrays
            assert (store.read(chip_id, "lulc") == expected["lulc"]).all()
        left = [str(problem).partition(":")[0] for problem in verify_store(store)]
        assert sorted(left) == sorted(f"chip {chip_id}" for chip_id, seed in self.seeds.items() if not seed)


@pytest.fixture(scope="module")
def bucket():
    with proxied_bucket() as found:
        yield found


@pytest.mark.nightly
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_of_each_kind_at_a_write_is_survived(bucket, fault):
    """At three requests of the writing, one after another."""
    store = BucketStore(*bucket)
    store.announce(IDS[:2])
    before = store.proxy.met.get(fault, 0)
    store.write(0, 1, {5: fault, 9: fault, 13: fault})
    assert store.proxy.met[fault] == before + 3
    store.check()


@pytest.mark.nightly
def test_a_network_that_is_lost_ends_a_writing_in_an_error_of_ours(bucket):
    store = BucketStore(*bucket)
    store.announce(IDS[:2])
    assert "bucket" in str(store.write(0, 1, dead_from=8))
    store.check()


class BucketMachine(RuleBasedStateMachine):
    """A store of up to four chips in shards of two, and its model."""

    bucket: tuple

    def __init__(self):
        super().__init__()
        self.store = None
        self.writes = 0

    @initialize(
        ids=st.lists(st.sampled_from(IDS), min_size=1, unique=True), faults=FAULTS_AT, dead_from=DEAD_FROM
    )
    def create(self, ids, faults, dead_from):
        self.store = BucketStore(*self.bucket)
        self.store.announce(ids, faults, dead_from)

    @rule(ids=st.lists(st.sampled_from(IDS), min_size=1, unique=True), faults=FAULTS_AT, dead_from=DEAD_FROM)
    def extend(self, ids, faults, dead_from):
        self.store.announce(ids, faults, dead_from)

    @precondition(lambda self: self.store is not None)
    @rule(data=st.data(), faults=FAULTS_AT, dead_from=DEAD_FROM)
    def write(self, data, faults, dead_from):
        shard = data.draw(st.integers(0, (len(self.store.seeds) - 1) // 2), "shard")
        self.writes += 1
        self.store.write(shard, self.writes, faults, dead_from)

    @invariant()
    def readers_see_the_model(self):
        if self.store is not None:
            self.store.check()


@pytest.mark.nightly
def test_a_store_in_a_bucket_is_what_its_model_says(bucket):
    class Machine(BucketMachine):
        pass

    Machine.bucket = bucket
    case = Machine.TestCase
    case.settings = settings(
        max_examples=RUNS,
        stateful_step_count=5,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    case().runTest()
