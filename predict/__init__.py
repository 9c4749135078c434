"""From a scene to a map: what a trained run is for.

>>> from predict import predict
>>> predict("runs/tim", "maps", chips="data/nyc", quiet=True)[0]  # a map for each chip
PosixPath('maps/scene0_r000c000.tif')

A scene is named by its rasters: ``predict("runs/tim", "map.tif", scene={"S2L2A": "s2.tif", "DEM": "dem.tif"})``.
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
