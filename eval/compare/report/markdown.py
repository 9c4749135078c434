"""The report as Markdown, for a note or a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from augment_store.utils.text import pluralize, single_line
from eval.compare.planner import next_experiment
from eval.compare.report.model import ArmResult, Report, RunResult
from eval.compare.verdict import IMPROVEMENT_FROM, format_interval, points

GOAL: Final = 2 * IMPROVEMENT_FROM
"""Gain for which the next experiment is planned: a true gain at the threshold itself is claimed half the time."""


def to_markdown(report: Report) -> str:
    """Write verdict and interval first, then arms, classes and where the numbers came from.

    Args:
        report: What was compared.
    """
    sections = (
        _verdict(report),
        _arms(report),
        _seed_table(report),
        _scene_words(report),
        (plain_text(entry.words) for entry in report.left_out),
        _class_table(report),
        _family_words(report),
        _helps(report),
        # a claim needs a control, so a report without any plans one
        next_experiment(report.difference.parts, GOAL, max(1, len(report.controls)), report.hours_per_run),
        _training(report),
        _checklist(report),
        _origins(report),
    )
    # sections that have nothing to say are empty, and must leave no gap
    written = ("\n".join(section) for section in sections)
    return "\n\n".join(text for text in written if text) + "\n"


def _verdict(report: Report) -> Iterator[str]:
    verdict, test = report.verdict, report.test
    yield f"# {plain_text(verdict.headline)}"
    yield ""
    yield from (f"- {plain_text(words)}" for words in verdict.words)
    yield ""
    yield (
        f"{pluralize(test.chips, 'test chip')} of {pluralize(len(test.scenes), 'scene')}. Differences are in "
        "percentage "
        f"points. {report.statistics.averages} `counts.csv` holds the counts of every run and scene, from which each "
        "number here is computed."
    )


def _arms(report: Report) -> Iterator[str]:
    overall = [metric for metric in report.metrics if not metric.by_class]
    compared = [metric for metric in overall if metric.interval]
    heads = ["arm", "runs", *(metric.label for metric in overall)]
    for metric in compared:
        heads += [f"{metric.label}: to the baseline", f"{metric.label}: candidate to this"]
    yield from _row(heads)
    yield "|" + "---|" * len(heads)
    for arm in report.arms:
        cells = [named(arm), str(len(arm.runs)), *(percent(arm.metrics.overall[m.key]) for m in overall)]
        for metric in compared:
            pair = (arm.to_baseline, arm.candidate_to_this)
            cells += [format_interval(found.overall[metric.key]) if found else "" for found in pair]
        yield from _row(cells)


def _seed_table(report: Report) -> Iterator[str]:
    if not report.seeds:
        return
    yield from _row(("seed", *(f"{arm.title}: mIoU" for arm in report.compared_arms), "difference"))
    yield "|---|---|---|---|"
    for row in report.seeds:
        yield from _row(
            (str(row.seed), percent(row.baseline), percent(row.candidate), points(row.difference))
        )


def _scene_words(report: Report) -> Iterator[str]:
    ahead = sum(row.difference > 0 for row in report.scenes)
    first, last = report.scenes[0], report.scenes[-1]
    ends = (
        f"from {points(first.difference)} in `{plain_text(first.scene)}` to {points(last.difference)} in "
        f"`{plain_text(last.scene)}`"
    )
    yield (
        f"{plain_text(report.candidate.title)} is ahead in {ahead} of {pluralize(len(report.scenes), 'scene')}"
        f"{f': {ends}' if len(report.scenes) > 1 else ''}."
    )


def _class_table(report: Report) -> Iterator[str]:
    arms, test = report.compared_arms, report.test
    metrics = [metric for metric in report.metrics if metric.by_class and metric.interval]
    heads = ["class", "scenes"]
    for metric in metrics:
        heads += [*(f"{arm.title}: {metric.label}" for arm in arms), "difference", "p", "p after Holm"]
    yield from _row((*heads, "mIoU without it"))
    yield "|" + "---|" * (len(heads) + 1)
    for name in test.classes:
        cells = [name, str(test.scenes_by_class[name])]
        for metric in metrics:
            cells += [percent(arm.metrics.by_class[metric.key][name]) for arm in arms]
            found = report.compared().by_class[metric.key].get(name)
            cells += (
                [format_interval(found), f"{found.p_value:.3f}", f"{found.p_holm:.3f}"]
                if found
                else ["–"] * 3
            )
        yield from _row((*cells, " → ".join(percent(arm.miou_without_class[name]) for arm in arms)))


def _helps(report: Report) -> Iterator[str]:
    yield "When does it help?"
    yield ""
    yield from (f"- {plain_text(words)}" for words in report.helps.words)
    if report.helps.slopes:
        yield ""
        yield from _row(("gain in mIoU per SD of", "by", "SD", "slope", "p", "p after Holm"))
        yield "|---|---|---|---|---|---|"
    for row in report.helps.slopes:
        slope = row.slope
        numbers = (f"{row.spread:.3g}", format_interval(slope), f"{slope.p_value:.3f}", f"{slope.p_holm:.3f}")
        yield from _row((row.covariate, row.level, *numbers))


def _training(report: Report) -> Iterator[str]:
    """Return what each arm's training cost, as far as its runs recorded it."""
    costs = {named(arm): arm.costs for arm in report.arms if arm.costs}
    if not costs:
        return
    yield from _row(("arm", "parameters", "trained", "epochs", "steps", "time a run", "device"))
    yield "|---|---|---|---|---|---|---|"
    for name, found in costs.items():
        # an arm's runs differ only by seed, so sizes are those of the first; time varies, hence its mean
        first, seconds = found[0], sum(cost.wall_seconds for cost in found) / len(found)
        counts = (f"{n:,}" for n in (first.parameters, first.trainable_parameters, first.epochs, first.steps))
        yield from _row((name, *counts, duration(seconds), f"{first.device}, {first.precision}"))


def _checklist(report: Report) -> Iterator[str]:
    """Return the questions of arXiv 2605.12678, ticked where the records answer them with yes."""
    yield "What a reader must know (arXiv 2605.12678):"
    yield ""
    for entry in report.checklist:
        yield f"- [{'x' if entry.yes else ' '}] {entry.question} {plain_text(entry.words)}"


def _row(cells: Iterable[str]) -> Iterator[str]:
    yield f"| {' | '.join(map(table_cell, cells))} |"


def table_cell(text: str) -> str:
    """Keep a name, which may be a stranger's, within its cell: one line, no bar, no tag, no code."""
    # backslashes first, or those put before bars would be doubled too
    return plain_text(text).replace("\\", "\\\\").replace("|", "\\|")


def plain_text(text: str) -> str:
    """Take the markup out of a text that names from files are part of."""
    return single_line(text).replace("<", "&lt;").replace("`", "'")


def named(arm: ArmResult) -> str:
    """Return the name of an arm in tables: its role in the comparison, and the name of its runs."""
    return arm.name if arm.title == arm.name else f"{arm.name} ({arm.title})"


def _family_words(report: Report) -> Iterator[str]:
    study = report.family.study_sha256
    yield report.family.words + (f" The study's settings have the digest {study[:12]}." if study else "")


def _origins(report: Report) -> Iterator[str]:
    yield "Where the numbers came from:"
    yield ""
    for arm in report.arms:
        yield from (f"- {plain_text(arm.name)}: {_run_origin(run)}" for run in arm.runs)


def _run_origin(run: RunResult) -> str:
    origin = run.origin
    fingerprint = origin.augment.fingerprint
    store = f", store {fingerprint[:12]}" if fingerprint else ""
    seed = "" if origin.seed is None else f", seed {origin.seed}"
    weights = f", weights {origin.checkpoint_sha256[:12]}" if origin.checkpoint_sha256 else ""
    smoke = ", a smoke run, which says nothing" if origin.smoke else ""
    return f"`{plain_text(run.folder)}`{seed}{weights}{store}{smoke}"


def duration(seconds: float) -> str:
    """Format a time in the unit that fits it."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    # in minutes up to 90 of them: 80 min says more than 1.3 h
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def percent(share: float | None) -> str:
    """Format a share as a percentage."""
    return "–" if share is None else f"{100 * share:.2f} %"
