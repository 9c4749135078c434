import contextlib
import random

import pytest
import torch

from augment_store.errors import AugmentStoreError
from augment_store.modalities.registry import MAPS
from generate.cli.main import main
from generate.model.batch_invariance import choose_network_batch_by_probe
from generate.model.sampling import StreamKey
from generate.model.terramind import (
    Generated,
    ImageKey,
    TerraMindGenerator,
    _rounds,
    load_generator,
    token_key,
)
from terramind_weights.catalog import PUBLISHED, find_generator
from tests.generate.conftest import IDS, assert_equal_stores
from tests.worlds import Size, make_sampling, sides

pytestmark = pytest.mark.slow

INPUTS = ["S2L2A", "S1RTC", "DEM"]


def images(module: TerraMindGenerator, size: Size, seed: int = 0) -> dict[str, torch.Tensor]:
    """Images in pretraining units with the pretraining mean and deviation."""
    stream = torch.Generator().manual_seed(seed)
    made = {}
    for name in module.inputs:
        mean, std = (torch.tensor(v)[:, None, None] for v in module.statistics(name))
        made[name] = torch.randn(len(mean), *sides(size), generator=stream) * std + mean
    return made


def scatter_weights(network: torch.nn.Module) -> None:
    """Random weights large enough that the tokens differ from patch to patch."""
    stream = torch.Generator().manual_seed(5)
    for parameter in network.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=stream) * 0.05)


def load(**changes) -> TerraMindGenerator:
    inputs = changes.pop("inputs", INPUTS)
    modality = changes.pop("modality", "LULC")
    generator = find_generator(changes.pop("generator", "demo"))
    module = load_generator(generator, inputs, modality, make_sampling(**changes), "random").module
    scatter_weights(module.network)
    return module


def generate_one(module: TerraMindGenerator, made: dict[str, torch.Tensor], chip_id: str, timestep: int):
    """What one image is given; the shapes have no batch axis."""
    found = module.generate(
        {name: image[None] for name, image in made.items()}, [ImageKey(chip_id, timestep)]
    )
    return Generated(found.tokens[0], found.token_probability[0], found.decoded[0], found.finite[0])


@pytest.fixture(scope="module")
def tiny() -> TerraMindGenerator:
    return load(generator="terramind_v1_tiny", top_k=1, top_p=0.0)


@pytest.fixture(scope="module")
def upstream(tiny):
    """TerraTorch's own generator with the weights of `tiny`, and the tokens its sampler last made."""
    from terratorch.registry import TERRATORCH_FULL_MODEL_REGISTRY

    model = TERRATORCH_FULL_MODEL_REGISTRY.build(
        PUBLISHED["terramind_v1_tiny"].architecture,
        modalities=INPUTS,
        output_modalities=["LULC"],
        pretrained=False,
        top_k=1,
        top_p=0.0,
    ).eval()
    model.sampler.model.load_state_dict(tiny.network.state_dict(), strict=True)
    left = model.tokenizer["tok_lulc@224"].load_state_dict(tiny.tokenizer.state_dict(), strict=False)
    assert all(key.startswith(("encoder", "quant_proj")) for key in left.missing_keys)
    model.drawn = {}
    generate = model.sampler.generate

    def remember(*args, **kwargs):
        model.drawn.update(generate(*args, **kwargs))
        return model.drawn

    model.sampler.generate = remember
    return model


@pytest.mark.parametrize("size", [224, pytest.param(256, marks=pytest.mark.nightly)])
def test_tokens_and_map_equal_upstreams_forward(tiny, upstream, size):
    random.seed(0)  # upstream's forward draws its seed from it
    made = images(tiny, size)
    found = generate_one(tiny, made, "chip", 0)
    with torch.no_grad():
        logits = upstream({name: image[None].clone() for name, image in made.items()}, standardize=True)[
            "LULC"
        ]
    assert found.tokens.unique().numel() > 10
    assert torch.equal(found.tokens.flatten(), upstream.drawn["tok_lulc@224"]["tensor"].flatten())
    assert torch.equal(found.decoded.argmax(1), logits.argmax(1))
    torch.testing.assert_close(found.decoded, logits, atol=1e-4, rtol=0)


def test_the_tokenizers_encoder_is_not_kept(tiny, upstream):
    kept = sum(p.numel() for p in tiny.tokenizer.parameters())
    whole = sum(p.numel() for p in upstream.tokenizer["tok_lulc@224"].parameters())
    assert not hasattr(tiny.tokenizer, "encoder")
    assert kept < 0.55 * whole


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_every_decoding_step_count_fills_every_token_exactly_once(steps, monkeypatch):
    module = load(decoding_steps=steps)
    shown: list[int] = []
    queries: list[torch.Tensor] = []
    encode, decode = module.network.forward_encoder, module.network.forward_decoder

    def encoder(tokens, mask):
        shown.append(tokens.shape[1] - 3 * 16)  # beside the 16 patches of each input
        return encode(tokens, mask)

    def decoder(asked, *context):
        queries.append(asked)
        return decode(asked, *context)

    monkeypatch.setattr(module.network, "forward_encoder", encoder)
    monkeypatch.setattr(module.network, "forward_decoder", decoder)
    found = generate_one(module, images(module, 64), "chip", 0)
    drawn = [asked.shape[1] for asked in queries]
    assert len(drawn) == steps
    assert shown == [sum(drawn[:step]) for step in range(steps)]  # the encoder sees what was drawn before
    # a masked query is its position's embedding, so 16 different ones are the 16 positions
    assert len(torch.cat(queries, dim=1)[0].unique(dim=0)) == sum(drawn) == 16
    assert found.tokens.shape == (1, 4, 4)
    assert 0 <= found.tokens.min() <= found.tokens.max() < 4375
    assert found.token_probability.shape == (1, 4, 4)
    assert 0 < found.token_probability.min() <= found.token_probability.max() < 1


def test_more_steps_than_tokens_and_uneven_rounds():
    assert _rounds(100, 16) == [1] * 16
    assert _rounds(3, 16) == [6, 5, 5]


def test_one_step_samples_share_a_forward_pass_and_differ(monkeypatch):
    module = load(samples=3, top_p=0.0)
    calls = []
    forward = module.network.forward_encoder
    monkeypatch.setattr(module.network, "forward_encoder", lambda *a: calls.append(1) or forward(*a))
    found = generate_one(module, images(module, 64), "chip", 0)
    assert len(calls) == 1
    assert len({tuple(t.flatten().tolist()) for t in found.tokens}) == 3
    alone = generate_one(load(samples=1, top_p=0.0), images(module, 64), "chip", 0)
    assert torch.equal(found.tokens[0], alone.tokens[0])


def test_what_a_chip_gets_depends_on_chip_timestep_and_seed_alone():
    module = load(top_p=0.0)
    made = images(module, 64)
    first = generate_one(module, made, "chip", 0).tokens
    torch.rand(7)
    generate_one(module, images(module, 64, seed=1), "other", 0)
    assert torch.equal(generate_one(module, made, "chip", 0).tokens, first)
    assert not torch.equal(generate_one(module, made, "chip", 1).tokens, first)
    assert not torch.equal(generate_one(module, made, "chip2", 0).tokens, first)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"samples": 2}, id="one step", marks=pytest.mark.nightly),
        pytest.param({"decoding_steps": 3, "top_p": 0.5}, id="three steps", marks=pytest.mark.nightly),
        pytest.param({"modality": "NDVI", "diffusion_steps": 2}, id="diffusion", marks=pytest.mark.nightly),
        pytest.param({"generator": "demo", "decoding_steps": 2}, id="demo"),
    ],
)
def test_a_batch_gives_each_image_what_it_gets_alone(changes):
    """Also where an image is not finite, and in a batch that is not full."""
    module = load(**{"generator": "terramind_v1_tiny", **changes})
    scatter_weights(module.tokenizer)
    made = [images(module, 32, seed) for seed in range(3)]
    made[1]["DEM"] *= torch.inf
    owners = [ImageKey("a", 0), ImageKey("a", 1), ImageKey("b", 0)]
    module.network_batch = (
        4  # a chip alone is in a batch of four as well, since other shapes are other arithmetic
    )
    alone = [generate_one(module, image, *owner) for image, owner in zip(made, owners, strict=True)]
    together = module.generate(
        {name: torch.stack([image[name] for image in made]) for name in made[0]}, owners
    )
    assert together.finite.all(dim=1).tolist() == [True, False, True]
    for slot in (0, 2):
        for part in ("tokens", "token_probability", "decoded"):
            assert torch.equal(getattr(together, part)[slot], getattr(alone[slot], part))
    assert not torch.equal(together.tokens[0], together.tokens[2])


def test_missing_pixels_enter_as_the_mean_and_the_input_is_left_alone():
    module = load(top_k=1)
    made = images(module, 64)
    made["S1RTC"][:, :5] = torch.nan
    kept = {name: image.clone() for name, image in made.items()}
    filled = {
        **made,
        "S1RTC": torch.where(made["S1RTC"].isnan(), module.get_buffer("mean_S1RTC"), made["S1RTC"]),
    }
    assert torch.equal(
        generate_one(module, made, "c", 0).decoded, generate_one(module, filled, "c", 0).decoded
    )
    for name in made:
        torch.testing.assert_close(made[name], kept[name], equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize("inputs", [["S1RTC"], ["DEM", "S2L2A"]])
def test_any_subset_of_the_inputs(inputs):
    module = load(inputs=inputs)
    assert list(module.network.encoder_embeddings) == [module.inputs[name] for name in inputs]
    assert generate_one(module, images(module, 32), "c", 0).decoded.shape == (1, 10, 32, 32)


def test_random_weights_follow_the_seed_and_leave_global_randomness_alone():
    before = torch.get_rng_state()
    a, b, c = (
        load_generator(find_generator("demo"), ["DEM"], "LULC", make_sampling(seed=s), "random")
        for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert (a.network_sha256, a.tokenizer_sha256, a.weights) == (
        b.network_sha256,
        b.tokenizer_sha256,
        "random",
    )
    assert a.network_sha256 != c.network_sha256


def test_statistics_move_with_the_module():
    module = load()
    assert {"mean_S2L2A", "std_S1RTC", "mean_output"} <= {name for name, _ in module.named_buffers()}
    assert module.to("meta").get_buffer("mean_DEM").device.type == "meta"


DIFFUSED = [
    pytest.param(("NDVI", ["S2L2A", "S1RTC"]), id="NDVI"),
    # an output that is an input too
    pytest.param(("DEM", ["S2L2A", "DEM"]), id="DEM", marks=pytest.mark.nightly),
    pytest.param(("S1RTC", ["S1RTC"]), id="S1RTC", marks=pytest.mark.nightly),
    pytest.param(("S1GRD", ["DEM", "S1GRD"]), id="S1GRD", marks=pytest.mark.nightly),
    pytest.param(("S2L2A", ["S1RTC", "S2L2A"]), id="S2L2A", marks=pytest.mark.nightly),
]


@pytest.fixture(scope="module", params=DIFFUSED)
def diffused(request):
    """TerraTorch's own generator of a continuous modality, and ours of the same parts."""
    from terratorch.registry import TERRATORCH_FULL_MODEL_REGISTRY

    modality, inputs = request.param
    model = TERRATORCH_FULL_MODEL_REGISTRY.build(
        PUBLISHED["terramind_v1_tiny"].architecture,
        modalities=inputs,
        output_modalities=[modality],
        pretrained=False,
        top_k=1,
        top_p=0.0,
        timesteps=2,
    )
    ours = TerraMindGenerator(model, inputs, modality, make_sampling(top_k=1, top_p=0.0, diffusion_steps=2))
    scatter_weights(ours.network)
    scatter_weights(ours.tokenizer)  # as initialised, the decoder's last layer is zero
    return model.eval(), ours


def noise_stream() -> torch.Generator:
    return torch.Generator().manual_seed(9)


def test_continuous_modalities_equal_upstreams_forward(diffused, monkeypatch):
    upstream, ours = diffused
    made = images(ours, 64)
    monkeypatch.setattr(StreamKey, "noise", lambda _, shape: torch.randn(shape, generator=noise_stream()))
    found = generate_one(ours, made, "chip", 0)
    drawn = {}
    decode = ours.tokenizer.decode_tokens

    def with_the_same_noise(tokens, **kwargs):  # upstream's is from the global generator
        drawn["tokens"] = tokens
        return decode(tokens, generator=noise_stream(), **kwargs)

    monkeypatch.setattr(ours.tokenizer, "decode_tokens", with_the_same_noise)
    random.seed(0)
    with torch.no_grad():
        given = {name: image[None].clone() for name, image in made.items()}
        expected = upstream(given, standardize=True)[ours.modality]
    assert found.tokens.unique().numel() > 2
    assert torch.equal(found.tokens, drawn["tokens"])
    assert expected.std() > 0.01
    torch.testing.assert_close(found.decoded, expected, rtol=1e-5, atol=1e-4)


def test_diffusion_is_reproducible_and_in_the_modalitys_unit(diffused):
    _, module = diffused
    bands = MAPS[module.modality].modality
    made = images(module, 64)
    first, again = (generate_one(module, made, "c", 0) for _ in range(2))
    assert first.decoded.shape == (1, len(bands.bands), 64, 64)
    assert torch.equal(first.decoded, again.decoded)
    assert not torch.equal(generate_one(module, made, "d", 0).decoded, first.decoded)
    mean, std = (torch.tensor(v)[:, None, None] for v in (bands.mean, bands.std))
    assert ((first.decoded - mean) / std).abs().max() <= 1.0001  # clip_sample: the decoder's range is −1 to 1


@pytest.mark.nightly
def test_several_decoding_steps_of_an_output_that_is_an_input_too():
    module = load(
        generator="terramind_v1_tiny",
        modality="S2L2A",
        inputs=["S2L2A", "DEM"],
        decoding_steps=2,
        diffusion_steps=1,
    )
    assert set(module.network.encoder_embeddings) == {"untok_sen2l2a@224", "untok_dem@224", "tok_sen2l2a@224"}
    found = generate_one(module, images(module, 32), "c", 0)
    assert found.tokens.shape == (1, 2, 2)


@pytest.mark.parametrize("modality", MAPS)
def test_tokens_of_every_modality_are_terratorchs(modality):
    from terratorch.models.backbones.terramind.model.modality_info import MODALITY_INFO

    assert MODALITY_INFO[token_key(modality)]["vocab_size"] == (4375 if modality == "LULC" else 15_360)


def test_a_modality_that_the_generator_does_not_make():
    with pytest.raises(AugmentStoreError, match="'demo' does not make DEM; it makes LULC, NDVI"):
        load(modality="DEM", diffusion_steps=1)


@pytest.mark.gpu
class TestOnGpu:
    """Not run on the machines this was written on."""

    def test_parity_with_the_cpu(self):
        module = load(top_k=1)
        made = images(module, 224)
        on_cpu = generate_one(module, made, "c", 0).tokens
        module.cuda()
        on_gpu = generate_one(
            module, {name: image.cuda() for name, image in made.items()}, "c", 0
        ).tokens.cpu()
        assert (on_cpu == on_gpu).float().mean() > 0.99

    @pytest.mark.parametrize(
        "changes", [{}, {"generator": "terramind_v1_tiny", "modality": "NDVI", "diffusion_steps": 2}]
    )
    @pytest.mark.parametrize("batch", [2, 8, 32])
    def test_slot_and_company(self, batch, changes):
        """Where this fails nothing is lost: the probe falls back to one image at a time, and a line says so."""
        module = load(**changes).cuda()
        assert choose_network_batch_by_probe(module, batch, (224, 224), contextlib.nullcontext())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_autocast(self, dtype):
        module = load().cuda()
        made = {name: image.cuda() for name, image in images(module, 224).items()}
        with torch.autocast("cuda", dtype=dtype):
            found = generate_one(module, made, "c", 0)
        assert found.decoded.dtype == torch.float32
        assert found.decoded.isfinite().all()

    @pytest.mark.parametrize("changes", [{"decoding_steps": 4}, {"modality": "NDVI", "diffusion_steps": 2}])
    def test_rounds_and_diffusion(self, changes):
        module = load(generator="terramind_v1_tiny", **changes).cuda()
        made = {name: image.cuda() for name, image in images(module, 64).items()}
        first, again = (generate_one(module, made, "c", 0) for _ in range(2))
        assert torch.equal(first.tokens, again.tokens)
        assert torch.equal(first.decoded, again.decoded)

    def test_the_command_in_another_order(self, command, tmp_path):
        split = tmp_path / "reversed.txt"
        split.write_text("\n".join(reversed(IDS)))
        gpu = ("--accelerator", "gpu", "--network-batch", "4")
        assert main(command(tmp_path / "a", *gpu)) == 0
        assert main(command(tmp_path / "b", *gpu, "--split", str(split))) == 0
        assert_equal_stores(tmp_path / "a", tmp_path / "b")
