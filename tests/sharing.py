"""What a test session makes once, whichever of its pytest-xdist workers needs it first."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder of the session that the first worker fills, and for which the others wait.

    What is in it is shared: tests copy it before they change anything.

    Args:
        factory: pytest's `tmp_path_factory`.
        name: Name of the folder.
        make: Fills the folder, given its path.
    """
    session = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent  # a worker's own folder lies in that of the session
    folder = session / "made_once" / name
    done = folder.with_name(f"{name}.done")
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed halfway
            make(folder)
            done.touch()
    return folder
