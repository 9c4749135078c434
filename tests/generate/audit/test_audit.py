import json

import numpy as np
import pytest
import rasterio

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import load_layout
from augment_store.chips.units import Units
from augment_store.errors import ChipSetError
from generate.audit.audit import audit_chips
from generate.cli.main import main
from tests.conftest import ROOT
from tests.pastis import write_pastis
from tests.worlds import rasters, write_folder_chips, write_impactmesh_chips, write_tif, write_zarr_zip

ALL = ["S2L2A", "S1RTC", "DEM"]


def audited(tmp_path, change=None, units=None, chips=4, changed=None):
    """Audits chips of which the first `changed` (all by default) went through `change`."""
    root = write_folder_chips(tmp_path, [f"c{i}" for i in range(chips)], size=64)
    for seed in range(chips if changed is None else changed) if change else ():
        made = rasters(seed, 64)
        for name, raster in change(
            {name: values[0].astype(np.float32) for name, values in made.items()}
        ).items():
            write_tif(root / name / f"c{seed}.tif", raster.astype(np.float32))
    return audit_chips(ChipSet.open(root), ALL, units or Units())


def rules(audit, level="stop"):
    return {finding.rule for finding in audit.findings if finding.level == level}


def test_good_chips_have_no_findings_and_their_statistics_are_right(tmp_path):
    audit = audited(tmp_path)
    assert audit.findings == ()
    vv = next(band for band in audit.bands if band.band == "VV")
    values = np.concatenate(
        [rasters(s, 64)["S1RTC"][0, 0, ::4, ::4].astype(np.float64).ravel() for s in range(4)]
    )
    assert vv.mean == pytest.approx(values.mean(), abs=1e-3)
    assert vv.shift == pytest.approx((values.mean() + 10.93) / 4.391, abs=1e-3)
    assert (vv.minimum, vv.maximum) == (round(values.min(), 4), round(values.max(), 4))
    assert vv.missing == 0


def linear(r):
    return {**r, "S1RTC": 10 ** (r["S1RTC"] / 10)}


def test_linear_power_is_found_and_accepted_with_the_right_unit(tmp_path):
    audit = audited(tmp_path / "a", linear)
    assert audit.stops[0].rule == "linear_power"
    assert "--s1-unit linear" in audit.stops[0].message
    assert rules(audited(tmp_path / "b", linear, Units(s1_unit="linear"))) == set()


def test_decibel_said_to_be_linear_is_found(tmp_path):
    assert "not_linear_power" in rules(audited(tmp_path, None, Units(s1_unit="linear")))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda r: {**r, "DEM": r["DEM"] * 0}, "constant_band"),
        (lambda r: {**r, "DEM": r["DEM"] * np.nan}, "constant_band"),
        (lambda r: {**r, "S2L2A": r["S2L2A"] + 1000}, "s2_offset"),
        (lambda r: {**r, "S2L2A": r["S2L2A"][[*range(8), 9, 10, 11, 8]]}, "band_order"),  # B8A at the end
        (lambda r: {**r, "S2L2A": r["S2L2A"][::-1]}, "band_order"),
        (lambda r: {**r, "S1RTC": r["S1RTC"][::-1]}, "band_order"),
        (lambda r: {**r, "S2L2A": r["S2L2A"] / 1e4}, "unit"),
        (lambda r: {**r, "DEM": r["DEM"] + 20000}, "range"),
        (lambda r: {**r, "DEM": r["DEM"] + 4000}, "shift"),
        (lambda r: {**r, "S1RTC": np.where(np.arange(64) < 40, np.nan, r["S1RTC"])}, "missing"),
    ],
)
def test_each_fault_stops_a_run(tmp_path, change, rule):
    assert rule in rules(audited(tmp_path, change))


def test_bands_that_the_data_do_not_have_name_the_flag_that_accepts_them(tmp_path):
    chips = ChipSet.open(write_pastis(tmp_path / "pastis"))
    [finding] = audit_chips(chips, ["S2L2A"], Units()).stops
    assert finding.message == (
        "constant: COASTAL_AEROSOL (empty), WATER_VAPOR (empty); expected values that vary. Check how the chips were "
        "made, or leave S2L2A out with --inputs; if the data do not have the empty bands (a layout's absent), accept "
        "that with --accept-audit"
    )
    stops = audited(tmp_path / "dark", lambda r: {**r, "DEM": r["DEM"] * np.nan}).stops
    assert [finding.rule for finding in stops] == ["constant_band", "missing"]
    assert all("--accept-audit" in finding.message for finding in stops)
    [zero] = audited(tmp_path / "zero", lambda r: {**r, "DEM": r["DEM"] * 0}).stops
    assert "--accept-audit" not in zero.message  # a fault of the chips, not of what the data set has


def test_every_timestep_is_looked_at(tmp_path):
    root = write_impactmesh_chips(tmp_path, ["a", "b"], size=64, timesteps=3)
    for chip_id in ("a", "b"):
        radar = rasters(0, 64, 3)["S1RTC"].astype(np.float32)
        radar[2] = np.nan
        write_zarr_zip(root / "data" / "S1RTC" / f"{chip_id}_S1RTC.zarr.zip", radar)
    found = audit_chips(ChipSet.open(root), ALL, Units())
    assert rules(found, "note") == {"missing"}
    assert "33% of the values are NaN" in found.findings[0].message


def test_an_offset_in_some_chips_is_a_note_and_removing_it_is_clean(tmp_path):
    def offset(r):
        return {**r, "S2L2A": r["S2L2A"] + 1000}

    some = audited(tmp_path / "some", offset, changed=1)
    assert rules(some) == set()
    assert rules(some, "note") == {"s2_offset"}
    assert audited(tmp_path / "all", offset, Units(s2_offset=1000)).findings == ()
    assert "s2_offset_overdone" in rules(audited(tmp_path / "none", None, Units(s2_offset=1000)))


def test_unreadable_chips_are_listed_and_the_rest_audited(tmp_path):
    root = write_folder_chips(tmp_path, ["a", "b"])
    (root / "DEM" / "a.tif").write_bytes(b"II*")
    audit = audit_chips(ChipSet.open(root), ALL, Units())
    assert audit.chips == ("b",)
    assert audit.unreadable[0][0] == "a"
    (root / "DEM" / "b.tif").write_bytes(b"II*")
    with pytest.raises(ChipSetError, match=r"none of 2 sampled chips can be read; the first, a: .*DEM/a.tif"):
        audit_chips(ChipSet.open(root), ALL, Units())


def test_the_command_prints_a_table_writes_json_and_exits_1_on_a_stop(tmp_path, capsys):
    root = write_folder_chips(tmp_path / "chips", ["a", "b"])
    assert main(["audit", "--chips", str(root), "--json", str(tmp_path / "audit.json")]) == 0
    assert "nothing suspicious" in capsys.readouterr().out
    written = json.loads((tmp_path / "audit.json").read_text())
    assert [band["band"] for band in written["bands"]][-3:] == ["VV", "VH", "DEM"]
    for chip_id in ("a", "b"):
        write_tif(root / "DEM" / f"{chip_id}.tif", np.zeros((1, 32, 32), np.int16))
    assert main(["audit", "--chips", str(root)]) == 1
    assert "constant: DEM (always 0)" in capsys.readouterr().out


@pytest.mark.shared_data
@pytest.mark.parametrize("folder", ["impactmesh_layout", "terramesh_examples"])
def test_the_real_chips_pass_with_a_note_on_the_one_that_looks_offset(shared_data, folder):
    audit = audit_chips(ChipSet.open(shared_data / folder), ALL, Units())
    assert rules(audit) == set()
    assert rules(audit, "note") == {"s2_offset"}
    assert "33% of the images" in audit.findings[0].message


def snowy(r):
    """Medians of a snowy TerraMesh chip: visible 7000, SWIR_1 1137, SWIR_2 1200."""
    level = np.array([7000, 7000, 7000, 7000, 6900, 6800, 6700, 6600, 6500, 6400, 1137, 1200], np.float32)
    return {**r, "S2L2A": r["S2L2A"] / r["S2L2A"].mean(axis=(1, 2), keepdims=True) * level[:, None, None]}


def swapped_swir(r):
    return {**r, "S2L2A": r["S2L2A"][[*range(10), 11, 10]]}


@pytest.mark.parametrize(
    ("change", "chips", "level"),
    [(snowy, 1, "note"), (snowy, 6, "note"), (swapped_swir, 6, "stop"), (swapped_swir, 3, "note")],
)
def test_snow_and_a_few_odd_chips_do_not_stop_a_run_for_their_swir_bands(tmp_path, change, chips, level):
    audit = audited(tmp_path, change, chips=chips)
    assert rules(audit, level) >= {"band_order"}
    assert "band_order" not in rules(audit, "note" if level == "stop" else "stop")


def test_a_note_of_snow_hides_no_chip_with_swapped_bands_and_its_remedy_is_for_some_chips(tmp_path):
    def change(r):
        changed = snowy(r)
        # the slope starts at the chip's number
        if r["DEM"].min() == 0:
            changed["S2L2A"] = changed["S2L2A"][[*range(7), 11, 8, 9, 10, 7]]
        return changed

    notes = [f.message for f in audited(tmp_path, change, chips=6).findings if f.rule == "band_order"]
    assert len(notes) == 2
    assert notes[1].startswith("in 1 of 6 images (c0): the band order looks wrong")
    assert "NIR_BROAD and NIR_NARROW are not alike" in notes[1]
    assert notes[1].endswith("hold for all chips: mend these, or give them as a chip set of their own")


def test_a_modality_that_the_chips_lack_names_the_inputs_there_are(tmp_path):
    root = write_folder_chips(tmp_path, ["a", "b"])
    for chip_id in ("a", "b"):
        (root / "DEM" / f"{chip_id}.tif").unlink()
    with pytest.raises(
        ChipSetError, match=rf"the chips have no DEM \(no file {root}/DEM/.*\); .*: --inputs S2L2A S1RTC$"
    ):
        audit_chips(ChipSet.open(root), ALL, Units())


def test_the_table_fits_80_columns_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    root = write_folder_chips(tmp_path, ["a", "b"])
    for chip_id in ("a", "b"):
        bright = np.full((12, 32, 32), 29_999, np.float32) - np.arange(1024).reshape(32, 32)
        write_tif(root / "S2L2A" / f"{chip_id}.tif", bright)
    main(["audit", "--chips", str(root)])
    told = capsys.readouterr().out
    assert "…" not in told
    row = next(line for line in told.splitlines() if "COASTAL_AEROSOL" in line)
    assert row.split() == ["COASTAL_AEROSOL", "29,075", "29,537", "29,999", "29,537", "293.4", "+13.36", "0%"]


def test_units_of_a_layout_and_of_the_command_line(tmp_path):
    file = tmp_path / "layout.yaml"
    file.write_text("name: x\nimages: {S1RTC: {files: '{id}.tif'}}\ns1_unit: linear\ns2_offset: 1000\n")
    layout = load_layout(str(file))
    assert Units.of(layout) == Units(s1_unit="linear", s2_offset=1000)
    assert Units.of(layout, "dB", 0.0) == Units(s2_offset=0)
    assert Units.of(load_layout("folders")) == Units()


def test_units_of_radar_that_would_fit_are_named_nearest_first(tmp_path):
    def amplitude(r):
        return {**r, "S1RTC": 10 ** (r["S1RTC"] / 20)}

    first = audited(tmp_path / "a", amplitude).stops[0].message
    assert first.index("--s1-unit amplitude") < first.index("--s1-unit linear")
    assert rules(audited(tmp_path / "b", amplitude, Units(s1_unit="amplitude"))) == set()
    numbers = audited(tmp_path / "c", lambda r: {**r, "S1RTC": 500 * 10 ** (r["S1RTC"] / 20)}).stops[0]
    assert "digital numbers, which no option converts" in numbers.message


def zero_fill(r):
    return {**r, "S1RTC": np.where(np.arange(64) < 20, 0, r["S1RTC"])}


@pytest.mark.parametrize(
    ("change", "changed", "rule", "level", "said"),
    [
        (zero_fill, 4, "common_value", "stop", "VV is exactly 0 in 31% of the pixels (4 of 4 images)"),
        (zero_fill, 1, "common_value", "note", "VV is exactly 0 in 8% of the pixels (1 of 4 images)"),
        (
            lambda r: {**r, "S2L2A": np.where(np.arange(64)[:, None] < 6, 10_000, r["S2L2A"])},
            4,
            "common_value",
            "note",
            "COASTAL_AEROSOL is exactly 10000",
        ),
        (
            lambda r: {**r, "S2L2A": np.where(np.arange(64 * 64).reshape(64, 64) == 0, 65_000, r["S2L2A"])},
            1,
            "impossible",
            "note",
            "in 1 of 4 images",
        ),
        (
            lambda r: {**r, "DEM": np.where(np.arange(64) < 4, 0, r["DEM"] + 300)},
            4,
            "void",
            "note",
            "exactly 0 m",
        ),
    ],
)
def test_fills_saturation_and_impossible_values_are_counted(tmp_path, change, changed, rule, level, said):
    audit = audited(tmp_path, change, changed=changed)
    [finding] = [finding for finding in audit.findings if finding.rule == rule]
    assert finding.level == level
    assert said in finding.message


def test_zeros_of_some_bands_hide_no_offset(tmp_path):
    def edge(r):
        shifted = r["S2L2A"] + 1000
        shifted[[0, 2], :, :4] = 0
        return {**r, "S2L2A": shifted}

    assert "s2_offset" in rules(audited(tmp_path / "in", edge))
    assert rules(audited(tmp_path / "out", edge, Units(s2_offset=1000))) == set()


def test_what_files_declare_is_noted_once_and_other_grids_stop(tmp_path):
    root = write_folder_chips(tmp_path, [f"c{i}" for i in range(4)], size=64)
    for number in range(2):
        with rasterio.open(root / "DEM" / f"c{number}.tif", "r+") as file:
            file.scales = (0.5,)
    audit = audit_chips(ChipSet.open(root), ALL, Units())
    assert [finding.message for finding in audit.findings] == [
        "declared by the files and applied: scale 0.5 (2 of 4 chips)"
    ]
    write_tif(root / "S1RTC" / "c3.tif", rasters(3, 64)["S1RTC"][0].astype(np.float32), north=5_000_000)
    assert rules(audit_chips(ChipSet.open(root), ALL, Units())) == {"grid"}


# One chip in eight --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Chips c0 to c7; each test writes its own c3."""
    return write_folder_chips(tmp_path_factory.mktemp("eight"), [f"c{i}" for i in range(8)], size=64)


def fill(name, value):
    """Makes a fault: a quarter of the pixels of a modality has one value."""

    def change(made):
        made[name][..., :32, :32] = value
        return made

    return change


def on(name, function):
    return lambda made: {**made, name: function(made[name])}


@pytest.mark.parametrize(
    ("change", "level", "rule", "said"),
    [
        (fill("S2L2A", -999), "note", "common_value", "COASTAL_AEROSOL is exactly -999 in 25% of the pixels"),
        (fill("S1RTC", 0), "note", "common_value", "VV is exactly 0 in 25% of the pixels"),
        (fill("S2L2A", 65_535), "stop", "range", "3.1% of the values lie outside -1000 to 30000"),
        (fill("DEM", -32_767), "stop", "range", "3.1% of the values lie outside -500 to 9000 m"),
        (
            on("S1RTC", lambda v: 10 ** (v / 20)),
            "note",
            "linear_power",
            "--s1-unit amplitude if it is amplitude",
        ),
        (on("S1RTC", lambda v: 10 ** (v / 10)), "note", "linear_power", "--s1-unit linear if it is linear"),
        (on("S1RTC", lambda v: 1000 * 10 ** (v / 20)), "note", "linear_power", "looks like digital numbers"),
        (on("S1RTC", lambda v: v[::-1]), "note", "band_order", "lies below VH"),
        (on("S2L2A", lambda v: v[::-1]), "note", "band_order", "NIR_BROAD and NIR_NARROW are not alike"),
        (on("S2L2A", lambda v: v / 1e4), "note", "unit", "Multiply the chips by 10,000"),
        (on("S2L2A", lambda v: v + 1000), "note", "s2_offset", "in 12% of the images"),
        (on("S2L2A", lambda v: v * 0), "note", "missing", "12% of the values are NaN or no data"),
        (on("DEM", lambda v: np.where(v > 60, v + 500, 0)), "note", "void", "are exactly 0 m"),
    ],
)
def test_a_fault_of_one_chip_in_eight_is_named(eight, change, level, rule, said):
    made = change({name: values[0].astype(np.float32) for name, values in rasters(3, 64).items()})
    for name, raster in made.items():
        write_tif(eight / name / "c3.tif", raster.astype(np.float32))
    audit = audit_chips(ChipSet.open(eight), ALL, Units())
    [finding] = [finding for finding in audit.findings if finding.rule == rule]
    assert finding.level == level
    assert said in finding.message
    # what all images together do not show names the chip
    if rule in {"common_value", "linear_power", "band_order", "unit", "void"}:
        assert finding.message.startswith("in 1 of 8 images (c3): ")


def test_the_pages_example_is_what_the_audit_prints(eight, capsys):
    shown = (ROOT / "docs/how-to/own_data.md").read_text().split("```text\n")[1].split("```")[0]
    made = {name: values[0].astype(np.float32) for name, values in rasters(3, 64).items()}
    made["S1RTC"] = 10 ** (made["S1RTC"] / 20)
    made["S2L2A"][..., :32, :32] = -999
    for name, raster in made.items():
        write_tif(eight / name / "c3.tif", raster.astype(np.float32))
    assert main(["audit", "--chips", str(eight), "--inputs", *ALL]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert len(shown.splitlines()) == 2
    for line in shown.splitlines():
        assert line.removesuffix(" …") in told


def test_one_chip_in_eight_that_lies_elsewhere_or_has_other_bands(eight, capsys):
    made = {name: values[0].astype(np.float32) for name, values in rasters(3, 64).items()}
    for name, raster in made.items():
        write_tif(eight / name / "c3.tif", raster)
    write_tif(eight / "DEM" / "c3.tif", made["DEM"], east=590_000.0)
    words = ["audit", "--chips", str(eight), "--inputs", *ALL]
    assert main(words) == 1
    # lines are wrapped, so words are compared
    told = "".join(capsys.readouterr().out.split())
    assert f"stop:chips:chipc3:{eight}/S2L2A/c3.tifisnotonthegridof{eight}/DEM/c3.tif" in told
    write_tif(eight / "DEM" / "c3.tif", made["DEM"])
    write_tif(eight / "S2L2A" / "c3.tif", made["S2L2A"][:3])
    audit = audit_chips(ChipSet.open(eight), ALL, Units())
    [(chip_id, reason)] = audit.unreadable
    assert chip_id == "c3"
    assert "3 bands; expected 12" in reason
    assert audit.findings == ()


def wrapped(made):
    """Makes dark values of one band wrap around, as unsigned arithmetic does."""
    values = made["S2L2A"][0].astype(np.int32)
    values[0][values[0] < 300] += 65_536 - 1000
    return values


def filled(made):
    values = made["S1RTC"][0].astype(np.float32)
    values[:, :, :20] = 0
    return values


@pytest.mark.parametrize(
    ("name", "make", "rule", "said"),
    [
        (
            "S1GRD",
            lambda made: 10 ** (made["S1RTC"][0] / 20.0),
            "linear_power",
            "Convert with --s1-unit amplitude",
        ),
        (
            "S1GRD",
            lambda made: (500 * 10 ** (made["S1RTC"][0] / 20.0)).astype(np.uint16),
            "linear_power",
            "digital",
        ),
        ("S1GRD", filled, "common_value", "VV is exactly 0 in 31% of the pixels (4 of 4 images)"),
        ("S2L2A", wrapped, "range", "lie outside -1000 to 30000"),
    ],
)
def test_faults_in_numpy_arrays(tmp_path, name, make, rule, said):
    (tmp_path / name).mkdir()
    for seed in range(4):
        np.save(tmp_path / name / f"c{seed}.npy", make(rasters(seed, 64)))
    layout = tmp_path / "layout.yaml"
    layout.write_text(f"name: x\nimages: {{{name}: {{files: '{name}/{{id}}.npy'}}}}\n")
    audit = audit_chips(ChipSet.open(tmp_path, str(layout)), [name], Units())
    [finding] = [finding for finding in audit.findings if finding.rule == rule]
    assert finding.level == "stop"
    assert said in finding.message


def test_zeros_of_one_band_in_arrays_with_an_offset_are_missing_there(tmp_path):
    (tmp_path / "S2L2A").mkdir()
    for seed in range(4):
        values = rasters(seed, 64)["S2L2A"][0].astype(np.uint16) + 1000
        values[3, :32, :32] = 0
        np.save(tmp_path / "S2L2A" / f"c{seed}.npy", values)
    layout = tmp_path / "layout.yaml"
    layout.write_text("name: x\nimages: {S2L2A: {files: 'S2L2A/{id}.npy'}}\ns2_offset: 1000\n")
    chips = ChipSet.open(tmp_path, str(layout))
    audit = audit_chips(chips, ["S2L2A"], Units.of(chips.layout))
    assert audit.findings == ()
    assert [band.missing for band in audit.bands] == [
        0.25 if band.band == "RED" else 0 for band in audit.bands
    ]
    assert min(band.minimum for band in audit.bands) > 0
