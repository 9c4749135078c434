"""The report that a bundle is published with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augment_store.io.files import read_text, short_path
from augment_store.utils.validation import load_json
from eval.compare.report.files import REPORT
from eval.compare.report.model import REPORT_VERSION, Report
from eval.errors import EvaluationError


def read_report(folder: Path) -> Report:
    """Read the report that `compare` wrote.

    Raises:
        EvaluationError: If there is none, or it is of another version.
    """
    path = folder / REPORT
    if not path.is_file():
        raise EvaluationError(f"{path}: no such report; make it with tim-eval compare --out {folder}")
    try:
        plain = load_json(read_text(path))
        version = plain["report_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: not a report of compare ({error}); compare again") from error
    # before validation, which would name some key of an old report, and not its age
    if version != REPORT_VERSION:
        raise EvaluationError(f"{path}: report version {version}, expected {REPORT_VERSION}; compare again")
    try:
        return Report.model_validate(plain)
    except ValidationError as error:
        first, *_ = error.errors()
        where = ".".join(map(str, first["loc"])) or "report"
        raise EvaluationError(f"{path}: {where}: {first['msg']}; compare again") from error


def with_short_paths(report: Report) -> Report:
    """Cut paths of the machine that a report was made on down to their last two parts."""
    return Report.model_validate(shorten_paths(report.model_dump(mode="json")))


def shorten_paths(value: Any) -> Any:
    """Shorten every absolute path in plain values, wherever it is nested."""
    if isinstance(value, dict):
        return {key: shorten_paths(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [shorten_paths(entry) for entry in value]
    return short_path(value) if isinstance(value, str) else value
