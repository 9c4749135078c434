"""Fixtures that several packages' tests share: where the real chips are, and small chips made on the spot."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real example chips; tests that use it are skipped where it is absent."""
    folder = Path(os.environ.get("TIM_STORE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real example chips at {folder}; set TIM_STORE_SHARED_DATA")
    return folder
