"""Published weights are proven loaded; checkpoints of other arms are widened on the way in."""

import pytest
import torch
from terratorch.tasks import SemanticSegmentationTask

from finetune.errors import ConfigError
from finetune.model.backbone import terramind_tim_store
from finetune.model.initialization import check_trainable, start_from
from terramind_weights.weight_files import WeightsError, read_state

pytestmark = pytest.mark.slow

MODALITIES = ["S2L2A", "S1RTC", "DEM"]
NECKS = [
    {"name": "SelectIndices", "indices": [2, 5, 8, 11]},
    {"name": "ReshapeTokensToImage", "remove_cls_token": False},
    {"name": "LearnedInterpolateToPyramidal"},
]
TOKENIZER = "tokenizer.tok_lulc@224."
TINY = {"architecture": "terramind_v1_tiny", "modalities": MODALITIES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with weight files such as are published: keys without prefix, and more than a backbone needs."""
    torch.manual_seed(11)
    model = terramind_tim_store(architecture="terramind_v1_tiny", modalities=[*MODALITIES, "LULC"])
    network, tokenizer = {"decoder.0.attn.proj.weight": torch.zeros(3)}, {}
    for name, value in model.state_dict().items():
        tokenized = name.startswith(TOKENIZER)
        (tokenizer if tokenized else network)[name.removeprefix(TOKENIZER)] = value
    folder = tmp_path_factory.mktemp("whole")
    torch.save(network, folder / "TerraMind_v1_tiny.pt")
    torch.save(tokenizer, folder / "TerraMind_Tokenizer_LULC.pt")
    return folder


@pytest.fixture(scope="module")
def published(whole, tmp_path_factory):
    """A folder with the network's file alone."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "TerraMind_v1_tiny.pt").hardlink_to(whole / "TerraMind_v1_tiny.pt")
    return folder


@pytest.mark.parametrize(
    "encoding", [[], ["onehot"], ["modality"], pytest.param(["tokens"], marks=pytest.mark.nightly)]
)
def test_every_tensor_equals_the_files(published, encoding):
    file = published / "TerraMind_v1_tiny.pt"
    state = torch.load(file, weights_only=True)
    for weights in (published, file):
        model = terramind_tim_store(**TINY, encoding=encoding, pretrained=True, weights=str(weights))
        new = {name for name in model.state_dict() if name not in state}
        assert all(".added." in name or ".TIM." in name for name in new)
        for name, value in model.state_dict().items():
            assert name in new or torch.equal(value, state[name])


def test_band_subsets_take_the_files_columns(published):
    state = torch.load(published / "TerraMind_v1_tiny.pt", weights_only=True)
    bands = {"S2L2A": ["RED", "GREEN"]}
    model = terramind_tim_store(
        **TINY, encoding=["ndvi"], bands=bands, pretrained=True, weights=str(published)
    )
    name = "encoder_embeddings.untok_sen2l2a@224.proj.weight"
    expected = state[name].view(192, 256, 12)[..., [3, 2]].reshape(192, -1)
    assert torch.equal(model.state_dict()[name], expected)


def test_the_first_tensor_that_does_not_fit_is_named(published, tmp_path):
    state = torch.load(published / "TerraMind_v1_tiny.pt", weights_only=True)
    lacking = dict(state)
    del lacking["encoder.3.mlp.fc1.weight"]
    torch.save(lacking, tmp_path / "lacking.pt")
    torch.save(state | {"encoder_norm.weight": torch.zeros(5)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"tensor encoder.3.mlp.fc1.weight is missing"):
        terramind_tim_store(**TINY, pretrained=True, weights=str(tmp_path / "lacking.pt"))
    with pytest.raises(WeightsError, match=r"encoder_norm.weight has shape \(5,\), expected \(192,\)"):
        terramind_tim_store(**TINY, pretrained=True, weights=str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"merge_method": "concat"}, "merge_method concat adds a parameter"),
        ({"img_size": 256}, "img_size 256"),
    ],
)
def test_what_no_published_file_has_is_said(published, argument, message):
    with pytest.raises(ConfigError, match=message):
        terramind_tim_store(**TINY, **argument, pretrained=True, weights=str(published))


def test_a_modality_of_the_users_own_keeps_its_start(published):
    given = {"architecture": "terramind_v1_tiny", "modalities": [*MODALITIES, {"SOIL": 3}]}
    model = terramind_tim_store(**given, pretrained=True, weights=str(published))
    state = torch.load(published / "TerraMind_v1_tiny.pt", weights_only=True)
    new = {name for name in model.state_dict() if name not in state}
    assert new
    assert all("SOIL" in name for name in new)


@pytest.mark.nightly
def test_raw_land_cover_needs_its_tokenizer_too(whole, published):
    """Upstream leaves it random without a word."""
    given = {"architecture": "terramind_v1_tiny", "modalities": [*MODALITIES, "LULC"], "pretrained": True}
    with pytest.raises(WeightsError, match=r"TerraMind_Tokenizer_LULC.pt: no such weight file"):
        terramind_tim_store(**given, weights=str(published))
    tokenizer = torch.load(whole / "TerraMind_Tokenizer_LULC.pt", weights_only=True)
    state = terramind_tim_store(**given, weights=str(whole)).state_dict()
    assert tokenizer
    assert all(torch.equal(state[TOKENIZER + name], value) for name, value in tokenizer.items())


def test_missing_and_unreadable_files_name_the_remedy(tmp_path):
    with pytest.raises(WeightsError, match="no such weight file; with a network, run: hf download"):
        terramind_tim_store(**TINY, pretrained=True, weights=str(tmp_path))
    (tmp_path / "TerraMind_v1_tiny.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="cannot be read"):
        terramind_tim_store(**TINY, pretrained=True, weights=str(tmp_path))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="expected a mapping"):
        read_state(tmp_path / "list.pt")


def test_the_hub_route_reads_the_cache_offline(published, tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="not in the Hugging Face cache"):
        terramind_tim_store(**TINY, pretrained=True)
    repository = tmp_path / "models--ibm-esa-geospatial--TerraMind-1.0-tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "TerraMind_v1_tiny.pt").symlink_to(published / "TerraMind_v1_tiny.pt")
    model = terramind_tim_store(**TINY, pretrained=True)
    state = torch.load(published / "TerraMind_v1_tiny.pt", weights_only=True)
    assert torch.equal(model.encoder_norm.weight, state["encoder_norm.weight"])


# Starting from a checkpoint --------------------------------------------------------------------------


def make_task(encoding=(), classes=5, peft=None, seed=0, **model_args):
    torch.manual_seed(seed)
    arguments = {
        "backbone": "terramind_tim_store",
        "backbone_architecture": "terramind_v1_tiny",
        "backbone_modalities": MODALITIES,
        "backbone_encoding": list(encoding),
        "necks": NECKS,
        "decoder": "UNetDecoder",
        "decoder_channels": [16, 8, 8, 8],
        "num_classes": classes,
        **({"peft_config": peft} if peft else {}),
        **model_args,
    }
    return SemanticSegmentationTask(
        model_args=arguments, model_factory="EncoderDecoderFactory", ignore_index=-1, plot_on_val=False
    ).eval()


def lora(layers):
    kwargs = {"r": 4, "target_modules": ["attn.qkv", "attn.proj"], "modules_to_save": layers}
    return {"method": "LORA", "peft_config_kwargs": kwargs}


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "best.ckpt"
    task = make_task(seed=21)
    torch.save({"state_dict": task.state_dict(), "epoch": 3}, path)
    return task, path


def images(planes=0):
    generator = torch.Generator().manual_seed(1)
    channels = {"S2L2A": 12 + planes, "S1RTC": 2, "DEM": 1}
    return {name: torch.randn(2, count, 32, 32, generator=generator) for name, count in channels.items()}


@pytest.mark.parametrize("peft", [None, lora(["added"])])
def test_an_augmented_arm_starts_where_the_baseline_stands(baseline, peft):
    task, path = baseline
    arm = make_task(["onehot"], peft=peft, seed=99)
    start_from(arm, path)
    check_trainable(arm)
    given = images()
    joined = given | {"S2L2A": torch.cat([given["S2L2A"], torch.rand(2, 10, 32, 32)], dim=1)}
    assert torch.equal(arm(joined).output, task(given).output)


@pytest.mark.parametrize("encoding", [["modality"], pytest.param(["tokens"], marks=pytest.mark.nightly)])
def test_arms_with_another_modality_take_all_that_they_share(baseline, encoding):
    task, path = baseline
    arm = make_task(encoding, seed=99)
    start_from(arm, path)
    state = arm.state_dict()
    assert all(torch.equal(state[name], value) for name, value in task.state_dict().items())


def test_a_checkpoint_of_another_architecture_is_refused(baseline, tmp_path):
    _, path = baseline
    with pytest.raises(
        WeightsError, match=r"another architecture .*model.head.head.2.weight has shape \(5, "
    ):
        start_from(make_task(classes=3), path)
    with pytest.raises(WeightsError, match="another architecture"):
        start_from(make_task(decoder_channels=[16, 8, 8, 4]), path)
    torch.save({"state_dict": make_task(["onehot"]).state_dict()}, tmp_path / "augmented.ckpt")
    with pytest.raises(WeightsError, match=r"added.weight has no place in this model"):
        start_from(make_task(), tmp_path / "augmented.ckpt")
    torch.save({"state_dict": {"encoder.weight": torch.zeros(1)}}, tmp_path / "foreign.ckpt")
    with pytest.raises(WeightsError, match="no tensors named model"):
        start_from(make_task(), tmp_path / "foreign.ckpt")


def test_new_columns_that_could_never_learn_are_refused():
    with pytest.raises(ConfigError, match=r"added\.weight is frozen"):
        check_trainable(make_task(["onehot"], peft=lora(None)))
    check_trainable(make_task([], peft=lora(None)))
    check_trainable(make_task(["modality"], peft=lora(["encoder_embeddings.TIM"])))
