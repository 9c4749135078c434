"""The report as Markdown, for a note or a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.compare.verdict import points

Document = Mapping[str, Any]


def to_markdown(document: Document) -> str:
    """Verdict and interval first, then arms, classes and where the numbers came from.

    Args:
        document: As `eval.compare.report.document.make_document` makes it.
    """
    sections = (_verdict, _arms, _seeds, _classes, _origins)
    return "\n\n".join("\n".join(section(document)) for section in sections) + "\n"


def _verdict(document: Document) -> Iterator[str]:
    verdict = document["verdict"]
    yield f"# {verdict['headline'].capitalize()}: mIoU {span(document['difference'])}"
    yield ""
    yield from (f"- {words}" for words in verdict["words"])
    yield ""
    test = document["test"]
    yield (
        f"{test['chips']} test chips of {len(test['scenes'])} scenes. mIoU is the mean IoU over the classes that "
        "occur in the reference; differences are in percentage points."
    )


def _arms(document: Document) -> Iterator[str]:
    yield "| arm | runs | mIoU | to the baseline | candidate to this | pixel accuracy | F1 |"
    yield "|---|---|---|---|---|---|---|"
    for arm in document["arms"]:
        metrics = arm["metrics"]
        cells = [
            arm["name"],
            str(len(arm["runs"])),
            percent(metrics["miou_macro_reference_classes"]),
            span(arm["to_baseline"]["miou"]) if arm["to_baseline"] else "",
            span(arm["candidate_to_this"]["miou"]) if arm["candidate_to_this"] else "",
            percent(metrics["pixel_accuracy"]),
            percent(metrics["f1_macro_reference_classes"]),
        ]
        yield f"| {' | '.join(cells)} |"


def _seeds(document: Document) -> Iterator[str]:
    yield "| seed | baseline mIoU | candidate mIoU | difference |"
    yield "|---|---|---|---|"
    for row in document["seeds"]:
        cells = (percent(row["baseline"]), percent(row["candidate"]), _signed(row["difference"]))
        yield f"| {row['seed']} | {' | '.join(cells)} |"


def _signed(share: float | None) -> str:
    return "–" if share is None else points(share)


def _classes(document: Document) -> Iterator[str]:
    baseline, candidate = (arm["metrics"]["iou_by_class"] for arm in document["arms"][:2])
    yield "| class | scenes | baseline IoU | candidate IoU | difference | p | p after Holm | mIoU without it |"
    yield "|---|---|---|---|---|---|---|---|"
    scenes, without = document["test"]["scenes_by_class"], document["without_class"]
    for name, entry in document["arms"][1]["to_baseline"]["classes"].items():
        cells = [name, str(scenes[name]), percent(baseline[name]), percent(candidate[name]), span(entry)]
        cells += [f"{entry['p_value']:.3f}", f"{entry['p_holm']:.3f}", _signed(without[name])]
        yield f"| {' | '.join(cells)} |"


def _origins(document: Document) -> Iterator[str]:
    yield "Where the numbers came from:"
    yield ""
    for arm in document["arms"]:
        for run in arm["runs"]:
            origin = run["origin"]
            store = f", store {origin['fingerprint'][:12]}" if origin["fingerprint"] else ""
            seed = "" if origin["seed"] is None else f", seed {origin['seed']}"
            weights = f", weights {origin['checkpoint_sha256'][:12]}" if origin["checkpoint_sha256"] else ""
            smoke = ", a smoke run that says nothing" if origin["smoke"] else ""
            yield f"- {arm['name']}: `{run['folder']}`{seed}{weights}{store}{smoke}"


def span(entry: Mapping[str, Any]) -> str:
    """A difference with its interval."""
    if entry["low"] is None:
        return f"{points(entry['difference'])} (no interval)"
    return f"{points(entry['difference'])} [{points(entry['low'])}, {points(entry['high'])}]"


def percent(share: float | None) -> str:
    """A share as a percentage."""
    return "–" if share is None else f"{100 * share:.2f} %"
