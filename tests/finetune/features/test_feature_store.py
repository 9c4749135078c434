"""Features on disk: their key, what a chip lacks, and damage."""

import dataclasses

import numpy as np
import pytest
import zarr

from augment_store.errors import OutputError
from finetune.errors import RunError
from finetune.features import feature_store
from finetune.features.feature_store import ChipRecord, FeatureKey, FeatureStore

KEY = FeatureKey(
    network="tiny",
    weights="abc",
    layers=(2, 5),
    inputs="S2L2A",
    timesteps=(0,),
    statistics="flood",
    no_data="none",
    encoding=(),
    maps="",
    precision="32-true",
    dtype="float16",
    versions={"torch": "2"},
)
OTHER = {
    "layers": (2,),
    "timesteps": (0, 1),
    "encoding": ("tokens",),
    "versions": {"torch": "3"},
}
RECORD = ChipRecord("input", "", ("e", "h"), (1, 0))


@pytest.fixture
def store(tmp_path):
    made = FeatureStore.create(tmp_path / "features", KEY)
    values = np.arange(2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 3, 4)
    made.write("alpha", RECORD, values)
    return made


def test_what_was_written_is_read(store):
    again = FeatureStore.open(store.path)
    assert again.key == KEY
    assert again.record("alpha") == RECORD
    # symmetry 1 of [symmetry, layer, 3, 4] begins at value 24
    assert np.array_equal(again.read("alpha", "h", RECORD), np.arange(24, 48).reshape(2, 3, 4))
    assert again.read("alpha", "h", RECORD).dtype == np.float16


def test_the_folder_appears_with_its_key(tmp_path, monkeypatch):
    """Killed before, it would be neither features nor free, and the next start would refuse it."""
    path, real, seen = tmp_path / "features", feature_store.write_json, []

    def write_json(target, plain):
        seen.append(path.exists())
        real(target, plain)

    monkeypatch.setattr(feature_store, "write_json", write_json)
    assert FeatureStore.create(path, KEY).key == KEY
    assert seen == [False]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(FeatureKey)])
def test_another_key_is_refused_by_the_field_that_differs(store, field):
    other = dataclasses.replace(KEY, **{field: OTHER.get(field, "other")})
    with pytest.raises(RunError, match=rf"features of other {field}: "):
        FeatureStore.create(store.path, other)


@pytest.mark.parametrize(
    ("chip_id", "wanted", "what"),
    [
        ("bravo", RECORD, "bravo has no features; .* which adds them"),
        ("alpha", ChipRecord("changed", "", ("e",)), "other inputs than are on disk; .* which replaces them"),
        (
            "alpha",
            ChipRecord("input", "tokens", ("e",)),
            "other maps than the store's; .* which replaces them",
        ),
        ("alpha", ChipRecord("input", "", ("e", "v", "t")), "lacks the symmetries v t .* which adds them"),
    ],
)
def test_a_chip_that_lacks_something_is_named(store, chip_id, wanted, what):
    assert list(store.missing({chip_id: wanted})) == [chip_id]
    with pytest.raises(RunError, match=what):
        store.check({chip_id: wanted})


def test_fewer_symmetries_than_there_are_suffice(store):
    assert store.check({"alpha": ChipRecord("input", "", ("h",))}) == (1, 0)


def test_a_chip_keeps_the_symmetries_that_another_training_uses(store):
    wanted = ChipRecord("input", "", ("e", "v"))
    assert store.missing({"alpha": wanted}) == {"alpha": ChipRecord("input", "", ("e", "h", "v"))}
    # of another input, it has none worth keeping
    changed = ChipRecord("changed", "", ("e", "v"))
    assert store.missing({"alpha": changed}) == {"alpha": changed}


@pytest.mark.parametrize("other", [ChipRecord("changed", "", ("e",)), ChipRecord("input", "tokens", ("e",))])
def test_features_that_are_replaced_under_a_training_stop_it(store, other):
    store.check({"alpha": RECORD})
    store.write("alpha", dataclasses.replace(other, axes=(1, 0)), np.ones((1, 2, 3, 4), np.float32))
    with pytest.raises(
        RunError, match="alpha: replaced while this training was reading it; run encode again"
    ):
        store.read("alpha", "e", RECORD)


def test_features_that_are_replaced_while_they_are_read_are_not_returned(store, monkeypatch):
    """Between their attributes, which tell where a symmetry lies, and their values."""
    opened = zarr.open_array(store.path / "alpha", mode="r")
    whole = dataclasses.replace(RECORD, symmetries=("h", "e"))
    store.write("alpha", whole, np.ones((2, 2, 3, 4), np.float32))
    monkeypatch.setattr(zarr, "open_array", lambda *_, **__: opened)
    with pytest.raises(RunError, match="replaced while this training was reading it"):
        store.read("alpha", "e", RECORD)


def test_features_stay_until_others_are_whole(store, monkeypatch):
    """As a command that is killed while it replaces them would leave them."""
    whole = dataclasses.replace(RECORD, symmetries=("e", "h", "v"))
    made = zarr.create_array

    def without_space(draft, **options):
        made(draft, **options)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zarr, "create_array", without_space)
        with pytest.raises(OutputError, match="No space left"):
            store.write("alpha", whole, np.ones((3, 2, 3, 4), np.float32))
    assert store.read("alpha", "h", RECORD).flat[0] == 24
    store.write("alpha", whole, np.ones((3, 2, 3, 4), np.float32))
    assert store.read("alpha", "h", whole).flat[0] == 1
    assert sorted(path.name for path in store.path.iterdir()) == ["alpha", "features.json"]


def test_axes_in_two_orders_are_refused(store):
    store.write("bravo", dataclasses.replace(RECORD, axes=(0, 1)), np.ones((2, 2, 3, 4), np.float32))
    with pytest.raises(RunError, match="chips alpha and bravo have their axes in other orders"):
        store.check({"alpha": RECORD, "bravo": RECORD})


@pytest.mark.parametrize(("value", "what"), [(70_000, "beyond float16"), (np.nan, "not finite")])
def test_values_that_the_type_cannot_hold_are_refused(store, value, what):
    with pytest.raises(RunError, match=f"features of chip bravo are {what}"):
        store.write("bravo", RECORD, np.full((2, 2, 3, 4), value, np.float32))
    assert store.record("bravo") is None


def test_damage_is_found_on_reading(store):
    chunk = next(path for path in (store.path / "alpha" / "c").rglob("*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[0] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(RunError, match=r"alpha: cannot be read .* run encode again"):
        store.read("alpha", "e", RECORD)


def test_a_chunk_that_is_gone_is_not_read_as_zeros(store):
    store.write("bravo", RECORD, np.zeros((2, 2, 3, 4), np.float32))
    symmetry = RECORD.symmetries[0]
    assert not store.read("bravo", symmetry, RECORD).any()
    (store.path / "bravo/c/0/0/0/0").unlink()
    with pytest.raises(
        RunError, match=f"bravo: features of symmetry {symmetry} are gone; delete it, and run"
    ):
        store.read("bravo", symmetry, RECORD)


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="exists and is not empty"):
        FeatureStore.create(tmp_path, KEY)
    with pytest.raises(RunError, match="make features with tim-finetune encode"):
        FeatureStore.open(tmp_path)
