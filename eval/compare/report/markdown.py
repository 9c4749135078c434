"""The report as Markdown, for a note or a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from eval.compare.report.model import Estimate, Report, Run
from eval.compare.verdict import points


def to_markdown(report: Report) -> str:
    """Verdict and interval first, then arms, classes and where the numbers came from.

    Args:
        report: What was compared.
    """
    sections = (
        _verdict(report),
        _arms(report),
        _seeds(report),
        _classes(report),
        _family(report),
        _origins(report),
    )
    written = ("\n".join(section) for section in sections)
    return "\n\n".join(text for text in written if text) + "\n"


def _verdict(report: Report) -> Iterator[str]:
    verdict, test = report.verdict, report.test
    yield f"# {verdict.headline.capitalize()}: mIoU {span(report.difference)}"
    yield ""
    yield from (f"- {words}" for words in verdict.words)
    yield ""
    yield (
        f"{test.chips} test chips of {len(test.scenes)} scenes. mIoU is the mean IoU over the classes that "
        "occur in the reference; differences are in percentage points. `counts.csv` holds the counts of every run and "
        "scene, from which each number here is worked out."
    )


def _arms(report: Report) -> Iterator[str]:
    yield "| arm | runs | mIoU | to the baseline | candidate to this | pixel accuracy | F1 |"
    yield "|---|---|---|---|---|---|---|"
    for arm in report.arms:
        cells = [
            arm.name,
            str(len(arm.runs)),
            percent(arm.metrics.miou_macro_reference_classes),
            span(arm.to_baseline.miou) if arm.to_baseline else "",
            span(arm.candidate_to_this.miou) if arm.candidate_to_this else "",
            percent(arm.metrics.pixel_accuracy),
            percent(arm.metrics.f1_macro_reference_classes),
        ]
        yield f"| {' | '.join(cells)} |"


def _seeds(report: Report) -> Iterator[str]:
    if not report.seeds:
        return
    yield "| seed | baseline mIoU | candidate mIoU | difference |"
    yield "|---|---|---|---|"
    for row in report.seeds:
        yield (
            f"| {row.seed} | {percent(row.baseline)} | {percent(row.candidate)} | {points(row.difference)} |"
        )


def _classes(report: Report) -> Iterator[str]:
    baseline, candidate, scenes = report.baseline, report.candidate, report.test.scenes_by_class
    yield (
        "| class | scenes | baseline IoU | candidate IoU | difference | p | p after Holm | "
        "mIoU without it, baseline → candidate |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, entry in report.compared().classes.items():
        ours, theirs = (arm.metrics.iou_by_class[name] for arm in (candidate, baseline))
        without = (percent(arm.miou_without_class[name]) for arm in (baseline, candidate))
        cells = (name, str(scenes[name]), percent(theirs), percent(ours), span(entry))
        p_values = f"{entry.p_value:.3f} | {entry.p_holm:.3f}"
        yield f"| {' | '.join(cells)} | {p_values} | {' → '.join(without)} |"


def _family(report: Report) -> Iterator[str]:
    study = report.family.study_sha256
    yield report.family.words + (f" The study's settings have the digest {study[:12]}." if study else "")


def _origins(report: Report) -> Iterator[str]:
    yield "Where the numbers came from:"
    yield ""
    for arm in report.arms:
        yield from (f"- {arm.name}: {_origin(run)}" for run in arm.runs)


def _origin(run: Run) -> str:
    origin = run.origin
    store = f", store {origin.fingerprint[:12]}" if origin.fingerprint else ""
    seed = "" if origin.seed is None else f", seed {origin.seed}"
    weights = f", weights {origin.checkpoint_sha256[:12]}" if origin.checkpoint_sha256 else ""
    smoke = ", a smoke run that says nothing" if origin.smoke else ""
    return f"`{run.folder}`{seed}{weights}{store}{smoke}"


def span(entry: Estimate) -> str:
    """A difference with its interval."""
    if entry.low is None or entry.high is None:
        return f"{points(entry.difference)} (no interval)"
    return f"{points(entry.difference)} [{points(entry.low)}, {points(entry.high)}]"


def percent(share: float | None) -> str:
    """A share as a percentage."""
    return "–" if share is None else f"{100 * share:.2f} %"
