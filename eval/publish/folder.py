"""Publishing a run: the bundle's folder."""

from __future__ import annotations

from pathlib import Path

from augment_store.io.files import atomic_folder, write_json
from augment_store.publish.attribution import PublicationInfo
from eval.compare.report.files import REPORT
from eval.compare.report.model import Report
from eval.errors import EvaluationError
from eval.publish.bundle import input_bands, make_bundle, write_run
from eval.publish.model_card import CardFacts, claim, write_card
from eval.publish.recompute import CountsTable, check_own_counts
from eval.publish.report import with_short_paths
from eval.publish.space import write_space
from eval.score.load import open_run
from eval.score.record import Score
from eval.score.recorded import check_recipe
from eval.score.temperature import describe_temperature
from finetune.run.load import LoadedRun
from finetune.run.manifest import RunManifest
from finetune.run.preflight import PathOverrides


def publish(
    run: Path,
    manifest: RunManifest,
    report: Report,
    table: CountsTable,
    out: Path,
    *,
    paths: PathOverrides,
    imprint: PublicationInfo,
    space: Path | None = None,
) -> None:
    """Write the bundle of a run, whole or not at all, and a Space beside it where asked.

    Args:
        run: Run directory.
        manifest: Its manifest.
        report: Report in which the run is one of the candidate's.
        table: The counts of that report.
        out: Folder to make.
        paths: Where chips and store are now.
        imprint: Name, license and credits.
        space: Folder to make for a static Space that shows test chips; None for none.

    Raises:
        EvaluationError: If the report is not about these weights.
        AugmentStoreError: If the run cannot be opened.
        OutputError: If the folder is taken or cannot be written.
    """
    with atomic_folder(out) as draft:
        loaded = open_run(run, _compared_checkpoint(run, manifest, report), paths, manifest)
        check_recipe(loaded)
        check_own_counts(table, report, Score.read(run), loaded.checkpoint_sha256)
        _write_bundle(loaded, manifest, with_short_paths(report), draft, imprint)
        if space is not None:
            write_space(loaded, claim(report), space, imprint)


def _compared_checkpoint(run: Path, manifest: RunManifest, report: Report) -> str:
    """Find which of a run's checkpoints the report's candidate is."""
    compared = {entry.origin.checkpoint_sha256 for entry in report.candidate.runs}
    checkpoints = manifest.checkpoints
    for name in checkpoints:  # by the digest on record, which loading compares with the file
        if manifest.checkpoint_sha256.get(name) in compared:
            return name
    raise EvaluationError(
        f"{run}: none of its checkpoints ({', '.join(checkpoints) or 'none'}) is the candidate of this report; publish "
        "a run that was compared, with its own report"
    )


def _write_bundle(
    loaded: LoadedRun, manifest: RunManifest, report: Report, folder: Path, imprint: PublicationInfo
) -> None:
    bundle, augmentation = make_bundle(loaded), loaded.datamodule.augmentation
    spec = augmentation.maps.spec if augmentation.maps else None
    bundle.write(folder)
    write_run(loaded, manifest, folder)
    write_json(folder / REPORT, report.model_dump(mode="json"))
    if spec is not None:
        write_json(folder / "generation_spec.json", spec.to_dict())
    facts = CardFacts(
        imprint=imprint,
        manifest=manifest,
        report=report,
        checkpoint_sha256=loaded.checkpoint_sha256,
        bundle=bundle,
        inputs=input_bands(loaded.datamodule),
        planes=augmentation.plan.plane_names,
        spec=spec,
        calibration=describe_temperature(loaded.source, loaded.checkpoint_sha256, report.test.ids_sha256),
    )
    (folder / "README.md").write_text(write_card(facts), encoding="utf-8")
