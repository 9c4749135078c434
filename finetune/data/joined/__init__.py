"""Maps joined to the samples of another datamodule; `JoinedDataModule` is named so in YAMLs."""

from finetune.data.joined.datamodule import JoinedDataModule

__all__ = ["JoinedDataModule"]
