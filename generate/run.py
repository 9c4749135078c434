"""One generation run, from the audit to a finished store."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning
import torch
from rich.console import Console
from rich.markup import escape

from augment_store.chips.chip_set import ChipSet
from augment_store.integrity.verify import check_unchanged
from augment_store.io.files import printable
from augment_store.io.lock import store_lock
from augment_store.modalities.registry import MAPS
from augment_store.store.creation import check_store_free
from augment_store.store.schema import ChipShape, State
from augment_store.store.spec import GenerationSpec
from augment_store.store.summary import mean_class_shares, summarize
from augment_store.store.writer import AugmentStore
from augment_store.utils.log_filters import filter_warnings
from augment_store.utils.text import pluralize
from generate.audit.audit import Audit, audit_chips
from generate.audit.findings import Finding
from generate.audit.rules import DECLARED
from generate.data.datamodule import ChipDataModule, ChipReader
from generate.devices import make_trainer, planned_device, predict, settled_precision
from generate.lightning_module import GenerationModule
from generate.log_filters import LOGGERS, REMARKS
from generate.model.batch_invariance import choose_network_batch_by_probe
from generate.model.terramind import LoadedGenerator, TerraMindGenerator, load_generator
from generate.plan import (
    build_spec,
    bytes_per_chip,
    check_decodable,
    check_window,
    choose_network_batch,
    entries_to_announce,
    find_scenes,
    like_store,
    planned_spec,
)
from generate.progress import ChipProgress
from generate.requests import GenerationRequest, MapRequest
from generate.store_writer import StoreWriter
from terramind_weights.catalog import RANDOM, find_generator, published_name
from terramind_weights.tf32 import float32_products


@dataclass(frozen=True)
class Run:
    """A run as settled before anything is written.

    Attributes:
        request: Chips to read, maps to generate, and where to.
        accepted: Findings of the audit that would have stopped the run.
        spec: Its generation spec.
        extent: Timesteps and size of the chips.
    """

    request: GenerationRequest
    accepted: Sequence[Finding]
    spec: GenerationSpec
    extent: ChipShape

    @property
    def chip_set(self) -> ChipSet:
        """Return the chips to generate for."""
        return self.request.inputs.chip_set


def run_generation(request: GenerationRequest, command: str, *, quiet: bool = False) -> int:
    """Generate what is missing from a store.

    Args:
        request: Chips to read, maps to generate, and where to.
        command: The command that asked for it, for the store's history.
        quiet: Report no progress; findings and results are still printed.

    Returns:
        0, or 1 if chips failed.

    Raises:
        AugmentStoreError: If the chips, devices, weights or store cannot be used.
    """
    filter_warnings(REMARKS, LOGGERS)
    trainer = make_trainer(request.device)
    precision = settled_precision(request.device, trainer)
    first = trainer.global_rank == 0
    console = Console(stderr=True, quiet=not first)
    # first of all: it reads a few chips, and loading the weights takes longer
    audit, accepted = _audit(request, console)
    # the lock first: loading takes long, and a second run should not wait that long to hear of the first
    lock = store_lock(request.store.path, command) if first else contextlib.nullcontext()
    with lock, float32_products(precision):
        loaded = _load(request.maps, request.inputs.modalities, console)
        # before the spec, which records the number
        _choose_batch_size(loaded.module, request, audit.extent, trainer, console)
        device = trainer.strategy.root_device.type
        spec = build_spec(request.maps, request.inputs, loaded, precision, device)
        run = Run(request, accepted, spec, audit.extent)
        # counted now, for the report
        before = _prepare_store(run, command, console) if first else 0
        module = GenerationModule(
            loaded.module, probabilities=spec.probabilities, tokens_only=spec.tokens_only
        )
        trainer.callbacks += [StoreWriter(request.store.path), ChipProgress(console, quiet=quiet)]  # type: ignore[attr-defined]
        predict(trainer, module, _datamodule(run))
        return report(request.store.path, run.chip_set.ids, before, console) if first else 0


def show_plan(request: GenerationRequest) -> int:
    """Print what a run would do, after the same checks; weights, network and a GPU are not needed for that.

    Raises:
        AugmentStoreError: If the chips, devices or store cannot be used.
    """
    filter_warnings(REMARKS, LOGGERS)
    precision, device = planned_device(request.device)
    console = Console(stderr=True)
    audit, accepted = _audit(request, console)
    path = request.store.path
    batch = choose_network_batch(request.maps.network_batch, path, torch.device(device))
    spec = planned_spec(request.maps, request.inputs, precision, device, batch)
    run = Run(request, accepted, spec, audit.extent)
    store = _open_store(run, console, planned=True)
    scenes = find_scenes(run.chip_set, request.store.scenes, store)
    count = len(run.chip_set.ids)
    of = pluralize(len({scenes[chip_id] for chip_id in run.chip_set.ids}), "scene")
    window = f" in windows of {spec.sampling.window} px" if spec.sampling.window else ""
    done = pluralize(count_complete(store, run.chip_set.ids), "chip") if store is not None else ""
    size = count * bytes_per_chip(spec, run.extent) / 1e6
    lines = [
        f"{pluralize(count, 'chip')} of {of} ({run.chip_set.layout.name} layout), {run.extent}{window}",
        f"{' + '.join(request.inputs.modalities)} → {spec.modality} by {spec.generator} on {spec.device}",
        f"makes {path}" if store is None else f"resumes {path}, {done} complete",
        f"up to {size:.1f} MB before compression; the weights ({request.maps.weights}) are not checked",
    ]
    console.print(escape("\n".join(lines)), soft_wrap=True)
    return 0


def _audit(request: GenerationRequest, console: Console) -> tuple[Audit, tuple[Finding, ...]]:
    """Audit the chips and print the findings; return the audit and the findings to record.

    Raises:
        ChipSetError: If a finding stops the run.
        OptionsError: If the chips are no larger than the windows.
    """
    inputs = request.inputs
    audit = audit_chips(inputs.chip_set, inputs.modalities, inputs.units)
    stopping = audit.stops[0] if audit.stops and not request.accept_audit else None
    for finding in audit.findings:
        if finding is not stopping:  # the error below says that one
            console.print(
                f"audit {finding.level}: {finding.modality}: {escape(finding.message)}", soft_wrap=True
            )
    if not request.accept_audit:
        audit.raise_stops(
            f"Look at it with tim-generate audit --chips {inputs.chip_set.root}, or continue with --accept-audit"
        )
    check_window(request.maps.sampling.window, audit.extent)
    if request.maps.tokens_only:
        check_decodable(MAPS[request.maps.modality], audit.extent)
    # What files declare is part of what was generated from, whether it stops a run or not.
    return audit, (*audit.stops, *(finding for finding in audit.findings if finding.rule == DECLARED))


def _load(maps: MapRequest, inputs: Sequence[str], console: Console) -> LoadedGenerator:
    """Load the generator, and print which weights are in use."""
    loaded = load_generator(
        find_generator(maps.generator), inputs, maps.modality, maps.sampling, maps.weights
    )
    if loaded.weights == RANDOM:
        console.print("[bold]the weights are random[/]: for a control or a test; the maps mean nothing")
    if published := published_name(loaded.network_sha256):
        console.print(f"network: {published} as published")
    loaded.module.decodes = not maps.tokens_only
    return loaded


def _choose_batch_size(
    module: TerraMindGenerator,
    request: GenerationRequest,
    extent: ChipShape,
    trainer: lightning.Trainer,
    console: Console,
) -> None:
    """Settle on the device how many images the network sees at a time."""
    device = trainer.strategy.root_device
    wanted = choose_network_batch(request.maps.network_batch, request.store.path, device)
    # the run's arithmetic, in which the probe must hold
    arithmetic = trainer.precision_plugin.forward_context()
    if not choose_network_batch_by_probe(module.to(device), wanted, extent.shape, arithmetic):
        console.print(
            f"[bold]one image at a time[/]: on this device, results depend on the position in a batch of {wanted}",
            soft_wrap=True,
        )


def _open_store(run: Run, console: Console, *, planned: bool = False) -> AugmentStore | None:
    """Open the store to resume, for reading alone if it is for a plan; return None if a store will be made.

    Raises:
        StoreError: If it does not fit this run: another spec or extent, or chips that have changed since.
    """
    path = run.request.store.path
    if not (path / "zarr.json").is_file():
        check_store_free(path)
        return None
    store = AugmentStore.open(path, mode="r" if planned else "r+")
    # a plan has no weights, so what only they tell is taken from the store
    store.check_fits(like_store(run.spec, store) if planned else run.spec, run.extent)
    with console.status("comparing the chips with those the store was generated from"):
        check_unchanged(store, run.chip_set)
    return store


def _prepare_store(run: Run, command: str, console: Console) -> int:
    """Make or open the store and announce the chips; return how many of them are complete already."""
    store = _open_store(run, console)
    asked = run.request.store
    scenes = find_scenes(run.chip_set, asked.scenes, store)
    # after the scenes: a wrong rule must not leave an empty store behind
    # a store without chips, as a kill may leave it, is falsy
    if store is None:
        store = AugmentStore.create(asked.path, run.spec, run.extent, asked.shard_chips)
    store.announce(entries_to_announce(run.chip_set, scenes, store))
    store.record_audit([asdict(finding) for finding in run.accepted])
    store.record_history(command)
    return count_complete(store, run.chip_set.ids)


def count_complete(store: AugmentStore, ids: Sequence[str]) -> int:
    """Count the chips that are complete, among those given."""
    return len(set(store.chips_in(State.COMPLETE)) & set(ids))


def _datamodule(run: Run) -> ChipDataModule:
    inputs, path = run.request.inputs, run.request.store.path
    reader = ChipReader(inputs.chip_set, inputs.modalities, inputs.units, run.extent)
    return ChipDataModule(reader, path, run.spec, run.request.workers)


def report(path: Path, ids: Sequence[str], before: int, console: Console) -> int:
    """Print what a run did.

    Args:
        path: Folder of the store.
        ids: Chips of the run.
        before: How many of them were complete before it.
        console: Where to print to.

    Returns:
        1 if chips failed, else 0.
    """
    store = AugmentStore.open(path)
    states = dict(zip(store.chip_ids, store.values("state"), strict=True))
    errors = dict(zip(store.chip_ids, store.values("error"), strict=True))
    failed = [chip_id for chip_id in ids if states[chip_id] == State.FAILED]
    for chip_id in failed:
        console.print(f"[bold]failed[/]: {escape(printable(str(errors[chip_id])))}", soft_wrap=True)
    complete = sum(states[chip_id] == State.COMPLETE for chip_id in ids)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in mean_class_shares(store).items())
    size = summarize(store)["bytes"]
    space = "" if size is None else f", {size / 1e6:.1f} MB"
    counts = f"{complete - before} done, {before} skipped, {len(failed)} failed"
    console.print(f"{store.path}: {counts}{space}", soft_wrap=True)
    if shares:
        console.print(f"class shares: {shares}", soft_wrap=True)
    return 1 if failed else 0
