"""What is checked of a command before torch is imported, and what is left to TerraTorch's parser."""

import pytest
import yaml

from augment_store.errors import ChipSetError
from finetune.errors import ConfigError, EncodingError
from finetune.options import CONFIGS, parse
from finetune.run.config import normalise, resolve_data
from finetune.run.early import check_early


def early(world, *words, config="nyc_phase2", run="no_run"):
    return check_early(parse(["fit", "--config", config, "--run", run, "--chips", str(world.root), *words]))


def test_a_store_without_the_encodings_array_is_refused(world, ndvi_store, plain_store):
    with pytest.raises(EncodingError, match="no array 'lulc' in this NDVI store"):
        early(world, "--augment", str(ndvi_store), "--encoding", "onehot")
    with pytest.raises(EncodingError, match="generate a store with --probabilities"):
        early(world, "--augment", str(plain_store), "--encoding", "probabilities")


def test_the_yaml_comes_back_as_it_is(world, plain_store):
    """So that what overrides it still meets the YAML, and not what the check made of it."""
    given = early(world, "--augment", str(plain_store), "--encoding", "index")
    assert given == yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())


@pytest.mark.parametrize(
    "override",
    [
        ["--data.init_args.augment", "null"],
        ["--data.init_args.augment=null"],
        ["--data.augment", "null"],
        ["--data.init_args.encoding+", "index"],
        ["--data.init_args", "{augment: null}"],
        ["--data", "other.yaml"],
    ],
)
def test_what_an_override_may_change_is_left_to_the_parser(world, override):
    with pytest.raises(ConfigError, match="stores/nyc_lulc is not an augment store"):
        early(world, config="nyc_tim_lulc")
    assert early(world, *override, config="nyc_tim_lulc")["data"]["init_args"]["augment"] == "stores/nyc_lulc"


@pytest.mark.parametrize("wrong", [{"encoding": "onehot"}, {"augment": 5}, {"control": ["constant"]}])
def test_a_value_of_the_wrong_type_is_left_to_the_parser(world, wrong, tmp_path):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    config["data"]["init_args"] |= wrong
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(config))
    assert early(world, config=str(path)) == config


def test_impactmeshs_data_folder_stands_for_its_root(world, tmp_path):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    config["data"]["init_args"]["data_root"] = str(world.root / "data")
    path = tmp_path / "inner.yaml"
    path.write_text(yaml.safe_dump(config))
    assert check_early(parse(["fit", "--config", str(path), "--run", "no_run"])) == config


def test_scenes_and_weights_that_are_not_there(world):
    with pytest.raises(ChipSetError, match=r"scenes.csv: cannot read the scene table"):
        early(world, "--scenes", "scenes.csv")
    with pytest.raises(ChipSetError, match="neither a file nor a regular expression"):
        early(world, "--scenes", "(")
    with pytest.raises(ConfigError, match="--weights gone: no such file or folder; expected hub, random"):
        early(world, "--weights", "gone")
    assert parse(["test", "--config", "nyc_phase2", "--run", "no_run", "--weights", "gone"]).weights == "gone"


def test_splits_of_the_command_line_stay_those_of_the_yaml_go(world):
    config = {"train_split": "theirs.txt", "test_split": "theirs.txt"}
    words = ["--chips", str(world.root), "--data.init_args.test_split", "mine.txt"]
    resolve_data(config, parse(["fit", "--config", "nyc_phase2", "--run", "no_run", *words]))
    assert (config["train_split"], config["val_split"], config["test_split"]) == (None, None, "theirs.txt")


@pytest.mark.parametrize(
    ("given", "note"), [({}, False), ({"ignore_index": -1}, False), ({"ignore_index": 255}, True)]
)
def test_the_loss_ignores_what_masks_call_ignored(given, note, capsys):
    """Whatever label a file has for it, masks have -1 there: with another, the first batch would end in a traceback."""
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    model = config["model"]["init_args"]
    model.pop("ignore_index")
    model |= given
    assert normalise(config)["model"]["init_args"]["ignore_index"] == -1
    assert ("note: ignore_index 255 is replaced by -1" in capsys.readouterr().err) == note
