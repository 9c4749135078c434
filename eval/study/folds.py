"""Cross-validation over scenes: the scenes of a chip set dealt to folds, and the split files that trainings read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from augment_store.chips.chip_set import ChipSet
from augment_store.io.files import atomic_write, read_text
from augment_store.io.remote import RemotePath, as_path
from augment_store.utils.text import pluralize
from eval.errors import EvaluationError
from eval.score.folds import MIN_FOLDS
from eval.study.config import CommandArgs, Study

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Fold:
    """One fold.

    Attributes:
        number: From 1 on.
        ids: Chip ids by split, sorted.
    """

    number: int
    ids: Mapping[str, tuple[str, ...]]


def deal_folds(study: Study) -> tuple[Fold, ...]:
    """Deal a study's scenes to folds, by their names alone; empty for a study without folds.

    A fold tests its own scenes, the next one's validate, and the others' are trained on.

    Raises:
        EvaluationError: If the chip set is not there, or has fewer scenes than folds.
        ChipSetError: If a chip has no scene.
    """
    if study.folds is None:
        return ()
    scenes = _scenes_of_chips(study)
    names = sorted(set(scenes.values()))
    # `Study.check` has let only these two pass
    count = study.folds if isinstance(study.folds, int) else len(names)
    if not MIN_FOLDS <= count <= len(names):
        raise EvaluationError(
            f"folds {study.folds}: {study.chips} has {pluralize(len(names), 'scene')}; expected as many folds at most, "
            f"and {MIN_FOLDS} at least"
        )
    # in turn, so that folds differ by one scene at most
    fold_of = {name: index % count for index, name in enumerate(names)}
    members = [[i for i in sorted(scenes) if fold_of[scenes[i]] == index] for index in range(count)]
    return tuple(_fold(members, index) for index in range(count))


def _fold(members: list[list[str]], index: int) -> Fold:
    following = (index + 1) % len(members)
    rest = [ids for other, ids in enumerate(members) if other not in (index, following)]
    train = tuple(sorted(chip_id for ids in rest for chip_id in ids))
    return Fold(index + 1, {"train": train, "val": tuple(members[following]), "test": tuple(members[index])})


def scene_names(study: Study) -> set[str]:
    """Return the scenes that a cross-validation would test."""
    return set(_scenes_of_chips(study).values())


def _scenes_of_chips(study: Study) -> dict[str, str]:
    """Return the scene of every chip of the chip set's splits; of every chip where there are none."""
    root = as_path(study.chips)
    if isinstance(root, RemotePath) or not root.is_dir():
        raise EvaluationError(f"folds: {study.chips}: expected a folder with the chips to be dealt to folds")
    chips = ChipSet.open(root, study.layout)
    ids = [chip_id for members in chips.splits.values() for chip_id in members]
    return chips.scenes(study.scenes, ids or chips.ids)


def split_words(study: Study, fold: Fold) -> CommandArgs:
    """Return the arguments by which a training reads a fold's splits in place of the chip set's own."""
    folder = _folder(study, fold).absolute()
    return tuple(
        word for name in SPLITS for word in (f"--data.init_args.{name}_split", str(folder / f"{name}.txt"))
    )


def write_folds(study: Study) -> None:
    """Write the split files of a study's folds.

    Raises:
        EvaluationError: If the scenes were dealt otherwise when the study was made before.
        OutputError: If a file cannot be written.
    """
    for path, text in _split_files(study):
        if path.exists() and read_text(path) != text:
            raise EvaluationError(
                f"{path}: the chips or the folds are not those that {study.out} was made with; choose another out"
            )
        atomic_write(path, [text.encode()])


def _split_files(study: Study) -> Iterator[tuple[Path, str]]:
    for fold in deal_folds(study):
        for name in SPLITS:
            yield _folder(study, fold) / f"{name}.txt", "".join(f"{i}\n" for i in fold.ids[name])


def _folder(study: Study, fold: Fold) -> Path:
    return study.out / "folds" / f"fold_{fold.number}"
