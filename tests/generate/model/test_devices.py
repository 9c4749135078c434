"""Generation on a device that is not there: see `tests.pretend_cuda`. The tests marked `gpu` are the performance."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from generate.data.datamodule import ChipInput, _pack
from generate.lightning_module import GenerationModule
from tests.generate.model.test_terramind import generate_one, images, load, scatter_weights
from tests.pretend_cuda import pretended_cuda

pytestmark = pytest.mark.slow

DIFFUSION = {"generator": "terramind_v1_tiny", "modality": "NDVI", "diffusion_steps": 2}
CASES = [
    pytest.param({}, id="one step"),
    pytest.param({"decoding_steps": 4, "samples": 2}, id="four steps"),
    pytest.param(DIFFUSION, id="diffusion", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize("changes", CASES)
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


@pytest.mark.parametrize("dtype", [pytest.param(torch.float16, marks=pytest.mark.nightly), torch.bfloat16])
@pytest.mark.parametrize("changes", CASES)
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


def test_a_run_waits_once_a_batch():
    """Two chips of two images in batches of three: records as on the CPU, one wait each for two batches."""
    module = GenerationModule(load(samples=2), probabilities=True)
    module.generator.network_batch = 3
    digests, sources = np.zeros((2, 16), np.uint8), np.array([0, 1], np.int16)
    taken = np.zeros((3, 2), np.int32)
    chips = []
    for number, chip_id in enumerate("ab"):
        made = [images(module.generator, 32, 2 * number + step) for step in range(2)]
        stacked = {name: torch.stack([image[name] for image in made]) for name in made[0]}
        chips.append(ChipInput(chip_id, stacked, digests, sources, taken))
    batches = [
        _pack([(chips[0], 0), (chips[0], 1), (chips[1], 0)], []),
        _pack([(chips[1], 1)], []),
        _pack([], []),
    ]
    expected = [record for batch in batches for record in module.predict_step(batch, 0)]
    assert [record.chip_id for record in expected] == ["a", "b"]
    with pretended_cuda() as device:
        module.to("cuda")
        on_device = [
            dataclasses.replace(batch, images={name: image.cuda() for name, image in batch.images.items()})
            for batch in batches
        ]
        device.waits.clear()
        found = [module.predict_step(batch, 0) for batch in on_device]
        assert +device.waits == {"event": 2}
    assert [len(records) for records in found] == [0, 1, 1]
    for ours, theirs in zip(itertools.chain(*found), expected, strict=True):
        assert not ours.error
        for name in ("tokens", "lulc"):
            np.testing.assert_array_equal(ours.arrays[name], theirs.arrays[name])
        for name in ("confidence", "probabilities"):  # the device's attention is another kernel
            np.testing.assert_allclose(ours.arrays[name].astype(int), theirs.arrays[name], atol=1)


@pytest.mark.parametrize("buffer", ["mean_S2L2A", "std_output"])
def test_a_buffer_left_behind_is_found(buffer):
    module = load()
    made = images(module, 32)
    behind = module.get_buffer(buffer)
    with pretended_cuda():
        module.cuda()
        setattr(module, buffer, behind)
        with pytest.raises(RuntimeError, match="all tensors on one device, found cuda:0 and cpu"):
            generate_one(module, {name: image.cuda() for name, image in made.items()}, "chip", 0)
