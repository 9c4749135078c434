"""Networks whose head takes cached planes beside the decoder's output, so that a frozen backbone can use them too."""

from __future__ import annotations

import functools
from typing import Any

import torch
from terratorch.models import EncoderDecoderFactory
from terratorch.models.model import Model
from terratorch.registry import MODEL_FACTORY_REGISTRY
from torch import Tensor, nn
from torch.nn import functional

from finetune.augment.encodings import PLANES_MODALITY, Placement, plan_encoding
from finetune.errors import ConfigError


class LateProjection(nn.Conv2d):
    """A head's first convolution for planes beside the decoder's output.

    The decoder's columns stay one matrix under their own name; those of the planes are a second one, and the products
    are added: with new columns of zero the sum equals the baseline's, bit for bit.

    Args:
        known: The convolution to widen; its weights are shared.
        planes: Number of planes.
        new_columns: ``zero``, or ``random`` for the initialization of convolutions.
    """

    def __init__(self, known: nn.Conv2d, planes: int, new_columns: str) -> None:
        size, padding = known.kernel_size, known.padding
        # on "meta": weights that are replaced at once take no memory and no random numbers
        super().__init__(known.in_channels, known.out_channels, size, padding=padding, device="meta")  # type: ignore[arg-type] # tuples of any length
        self.weight, self.bias = known.weight, known.bias
        with torch.random.fork_rng(devices=[]):  # so that later initializations equal the baseline's
            self.added = nn.Conv2d(planes, known.out_channels, size, padding=padding, bias=False)  # type: ignore[arg-type] # as above
        if new_columns == "zero":
            nn.init.zeros_(self.added.weight)
        self._planes: Tensor | None = None

    def give(self, planes: Tensor) -> None:
        """Keep the planes of a batch, ``[B, C, T, H, W]`` or ``[B, C, H, W]``, for its next pass through the head."""
        self._planes = planes.flatten(1, -3)

    def forward(self, output: Tensor) -> Tensor:
        """Convolve the decoder's output ``[B, C, h, w]`` and the planes, averaged over its pixels.

        Raises:
            ConfigError: If the batch had no planes.
        """
        planes, self._planes = self._planes, None
        if planes is None:
            raise ConfigError(
                "the batch has no planes; name the same encoding under data and under model_args"
            )
        shrunk = functional.interpolate(planes, size=output.shape[-2:], mode="area")
        made: Tensor = super().forward(output) + self.added(shrunk)
        return made


def _take_planes(head: LateProjection, _: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Hand a batch's planes, padded as its images are, past the backbone to the head."""
    images = dict(given[0])
    if (planes := images.pop(PLANES_MODALITY, None)) is not None:
        head.give(planes)
    return (images, *given[1:])


@MODEL_FACTORY_REGISTRY.register
class LateFusionFactory(EncoderDecoderFactory):  # type: ignore[misc] # terratorch is untyped
    """TerraTorch's factory, with a head that takes cached planes; other arguments are as they are there."""

    def build_model(self, task: str, backbone: str, **arguments: Any) -> Model:
        """Build the network.

        Raises:
            ConfigError: If the encoding is another than ``late``, or the decoder has a head of its own.
        """
        plan = plan_encoding(tuple(arguments.get("backbone_encoding") or ()))
        if plan.placement is not Placement.LATE:
            raise ConfigError(
                "model_factory LateFusionFactory is for backbone_encoding late, with the planes beside it"
            )
        # the prefixed arguments are taken out of the mapping by TerraTorch
        timesteps = arguments.get("backbone_temporal_n_timestamps")
        if arguments.get("backbone_use_temporal") and timesteps is None:
            raise ConfigError("--encoding late needs the number of timesteps: backbone_temporal_n_timestamps")
        new_columns = str(arguments.get("backbone_new_columns", "zero"))
        network = super().build_model(task, backbone, **arguments)
        found = next(
            ((name, layer) for name, layer in network.head.named_modules() if isinstance(layer, nn.Conv2d)),
            None,
        )
        if found is None:
            raise ConfigError(
                f"decoder {arguments.get('decoder')!r} holds its head, which takes no planes; with --encoding late "
                "take one without, such as UNetDecoder"
            )
        name, known = found
        head = LateProjection(known, plan.channels * (timesteps or 1), new_columns)
        network.head.set_submodule(name, head)
        network.encoder.register_forward_pre_hook(functools.partial(_take_planes, head))
        return network
