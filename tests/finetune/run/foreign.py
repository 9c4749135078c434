"""Small chips, and `fit` with a YAML as somebody else wrote it."""

import numpy as np
import yaml

from finetune.__main__ import main
from tests.worlds import write_folder_chips, write_tif

SPLITS = {"train": ("a_0_0", "a_0_1", "a_0_2"), "val": ("b_0_0", "b_0_1"), "test": ("c_0_0",)}
HOLES = np.where(np.arange(32)[None] < 8, -1, np.indices((32, 32)).sum(0) % 2)


def make_chips(root, masks=lambda chip_id: np.indices((32, 32)).sum(0) % 2):
    """Two classes in a checkerboard, or other masks by chip."""
    write_folder_chips(root, [chip_id for ids in SPLITS.values() for chip_id in ids])
    (root / "split").mkdir()
    for split, ids in SPLITS.items():
        (root / "split" / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for chip_id in ids:
            write_tif(root / "MASK" / f"{chip_id}.tif", masks(chip_id)[None].astype(np.int16))
    return root


def arguments(config):
    return config["model"]["init_args"]["model_args"]


def fit(config, tmp_path, *words):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(config))
    return main(["fit", "--config", str(path), "--run", str(tmp_path / "run"), *words])


def refusal(capsys):
    """The one line that a command has said."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert len(lines[0]) < 700
    return lines[0]


def put(config, key, value):
    """Set a value by its key, dotted: ``model`` and ``data`` stand for their init_args, ``args`` for model_args."""
    short = {"model": "model.init_args", "data": "data.init_args", "args": "model.init_args.model_args"}
    first, _, rest = key.partition(".")
    *path, last = f"{short.get(first, first)}.{rest}".strip(".").split(".")
    place = config
    for name in path:
        place = place[name]
    place[last] = value
