"""Keep the class path that the ``config.yaml`` of runs made before 0.2 names."""

from finetune.run.callbacks import WholeCheckpoints

__all__ = ["WholeCheckpoints"]
