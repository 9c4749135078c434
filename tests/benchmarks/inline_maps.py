"""A map against TerraTorch's in-line model of the same weights: `python -m tests.benchmarks.inline_maps`.

A run of the shipped YAML for tokens is trained a little on tokens of a tiny generator of random weights. Then a scene
of 4 × 4 windows is mapped by us, and by TerraTorch's tiled inference of `terramind_v1_tiny_tim` with the run's encoder,
neck and decoder and the generator's weights in its sampler, whose crops are our windows. They take turns; what is
measured is processor time of one thread. Both with inputs standardized as TerraMind was pretrained, where the two draw
from the same input, and by the YAML's own statistics, with which the in-line model draws from other input than ours.
"""

from __future__ import annotations

import copy
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from terratorch.tasks import SemanticSegmentationTask

from demo.world.command import write_world
from demo.world.scenes import CHIP_SIDE, draw_scene
from finetune.__main__ import main as finetune
from generate import generate
from predict.mapper import Mapper, load_mapper
from predict.options import PredictOptions
from predict.scene import SceneWindows
from predict.scene_map import map_scene
from predict.shares import Share
from tests.benchmarks.scene_maps import CHIPS, SCENE, read, tiled, whole_scene, write_scene
from tests.worlds import World, tiny_options

STATISTICS = ("terramind_v1", "impactmesh_flood")
"""Those of TerraMind's pretraining, and those of the YAML."""


def train_on_tokens(folder: Path, means: str) -> Path:
    """Train the shipped YAML a little on tokens of a tiny generator of random weights; return the run."""
    write_world(folder / "chips", train=2, val=1, test=1, timesteps=4)
    generate(
        folder / "chips",
        folder / "store",
        generator="terramind_v1_tiny",
        weights="random",
        # the likeliest token, so that no random number counts
        top_k=1,
        top_p=0.0,
        arrays="tokens",
        # the dates of a window, which the in-line model sees at once
        network_batch=4,
        accelerator="cpu",
        accept_audit=True,
    )
    words = tiny_options(World(folder / "chips"), "nyc_tokens", "terramind_v1_tiny")
    words += ["--augment", str(folder / "store"), "--run", str(folder / "run")]
    words += ["--data.init_args.means", means, "--data.init_args.stds", means]
    # so that the map has several classes
    words += ["--optimizer.init_args.lr", "0.001", "--trainer.max_epochs", "4"]
    if finetune(["fit", *words]):
        raise SystemExit(1)
    return folder / "run"


def inline_task(mapper: Mapper) -> SemanticSegmentationTask:
    """Build TerraTorch's in-line model with the weights of a run on tokens, and its generator's in the sampler."""
    [trained], [maker] = mapper.ensemble.runs, mapper.generators.values()
    given = copy.deepcopy(trained.loaded.config["model"]["init_args"])
    given["model_args"] |= {
        "backbone_architecture": "terramind_v1_tiny_tim",
        "backbone_encoding": [],
        "backbone_pretrained": False,
        "backbone_tim_top_k": 1,
        "backbone_tim_top_p": 0.0,
        # apart, as the generator keeps the embeddings that the fine-tune has trained further
        "backbone_tim_chained_generations": False,
    }
    task = SemanticSegmentationTask(**given)
    left = task.load_state_dict(trained.loaded.task.state_dict(), strict=False)
    own = ("model.encoder.encoder.sampler.", "model.encoder.encoder.tokenizer.")
    assert not left.unexpected_keys
    assert all(key.startswith(own) for key in left.missing_keys), left.missing_keys
    task.model.encoder.encoder.sampler.model.load_state_dict(maker._module.generator.network.state_dict())
    return task.eval()


@torch.inference_mode()
def same_tokens(mapper: Mapper, windows: SceneWindows, task: SemanticSegmentationTask) -> float:
    """Return the share of tokens that the in-line model draws of our windows as we do."""
    [maker], dates = mapper.generators.values(), mapper.ensemble.dates
    made, _ = maker.generate(windows, windows.ids, dates)
    images, drawn = whole_scene(mapper, windows), []
    sampler = task.model.encoder.encoder.sampler
    draw = sampler.generate

    def spy(*arguments: Any, **keywords: Any) -> Any:
        found = draw(*arguments, **keywords)
        drawn.append(found["tok_lulc@224"]["tensor"].clone())
        return found

    sampler.generate = spy
    equal = []
    for chip_id in windows.ids:
        part = windows._boxes[chip_id].slices
        task({name: image[..., *part] for name, image in images.items()})
        ours = torch.from_numpy(made[chip_id]["tokens"][0].astype(np.int64)).flatten(1)
        equal.append(float((drawn.pop().reshape(ours.shape) == ours).double().mean()))
    sampler.generate = draw
    return float(np.mean(equal))


@torch.inference_mode()
def compare(run: Path, folder: Path, rounds: int = 3) -> dict[str, Any]:
    """Map a scene by us and by the in-line model, in turns."""
    side = CHIP_SIDE * (CHIPS + 1) // 2
    raster = draw_scene(SCENE, rows=3, columns=3).window("scene", 0, 0, side)
    scene = {name: str(file) for name, file in write_scene(folder, raster).items()}
    ours, theirs = [], []
    for number in range(rounds):
        mapper = load_mapper(PredictOptions(run, folder / f"{number}.tif", scene), Share(0, 1))
        task = inline_task(mapper)
        with mapper.open_scene() as windows:
            # the same code without loading, which both need
            began = time.process_time()
            map_scene(mapper, windows)
            ours.append(time.process_time() - began)
            began = time.process_time()
            # without TerraTorch's padding, its crops are our windows
            classes = tiled(task, whole_scene(mapper, windows), padding=False)
            theirs.append(time.process_time() - began)
            tokens = same_tokens(mapper, windows, task)
    mapped = read(folder / "0.tif")[0]
    agrees = classes == mapped
    # in the corners of a scene lies one window alone
    edge = np.minimum(np.arange(side), np.arange(side)[::-1]) < CHIP_SIDE // 2
    alone = edge[:, None] & edge
    return {
        "processor seconds": median(ours),
        "processor seconds of the in-line model": median(theirs),
        "classes in the map": len(np.unique(mapped)),
        "same tokens": tokens,
        "agreement where one window lies alone": float(agrees[alone].mean()),
        "agreement elsewhere": float(agrees[~alone].mean()),
    }


def main() -> None:
    """Measure with each statistics and print each as JSON."""
    torch.set_num_threads(1)
    for means in STATISTICS:
        with tempfile.TemporaryDirectory() as folder:
            found = compare(train_on_tokens(Path(folder), means), Path(folder))
        sys.stdout.write(f"{json.dumps({means: found}, indent=1)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
