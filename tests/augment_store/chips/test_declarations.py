"""What files say about their values beside them: applied, or refused by name."""

import shlex
import shutil
import struct
import subprocess
import zipfile

import numpy as np
import pytest
import rasterio
import zarr
from rasterio.enums import ColorInterp
from rasterio.transform import Affine, from_origin
from zarr.storage import ZipStore

from augment_store.chips.band_names import is_numbered, known_band
from augment_store.chips.chip_set import ChipSet
from augment_store.chips.georeference import read_georeference
from augment_store.cli.main import main
from augment_store.errors import ChipDataError, ChipSetError
from augment_store.modalities.definitions import S1RTC, S2L2A
from tests.worlds import rasters, write_folder_chips, write_tif

SIDE = 32
ESA = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]


def write(path, values, *, names=None, scale=1.0, offset=0.0, unit=None, mask=None, alpha=None, **profile):
    """Writes ``[C, H, W]`` as a GeoTIFF with declarations."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    profile = {"crs": "EPSG:32618", "transform": from_origin(580_000, 4_510_000, 10, 10)} | profile
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=mask != "beside"),
        rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file,
    ):
        if alpha is not None:  # before the first pixel, after which GDAL keeps no interpretation
            file.colorinterp = (
                [ColorInterp.gray] + [ColorInterp.undefined] * (count - 2) + [ColorInterp.alpha]
            )
        file.write(values)
        if names:
            file.descriptions = names
        file.scales, file.offsets = (scale,) * count, (offset,) * count
        if unit:
            file.units = (unit,) * count
        if mask is not None:
            shown = np.full((height, width), 255, np.uint8)
            shown[:, 0] = 0
            file.write_mask(shown)
    return path


def chip(root, name="S2L2A", **layout):
    return ChipSet.open(root, **layout).read("a", [name])


def optical():
    return rasters(0, SIDE)["S2L2A"][0].astype(np.uint16)


@pytest.mark.parametrize("mask", ["inside", "beside"])
def test_masked_pixels_are_missing_whether_the_mask_is_inside_or_beside(tmp_path, mask):
    file = write(tmp_path / "S2L2A" / "a.tif", optical(), mask=mask)
    assert file.with_name("a.tif.msk").is_file() == (mask == "beside")
    found = chip(tmp_path)
    assert found.notes == {"S2L2A": ("masked pixels are missing",)}
    assert np.unique(found.rasters["S2L2A"][..., 0]).tolist() == [-9999]
    np.testing.assert_array_equal(found.rasters["S2L2A"][0, :, :, 1:], optical()[:, :, 1:])


def test_a_mask_beside_a_file_leads_to_no_other(tmp_path):
    file = write(tmp_path / "S2L2A" / "a.tif", optical())
    file.with_name("a.tif.msk").write_text("<VRTDataset rasterXSize='32' rasterYSize='32'/>")
    with pytest.raises(ChipDataError, match="a VRT, which leads to other files"):
        chip(tmp_path)


def test_an_alpha_band_is_a_mask_and_makes_no_level_1c(tmp_path):
    opaque = np.full((1, SIDE, SIDE), 65535, np.uint16)
    opaque[0, 3, 4] = 0
    write(tmp_path / "S2L2A" / "a.tif", np.concatenate([optical(), opaque]), alpha=True)
    found = chip(tmp_path).rasters["S2L2A"][0]
    assert found.shape[0] == 12
    assert np.unique(found[:, 3, 4]).tolist() == [-9999]
    assert (found == -9999).sum() == 12


def test_no_data_of_0_in_some_bands_is_missing_there_only_if_it_is_declared(tmp_path):
    values = optical()
    values[2, 0, 0], values[:, 0, 1] = 0, 0
    write(tmp_path / "S2L2A" / "a.tif", values)
    np.testing.assert_array_equal(chip(tmp_path).rasters["S2L2A"][0], values)
    write(tmp_path / "S2L2A" / "a.tif", values, nodata=0)
    found = chip(tmp_path).rasters["S2L2A"][0]
    assert found[2, 0, 0] == -9999
    assert found[1, 0, 0] == values[1, 0, 0]
    assert found[:, 0, 1].tolist() == [0] * 12  # which every reader knows already


def test_the_scale_and_offset_of_baseline_04_give_reflectance_times_10000(tmp_path):
    values = optical() + 1000
    values[3, 5, 5] = 0  # no reflectance is stored as 0 then
    write(tmp_path / "S2L2A" / "a.tif", values, scale=0.0001, offset=-0.1)
    found = chip(tmp_path).rasters["S2L2A"][0]
    assert np.isnan(found[3, 5, 5])
    np.testing.assert_allclose(found[:, 6:], optical()[:, 6:].astype(np.float32), atol=0.01)
    write(tmp_path / "S2L2A" / "a.tif", values, scale=0.0001)  # of stored values in that unit: nothing to do
    assert chip(tmp_path).rasters["S2L2A"].dtype == np.uint16


@pytest.mark.parametrize(
    ("unit", "metres"),
    [("ft", 30.48), ("US survey foot", 30.48006), ("dm", 10.0), ("m", 100.0), ("Metre", 100)],
)
def test_heights_come_in_metres(tmp_path, unit, metres):
    write(tmp_path / "DEM" / "a.tif", np.full((1, SIDE, SIDE), 100, np.int16), unit=unit, nodata=-32768)
    assert chip(tmp_path, "DEM").rasters["DEM"][0, 0, 0, 0] == pytest.approx(metres, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "declared", "message"),
    [
        ("DEM", {"unit": "furlong"}, "declares values in 'furlong'; expected m, ft"),
        ("S2L2A", {"unit": "W/m2/sr/um"}, "declares values in 'w/m2/sr/um'; expected reflectance"),
        ("S2L2A", {"scale": 0.01}, "declares scale 0.01 and offset 0 and no unit"),
        ("S1RTC", {"unit": "sigma"}, "expected dB, linear or amplitude"),
        ("DEM", {"scale": float("nan")}, "expected finite numbers"),
    ],
)
def test_what_cannot_be_applied_is_refused_by_name(tmp_path, name, declared, message):
    write(tmp_path / name / "a.tif", rasters(0, SIDE)[name][0].astype(np.float32), **declared)
    with pytest.raises(ChipDataError, match=message):
        chip(tmp_path, name)


@pytest.mark.parametrize(("unit", "factor"), [("linear", 10), ("amplitude", 20)])
def test_radar_that_says_its_unit_becomes_decibel(tmp_path, unit, factor):
    decibel = rasters(0, SIDE)["S1RTC"][0].astype(np.float32)
    power = (10 ** (decibel / factor)).astype(np.float32)
    power[0, 0, 0] = 0
    write(tmp_path / "S1RTC" / "a.tif", power, unit=unit)
    found = chip(tmp_path, "S1RTC").rasters["S1RTC"][0]
    assert np.isnan(found[0, 0, 0])
    np.testing.assert_allclose(found[1], decibel[1], atol=1e-4)


def test_bands_are_picked_by_their_names_and_names_that_contradict_are_shown(tmp_path):
    order = ["B12", *ESA[:-1]]
    values = optical()
    write(tmp_path / "S2L2A" / "a.tif", values[[11, *range(11)]], names=order)
    found = chip(tmp_path)
    np.testing.assert_array_equal(found.rasters["S2L2A"][0], values)
    assert found.notes["S2L2A"][0].startswith("bands by their names B01 B02")
    write(tmp_path / "S2L2A" / "a.tif", values, names=["red", *ESA[:-1]])
    with pytest.raises(ChipDataError, match="its bands are named red B01 B02"):
        chip(tmp_path)
    write(tmp_path / "S2L2A" / "a.tif", values, names=ESA)
    assert chip(tmp_path).notes == {}
    write(tmp_path / "S2L2A" / "a.tif", values, names=[f"b{k}" for k in range(12)])  # they only count
    np.testing.assert_array_equal(chip(tmp_path).rasters["S2L2A"][0], values)


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("B04", "RED"),
        ("b8a", "NIR_NARROW"),
        ("red_edge_1", "RED_EDGE_1"),
        ("RED_EDGE_2 2024-05-01", "RED_EDGE_2"),
        ("B11 (SWIR 1)", "SWIR_1"),
        ("swir22", "SWIR_2"),
        ("red blue", None),
        ("Band 4", None),
    ],
)
def test_names_that_others_give_to_bands(name, band):
    assert known_band(name, S2L2A) == band


def test_names_of_radar_bands_may_hold_dates():
    assert known_band("Gamma0_VV_2024-04-01", S1RTC) == "VV"
    assert known_band("VV/VH", S1RTC) is None
    assert is_numbered(["Band 1", "Band 2"])
    assert not is_numbered(["B1", "B3"])


def test_a_series_of_unnamed_bands_is_ordered_by_the_layout(tmp_path):
    series = rasters(0, SIDE, timesteps=3)["S1RTC"].astype(np.float32)
    write(tmp_path / "chips" / "S1" / "a.tif", series.swapaxes(0, 1).reshape(6, SIDE, SIDE))
    layout = tmp_path / "layout.yaml"
    layout.write_text("name: x\ntimesteps: 3\ninterleave: band\nimages: {S1RTC: {files: 'S1/{id}.tif'}}\n")
    found = chip(tmp_path / "chips", "S1RTC", layout=str(layout))
    np.testing.assert_array_equal(found.rasters["S1RTC"], series)


def save_zarr(path, values, *, name="bands", version=3, dims=None, folder=None, **attributes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipStore(path, mode="w", compression=zipfile.ZIP_STORED) as store:
        group = zarr.create_group(store, zarr_format=version, path=folder)
        if version == 2 and dims:
            attributes["_ARRAY_DIMENSIONS"], dims = list(dims), None
        made = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            attributes=attributes,
            dimension_names=dims,
            config={"write_empty_chunks": True},
        )
        made[...] = values
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_dimensions_of_zarr_are_transposed_by_their_names(tmp_path, version):
    series = rasters(0, SIDE, timesteps=2)["S2L2A"]
    moved = np.ascontiguousarray(series.transpose(2, 3, 0, 1))
    save_zarr(tmp_path / "S2L2A" / "a.zarr.zip", moved, version=version, dims=("y", "x", "time", "band"))
    (tmp_path / "l.yaml").write_text("name: x\nimages: {S2L2A: {files: 'S2L2A/{id}.zarr.zip'}}\n")
    found = chip(tmp_path, layout=str(tmp_path / "l.yaml"))
    np.testing.assert_array_equal(found.rasters["S2L2A"], series)
    assert found.notes["S2L2A"] == ("dimensions y, x, time, band transposed",)


def test_packing_of_zarr_is_undone_and_no_data_found_before(tmp_path):
    metres = np.linspace(20, 120, SIDE * SIDE).reshape(1, SIDE, SIDE)
    packed = np.round((metres - 100) * 10).astype(np.int16)
    packed[0, 0, 0] = -32767
    save_zarr(
        tmp_path / "DEM" / "a.zarr.zip",
        packed,
        scale_factor=0.1,
        add_offset=100,
        _FillValue=-32767,
        units="m",
    )
    (tmp_path / "l.yaml").write_text("name: x\nimages: {DEM: {files: 'DEM/{id}.zarr.zip'}}\n")
    found = chip(tmp_path, "DEM", layout=str(tmp_path / "l.yaml")).rasters["DEM"][0, 0]
    assert np.isnan(found[0, 0])
    np.testing.assert_allclose(found[1:], metres[0, 1:], atol=0.051)
    save_zarr(tmp_path / "DEM" / "a.zarr.zip", packed, scale_factor="tenth")
    with pytest.raises(ChipDataError, match="attribute scale_factor is 'tenth'"):
        chip(tmp_path, "DEM", layout=str(tmp_path / "l.yaml"))


def test_an_archive_with_other_arrays_says_which(tmp_path):
    (tmp_path / "l.yaml").write_text("name: x\nimages: {DEM: {files: 'DEM/{id}.zarr.zip'}}\n")
    path = tmp_path / "DEM" / "a.zarr.zip"
    heights = np.ones((1, SIDE, SIDE), np.int16)
    save_zarr(path, heights, name="surface", folder="chip.zarr")
    assert chip(tmp_path, "DEM", layout=str(tmp_path / "l.yaml")).rasters["DEM"].shape == (1, 1, SIDE, SIDE)
    with ZipStore(path, mode="w") as store:
        group = zarr.create_group(store)
        for name in ("surface", "canopy"):
            group.create_array(name, data=heights)
    with pytest.raises(ChipDataError, match="no array 'bands'; it holds canopy, surface"):
        chip(tmp_path, "DEM", layout=str(tmp_path / "l.yaml"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ChipDataError, match=r"a zip file without Zarr in it; it holds readme\.txt"):
        chip(tmp_path, "DEM", layout=str(tmp_path / "l.yaml"))


def test_a_codec_of_python_objects_is_refused_before_anything_is_decoded(tmp_path):
    (tmp_path / "l.yaml").write_text("name: x\nimages: {DEM: {files: 'DEM/{id}.zarr.zip'}}\n")
    path = tmp_path / "DEM" / "a.zarr.zip"
    path.parent.mkdir(parents=True)
    plain = (
        '{"zarr_format": 2, "shape": [1, 32, 32], "chunks": [1, 32, 32], "dtype": "<i2", "compressor": null, '
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(".zgroup", '{"zarr_format": 2}')
        archive.writestr(
            "bands/.zarray", plain + '"fill_value": 0, "order": "C", "filters": [{"id": "pickle"}]}'
        )
        archive.writestr("bands/0.0.0", struct.pack("<h", 1) * 1024)
    with pytest.raises(ChipDataError, match=r"an array whose codec or type is not read: .*pickle"):
        chip(tmp_path, "DEM", layout=str(tmp_path / "l.yaml"))


def test_an_identity_transform_is_no_place(tmp_path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write(tmp_path / "a.tif", np.ones((1, SIDE, SIDE), np.int16), transform=Affine.identity())
    assert read_georeference(tmp_path / "a.tif").crs_wkt == ""


def test_files_of_a_chip_that_lie_elsewhere_are_a_problem(tmp_path, capsys):
    root = write_folder_chips(tmp_path, ["a"])
    assert main(["layouts", "check", "folders", "--chips", str(root)]) == 0
    write_tif(root / "DEM" / "a.tif", rasters(0, SIDE)["DEM"][0], east=580_000 + 5)
    assert main(["layouts", "check", "folders", "--chips", str(root)]) == 1
    assert "is not on the grid of" in capsys.readouterr().out


def test_masks_of_several_bands_are_refused_unless_a_layout_says_which(tmp_path):
    labels = (np.indices((SIDE, SIDE)).sum(axis=0) // 9 % 3).astype(np.uint8)
    write(tmp_path / "S2L2A" / "a.tif", optical())
    write(tmp_path / "MASK" / "a.tif", np.stack([labels == k for k in range(3)]).astype(np.uint8))
    with pytest.raises(ChipDataError, match=r"3 bands; expected one band of labels.*mask_band: one-hot"):
        ChipSet.open(tmp_path).mask("a")
    text = "name: x\nimages: {S2L2A: {files: 'S2L2A/{id}.tif'}}\nmask: 'MASK/{id}.tif'\nmask_band: "
    (tmp_path / "l.yaml").write_text(f"{text}one-hot\n")
    np.testing.assert_array_equal(ChipSet.open(tmp_path, str(tmp_path / "l.yaml")).mask("a"), labels)
    (tmp_path / "l.yaml").write_text(f"{text}2\n")
    np.testing.assert_array_equal(ChipSet.open(tmp_path, str(tmp_path / "l.yaml")).mask("a"), labels == 1)


def test_masks_hold_whole_labels_and_what_they_declare_is_ignored(tmp_path, capsys):
    labels = np.zeros((1, SIDE, SIDE), np.float32)
    labels[0, 0, :4] = (np.nan, 2, 255, 1)
    write(tmp_path / "S2L2A" / "a.tif", optical())
    write(tmp_path / "MASK" / "a.tif", labels, nodata=255)
    assert ChipSet.open(tmp_path).mask("a")[0, :5].tolist() == [-1, 2, -1, 1, 0]
    assert main(["layouts", "check", "folders", "--chips", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "MASK: 0.10% of the pixels are ignored (−1): the file declares 255 as no data" in told
    assert "labels   -1 ignored 0.2%, 0 99.6%, 1 0.1%, 2 0.1%" in told
    labels[0, 1, 0] = 0.5
    write(tmp_path / "MASK" / "a.tif", labels)
    with pytest.raises(ChipDataError, match=r"no whole label \(0.5\).*nearest"):
        ChipSet.open(tmp_path).mask("a")


def test_text_that_looks_equal_is(tmp_path):
    composed, apart = "\u00cele_0", "I\u0302le_0"
    write(tmp_path / "S2L2A" / f"{apart}.TIF", optical())
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "train.txt").write_bytes(f"\ufeffS2L2A/{composed}.tif\r\n".encode())
    (tmp_path / "scenes.csv").write_bytes(f"\ufeff{composed},a\n".encode())
    chips = ChipSet.open(tmp_path)
    assert chips.ids == (apart,)
    assert chips.splits == {"train": (apart,)}
    assert chips.limited_to([tmp_path / "split" / "train.txt"]).ids == (apart,)
    assert chips.scenes(str(tmp_path / "scenes.csv")) == {apart: "a"}
    assert chips.read(apart, ["S2L2A"]).shape == (SIDE, SIDE)


@pytest.mark.parametrize(
    "scenes", ["http://127.0.0.1:9/iam.csv", "../../etc/passwd", "/etc/passwd", "s3://a/b.csv"]
)
def test_a_layouts_scenes_lead_nowhere(tmp_path, scenes):
    write(tmp_path / "S2L2A" / "a.tif", optical())
    (tmp_path / "l.yaml").write_text(
        f"name: x\nimages: {{S2L2A: {{files: 'S2L2A/{{id}}.tif'}}}}\nscenes: {scenes}\n"
    )
    with pytest.raises(ChipSetError, match=r"scenes: .*expected"):
        ChipSet.open(tmp_path, str(tmp_path / "l.yaml"))


def run_advice(told, folder):
    """Runs the command that a message ends with, in a folder."""
    command = shlex.split(told.partition("as with ")[2])
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder / command[-1]


@pytest.mark.parametrize("fault", ["shifted", "no system", "south-up"])
def test_the_command_that_cut_advises_helps(tmp_path, capsys, fault):
    if shutil.which("gdalwarp") is None:
        pytest.skip("no GDAL commands here")
    side = 64
    made = rasters(0, side)
    base = from_origin(580_000, 4_510_000, 10, 10)
    places = {
        "shifted": {"transform": from_origin(579_800, 4_510_200, 5, 5)},
        "no system": {"crs": None},
        "south-up": {"transform": Affine(10, 0, 580_000, 0, 10, 4_510_000 - 10 * side)},
    }
    faulty, sound = tmp_path / "faulty.tif", tmp_path / "sound.tif"
    values = made["DEM"][0].astype(np.float32)
    if fault == "shifted":
        values = np.kron(values, np.ones((1, 3, 3), np.float32))
    write(faulty, values[:, ::-1] if fault == "south-up" else values, **({"transform": base} | places[fault]))
    write(sound, made["S2L2A"][0])
    first = f"DEM={faulty}" if fault == "south-up" else f"S2L2A={sound}"
    second = f"S2L2A={sound}" if fault == "south-up" else f"DEM={faulty}"
    words = ["--out", str(tmp_path / "chips"), "--size", "32", "--scene", "s"]
    assert main(["cut", first, second, *words]) == 2
    told = capsys.readouterr().err.strip()
    mended = run_advice(told, tmp_path)
    assert main(["cut", f"S2L2A={sound}", f"DEM={mended}", *words]) == 0
    if fault != "shifted":
        heights = ChipSet.open(tmp_path / "chips").raster("s_r001c000", "DEM")[0]
        np.testing.assert_array_equal(heights, made["DEM"][0][:, 32:, :32])
