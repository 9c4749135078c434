"""Publishing a run: the bundle's folder, and its upload."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augment_store.errors import AugmentStoreError, OutputError
from augment_store.typed import load_json
from eval.compare.report.files import REPORT
from eval.compare.report.model import REPORT_VERSION, Report
from eval.errors import PublishError
from eval.publish.bundle import input_bands, make_bundle
from eval.publish.card import CardFacts, Imprint, write_card
from eval.score.opening import Opened, open_run
from finetune.run.manifest import RunManifest
from finetune.run.reopen import Places
from terramind_weights.files import sha256_of_file


def read_report(folder: Path) -> Report:
    """The report that `compare` wrote.

    Raises:
        PublishError: If there is none of this version.
    """
    path = folder / REPORT
    if not path.is_file():
        raise PublishError(f"{path}: no such report; make it with python -m eval compare --out {folder}")
    try:
        plain = load_json(path.read_text(encoding="utf-8"))
        version = plain["report_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{path}: not a report of compare ({error}); compare again") from error
    if version != REPORT_VERSION:
        raise PublishError(f"{path}: report version {version}, expected {REPORT_VERSION}; compare again")
    try:
        return Report.model_validate(plain)
    except ValidationError as error:
        first, *_ = error.errors()
        where = ".".join(map(str, first["loc"])) or "report"
        raise PublishError(f"{path}: {where}: {first['msg']}; compare again") from error


def without_places(report: Report) -> Report:
    """A report in which paths of the machine it was made on are cut down to their last two parts."""
    return Report.model_validate(_without_places(report.model_dump(mode="json")))


def _without_places(value: Any) -> Any:
    """Plain values with every absolute path shortened, wherever it is nested."""
    if isinstance(value, dict):
        return {key: _without_places(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_places(entry) for entry in value]
    if isinstance(value, str) and Path(value).is_absolute():
        return "/".join(Path(value).parts[-2:])
    return value


def publish(
    run: Path,
    report: Report,
    out: Path,
    *,
    places: Places,
    imprint: Imprint,
) -> None:
    """Writes the bundle of a run, whole or not at all.

    Args:
        run: Run directory.
        report: Report in which the run is one of the candidate's.
        out: Folder to make.
        places: Where chips and store lie now.
        imprint: Name, licence and credits.

    Raises:
        PublishError: If the folder is taken, or the report is not about these weights.
        AugmentStoreError: If the run cannot be opened.
        OutputError: If the bundle cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PublishError(f"{out}: exists and is not empty; choose another --out")
    manifest = RunManifest.read(run)
    opened = open_run(run, _compared_checkpoint(run, manifest, report), places)
    draft = out.with_name(f".draft.{out.name}")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        _write(opened, manifest, without_places(report), draft, imprint)
        if out.is_dir():
            out.rmdir()  # empty; the draft takes its place
        draft.rename(out)
    except OSError as error:
        if isinstance(error, AugmentStoreError):
            raise
        raise OutputError(out, error.strerror or error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _compared_checkpoint(run: Path, manifest: RunManifest, report: Report) -> str:
    """Which of a run's checkpoints the report's candidate is."""
    compared = {entry.origin.checkpoint_sha256 for entry in report.candidate.runs}
    checkpoints = manifest.checkpoints
    for name, path in checkpoints.items():
        if sha256_of_file(run / path) in compared:
            return name
    raise PublishError(
        f"{run}: none of its checkpoints ({', '.join(checkpoints) or 'none'}) is the candidate of this report; publish "
        "a run that was compared, with its own report"
    )


def _write(opened: Opened, manifest: RunManifest, report: Report, folder: Path, imprint: Imprint) -> None:
    bundle, augmentation = make_bundle(opened), opened.datamodule.augmentation
    spec = augmentation.store.spec if augmentation.store else None
    bundle.write(folder)
    _write_json(folder / REPORT, report.model_dump(mode="json"))
    if spec is not None:
        _write_json(folder / "generation_spec.json", spec.to_dict())
    facts = CardFacts(
        imprint=imprint,
        manifest=manifest,
        report=report,
        checkpoint_sha256=sha256_of_file(opened.checkpoint),
        bundle=bundle,
        inputs=input_bands(opened.datamodule),
        planes=augmentation.plan.plane_names,
        spec=spec,
    )
    (folder / "README.md").write_text(write_card(facts), encoding="utf-8")


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(dict(value), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def push(bundle: Path, repo: str) -> str:
    """Uploads a bundle to Hugging Face and returns its address.

    Args:
        bundle: Folder that `publish` wrote.
        repo: Repository as owner/name; made private if it is not there.

    Raises:
        PublishError: If the upload fails.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    # without a network the client raises its HTTP library's own errors, and that library differs between versions
    offline = HfHubHTTPError.__bases__[0]
    api = HfApi()
    try:
        api.create_repo(repo_id=repo, repo_type="model", exist_ok=True, private=True)
        done = api.upload_folder(
            repo_id=repo, folder_path=str(bundle), commit_message=f"Publish {bundle.name} with its model card"
        )
    except (offline, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PublishError(
            f"{repo}: not uploaded ({reason}); the bundle is complete in {bundle}. Log in with hf auth login, run "
            "again with another --out, or upload it with hf upload"
        ) from error
    return str(done.commit_url)
