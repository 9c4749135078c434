"""Both stages in a row: tokens of a store written by `python -m generate` yield in-line TiM's features."""

import pytest
import torch

from finetune.data.datamodule import TimStoreDataModule
from finetune.model.backbone import terramind_tim_store
from tests.worlds import make_world

pytestmark = pytest.mark.slow

MODALITIES = ["S2L2A", "S1RTC", "DEM"]


def publish(size, folder):
    """Random weights under the names the published files have, for generator, tokenizer and backbone alike."""
    torch.manual_seed(17)
    model = terramind_tim_store(architecture=f"terramind_v1_{size}_tim", modalities=MODALITIES)
    prefixes = {
        "sampler.model.": f"TerraMind_v1_{size}.pt",
        "tokenizer.tok_lulc@224.": "TerraMind_Tokenizer_LULC.pt",
    }
    state = model.state_dict()
    for prefix, name in prefixes.items():
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        torch.save(own, folder / name)


def difference_from_inline(size, folder):
    """Largest difference over all blocks between the cached arm and in-line TiM, on two chips at two timesteps."""
    from generate.__main__ import main

    world = make_world(folder / "chips", timesteps=2, splits={"test": ("a_0_0", "b_0_0")})
    (folder / "weights").mkdir()
    publish(size, folder / "weights")
    deterministic = [
        "--generator",
        f"terramind_v1_{size}",
        "--top-k",
        "1",
        "--top-p",
        "0",
        "--accelerator",
        "cpu",
    ]
    where = [
        "--chips",
        str(world.root),
        "--store",
        str(folder / "store"),
        "--weights",
        str(folder / "weights"),
    ]
    assert main([*where, *deterministic, "--accept-audit"]) == 0
    shared = {"modalities": MODALITIES, "pretrained": True, "weights": str(folder / "weights")}
    cached = terramind_tim_store(architecture=f"terramind_v1_{size}", encoding=["tokens"], **shared).eval()
    inline = terramind_tim_store(
        architecture=f"terramind_v1_{size}_tim", tim_top_k=1, tim_top_p=0.0, **shared
    ).eval()
    differences = []
    for timestep in range(2):
        given = batch_of(world, folder / "store", timestep)
        with torch.no_grad():
            ours, theirs = cached(dict(given)), inline({name: given[name] for name in MODALITIES})
        differences += [float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True)]
    assert len(differences) == 24
    return max(differences)


def batch_of(world, store, timestep):
    module = TimStoreDataModule(
        str(world.root),
        modalities=MODALITIES,
        timesteps=[timestep],
        means="terramind_v1",
        augment=str(store),
        encoding=["tokens"],
    )
    module.setup("test")
    return module.model_batch(next(iter(module.test_dataloader())))["image"]


@pytest.mark.nightly
def test_tokens_of_stage_1_equal_inline_tim(tmp_path):
    assert difference_from_inline("tiny", tmp_path) <= 1e-5
