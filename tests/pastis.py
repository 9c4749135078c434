"""Files as the public description of PASTIS-R has them: NumPy series of irregular length, labels, folds."""

import json
from pathlib import Path

import numpy as np

from augment_store.modalities.definitions import S2L2A
from tests.worlds import rasters

BANDS = [band for band in S2L2A.bands if band not in {"COASTAL_AEROSOL", "WATER_VAPOR"}]
FOLDS = {"10000": 1, "10001": 2, "20000": 3, "20001": 3, "30000": 4, "40000": 5, "40001": 5}
"""Fold of each patch."""


def write_pastis(root: Path, size: int = 32) -> Path:
    """Series of 7 dates, 8, 9 and so on; every fourth label is void."""
    for folder in ("DATA_S2", "DATA_S1A", "ANNOTATIONS"):
        (root / folder).mkdir(parents=True)
    for number, patch in enumerate(FOLDS):
        made = rasters(number, size, timesteps=7 + number)
        optical = made["S2L2A"][:, [S2L2A.bands.index(band) for band in BANDS]]
        radar = made["S1RTC"].astype(np.float32)
        ratio = radar[:, :1] - radar[:, 1:]
        labels = np.where(np.arange(size) % 4 == 3, 19, np.arange(size)[:, None] % 3)
        np.save(root / "DATA_S2" / f"S2_{patch}.npy", optical.astype(np.int16))
        np.save(root / "DATA_S1A" / f"S1A_{patch}.npy", np.concatenate([radar, ratio], axis=1))
        np.save(
            root / "ANNOTATIONS" / f"TARGET_{patch}.npy", np.stack([labels, labels, labels]).astype(np.uint8)
        )
    patches = [{"properties": {"ID_PATCH": int(patch), "Fold": fold}} for patch, fold in FOLDS.items()]
    (root / "metadata.geojson").write_text(json.dumps({"features": patches}))
    return root
