"""The model card: what the model is, what it was compared with, and what that does and does not show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from huggingface_hub import EvalResult, ModelCardData

from augment_store.publish.attribution import ATTRIBUTIONS, PublicationInfo
from augment_store.store.spec import GenerationSpec
from augment_store.utils.text import join_first, pluralize
from eval.compare.report.markdown import percent, plain_text, table_cell, to_markdown
from eval.compare.report.model import Report
from eval.publish import map_script
from eval.publish.bundle import NATIVE_CONFIG, WEIGHTS, Bundle, InputBands
from eval.score.metrics import METRICS, MIOU, Metrics
from finetune.augment.controls import CONTROLS, SHUFFLE
from finetune.run.manifest import RunManifest


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes:
        imprint: Name, license and credits.
        manifest: Manifest of the run.
        report: Report of the comparison.
        checkpoint_sha256: SHA-256 of the published checkpoint, one of the candidate's in the report.
        bundle: What is published.
        inputs: Tensors the network takes.
        planes: Names of the planes that are joined to the inputs, in order.
        spec: Spec of the store, or None.
        calibration: Sentence about its temperature, empty without one.
    """

    imprint: PublicationInfo
    manifest: RunManifest
    report: Report
    checkpoint_sha256: str
    bundle: Bundle
    inputs: Sequence[InputBands]
    planes: Sequence[str]
    spec: GenerationSpec | None
    calibration: str = ""

    @property
    def metrics(self) -> Metrics:
        """Return the metrics of the published checkpoint itself, not the mean over its arm's seeds."""
        runs = self.report.candidate.runs
        return next(run.metrics for run in runs if run.origin.checkpoint_sha256 == self.checkpoint_sha256)


def claim(report: Report) -> str:
    """Return the card's first sentence about the result, equally prominent whatever it says."""
    verdict = report.verdict
    if verdict.claimed:
        return f"{verdict.headline}."
    return f"{verdict.headline}. No improvement is claimed; a claim lacks {'; '.join(verdict.lacking)}."


def write_card(facts: CardFacts) -> str:
    """Return the card as Markdown with Hugging Face's YAML header."""
    sections = (
        _result_words(facts),
        _use(facts),
        _map_words(facts),
        _input_words(facts),
        _limit_words(facts),
        _report_words(facts),
        _card_origin(facts),
    )
    body = "\n\n".join(filter(None, ("\n".join(section) for section in sections)))
    return f"---\n{_header(facts).to_yaml()}\n---\n\n# {facts.imprint.name}\n\n{body}\n"


def _header(facts: CardFacts) -> ModelCardData:
    # the folder's name alone: the path is of this machine
    chip_set = facts.manifest.data.root.rstrip("/").rsplit("/", 1)[-1]
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=chip_set,
            dataset_name=f"{chip_set}, {pluralize(facts.report.test.chips, 'test chip')}",
            dataset_split="test",
            metric_type=metric.card,
            metric_name=", ".join(filter(None, (metric.label, metric.policy))),
            metric_value=round(value, 6),
        )
        for metric in METRICS
        # an undefined metric is left out, as a result needs a number
        if metric.card and (value := facts.metrics.overall[metric.key]) is not None
    ]
    return ModelCardData(
        license=facts.imprint.license_id,
        library_name="terratorch",
        pipeline_tag="image-segmentation",
        base_model=_base_model(facts.manifest),
        tags=["earth-observation", "terramind", "semantic-segmentation", "land-cover"],
        model_name=facts.imprint.name,
        eval_results=results,
    )


def _base_model(manifest: RunManifest) -> str | None:
    """Return the published model the run started from, None if it started from random or other weights."""
    found = re.fullmatch(r"terramind_v1_(tiny|small|base|large)(_tim)?", manifest.start.architecture)
    if found is None or manifest.start.weights == "random":
        return None
    return f"ibm-esa-geospatial/TerraMind-1.0-{found.group(1)}"


def _result_words(facts: CardFacts) -> Iterator[str]:
    yield f"**{plain_text(claim(facts.report))}**"
    yield ""
    yield from (f"- {plain_text(words)}" for words in facts.report.verdict.words)
    yield ""
    classes = plain_text(", ".join(facts.manifest.class_names))
    arm = facts.report.candidate
    yield (
        f"Land-cover segmentation into {classes}: a fine-tune of {facts.manifest.start.architecture} by TerraTorch. "
        f"{MIOU.label}, {MIOU.policy}: {percent(facts.metrics.miou)} on "
        f"{pluralize(facts.report.test.chips, 'test chip')} of {pluralize(len(facts.report.test.scenes), 'scene')}."
    )
    if len(arm.runs) > 1:
        mean = percent(arm.metrics.miou)
        yield (
            f"Mean over the {len(arm.runs)} seeds of its arm: {mean}; the comparison is between arms, while these "
            f"weights are those of seed {facts.manifest.seed}."
        )


def _use(facts: CardFacts) -> Iterator[str]:
    yield "## Use"
    yield ""
    if not facts.bundle.native:
        yield "TerraTorch has no counterpart of this arm's inputs: `pip install terramind-tim-store` as well."
        yield ""
    if facts.bundle.model["init_args"]["model_args"].get("peft_config"):
        yield "It was trained with LoRA: `pip install terratorch[peft]` as well."
        yield ""
    yield "```python"
    if not facts.bundle.native:
        yield "import finetune.model.backbone  # of terramind-tim-store: registers the backbone"
    yield "import yaml"
    yield "from safetensors.torch import load_file"
    yield "from terratorch.tasks import SemanticSegmentationTask"
    yield ""
    yield f'config = yaml.safe_load(open("{NATIVE_CONFIG}", encoding="utf-8"))'
    yield 'task = SemanticSegmentationTask(**config["model"]["init_args"])'
    yield f'task.model.load_state_dict(load_file("{WEIGHTS}"))'
    yield "task.eval()  # task(images).output are the classes' logits [batch, class, y, x]"
    yield "```"
    if facts.calibration:
        yield ""
        yield facts.calibration


def _map_words(facts: CardFacts) -> Iterator[str]:
    names = [entry.modality for entry in facts.inputs]
    names += [] if facts.spec is None else [entry.name for entry in facts.spec.inputs]
    words = " ".join(f"{name}={name.lower()}.tif" for name in dict.fromkeys(names))
    steps = len(facts.manifest.data.timesteps)
    if facts.manifest.augment.control == SHUFFLE:
        # a scene has no other chips whose maps could be taken
        return
    yield "## A map of a scene"
    yield ""
    yield "Rasters of any size on one grid, in the units below, become a cloud-optimized GeoTIFF without seams:"
    yield ""
    yield "```bash"
    yield "pip install terramind-tim-store"
    yield f"python {map_script.NAME} map.tif {words}"
    yield f"tim-predict . --scene {words} --out map.tif"
    yield "```"
    yield ""
    yield "Both make the same map; `tim-predict --help` lists layers, bounds, masks and more."
    if steps > 1:
        yield (
            f"A raster has {steps} dates, all bands of the first, then those of the second; or it is named once for "
            "each date, in order."
        )
    if facts.spec is not None:
        yield "The maps that the model reads are generated on the way, by the spec in `generation_spec.json`."


def _input_words(facts: CardFacts) -> Iterator[str]:
    steps = len(facts.manifest.data.timesteps)
    shape = f"`[batch, band, {steps}, y, x]`" if steps > 1 else "`[batch, band, y, x]`"
    yield "## Inputs"
    yield ""
    yield f"A dict of float32 tensors {shape}, each band minus its mean, divided by its standard deviation:"
    yield ""
    yield "| modality | band | unit | mean | standard deviation |"
    yield "|---|---|---|---|---|"
    for entry in facts.inputs:
        for band, mean, std in zip(entry.bands, entry.means, entry.stds, strict=True):
            cells = (entry.modality, band, entry.unit, f"{mean:g}", f"{std:g}")
            yield f"| {' | '.join(map(table_cell, cells))} |"
    if facts.manifest.augment.encoding:
        joined = (
            f"{pluralize(len(facts.planes), 'plane')} ({', '.join(facts.planes)})"
            if facts.planes
            else "token indices"
        )
        yield ""
        encoding = ", ".join(facts.manifest.augment.encoding)
        maker = "`finetune.data.datamodule.TimStoreDataModule` of terramind-tim-store"
        control = facts.manifest.augment.control
        made_of = (
            "the generated maps" if control is None else f"{CONTROLS[control].made_of} (control {control})"
        )
        yield f"Joined to them, encoded as {encoding}: {joined}, made of {made_of} by {maker}."


def _limit_words(facts: CardFacts) -> Iterator[str]:
    yield "## Limits"
    yield ""
    scenes = pluralize(len(facts.report.test.scenes), "scene")
    yield f"- Tested on {scenes} of one chip set; other places, seasons or sensors are untested."
    if facts.spec is not None:
        yield "- It needs maps generated by the spec in `generation_spec.json`; others may change its output."
    if facts.manifest.data.scene_overlap:
        yield "- Some scenes are in two splits, which makes the test too easy: " + ", ".join(
            facts.manifest.data.scene_overlap
        )
    if facts.manifest.data.shared_chips:
        pairs = (f"{one} and {other}" for one, other in facts.manifest.data.shared_chips)
        yield f"- Some ground is in two splits, which makes the test too easy: chips {join_first(pairs)}"
    if facts.manifest.smoke:
        yield "- A smoke run of a few steps: it shows that the chain works and has no other use."


def _report_words(facts: CardFacts) -> Iterator[str]:
    yield "## Comparison"
    yield ""
    # the report's title becomes a heading within this section
    yield re.sub(r"(?m)^# ", "### ", to_markdown(facts.report)).rstrip()


def _card_origin(facts: CardFacts) -> Iterator[str]:
    start = facts.manifest.start
    yield "## Origin and licenses"
    yield ""
    name, digest = (start.init, start.init_sha256) if start.init else (start.weights, start.weights_sha256)
    yield f"- weights started from {name.rsplit('/', 1)[-1]}, SHA-256 {digest or 'none'}"
    if facts.spec is not None:
        source = (
            "random weights"
            if facts.spec.weights == "random"
            else f"weights {facts.spec.network_sha256[:12]}"
        )
        yield f"- maps generated by {facts.spec.generator} ({source}), fingerprint {facts.spec.fingerprint}"
    versions = ", ".join(f"{name} {version}" for name, version in facts.manifest.versions.items())
    yield f"- trained with seed {facts.manifest.seed}, {versions}"
    yield f"- license of these weights: {facts.imprint.license_id}"
    yield from (f"- {words}" for words in (*ATTRIBUTIONS, *facts.imprint.attributions))
