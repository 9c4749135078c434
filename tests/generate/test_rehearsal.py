"""Generation on a device that is not there: see `tests.pretend_cuda`. The tests marked `gpu` are the performance."""

import pytest
import torch

from tests.generate.test_terramind import generate_one, images, load, scatter_weights
from tests.pretend_cuda import pretended_cuda

CASES = {
    "one step": {},
    "four steps": {"decoding_steps": 4, "samples": 2},
    "diffusion": {"generator": "terramind_v1_tiny", "modality": "NDVI", "diffusion_steps": 2},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_generation_stays_on_the_device_and_equals_the_cpus(changes):
    module = load(top_p=0.8, **changes)
    scatter_weights(module.tokenizer)
    made = images(module, 64)
    expected = generate_one(module, made, "chip", 0)
    with pretended_cuda():
        module.cuda()
        found = generate_one(module, {name: image.cuda() for name, image in made.items()}, "chip", 0)
        assert all(part.is_cuda for part in (found.tokens, found.token_probability, found.decoded))
        tokens, decoded = found.tokens.cpu(), found.decoded.cpu()
    assert torch.equal(tokens, expected.tokens)
    torch.testing.assert_close(decoded, expected.decoded, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_generation_under_autocast(changes, dtype):
    module = load(**changes)
    made = images(module, 32)
    seen = set()
    module.network.decoder_proj_context.register_forward_hook(lambda *arguments: seen.add(arguments[2].dtype))
    with pretended_cuda():
        module.cuda()
        with torch.autocast("cuda", dtype=dtype):
            found = generate_one(module, {name: image.cuda() for name, image in made.items()}, "chip", 0)
        assert found.decoded.dtype == torch.float32
        assert found.decoded.isfinite().all()
    assert seen == {dtype}  # autocast was at work


@pytest.mark.parametrize("buffer", ["mean_S2L2A", "std_LULC"])
def test_a_buffer_left_behind_is_found(buffer):
    module = load()
    made = images(module, 32)
    behind = module.get_buffer(buffer)
    with pretended_cuda():
        module.cuda()
        setattr(module, buffer, behind)
        with pytest.raises(RuntimeError, match="all tensors on one device, found cuda:0 and cpu"):
            generate_one(module, {name: image.cuda() for name, image in made.items()}, "chip", 0)
