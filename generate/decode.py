"""Decoding: the maps of a store that holds tokens alone, in a store of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from augment_store.errors import StoreError
from augment_store.io.lock import store_lock
from augment_store.modalities.map_arrays import TOKEN_PROBABILITY, TOKENS
from augment_store.store.chip_index import iter_entries
from augment_store.store.schema import ChipShape, State
from augment_store.store.spec import GenerationSpec
from augment_store.store.writer import AugmentStore
from augment_store.utils.log_filters import filter_warnings
from generate.data.datamodule import ChipDataModule, ChipInput
from generate.devices import make_trainer, predict, settled_precision
from generate.errors import OptionsError
from generate.lightning_module import GenerationModule
from generate.log_filters import LOGGERS, REMARKS
from generate.model.map_decoder import MapDecoder
from generate.model.terramind import load_decoder
from generate.plan import installed_versions
from generate.progress import ChipProgress
from generate.requests import DecodingRequest
from generate.run import count_complete, report
from generate.store_writer import StoreWriter
from terramind_weights.catalog import HUB, RANDOM, find_generator
from terramind_weights.tf32 import float32_products


@dataclass(frozen=True)
class TokenReader:
    """Reads tokens of complete chips where `ChipReader` reads images.

    Attributes:
        store: Store that holds the tokens.
    """

    store: AugmentStore

    @property
    def ids(self) -> Sequence[str]:
        """Return the ids of the complete chips."""
        return self.store.chips_in(State.COMPLETE)

    @property
    def extent(self) -> ChipShape:
        """Return the timesteps and size of the chips."""
        return self.store.extent

    def __call__(self, chip_id: str) -> ChipInput:
        """Read the tokens of one chip's distinct timesteps, and what else its record holds."""
        digests, sources, series = (
            self.store.read(chip_id, name) for name in ("input_digest", "timestep_source", "series_index")
        )
        # a timestep with the input of an earlier one has a copy of its tokens
        distinct = np.unique(sources)
        images = {
            # stored as uint16; the codebook is looked up by int64
            TOKENS: _images(self.store.read(chip_id, TOKENS).astype(np.int64), distinct),
            TOKEN_PROBABILITY: _images(self.store.read(chip_id, TOKEN_PROBABILITY), distinct),
        }
        return ChipInput(chip_id, images, digests, sources, series)


def _images(values: NDArray[np.generic], timesteps: NDArray[np.int16]) -> torch.Tensor:
    """Return values ``[S, T, ty, tx]`` of some timesteps as ``[timesteps, S, ty, tx]``."""
    return torch.from_numpy(np.ascontiguousarray(values[:, timesteps].swapaxes(0, 1)))


def run_decoding(request: DecodingRequest, command: str, *, quiet: bool = False) -> int:
    """Make the maps of a store's tokens, in a store like the one that `generate` would have made at once.

    Args:
        request: Where the tokens are, and where the maps go.
        command: The command that asked for it, for the history of the new store.
        quiet: Report no progress.

    Returns:
        0, or 1 if chips failed.

    Raises:
        AugmentStoreError: If the tokens, devices, weights or the new store cannot be used.
    """
    filter_warnings(REMARKS, LOGGERS)
    tokens = AugmentStore.open(request.tokens)
    if not tokens.spec.tokens_only:
        raise OptionsError(f"{tokens.path}: holds its maps already; decode takes a store of --arrays tokens")
    # the tokens' own arithmetic, so that the store is as if made in one go
    device = replace(request.device, precision=tokens.spec.precision)
    trainer = make_trainer(device)
    precision = settled_precision(device, trainer)
    first = trainer.global_rank == 0
    console = Console(stderr=True, quiet=not first)
    lock = store_lock(request.store, command) if first else contextlib.nullcontext()
    with lock, float32_products(precision):
        decoder, spec = _load(tokens, request.weights, precision, trainer.strategy.root_device)
        before = _prepare_store(tokens, request, spec, command) if first else 0
        reader = TokenReader(tokens)
        trainer.callbacks += [  # type: ignore[attr-defined]
            StoreWriter(request.store),
            ChipProgress(console, "decoding", quiet=quiet),
        ]
        module = GenerationModule(decoder, probabilities=spec.probabilities)
        predict(trainer, module, ChipDataModule(reader, request.store, spec, request.workers))
        return report(request.store, reader.ids, before, console) if first else 0


def _load(
    tokens: AugmentStore, weights: str | None, precision: str, device: torch.device
) -> tuple[MapDecoder, GenerationSpec]:
    """Load the decoder, and return it with the spec of the maps.

    Raises:
        StoreError: If weights, device or versions are not those of the tokens, so that the maps would not be
            the ones that the generator would have made.
    """
    spec = tokens.spec
    wanted = weights or (RANDOM if spec.weights == RANDOM else HUB)
    names = [entry.name for entry in spec.inputs]
    decoder, digest = load_decoder(
        find_generator(spec.generator), names, spec.modality, spec.sampling, wanted
    )
    # kernels choose their arithmetic by the number of images, and with it the last bits
    decoder.network_batch, decoder.shape = spec.network_batch, tokens.extent.shape
    # all that decides the maps' bits, as it is in this run
    here = replace(
        spec,
        tokenizer_sha256=digest,
        precision=precision,
        device=device.type,
        versions=installed_versions(),
    )
    if differences := spec.differences(here):
        raise StoreError(
            f"{tokens.path}: tokens of other settings than this run's (store ≠ this run): {'; '.join(differences)}. "
            "Decode with the weights, the kind of device and the versions that they were generated with"
        )
    return decoder, replace(spec, tokens_only=False)


def _prepare_store(tokens: AugmentStore, request: DecodingRequest, spec: GenerationSpec, command: str) -> int:
    """Make or open the store of the maps and announce the chips; return how many are complete already."""
    if (request.store / "zarr.json").is_file():
        store = AugmentStore.open(request.store, mode="r+")
        store.check_fits(spec, tokens.extent)
    else:
        store = AugmentStore.create(request.store, spec, tokens.extent, tokens.shard_chips)
    # the history of the tokens first, with the decoding below it; a kill may have come before either
    if not store.history:
        store.write_history(tokens.history)
    # generated again from inputs that have changed since, so that their maps are of tokens that are gone
    store.reset(_changed_chips(store, tokens))
    complete = set(store.chips_in(State.COMPLETE))
    store.announce([entry for entry in iter_entries(tokens) if entry.chip_id not in complete])
    store.record_audit(tokens.audit)
    store.record_history(command)
    return count_complete(store, tokens.chips_in(State.COMPLETE))


def _changed_chips(store: AugmentStore, tokens: AugmentStore) -> list[int]:
    """Return the positions of complete maps that were made from other inputs than the complete tokens are of."""
    both = set(store.chips_in(State.COMPLETE)).intersection(tokens.chips_in(State.COMPLETE))
    (ours, at), (theirs, there) = (
        (one.values("input_digest", slice(0, len(one.chip_ids))), one.chip_ids.positions())
        for one in (store, tokens)
    )
    return [at[chip_id] for chip_id in both if not np.array_equal(ours[at[chip_id]], theirs[there[chip_id]])]
