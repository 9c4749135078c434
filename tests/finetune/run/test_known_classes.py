"""The classes that a recorded run may name are built from plain values alone."""

import importlib
import inspect

import albumentations
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from terratorch.registry import DECODER_REGISTRY, MODEL_FACTORY_REGISTRY, NECK_REGISTRY

from finetune.data.datamodule import TimStoreDataModule
from finetune.run import known_classes as known

pytestmark = pytest.mark.slow

KINDS = {
    "optimizers": (known.OPTIMIZERS, torch.optim.Optimizer),
    "schedulers": (known.SCHEDULERS, torch.optim.lr_scheduler.LRScheduler),
    "callbacks": (known.CALLBACKS, Callback),
    "transforms": (known.TRANSFORMS, albumentations.BasicTransform),
}


def found(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_is_of_its_kind_and_takes_no_function(kind):
    paths, base = KINDS[kind]
    takes = {}
    for path in set(paths.values()):
        made = found(path)
        assert issubclass(made, base), path
        hints = (str(parameter.annotation) for parameter in inspect.signature(made).parameters.values())
        takes[path] = [hint for hint in hints if "Callable" in hint or "Module" in hint]
    # averages of weights may be a function of the user's; a name of one is no word, since it has a dot
    allowed = {"lightning.pytorch.callbacks.StochasticWeightAveraging"}
    assert {path for path, hints in takes.items() if hints} <= allowed


def test_necks_decoders_and_the_factory_are_in_terratorchs_registries():
    assert known.FACTORY in MODEL_FACTORY_REGISTRY
    assert {f"terratorch_{name}" for name in known.NECKS} <= set(NECK_REGISTRY)
    decoders = {name if name.startswith("smp_") else f"terratorch_{name}" for name in known.DECODERS}
    assert decoders <= set(DECODER_REGISTRY)


def test_the_datamodules_keys_are_all_listed():
    ours = set(inspect.signature(TimStoreDataModule.__init__).parameters) - {"self"}
    transforms = {"train_transform", "val_transform", "test_transform"}
    assert ours == known.DATA_ARGUMENTS | known.DATA_PATHS | transforms | {"scenes", "class_names"}
