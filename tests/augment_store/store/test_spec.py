import dataclasses
import hashlib
import json

import pytest

from augment_store.errors import StoreError
from augment_store.store.spec import GenerationSpec, InputSpec
from tests.worlds import make_sampling, make_spec


@pytest.fixture
def spec() -> GenerationSpec:
    return make_spec(inputs=("S1RTC",))


def test_round_trip_through_json(spec):
    assert GenerationSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_fingerprint_is_the_sha256_of_sorted_compact_json(spec):
    canonical = json.dumps(spec.to_dict(), sort_keys=True, separators=(",", ":"))
    assert spec.fingerprint == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"network_sha256": "c" * 64}, f"network_sha256: {'0' * 64} ≠ {'c' * 64}"),
        ({"sampling": make_sampling(temperature=0.7)}, "sampling.temperature: 1.0 ≠ 0.7"),
        ({"versions": {"torch": "3.0"}}, "versions.torch: 2.9.1 ≠ 3.0"),
        (
            {"inputs": (InputSpec("S1RTC", "linear", 0.0, (-10.93, -17.329), (4.391, 4.459)),)},
            "inputs.S1RTC.unit: native ≠ linear",
        ),
    ],
)
def test_each_field_changes_the_fingerprint_and_is_named(spec, change, field):
    other = dataclasses.replace(spec, **change)
    assert other.fingerprint != spec.fingerprint
    assert spec.differences(other) == [field]


def test_input_that_only_one_spec_has_is_named(spec):
    other = make_spec(inputs=("S1RTC", "DEM"))
    assert "inputs.DEM.unit: (absent) ≠ native" in spec.differences(other)


def test_another_order_of_the_same_inputs_is_named():
    """Rows of series_index follow it, so a run with another order must not add to a store."""
    spec, other = make_spec(inputs=("S1RTC", "DEM")), make_spec(inputs=("DEM", "S1RTC"))
    assert other.fingerprint != spec.fingerprint
    assert spec.differences(other) == ["order of inputs: S1RTC DEM ≠ DEM S1RTC"]


@pytest.mark.parametrize(
    "broken", [{"colour": "red"}, {"sampling": {"seed": 1}}, {"inputs": [{"name": "DEM"}]}]
)
def test_unknown_or_missing_keys_are_refused(spec, broken):
    with pytest.raises(StoreError, match="not one this version wrote"):
        GenerationSpec.from_dict({**spec.to_dict(), **broken})
