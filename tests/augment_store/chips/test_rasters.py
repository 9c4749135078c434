"""NumPy series: PASTIS's files by its layout, timesteps of irregular series, and files that are none."""

import numpy as np
import pytest

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.rasters import MAX_RASTER_BYTES, read_raster
from augment_store.cli.main import main
from augment_store.errors import ChipDataError
from augment_store.modalities.definitions import S2L2A
from tests.pastis import BANDS, FOLDS, write_pastis
from tests.worlds import rasters, write_tif


@pytest.fixture
def root(tmp_path):
    return write_pastis(tmp_path / "pastis")


def test_pastis_is_found_by_its_files(root):
    chips = ChipSet.open(root)
    assert (chips.layout.name, chips.ids) == ("pastis", tuple(FOLDS))
    assert chips.modalities == ("S2L2A", "S1GRD")
    chip = chips.read("10001", ["S2L2A", "S1GRD"])  # eight dates: 7/5 apart, so 0, 1.4, 2.8, 4.2, 5.6 and 7
    dates = [0, 1, 3, 4, 6, 7]
    optical, radar = (np.load(root / path) for path in ("DATA_S2/S2_10001.npy", "DATA_S1A/S1A_10001.npy"))
    np.testing.assert_array_equal(chip.rasters["S1GRD"], radar[dates, :2])
    assert chip.series_index(["S1GRD", "S2L2A"]).tolist() == [dates, dates]
    present = [S2L2A.bands.index(band) for band in BANDS]
    np.testing.assert_array_equal(chip.rasters["S2L2A"][:, present], optical[dates])
    assert np.unique(chip.rasters["S2L2A"][:, [0, 9]]).tolist() == [-9999]
    assert chips.mask("10000")[1, :4].tolist() == [1, 1, 1, -1]


def test_each_modality_has_dates_of_its_own(root):
    radar = root / "DATA_S1A/S1A_10001.npy"
    np.save(radar, np.concatenate([np.load(radar)] * 2)[:11])  # eleven dates, so every second one
    chip = ChipSet.open(root).read("10001", ["S2L2A", "S1GRD"])
    assert chip.series_index(["S2L2A", "S1GRD"]).tolist() == [[0, 1, 3, 4, 6, 7], [0, 2, 4, 6, 8, 10]]


def test_every_chip_has_the_same_number_of_timesteps(root, capsys):
    chips = ChipSet.open(root)
    assert {chips.read(chip_id, ["S2L2A"]).timesteps for chip_id in chips.ids} == {6}
    np.save(root / "DATA_S2" / "S2_10000.npy", np.load(root / "DATA_S2" / "S2_10000.npy")[:5])
    with pytest.raises(ChipDataError, match=r"S2_10000.npy: 5 timesteps; the layout takes 6, evenly spaced"):
        chips.raster("10000", "S2L2A")
    assert main(["layouts", "check", "pastis", "--chips", str(root)]) == 1
    told = capsys.readouterr().out
    assert "S2_10000.npy: 5 timesteps" in told
    assert "6 timesteps of 32 px, S2L2A int16, S1GRD float32\n" in told


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{"a": 1}], dtype=object), "Python objects in dtype"),
        (np.zeros((2, 2), dtype="U3"), "data type <U3, expected numbers"),
        (np.zeros((1, 1, 1, 2, 2)), "5 dimensions"),
    ],
)
def test_arrays_that_are_no_raster_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ChipDataError, match=message):
        read_raster(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("shape", "held", "message"),
    [
        ((100_000, 100_000), 16, "mmap length is greater than file size"),
        ((MAX_RASTER_BYTES + 1, 1), MAX_RASTER_BYTES + 1, "declares 1.0 GiB, at most 1 are read"),
    ],
)
def test_a_file_that_declares_too_much_takes_no_memory(tmp_path, shape, held, message):
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + held)  # sparse: no block of the disk is taken
    with pytest.raises(ChipDataError, match=rf"a.npy: cannot be read \({message}"):
        read_raster(tmp_path / "a.npy")


def test_a_bit_that_makes_one_band_many_takes_no_minutes(tmp_path):
    """Bit 735 of this file is the highest of SamplesPerPixel: 32,769 bands of 16 × 16, which fit into memory."""
    path = tmp_path / "a.tif"
    write_tif(path, rasters(0, 16)["DEM"][0])
    content = bytearray(path.read_bytes())
    content[735 // 8] ^= 1 << 735 % 8
    path.write_bytes(content)
    with pytest.raises(ChipDataError, match=r"declares 32,769 bands, at most 4,096 are read"):
        read_raster(path)
