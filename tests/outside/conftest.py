"""Real rasters out of packages that others published; CONTRIBUTING.md says how to get them."""

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

EOTDL = "eotdl-2025.4.2"
SENTINEL_2 = f"{EOTDL}/tests/unit/curation/stac/test_data/sentinel_2"
SARSEN = "sarsen-0.9.6"

Member = Callable[[str], Path]


@pytest.fixture(scope="session")
def member(tmp_path_factory) -> Member:
    """Takes one file out of the source distribution that its path begins with; the others stay packed."""
    named = os.environ.get("TIM_STORE_OUTSIDE")
    if not named:
        pytest.skip("real rasters of others: set TIM_STORE_OUTSIDE to the folder with their packages")
    out = tmp_path_factory.mktemp("outside")

    def take(path: str) -> Path:
        package = path.partition("/")[0]
        with tarfile.open(Path(named) / f"{package}.tar.gz") as archive:
            archive.extract(path, out, filter="data")
        return out / path

    return take


@pytest.fixture(scope="session")
def hazy(member) -> Path:
    """Boadella reservoir in Catalonia, Sentinel-2 L2A of 2020-01-13, in degrees: 377 × 380 px."""
    return member(f"{SENTINEL_2}/Boadella_2020-01-13.tif")


@pytest.fixture(scope="session")
def clear(member) -> Path:
    """The same of 2020-01-28."""
    return member(f"{SENTINEL_2}/Boadella_2020-01-28.tif")


@pytest.fixture(scope="session")
def water(member) -> Path:
    """The reservoir's outline as its labellers drew it, GeoJSON."""
    return member(f"{SENTINEL_2}/Boadella_2020-01-13_labels.geojson")


@pytest.fixture(scope="session")
def dem(member) -> Path:
    """Elevation around Rome, 360 × 360 px of 30 m, in degrees."""
    return member(f"{SARSEN}/tests/data/Rome-30m-DEM.tif")
