"""Checkpoints of tasks: whole and of this network, or refused for what is the matter with them."""

import pytest
import torch
from torch import nn

from terramind_weights.checkpoint import Checkpoint, MisfitError, check_fit, read_exact
from terramind_weights.weight_files import WeightsError

pytestmark = pytest.mark.slow


class Task(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Linear(2, 3)
        self.criterion = nn.Linear(1, 1)


def saved(path, **changes):
    state = {
        name: value for name, value in Task().state_dict().items() if name.startswith("model.")
    } | changes
    torch.save({"state_dict": {name: value for name, value in state.items() if value is not None}}, path)
    return path


def test_the_network_alone_is_read_and_a_criterion_passed_over(tmp_path):
    path = saved(tmp_path / "a.ckpt", **{"criterion.weight": torch.zeros(7)})
    checkpoint = read_exact(path, Task())
    assert set(checkpoint.tensors) == {"model.weight", "model.bias"}
    assert not checkpoint.resumable
    torch.save({"state_dict": checkpoint.tensors, "optimizer_states": []}, path)
    assert Checkpoint.read(path).resumable
    torch.save(dict(checkpoint.tensors), path)  # a bare state dict
    assert set(Checkpoint.read(path).tensors) == {"model.weight", "model.bias"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model.bias": None}, "tensor model.bias is missing"),
        ({"model.bias": torch.zeros(4)}, "tensor model.bias has shape (4,), expected (3,)"),
        ({"model.more": torch.zeros(1)}, "tensor model.more has no place in this model"),
    ],
)
def test_a_misfit_says_the_first_difference(tmp_path, changes, what):
    with pytest.raises(MisfitError) as raised:
        read_exact(saved(tmp_path / "a.ckpt", **changes), Task())
    assert raised.value.what == what


def test_a_damaged_file_is_damaged_and_no_misfit(tmp_path):
    path = saved(tmp_path / "a.ckpt")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError, match=r"a.ckpt: cannot be read .*; copy the file again") as raised:
        read_exact(path, Task())
    assert not isinstance(raised.value, MisfitError)


def test_names_may_be_translated_and_additions_lacking(tmp_path):
    own = {"wrapped.weight": torch.zeros(2), "added": torch.zeros(1)}
    given = {"weight": torch.zeros(2)}

    def theirs(name):
        return name.removeprefix("wrapped.")

    check_fit(tmp_path, own, given, theirs, may_lack=lambda name: name == "added")
    with pytest.raises(MisfitError, match="tensor added is missing"):
        check_fit(tmp_path, own, given, theirs)
