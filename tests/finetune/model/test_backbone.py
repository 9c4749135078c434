"""The widened patch embedding, a modality of its own, and tokens, against the plain backbone."""

import copy

import pytest
import torch
from terratorch.registry import BACKBONE_REGISTRY

from finetune.errors import ConfigError
from finetune.model.backbone import WidenedProjection, terramind_tim_store

pytestmark = pytest.mark.slow

MODALITIES = ["S2L2A", "S1RTC", "DEM"]


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    return BACKBONE_REGISTRY.build("terramind_v1_tiny", pretrained=False, modalities=MODALITIES).eval()


def build(**arguments):
    torch.manual_seed(0)
    return terramind_tim_store(architecture="terramind_v1_tiny", modalities=MODALITIES, **arguments).eval()


def images(planes=0, size=32):
    generator = torch.Generator().manual_seed(1)
    channels = {"S2L2A": 12 + planes, "S1RTC": 2, "DEM": 1}
    return {name: torch.randn(2, count, size, size, generator=generator) for name, count in channels.items()}


def with_planes(given, planes):
    return given | {"S2L2A": torch.cat([given["S2L2A"], planes], dim=1)}


@pytest.mark.parametrize("planes", [0.0, 1.0, 1e6, -3e38])
def test_new_columns_of_zero_change_no_bit(plain, planes):
    widened = build(encoding=["onehot"])
    given = images()
    joined = with_planes(given, torch.full((2, 10, 32, 32), planes))
    for ours, theirs in zip(widened(dict(joined)), plain(dict(given)), strict=True):
        assert torch.equal(ours, theirs)


def test_the_decoder_is_initialised_as_in_the_baseline():
    torch.manual_seed(5)
    BACKBONE_REGISTRY.build("terramind_v1_tiny", pretrained=False, modalities=MODALITIES)
    baseline = torch.rand(3)
    torch.manual_seed(5)
    terramind_tim_store(architecture="terramind_v1_tiny", modalities=MODALITIES, encoding=["onehot", "index"])
    assert torch.equal(torch.rand(3), baseline)


def test_random_new_columns_change_the_features(plain):
    widened = build(encoding=["onehot"], new_columns="random")
    given = images()
    joined = with_planes(given, torch.ones(2, 10, 32, 32))
    assert not torch.equal(widened(dict(joined))[-1], plain(dict(given))[-1])


def test_a_widened_projection_is_the_wide_matrix_product():
    torch.manual_seed(0)
    narrow = torch.nn.Linear(3 * 256, 8, bias=False)
    widened = WidenedProjection(narrow, planes=2, new_columns="random")
    patches = torch.randn(1, 4, 5 * 256)
    by_band = patches.view(1, 4, 256, 5)
    expected = narrow(by_band[..., :3].reshape(1, 4, -1)) + widened.added(by_band[..., 3:].reshape(1, 4, -1))
    assert torch.equal(widened(patches), expected)
    assert set(dict(widened.named_parameters())) == {"weight", "added.weight"}


def test_a_batch_of_another_number_of_bands_is_refused():
    widened = build(encoding=["ndvi"])
    with pytest.raises(ConfigError, match="22 bands, the patch embedding 13"):
        widened(images(planes=10))


def test_band_subsets_keep_their_columns(plain):
    bands = ["RED", "NIR_BROAD"]
    subset = build(encoding=["onehot"], bands={"S2L2A": bands})
    given = images()
    zeroed = given | {"S2L2A": torch.zeros_like(given["S2L2A"])}
    zeroed["S2L2A"][:, [3, 7]] = given["S2L2A"][:, [3, 7]]
    few = given | {"S2L2A": torch.cat([given["S2L2A"][:, [3, 7]], torch.ones(2, 10, 32, 32)], dim=1)}
    torch.testing.assert_close(subset(few)[0], plain(zeroed)[0], rtol=0, atol=1e-5)


def test_planes_as_a_modality_of_their_own():
    model = build(encoding=["modality", "onehot", "confidence"])
    features = model(images() | {"TIM": torch.rand(2, 11, 32, 32)})
    assert model.encoder_embeddings["TIM"].num_channels == 11
    assert features[-1].shape == (2, 4, 192)


def test_planes_go_onto_radar_where_there_is_no_optical_input():
    model = terramind_tim_store(architecture="terramind_v1_tiny", modalities=["S1RTC"], encoding=["onehot"])
    assert isinstance(model.encoder_embeddings["untok_sen1rtc@224"].proj, WidenedProjection)
    assert model({"S1RTC": torch.rand(1, 12, 32, 32)})[-1].shape == (1, 4, 192)


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="unknown backbone 'terramind_v9'"):
        terramind_tim_store(architecture="terramind_v9")
    with pytest.raises(ConfigError, match="unknown encoding 'hot'"):
        terramind_tim_store(encoding=["hot"])
    with pytest.raises(ConfigError, match="new_columns 'one'"):
        terramind_tim_store(encoding=["onehot"], new_columns="one")
    with pytest.raises(ConfigError, match="'terramind_v1_tiny_tim' generates by itself"):
        terramind_tim_store(architecture="terramind_v1_tiny_tim", encoding=["onehot"])
    with pytest.raises(ConfigError, match="bands of 'S1GRD', which is not an input"):
        build(bands={"S1GRD": ["VV"]})


@pytest.mark.parametrize(
    "size", [64, *(pytest.param(size, marks=pytest.mark.nightly) for size in (224, 256))]
)
def test_tokens_equal_inline_tim(size):
    """The in-line model's weights and its own tokens, given as cached indices, yield its features."""
    torch.manual_seed(3)
    inline = terramind_tim_store(
        architecture="terramind_v1_tiny_tim", modalities=MODALITIES, tim_top_k=1
    ).eval()
    drawn = {}
    generate = inline.sampler.generate

    def spy(*arguments, **keywords):
        out = generate(*arguments, **keywords)
        drawn["tokens"] = out["tok_lulc@224"]["tensor"].clone()
        return out

    inline.sampler.generate = spy
    given = images(size=size)
    with torch.no_grad():
        expected = inline(dict(given))
    cached = build(encoding=["tokens"])
    shared = {k: v for k, v in inline.state_dict().items() if k.startswith("encoder")}
    cached.load_state_dict(copy.deepcopy(shared), strict=True)
    grid = drawn["tokens"].view(2, size // 16, size // 16)
    repeated = grid.repeat_interleave(16, -1).repeat_interleave(16, -2).unsqueeze(1)
    with torch.no_grad():
        found = cached(given | {"LULC": repeated})
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5
