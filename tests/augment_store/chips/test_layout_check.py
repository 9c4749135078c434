"""`tim-store layouts check`: what a later stage stops at is a problem, and exits 1."""

from pathlib import Path

import numpy as np
import pytest

from augment_store.cli.main import main
from tests.worlds import EAST, rasters, write_folder_chips, write_tif

IDS = [f"{city}_0_{column}" for city in ("alba", "brno", "cadiz") for column in range(2)]


@pytest.fixture
def root(tmp_path) -> Path:
    """Two chips of each of three cities, with masks and splits."""
    made = write_folder_chips(tmp_path / "mine", IDS)
    for place, chip_id in enumerate(IDS):
        write_tif(made / "MASK" / f"{chip_id}.tif", np.zeros((32, 32), np.uint8), EAST + 320 * place)
    (made / "split").mkdir()
    for place, split in enumerate(("train", "val", "test")):
        (made / "split" / f"{split}.txt").write_text("\n".join(IDS[2 * place : 2 * place + 2]))
    return made


def rename_masks(root):
    for path in sorted((root / "MASK").iterdir()):
        path.rename(path.with_name(f"x{path.name}"))


def enlarge(root):
    for name, raster in rasters(7, 48).items():
        stored = raster[0].astype(np.float32) if name == "S1RTC" else raster[0]
        write_tif(root / name / "brno_0_0.tif", stored, EAST + 640)
    write_tif(root / "MASK" / "brno_0_0.tif", np.zeros((48, 48), np.uint8), EAST + 640)


PROBLEMS = {
    "6 masks of no chip, such as that of 'xalba_0_0'; chips are such as 'alba_0_0'": rename_masks,
    "none for 1 chip of the splits (cadiz_0_1), at which": lambda root: (
        root / "MASK/cadiz_0_1.tif"
    ).unlink(),
    "split/val.txt, at which a fine-tune stops": lambda root: (root / "split/val.txt").unlink(),
    "chips of 2 sizes (32 px 5, 48 px 1; not of the usual size: brno_0_0)": enlarge,
    "MASK/brno_0_0.tif is 16 px); a chip's files": lambda root: write_tif(
        root / "MASK/brno_0_0.tif", np.zeros((16, 16), np.uint8)
    ),
    "1 file cannot be opened, such as": lambda root: (root / "DEM/brno_0_1.tif").write_bytes(b"nothing"),
}


def test_a_sound_chip_set_has_no_problem(root, capsys):
    assert main(["layouts", "check", "folders", "--chips", str(root)]) == 0
    assert "problem:" not in capsys.readouterr().out


@pytest.mark.parametrize("told", PROBLEMS)
def test_what_a_later_stage_stops_at_is_a_problem(told, root, capsys):
    PROBLEMS[told](root)
    assert main(["layouts", "check", "folders", "--chips", str(root)]) == 1
    assert told in capsys.readouterr().out


def test_as_many_scenes_as_chips_is_said(tmp_path, capsys):
    write_folder_chips(tmp_path, ["alba", "brno"])
    assert main(["layouts", "check", "folders", "--chips", str(tmp_path)]) == 0
    assert "2; chip alba is from alba; as many as chips" in capsys.readouterr().out
