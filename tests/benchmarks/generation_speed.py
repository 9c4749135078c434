"""What one image at a time costs against batches: `python -m tests.benchmarks.generation_speed`.

The same network passes over the same images, one by one and in batches, taking turns in one run; the table
gives seconds per image and the ratio of the medians. Whether the results are equal to the last bit is shown too:
it is what one image at a time guarantees, and what batches may or may not give.
"""

import argparse
import statistics
import sys
import time

import torch
from rich.console import Console
from rich.table import Table

from augment_store.modalities import INPUT_MODALITIES
from augment_store.spec import SamplingSpec
from generate.terramind import TerraMindGenerator, load_generator
from terramind_weights.catalog import find_generator

INPUTS = ("S2L2A", "S1RTC", "DEM")


def logits(module: TerraMindGenerator, images: dict[str, torch.Tensor]) -> torch.Tensor:
    """Code logits ``[B, N, V]`` of a batch of standardised images ``[B, C, H, W]``, one decoding step."""
    network, head = module.network, module.network.decoder_embeddings[module.target]
    parts = [
        network.encoder_embeddings[module.inputs[name]]({"tensor": image}) for name, image in images.items()
    ]
    embeddings = torch.cat([part["emb"] for part in parts], dim=1)
    encoded = network.forward_encoder(torch.cat([part["x"] for part in parts], dim=1) + embeddings, None)
    count = parts[0]["x"].shape[1]
    blank = torch.zeros((len(embeddings), count), dtype=torch.long, device=embeddings.device)
    queries = network.mask_token + head.forward_embed({"tensor": blank})["emb"]
    context = network.decoder_proj_context(encoded) + embeddings
    return head.forward_logits(network.forward_decoder(queries, context, None, None))


def measure(generator: str, size: int, batch: int, rounds: int) -> tuple[float, float, bool]:
    """Median seconds per image one by one and in a batch, and whether both gave equal logits."""
    sampling = SamplingSpec(1.0, 0, 0.8, 1, 1, 0, None)
    module = load_generator(find_generator(generator), INPUTS, "LULC", sampling, "random").module
    stream = torch.Generator().manual_seed(0)
    images = {
        n: torch.randn(batch, len(INPUT_MODALITIES[n].bands), size, size, generator=stream) for n in INPUTS
    }
    single, together = [], []
    with torch.inference_mode():
        for _ in range(rounds + 1):  # the first round warms up
            start = time.perf_counter()
            one_by_one = torch.cat(
                [logits(module, {n: i[k : k + 1] for n, i in images.items()}) for k in range(batch)]
            )
            middle = time.perf_counter()
            at_once = logits(module, images)
            together.append((time.perf_counter() - middle) / batch)
            single.append((middle - start) / batch)
    return statistics.median(single[1:]), statistics.median(together[1:]), torch.equal(one_by_one, at_once)


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.generation_speed", description=__doc__)
    parser.add_argument("--generators", nargs="+", default=["demo", "terramind_v1_tiny", "terramind_v1_base"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parsed = parser.parse_args()
    table = Table(
        title=f"{parsed.size} px, {' + '.join(INPUTS)} → LULC tokens, {torch.get_num_threads()} CPU threads"
    )
    for heading in (
        "generator",
        "s/image, one by one",
        f"s/image, batch {parsed.batch}",
        "ratio",
        "equal bits",
    ):
        table.add_column(heading, justify="left" if heading == "generator" else "right")
    for generator in parsed.generators:
        single, together, equal = measure(generator, parsed.size, parsed.batch, parsed.rounds)
        table.add_row(generator, f"{single:.3f}", f"{together:.3f}", f"{single / together:.2f}", str(equal))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
