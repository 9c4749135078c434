"""Text of the files that `tim-store init` writes: templates beside this module, filled with what was found."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final

import yaml

from augment_store.chips.chip_survey import BandMoments, ChipSurvey
from augment_store.io.files import printable
from augment_store.modalities.class_colors import class_colors
from augment_store.modalities.definitions import INPUT_MODALITIES, LULC_LEGEND
from augment_store.utils.text import format_size

TEMPLATES: Final = Path(__file__).with_name("init_templates")

DEMO_INPUTS: Final = ("S2L2A", "S1RTC", "DEM")
"""Modalities that the demo's generator and backbone know."""

STEPS: Final = 60
"""Steps of training that a first comparison takes, by which epochs are chosen."""

STEP_PIXELS: Final = 8 * 128**2
"""Pixels of a step of training, which a laptop takes in a second."""

_DEMO: Final = {
    "architecture": "terramind_demo",
    "pretrained": "true",
    "indices": "0, 2, 3, 5",
    "small": "the demo's small TerraMind",
}
_TINY: Final = {
    "architecture": "terramind_v1_tiny",
    "pretrained": "false",
    "indices": "2, 5, 8, 11",
    "small": "a tiny TerraMind of random weights",
}


@dataclass(frozen=True)
class Starter:
    """What the files are written from.

    Attributes:
        name: Prefix of the files' names.
        chips: The chip set, as commands are given it.
        inputs: Modalities that generator and fine-tune read.
        layout: The layout as commands are given it; empty if it is detected.
        legend: The legend table as commands are given it; empty if masks cannot be compared with maps yet.
        classes: Names of the classes by label.
        survey: What the chips are like.
        train: Number of training chips.
        shared_scenes: Whether the chip set's own splits share scenes.
    """

    name: str
    chips: str
    inputs: tuple[str, ...]
    layout: str
    legend: str
    classes: tuple[str, ...]
    survey: ChipSurvey
    train: int
    shared_scenes: bool

    @property
    def in_demo(self) -> bool:
        """Return whether the demo's small TerraMind knows all inputs."""
        return set(self.inputs) <= set(DEMO_INPUTS)

    @property
    def generator_words(self) -> tuple[str, ...]:
        """Return the arguments of `tim-generate` that choose a generator."""
        if self.in_demo:
            return ("--generator", "demo")
        # no download, and seconds a chip on a laptop
        return ("--generator", "terramind_v1_tiny", "--weights", "random")

    @property
    def layout_words(self) -> tuple[str, ...]:
        """Return `--layout`, if one is needed."""
        return ("--layout", self.layout) if self.layout else ()

    def file(self, suffix: str = "") -> str:
        """Return the name of a file of this set."""
        return f"{self.name}{suffix}.yaml"


def finetune_text(start: Starter) -> str:
    """Return the YAML of a fine-tune."""
    survey = start.survey
    height, width = survey.size
    # as many pixels a step as eight of the demo's chips have, but two chips for batch normalization
    batch = max(1, min(start.train, 8, max(2, STEP_PIXELS // (height * width))))
    # rounded up: a last, smaller batch is a step too
    epochs = max(2, min(20, STEPS // -(-start.train // batch)))
    several = survey.timesteps > 1
    return _fill_template(
        "finetune",
        **(_DEMO if start.in_demo else _TINY),
        chips=_quoted(start.chips),
        chips_word=_command_word(start.chips),
        file=start.file(),
        name=start.name,
        steps=epochs * -(-start.train // batch),
        epochs=epochs,
        batch=batch,
        study=start.file("_study"),
        layout_option=f" --layout {start.layout}" if start.layout else "",
        layout_name=start.layout or "the layout",
        modalities=", ".join(start.inputs),
        timesteps=", ".join(map(str, range(survey.timesteps))),
        count=survey.timesteps,
        read=survey.read,
        moments="\n".join(_moment_lines(survey.moments)),
        labels=", ".join(f"{label} {name}" for label, name in enumerate(start.classes)),
        classes=", ".join(map(_quoted, start.classes)),
        classes_count=len(start.classes),
        size=format_size(survey.size),
        transforms="\n".join(f"      {line}" for line in _transform_lines(survey)),
        temporal=_TEMPORAL.format(count=survey.timesteps) if several else "",
    )


_TEMPORAL: Final = """\
      backbone_use_temporal: true
      backbone_temporal_pooling: concat
      backbone_temporal_n_timestamps: {count}
"""


def _transform_lines(survey: ChipSurvey) -> list[str]:
    height, width = survey.size
    # turning by 90° would swap the sides
    turns = ["D4"] if height == width else ["HorizontalFlip", "VerticalFlip"]
    flips = [f"- class_path: albumentations.{name}" for name in (*turns, "pytorch.ToTensorV2")]
    if survey.timesteps == 1:
        return flips
    temporal = "- class_path: terratorch.datasets.transforms."
    return [
        f"{temporal}FlattenTemporalIntoChannels",
        *flips,
        f"{temporal}UnflattenTemporalFromChannels",
        "  init_args:",
        f"    n_timesteps: {survey.timesteps}",
    ]


def _moment_lines(moments: Sequence[BandMoments]) -> list[str]:
    lines = []
    for found in moments:
        modality = INPUT_MODALITIES[found.modality]
        place = modality.bands.index(found.band)
        expected = f"{modality.mean[place]:g} ± {modality.std[place]:g}"
        lines.append(
            f"    #   {found.modality} {found.band}: {found.mean:.4g} ± {found.std:.4g} (TerraMind's {expected})"
        )
    return lines


def study_text(start: Starter) -> str:
    """Return the YAML of a study."""
    zero_shot = "zero_shot:\n  map: {store: lulc, legend: %s}  # the map itself, as a prediction" % (
        start.legend or start.file("_legend")
    )
    if not start.legend:  # of an unfinished legend every pixel would be a miss
        lines = [
            "once the legend's mapping is filled in, with map among the controls below:",
            *zero_shot.splitlines(),
        ]
        zero_shot = "\n".join(f"# {line}" for line in lines)
    overlap = (
        "finetune_arguments: [--allow-scene-overlap]  # its own splits share scenes, and every report says so"
    )
    return _fill_template(
        "study",
        chips=_quoted(start.chips),
        chips_word=_command_word(start.chips),
        file=start.file("_study"),
        name=start.name,
        layout=f"layout: {start.layout}\n" if start.layout else "",
        inputs=", ".join(start.inputs),
        generator=", ".join(start.generator_words),
        config=start.file(),
        finetune_arguments=overlap if start.shared_scenes else "# finetune_arguments: [--weights, weights]",
        zero_shot=zero_shot,
        controls="shuffle, map" if start.legend else "shuffle",
    )


def legend_text(start: Starter, codes: Mapping[int, int]) -> str:
    """Return a legend table to fill in.

    Args:
        start: The chip set.
        codes: Label of each code that the layout translates; empty if masks have labels.
    """
    colors = class_colors(start.classes)
    classes = [
        f"  - {{value: {label}, name: {_quoted(name)}, rgb: [{', '.join(map(str, rgb))}]}}"
        for label, (name, rgb) in enumerate(zip(start.classes, colors, strict=True))
    ]
    # 0 is no data, and 8 clouds
    mapping = [f"#   {entry.value}: ?  # {entry.name}" for entry in LULC_LEGEND if entry.value not in (0, 8)]
    told = ", ".join(f"{code} is {label}" for code, label in codes.items())
    return _fill_template(
        "legend",
        name=_quoted(start.name),
        file=start.file("_legend"),
        config=start.file(),
        codes_note=f", as the layout translates codes ({told})" if codes else "",
        classes="\n".join(classes),
        mapping="\n".join(mapping),
    )


def layout_text(plain: Mapping[str, Any], notes: Sequence[str], file: str, chips: str) -> str:
    """Return the YAML of a layout, with what was guessed as comments."""
    # None: lists and maps without others inside stay on a line
    keys = yaml.safe_dump(
        dict(plain), sort_keys=False, default_flow_style=None, width=110, allow_unicode=True
    )
    return _fill_template(
        "layout",
        file=file,
        chips_word=_command_word(chips),
        # a file's name in a note may have a line break, after which it would be a key
        notes="\n".join(f"# - {printable(note)}" for note in notes),
        keys=keys.rstrip(),
    )


def _quoted(text: str) -> str:
    """Return a name or path as YAML reads it back, inside brackets too: quoted unless it is plain."""
    # not one that begins with a digit: loaders differ in what they take for a number, as 1e3
    plain = re.fullmatch(r"([A-Za-z]|\.{0,2}/)[A-Za-z0-9_ ./-]*", text) and yaml.safe_load(text) == text
    return text if plain else yaml.safe_dump(text, default_style='"', width=sys.maxsize).strip()


def _command_word(path: str) -> str:
    """Return a path as a shell takes it, for commands in comments."""
    return printable(shlex.quote(path))


def _fill_template(template: str, **values: object) -> str:
    text = (TEMPLATES / f"{template}.yaml").read_text(encoding="utf-8")
    return Template(text).substitute({name: str(value) for name, value in values.items()})
