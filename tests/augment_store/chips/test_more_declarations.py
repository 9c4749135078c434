"""Further inputs of each kind of declaration: other modalities and containers than those of `test_declarations`."""

import math
import re
import shutil
import subprocess
import unicodedata

import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, WktVersion
from rasterio.transform import Affine, from_origin
from zarr.storage import ZipStore

from augment_store.chips import geotiff
from augment_store.chips.band_names import order_bands
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.declarations import BandDeclaration, apply_declarations
from augment_store.chips.labels import read_labels
from augment_store.chips.zarr_attributes import declared_by_attributes
from augment_store.chips.zarr_zip import read_zarr_location
from augment_store.cli.main import main
from augment_store.errors import ChipDataError, ChipNotFoundError
from augment_store.modalities.definitions import DEM, S1RTC
from tests.augment_store.chips.test_declarations import ESA, SIDE, chip, optical, run_advice, write
from tests.conftest import ROOT
from tests.worlds import rasters

EAST, NORTH = 580_000, 4_510_000
WKT = rasterio.CRS.from_epsg(32618).to_wkt()


def radar():
    return rasters(0, SIDE)["S1RTC"][0].astype(np.float32)


def heights(side=SIDE):
    return rasters(0, side)["DEM"][0].astype(np.int16)


def write_group(root, name, arrays, version=2, **attributes):
    """Writes a zipped group of arrays, each a pair of values and names of dimensions."""
    path = root / name / "a.zarr.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipStore(path, mode="w") as store:
        group = zarr.create_group(store, zarr_format=version)
        for key, (values, dims) in arrays.items():
            named = {"_ARRAY_DIMENSIONS": list(dims)} if version == 2 and dims else {}
            three = {"dimension_names": dims} if version == 3 and dims else {}
            own = attributes if np.ndim(values) > 1 else {"crs_wkt": WKT} if key == "spatial_ref" else {}
            group.create_array(key, data=np.asarray(values), attributes=named | own, **three)
    layout = root / "layout.yaml"
    layout.write_text(f"name: x\nimages: {{{name}: {{files: '{name}/{{id}}.zarr.zip'}}}}\n")
    return chip(root, name, layout=str(layout))


# A: what a file declares about its values --------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "dropped"), [([*ESA, "mask"], "mask"), ([*ESA[:2], "SCL", *ESA[2:]], "SCL")]
)
def test_a_thirteenth_band_of_another_name_is_left_out(tmp_path, names, dropped):
    values = dict(zip(ESA, optical(), strict=True))
    values[dropped] = np.full((SIDE, SIDE), 4, np.uint16)
    write(tmp_path / "S2L2A" / "a.tif", np.stack([values[name] for name in names]), names=names)
    np.testing.assert_array_equal(chip(tmp_path).rasters["S2L2A"][0], optical())


def test_names_of_a_coordinate_are_those_of_the_file_itself(tmp_path):
    dims = ("band", "y", "x")
    given = {"one": ["VV", "VH"], "two": ["VH", "VV"], "again": ["VV", "VH"], "numbers": [1, 2]}
    found = {}
    for folder, names in given.items():
        coordinate = np.asarray(names, "<U2" if folder != "numbers" else "i2")
        arrays = {"bands": (radar(), dims), "band": (coordinate, ("band",))}
        found[folder] = write_group(tmp_path / folder, "S1RTC", arrays).rasters["S1RTC"][0]
    for folder in ("one", "again", "numbers"):
        np.testing.assert_array_equal(found[folder], radar())
    np.testing.assert_array_equal(found["two"], radar()[::-1])  # VV comes first in a chip


def test_only_the_last_band_is_taken_as_alpha(tmp_path):
    # as GDAL writes with ALPHA=YES: the second of thirteen bands is marked
    values = np.concatenate([optical(), np.full((1, SIDE, SIDE), 255, np.uint16)])
    file = write(tmp_path / "S2L2A" / "a.tif", values, ALPHA="YES")
    with rasterio.open(file) as source:
        assert source.colorinterp.index(ColorInterp.alpha) == 1
    with pytest.raises(
        ChipDataError, match=r"band 2 of 13 is marked as alpha, and is not the last; .* -colorinterp_2"
    ):
        chip(tmp_path)
    # where names say that it is a band, it is one
    write(tmp_path / "S2L2A" / "a.tif", values, ALPHA="YES", names=[*ESA, "mask"])
    np.testing.assert_array_equal(chip(tmp_path).rasters["S2L2A"][0], optical())


def test_an_alpha_band_beside_radar_and_the_mask_inside_hide_pixels_together(tmp_path):
    opaque = np.full((1, SIDE, SIDE), 255, np.float32)
    opaque[0, 3, 4] = 0
    write(tmp_path / "S1RTC" / "a.tif", np.concatenate([radar(), opaque]), alpha=True, mask="inside")
    found = chip(tmp_path, "S1RTC").rasters["S1RTC"][0]
    # the mask hides the first column of both bands, alpha one pixel more
    assert np.isnan(found[:, :, 0]).all()
    assert np.isnan(found).sum() == 2 * SIDE + 2


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    "limits", [{"valid_range": [1, 20_000]}, {"valid_min": 1, "valid_max": 20_000}, {"valid_max": 20_000}]
)
def test_values_outside_the_valid_range_are_missing(tmp_path, version, limits):
    values = optical()[None]
    values[0, 3, 0, 0] = 60_000
    found = write_group(tmp_path, "S2L2A", {"bands": (values, ())}, version, **limits)
    assert np.argwhere(found.rasters["S2L2A"] == -9999).tolist() == [[0, 3, 0, 0]]
    assert found.notes["S2L2A"][0].startswith("values outside the valid range")


def test_packing_may_differ_by_band_and_be_named_as_stac_does(tmp_path):
    packed = np.stack([np.full((SIDE, SIDE), -1500), np.full((SIDE, SIDE), -220)]).astype(np.int16)[None]
    packed[0, 1, 0, 0] = -32768
    found = write_group(
        tmp_path, "S1RTC", {"bands": (packed, ())}, 3, scale=[0.01, 0.1], offset=[0, 1], nodata=-32768
    ).rasters["S1RTC"]
    # -1500 · 0.01 = -15, and -220 · 0.1 + 1 = -21
    assert found[0, :, 1, 1].tolist() == [-15, -21]
    assert np.argwhere(np.isnan(found)).tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"missing_value": [65535, 0]},
            r"missing_value is '\[65535, 0\]'\); write it as one number, or one for each",
        ),
        ({"scale_factor": "ten"}, "scale_factor is 'ten'"),
    ],
)
def test_attributes_that_are_no_numbers_are_refused(tmp_path, declared, message):
    with pytest.raises(ChipDataError, match=message):
        write_group(tmp_path, "S2L2A", {"bands": (optical()[None], ())}, **declared)


@pytest.mark.parametrize(
    ("declared", "least", "most"),
    [
        # of the type of the scale, so of reflectance: 3000 is 0.3 / 0.0001
        ({"scale_factor": 1e-4, "valid_range": [0.1, 0.3]}, 1000, 3000),
        ({"scale_factor": -1e-4, "valid_range": [-0.3, -0.1]}, 1000, 3000),
        # a whole number is one of the stored values
        ({"scale_factor": 1e-4, "valid_range": [1000, 3000]}, 1000, 3000),
        ({"valid_range": "1000, 3000"}, 1000, 3000),
        ({"valid_range": "{1000,3000}"}, 1000, 3000),
        ({"valid_min": [1000, 1000], "valid_max": "3000"}, 1000, 3000),
        ({"valid_range": 3}, None, None),
        ({"valid_range": "many"}, None, None),
        ({"valid_min": [0, 1, 2]}, None, None),
    ],
    ids=str,
)
def test_a_valid_range_is_read_as_it_is_meant_and_refuses_no_file(tmp_path, declared, least, most):
    array = zarr.create_array({}, shape=(2, 4, 4), dtype="uint16")
    bands, notes = declared_by_attributes(declared, array, ["", ""], array.dtype)
    expected = (-math.inf, math.inf) if least is None else (least, most)
    assert [band.valid for band in bands] == [expected, expected]
    assert (len(notes) == 1 and notes[0].endswith("not used")) == (least is None)


def test_the_share_outside_the_valid_range_is_told(tmp_path):
    values = np.full((1, 2, SIDE, SIDE), 5, np.int16)
    values[0, 1, :16] = 50
    found = write_group(tmp_path, "S1RTC", {"bands": (values, ())}, valid_max=9)
    # half of one of two bands
    assert found.notes["S1RTC"] == ("values outside the valid range -inf to 9 are missing (25%)",)


@pytest.mark.parametrize(
    ("declared", "nodata", "most"),
    [({"_FillValue": -1}, 65535, math.inf), ({"valid_range": [0, -2]}, None, 65534)],
)
def test_numbers_beside_an_unsigned_array_of_netcdf_are_unsigned_too(tmp_path, declared, nodata, most):
    values = np.full((1, 2, SIDE, SIDE), -20_000, np.int16)
    values[0, 1, 0, 0] = -1
    found = write_group(tmp_path, "S1RTC", {"bands": (values, ())}, _Unsigned="true", **declared).rasters[
        "S1RTC"
    ]
    # −20000 of 16 bits is 45536
    assert found[0, :, 0, 0].tolist() == [45_536, -9999]
    array = zarr.create_array({}, shape=(1, 4, 4), dtype="int16")
    [band], _ = declared_by_attributes(declared, array, [""], np.dtype("uint16"))
    assert (band.nodata, band.valid[1]) == (nodata, most)


@pytest.mark.parametrize(
    "declared", [{"scale": 10}, {"scale": "10 m"}, {"scale": 10, "offset": 5}, {"offset": "north"}]
)
def test_a_general_attribute_is_no_packing(declared):
    array = zarr.create_array({}, shape=(2, 4, 4), dtype="uint16")
    bands, [note] = declared_by_attributes(declared | {"units": ["1", "dB"]}, array, ["", ""], array.dtype)
    assert [(band.scale, band.offset, band.unit) for band in bands] == [(1.0, 0.0, "1"), (1.0, 0.0, "dB")]
    assert note.startswith(f"{next(iter(declared))} ")
    assert "not applied" in note


def test_no_data_of_some_bands_of_format_2_is_that_of_the_attribute():
    array = zarr.create_array({}, shape=(2, 4, 4), dtype="int16", fill_value=7, zarr_format=2)
    bands, _ = declared_by_attributes({"nodatavals": [None, 5]}, array, ["", ""], array.dtype)
    assert [band.nodata for band in bands] == [None, 5]


@pytest.mark.parametrize("version", [2, 3])
def test_only_arrays_that_are_there_are_asked_for_the_place(tmp_path, monkeypatch, version):
    write_group(tmp_path, "DEM", {"bands": (heights(), ()), "spatial_ref": (np.int64(0), ())}, version)
    asked, get = [], zarr.Group.get
    monkeypatch.setattr(zarr.Group, "get", lambda group, name: asked.append(name) or get(group, name))
    system, transform = read_zarr_location(tmp_path / "DEM" / "a.zarr.zip")
    assert (system, transform) == (WKT, None)
    assert asked == ["spatial_ref", "bands"]


@pytest.mark.parametrize(
    ("nodata", "missing"),
    [(65_535, True), (65_535.5, False), (math.inf, False), (70_000, False), (-1, False)],
)
def test_no_data_is_compared_as_integers_have_it(nodata, missing):
    values = np.full((1, 1, 2, 2), 7, np.uint16)
    values[..., 0, 0] = 65_535
    found, notes = apply_declarations(values, [BandDeclaration(nodata=nodata)], None, DEM, "a.tif")
    assert found[0, 0].tolist() == [[-9999 if missing else 65_535, 7], [7, 7]]
    assert notes == (("no data 65535",) if missing else ())


def test_the_order_of_bands_is_found_once_for_files_that_name_them_alike():
    first, second = (order_bands(("VH", "VV"), S1RTC, S1RTC.bands, 1, described=False) for _ in range(2))
    assert first is second
    assert first.index.tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="read-only"):
        first.index[0, 0] = 0


@pytest.mark.filterwarnings("ignore:The data type")  # zarr, of text in format 3
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axis", ["polarization", "wavelength"])
def test_names_of_bands_are_those_of_their_own_dimension(tmp_path, version, axis):
    arrays = {
        "backscatter": (radar()[::-1].transpose(1, 2, 0).copy(), ("y", "x", axis)),
        axis: (np.array(["vh", "vv"]), (axis,)),
    }
    found = write_group(tmp_path, "S1RTC", arrays, version).rasters["S1RTC"][0]
    np.testing.assert_array_equal(found, radar())


@pytest.mark.filterwarnings("ignore:Duplicate name")  # xarray writes attributes twice into a zip file
def test_a_variable_for_each_band_is_joined_each_with_its_own_packing(tmp_path):
    path = tmp_path / "S2L2A" / "a.zarr.zip"
    path.parent.mkdir()
    data = {
        name: (("y", "x"), band.astype(np.float32) / 1e4) for name, band in zip(ESA, optical(), strict=True)
    }
    data["SCL"] = (("y", "x"), np.full((SIDE, SIDE), 4, np.uint8))
    packing = {"dtype": "uint16", "scale_factor": 1e-4, "add_offset": -0.1, "_FillValue": 0}
    encoding = {name: dict(packing) for name in ESA} | {"B02": packing | {"scale_factor": 2e-4}}
    with ZipStore(path, mode="w") as store:
        xr.Dataset(data).to_zarr(store, encoding=encoding, consolidated=False, zarr_format=3)
    layout = tmp_path / "layout.yaml"
    layout.write_text("name: x\nimages: {S2L2A: {files: 'S2L2A/{id}.zarr.zip'}}\n")
    found = chip(tmp_path, layout=str(layout)).rasters["S2L2A"][0]
    # B02 is stored in steps of 2, the others as they are
    np.testing.assert_allclose(found, optical(), atol=1.01)
    np.testing.assert_allclose(found[2:], optical()[2:], atol=0.01)


def test_arrays_with_the_channels_last_say_so(tmp_path):
    np.save(tmp_path / "S1_a.npy", radar().transpose(1, 2, 0))
    layout = tmp_path / "layout.yaml"
    layout.write_text("name: x\nimages: {S1GRD: {files: 'S1_{id}.npy'}}\n")
    with pytest.raises(ChipDataError, match="32 bands; its last axis has 2: write band, y, x"):
        chip(tmp_path, "S1GRD", layout=str(layout))


@pytest.mark.parametrize("unit", ["[m]", "unknown", "Foot (US survey)"])
def test_units_in_brackets_are_understood(tmp_path, unit):
    write(tmp_path / "DEM" / "a.tif", np.full((1, SIDE, SIDE), 3937, np.int16), unit=unit)
    # 3937 US survey feet are 1200 m by definition
    expected = 1200 if "Foot" in unit else 3937
    assert chip(tmp_path, "DEM").rasters["DEM"][0, 0, 0, 0] == pytest.approx(expected, abs=1e-3)


def test_a_vertical_system_in_feet_is_a_unit(tmp_path):
    write(tmp_path / "DEM" / "a.tif", np.full((1, SIDE, SIDE), 3937, np.int16), crs="EPSG:2263+6360")
    found = chip(tmp_path, "DEM")
    assert found.rasters["DEM"][0, 0, 0, 0] == pytest.approx(1200, abs=1e-3)
    assert found.notes["DEM"] == ("unit US survey foot",)


@pytest.mark.parametrize(
    "profile",
    [
        {"BIGTIFF": "YES"},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "lzw", "interleave": "pixel"},
        {"ENDIANNESS": "BIG"},
        {"compress": "deflate", "predictor": 2},
    ],
    ids=str,
)
def test_how_a_tiff_is_stored_changes_nothing(tmp_path, profile):
    write(tmp_path / "S2L2A" / "a.tif", optical(), **profile)
    found = chip(tmp_path)
    np.testing.assert_array_equal(found.rasters["S2L2A"][0], optical())
    assert not found.notes


def test_no_folder_is_listed_for_any_page_of_a_tiff(tmp_path, monkeypatch):
    with rasterio.open(write(tmp_path / "p.tif", optical()[:1])) as source:
        page, profile = source.read(), source.profile
    with rasterio.open(tmp_path / "p.tif", "w", APPEND_SUBDATASET=True, **profile) as file:
        file.write(page + 1)
    listed, read = [], geotiff.read_dataset

    def reading(source):
        listed.append(rasterio.env.getenv()["GDAL_DISABLE_READDIR_ON_OPEN"])
        return read(source)

    monkeypatch.setattr(geotiff, "read_dataset", reading)
    values = geotiff.read_geotiff(tmp_path / "p.tif").values
    np.testing.assert_array_equal(values[0], np.concatenate([page, page + 1]))
    assert listed == ["TRUE", "TRUE"]


def test_zeros_of_a_scaled_level_1c_are_missing_by_band(tmp_path):
    values = np.concatenate([optical(), optical()[:1]]) + 1000
    values[3, 0, 0], values[:, 0, 1] = 0, 0
    write(tmp_path / "S2L1C" / "a.tif", values, offset=-1000)
    found = chip(tmp_path, "S2L1C").rasters["S2L1C"][0]
    assert np.isnan(found[:, 0, 0]).nonzero()[0].tolist() == [3]
    assert np.isnan(found[:, 0, 1]).all()
    assert found[3, 1, 1] == values[3, 1, 1] - 1000


# E: where files lie ------------------------------------------------------------------------------------


def grid_lines(root, capsys):
    """Returns what `layouts check` says about grids, and its exit status."""
    status = main(["layouts", "check", "folders", "--chips", str(root)])
    told = capsys.readouterr().out.splitlines()
    return status, [line for line in told if line.startswith("grid")]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            {"transform": Affine.translation(EAST, NORTH) * Affine.rotation(30) * Affine.scale(10, -10)},
            "pixels apart",
        ),
        ({"transform": Affine(0, 10, EAST, -10, 0, NORTH)}, "one is mirrored"),  # transposed
        ({"transform": Affine(-10, 0, EAST + 10 * SIDE, 0, -10, NORTH)}, "one is mirrored"),
        ({"transform": from_origin(EAST, NORTH, 9.9, 9.9)}, "0.5 pixels apart"),  # 32 · 0.1 m in x and in y
        ({"crs": "EPSG:32619"}, "EPSG:32619 and EPSG:32618"),
    ],
)
def test_rotated_turned_and_stretched_grids_are_told_apart(tmp_path, capsys, place, said):
    write(tmp_path / "S2L2A" / "a.tif", optical())
    write(tmp_path / "DEM" / "a.tif", heights(), **place)
    status, [line] = grid_lines(tmp_path, capsys)
    assert status == 1
    assert said in line


def test_a_system_with_heights_and_one_by_another_writer_are_the_same_place(tmp_path, capsys):
    write(tmp_path / "S2L2A" / "a.tif", optical())
    write(tmp_path / "DEM" / "a.tif", heights(), crs="EPSG:32618+5773")
    esri = rasterio.CRS.from_epsg(32618).to_wkt(version=WktVersion.WKT1_ESRI)
    write(tmp_path / "S1RTC" / "a.tif", radar(), crs=rasterio.CRS.from_wkt(esri))
    assert grid_lines(tmp_path, capsys) == (0, [])


@pytest.mark.parametrize("version", [2, 3])
def test_a_south_up_zarr_beside_a_north_up_tiff_is_found(tmp_path, capsys, version):
    centers = 10 * np.arange(SIDE) + 5.0
    arrays = {
        "bands": (optical()[None], ()),
        "x": (EAST + centers, ()),
        "y": (NORTH - centers[::-1], ()),
        "spatial_ref": (np.int64(0), ()),
    }
    write_group(tmp_path, "S2L2A", arrays, version)
    write(tmp_path / "DEM" / "a.tif", heights())
    layout = tmp_path / "layout.yaml"
    layout.write_text(
        "name: x\nimages: {S2L2A: {files: 'S2L2A/{id}.zarr.zip'}, DEM: {files: 'DEM/{id}.tif'}}\n"
    )
    assert main(["layouts", "check", str(layout), "--chips", str(tmp_path)]) == 1
    assert "one is mirrored, as south-up rasters are" in capsys.readouterr().out


# F: masks ----------------------------------------------------------------------------------------------


def classes():
    labels = np.zeros((1, SIDE, SIDE), np.uint8)
    labels[0, :8] = 1
    return labels


def one_hot():
    return np.concatenate([classes() == 0, classes() == 1]).astype(np.uint8)


def test_no_data_of_one_hot_masks_is_ignored(tmp_path):
    with_nan = one_hot().astype(np.float32)
    with_nan[:, 0, 1] = np.nan
    assert np.argwhere(read_labels(write(tmp_path / "n.tif", with_nan), "one-hot").labels == -1).tolist() == [
        [0, 1]
    ]
    declared = one_hot()
    declared[:, 0, 1] = 255
    found = read_labels(write(tmp_path / "d.tif", declared, nodata=255), "one-hot")
    assert np.argwhere(found.labels == -1).tolist() == [[0, 1]]
    assert found.declared == "the file declares 255 as no data"
    # 0 is also what the other classes' bands hold
    zero = one_hot()
    zero[:, 0, 1] = 0
    found = read_labels(write(tmp_path / "z.tif", zero, nodata=0), "one-hot")
    assert np.argwhere(found.labels == -1).tolist() == [[0, 1]]
    assert read_labels(write(tmp_path / "z.tif", one_hot(), nodata=0), "one-hot").declared == ""
    masked = read_labels(write(tmp_path / "m.tif", one_hot(), mask="inside"), "one-hot")
    assert (masked.labels[:, 0] == -1).all()
    assert np.unique(masked.labels[:, 1:]).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("values", "options", "band", "message"),
    [
        (one_hot()[1:], {}, "one-hot", "1 band; a one-hot mask has one for each class: leave out"),
        (one_hot() * 255, {}, "one-hot", "not one-hot; expected 0 and 1"),
        (one_hot() * np.float32(0.9), {}, "one-hot", "not one-hot"),
        (
            classes(),
            {"scale": 2.0, "offset": 1.0},
            None,
            r"declares scale 2 and offset 1; .* -scale 1 -offset 0",
        ),
        (classes().astype(np.uint32) * 4294967295, {}, None, r"label 4294967295; .* -a_nodata"),
        (classes().astype(np.complex64), {}, None, "complex values"),
    ],
)
def test_masks_that_cannot_be_labels_say_why(tmp_path, values, options, band, message):
    with pytest.raises(ChipDataError, match=message):
        read_labels(write(tmp_path / "m.tif", values, **options), band)


@pytest.mark.parametrize(("dtype", "code"), [(np.int8, -128), (np.float32, -9999)])
def test_a_negative_label_is_named_with_the_key_that_ignores_it(tmp_path, dtype, code):
    values = classes().astype(dtype)
    values[0, 0, 0] = code
    write(tmp_path / "S2L2A" / "a.tif", optical())
    write(tmp_path / "MASK" / "a.tif", values)
    with pytest.raises(ChipDataError, match=rf"label {code}; .* ignored_labels: \[{code}\]"):
        ChipSet.open(tmp_path).mask("a")
    layout = tmp_path / "layout.yaml"
    layout.write_text(
        "name: x\nimages: {S2L2A: {files: 'S2L2A/{id}.tif'}}\nmask: 'MASK/{id}.tif'\n"
        f"ignored_labels: [{code}]\n"
    )
    assert np.unique(ChipSet.open(tmp_path, str(layout)).mask("a")).tolist() == [-1, 0, 1]


def test_a_palette_and_an_alpha_band_change_no_label(tmp_path):
    file = tmp_path / "p.tif"
    shape = {"count": 1, "height": SIDE, "width": SIDE, "dtype": "uint8", "photometric": "palette"}
    shape["transform"] = from_origin(EAST, NORTH, 10, 10)
    with rasterio.open(file, "w", driver="GTiff", **shape) as target:
        target.write(classes())
        # class 0 is drawn transparent, which is no statement about data
        target.write_colormap(1, {0: (0, 0, 0, 0), 1: (255, 0, 0, 255)})
    np.testing.assert_array_equal(read_labels(file).labels, classes()[0])
    opaque = np.full((1, SIDE, SIDE), 255, np.uint8)
    opaque[0, 0, 0] = 0
    found = read_labels(write(tmp_path / "a.tif", np.concatenate([classes(), opaque]), alpha=True))
    assert np.argwhere(found.labels == -1).tolist() == [[0, 0]]


def test_a_mask_compressed_as_jpeg_is_told(tmp_path, capsys):
    write(tmp_path / "S2L2A" / "a.tif", optical())
    write(tmp_path / "MASK" / "a.tif", classes(), compress="jpeg")
    main(["layouts", "check", "folders", "--chips", str(tmp_path)])
    assert "MASK: compressed as JPEG, which blurs values and mixes labels" in capsys.readouterr().out


@pytest.mark.parametrize("declared", [{"_FillValue": 0}, {"missing_value": 0}, {"valid_min": 1}])
def test_no_data_of_a_zarr_mask_is_ignored(tmp_path, declared):
    path = tmp_path / "m.zarr.zip"
    with ZipStore(path, mode="w") as store:
        group = zarr.create_group(store)
        group.create_array("bands", data=classes().astype(np.int16), attributes=declared)
    assert np.unique(read_labels(path).labels).tolist() == [-1, 1]


# H: text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".TIF", ".Tif", ".TIFF", ".tiff"])
def test_file_types_in_any_case(tmp_path, kind):
    write(tmp_path / "S1RTC" / f"a{kind}", radar())
    np.testing.assert_array_equal(chip(tmp_path, "S1RTC").rasters["S1RTC"][0], radar())


@pytest.mark.parametrize(
    "lines",
    [
        b"\xef\xbb\xbfa\r\nb\r\n",
        b"/abs/S2L2A/a.tif\nb.TIF\n",
        b"S2L2A\\a.tif\nS2L2A\\b.tiff\n",
        b"a\rb\r",
        b"a\n\xc2\xa0b\n\n",
    ],
)
def test_split_files_of_other_systems(tmp_path, lines):
    for name in ("a", "b"):
        write(tmp_path / "S2L2A" / f"{name}.tif", optical())
    (tmp_path / "train.txt").write_bytes(lines)
    assert ChipSet.open(tmp_path).read_split(tmp_path / "train.txt") == ("a", "b")


def test_a_mask_whose_accents_are_spelled_otherwise_belongs_to_its_chip(tmp_path):
    composed, apart = (unicodedata.normalize(form, "é1") for form in ("NFC", "NFD"))
    write(tmp_path / "S2L2A" / f"{composed}.tif", optical())
    write(tmp_path / "MASK" / f"{apart}.TIF", classes())
    np.testing.assert_array_equal(ChipSet.open(tmp_path).mask(composed), classes()[0])


# J and K: `cut` ----------------------------------------------------------------------------------------

VRT = """<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32618</SRS>
<GeoTransform>580000, 10, 0, 4510000, 0, -10</GeoTransform>{bands}</VRTDataset>"""
BAND = """<VRTRasterBand dataType="{kind}" band="{number}">{said}<SimpleSource>
<SourceFilename relativeToVRT="1">{file}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"""


def cut(folder, *pairs):
    return main(["cut", *pairs, "--out", str(folder / "chips"), "--size", "16", "--scene", "s"])


def test_cut_reads_bands_of_several_types_each_with_its_own_no_data(tmp_path, capsys):
    vv, vh = radar()[:1], radar()[1:].astype(np.float64)
    vv[0, 0, :2], vh[0, 0, :2] = (-99, -77), (-99, -77)
    bands = ""
    for number, (values, kind, nodata) in enumerate([(vv, "Float32", -99), (vh, "Float64", -77)], start=1):
        write(tmp_path / f"{number}.tif", values)
        said = f"<NoDataValue>{nodata}</NoDataValue>"
        bands += BAND.format(kind=kind, number=number, file=f"{number}.tif", said=said)
    (tmp_path / "s1.vrt").write_text(VRT.format(side=SIDE, bands=bands))
    assert cut(tmp_path, f"S1RTC={tmp_path / 's1.vrt'}") == 0
    assert "bands of types float32, float64 read as float64" in capsys.readouterr().out
    found = ChipSet.open(tmp_path / "chips").raster("s_r000c000", "S1RTC")[0]
    # −77 is no data in VH alone, −99 in VV alone
    assert np.isnan(found[:, 0, 0]).tolist() == [True, False]
    assert np.isnan(found[:, 0, 1]).tolist() == [False, True]


def test_cut_widens_int8_of_a_dem_and_refuses_complex_radar(tmp_path, capsys):
    low = np.full((1, SIDE, SIDE), 100, np.int8)
    low[0, 0, 0] = -128
    write(tmp_path / "dem.tif", low, nodata=-128)
    assert cut(tmp_path, f"DEM={tmp_path / 'dem.tif'}") == 0
    found = ChipSet.open(tmp_path / "chips").raster("s_r000c000", "DEM")
    assert (found.dtype, found[0, 0, 0, :2].tolist()) == (np.int16, [-9999, 100])
    capsys.readouterr()
    write(tmp_path / "slc.tif", radar().astype(np.complex64))
    (tmp_path / "radar").mkdir()  # a set of its own: all chips of one have the same inputs
    assert cut(tmp_path / "radar", f"S1GRD={tmp_path / 'slc.tif'}") == 2
    told = capsys.readouterr().err
    assert "complex values); compute their power or amplitude first" in told
    assert told.count("\n") == 1


def write_by_points(path, values):
    """Writes a raster that lies by ground control points, as radar's own products do."""
    side = values.shape[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    points = [
        GroundControlPoint(row, column, EAST + 10 * column, NORTH - 10 * row)
        for row in (0, side)
        for column in (0, side)
    ]
    shape = {"count": len(values), "height": side, "width": side, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape) as file:
        file.gcps = (points, rasterio.CRS.from_epsg(32618))
        file.write(values)


def needs_gdal():
    if shutil.which("gdalwarp") is None or shutil.which("gdal_edit.py") is None:
        pytest.skip("no GDAL commands here")


@pytest.mark.slow  # starts gdalwarp
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_the_advice_for_ground_control_points_helps(tmp_path, capsys):
    needs_gdal()
    write_by_points(tmp_path / "s1.tif", radar())
    write(tmp_path / "s2.tif", optical())
    pairs = [f"S2L2A={tmp_path / 's2.tif'}", f"S1RTC={tmp_path / 's1.tif'}"]
    assert cut(tmp_path, *pairs) == 2
    told = capsys.readouterr().err.strip()
    assert "lies by 4 ground control points and has no grid" in told
    mended = run_advice(told, tmp_path)
    assert cut(tmp_path, pairs[0], f"S1RTC={mended}") == 0
    found = ChipSet.open(tmp_path / "chips").raster("s_r000c000", "S1RTC")[0]
    np.testing.assert_array_equal(found, radar()[:, :16, :16])


@pytest.mark.slow  # starts gdal_edit
def test_the_advice_for_a_band_marked_as_alpha_and_for_a_scaled_mask_helps(tmp_path):
    needs_gdal()
    file = write(tmp_path / "S2L2A" / "a.tif", optical(), ALPHA="YES")
    with pytest.raises(ChipDataError, match="marked as alpha") as refused:
        chip(tmp_path)
    edit(str(refused.value), file)
    np.testing.assert_array_equal(chip(tmp_path).rasters["S2L2A"][0], optical())
    mask = write(tmp_path / "m.tif", classes(), scale=2.0)
    with pytest.raises(ChipDataError, match="labels are class numbers") as scaled:
        read_labels(mask)
    edit(str(scaled.value), mask)
    np.testing.assert_array_equal(read_labels(mask).labels, classes()[0])


def edit(told, file):
    """Runs the command in brackets of a message on a file."""
    command = told.partition("(gdal_edit.py")[2].partition(")")[0].split()
    subprocess.run(["gdal_edit.py", *command, str(file)], check=True, capture_output=True)


# G: a file that is not what is expected ----------------------------------------------------------------


def test_files_that_hold_something_else_each_say_what_is_there(tmp_path):
    with pytest.raises(ChipDataError, match=r"no array 'bands'; it holds canopy, surface"):
        write_group(tmp_path, "DEM", {name: (heights(), ()) for name in ("surface", "canopy")})
    (tmp_path / "S2L2A").mkdir()
    (tmp_path / "S2L2A" / "a.tif").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(ChipDataError, match="not a TIFF"):
        chip(tmp_path, layout="folders")
    (tmp_path / "S2L2A" / "a.tif").write_bytes(b"<!DOCTYPE html><title>403</title>")
    with pytest.raises(ChipDataError, match=r"a web page or XML, .* download the file again"):
        chip(tmp_path, layout="folders")


def test_a_file_that_is_gone_names_one_that_is_there(tmp_path):
    write(tmp_path / "DEM" / "b.tif", heights())
    with pytest.raises(ChipNotFoundError, match="such as 'b'"):
        ChipSet.open(tmp_path).read("a", ["DEM"])


# The table of the page ---------------------------------------------------------------------------------


def test_every_kind_of_the_page_names_tests_that_are_there():
    text = (ROOT / "docs/reference/inputs.md").read_text()
    table = [line for line in text.splitlines() if re.match(r"\| [A-L]\d? ", line)]
    assert {line[2] for line in table} == set("ABCDEFGHIJKL")
    for line in table:
        named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", line)
        assert len(named) >= 2, line
        for path, name in named:
            assert f"\ndef {name}(" in (ROOT / "tests" / path).read_text(), name
