"""Fixtures that several packages' tests share: where the real chips are, and small chips made on the spot."""

import ctypes
import ctypes.util
import gc
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # two test processes share the cores; set before torch is imported

import pytest

from tests.regressions.silent_faults import SILENT_FAULTS
from tests.sharing import made_once
from tests.worlds import World, make_world

pytest_plugins = ["tests.browser"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="session")
def no_flush() -> Iterator[None]:
    """Leave files to the operating system: no test cuts the power, and flushing takes 10 ms a file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def undrawn(request) -> Iterator[None]:
    """Leave out the pictures of what a test itself trains, a fifth of its time; runs that tests share have them."""
    train = sys.modules.get("finetune.run.train")
    if train is None or request.node.get_closest_marker("pictures"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_draw", lambda run, cli: None)
        yield


LARGE = 2**20
"""Elements of a tensor whose random weights are drawn in part: a tokenizer has 200 million of them."""


@pytest.fixture(autouse=True, scope="session")
def tiled_weights() -> Iterator[None]:
    """Draw one block of a large tensor's uniform random numbers, and scale it for the others."""
    if "torch" not in sys.modules:  # nothing that was collected builds networks
        yield
        return
    import torch

    draw = torch.Tensor.uniform_

    def draw_block(tensor: torch.Tensor, *bounds: float, **options: object) -> torch.Tensor:
        if tensor.numel() < LARGE or not tensor.is_contiguous():
            return draw(tensor, *bounds, **options)
        block, *others = tensor.view(-1).split(LARGE // 4)
        draw(block, *bounds, **options)
        for number, other in enumerate(others):  # none equal to another, or logits would be too
            torch.mul(block[: len(other)], 1 - (number + 1) / 1024, out=other)
        return tensor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "uniform_", draw_block)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real example chips; tests that use it are skipped where it is absent."""
    folder = Path(os.environ.get("TIM_STORE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real example chips at {folder}; set TIM_STORE_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Nine chips of 32 px and four timesteps in five scenes; three test chips in two."""
    return World(made_once(tmp_path_factory, "world", make_world))


SLOW_MODULE = "\npytestmark = pytest.mark.slow\n"
"""Line of a file whose tests are all slow."""

SLOW_FIXTURES = {"chromium", "baseline", "tim", "finished", "member"}
"""Fixtures that start a browser, train, or unpack what is large."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests `slow` by their fixtures or by `nightly`, and `regression` by the faults of the table."""
    guards = {fault.test for fault in SILENT_FAULTS}
    for item in items:
        if getattr(item, "originalname", item.name) in guards:
            item.add_marker("regression")
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("nightly"):
            item.add_marker("slow")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file of slow tests alone, nor what such files share, where they are left out: a minute of imports."""
    if config.getoption("markexpr") != "not slow":
        return None
    python = collection_path.suffix == ".py"
    files = [collection_path] if python else [*collection_path.rglob("test_*.py")]
    return True if files and all(SLOW_MODULE in file.read_text(encoding="utf-8") for file in files) else None


def pytest_collection_finish() -> None:
    """Take what imports have left, some millions of objects, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Undo this, as Hypothesis asks who refers to an object when the report imports it."""
    gc.unfreeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of the marker `gpu` where there is no CUDA device."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


def _free_memory() -> None:
    """Collect cycles and give freed pages back to the operating system.

    A trained network hangs in cycles of trainer, task and loops. Python collects old objects only once their number has
    grown by a quarter, which takes many trainings after torch has been imported; until then a worker holds all of them.
    """
    gc.collect()
    library = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(library), "malloc_trim", None) if library else None  # glibc only
    if trim:
        trim(0)


GROWTH = 300
"""Mebibytes that a process may grow by before what is dead is freed; a collection takes half a second."""

_LEFT = [0]
"""Memory after each collection, in MiB."""


def _resident() -> int:
    """Return this process's memory in MiB; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() >> 20 if statm.is_file() else 0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    """Free memory once tests have left much of it behind."""
    result = yield
    if _resident() > _LEFT[-1] + GROWTH:
        _free_memory()
        _LEFT.append(_resident())
    return result
