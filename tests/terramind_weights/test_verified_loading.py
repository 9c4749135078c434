from pathlib import Path

import pytest
import torch

from terramind_weights.meta_init import without_weights
from terramind_weights.verified_loading import load_proven
from terramind_weights.weight_files import WeightsError

pytestmark = pytest.mark.slow


@pytest.fixture
def head() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))


def changed(state, change):
    state = {name: tensor.clone() for name, tensor in state.items()}
    change(state)
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.bias"), "tensor 0.bias is missing"),
        (lambda s: s.update({"0.biases": s.pop("0.bias")}), "tensor 0.bias is missing"),
        (
            lambda s: s.update({"0.weight": torch.ones(2, 4)}),
            r"tensor 0.weight has shape \(2, 4\), expected \(2, 3\)",
        ),
        (lambda s: s["1.weight"].fill_(torch.nan), "tensor 1.weight differs from the file after loading"),
    ],
)
def test_missing_renamed_reshaped_or_nan_tensors_are_refused(head, change, message):
    state = changed(head.state_dict(), change)
    with pytest.raises(WeightsError, match=message):
        load_proven(head, state, Path("file.pt"))


def test_tied_tensors_must_agree(head):
    head[0].bias = head[1].bias
    state = changed(head.state_dict(), lambda s: s.update({"1.bias": torch.ones(2)}))
    with pytest.raises(WeightsError, match=r"tensor 0.bias differs"):
        load_proven(head, state, Path("file.pt"))
    only_one = changed(head.state_dict(), lambda s: s.pop("1.bias"))
    load_proven(head, only_one, Path("file.pt"))


def test_half_precision_files_are_compared_after_the_cast(head):
    state = {name: tensor.half() for name, tensor in head.state_dict().items()}
    load_proven(head, state, Path("file.pt"))
    assert torch.equal(head[0].weight, state["0.weight"].float())


def test_a_module_without_memory_gets_the_files_tensors_and_keeps_its_ties():
    with without_weights():
        head = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
        head[0].bias = head[1].bias
    assert all(parameter.is_meta for parameter in head.parameters())
    assert not torch.nn.Linear(3, 2).weight.is_meta
    state = {"0.weight": torch.ones(2, 3), "1.weight": torch.ones(2), "1.bias": torch.zeros(2)}
    load_proven(head, state, Path("file.pt"))
    assert head[0].weight.data_ptr() == state["0.weight"].data_ptr()
    assert head[0].bias is head[1].bias
    assert head(torch.ones(1, 3)).tolist() == [[0.0, 0.0]]  # LayerNorm of two equal numbers


def test_tied_tensors_of_a_module_without_memory_must_agree():
    with without_weights():
        head = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
        head[0].bias = head[1].bias
    state = {
        "0.weight": torch.ones(2, 3),
        "0.bias": torch.ones(2),
        "1.weight": torch.ones(2),
        "1.bias": torch.zeros(2),
    }
    with pytest.raises(WeightsError, match=r"tensor 1.bias differs from 0.bias, to which it is tied"):
        load_proven(head, state, Path("file.pt"))
