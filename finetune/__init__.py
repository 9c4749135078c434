"""Stage 2: fine-tuning on chips joined with an augment store.

>>> from finetune import TimStoreDataModule
>>> data = TimStoreDataModule("data/nyc", timesteps=[0, 1], augment="stores/nyc_lulc", batch_size=2)
>>> data.setup("fit")
>>> batch = data.model_batch(next(iter(data.train_dataloader())))
>>> batch["image"]["S2L2A"].shape  # image, 12 bands and 10 class planes, timestep, y, x
torch.Size([2, 22, 2, 32, 32])

``fit("mine.yaml", "runs/tim", augment="stores/nyc_lulc")`` trains. It returns what `load_run` does: TerraTorch's task
with the trained weights, and its data:

>>> from finetune import load_run
>>> loaded = load_run("runs/tim")
>>> loaded.datamodule.setup("test")
>>> batch = next(iter(loaded.datamodule.test_dataloader()))
>>> loaded.task(loaded.datamodule.model_batch(batch)["image"]).output.shape  # image, class, y, x
torch.Size([2, 5, 32, 32])
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

import terramind_weights  # noqa: F401 - before TerraTorch, so that it runs no code of the working folder

__all__ = ["JoinedDataModule", "PathOverrides", "TimStoreDataModule", "fit", "load_run"]

if TYPE_CHECKING:
    from finetune.api import fit
    from finetune.data.datamodule import TimStoreDataModule
    from finetune.data.joined.datamodule import JoinedDataModule
    from finetune.run.load import load_run
    from finetune.run.preflight import PathOverrides
else:
    __getattr__, __dir__, _ = lazy.attach(
        __name__,
        submod_attrs={
            "api": ["fit"],
            "data.datamodule": ["TimStoreDataModule"],
            "data.joined.datamodule": ["JoinedDataModule"],
            "run.load": ["load_run"],
            "run.preflight": ["PathOverrides"],
        },
    )
