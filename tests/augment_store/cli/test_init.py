"""`tim-store init`: what it writes for each kind of folder, by the parsers that read it."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.layouts import SPLITS, load_layout
from augment_store.cli.init_text import DEMO_INPUTS
from augment_store.cli.main import main
from augment_store.modalities.legend_table import LegendTable
from eval.study.config import Study
from finetune.run.yaml_file import read_yaml
from tests.worlds import EAST, rasters, write_folder_chips, write_sen1floods11, write_tif
from tools.documents import command_parsers, module_and_arguments

IDS = [f"{city}_{number}" for city in ("alba", "brno", "cadiz", "delft") for number in (3, 5)]
CODES = np.array([10, 20, 30, 80, 0])
"""Of WorldCover, whose 0 is no data."""


def init(capsys, root) -> list[str]:
    """Run it and return the lines it prints."""
    assert main(["init", str(root)]) == 0
    return capsys.readouterr().out.splitlines()


def labels(seed: int, size: int, values) -> np.ndarray:
    return np.random.default_rng(seed).choice(values, size=(1, size, size))


def write_two_classes(root: Path, size: int = 32) -> None:
    """One date: 12 bands in `optical`, radar, and masks of 0, 1 and 255."""
    for seed, chip_id in enumerate(IDS):
        made, east = rasters(seed, size), EAST + 10 * size * seed
        write_tif(root / "optical" / f"{chip_id}.tif", made["S2L2A"][0], east)
        write_tif(root / "radar" / f"{chip_id}.tif", made["S1RTC"][0].astype(np.float32), east)
        write_tif(root / "labels" / f"{chip_id}.tif", labels(seed, size, [0, 1, 255]).astype(np.uint8), east)


def write_worldcover(root: Path, size: int = 32) -> None:
    """A folder for each chip."""
    for seed, chip_id in enumerate(IDS):
        east = EAST + 10 * size * seed
        write_tif(root / chip_id / "S2.tif", rasters(seed, size)["S2L2A"][0], east)
        write_tif(root / chip_id / "worldcover.tif", labels(seed, size, CODES).astype(np.uint8), east)


def understood(lines: list[str]) -> list[list[str]]:
    """Parse the five next commands, each by its own parser; return them as words."""
    known, found = (
        command_parsers(),
        [module_and_arguments(line.strip()) for line in lines[lines.index("next:") + 1 :]],
    )
    for module, *words in found:
        whole = f"{module} {words[0]}"
        known[whole if whole in known else module].parse_args(words[1:] if whole in known else words)
    assert len(found) == 5
    return found


def test_two_classes_of_one_date(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_two_classes(Path("mine"))
    lines = init(capsys, "mine")
    chips = ChipSet.open("mine", "mine_layout.yaml")
    assert chips.ids == tuple(IDS)
    assert set(chips.modalities) == {"S2L2A", "S1RTC"}
    assert np.unique(chips.mask("alba_3")).tolist() == [-1, 0, 1]
    # two chips a city, and no city in two splits
    assert len(set(chips.scenes().values())) == 4
    assert sorted(len(ids) for ids in chips.splits.values()) == [2, 2, 4]
    config = read_yaml(Path("mine.yaml"))
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    assert data["modalities"] == model["model_args"]["backbone_modalities"] == ["S2L2A", "S1RTC"]
    assert (data["timesteps"], data["class_names"]) == ([0], ["class_0", "class_1"])
    assert model["model_args"]["num_classes"] == 2
    # 4 training chips are a step an epoch, of which 60 are wanted and 20 are the most
    assert (data["batch_size"], config["trainer"]["max_epochs"]) == (4, 20)
    assert LegendTable.load(Path("mine_legend.yaml")).mapping == {}
    study = Study.load(Path("mine_study.yaml"))
    assert set(study.arms) == {"base", "tim", "shuffle"}
    assert study.layout == "mine_layout.yaml"
    assert [words[:2] for words in understood(lines)][3:] == [["eval", "study"], ["eval", "study"]]
    assert "guessed: ignored as no label: 255" in lines


def test_codes_of_a_published_map_in_a_folder_for_each_chip(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_worldcover(Path("wc"))
    lines = init(capsys, "wc")
    layout = load_layout("wc_layout.yaml")
    assert (layout.images["S2L2A"].files, layout.mask) == (("{id}/S2.tif",), ("{id}/worldcover.tif",))
    assert layout.legend == "worldcover"
    assert set(np.unique(ChipSet.open("wc", "wc_layout.yaml").mask("brno_5"))) <= {-1, 0, 1, 2, 7}
    assert read_yaml(Path("wc.yaml"))["model"]["init_args"]["model_args"]["num_classes"] == 11
    # the table is complete, so the map itself is compared too
    assert Study.load(Path("wc_study.yaml")).zero_shot["map"].legend == "worldcover"
    assert not Path("wc_legend.yaml").exists()
    understood(lines)


def test_a_set_that_a_shipped_layout_fits(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_sen1floods11(Path("floods"), ["Ghana_1", "Ghana_2", "India_7", "Spain_8"], 32)
    lines = init(capsys, "floods")
    assert not Path("floods_layout.yaml").exists()
    data = read_yaml(Path("floods.yaml"))["data"]["init_args"]
    assert (data["modalities"], data["class_names"]) == (["S2L1C", "S1GRD"], ["other", "water"])
    model = read_yaml(Path("floods.yaml"))["model"]["init_args"]["model_args"]
    assert (model["backbone_architecture"], model["backbone_pretrained"]) == ("terramind_v1_tiny", False)
    # Level-1C and GRD are not among what the demo's generator knows
    assert not {"S2L1C", "S1GRD"} & set(DEMO_INPUTS)
    assert "--generator terramind_v1_tiny --weights random" in next(
        line for line in lines if "--store" in line
    )
    assert any(
        "does not know S2L1C, S1GRD: the commands take a tiny one of random weights" in line for line in lines
    )
    understood(lines)


@pytest.mark.slow
def test_scenes_too_large_for_chips_are_cut(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, scene in enumerate(("alba", "brno", "cadiz")):
        values = np.random.default_rng(seed).integers(1, 3, (1, 1100, 1100), dtype=np.uint8)
        write_tif(
            Path(f"big/{scene}.tif"), np.repeat(values.astype(np.int16), 12, axis=0), EAST + 20_000 * seed
        )
        write_tif(Path(f"big/{scene}_truth.tif"), values, EAST + 20_000 * seed)
    lines = init(capsys, "big")
    commands = [line.strip() for line in lines[lines.index("next:") + 1 :]]
    assert [line.split()[:2] for line in commands] == [["tim-store", "cut"]] * 3 + [["tim-store", "init"]]
    assert sorted(line.split("--split ")[1] for line in commands[:3]) == sorted(SPLITS)
    assert main(module_and_arguments(commands[0])[1:]) == 0
    made = ChipSet.open("big_chips")
    assert {chip_id.split("_")[0] for chip_id in made.ids} == {"alba"}
    assert np.unique(made.mask(made.ids[0])).tolist() == [1, 2]


def test_chips_without_masks_get_maps_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, chip_id in enumerate(IDS):
        write_tif(Path(f"bare/{chip_id}_S2.tif"), rasters(seed, 32)["S2L2A"][0], EAST + 320 * seed)
    words = understood(init(capsys, "bare"))
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == ["bare_layout.yaml"]
    assert [each[:2] for each in words[2:]] == [["augment_store", a] for a in ("verify", "inspect", "export")]


@pytest.mark.parametrize("taken", ["mine.yaml", "mine/split/val.txt"])
def test_nothing_is_overwritten(taken, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_two_classes(Path("mine"))
    Path(taken).parent.mkdir(exist_ok=True)
    Path(taken).write_text("alien_1\n")
    before = sorted(tmp_path.rglob("*"))
    assert main(["init", "mine"]) == 2
    assert taken in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    assert Path(taken).read_text() == "alien_1\n"


def test_what_one_file_cannot_be_written_for_leaves_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_two_classes(Path("mine"))
    # the lists of the splits cannot be written, after the layout was
    Path("mine/split").write_text("")
    before = sorted(tmp_path.rglob("*"))
    assert main(["init", "mine"]) == 2
    assert "mine/split" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["2024", "no", "a: b #1", "it's"])
def test_names_that_yaml_or_a_shell_would_take_otherwise(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_two_classes(Path(name))
    lines = init(capsys, name)
    start = re.sub(r"\W+", "_", name)
    assert read_yaml(Path(f"{start}.yaml"))["data"]["init_args"]["data_root"] == name
    assert Study.load(Path(f"{start}_study.yaml")).chips == Path(name)
    assert LegendTable.load(Path(f"{start}_legend.yaml")).name == start
    assert load_layout(f"{start}_layout.yaml").name == start
    (command,) = (line for line in Path(f"{start}.yaml").read_text().splitlines() if " fit " in line)
    words = shlex.split(command)
    assert words[words.index("--chips") + 1] == name
    understood(lines)


def test_odd_entries_are_passed_over(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_two_classes(Path("mine"))
    for folder in ("train.txt", "val_1.csv", "extra/x.tif"):
        (Path("mine") / folder).mkdir(parents=True)
    write_tif(Path("mine/other/x\nscenes: evil.tif"), np.zeros((7, 32, 32), np.int16))
    init(capsys, "mine")
    assert ChipSet.open("mine", "mine_layout.yaml").ids == tuple(IDS)
    (line,) = (line for line in Path("mine_layout.yaml").read_text().splitlines() if "evil" in line)
    assert line.startswith(r"# - {id}/x\nscenes: evil.tif is left out")


def test_what_init_cannot_use_is_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "nowhere"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
    Path("empty").mkdir()
    assert main(["init", "empty"]) == 2
    assert "no file of the types .tif, .tiff, .zarr.zip, .npy" in capsys.readouterr().err
    write_tif(Path("odd/a.tif"), np.zeros((7, 32, 32), np.int16))
    assert main(["init", "odd"]) == 2
    assert "none of the files ({id}.tif) looks like an input" in capsys.readouterr().err


def test_fewer_bands_and_files_for_each_band_are_described(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed, chip_id in enumerate(IDS):
        bands = rasters(seed, 32)["S2L2A"][0]
        for word, place in (("B02", 1), ("B03", 2), ("B04", 3), ("B08", 7)):
            write_tif(Path(f"bands/{chip_id}/{chip_id}_{word}.tif"), bands[place], EAST + 320 * seed)
        write_tif(Path(f"four/images/{chip_id}.tif"), bands[[1, 2, 3, 7]], EAST + 320 * seed)
    for name, pattern in (("bands", "{id}/{id}_{band}.tif"), ("four", "images/{id}.tif")):
        init(capsys, name)
        image = load_layout(f"{name}_layout.yaml").images["S2L2A"]
        assert image.files == (pattern,)
        assert len(image.absent) == 8
        np.testing.assert_array_equal(
            ChipSet.open(name, f"{name}_layout.yaml").raster("brno_3", "S2L2A")[0, 3],
            rasters(2, 32)["S2L2A"][0, 3],
        )


def test_codes_of_nobody_become_labels(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_folder_chips(Path("own"), IDS)
    for seed, chip_id in enumerate(IDS):
        write_tif(
            Path(f"own/MASK/{chip_id}.tif"), labels(seed, 32, [7, 9, 200]).astype(np.uint8), EAST + 320 * seed
        )
    init(capsys, "own")
    assert load_layout("own_layout.yaml").labels == {7: 0, 9: 1, 200: 2}
    assert [entry.name for entry in LegendTable.load(Path("own_legend.yaml")).classes] == [
        "code_7",
        "code_9",
        "code_200",
    ]


def test_files_and_lists_that_ship_are_listed_and_shown(capsys):
    for command, name in (
        ("legends", "worldcover"),
        ("configs", "demo"),
        ("configs", "nyc_study"),
        ("layouts", "folders"),
    ):
        assert main([command, "list"]) == 0
        assert f"\n{name}: " in capsys.readouterr().out
        assert main([command, "show", name]) == 0
        assert yaml.safe_load(capsys.readouterr().out)
    assert main(["configs", "show", "../pyproject"]) == 2
    assert "no fine-tune or study '../pyproject' comes with the package" in capsys.readouterr().err
