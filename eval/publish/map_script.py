"""The script in a bundle that maps a scene."""

from __future__ import annotations

from typing import Final

NAME: Final = "make_map.py"
"""Not `predict.py`, which would hide the package that it imports."""

TEXT: Final = '''\
"""Map a scene with this model: python make_map.py map.tif S2L2A=s2.tif DEM=dem.tif."""

import sys
from pathlib import Path

from predict import predict  # of terramind-tim-store

out, *words = sys.argv[1:]
scene = {}
for modality, file in (word.split("=", 1) for word in words):
    scene.setdefault(modality, []).append(file)  # a modality may be named once for each date
predict(Path(__file__).resolve().parent, out, scene=scene)
'''
