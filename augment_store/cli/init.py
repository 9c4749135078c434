"""`tim-store init`."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.chip_survey import draw_splits
from augment_store.chips.file_roles import look_at
from augment_store.chips.layout_check import check_chips
from augment_store.chips.layouts import SPLITS
from augment_store.cli.init_findings import FoundSet, find_set_layout, look_at_set
from augment_store.cli.init_text import Starter, finetune_text, layout_text, legend_text, study_text
from augment_store.errors import OutputError
from augment_store.io.files import atomic_write, check_local, printable
from augment_store.store.history import command_line
from augment_store.utils.text import format_size, pluralize

EXAMPLES: Final = """
tim-store init data/mine
"""

LARGEST_CHIP: Final = 1024
"""Longest side of a file in pixels that is taken for a chip; larger ones are scenes to cut."""

LISTED_SCENES: Final = 20
"""Scenes whose `cut` is printed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `init`."""
    parser.add_argument(
        "chips",
        type=Path,
        metavar="CHIPS",
        help="folder of chips, or of scenes to cut; files are written into the working folder, and lists of the splits "
        "into CHIPS/split where there are none; nothing is overwritten",
    )


def run(args: argparse.Namespace) -> int:
    """Look at a folder, write what a first comparison needs, and print the next commands.

    Raises:
        AugmentStoreError: If the folder has no chips, its files say too little, or a file is there already.
    """
    check_local("CHIPS", args.chips, "copy the chips to this machine, or write a layout file by hand")
    name = re.sub(r"[^\w-]+", "_", args.chips.resolve().name) or "chips"
    found = find_set_layout(args.chips, name)
    chips = found.chips
    size = _first_size(chips)
    if max(size) > LARGEST_CHIP:
        _print_lines(
            f"{args.chips}: {pluralize(len(chips), 'scene')} of about {format_size(size)}, too large for chips"
        )
        _print_lines(*(f"guessed: {note}" for note in found.notes), "next:", *_cuts(chips, name))
        return 0
    return _write_start(look_at_set(found, name), name)


def _first_size(chips: ChipSet) -> tuple[int, int]:
    modality = next(name for name in chips.modalities if chips.ids[0] in chips.ids_of(name))
    return look_at(chips.band_paths(chips.ids[0], modality)[0]).size


def _write_start(found: FoundSet, name: str) -> int:
    """Write the files of a set and say what was found; return 1 if a later stage would stop at something."""
    findings = found.findings
    start = _starter(found, name)
    files = _file_texts(found, start)
    for path in files:
        if path.exists():
            raise OutputError(path, "it is there, and init overwrites nothing: move it away")
    _write_together(files)
    chips, survey = findings.chips, found.survey
    times = pluralize(survey.timesteps, "timestep")
    _print_lines(f"{chips.root}: {pluralize(len(chips), 'chip')} of {format_size(survey.size)}, {times}")
    _print_lines(*(f"guessed: {note}" for note in findings.notes), *(f"wrote {path}" for path in files))
    # splits of their own that share scenes are named in the study
    problems = [
        each
        for each in check_chips(chips)
        if each.problem and not (found.shared_scenes and each.subject == "overlap")
    ]
    problems_told = [f"problem: {each.subject}: {each.text}" for each in problems]
    missing = [split for split in SPLITS if split not in found.splits] if found.classes else []
    problems_told += [f"problem: no {split} split, at which a fine-tune stops" for split in missing]
    _print_lines(*problems_told, "next:", *_commands(start, trains=bool(found.classes) and not missing))
    return 1 if problems_told else 0


def _starter(found: FoundSet, name: str) -> Starter:
    findings = found.findings
    return Starter(
        name=name,
        chips=str(findings.root),
        inputs=found.inputs,
        layout=f"{name}_layout.yaml" if findings.guessed else "",
        legend=found.legend,
        classes=found.classes,
        survey=found.survey,
        train=len(found.splits.get("train", ())),
        shared_scenes=found.shared_scenes,
    )


def _file_texts(found: FoundSet, start: Starter) -> dict[Path, str]:
    """Return the text of each file to write."""
    findings, files = found.findings, {}
    if start.layout:
        text = layout_text(findings.plain, findings.notes, start.layout, start.chips)
        files[Path(start.layout)] = text
    if found.drawn:
        files |= {
            findings.root / "split" / f"{split}.txt": "".join(f"{chip_id}\n" for chip_id in ids)
            for split, ids in found.splits.items()
        }
    if found.classes:
        if not start.legend:
            files[Path(start.file("_legend"))] = legend_text(start, findings.chips.layout.labels)
        if start.train:
            files[Path(start.file())] = finetune_text(start)
            files[Path(start.file("_study"))] = study_text(start)
    return files


def _write_together(files: Mapping[Path, str]) -> None:
    """Write files; remove those of this call if a later one cannot be written."""
    with contextlib.ExitStack() as written:
        for path, text in files.items():
            atomic_write(path, [text.encode()])
            written.callback(path.unlink, missing_ok=True)
        written.pop_all()


def _commands(start: Starter, *, trains: bool) -> Iterator[str]:
    """Yield the five next commands."""
    where = ("--chips", start.chips, *start.layout_words)
    store, study = f"stores/{start.name}_lulc", start.file("_study")
    inputs = ("--inputs", *start.inputs)
    commands: list[tuple[str, Sequence[str]]] = [
        ("generate", ("audit", *where, *inputs)),
        ("generate", (*where, *inputs, *start.generator_words, "--store", store)),
    ]
    if not trains:
        commands.append(("augment_store", ("verify", store, *where)))
    commands.append(("augment_store", ("inspect", store, *where, "--html", f"{start.name}_maps.html")))
    if trains:
        commands += [
            ("eval", ("study", "--config", study, "--dry-run")),
            ("eval", ("study", "--config", study)),
        ]
    else:
        commands.append(
            ("augment_store", ("export", store, "--format", "cog", "--out", f"{start.name}_maps"))
        )
    for module, words in commands:
        yield f"  {command_line(module, words)}"


def _cuts(chips: ChipSet, name: str) -> Iterator[str]:
    """Yield the commands that cut scenes into chips: whole scenes go into a split, or regions where there are few."""
    scenes = {chip_id: chip_id for chip_id in chips.ids}
    split_of = {chip_id: split for split, ids in draw_splits(chips.ids, scenes).items() for chip_id in ids}
    out = f"{name}_chips"
    for chip_id in chips.ids[:LISTED_SCENES]:
        there = [modality for modality in chips.modalities if chip_id in chips.ids_of(modality)]
        rasters = [f"{modality}={chips.path(chip_id, modality)}" for modality in there]
        mask = chips.mask_path(chip_id)
        rasters += [f"MASK={mask}"] if mask is not None and mask.is_file() else []
        share = (
            ["--split", split_of[chip_id]] if split_of else ["--block", "896", "--split", "70", "15", "15"]
        )
        words = ["cut", *rasters, "--out", out, "--scene", chip_id, *share]
        yield f"  {command_line('augment_store', words)}"
    if len(chips) > LISTED_SCENES:
        yield f"  and {len(chips) - LISTED_SCENES} more alike"
    yield f"  {command_line('augment_store', ['init', out])}"


def _print_lines(*lines: str) -> None:
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)
