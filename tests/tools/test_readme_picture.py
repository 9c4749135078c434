"""The README's first picture: which chip it shows, and that it is drawn from what a demo run leaves."""

import numpy as np
from PIL import Image

from tests.worlds import lulc_of_labels, make_world, store_of, write_tif
from tools.readme_picture import ARMS, choose_chip, main, panels, verdict

HEADLINE = "One run is not evidence: mIoU +0.33 pp"


def make_run(root):
    """The files of a demo run that the picture is made of; predictions are the masks."""
    world = make_world(root / "chips")
    chips = world.chips
    store_of(chips, root / "stores" / "lulc", given=lulc_of_labels(world))
    for arm in ARMS:
        for chip_id in chips.splits["test"]:
            labels = chips.mask(chip_id).clip(0).astype(np.int16)
            write_tif(root / "runs" / arm / "score" / "predictions" / f"{chip_id}.tif", labels)
    (root / "report").mkdir()
    (root / "report" / "report.md").write_text(f"# {HEADLINE}\n\n- more\n")
    return chips


def test_the_chip_with_most_classes_is_shown(tmp_path):
    chips = make_world(tmp_path / "chips").chips
    masks = {chip_id: np.zeros((1, 32, 32), np.int8) for chip_id in chips.splits["test"]}
    masks["delta_0_0"][0, :4] = -1  # ignored pixels are no class
    masks["delta_0_1"][0, :4] = 3
    for chip_id, mask in masks.items():
        write_tif(chips.root / "data/MASK" / f"{chip_id}_annotation_flood.tif", mask)
    assert choose_chip(chips) == "delta_0_1"


def test_panels_show_the_stages_in_their_order(tmp_path):
    chips = make_run(tmp_path)
    shown = panels(tmp_path, "delta_0_0", chips)
    assert [panel.arrow for panel in shown if panel.arrow] == ["generate", "finetune", "eval"]
    *_, baseline, candidate, reference = (panel.pixels for panel in shown)
    ignored = chips.mask("delta_0_0") == -1
    assert np.array_equal(baseline, candidate)
    assert np.array_equal(candidate[~ignored], reference[~ignored])
    assert (reference[ignored] == 128).all()
    assert verdict(tmp_path) == HEADLINE


def test_the_command_writes_a_picture(tmp_path, capsys):
    make_run(tmp_path)
    assert main([str(tmp_path), "--out", str(tmp_path / "p.png")]) == 0
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size[0] > 4 * picture.size[1]
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'p.png'}: ")
