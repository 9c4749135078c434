"""Fine-tuning as a function, for notebooks and scripts; the command parses its line and does the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment_store.io.remote import as_path
from augment_store.utils.log_filters import filter_warnings
from finetune.log_filters import LOGGERS, REMARKS
from finetune.options import Options, make_options

if TYPE_CHECKING:
    from finetune.run.load import LoadedRun


def execute(options: Options) -> None:
    """Run a command: check what can be checked without torch, then train or evaluate.

    Args:
        options: The command line, checked.

    Raises:
        AugmentStoreError: If options, YAML, data, store or weights are invalid; before anything is trained.
    """
    filter_warnings(REMARKS)
    # Zarr is imported here, for a store
    from finetune.run.preflight import check_early, locate_on_hub, resume_interrupted
    from finetune.run.trainer import check_accelerator

    options = resume_interrupted(options)
    given = check_early(options)
    trainer = given.get("trainer")
    # a section of another type is told by TerraTorch's parser
    check_accelerator(trainer if isinstance(trainer, dict) else {}, options.overrides)
    locate_on_hub(options, given)
    from finetune.run.train import run  # torch and TerraTorch are imported here, when work starts

    filter_warnings(REMARKS, LOGGERS)  # again, after the imports, which set their own filters and levels
    run(options, given)


def fit(
    config: str | Path,
    run: str | Path,
    *,
    chips: str | Path | None = None,
    augment: str | Path | None = None,
    encoding: str | Sequence[str] | None = None,
    control: str | None = None,
    seed: int | None = None,
    precision: str | None = None,
    layout: str | None = None,
    scenes: str | None = None,
    weights: str | Path | None = None,
    init: str | Path | None = None,
    ckpt_path: str | Path | None = None,
    new_columns: str | None = None,
    features: str | Path | None = None,
    cache: bool = True,
    allow_scene_overlap: bool = False,
    custom_modules_path: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> LoadedRun:
    """Train by a YAML, as `tim-finetune fit` does.

    If it was interrupted, the same call resumes.

    Args:
        config: YAML of the training, a file or the name of one that ships.
        run: Run directory to make.
        chips: Root folder of the chip set, or its URL; None for the YAML's.
        augment: Store whose maps are joined; None for the plain fine-tune.
        encoding: How they enter the network, one or several; None for what suits the store.
        control: What replaces the maps, to find out whether they are the reason for a gain.
        seed: Seed for all random draws; None for the YAML's.
        precision: Arithmetic, part of the recipe, such as ``tf32`` on NVIDIA GPUs; None for the YAML's.
        layout: Layout of the chips, None for the YAML's, or to detect it.
        scenes: Rule for a chip's scene, a CSV file or a regular expression; None for the store's or the layout's.
        weights: ``hub``, ``random``, or the published file or its folder; None for the YAML's.
        init: TerraTorch checkpoint to start from.
        ckpt_path: Checkpoint to resume from.
        new_columns: Initialization of the added patch-embedding columns, ``zero`` or ``random``.
        features: Features of a frozen backbone, by `tim-finetune encode`.
        cache: Whether to read only those chips that changed since a run beside this one read them.
        allow_scene_overlap: Record ground that is in two splits instead of stopping.
        custom_modules_path: Folder of your own modules to import, as for TerraTorch.
        overrides: Further keys of the YAML by their path, such as ``{"trainer.max_epochs": 5}``.

    Returns:
        The run with its trained weights and its data, as `load_run` returns it.

    Raises:
        AugmentStoreError: If options, YAML, data, store or weights are invalid; before anything is trained.

    Example:
        >>> fit("mine.yaml", "runs/tim_1", augment="stores/mine_lulc", seed=1)  # doctest: +SKIP
    """
    given = {
        "command": "fit",
        "config": str(config),
        "run": Path(run),
        "chips": _given_path(chips),
        "augment": _given_path(augment),
        "encoding": [encoding] if isinstance(encoding, str) else encoding,
        "control": control,
        "seed": seed,
        "precision": precision,
        "layout": layout,
        "scenes": scenes,
        "weights": None if weights is None else str(weights),
        "init": None if init is None else Path(init),
        "ckpt_path": None if ckpt_path is None else Path(ckpt_path),
        "new_columns": new_columns,
        "features": None if features is None else Path(features),
        "cache": cache,
        "allow_scene_overlap": allow_scene_overlap,
        "custom_modules_path": custom_modules_path,
    }
    # JSON is YAML too, and a text stands for itself
    words = (
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in (overrides or {}).items()
    )
    execute(make_options(given, list(words)))
    from finetune.run.load import load_run

    return load_run(run)


def _given_path(given: str | Path | None) -> Path | None:
    return None if given is None else as_path(given)
