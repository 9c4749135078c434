"""Members of an ensemble, and what they say of the windows of a scene: one vote for each run and sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from predict.ensemble import Ensemble
from predict.generated_maps import MadeMaps, SceneGenerator, WindowMaps
from predict.network import WindowNetwork
from predict.scene import SceneWindows
from predict.strips import Strip


@dataclass(frozen=True)
class Member:
    """One vote: a run's network, on one sample of the maps that it reads.

    Attributes:
        network: The network over the windows.
        fingerprint: Of the store whose maps it reads, empty if it reads none.
        sample: Which sample of them.
    """

    network: WindowNetwork
    fingerprint: str
    sample: int

    def vote(self, ids: Sequence[str], made: Mapping[str, MadeMaps]) -> list[NDArray[np.float64]]:
        """Return the class probabilities ``[class, h, w]`` of some windows.

        Args:
            ids: The windows.
            made: Their generated maps, by the fingerprint of the store that they belong to.
        """
        grid = self.network.windows.grid
        shape = grid.rows.window, grid.columns.window
        maps = WindowMaps(made[self.fingerprint], shape, self.sample) if self.fingerprint else None
        return self.network.predict(ids, maps)


class Voters:
    """All members over the windows of one scene.

    Args:
        ensemble: The runs.
        generators: Generator of each store's fingerprint.
        windows: The windows.
        samples: Samples of the generated maps; each is a vote.
        device: Where the networks run.
        drawn: Fingerprint of the store whose generated map is a layer; empty for none.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        generators: Mapping[str, SceneGenerator],
        windows: SceneWindows,
        samples: int,
        device: torch.device,
        drawn: str,
    ) -> None:
        self._windows, self._generators = windows, generators
        self._dates, self._drawn = ensemble.dates, drawn
        self._networks = [WindowNetwork(run, windows, device) for run in ensemble.runs]
        self.members = tuple(
            Member(network, run.spec.fingerprint, sample) if run.spec else Member(network, "", 0)
            for run, network in zip(ensemble.runs, self._networks, strict=True)
            # a run that reads no generated maps votes as often, so that all runs weigh the same
            for sample in range(samples)
        )

    def add(self, strip: Strip, row: int, columns: range) -> list[str]:
        """Predict some windows of a row and add them to a strip; return the reason for each that is left out."""
        windows = self._windows
        ids = {windows.window_id(row, column): column for column in columns}
        outside = {chip_id: windows.outside(chip_id) for chip_id in ids}
        # outside of the mask a raster need not even be read
        inside = [chip_id for chip_id, mask in outside.items() if mask is None or not mask.all()]
        windows.hold(inside)
        unobserved = {chip_id: self._unobserved(chip_id, outside[chip_id]) for chip_id in inside}
        # a window without a pixel to map is not worth a prediction
        wanted = [chip_id for chip_id in inside if not unobserved[chip_id].all()]
        made, reasons = dict[str, MadeMaps](), list[str]()
        for fingerprint, generator in self._generators.items():
            made[fingerprint], failed = generator.generate(windows, wanted, self._dates)
            wanted = [chip_id for chip_id in wanted if chip_id not in failed]
            reasons += failed.values()
        # members × windows × [class, h, w]
        once = {member: member.vote(wanted, made) for member in dict.fromkeys(self.members)}
        votes = [once[member] for member in self.members]
        for position, chip_id in enumerate(wanted):
            strip.add(
                (row, ids[chip_id]),
                np.concatenate([found[position] for found in votes]),
                unobserved[chip_id],
                self._generated(made, chip_id),
            )
        return reasons

    def _unobserved(self, chip_id: str, outside: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        parts = [network.unobserved(chip_id) for network in self._networks]
        found: NDArray[np.bool_] = np.logical_or.reduce(parts if outside is None else [*parts, outside])
        return found

    def _generated(self, made: Mapping[str, MadeMaps], chip_id: str) -> NDArray[Any] | None:
        """Return the first sample of the generated map of a window, ``[date × band, h, w]``."""
        if not self._drawn:
            return None
        array = self._generators[self._drawn].spec.map.array
        # [sample, T, (K,) h, w] → [T·K, h, w]
        first: NDArray[Any] = made[self._drawn][chip_id][array][0]
        banded: NDArray[Any] = first.reshape(-1, *first.shape[-2:])
        return banded
