import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from generate.model.sampling import StreamKey, draw, filtered_probabilities, token_probabilities

LOGITS = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "expected"),
    [
        (1.0, 0, 0.0, [0.5, 0.25, 0.125, 0.125]),
        (1.0, 1, 0.0, [1, 0, 0, 0]),
        (1.0, 2, 0.0, [2 / 3, 1 / 3, 0, 0]),
        (1.0, 3, 0.0, [0.5, 0.25, 0.125, 0.125]),  # the third and fourth are equal: both stay
        (1.0, 0, 0.4, [1, 0, 0, 0]),
        (1.0, 0, 0.6, [2 / 3, 1 / 3, 0, 0]),  # the code that crosses the threshold stays
        (0.5, 0, 0.0, [16 / 22, 4 / 22, 1 / 22, 1 / 22]),  # squares of 4:2:1:1
        (0.5, 2, 0.0, [4 / 5, 1 / 5, 0, 0]),
        (9.0, 1, 0.9, [1, 0, 0, 0]),
    ],
)
def test_filtered_distribution_by_hand(temperature, top_k, top_p, expected):
    found = filtered_probabilities(LOGITS, temperature, top_k, top_p)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found[0], torch.tensor(expected, dtype=torch.float64), atol=1e-7, rtol=0)


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 0.8), (5, 0.0), (7, 0.5), (1, 0.0)])
def test_filters_equal_upstreams(top_k, top_p):
    from terratorch.models.backbones.terramind.model.generate import GenerationSampler

    logits = torch.randn(50, 40, generator=torch.Generator().manual_seed(1)).double() * 3
    upstream = GenerationSampler(torch.nn.Identity()).top_k_top_p_filtering(logits.clone(), top_k, top_p)
    torch.testing.assert_close(
        filtered_probabilities(logits, 0.7, top_k, top_p), (upstream / 0.7).softmax(-1)
    )


def test_inverse_cdf_by_hand():
    probabilities = torch.tensor([[0.0, 0.5, 0.0, 0.5]]).expand(5, 4)
    uniforms = torch.tensor([0.0, 0.49, 0.5, 0.75, 1 - 2**-53], dtype=torch.float64)
    assert draw(probabilities, uniforms).tolist() == [1, 1, 3, 3, 3]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_thousand_draws_match_the_filtered_distribution(seed):
    logits = torch.tensor([[1.2, 0.3, -0.5, 0.9, -2.0, 0.0]])
    probabilities = filtered_probabilities(logits, 0.8, 0, 0.9)
    drawn = draw(probabilities.expand(2000, 6), StreamKey(seed, "chip", 0, 0).uniforms(2000))
    counts = torch.bincount(drawn, minlength=6).numpy()
    kept = probabilities[0].numpy() > 0
    assert kept.sum() == 4
    assert counts[~kept].sum() == 0
    assert chisquare(counts[kept], 2000 * probabilities[0].numpy()[kept]).pvalue > 0.01


def test_a_stream_depends_on_its_key_alone():
    key = StreamKey(7, "chip", 1, 0)
    assert torch.equal(key.uniforms(100), StreamKey(7, "chip", 1, 0).uniforms(100))
    assert torch.equal(key.uniforms(100)[:50], key.uniforms(50))
    others = [StreamKey(8, "chip", 1, 0), StreamKey(7, "chip2", 1, 0), StreamKey(7, "chip", 0, 0)]
    others += [StreamKey(7, "chip", 1, 1), StreamKey(7, "1|chip", 0, 0)]
    for other in others:
        assert not torch.equal(key.uniforms(100), other.uniforms(100))


def test_streams_of_different_purpose_are_independent():
    key = StreamKey(0, "chip", 0, 0)
    assert sorted(key.order(64).tolist()) == list(range(64))
    assert not torch.equal(key.uniforms(64).argsort(), key.order(64))
    first, again = (key.noise((9,)) for _ in range(2))
    assert torch.equal(first, again)


def test_keys_touch_no_global_random_state():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    key = StreamKey(0, "chip", 0, 0)
    key.uniforms(10), key.order(10), key.noise((9,))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_the_probability_of_a_token_is_the_networks_own_before_any_filter():
    """Logits log 1, log 2, log 5: codes of 1/8, 2/8 and 5/8, whatever top-k or temperature made of them."""
    logits = torch.log(torch.tensor([[1.0, 2.0, 5.0], [5.0, 2.0, 1.0]]))
    assert token_probabilities(logits, torch.tensor([2, 1])).tolist() == pytest.approx([5 / 8, 2 / 8])
