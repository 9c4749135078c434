"""Check that joined planes reach what is trained in the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from augment_store.utils.text import single_line
from finetune.augment.augmentation import Augmentation
from finetune.augment.planes import join_images
from finetune.errors import ConfigError
from finetune.model import BACKBONE
from finetune.model.backbone import WidenedProjection
from finetune.model.initialization import check_trainable
from finetune.model.shapes import unchanged


def check_reached(task: LightningModule, sample: Mapping[str, Any], augmentation: Augmentation) -> None:
    """Make sure that joined planes change the gradient of a parameter that is trained.

    Args:
        task: The task with its network, before training.
        sample: A sample of the joined dataset, with ``maps``.
        augmentation: What is joined.

    Raises:
        ConfigError: If nothing could be learnt from the planes; the message names the model's arguments to set.
    """
    check_trainable(task)
    # our own backbone has a layer for the planes; whether another network reads them, only a try tells
    if any(isinstance(module, WidenedProjection) for module in task.modules()):
        return
    try:
        # two draws of planes on one image: a network that ignores planes has equal gradients for both
        one, other = (_gradients(task, sample, augmentation, seed) for seed in (0, 1))
    # any network may be here; one that fails on the joined image cannot read it, whatever it raises
    except Exception as error:
        raise ConfigError(f"{_remedy(augmentation)} ({single_line(error)})") from error
    if all(torch.equal(first, second) for first, second in zip(one, other, strict=True)):
        raise ConfigError(_remedy(augmentation))


def _remedy(augmentation: Augmentation) -> str:
    return (
        "the network does not read the joined planes, so nothing could be learnt from them; in model_args set "
        f"backbone: {BACKBONE}, backbone_architecture to a plain TerraMind backbone such as terramind_v1_base, and "
        f"backbone_encoding: [{', '.join(augmentation.encoding)}]"
    )


def _gradients(
    task: nn.Module, sample: Mapping[str, Any], augmentation: Augmentation, seed: int
) -> list[Tensor]:
    """Gradients of the trained parameters for one image, the same in each call, and planes drawn with a seed."""
    image = sample["image"]
    by_modality = image if isinstance(image, Mapping) else {"image": image}
    with unchanged(task), torch.random.fork_rng(devices=[]), torch.enable_grad():
        task.eval()  # dropout would differ, and batch norm would learn
        torch.manual_seed(0)
        images = {name: torch.randn(1, *values.shape) for name, values in by_modality.items()}
        # [T, …] → [1, T, …], a batch of one
        blank = {name: values[None] for name, values in sample["maps"].items()}
        joined = join_images(augmentation.plan, images, blank, augmentation.token_modality)
        torch.manual_seed(1 + seed)
        drawn = {name: _drawn(images.get(name), values) for name, values in joined.items()}
        output = task(drawn if isinstance(image, Mapping) else drawn["image"]).output
        torch.manual_seed(0)
        # weighted at random: the plain sum of a normalized output would be the same for any planes
        loss = (output * torch.randn_like(output)).sum()
        trained = [parameter for parameter in task.parameters() if parameter.requires_grad]
        # parts of a network may have no path to this output
        found = torch.autograd.grad(loss, trained, allow_unused=True)
        return [gradient for gradient in found if gradient is not None]


def _drawn(image: Tensor | None, joined: Tensor) -> Tensor:
    """Replace the planes of a joined image by random ones."""
    bands = 0 if image is None else image.shape[1]
    # [1, bands + planes, …]: the bands stay, what follows them is drawn
    return torch.cat([joined[:, :bands], torch.randn_like(joined[:, bands:])], dim=1)
