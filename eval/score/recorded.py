"""What is scored or published is what was trained: a run's settings against the recipe that its manifest records."""

from __future__ import annotations

from eval.errors import EvaluationError
from finetune.run.load import LoadedRun
from finetune.run.manifest import CONFIG
from finetune.run.recipe import OF_A_RUN, describe, differences, recipe_of
from terramind_weights.tf32 import TF32


def check_recipe(loaded: LoadedRun) -> None:
    """Make sure that a run's YAML still has the settings it was trained with.

    A score is made by the YAML, while arms are compared by the recipe in the manifest; were the two to differ, one arm
    could be scored with tiles or other statistics, and nothing would say so.

    Args:
        loaded: The run; a checkpoint that no run recorded has no recipe.

    Raises:
        EvaluationError: Naming the settings that differ.
    """
    if loaded.manifest is None:
        return
    # the number of processes is no setting of the YAML
    trained = {key: value for key, value in loaded.manifest.recipe.items() if key not in OF_A_RUN}
    config = loaded.config
    if loaded.precision == TF32:  # which a YAML has no name for
        config = {**config, "trainer": {**config["trainer"], "precision": TF32}}
    if found := differences(trained, recipe_of(config)):
        changed = describe(found, "the manifest", "the YAML")
        raise EvaluationError(
            f"{loaded.source / CONFIG}: was changed after the training: {changed}; restore it, or train a run with "
            "these settings"
        )
