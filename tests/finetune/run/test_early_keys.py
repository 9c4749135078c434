"""Keys that nothing takes are told before torch is imported."""

import inspect

import pytest
import yaml

from finetune.errors import ConfigError
from finetune.options import CONFIGS, parse
from finetune.run.early_keys import DATA_KEYS, TRAINER_KEYS, check_keys

GIVEN = yaml.safe_load((CONFIGS / "nyc_tim_lulc.yaml").read_text())


def test_the_keys_are_those_of_trainer_and_datamodule():
    from lightning.pytorch import Trainer

    from finetune.data.datamodule import TimStoreDataModule

    for keys, kind in ((TRAINER_KEYS, Trainer), (DATA_KEYS, TimStoreDataModule)):
        assert keys == set(inspect.signature(kind).parameters)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--trainer.max_epoch", "3"], "--trainer.max_epoch: no such key; did you mean max_epochs?"),
        (
            ["--data.init_args.batchsize=3"],
            "--data.init_args.batchsize: no such key; did you mean batch_size?",
        ),
        (["--trainer.xyzzy", "3"], "--trainer.xyzzy: no such key"),
    ],
)
def test_a_misspelled_override_names_the_key_that_was_meant(words, told):
    with pytest.raises(ConfigError) as error:
        check_keys(GIVEN, "mine.yaml", words)
    assert str(error.value) == told


def test_what_they_take_passes_and_a_yaml_is_named():
    check_keys(
        GIVEN,
        "mine.yaml",
        ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.patience=3", "--model.x=1"],
    )
    with pytest.raises(ConfigError) as error:
        check_keys({**GIVEN, "trainer": {"max_epoch": 3}}, "mine.yaml", [])
    assert str(error.value) == "mine.yaml: trainer.max_epoch: no such key; did you mean max_epochs?"


def test_a_misspelled_option_is_not_left_to_terratorchs_parser():
    with pytest.raises(ConfigError, match=r"unknown option --confg; did you mean --config\?"):
        parse(["fit", "--confg", "mine.yaml", "--run", "runs/x"])
    assert parse(["fit", "--config", "demo", "--run", "runs/x", "--predict_output_dir", "x"]).overrides
