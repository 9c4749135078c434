"""What a user asks for, checked before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from augment_store.chips.layouts import find_layout, load_layout
from augment_store.errors import ChipSetError
from augment_store.io.files import OUTPUT_LOCALLY, check_local
from augment_store.io.remote import as_path
from augment_store.modalities.definitions import INPUT_MODALITIES, PATCH_SIZE
from finetune.errors import ConfigError
from finetune.run.manifest import RunManifest
from terramind_weights.catalog import HUB

CLASS: Final = "class"
GENERATED: Final = "generated"
AGREEMENT: Final = "agreement"
LAYERS: Final = (CLASS, "probability", "entropy", AGREEMENT, GENERATED)
"""What can be written of a map, each as a file of its own."""


def check_scene_files(files: Mapping[str, Sequence[str]], modalities: Sequence[str]) -> None:
    """Make sure that there is a raster of each modality.

    Args:
        files: Paths or URLs by modality.
        modalities: Modalities that are needed.

    Raises:
        ChipSetError: If one is missing.
    """
    missing = next((name for name in modalities if not files.get(name)), None)
    if missing is not None:
        raise ChipSetError(
            f"--scene: no {missing}, which the run was trained on (it takes {' '.join(modalities)}); add {missing}=FILE"
        )


@dataclass(frozen=True)
class PredictOptions:
    """Options of a map.

    Attributes:
        runs: Run directories of `tim-finetune fit`; several predict together, by the mean of their probabilities.
        out: GeoTIFF to write, or with `chips` the folder for one a chip.
        scene: Rasters by modality, each a path, a URL, or a list of one for each date.
        chips: Chip set to map chip by chip, in place of a scene.
        layout: Layout of these chips, None to detect it; for a scene, which bands its files have.
        layers: What is written, see `LAYERS`; the map of classes is `out`, others have their name at its end.
        samples: Samples of the generated map that are predicted from, the probabilities averaged.
        store: Where the store that the runs were trained with is now; None for where they read it.
        weights: ``hub``, or a folder with the generator's published files.
        keep: Store in which the maps that are generated on the way are kept, and looked for first; None for none.
        window: Side in pixels of what the network sees at a time; None for the size of the training chips.
        bounds: West, south, east and north of the part of the scene to map, in its reference system; None for all.
        mask: Polygons around what is mapped (GeoJSON, GeoPackage …), or a raster on the scene's grid of 0 elsewhere.
        devices: Processes side by side, each with a GPU of its own where there are GPUs.
        accept_audit: Go on despite what the input audit finds.
        quiet: Report no progress; results are still printed.
    """

    runs: str | Path | Sequence[str | Path]
    out: str | Path
    scene: Mapping[str, str | Path | Sequence[str | Path]] = field(default_factory=dict)
    chips: str | Path | None = None
    layout: str | None = None
    layers: Sequence[str] = (CLASS,)
    samples: int = 1
    store: str | Path | None = None
    weights: str = HUB
    keep: str | Path | None = None
    window: int | None = None
    bounds: tuple[float, float, float, float] | None = None
    mask: str | Path | None = None
    devices: int = 1
    accept_audit: bool = False
    quiet: bool = False

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return the run directories."""
        given = [self.runs] if isinstance(self.runs, str | Path) else self.runs
        return tuple(map(Path, given))

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """Return the rasters of the scene by modality, one or more of each."""
        listed = {
            name: (given,) if isinstance(given, str | Path) else given for name, given in self.scene.items()
        }
        return {name: tuple(str(as_path(file)) for file in given) for name, given in listed.items()}

    def path(self, layer: str, chip_id: str | None = None) -> Path:
        """Return the file of a layer, of a chip if one is named."""
        whole = Path(self.out) if chip_id is None else Path(self.out) / f"{chip_id}.tif"
        return whole if layer == CLASS else whole.with_name(f"{whole.stem}_{layer}{whole.suffix}")

    def check(self) -> None:
        """Make sure that the options agree with one another.

        Raises:
            ConfigError: Naming the option, what was found and what was expected.
            RemotePathError: If the output is a URL.
            ChipSetError: If there are no chips where they are said to be.
        """
        if not self.folders:
            raise ConfigError("no run; name the directory of one or more runs of tim-finetune fit")
        if bool(self.scene) == (self.chips is not None):
            raise ConfigError("expected either --scene S2L2A=FILE … or --chips DIR")
        check_local("--out", Path(self.out), OUTPUT_LOCALLY)
        self._check_values()
        if self.chips is not None:
            if self.bounds is not None or self.mask is not None:
                raise ConfigError("--bounds and --mask are for a --scene; chips are mapped whole")
            if self.keep is not None:
                raise ConfigError(
                    "--keep is for a --scene; make a store of these chips with tim-generate, and name it with --store"
                )
            find_layout(as_path(self.chips), self.layout)
        elif self.layout is not None:
            load_layout(self.layout)
        if self.chips is None and Path(self.out).suffix.lower() not in {".tif", ".tiff"}:
            raise ConfigError(f"--out {self.out}: expected a GeoTIFF, such as map.tif")
        self._check_runs()

    def _check_runs(self) -> None:
        """Make sure that there are runs, and what they read of a scene, by their manifests alone."""
        modalities = [name for run in self.folders for name in RunManifest.read(run).data.modalities]
        if self.scene:
            check_scene_files(self.files, list(dict.fromkeys(modalities)))

    def _check_values(self) -> None:
        unknown = [name for name in self.scene if name not in INPUT_MODALITIES]
        if unknown:
            raise ConfigError(
                f"--scene {unknown[0]}=…: unknown modality; expected {', '.join(INPUT_MODALITIES)}"
            )
        strange = [name for name in self.layers if name not in LAYERS]
        if strange or not self.layers or len(set(self.layers)) < len(self.layers):
            raise ConfigError(
                f"--layers {' '.join(self.layers)}: expected some of {' '.join(LAYERS)}, each once"
            )
        if self.samples < 1:
            raise ConfigError(f"--samples {self.samples}: expected 1 or more")
        if self.devices < 1:
            raise ConfigError(f"--devices {self.devices}: expected 1 or more")
        if self.devices > 1 and self.keep is not None:
            raise ConfigError("--keep: one process at a time adds to a store; leave out it or --devices")
        if AGREEMENT in self.layers and len(self.folders) * self.samples < 2:
            raise ConfigError(
                "--layers agreement: one run and one sample agree with themselves; name several runs, or --samples 2 "
                "or more"
            )
        if self.window is not None and (self.window < PATCH_SIZE or self.window % PATCH_SIZE):
            raise ConfigError(f"--window {self.window}: expected a multiple of {PATCH_SIZE}")
