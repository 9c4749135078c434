"""The table of counts: the cells that Python's csv module writes, made scene by scene."""

from types import SimpleNamespace

import numpy as np

from eval.compare.report.table import to_csv


def score(seed, scenes):
    counts = np.arange(len(scenes) * 6).reshape(-1, 2, 3)
    return SimpleNamespace(
        origin=SimpleNamespace(seed=seed), counts=SimpleNamespace(scenes=scenes, by_scene=lambda: counts)
    )


def test_a_table_by_hand():
    arms = [
        SimpleNamespace(name="plain", scores=[score(7, ["s0", "a, b"])]),
        SimpleNamespace(name="-1", scores=[score(None, ["s0", "a, b"])]),
    ]
    parts = list(to_csv(SimpleNamespace(class_names=("dry", 'the "wet"'), arms=arms)))
    assert len(parts) == 5  # the head, and each scene of each run
    assert parts[0] == b"arm,run,seed,scene,reference,predicted,pixels\n"
    assert parts[2].decode().splitlines() == [
        'plain,1,7,"a, b",dry,dry,6',
        'plain,1,7,"a, b",dry,"the ""wet""",7',
        'plain,1,7,"a, b",dry,,8',
        'plain,1,7,"a, b","the ""wet""",dry,9',
        'plain,1,7,"a, b","the ""wet""","the ""wet""",10',
        'plain,1,7,"a, b","the ""wet""",,11',
    ]
    assert parts[3].startswith(b"'-1,1,,s0,dry,dry,0\n")
