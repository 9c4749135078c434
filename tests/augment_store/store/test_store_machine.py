"""The store's specification: whatever is done to it in whatever order, it is what a model in memory says.

Announcing, writing, losing the process at any write, resuming, extending, losing maps or ids, repairing and verifying
are rules; that readers see the model's chips, states and values, and `verify` nothing else, is the invariant.
`TIM_STORE_MACHINE_RUNS=1000 python -m pytest tests/augment_store/store/test_store_machine.py` runs it long.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from augment_store.integrity.repair import repair_store
from augment_store.integrity.verify import verify_store
from augment_store.store.chip_index import ChipEntry, read_entries
from augment_store.store.schema import ChipShape, State
from augment_store.store.writer import AugmentStore, ChipRecord
from tests.faults.kills import killed_at
from tests.worlds import make_record, make_spec

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("TIM_STORE_MACHINE_RUNS", "3"))
IDS = [f"{scene}_{number}" for scene in "ab" for number in range(4)]
SHAPE = ChipShape(1, 16, 16)
SHARD_CHIPS = 3
NEVER = 10**9

KILL_AT = st.one_of(st.just(NEVER), st.integers(0, 60))
"""The write at which the process is lost; most operations take fewer than 60."""


@dataclass
class ModelChip:
    """What the model knows of a chip; `seed` is that of its maps."""

    scene: str
    state: State = State.PENDING
    seed: int = 0


class StoreMachine(RuleBasedStateMachine):
    """A store of up to eight chips in shards of three, and its model."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "store"
        self.spec = make_spec()
        self.chips: dict[str, ModelChip] = {}  # in the order of their positions
        self.writes = 0

    def teardown(self):
        shutil.rmtree(self.folder)

    @initialize()
    def create(self):
        AugmentStore.create(self.path, self.spec, SHAPE, SHARD_CHIPS)

    def survive(self, act, kill_at):
        """Do something that a kill may interrupt, and then again, as a command is repeated."""
        with killed_at(kill_at):
            act(AugmentStore.open(self.path, mode="r+"))
        act(AugmentStore.open(self.path, mode="r+"))

    @rule(
        ids=st.lists(st.sampled_from(IDS), min_size=1, unique=True),
        scene=st.sampled_from("xy"),
        kill_at=KILL_AT,
    )
    def announce(self, ids, scene, kill_at):
        """Extends the store, or gives chips that it has another scene."""
        before = self.complete()

        def act(store):
            assert before <= set(store.chips_in(State.COMPLETE))
            store.announce([ChipEntry(chip_id, scene) for chip_id in ids])

        self.survive(act, kill_at)
        for chip_id in ids:
            self.chips.setdefault(chip_id, ModelChip(scene)).scene = scene

    @precondition(lambda self: self.chips)
    @rule(data=st.data(), kill_at=KILL_AT)
    def write(self, data, kill_at):
        """Writes chips of a shard, new ones and ones that are there; some fail."""
        shards = AugmentStore.open(self.path).shards()
        shard = data.draw(st.integers(0, len(shards) - 1), "shard")
        ids = [list(self.chips)[position] for position in shards[shard]]
        chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True), "chips")
        # a chip that is complete is never said to have failed: only pending ones are generated
        pending = [chip_id for chip_id in chosen if self.chips[chip_id].state != State.COMPLETE]
        failed = data.draw(st.sets(st.sampled_from(pending)) if pending else st.just(set()), "failed")
        self.writes += 1
        records = [
            ChipRecord(chip_id, {}, "no valid pixel")
            if chip_id in failed
            else make_record(self.spec, chip_id, self.writes, SHAPE)
            for chip_id in chosen
        ]
        kept = self.complete() - set(chosen)

        def act(store):
            assert kept <= set(store.chips_in(State.COMPLETE))
            damaged = [problem for problem in verify_store(store) if problem.positions]
            if damaged:  # maps half rewritten: their chips are set back, as verify --repair does
                assert {store.chip_ids[p] for found in damaged for p in found.positions} <= set(chosen)
                repair_store(store, damaged)
            store.write_shard(shard, records)

        self.survive(act, kill_at)
        for chip_id in chosen:
            made = State.FAILED if chip_id in failed else State.COMPLETE
            self.chips[chip_id].state, self.chips[chip_id].seed = made, self.writes

    @precondition(lambda self: self.complete())
    @rule(
        data=st.data(), array=st.sampled_from(["lulc", "tokens", "output_digest", "state"]), kill_at=KILL_AT
    )
    def lose_an_object(self, data, array, kill_at):
        """An object disappears; `verify` names exactly its chips, and repair sets them back."""
        chip_id = data.draw(st.sampled_from(sorted(self.complete())), "chip")
        store = AugmentStore.open(self.path)
        shard = store.index(chip_id) // SHARD_CHIPS
        shutil.rmtree(self.path / array / "c" / str(shard)) if (
            self.path / array / "c" / str(shard)
        ).is_dir() else (self.path / array / "c" / str(shard)).unlink()
        ids = [list(self.chips)[position] for position in store.shard(shard)]
        lost = [
            i for i in ids if array in {"state", "output_digest"} or self.chips[i].state == State.COMPLETE
        ]

        def act(again):
            repair_store(again, verify_store(again))

        self.survive(act, kill_at)
        for found in lost:
            self.chips[found].state = State.PENDING

    @precondition(lambda self: self.chips)
    @rule(kill_at=KILL_AT)
    def lose_the_ids(self, kill_at):
        """Repair restores them from the ids of the chip set, whose entries' digests prove them."""
        (self.path / "chip_id/c/0").unlink()
        scenes = dict.fromkeys(sorted({*IDS, *self.chips}), "x")
        with killed_at(kill_at):
            self.mend(scenes)
        self.mend(scenes)

    def mend(self, scenes):
        store = AugmentStore.open(self.path, mode="r+", lost_ids=True)
        candidates = {
            chip_id: self.chips[chip_id].scene if chip_id in self.chips else "z" for chip_id in scenes
        }
        repair_store(store, verify_store(store), candidates)

    def complete(self):
        return {chip_id for chip_id, chip in self.chips.items() if chip.state == State.COMPLETE}

    @invariant()
    def readers_see_the_model(self):
        if not self.path.exists():
            return
        store = AugmentStore.open(self.path)
        assert tuple(store.chip_ids) == tuple(self.chips)
        for state in State:
            expected = {chip_id for chip_id, chip in self.chips.items() if chip.state == state}
            assert set(store.chips_in(state)) == expected
        reasons = dict(zip(self.chips, store.values("error"), strict=True))
        assert all(reasons[chip_id] == "no valid pixel" for chip_id in store.chips_in(State.FAILED))
        assert {i: entry.scene_id for i, entry in read_entries(store).items()} == {
            i: chip.scene for i, chip in self.chips.items()
        }
        for chip_id in self.complete():
            made = make_record(self.spec, chip_id, self.chips[chip_id].seed, SHAPE).arrays
            for name in ("lulc", "tokens", "input_digest"):
                np.testing.assert_array_equal(store.read(chip_id, name), made[name])

    @invariant()
    def verify_sees_what_is_left_to_do(self):
        if not self.path.exists():
            return
        found = sorted(
            str(problem).partition(":")[0] for problem in verify_store(AugmentStore.open(self.path))
        )
        left = sorted(f"chip {i}" for i, chip in self.chips.items() if chip.state != State.COMPLETE)
        assert found == (
            left or ([] if self.chips else ["no chip was ever announced; run the generate command"])
        )


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=RUNS,
    stateful_step_count=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
