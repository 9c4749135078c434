"""What is checked of a command before torch is imported, and what is left to TerraTorch's parser."""

import pytest
import yaml

from finetune.errors import ConfigError, EncodingError
from finetune.options import CONFIGS, parse
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
