"""Every shipped YAML is parsed and, by night, runs a training and a validation batch, through both command lines."""

from pathlib import Path

import pytest
import torch
import yaml

from finetune.__main__ import main
from finetune.options import CONFIGS, find_config, shipped_configs
from finetune.run.lightning_cli import FinetuneCLI, build
from finetune.run.load import load_run
from finetune.run.manifest import RunManifest
from finetune.run.yaml_file import read_yaml
from tests.finetune.floods import make_floods
from tests.worlds import make_spec, store_of, tiny_options

pytestmark = pytest.mark.slow

STORES = {"nyc_tim_ndvi": "ndvi_store", "sen1floods11_s1_tim_lulc": "flood_store"}
PLAIN = {"nyc_phase2", "nyc_s1_only", "nyc_inline_tim", "nyc_phase2_lora", "sen1floods11_s1"}
WORLDS = {None: "world", "sen1floods11": "floods"}
"""Chip set by the layout that a YAML names."""


def layout_of(name):
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["data"]["init_args"].get("layout")


@pytest.fixture(scope="module")
def floods(tmp_path_factory):
    return make_floods(tmp_path_factory.mktemp("floods") / "chips")


@pytest.fixture(scope="module")
def flood_store(floods, tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "floods"
    store_of(floods.chips, path, make_spec(inputs=("S1GRD",)))
    return path


@pytest.fixture
def chips(name, request):
    """The chip set that a shipped YAML is for."""
    return request.getfixturevalue(WORLDS[layout_of(name)])


def named_store(name, request):
    return None if name in PLAIN else str(request.getfixturevalue(STORES.get(name, "plain_store")))


def trained_at_once(*chosen):
    """Parameters: every shipped YAML, by night those that are not chosen."""
    night = [pytest.mark.nightly]
    return [pytest.param(name, marks=[] if name in chosen else night) for name in shipped_configs()]


@pytest.mark.parametrize("name", shipped_configs())
def test_the_parser_takes_a_shipped_yaml(name, monkeypatch):
    monkeypatch.setattr(FinetuneCLI, "instantiate_classes", lambda cli: None)  # neither chips nor networks
    path = find_config(name, Path())
    parsed = build(read_yaml(path), path).config
    assert parsed.model.class_path == "terratorch.tasks.SemanticSegmentationTask"
    assert parsed.data.init_args.modalities == list(parsed.model.init_args.model_args["backbone_modalities"])


@pytest.mark.parametrize("name", trained_at_once("nyc_tim_lulc_lora"))
def test_runs_through_python_m_finetune(name, chips, request, tmp_path):
    if name == "nyc_inline_tim":  # its checkpoints hold a whole generator, some 0.8 GB each: none are written
        tiny = tiny_options(chips, name, "terramind_v1_tiny_tim")
        assert main(["fit", *tiny, "--smoke", "--run", str(tmp_path / "run")]) == 0
        return
    store = named_store(name, request)
    joined = ["--augment", store] if store else []
    batches = ["--trainer.limit_train_batches", "0.5"]
    run = tmp_path / "run"
    arguments = [*joined, *batches, "--trainer.max_epochs", "1", "--run", str(run)]
    assert main(["fit", *tiny_options(chips, name), *arguments]) == 0
    loaded = load_run(run)
    task, datamodule = loaded.task, loaded.datamodule
    assert not task.training
    assert datamodule.augmentation.request.store == (None if store is None else type(run)(store))


@pytest.mark.parametrize("name", trained_at_once("nyc_tim_lulc"))
def test_runs_through_terratorch(name, chips, request, tmp_path, monkeypatch):
    from terratorch.cli_tools import build_lightning_cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["terratorch"])
    store = named_store(name, request)
    joined = ["--data.init_args.augment", store] if store else []
    key = "backbone_architecture" if store else "backbone"
    tiny = "terramind_v1_tiny_tim" if name == "nyc_inline_tim" else "terramind_v1_tiny"
    shrunk = [
        *(f"--model.init_args.model_args.{key}", tiny, "--model.init_args.model_args.backbone_pretrained="),
        *("--model.init_args.model_args.decoder_channels", "[16,8,8,8]"),
        *("--data.init_args.data_root", str(chips.root), "--data.init_args.num_workers", "0"),
        *(
            "--data.init_args.batch_size",
            "2",
            "--trainer.accelerator",
            "cpu",
            "--trainer.precision",
            "32-true",
        ),
        *("--trainer.fast_dev_run", "1"),  # a batch of each kind, and no checkpoint
    ]
    cli = build_lightning_cli(["fit", "--config", str(CONFIGS / f"{name}.yaml"), *joined, *shrunk])
    assert cli.trainer.state.finished


RADAR = {"data.modalities", "model_args.backbone_modalities"}
JOINED = {"data.augment", "data.encoding", "model_args.backbone"}
JOINED |= {"model_args.backbone_architecture", "model_args.backbone_encoding"}
LORA = {"trainer.max_epochs", "trainer.callbacks", "optimizer", "lr_scheduler", "model_args.peft_config"}
LORA |= {"model.optimizer", "model.lr", "model.lr_overrides", "model.optimizer_hparams"}
LORA |= {"model.scheduler", "model.scheduler_hparams"}
OWN = {
    "nyc_phase2": set(),
    "nyc_inline_tim": {"model_args.backbone"},
    "nyc_s1_only": RADAR,
    "nyc_tim_lulc": JOINED,
    "nyc_tim_ndvi": JOINED,
    "nyc_s1_tim_lulc": RADAR | JOINED,
    "nyc_tokens": JOINED | {"data.train_transform", "model.tiled_inference_parameters"},
    "nyc_phase2_lora": LORA,
    "nyc_tim_lulc_lora": LORA | JOINED,
    "sen1floods11_s1": set(),
    "sen1floods11_s1_tim_lulc": JOINED,
}
"""In which keys each shipped YAML may differ from its base. Each is whole, since TerraTorch replaces ``model_args`` as
one value where a second ``--config`` names any key of it; this table keeps them from drifting."""

BASES = {None: "nyc_phase2", "sen1floods11": "sen1floods11_s1"}
"""What a YAML is a variant of, by the layout that it names."""


def flat(config):
    """Values of a YAML by the part of it that they belong to."""
    data, model = config["data"]["init_args"], config["model"]["init_args"]
    parts = {"trainer": config["trainer"], "data": data, "model_args": model["model_args"]}
    parts["model"] = {key: value for key, value in model.items() if key != "model_args"}
    values = {f"{part}.{key}": value for part, keys in parts.items() for key, value in keys.items()}
    rest = {key: value for key, value in config.items() if key not in ("trainer", "data", "model")}
    return values | rest | {f"{part}.class_path": config[part]["class_path"] for part in ("data", "model")}


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_yaml_differs_from_its_base_in_its_own_keys_alone(name):
    names = (name, BASES[layout_of(name)])
    ours, base = (flat(yaml.safe_load((CONFIGS / f"{n}.yaml").read_text())) for n in names)
    differing = {
        key for key in {*ours, *base} if (key in ours, ours.get(key)) != (key in base, base.get(key))
    }
    assert differing == OWN[name]


@pytest.mark.parametrize("name", sorted(set(shipped_configs()) - PLAIN))
def test_a_shipped_yaml_says_the_encoding_once(name):
    text = (CONFIGS / f"{name}.yaml").read_text()
    assert "backbone_encoding: *encoding" in text
    assert text.count("&encoding") == 1


PHASE2_AS_PUBLISHED = """
seed_everything: 42
trainer:
  accelerator: auto
  strategy: auto
  devices: 1
  num_nodes: 1
  precision: 16-mixed
  logger:
    class_path: lightning.pytorch.loggers.CSVLogger
    init_args: {save_dir: output, name: phase2}
  callbacks:
    - class_path: RichProgressBar
    - class_path: LearningRateMonitor
      init_args: {logging_interval: epoch}
    - class_path: EarlyStopping
      init_args: {monitor: val/loss, patience: 5}
    - class_path: ModelCheckpoint
      init_args: {dirpath: output/checkpoints, monitor: val/loss, mode: min, save_weights_only: true}
  max_epochs: 20
  log_every_n_steps: 5
data:
  class_path: impactmesh.impactmesh_datamodule.ImpactMeshDataModule
  init_args:
    data_root: somewhere/data
    train_split: somewhere/split/impactmesh_flood_train.txt
    val_split: somewhere/split/impactmesh_flood_val.txt
    test_split: somewhere/split/impactmesh_flood_test.txt
    modalities: [S2L2A, S1RTC, DEM]
    timesteps: [0, 1, 2, 3]
    no_data_replace: 0
    batch_size: 8
    num_workers: 4
    train_transform:
      - class_path: terratorch.datasets.transforms.FlattenTemporalIntoChannels
      - class_path: albumentations.D4
      - class_path: albumentations.pytorch.ToTensorV2
      - class_path: terratorch.datasets.transforms.UnflattenTemporalFromChannels
        init_args: {n_timesteps: 4}
"""
"""Trainer and data of the author's own YAML, as UPSTREAM tells of it; the network is the shipped one's."""


@pytest.fixture
def published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where its logger writes output/
    config = yaml.safe_load(PHASE2_AS_PUBLISHED)
    shipped = yaml.safe_load((CONFIGS / "nyc_phase2.yaml").read_text())
    config |= {key: shipped[key] for key in ("model", "optimizer", "lr_scheduler")}
    path = tmp_path / "phase2.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize(
    "more", [["--smoke"], pytest.param(["--trainer.max_epochs", "1"], marks=pytest.mark.nightly)]
)
def test_the_authors_own_yaml_runs_with_nothing_but_chips(published, world, tmp_path, more):
    assert main(["fit", *tiny_options(world, published), *more, "--run", str(tmp_path / "run")]) == 0


@pytest.mark.nightly
def test_a_run_starts_from_a_checkpoint_of_weights_alone(published, world, tmp_path, capsys):
    """As Phase 2 began with Phase 1's, which `save_weights_only` had written."""
    first, second = tmp_path / "first", tmp_path / "second"
    once = [*tiny_options(world, published), "--trainer.max_epochs", "1"]
    assert main(["fit", *once, "--run", str(first)]) == 0
    checkpoint = torch.load(first / "checkpoints/last.ckpt", weights_only=False)
    weights = tmp_path / "phase1.ckpt"
    torch.save({key: checkpoint[key] for key in ("state_dict", "pytorch-lightning_version")}, weights)
    fit = ["fit", *once, "--run", str(second)]
    assert main([*fit, "--ckpt_path", str(weights)]) == 2
    assert f"{weights}: holds weights only" in capsys.readouterr().err
    assert main([*fit, "--init", str(weights)]) == 0
    assert RunManifest.read(second).start.init == str(weights)
