"""A training step of each encoding on a device that is not there: see `tests.pretend_cuda`."""

import pytest
import torch

from augment_store.modalities.registry import MAPS
from finetune.augment.encodings import ENCODINGS
from finetune.data.datamodule import TimStoreDataModule
from tests.finetune.model.test_initialization import make_task
from tests.pretend_cuda import backward, pretended_cuda, watch
from tests.worlds import make_spec, store_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stores(world, tmp_path_factory):
    """A store of each modality, that of LULC with everything it can have."""
    folder = tmp_path_factory.mktemp("stores")
    for modality, kind in MAPS.items():
        spec = make_spec(modality, probabilities=not kind.continuous)
        store_of(world.chips, folder / kind.array, spec)
    return folder


def to_cuda(value):
    if isinstance(value, dict):
        return {key: to_cuda(entry) for key, entry in value.items()}
    return value.cuda() if isinstance(value, torch.Tensor) else value


EARLY = [name for name in ENCODINGS if name != "late"]
"""Encodings that the backbone reads; `late` is read by a decoder, which `make_task` does not build."""

AT_ONCE = {"onehot": ()}
"""Encodings of the default run: planes that the first layer takes."""


@pytest.mark.parametrize(
    "encoding",
    [
        pytest.param([], id="none", marks=pytest.mark.nightly),
        *(pytest.param([name], id=name, marks=AT_ONCE.get(name, pytest.mark.nightly)) for name in EARLY),
    ],
)
def test_a_training_step_under_autocast(world, stores, encoding):
    name = encoding[0] if encoding and encoding[0] in {kind.array for kind in MAPS.values()} else "lulc"
    store = str(stores / name) if encoding else None
    module = TimStoreDataModule(
        str(world.root), batch_size=2, num_workers=0, augment=store, encoding=encoding, timesteps=[0]
    )
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    task = make_task(encoding).train()
    seen = set()
    layer = next(part for part in task.modules() if isinstance(part, torch.nn.Conv2d))
    layer.register_forward_hook(lambda *arguments: seen.add(arguments[2].dtype))
    before = {name: parameter.detach().clone() for name, parameter in task.named_parameters()}
    with pretended_cuda():
        watch(task.to("cuda").parameters())
        optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
        model_batch = module.model_batch(to_cuda(batch))
        with torch.autocast("cuda", dtype=torch.float16):
            output = task(model_batch["image"]).output
            loss = task.criterion(output, model_batch["mask"])
        assert output.is_cuda
        assert seen == {torch.float16}  # autocast was at work
        backward(loss, task.parameters())
        optimizer.step()
        assert loss.isfinite()
        after = {name: parameter.detach().cpu() for name, parameter in task.named_parameters()}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in moved} == {"model"}
    assert any("encoder_embeddings" in name for name in moved)
