"""What a training step costs in each arm: `python -m tests.benchmarks.finetune_speed`.

TerraMind base, 256 px, batch 2, one timestep, random weights, float32, each arm in a process of its own (3.5 to
4.5 GB each; `--arms` chooses). The arms take turns, so that whatever else the machine does meets all of them, and
what is measured is processor time of one thread, which other load disturbs least. The first lines are the time to
load a batch without a store and with one, in one thread too, as DataLoader's workers do it.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from finetune.features.frozen_encoder import bypass_encoder, kept_layers, run_encoder
from generate.model.map_decoder import ImageKey
from tests.benchmarks import generation_speed
from tests.benchmarks.table import DEVICE, Row, peak_memory, seconds

GENERATE, INLINE = "generate", "in-line TiM"
FROZEN, FEATURES = "frozen", "features"
STEPS = {
    "phase 2": {"backbone": "terramind_v1_base"},
    "onehot": {"backbone": "terramind_tim_store", "backbone_encoding": ["onehot"]},
    "modality": {"backbone": "terramind_tim_store", "backbone_encoding": ["modality"]},
    "tokens": {"backbone": "terramind_tim_store", "backbone_encoding": ["tokens"]},
    INLINE: {"backbone": "terramind_v1_base_tim"},
    FROZEN: {"backbone": "terramind_v1_base"},
    FEATURES: {"backbone": "terramind_v1_base"},
}


class Generator:
    """TerraMind base in generate mode in this process; a step makes the map of one image."""

    def __init__(self, size: int) -> None:
        torch.set_num_threads(1)
        self.module = generation_speed.load("base", 1).module
        self.image = generation_speed.images(1, size)

    def step(self) -> None:
        """One image."""
        self.module.generate(self.image, [ImageKey("chip", 0)])


class Arm:
    """One arm in this process: makes a task and a batch, and takes steps."""

    def __init__(self, name: str, size: int, batch: int, timesteps: int) -> None:
        from terratorch.tasks import SemanticSegmentationTask

        import finetune.model.backbone  # noqa: F401 - registers the backbone

        torch.set_num_threads(1)
        torch.manual_seed(0)
        necks = [{"name": "SelectIndices", "indices": [2, 5, 8, 11]}]
        necks += [{"name": "ReshapeTokensToImage", "remove_cls_token": False}]
        arguments = {
            **STEPS[name],
            "backbone_modalities": ["S2L2A", "S1RTC", "DEM"],
            "necks": [*necks, {"name": "LearnedInterpolateToPyramidal"}],
            "decoder": "UNetDecoder",
            "decoder_channels": [512, 256, 128, 64],
            "num_classes": 5,
        }
        if timesteps > 1:
            temporal = {
                "use_temporal": True,
                "temporal_pooling": "concat",
                "temporal_n_timestamps": timesteps,
            }
            arguments |= {f"backbone_{key}": value for key, value in temporal.items()}
        self.task = SemanticSegmentationTask(
            arguments, "EncoderDecoderFactory", ignore_index=-1, freeze_backbone=name in {FROZEN, FEATURES}
        )
        self.task.train().to(DEVICE)
        trained = (parameter for parameter in self.task.parameters() if parameter.requires_grad)
        self.optimizer = torch.optim.AdamW(trained, lr=1e-5)
        channels = {"S2L2A": 12 + 10 * (name == "onehot"), "S1RTC": 2, "DEM": 1}
        self.image = {key: torch.randn(batch, count, size, size) for key, count in channels.items()}
        if name == "modality":
            self.image["TIM"] = torch.rand(batch, 10, size, size)
        if name == "tokens":
            self.image["LULC"] = torch.randint(4375, (batch, 1, size, size))
        if timesteps > 1:  # [B, C, T, H, W]
            self.image = {key: torch.stack([image] * timesteps, dim=2) for key, image in self.image.items()}
        self.image = {key: image.to(DEVICE) for key, image in self.image.items()}
        self.mask = torch.randint(5, (batch, size, size)).to(DEVICE)
        self.given: dict[str, torch.Tensor] = {}
        if name == FEATURES:
            self._take_features(batch, size)

    def _take_features(self, batch: int, size: int) -> None:
        """Let the steps begin with what the backbone makes of the images, as they are read from disk."""
        with torch.inference_mode():
            made = run_encoder(self.task, self.image, layers := kept_layers(self.task))
        bypass_encoder(self.task, layers, made.axes)
        self.given = {"features": torch.from_numpy(made.values).half().to(DEVICE)}
        self.image = {"blank": torch.zeros((), device=DEVICE).expand(batch, 1, size, size)}

    def step(self) -> None:
        """One training step."""
        self.optimizer.zero_grad()
        self.task.criterion(self.task(dict(self.image), **self.given).output, self.mask).backward()
        self.optimizer.step()


def serve(name: str, size: int, batch: int, timesteps: int) -> None:
    """Takes a step for every line on stdin and answers with its seconds and the peak memory in GB."""
    arm = Generator(size) if name == GENERATE else Arm(name, size, batch, timesteps)
    for _ in sys.stdin:
        found = [seconds(arm.step), peak_memory()]
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


Answers = dict[str, list[list[float]]]


def measure_steps(names: Sequence[str], rounds: int, size: int, batch: int, timesteps: int = 1) -> Answers:
    """Seconds and peak memory in GB of every step, by arm; the arms take turns, after a step that warms up."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.finetune_speed"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    words += ["--size", str(size), "--batch", str(batch), "--timesteps", str(timesteps), "--serve"]
    arms = {name: subprocess.Popen([*words, name], **pipes) for name in names}
    answers: Answers = {name: [] for name in names}
    for _ in range(rounds + 1):
        for name, process in arms.items():
            process.stdin.write("step\n")
            process.stdin.flush()
            answers[name].append(json.loads(process.stdout.readline()))
    for process in arms.values():
        process.stdin.close()
        process.wait()
    return {name: found[1:] for name, found in answers.items()}


@functools.cache
def one_to_one(name: str, timesteps: int) -> list[tuple[list[float], list[float]]]:
    """Seconds and peak memory of steps of an arm and of Phase 2, which take turns."""
    found = measure_steps(["phase 2", name], rounds=5, size=256, batch=2, timesteps=timesteps)
    return list(zip(found[name], found["phase 2"], strict=True))


def ratios(part: int, timesteps: int) -> list[float]:
    """Seconds (part 0) or peak memory (part 1) of `onehot` over those of Phase 2, step by step."""
    return [ours[part] / base[part] for ours, base in one_to_one("onehot", timesteps)]


@functools.cache
def steps_on_features() -> dict[str, list[float]]:
    """Seconds of steps on features, of a frozen backbone and of a whole fine-tune, which take turns."""
    found = measure_steps([FEATURES, FROZEN, "phase 2"], rounds=3, size=256, batch=2)
    return {name: [one for one, _ in steps] for name, steps in found.items()}


def over_features(name: str) -> list[float]:
    """Seconds of steps of an arm over those on features."""
    found = steps_on_features()
    return [other / ours for other, ours in zip(found[name], found[FEATURES], strict=True)]


def experiment(chips: int = 224, epochs: int = 20, batch: int = 2) -> list[float]:
    """In-line TiM's training over generating once and training with `onehot`, from steps that take turns."""
    found = measure_steps([GENERATE, "onehot", INLINE], rounds=3, size=256, batch=batch)
    seconds = [[one for one, _ in found[name]] for name in (GENERATE, "onehot", INLINE)]
    steps = epochs * chips / batch
    return [
        steps * inline / (chips * image + steps * step) for image, step, inline in zip(*seconds, strict=True)
    ]


def compare_steps(names: Sequence[str], rounds: int, size: int, batch: int) -> None:
    """Prints the table of steps."""
    answers = measure_steps(names, rounds, size, batch)
    times = {name: [one for one, _ in found] for name, found in answers.items()}
    base = names[0]
    sys.stdout.write("arm            median s   fastest s   × phase 2 (median, fastest, paired)   peak GB\n")
    for name in names:
        paired = median(one / other for one, other in zip(times[name], times[base], strict=True))
        ratios = (median(times[name]) / median(times[base]), min(times[name]) / min(times[base]), paired)
        row = f"{name:14} {median(times[name]):8.3f} {min(times[name]):11.3f}   "
        row += "   ".join(f"{ratio:5.3f}" for ratio in ratios)
        sys.stdout.write(f"{row}   {answers[name][-1][1]:20.2f}\n")


def compare_loading(rounds: int, size: int, batch: int) -> None:
    """Prints the time to load a batch with a store and without, D4 and four timesteps as in Phase 2."""
    import albumentations
    from albumentations.pytorch import ToTensorV2
    from terratorch.datasets.transforms import FlattenTemporalIntoChannels, UnflattenTemporalFromChannels

    from finetune.data.datamodule import TimStoreDataModule
    from tests.worlds import make_world, store_of

    steps = [FlattenTemporalIntoChannels(), albumentations.D4(p=1), ToTensorV2()]
    steps += [UnflattenTemporalFromChannels(n_timesteps=4)]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        splits = {"train": tuple(f"a{n}_0_0" for n in range(16)), "val": ("b_0_0",), "test": ("c_0_0",)}
        world = make_world(Path(folder) / "chips", size=size, splits=splits)
        store_of(world.chips, Path(folder) / "store")
        stores = {"without a store": None, "with a store": str(Path(folder) / "store")}
        loaders = {}
        for name, store in stores.items():
            module = TimStoreDataModule(
                str(world.root), batch_size=batch, augment=store, train_transform=steps
            )
            module.setup("fit")
            loaders[name] = module.train_dataloader()
        times: dict[str, list[float]] = {name: [] for name in stores}
        for _ in range(rounds):
            for name, loader in loaders.items():
                torch.manual_seed(0)
                started = time.process_time()
                count = sum(1 for _ in loader)
                times[name].append((time.process_time() - started) / count)
    base = times["without a store"]
    for name, found in times.items():
        ratio = median(one / other for one, other in zip(found, base, strict=True))
        shares = f"× {min(found) / min(base):.3f} fastest, × {ratio:.3f} paired"
        sys.stdout.write(f"loading {name:16} {1000 * min(found):7.1f} ms a batch, {shares}\n")


STEP = "training step, onehot, base, 256 px"
TABLE = (
    Row("step", f"{STEP}, T = 1", "Phase 2", lambda: ratios(0, 1), at_most=1.03),
    Row("step-memory", "its peak memory", "Phase 2", lambda: ratios(1, 1), at_most=1.03),
    Row("step-t4", f"{STEP}, T = 4", "Phase 2", lambda: ratios(0, 4), at_most=1.03),
    Row("step-t4-memory", "its peak memory", "Phase 2", lambda: ratios(1, 4), at_most=1.03),
    Row(
        "experiment",
        "in-line TiM, 20 epochs of 224 chips, base, 256 px, T = 1 (from steps)",
        "generating once and 20 epochs of onehot",
        experiment,
        at_least=1.7,
    ),
    Row(
        "step-features-frozen",
        "training step, frozen backbone, base, 256 px, T = 1, UNet decoder",
        "the step on features",
        lambda: over_features(FROZEN),
        at_least=3.0,
    ),
    Row(
        "step-features-full",
        "training step, all trained",
        "the step on features",
        lambda: over_features("phase 2"),
        at_least=7.0,
    ),
)


def main() -> None:
    """Runs both comparisons, or serves one arm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--arms", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--timesteps", type=int, default=1)
    parser.add_argument("--serve", choices=[*STEPS, GENERATE])
    parsed = parser.parse_args()
    if parsed.serve:
        serve(parsed.serve, parsed.size, parsed.batch, parsed.timesteps)
        return
    compare_loading(parsed.rounds, parsed.size, parsed.batch)
    compare_steps(parsed.arms, parsed.rounds, parsed.size, parsed.batch)


if __name__ == "__main__":
    main()
