"""One generation run, from the audit to a finished store."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.markup import escape

from augment_store.chips.chip_set import ChipSet
from augment_store.chips.units import Units
from augment_store.integrity.verify import check_unchanged
from augment_store.io.files import printable
from augment_store.io.lock import store_lock
from augment_store.store.schema import ChipShape, State
from augment_store.store.spec import GenerationSpec
from augment_store.store.summary import class_shares, summarize
from augment_store.store.writer import AugmentStore, check_free
from augment_store.utils.log_filters import filter_warnings
from augment_store.utils.text import pluralize
from generate.audit.audit import Audit, AuditError, audit_chips
from generate.audit.rules import Finding
from generate.data.datamodule import ChipDataModule, ChipReader
from generate.lightning_module import GenerationModule
from generate.log_filters import LOGGERS, REMARKS
from generate.model.batch_invariance import choose_network_batch_by_probe
from generate.model.terramind import TerraMindGenerator, load_generator
from generate.options import GenerateOptions, OptionsError
from generate.plan import (
    build_spec,
    bytes_per_chip,
    check_window,
    choose_network_batch,
    entries_to_announce,
    find_scenes,
    like_store,
    planned_spec,
)
from generate.progress_bar import ChipProgress
from generate.store_writer import StoreWriter
from terramind_weights.catalog import RANDOM, find_generator, published_name


@dataclass(frozen=True)
class Run:
    """What a run has settled before anything is written.

    Attributes:
        options: What the user asked for.
        chip_set: Chips to generate for.
        units: Units of their values on disk.
        accepted: Findings of the audit that would have stopped the run.
        spec: Its generation spec.
        extent: Timesteps and size of the chips.
    """

    options: GenerateOptions
    chip_set: ChipSet
    units: Units
    accepted: Sequence[Finding]
    spec: GenerationSpec
    extent: ChipShape


def run_generate(options: GenerateOptions, command: str) -> int:
    """Generates what is missing from a store.

    Args:
        options: What the user asked for.
        command: The command line the options come from, for the store's history.

    Returns:
        0, or 1 if chips failed.

    Raises:
        AugmentStoreError: If the options, chips, weights or store are invalid.
    """
    filter_warnings(REMARKS, LOGGERS)
    torch.backends.cuda.matmul.allow_tf32 = False  # the same float32 arithmetic on every CUDA device
    torch.backends.cudnn.allow_tf32 = False
    chip_set, units = options.source.open()
    trainer = _trainer(options)
    first = trainer.global_rank == 0
    console = Console(stderr=True, quiet=not first)
    audit = audit_chips(chip_set, options.source.inputs, units)
    accepted = _judge(audit, options, console)
    check_window(options.sampling.window, audit.extent)
    if options.dry_run:
        spec = planned_spec(options, units, trainer.precision, trainer.strategy.root_device.type)
        _show_plan(Run(options, chip_set, units, accepted, spec, audit.extent), console)
        return 0
    with (
        store_lock(options.store, command) if first else contextlib.nullcontext()
    ):  # before weights are loaded
        module, spec = _load(options, units, audit.extent, trainer, console)
        run = Run(options, chip_set, units, accepted, spec, audit.extent)
        before = _prepare_store(run, command, console) if first else 0
        _predict(run, trainer, GenerationModule(module, probabilities=options.probabilities), console)
        return _report(run, before, console) if first else 0


def _load(
    options: GenerateOptions, units: Units, extent: ChipShape, trainer: lightning.Trainer, console: Console
) -> tuple[TerraMindGenerator, GenerationSpec]:
    """Load the generator and settle what it will do."""
    source = find_generator(options.generator)
    loaded = load_generator(
        source, options.source.inputs, options.modality, options.sampling, options.weights
    )
    if loaded.weights == RANDOM:
        console.print("[bold]the weights are random[/]: for a control or a test; the maps mean nothing")
    if published := published_name(loaded.network_sha256):
        console.print(f"network: {published} as published")
    _choose_batch_size(loaded.module, options, extent, trainer, console)
    precision, device = trainer.precision, trainer.strategy.root_device.type
    return loaded.module, build_spec(options, units, loaded, precision, device)


def _choose_batch_size(
    module: TerraMindGenerator,
    options: GenerateOptions,
    extent: ChipShape,
    trainer: lightning.Trainer,
    console: Console,
) -> None:
    """Settles on the device how many images the network sees at a time."""
    device = trainer.strategy.root_device
    wanted = choose_network_batch(options, device)
    arithmetic = trainer.precision_plugin.forward_context()
    if not choose_network_batch_by_probe(module.to(device), wanted, extent.shape, arithmetic):
        console.print(
            f"[bold]one image at a time[/]: on this device, results depend on the position in a batch of {wanted}",
            soft_wrap=True,
        )


def _judge(audit: Audit, options: GenerateOptions, console: Console) -> tuple[Finding, ...]:
    """Shows the findings; returns those to record, or raises if they stop the run."""
    for finding in audit.findings:
        console.print(f"audit {finding.level}: {finding.modality}: {escape(finding.message)}", soft_wrap=True)
    if audit.stops and not options.accept_audit:
        first = audit.stops[0]
        more = f" (and {len(audit.stops) - 1} more)" if len(audit.stops) > 1 else ""
        raise AuditError(
            f"input audit: {first.modality}: {first.message}{more}. Look at it with python -m generate audit "
            f"--chips {options.source.chips}, or continue with --accept-audit"
        )
    return audit.stops


def _trainer(options: GenerateOptions) -> lightning.Trainer:
    """Lightning's trainer, for prediction only: it logs, saves and samples nothing.

    Raises:
        OptionsError: If there is no such accelerator or number of devices, or the device has no float64.
    """
    devices: int | str = int(options.devices) if options.devices.isdigit() else options.devices
    chosen = (
        f"--accelerator {options.accelerator} --devices {options.devices} --precision {options.precision}"
    )
    try:
        trainer = lightning.Trainer(
            accelerator=options.accelerator,
            devices=devices,
            num_nodes=options.num_nodes,
            precision=options.precision,  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise OptionsError(f"{chosen}: {str(error).splitlines()[0]}") from error
    if trainer.strategy.root_device.type == "mps":
        raise OptionsError(
            f"{chosen}: Apple's MPS has no float64, in which tokens are drawn; use --accelerator cpu"
        )
    return trainer


def _open_store(run: Run, console: Console) -> AugmentStore | None:
    """The store to resume, writable unless only a plan is asked for, or None if one will be made.

    Raises:
        StoreError: If it does not fit this run: another spec or extent, or chips that have changed since.
    """
    path = run.options.store
    if not (path / "zarr.json").is_file():
        check_free(path)
        return None
    planned = run.options.dry_run
    store = AugmentStore.open(path, mode="r" if planned else "r+")
    store.check_fits(like_store(run.spec, store) if planned else run.spec, run.extent)
    with console.status("comparing the chips with those the store was generated from"):
        check_unchanged(store, run.chip_set)
    return store


def _prepare_store(run: Run, command: str, console: Console) -> int:
    """Makes or opens the store and announces the chips; returns how many of them are complete already."""
    store = _open_store(run, console)
    scenes = find_scenes(run.chip_set, run.options.scenes, store)
    store = store or AugmentStore.create(run.options.store, run.spec, run.extent, run.options.shard_chips)
    store.announce(entries_to_announce(run.chip_set, scenes, store))
    store.record_audit([asdict(finding) for finding in run.accepted])
    store.record_history(command)
    return _count_complete(store, run)


def _count_complete(store: AugmentStore, run: Run) -> int:
    return len(set(store.chips_in(State.COMPLETE)) & set(run.chip_set.ids))


def _predict(run: Run, trainer: lightning.Trainer, module: GenerationModule, console: Console) -> None:
    """Runs the trainer; Lightning turns Ctrl-C into SystemExit, and this turns it back."""
    options = run.options
    reader = ChipReader(run.chip_set, options.source.inputs, run.units, run.extent)
    data = ChipDataModule(reader, options.store, run.spec, options.workers)
    trainer.callbacks += [StoreWriter(options.store), ChipProgress(console)]  # type: ignore[attr-defined]
    try:
        trainer.predict(module, datamodule=data, return_predictions=False)
    except SystemExit as stop:
        raise KeyboardInterrupt from stop


def _report(run: Run, before: int, console: Console) -> int:
    """Prints what the run did; returns 1 if chips failed."""
    store = AugmentStore.open(run.options.store)
    states = dict(zip(store.chip_ids, store.values("state"), strict=True))
    errors = dict(zip(store.chip_ids, store.values("error"), strict=True))
    failed = [chip_id for chip_id in run.chip_set.ids if states[chip_id] == State.FAILED]
    for chip_id in failed:
        console.print(f"[bold]failed[/]: {escape(printable(str(errors[chip_id])))}", soft_wrap=True)
    complete = sum(states[chip_id] == State.COMPLETE for chip_id in run.chip_set.ids)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in class_shares(store).items())
    size = summarize(store)["bytes"]
    space = "" if size is None else f", {size / 1e6:.1f} MB"
    counts = f"{complete - before} done, {before} skipped, {len(failed)} failed"
    console.print(f"{store.path}: {counts}{space}", soft_wrap=True)
    if shares:
        console.print(f"class shares: {shares}", soft_wrap=True)
    return 1 if failed else 0


def _show_plan(run: Run, console: Console) -> None:
    """Prints what a run would do, after the same checks."""
    options, spec = run.options, run.spec
    store = _open_store(run, console)
    found = find_scenes(run.chip_set, options.scenes, store)
    scenes = {found[chip_id] for chip_id in run.chip_set.ids}
    done = _count_complete(store, run) if store else 0
    count, size = len(run.chip_set.ids), bytes_per_chip(spec, run.extent) / 1e6
    chips, layout = (
        f"{pluralize(count, 'chip')} of {pluralize(len(scenes), 'scene')}",
        run.chip_set.layout.name,
    )
    window = f" in windows of {spec.sampling.window} px" if spec.sampling.window else ""
    lines = [
        f"{chips} ({layout} layout), {run.extent}{window}",
        f"{' + '.join(options.source.inputs)} → {spec.modality} by {spec.generator} on {spec.device}",
        f"resumes {options.store}, {pluralize(done, 'chip')} complete" if store else f"makes {options.store}",
        f"up to {count * size:.1f} MB before compression; the weights ({options.weights}) are not checked",
    ]
    console.print(escape("\n".join(lines)), soft_wrap=True)
