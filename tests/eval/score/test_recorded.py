"""A run is scored with the settings it was trained with, or not at all."""

import pytest
import yaml

from eval.errors import ScoreError
from eval.score.recorded import check_recipe
from finetune.options import CONFIGS
from finetune.run.config import read_yaml
from finetune.run.recipe import recipe_of
from tests.eval.scores import make_manifest


@pytest.fixture
def trained(tmp_path):
    """The YAML of a run and its manifest."""
    path = tmp_path / "config.yaml"
    path.write_text((CONFIGS / "nyc_phase2.yaml").read_text())
    return path, make_manifest(recipe={**recipe_of(read_yaml(path)), "processes": "2"})


def test_settings_that_are_those_of_the_training(trained):
    check_recipe(*trained)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "tiled_inference_parameters", {"h_crop": 64, "h_stride": 32}),
        ("data", "means", {"S2L2A": [0.0] * 12}),
        ("data", "test_transform", [{"class_path": "albumentations.HorizontalFlip"}]),
    ],
)
def test_settings_that_were_changed_after_the_training_are_refused(trained, section, key, value):
    path, manifest = trained
    plain = yaml.safe_load(path.read_text())
    plain[section]["init_args"][key] = value
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(ScoreError, match=rf"was changed after the training: .*{section}\.{key}"):
        check_recipe(path, manifest)
