"""One generation run, from the audit to a finished store."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import lightning
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.markup import escape

from augment_store.catalog import find_generator
from augment_store.chips import ChipSet
from augment_store.errors import AugmentStoreError
from augment_store.info import class_shares, summarize
from augment_store.schema import Extent, State
from augment_store.spec import GenerationSpec
from augment_store.store import AugmentStore
from augment_store.verify import check_unchanged
from generate.audit import Audit, AuditError, audit_chips
from generate.datamodule import ChipDataModule, ChipReader
from generate.options import GenerateOptions, OptionsError
from generate.plan import build_spec, bytes_per_chip, find_extent, find_scenes, new_entries
from generate.predict import ChipProgress, GenerationModule, StoreWriter
from generate.rules import Finding
from generate.terramind import load_generator
from generate.weights import RANDOM


@dataclass(frozen=True)
class Run:
    """What a run has settled before anything is written.

    Attributes:
        options: What the user asked for.
        chip_set: Chips to generate for.
        accepted: Findings of the audit that would have stopped the run.
        spec: Its generation spec.
        extent: Timesteps and size of the chips.
    """

    options: GenerateOptions
    chip_set: ChipSet
    accepted: Sequence[Finding]
    spec: GenerationSpec
    extent: Extent


def run_generate(options: GenerateOptions) -> int:
    """Generates what is missing of a store.

    Returns:
        0, or 1 where chips failed.

    Raises:
        AugmentStoreError: If something cannot be as the options say.
    """
    _quieten_libraries()
    first = getattr(rank_zero_only, "rank", 0) == 0
    console = Console(stderr=True, quiet=not first)
    chip_set = ChipSet.open(options.source.chips, options.source.layout, options.source.split)
    audit = audit_chips(chip_set, options.source.inputs, options.source.units)
    accepted = _judge(audit, options, console)
    source = find_generator(options.generator)
    extent = find_extent(chip_set, audit, options.source.inputs)
    trainer = _trainer(options)
    loaded = load_generator(
        source, options.source.inputs, options.modality, options.sampling, options.weights
    )
    if loaded.weights == RANDOM:
        console.print("[bold]the weights are random[/]: for a control or a test; the maps mean nothing")
    spec = build_spec(options, loaded, trainer.strategy.root_device.type)
    run = Run(options, chip_set, accepted, spec, extent)
    if options.dry_run:
        _show_plan(run, console)
        return 0
    before = _prepare_store(run) if first else 0
    reader = ChipReader(chip_set, options.source.inputs, options.source.units, extent)
    data = ChipDataModule(reader, options.store, options.batch_size, options.workers)
    trainer.callbacks += [StoreWriter(options.store), ChipProgress(console)]  # type: ignore[attr-defined]
    module = GenerationModule(loaded.module, probabilities=options.probabilities)
    _predict(trainer, module, data)
    return _report(run, before, console) if first else 0


def _judge(audit: Audit, options: GenerateOptions, console: Console) -> tuple[Finding, ...]:
    """Shows the findings; returns those to record, or raises where they stop the run."""
    for finding in audit.findings:
        console.print(f"audit {finding.level}: {finding.modality}: {escape(finding.message)}", soft_wrap=True)
    if audit.stops and not options.accept_audit:
        first = audit.stops[0]
        more = f" (and {len(audit.stops) - 1} more)" if len(audit.stops) > 1 else ""
        raise AuditError(
            f"input audit: {first.modality}: {first.message}{more}. Look at it with python -m generate audit "
            f"--chips {options.source.chips}, or go on with --accept-audit"
        )
    return audit.stops


def _trainer(options: GenerateOptions) -> lightning.Trainer:
    """Lightning's trainer for prediction only: nothing is logged, saved or sampled by it."""
    devices: int | str = int(options.devices) if options.devices.isdigit() else options.devices
    try:
        return lightning.Trainer(
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
    except (
        lightning.fabric.utilities.exceptions.MisconfigurationException,
        ValueError,
        RuntimeError,
    ) as error:
        chosen = f"--accelerator {options.accelerator} --devices {options.devices}"
        raise OptionsError(f"{chosen}: {str(error).splitlines()[0]}") from error


def _prepare_store(run: Run) -> int:
    """Makes or opens the store and announces the chips; returns how many of them are complete already."""
    options = run.options
    scenes = find_scenes(run.chip_set, options)
    store = AugmentStore.open_or_create(options.store, run.spec, run.extent, options.shard_chips)
    check_unchanged(store, run.chip_set)
    store.extend(new_entries(run.chip_set, scenes, set(store.chip_ids)))
    store.record_audit([asdict(finding) for finding in run.accepted])
    return len(set(store.chips_in(State.COMPLETE)) & set(run.chip_set.ids))


def _predict(trainer: lightning.Trainer, module: GenerationModule, data: ChipDataModule) -> None:
    """Runs the trainer; Lightning turns Ctrl-C into SystemExit, this turns it back."""
    try:
        trainer.predict(module, datamodule=data, return_predictions=False)
    except SystemExit as stop:
        raise KeyboardInterrupt from stop


def _report(run: Run, before: int, console: Console) -> int:
    """Prints what the run did; 1 where chips failed."""
    store = AugmentStore.open(run.options.store)
    states = dict(zip(store.chip_ids, store.values("state"), strict=True))
    errors = dict(zip(store.chip_ids, store.values("error"), strict=True))
    failed = [chip_id for chip_id in run.chip_set.ids if states[chip_id] == State.FAILED]
    for chip_id in failed:
        console.print(f"[bold]failed[/]: {escape(str(errors[chip_id]))}", soft_wrap=True)
    complete = sum(states[chip_id] == State.COMPLETE for chip_id in run.chip_set.ids)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in class_shares(store).items())
    size = summarize(store)["bytes"] / 1e6
    counts = f"{complete - before} done, {before} skipped, {len(failed)} failed"
    console.print(f"{store.path}: {counts}, {size:.1f} MB", soft_wrap=True)
    if shares:
        console.print(f"class shares: {shares}", soft_wrap=True)
    return 1 if failed else 0


def _show_plan(run: Run, console: Console) -> None:
    """Prints what a run would do."""
    options, spec = run.options, run.spec
    try:
        known = AugmentStore.open(options.store)
        known.check_spec(spec)
        done = len(set(known.chips_in(State.COMPLETE)) & set(run.chip_set.ids))
        state = f"goes on with {options.store} ({done} chips complete)"
    except AugmentStoreError as error:
        state = f"makes {options.store}" if not options.store.exists() else f"would stop: {error}"
    size = len(run.chip_set.ids) * bytes_per_chip(spec, run.extent) / 1e6
    console.print(
        f"{len(run.chip_set.ids)} chips ({run.chip_set.layout.name} layout), {run.extent.timesteps} timesteps, "
        f"{run.extent.size} px\n{' + '.join(options.source.inputs)} → {spec.modality} by {spec.generator} on "
        f"{spec.device}\n{escape(state)}, up to {size:.1f} MB before compression\nfingerprint {spec.fingerprint}"
    )


def _quieten_libraries() -> None:
    """Silences what libraries say about hardware and logging, which would drown our own lines."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # threads read ahead instead
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
