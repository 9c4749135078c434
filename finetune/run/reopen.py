"""Opening a finished run: its network with trained weights, and its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terratorch.tasks import SemanticSegmentationTask

from finetune.data.datamodule import TimStoreDataModule
from finetune.model.starting import read_same
from finetune.run.config import check_trusted, read_yaml
from finetune.run.manifest import CONFIG, RunManifest
from finetune.run.task import build_bare


@dataclass(frozen=True)
class Places:
    """Where things lie now, if not where they lay when the run was made.

    Attributes:
        chips: Root folder of the chip set.
        store: Folder of the augment store.
    """

    chips: Path | None = None
    store: Path | None = None


def load_run(
    run: str | Path, checkpoint: str = "best", places: Places | None = None
) -> tuple[SemanticSegmentationTask, TimStoreDataModule]:
    """The task of a run in evaluation mode with its trained weights, and its datamodule.

    Call ``datamodule.setup("test")``; then ``datamodule.test_dataloader()`` yields batches with ``chip_id`` and
    ``scene_id``, and ``task(datamodule.model_batch(batch)["image"]).output`` are their logits ``[B, class, H, W]``.

    Args:
        run: Run directory of `python -m finetune fit`.
        checkpoint: ``best`` or ``last``.
        places: Where chips and store lie now.

    Raises:
        RunError: If the directory holds no run, no such checkpoint, or another than training left.
        ConfigError: If its configuration would run code of a package that is not trusted.
        AugmentStoreError: If the configuration, the store or the checkpoint cannot be used.
    """
    run = Path(run)
    manifest = RunManifest.read(run)
    weights = manifest.checkpoint(run, checkpoint)
    plain = read_yaml(run / CONFIG)
    check_trusted(plain, run / CONFIG)
    config = _for_evaluation(plain, places or Places())
    cli = build_bare(config, (), run / CONFIG)
    state = read_same(weights, cli.model)
    cli.model.load_state_dict({**cli.model.state_dict(), **state}, strict=True)  # its own: the criterion's
    return cli.model.eval(), cli.datamodule


def _for_evaluation(config: dict[str, Any], places: Places) -> dict[str, Any]:
    """Without what only training needs: loggers and callbacks."""
    config["trainer"] |= {"logger": False, "callbacks": None, "enable_checkpointing": False}
    data = config["data"]["init_args"]
    if places.chips is not None:
        data |= {"data_root": str(places.chips), "train_split": None, "val_split": None, "test_split": None}
    if places.store is not None:
        data["augment"] = str(places.store)
    return config
