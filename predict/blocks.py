"""Finished strips of a map that is being made, kept so that the same command goes on where it was stopped."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augment_store.io.files import atomic_write, read_text
from finetune.errors import RunError
from generate.model.windows import WindowGrid
from predict.strips import finished_rows


def digest_of_settings(settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values, in hexadecimal."""
    # sorted keys: equal settings are equal text
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


class StripFolder:
    """Hidden folder beside a map, with the strips that are finished.

    The process that writes the map deletes strips of other settings; another one only joins it.

    Args:
        out: The map.
        digest: Digest of all that decides its values.
        grid: The windows of the scene.
        joined: Whether another process writes the map.

    Raises:
        OutputError: If it cannot be written.
        RunError: If it is joined and has strips of other settings.
    """

    def __init__(self, out: Path, digest: str, grid: WindowGrid, *, joined: bool = False) -> None:
        self.path = out.with_name(f".{out.name}.strips")
        self._grid = grid
        mark = self.path / "settings"
        if mark.is_file() and read_text(mark) == digest:
            return
        if joined:
            raise RunError(
                f"{out}: a run, the scene or the device is not what the process that writes the map began with; run "
                "the same command again"
            )
        shutil.rmtree(self.path, ignore_errors=True)
        atomic_write(mark, [digest.encode()])

    def finished(self, rows: range) -> int:
        """Return how many strips of these rows of windows, from the first on, are finished."""
        return next((count for count, row in enumerate(rows) if not self._file(row).is_file()), len(rows))

    def first_row(self, row: int) -> int:
        """Return the first row of windows that the strip which a row completes is made of; it may lie above."""
        top = finished_rows(self._grid, row).start
        axis = self._grid.rows
        return next(above for above, start in enumerate(axis.starts) if start + axis.window > top)

    def save(self, row: int, layers: Mapping[str, NDArray[Any]]) -> None:
        """Keep the layers ``[bands, rows, W]`` of the strip that a row of windows completes.

        Raises:
            OutputError: If they cannot be written.
        """
        packed = io.BytesIO()
        np.savez_compressed(packed, **layers)  # type: ignore[arg-type] # numpy's stubs expect its one option
        atomic_write(self._file(row), [packed.getbuffer()])

    def strips(self, layer: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield a layer's strips, each with its first row."""
        for row in range(len(self._grid.rows.starts)):
            with np.load(self._file(row), allow_pickle=False) as packed:
                yield finished_rows(self._grid, row).start, packed[layer]

    def remove(self) -> None:
        """Delete it, once the map is written."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, row: int) -> Path:
        return self.path / f"{row:06d}.npz"
