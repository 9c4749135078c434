"""Maps as a function, for notebooks and scripts; it takes the options of the command and does the same."""

from __future__ import annotations

from pathlib import Path

from generate.api import takes_options
from predict.options import PredictOptions


@takes_options(PredictOptions)
def predict(options: PredictOptions) -> list[Path]:
    """Map a scene, or each chip of a chip set, with one or more trained runs.

    Takes the runs, the output and any other options as keywords, or one `PredictOptions`, whose documentation says what
    each is for. If it was interrupted, the same call resumes.

    Returns:
        The file of the first layer asked for: of the scene, or of each chip.

    Raises:
        AugmentStoreError: If the options, a run, its store, the weights or the scene cannot be used.

    Example:
        >>> predict("runs/tim", "map.tif", scene={"S1RTC": "s1.tif"}, layers=["class", "entropy"])  # doctest: +SKIP
    """
    options.check()
    from predict.run import run_prediction  # torch and TerraTorch are imported here, when work starts

    return run_prediction(options)
