"""What is scored or published is what was trained: a run's settings against the recipe that its manifest records."""

from __future__ import annotations

from pathlib import Path

from eval.errors import ScoreError
from finetune.run.config import read_yaml
from finetune.run.manifest import RunManifest
from finetune.run.recipe import describe, differences, recipe_of


def check_recipe(config: Path, manifest: RunManifest) -> None:
    """Make sure that a run's YAML still has the settings it was trained with.

    A score is made by the YAML, while arms are compared by the recipe in the manifest; were the two to differ, one arm
    could be scored with tiles or other statistics, and nothing would say so.

    Args:
        config: The run's YAML.
        manifest: The run's manifest.

    Raises:
        ScoreError: Naming the settings that differ.
        ConfigError: If the YAML cannot be read.
    """
    # the number of processes is no setting of the YAML
    trained = {key: value for key, value in manifest.recipe.items() if key != "processes"}
    if found := differences(trained, recipe_of(read_yaml(config))):
        raise ScoreError(
            f"{config}: was changed after the training: {describe(found, 'the manifest', 'the YAML')}; restore it, or "
            "train a run with these settings"
        )
