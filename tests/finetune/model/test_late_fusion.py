"""Planes beside the decoder's output."""

import pytest
import torch
from terratorch.registry import MODEL_FACTORY_REGISTRY
from torch import nn

from finetune.errors import ConfigError
from finetune.model.late_fusion import LateProjection

pytestmark = pytest.mark.slow


def test_planes_are_averaged_over_the_pixels_of_the_decoder():
    known = nn.Conv2d(3, 2, 1)
    head = LateProjection(known, 1, "zero")
    output = torch.rand(1, 3, 2, 2)
    planes = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])[None, None]
    head.give(planes)
    assert torch.equal(head(output), known(output))  # columns of zero
    with torch.no_grad():
        head.added.weight[:] = torch.tensor([1.0, 10.0]).view(2, 1, 1, 1)
    head.give(planes)
    shares = torch.tensor([[0.75, 0.0], [0.0, 0.25]])
    assert torch.allclose((head(output) - known(output))[0], torch.stack([shares, 10 * shares]))
    with pytest.raises(ConfigError, match="the batch has no planes"):
        head(output)  # never those of an earlier batch


def test_timesteps_are_planes_of_their_own():
    head = LateProjection(nn.Conv2d(3, 1, 1), 4, "zero")
    with torch.no_grad():
        head.added.weight[:] = torch.tensor([1.0, 10, 100, 1000]).view(1, 4, 1, 1)
    planes = torch.tensor([1.0, 2, 3, 4]).view(1, 2, 2, 1, 1)  # [B, C, T, H, W]
    head.give(planes)
    assert head(torch.zeros(1, 3, 1, 1)).item() == pytest.approx(4321 + head.bias.item())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone_encoding": ["onehot"]}, "is for backbone_encoding late"),
        ({"backbone_use_temporal": True}, "backbone_temporal_n_timestamps"),
    ],
)
def test_networks_that_take_no_late_planes_are_refused(changes, message):
    arguments = {"backbone": "terramind_tim_store", "backbone_encoding": ["late"], **changes}
    with pytest.raises(ConfigError, match=message):
        MODEL_FACTORY_REGISTRY.build("LateFusionFactory").build_model("segmentation", **arguments)
