"""Files of strangers, given to each of our readers: damaged, of another shape, of another kind, or nonsense.

A reader returns a value or raises an error of ours in one line. Of a record whose digest is kept, no other value is
ever returned; a file that nobody signed may say anything that its reader understands.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from augment_store.chips.georeference import read_georeference
from augment_store.chips.layouts import read_split
from augment_store.chips.rasters import read_raster
from augment_store.chips.scenes import scenes_by_table
from augment_store.errors import AugmentStoreError
from augment_store.modalities.legend_table import LegendTable
from eval.score.counts import Counts
from eval.score.record import Score
from eval.study.config import Study
from finetune.run.manifest import RunManifest
from finetune.run.trust import rebuild
from finetune.run.yaml_file import read_yaml
from terramind_weights.weight_files import read_checkpoint
from tests.eval.scores import make_counts, make_score
from tests.faults import attacks
from tests.faults.scenarios import MANIFEST
from tests.faults.tally import Tally
from tests.worlds import rasters, write_tif, write_zarr_zip

SECONDS = 120
"""After which a reader is taken to hang."""


@dataclass(frozen=True)
class Reader:
    """One of our readers.

    Attributes:
        name: What it reads.
        file: Name of the file in the folder that `make` fills.
        make: Fills a folder.
        read: Reads the file.
        signed: Whether a digest says which bytes it must have.
        load: Plain values from its text, None where it is no text of values.
        dump: Their text.
    """

    name: str
    file: str
    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    signed: bool = False
    load: Callable[[str], Any] | None = None
    dump: Callable[[Any], str] = json.dumps


STUDY = {
    "out": "o",
    "chips": "c",
    "seeds": [1],
    "arms": {"a": {"config": "x"}, "b": {"config": "y", "arguments": ["--z"]}},
    "comparisons": {"main": {"baseline": "a", "candidate": "b", "controls": ["a"]}},
}
CONFIG = {
    "data": {
        "class_path": "finetune.data.datamodule.TimStoreDataModule",
        "init_args": {"bands": {"DEM": ["x"]}},
    },
    "model": {"class_path": "terratorch.tasks.SemanticSegmentationTask", "init_args": {"lr": 1e-5}},
    "trainer": {"callbacks": [{"class_path": "lightning.pytorch.callbacks.RichProgressBar"}]},
}
LEGEND = {
    "name": "two",
    "classes": [
        {"value": 0, "name": "water", "rgb": [0, 0, 255]},
        {"value": 1, "name": "land", "rgb": [0, 99, 0]},
    ],
    "mapping": {1: 0, 2: 1},
}


def _text(plain: Any, dump: Callable[[Any], str], name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(dump(plain), encoding="utf-8")


def _config(path: Path) -> Any:
    return rebuild(read_yaml(path), path, training=True)


def _tensors() -> dict[str, torch.Tensor]:
    return {"w": torch.arange(6.0), "b": torch.ones(2, 2)}


def _yaml(name: str, plain: Any, read: Callable[[Path], Any]) -> Reader:
    file = f"{name}.yaml"
    return Reader(
        name, file, _text(plain, yaml.safe_dump, file), read, load=yaml.safe_load, dump=yaml.safe_dump
    )


READERS = (
    Reader(
        "GeoTIFF of a chip",
        "a.tif",
        lambda folder: write_tif(folder / "a.tif", rasters(0, 16)["DEM"][0]),
        lambda path: read_raster(path).tolist(),
    ),
    Reader(
        "place of a chip",
        "a.tif",
        lambda folder: write_tif(folder / "a.tif", rasters(0, 16)["DEM"][0]),
        read_georeference,
    ),
    Reader(
        "zipped Zarr of a chip",
        "a.zarr.zip",
        lambda folder: write_zarr_zip(folder / "a.zarr.zip", rasters(0, 16)["S2L2A"]),
        lambda path: read_raster(path).tolist(),
    ),
    Reader("split", "a.txt", lambda folder: (folder / "a.txt").write_text("c_1\nc_2\n"), read_split),
    Reader(
        "table of scenes",
        "a.csv",
        lambda folder: (folder / "a.csv").write_text("c_1,x\nc_2,y\n"),
        lambda path: scenes_by_table(["c_1", "c_2"], path),
    ),
    _yaml("legend", LEGEND, LegendTable.load),
    _yaml("study", STUDY, Study.load),
    _yaml("configuration of a run", CONFIG, _config),
    Reader(
        "manifest",
        "manifest.json",
        MANIFEST.write,
        lambda path: RunManifest.read(path.parent),
        load=json.loads,
    ),
    Reader(
        "score",
        "score/score.json",
        make_score,
        lambda path: repr(Score.read(path.parents[1])),
        signed=True,
        load=json.loads,
    ),
    Reader(
        "counts of a score",
        "score/counts.npz",
        make_score,
        lambda path: repr(Score.read(path.parents[1])),
        signed=True,
    ),
    Reader(
        "counts by themselves",
        "counts.npz",
        lambda folder: make_counts().write(folder / "counts.npz"),
        lambda path: repr(Counts.read(path)),
    ),
    Reader(
        "checkpoint",
        "w.pt",
        lambda folder: torch.save(_tensors(), folder / "w.pt"),
        lambda path: repr(read_checkpoint(path)),
    ),
    Reader(
        "safetensors",
        "w.safetensors",
        lambda folder: save_file(_tensors(), folder / "w.safetensors"),
        lambda path: repr(read_checkpoint(path)),
    ),
)


def outcome(reader: Reader, path: Path, known: Any) -> str:
    """``refused``, ``harmless``, or what went wrong; a reader that waits is not waited for."""
    ended: list[str] = []
    thread = threading.Thread(target=lambda: ended.append(_outcome(reader, path, known)), daemon=True)
    thread.start()
    thread.join(SECONDS)
    return ended[0] if ended else "hangs"


def _outcome(reader: Reader, path: Path, known: Any) -> str:
    try:
        found = reader.read(path)
    except AugmentStoreError as error:
        told = str(error)
        if "\n" in told:
            return f"more than a line: {told!r}"[:300]
        named = path.name in told or str(path.parent) in told or str(path.parents[1]) in told
        return "refused" if named else f"does not name the file: {told}"[:300]
    except BaseException as error:  # noqa: BLE001 - any other is the failure looked for
        return f"{type(error).__name__}: {error}"[:300]
    return "believed" if reader.signed and found != known else "harmless"


def attack(reader: Reader, folder: Path, each: int, every: int = 1) -> Tally:
    """Every attack on one reader.

    Args:
        reader: Which.
        folder: An empty folder.
        each: Flipped bits, cuts and files of nonsense.
        every: At every how many values of a text one is changed.
    """
    reader.make(folder)
    path, tally = folder / reader.file, Tally(f"file: {reader.name}")
    whole, known = path.read_bytes(), reader.read(path)
    for what, content in itertools.chain(_damages(whole, each), _shapes(reader, whole, every)):
        path.write_bytes(content)
        tally.add(what, outcome(reader, path, known))
    for what, put in KINDS.items():
        _remove(path)
        put(path)
        tally.add(what, outcome(reader, path, known))
    _remove(path)
    _fuzz(reader, path, known, tally, each)
    return tally


def _damages(whole: bytes, each: int) -> Iterator[tuple[str, bytes]]:
    rng = np.random.default_rng(0)
    for bit in rng.integers(0, 8 * len(whole), each).tolist():
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", bytes(flipped)
    for size in rng.integers(0, len(whole), each).tolist():
        yield f"cut at {size}", whole[:size]


def _shapes(reader: Reader, whole: bytes, every: int) -> Iterator[tuple[str, bytes]]:
    """Texts whose values are of another type or missing, or that nobody could walk."""
    if reader.load is None:
        return
    plain = reader.load(whole.decode())
    changes = itertools.product(list(attacks.leaves(plain)), attacks.MUTATIONS)
    for keys, what in itertools.islice(changes, 0, None, every):
        made = copy.deepcopy(plain)
        attacks.mutate(made, keys, what)
        yield f"{keys} {what}", reader.dump(made).encode()
    yield "nested too deep", b"[" * 100_000
    yield "nested too deep, and closed", b"[" * 100_000 + b"]" * 100_000
    yield "aliases", BOMB.encode() + b"data: {}\nmodel: {}\n"
    yield "holds itself", b"a: &a [*a]\n"
    yield "an object of Python's", b"!!python/object/apply:os.system [exit 1]\n"
    for text in (
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b"{}",
        b"\x1b[2J",
        b"? [a]: b\n",
        b"2001-99-99",
        b"\xff\xfe\x00",
    ):
        yield f"is {text!r}", text


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + step)}: &{chr(98 + step)} [{', '.join(['*' + chr(97 + step)] * 9)}]\n" for step in range(9)
)
"""A few lines that stand for 9¹⁰ values."""

KINDS: dict[str, Callable[[Path], Any]] = {
    "is missing": lambda path: None,
    "is empty": lambda path: path.touch(),
    "is a folder": lambda path: path.mkdir(),
    "is a pipe": lambda path: os.mkfifo(path),
    "is a link to itself": lambda path: path.symlink_to(path.name),
    "is an endless device": lambda path: path.symlink_to("/dev/zero"),
}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def _fuzz(reader: Reader, path: Path, known: Any, tally: Tally, examples: int) -> None:
    """Files of hypothesis' making: any bytes, or any values in the reader's own notation."""
    contents = st.binary(max_size=200)
    if reader.load is not None:
        contents |= VALUES.map(lambda plain: reader.dump(plain).encode(errors="replace"))

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(contents)
    def try_all(content: bytes) -> None:
        path.write_bytes(content)
        tally.add(f"is {content[:40]!r}", outcome(reader, path, known))

    try_all()
