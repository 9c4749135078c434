"""A run is scored with the settings it was trained with, or not at all."""

from types import SimpleNamespace

import pytest

from eval.errors import EvaluationError
from eval.score.recorded import check_recipe
from finetune.options import CONFIGS
from finetune.run.recipe import recipe_of
from finetune.run.yaml_file import read_yaml
from tests.eval.scores import make_manifest

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(tmp_path):
    """What a loaded run knows of its YAML and its manifest."""
    config = read_yaml(CONFIGS / "nyc_phase2.yaml")
    manifest = make_manifest(recipe={**recipe_of(config), "processes": "2"})
    return SimpleNamespace(precision="32-true", source=tmp_path, manifest=manifest, config=config)


def test_settings_that_are_those_of_the_training(trained):
    check_recipe(trained)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "tiled_inference_parameters", {"h_crop": 64, "h_stride": 32}),
        ("data", "means", {"S2L2A": [0.0] * 12}),
        ("data", "test_transform", [{"class_path": "albumentations.HorizontalFlip"}]),
    ],
)
def test_settings_that_were_changed_after_the_training_are_refused(trained, section, key, value):
    trained.config[section]["init_args"][key] = value
    with pytest.raises(EvaluationError, match=rf"was changed after the training: .*{section}\.{key}"):
        check_recipe(trained)
