"""What is checked of a command before torch is imported, and what is left to TerraTorch's parser."""

import pytest
import yaml

from augment_store.errors import ChipDataError, ChipSetError
from finetune.errors import ConfigError, RunError
from finetune.options import CONFIGS, parse
from finetune.run.config import normalize, resolve, resolve_data
from finetune.run.preflight import check_early
from finetune.run.trainer import resolve_trainer
from terramind_weights.weight_files import WeightsError


def early(world, *words, config="nyc_phase2", run="no_run"):
    return check_early(parse(["fit", "--config", config, "--run", run, "--chips", str(world.root), *words]))


def test_a_store_without_the_encodings_array_is_refused(world, ndvi_store, plain_store):
    with pytest.raises(ConfigError, match="no array 'lulc' in this NDVI store"):
        early(world, "--augment", str(ndvi_store), "--encoding", "onehot")
    with pytest.raises(ConfigError, match="generate a store with --probabilities"):
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


@pytest.mark.parametrize(
    ("section", "wrong", "told"),
    [
        (
            "data",
            {"modalities": ["S2L2A", "S1GRD"]},
            r"data.init_args.modalities: .* has no S1GRD .*it has S2L2A",
        ),
        ("data", {"timesteps": [0, 4]}, r"timesteps \[0, 4\] asked for; it has 4, counted from 0"),
        (
            "data",
            {"class_names": ["land", "water"]},
            "num_classes 5, but class_names names 2; make them agree",
        ),
    ],
)
def test_a_yaml_that_does_not_fit_the_chips_is_told_before_the_network_is_built(
    world, section, wrong, told, tmp_path
):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    config[section]["init_args"] |= wrong
    if "class_names" in wrong:
        config["model"]["init_args"].pop("class_names", None)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises((ChipSetError, ConfigError, ChipDataError), match=told):
        early(world, config=str(path))


def test_levels_and_channels_that_do_not_fit_are_told_before_the_network_is_built(world, tmp_path):
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    arguments = config["model"]["init_args"]["model_args"]
    assert arguments["backbone"] == "terramind_v1_base"
    path = tmp_path / "mine.yaml"
    arguments["decoder_channels"] = arguments["decoder_channels"][:-1]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(
        ConfigError, match=r"decoder_channels .* SelectIndices gives UNetDecoder 4 blocks' features"
    ):
        early(world, config=str(path))
    arguments["necks"][0]["indices"] = [2, 5, 8, 12]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"indices \[2, 5, 8, 12\]; terramind_v1_base has blocks 0 to 11"):
        early(world, config=str(path))


def test_a_folder_without_the_published_file_is_told_before_torch(world, tmp_path):
    with pytest.raises(
        WeightsError, match=r"TerraMind_v1_base\.pt: no such weight file; with a network, run"
    ):
        early(world, "--weights", str(tmp_path))


def test_splits_of_the_command_line_stay_those_of_the_yaml_go(world):
    config = {"train_split": "theirs.txt", "test_split": "theirs.txt"}
    words = ["--chips", str(world.root), "--data.init_args.test_split", "mine.txt"]
    resolve_data(config, parse(["fit", "--config", "nyc_phase2", "--run", "no_run", *words]))
    assert (config["train_split"], config["val_split"], config["test_split"]) == (None, None, "theirs.txt")


def phase2(**changes):
    """Phase 2's YAML with other keys of the task; None leaves one out."""
    config = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    model = config["model"]["init_args"] | changes
    config["model"]["init_args"] = {name: value for name, value in model.items() if value is not None}
    return config


def trained(config):
    """The configuration of a training by a YAML."""
    return resolve(config, parse(["fit", "--config", "nyc_phase2", "--run", "no_run"]), gpu=False)


def test_the_loss_ignores_what_masks_call_ignored():
    """Whatever label a file has for it, masks have -1 there: with another, the first batch ends in a traceback."""
    for given in (None, -1):
        assert trained(phase2(ignore_index=given))["model"]["init_args"]["ignore_index"] == -1
    for given, loss in ((None, "jaccard"), (-1, ["ce", "jaccard"])):  # which takes none
        assert "ignore_index" not in trained(phase2(ignore_index=given, loss=loss))["model"]["init_args"]
    with pytest.raises(
        ConfigError, match=r"ignore_index 255; expected -1, .* ignored_labels of a layout file"
    ):
        trained(phase2(ignore_index=255))


def test_class_names_are_the_same_under_data_and_model():
    """Or the test logs one class' number under another's name."""
    turned = ["developed", "water", "forest", "herbaceous", "other"]
    with pytest.raises(
        ConfigError, match=r"class_names: water, developed, .* under data, but developed, water, "
    ):
        trained(phase2(class_names=turned))
    assert trained(phase2(class_names=None))["data"]["init_args"]["class_names"][0] == "water"


@pytest.mark.parametrize("seed", [True, False, "7"])
def test_a_seed_is_a_number(seed):
    with pytest.raises(ConfigError, match=f"seed_everything: {seed}; expected a whole number, .* --seed"):
        trained({**phase2(), "seed_everything": seed})


def test_what_only_training_needs_does_not_stop_a_score():
    """Someone else's YAML is only opened to score its checkpoint."""
    foreign = phase2(ignore_index=255, class_names=["a", "b", "c", "d", "e"]) | {"seed_everything": True}
    assert normalize(foreign)["model"]["init_args"]["ignore_index"] == 255


def test_weights_have_32_bits():
    with pytest.raises(
        ConfigError, match=r"trainer.precision bf16-true; expected one of 32-true, 16-mixed, bf16-mixed"
    ):
        resolve_trainer(
            {"precision": "bf16-true"}, parse(["fit", "--config", "nyc_phase2", "--run", "r"]), gpu=True
        )


def test_features_that_are_not_there_are_told_before_anything_is_read(world, tmp_path):
    with pytest.raises(
        RunError, match=r"features\.json: no such file; make features with tim-finetune encode"
    ):
        early(world, "--features", str(tmp_path / "features"))
