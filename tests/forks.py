"""Forks of a test's process, which has imported TerraTorch: a new process would for 20 seconds."""

import multiprocessing
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any


def start_fork(work: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Start a fork that calls a function; its exit status is 1 where that raises."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    with warnings.catch_warnings():  # Python 3.12 warns that threads, here pytest-xdist's, are not forked
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process
