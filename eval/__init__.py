"""Stage 3: does it help? Scores of fine-tuned arms, paired comparisons, and publishing.

>>> from eval import Score, compare_arms
>>> arms = {
...     "baseline": [Score.read(f"scored/base_{seed}") for seed in (1, 2, 3)],
...     "candidate": [Score.read(f"scored/tim_{seed}") for seed in (1, 2, 3)],
... }
>>> comparison = compare_arms(arms)
>>> comparison.verdict.headline
'A difference, but no claim: mIoU +12.64 pp [+11.97 pp, +13.32 pp], tim against base'
>>> comparison.verdict.lacking[-1]
'a control, so nothing rules out other explanations of a difference'
>>> sorted(arms["candidate"][0].metrics.by_class["iou_by_class"])
['developed', 'forest', 'herbaceous', 'other', 'water']

The commands as functions, from run directories: ``score_runs("runs/tim")``,
``compare_runs("runs/base", "runs/tim", {"shuffle": "runs/shuffle"}, out="report")`` and
``score_maps("stores/nyc_lulc", "data/nyc", "scored/map")``.
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

import terramind_weights  # noqa: F401 - before TerraTorch, so that it runs no code of the working folder

__all__ = ["Comparison", "Score", "compare_arms", "compare_runs", "score_maps", "score_runs"]

if TYPE_CHECKING:
    from eval.api import compare_runs, score_maps, score_runs
    from eval.compare.arms import Comparison
    from eval.compare.comparison import compare_arms
    from eval.score.record import Score
else:
    __getattr__, __dir__, _ = lazy.attach(
        __name__,
        submod_attrs={
            "api": ["compare_runs", "score_maps", "score_runs"],
            "compare.arms": ["Comparison"],
            "compare.comparison": ["compare_arms"],
            "score.record": ["Score"],
        },
    )
