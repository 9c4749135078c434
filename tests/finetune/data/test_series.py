"""Dates of another datamodule's samples: those of the store are taken, told ones compared, and the rest left alone."""

import numpy as np
import pytest
import torch

from augment_store.errors import StoreError
from finetune.data.series import MisalignedSampleError, StoreDates, take_dates
from tests.worlds import make_spec, make_store

SERIES = [-1, 4, 9, 14, 19, 24, 29]
"""Days of a chip's seven dates, the first on the day before PASTIS counts from."""

TAKEN = {"S2L2A": [0, 2, 6], "S1GRD": [0, 4, 8]}
"""Positions in the chip's files that the store was generated from; radar has nine dates."""


class Told:
    """What TerraTorch's PASTIS has of a chip."""

    id_patches = (7,)

    def get_dates(self, patch, satellite):
        assert (patch, satellite) == (7, "S2")
        return np.array(SERIES)


def store_dates(timesteps=(0, 1, 2), taken=TAKEN):
    return StoreDates(timesteps, tuple(taken), {"a": np.array(list(taken.values()), np.int32)})


def numbered(*places):
    """An image ``[1, T, 2, 2]`` whose values are the positions of its dates."""
    return torch.tensor(places).view(1, -1, 1, 1).expand(1, -1, 2, 2)


def told(*places, days=None):
    days = [SERIES[place] for place in places] if days is None else days
    raw = np.zeros((len(places), 1, 2, 2))
    return {"image": numbered(*places), "S2": raw, "dates": {"S2": torch.tensor(days), "S1A": torch.zeros(2)}}


def dates_in(image):
    return image[0, :, 0, 0].tolist()


@pytest.mark.parametrize(("timesteps", "expected"), [((0, 1, 2), [0, 2, 6]), ((2,), [6]), ((2, 0), [6, 0])])
def test_a_whole_series_is_cut_to_the_dates_of_the_store(timesteps, expected):
    dates = store_dates(timesteps)
    for dataset, sample in ((object(), {"image": numbered(*range(7))}), (Told(), told(*range(7)))):
        assert dates_in(take_dates(dataset, 0, sample, dates, "a")["image"]) == expected


def test_what_belongs_to_the_dates_is_cut_with_them():
    made = take_dates(Told(), 0, told(*range(7)), store_dates(), "a")
    assert made["dates"]["S2"].tolist() == [-1, 9, 29]
    assert made["S2"].shape == (3, 1, 2, 2)
    assert made["dates"]["S1A"].shape == (2,)


def test_each_modality_is_cut_to_its_own_dates():
    image = {"S2L2A": numbered(*range(7)), "S1GRD": numbered(*range(9)), "DEM": torch.zeros(1, 2, 2)}
    made = take_dates(object(), 0, {"image": image}, store_dates(), "a")["image"]
    assert [dates_in(made[name]) for name in TAKEN] == [[0, 2, 6], [0, 4, 8]]
    assert made["DEM"].shape == (1, 2, 2)
    with pytest.raises(
        MisalignedSampleError, match=r"its S1GRD has 9 timesteps, 3 are joined.* generated from S2L2A$"
    ):
        take_dates(object(), 0, {"image": image}, store_dates(taken={"S2L2A": [0, 2, 6]}), "a")


def test_an_image_without_a_modality_is_cut_by_one_that_has_a_series():
    radar = store_dates(taken={"DEM": [0, 0, 0], "S1GRD": [0, 4, 8]})
    assert dates_in(take_dates(object(), 0, {"image": numbered(*range(9))}, radar, "a")["image"]) == [0, 4, 8]


def test_told_dates_are_found_wherever_they_are():
    padded = told(0, 0, 0, 1, 2, 6, days=[-1, -1, -1, 4, 9, 29])  # PASTIS pads in front, with day −1
    assert dates_in(take_dates(Told(), 0, padded, store_dates(), "a")["image"]) == [0, 2, 6]
    same = told(0, 2, 6)
    assert dates_in(take_dates(Told(), 0, same, store_dates(), "a")["image"]) == [0, 2, 6]


def test_told_dates_that_are_others_are_refused():
    with pytest.raises(MisalignedSampleError) as caught:  # the last three, as PASTIS truncates
        take_dates(Told(), 0, told(4, 5, 6), store_dates(), "a")
    assert str(caught.value) == (
        "its dates are at the positions 4 5 6 of the chip's series, those of the store at 0 2 6; let the datamodule "
        "take the whole series, or generate from the dates that it takes"
    )
    longer = store_dates(taken={"S2L2A": [0, 2, 7]})  # one date more than the dataset knows of
    with pytest.raises(MisalignedSampleError, match="those of the store at 0 2 7"):
        take_dates(Told(), 0, told(*range(7)), longer, "a")


@pytest.mark.parametrize(
    ("image", "taken", "chip_id"),
    [
        (numbered(4, 5, 6), TAKEN, "a"),  # as many as the store has: nothing tells which
        (numbered(0, 1), TAKEN, "a"),  # fewer, which the dataset refuses
        (torch.zeros(1, 2, 2), TAKEN, "a"),  # one date
        (numbered(0, 1, 2), {"DEM": [0, 0, 0]}, "a"),  # a file of one timestep stands for each
        (numbered(*range(7)), TAKEN, "b"),  # a chip that the store does not have
    ],
)
def test_other_samples_stay_as_they_are(image, taken, chip_id):
    assert take_dates(object(), 0, {"image": image}, store_dates(taken=taken), chip_id)["image"] is image


@pytest.mark.parametrize("times", [6, 8])
def test_neither_the_whole_series_nor_as_many_is_refused(times):
    with pytest.raises(MisalignedSampleError) as caught:
        take_dates(object(), 0, {"image": numbered(*range(times))}, store_dates(), "a")
    assert str(caught.value) == (
        f"its image has {times} timesteps, the series that the store was generated from 7, of which those at 0 2 6 are "
        "joined; let the datamodule take the whole series, or as many as are joined"
    )


def test_dates_of_radar_say_nothing_of_an_optical_image():
    radar = store_dates(taken={"S1GRD": [0, 4, 8]})
    assert dates_in(take_dates(Told(), 0, told(4, 5, 6), radar, "a")["image"]) == [4, 5, 6]


def test_positions_are_read_of_complete_chips(tmp_path):
    taken = np.array([[0, 3], [0, 5]], np.int32)
    spec = make_spec(inputs=("S2L2A", "S1RTC"))
    first = {"scene0_r0c0": {"series_index": taken}}
    store = make_store(tmp_path / "s", 3, timesteps=2, spec=spec, pending=1, given=first)
    dates = StoreDates.read(store, store.chip_ids, (1,))
    assert set(dates.positions) == set(store.chip_ids[:2])
    assert dates.described() == "positions S2L2A 3, S1RTC 5 in the files of chip scene0_r0c0"
    first["scene0_r0c0"]["series_index"] = taken[:, ::-1]
    wrong = make_store(tmp_path / "wrong", 1, timesteps=2, spec=spec, given=first)
    with pytest.raises(
        StoreError, match="series_index of chip scene0_r0c0 is not in order; look at it with verify"
    ):
        StoreDates.read(wrong, wrong.chip_ids, (1,))
    single = StoreDates.read(make_store(tmp_path / "one", 1), ["scene0_r0c0"], (0,))
    assert (single.of("scene0_r0c0"), single.described()) == ({}, "")
