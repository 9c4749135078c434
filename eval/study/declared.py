"""From a study to its declaration: what it is about to compare, and on which test split."""

from __future__ import annotations

from collections.abc import Sequence

from augment_store.chips.chip_set import ChipSet
from augment_store.io.remote import as_path
from eval.compare.declaration import Declaration, DeclaredComparison, DeclaredTest, digest_of_scenes
from eval.compare.inference import LEVEL
from eval.compare.verdict import IMPROVEMENT_FROM, MIN_SEEDS, NO_HARM_ABOVE, STRONG_ABOVE
from eval.score.folds import join_splits
from eval.study.config import Study
from eval.study.folds import deal_folds
from finetune.data.splits import digest_of_ids
from finetune.data.survey_cache import digest_mask, digest_of_chips
from finetune.run.manifest import SplitRecord


def declaration_of(study: Study, created: str) -> Declaration:
    """Write down a study's design.

    Args:
        study: The study.
        created: When it is declared, ISO 8601 in UTC.

    Raises:
        AugmentStoreError: If the chip set is there and a test chip has no scene, or its mask cannot be read.
    """
    return Declaration(
        created=created,
        study_sha256=study.digest,
        seeds=study.seeds,
        comparisons={
            name: DeclaredComparison(entry.baseline, entry.candidate, entry.controls)
            for name, entry in study.comparisons.items()
        },
        # a version with other thresholds declares anew, so the file shows that they were changed
        thresholds={
            "level": LEVEL,
            "improvement_from": IMPROVEMENT_FROM,
            "strong_above": STRONG_ABOVE,
            "no_harm_above": NO_HARM_ABOVE,
            "seeds": MIN_SEEDS,
        },
        test=_declared_test(study),
    )


def _declared_test(study: Study) -> DeclaredTest | None:
    """Record the test split as it is now; None if there is no chip set or no test split yet."""
    root = as_path(study.chips)
    if not root.is_dir():
        return None
    chips = ChipSet.open(root, study.layout)
    folds = deal_folds(study)
    ids = sorted([i for fold in folds for i in fold.ids["test"]] if folds else chips.splits.get("test", ()))
    if not ids:
        return None
    tests = [_split_record(chips, fold.ids["test"]) for fold in folds] or [_split_record(chips, ids)]
    joint = join_splits(tests) if folds else tests[0]
    return DeclaredTest(joint.ids, joint.masks, digest_of_scenes(chips.scenes(study.scenes, ids)))


def _split_record(chips: ChipSet, ids: Sequence[str]) -> SplitRecord:
    """Record test chips as a score and a training do; scenes are declared by a digest of their own."""
    masks = digest_of_chips({chip_id: digest_mask(chips.mask(chip_id)) for chip_id in ids})
    return SplitRecord(len(ids), 0, digest_of_ids(ids), masks=masks)
