"""Does an image get the same result in every slot and next to any others? Tested on the device in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from augment_store.utils.text import format_size
from generate.errors import OptionsError
from generate.model.map_decoder import Generated, ImageKey
from generate.model.terramind import TerraMindGenerator

Images = Mapping[str, Tensor]


def choose_network_batch_by_probe(
    module: TerraMindGenerator,
    wanted: int,
    shape: tuple[int, int],
    arithmetic: AbstractContextManager[object],
) -> bool:
    """Let a generator see `wanted` images at a time if that changes no result, else one.

    Three batches are compared. The second has every image one slot further on, so that equal results mean that
    neighbouring slots behave alike, and so all of them; the third has infinite images in every second slot, which
    must not affect those beside them.

    Args:
        module: The generator on its device; `network_batch` is set.
        wanted: Images at a time.
        shape: Height and width of the chips in pixels.
        arithmetic: Context of the precision that the run will use.

    Returns:
        Whether the results were equal to the last bit.

    Raises:
        OptionsError: If the device has too little memory for that many images.
    """
    module.network_batch = wanted
    # a single image has no neighbors
    if wanted == 1:
        return True
    try:
        with arithmetic:
            holds = _is_indifferent(module, shape)
    except torch.OutOfMemoryError as error:
        raise OptionsError(
            f"--network-batch {wanted}: the device has too little memory for that many images of "
            f"{format_size(shape)} at a "
            f"time; try --network-batch {wanted // 2}"
        ) from error
    module.network_batch = wanted if holds else 1
    return holds


def _is_indifferent(module: TerraMindGenerator, shape: tuple[int, int]) -> bool:
    count = module.network_batch
    images, owners = _images(module, shape), [ImageKey(f"probe {slot}", 0) for slot in range(count)]
    first = module.generate(images, owners)
    # slot 0 shows the last image, every other the one before its own
    moved = [(slot - 1) % count for slot in range(count)]
    second = module.generate(_taken(images, moved), [owners[slot] for slot in moved])
    strangers = {name: image.clone() for name, image in images.items()}
    for image in strangers.values():
        # gives NaN within the network, so that any trace in a neighbor shows
        image[1::2] = torch.inf
    third = module.generate(strangers, owners)
    # the slots that were left as they were
    kept = list(range(0, count, 2))
    return _equal(first, second, moved, range(count)) and _equal(first, third, kept, kept)


def _images(module: TerraMindGenerator, shape: tuple[int, int]) -> Images:
    """Random images with the pretraining mean and deviation, the same in every run."""
    stream, images = torch.Generator().manual_seed(0), {}
    for name in module.inputs:
        mean, std = module.get_buffer(f"mean_{name}"), module.get_buffer(f"std_{name}")
        # drawn on the CPU: every device is tested with the same images
        noise = torch.randn((module.network_batch, len(mean), *shape), generator=stream)
        images[name] = noise.to(mean.device) * std + mean
    return images


def _taken(images: Images, slots: Sequence[int]) -> Images:
    return {name: image[torch.tensor(slots, device=image.device)] for name, image in images.items()}


def _equal(one: Generated, other: Generated, slots: Sequence[int], places: Sequence[int]) -> bool:
    """Tell whether slots of `one` equal positions of `other`, to the last bit."""
    return all(
        torch.equal(getattr(one, part)[list(slots)], getattr(other, part)[list(places)])
        for part in ("tokens", "token_probability", "decoded", "finite")
    )
