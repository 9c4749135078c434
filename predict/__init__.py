"""From a scene to a map: what a trained run is for.

>>> from predict import predict
>>> predict("runs/tim", "map.tif", scene={"S2L2A": "s2.tif", "S1RTC": "s1.tif", "DEM": "dem.tif"})
[PosixPath('map.tif')]
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

import terramind_weights  # noqa: F401 - before TerraTorch, so that it runs no code of the working folder

__all__ = ["PredictOptions", "predict"]

if TYPE_CHECKING:
    from predict.api import predict
    from predict.options import PredictOptions
else:
    __getattr__, __dir__, _ = lazy.attach(
        __name__,
        submod_attrs={"api": ["predict"], "options": ["PredictOptions"]},
    )
