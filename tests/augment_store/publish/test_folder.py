"""Published stores: what STAC and the card say is so, and what is not sound is not published."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import geopandas
import huggingface_hub
import numpy as np
import pystac
import pytest
import rasterio.warp
import yaml
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation import validate_dict

from augment_store.chips.chip_set import ChipSet
from augment_store.cli.main import main
from augment_store.integrity.verify import verify_store
from augment_store.store.chip_index import ChipEntry
from augment_store.store.writer import AugmentStore
from tests.worlds import WKT, make_spec, make_store, store_of, write_tif

SAID = ("--license", "CC-BY-4.0", "--attribution", "chips: someone")


def publish(store: Path, out: Path, *words: object) -> int:
    return main(["publish", str(store), "--out", str(out), *map(str, words)])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> AugmentStore:
    """Eight chips of 320 m on a grid of two rows, a scene each."""
    made = make_store(
        tmp_path_factory.mktemp("made") / "lulc.zarr", spec=make_spec(samples=2, inputs=["DEM"])
    )
    made.record_history("python -m generate --chips /home/me/data/nyc --store /home/me/stores/lulc")
    return made


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("published") / "nyc-lulc"
    assert publish(store.path, out, *SAID) == 0
    return out


@pytest.fixture(scope="module")
def collection(folder) -> pystac.Collection:
    return pystac.Collection.from_file(str(folder / "collection.json"))


def test_the_folder_holds_the_store_and_what_is_said_of_it(folder, store):
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "chips.parquet",
        "collection.json",
        "lulc.zarr",
    }
    copy = AugmentStore.open(folder / "lulc.zarr")
    assert list(verify_store(copy)) == []
    np.testing.assert_array_equal(copy.read("scene0_r0c1", "lulc"), store.read("scene0_r0c1", "lulc"))
    assert "/home/me" not in (folder / "lulc.zarr/zarr.json").read_text()
    assert copy.history.endswith("python -m generate --chips data/nyc --store stores/lulc")
    assert store.history.endswith("--chips /home/me/data/nyc --store /home/me/stores/lulc")


def test_the_collection_is_valid_stac(folder, collection):
    """By the core's schemas, which pystac brings along; those of extensions are on the network."""
    plain = json.loads((folder / "collection.json").read_text())
    assert validate_dict(plain, extensions=[]) != []
    assert plain["stac_version"] == "1.1.0"
    assert plain["links"] == []
    assert sorted(plain["stac_extensions"]) == [
        "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
        "https://stac-extensions.github.io/processing/v1.1.0/schema.json",
        "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
        "https://stac-extensions.github.io/zarr/v1.0.0/schema.json",
    ]
    assert (collection.id, collection.license) == ("nyc-lulc", "CC-BY-4.0")
    assert "generated, not reference" in collection.description


def test_the_collection_lies_where_the_chips_lie(collection):
    east, south = 580_000 + 4 * 320, 4_510_000 - 2 * 320
    corners = [580_000, east, 580_000, east], [4_510_000, 4_510_000, south, south]
    longitudes, latitudes = rasterio.warp.transform(WKT, "EPSG:4326", *corners)
    expected = [min(longitudes), min(latitudes), max(longitudes), max(latitudes)]
    assert collection.extent.spatial.bboxes[0] == pytest.approx(expected, abs=1e-6)
    assert ProjectionExtension.summaries(collection).code == ["EPSG:32618"]


def test_the_asset_is_the_store(folder, collection):
    asset = collection.assets["store"]
    assert (asset.media_type, asset.roles) == ("application/vnd.zarr; version=3", ["data"])
    assert AugmentStore.open(asset.get_absolute_href()).path == folder / "lulc.zarr"
    fields = {"zarr:node_type": "group", "zarr:zarr_format": 3, "zarr:consolidated": True}
    assert fields.items() <= asset.extra_fields.items()
    water = ClassificationExtension.ext(asset).classes[1]
    assert (water.value, water.name, water.color_hint) == (1, "water", "3171AD")
    assert all(
        re.fullmatch(r"[0-9A-Za-z_-]+", entry.name) for entry in ClassificationExtension.ext(asset).classes
    )


def test_the_collection_names_the_processing(collection, store):
    [provider] = collection.providers
    assert provider.roles == ["processor"]
    assert provider.extra_fields["processing:level"] == "L4"
    assert provider.extra_fields["processing:software"] == {"torch": "2.9.1"}
    for digest in ("0" * 64, "1" * 64, store.fingerprint):
        assert digest in provider.extra_fields["processing:lineage"]


def test_the_table_of_chips_opens_everywhere(folder, store, collection):
    """With geopandas, and with the name that the card gives the viewer of Hugging Face."""
    header = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert header["configs"] == [{"config_name": "chips", "data_files": "chips.parquet"}]
    table = geopandas.read_parquet(folder / "chips.parquet")
    assert table.chip_id.tolist() == list(store.chip_ids)
    assert table.total_bounds.tolist() == pytest.approx(collection.extent.spatial.bboxes[0], abs=1e-6)
    water = np.mean([(store.read(chip_id, "lulc") == 1).mean() for chip_id in store.chip_ids])
    assert table.share_water.mean() == pytest.approx(water)
    asset = collection.assets["chips"]
    assert (asset.href, asset.media_type) == ("./chips.parquet", "application/x-parquet")


def test_load_dataset_reads_the_table_by_the_card(folder, store, tmp_path):
    datasets = pytest.importorskip("datasets")  # as the viewer of Hugging Face reads it
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    assert list(found) == ["train"]  # the name of a table that has no splits
    assert found["train"]["chip_id"] == list(store.chip_ids)
    table = geopandas.read_parquet(folder / "chips.parquet")
    assert found["train"]["share_water"] == table.share_water.tolist()
    assert found["train"]["geometry"] == table.geometry.to_wkb().tolist()


def test_the_card(folder, store):
    text = (folder / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert (header["license"], header["annotations_creators"]) == ("cc-by-4.0", "machine-generated")
    assert header["size_categories"] == "n<1K"
    assert "**These maps are generated, not reference.**" in text
    assert "random weights, so the maps mean nothing" in text
    for said in (
        f"| SHA-256 of its weights | `{'0' * 64}` |",
        "| chips | 8 of 32 × 32 pixels |",
        "| scenes | 2 |",
        "| pixel | 10 m |",
        "| agreement with reference | – |",
        "They were compared with no reference.",
        "- chips: someone",
    ):
        assert said in text
    maps = [store.read(chip_id, "lulc") for chip_id in store.chip_ids]
    agreed = np.mean([(one[0] == one[1]).mean() for one in maps])
    assert f"| agreement between samples | {agreed:#.3g} |" in text


def test_texts_of_a_store_are_no_markup_in_the_card(tmp_path):
    """A stranger names the generator, its inputs and the packages, and words the audit."""
    finding = {"message": "see [here](http://evil.example)\n\n# Trusted\n| a | b |"}
    spec = replace(make_spec(inputs=["DEM"]), generator="<img src=x> | *best*", versions={"a|b": "<b>1</b>"})
    store = make_store(tmp_path / "s", chips=1, spec=spec)
    store.record_audit([finding])
    assert publish(store.path, tmp_path / "out") == 0
    text = (tmp_path / "out/README.md").read_text()
    assert "| generator | \\<img src=x\\> \\| \\*best\\*, random weights |" in text
    assert "audit: see \\[here\\](http://evil.example) \\# Trusted \\| a \\| b \\|\n" in text
    assert "- made with a\\|b \\<b\\>1\\</b\\>" in text
    description = json.loads((tmp_path / "out/collection.json").read_text())["description"]
    assert "\\<img src=x\\>" in description
    assert "<img" not in description.replace("\\<img", "")


def test_only_files_of_the_arrays_are_published(store, tmp_path):
    """Beside them may lie anything: notes, leftovers, links to private folders."""
    copy = shutil.copytree(store.path, tmp_path / "s")
    (tmp_path / "private").mkdir()
    (tmp_path / "private/key").write_text("PRIVATE")
    (copy / "home").symlink_to(tmp_path / "private")
    (copy / "notes.txt").write_text("PRIVATE")
    (copy / "lulc/c/key").write_text("PRIVATE")
    (copy / "lulc/c/0.partial").write_text("PRIVATE")
    assert publish(copy, tmp_path / "out", *SAID) == 0
    published = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert published
    assert not any(b"PRIVATE" in path.read_bytes() for path in published)
    assert list(verify_store(AugmentStore.open(tmp_path / "out/s"))) == []


@pytest.mark.parametrize("linked", ["lulc", "lulc/c", "lulc/zarr.json", "zarr.json", "chunk"])
def test_a_link_in_place_of_a_stores_own_file_is_refused(store, linked, tmp_path, capsys):
    copy = shutil.copytree(store.path, tmp_path / "s")
    chunks = sorted(path for path in (copy / "lulc/c").rglob("*") if path.is_file())
    path = chunks[0] if linked == "chunk" else copy / linked
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert publish(copy, tmp_path / "out", *SAID) == 2
    assert f"{path}: a link" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_python_of_the_card_runs(folder, store, monkeypatch):
    monkeypatch.chdir(folder)
    known: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL).group(1), known)
    np.testing.assert_array_equal(known["maps"], store.read("scene0_r0c0", "lulc"))


def chips_with_reference(root: Path) -> tuple[ChipSet, Path]:
    """A chip that is water as its reference has it, and a store that says trees for its upper half."""
    write_tif(root / "DEM/a.tif", np.full((1, 32, 32), 7, np.int16))
    write_tif(root / "LULC/a.tif", np.ones((1, 32, 32), np.uint8))
    chips = ChipSet.open(root, "folders")
    lulc = np.ones((1, 1, 32, 32), np.uint8)
    lulc[..., :16, :] = 2
    spec = make_spec(inputs=["DEM"])
    return chips, store_of(chips, root.parent / "half", spec, given={"a": {"lulc": lulc}}).path


def test_agreement_with_references(tmp_path):
    chips, path = chips_with_reference(tmp_path / "chips")
    words = ("--chips", chips.root, "--layout", "folders")
    assert publish(path, tmp_path / "out", *words) == 0
    text = (tmp_path / "out/README.md").read_text()
    assert "| agreement with reference | 0.500 |" in text
    assert "compared with no reference" not in text
    assert "license of these maps: not stated" in text


def test_other_chips_are_refused(tmp_path, capsys):
    chips, path = chips_with_reference(tmp_path / "chips")
    write_tif(chips.root / "DEM/a.tif", np.full((1, 32, 32), 8, np.int16))
    assert publish(path, tmp_path / "out", "--chips", chips.root, "--layout", "folders") == 2
    assert "half: not published, 1 problem; the first: chip a: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_values_have_no_classes_and_a_place_that_is_not_known_is_not_made_up(tmp_path):
    store = make_store(tmp_path / "s", chips=1, spec=make_spec("NDVI"), entries=[ChipEntry("a", "a")])
    assert publish(store.path, tmp_path / "out") == 0
    collection = pystac.Collection.from_file(str(tmp_path / "out/collection.json"))
    assert validate_dict(json.loads((tmp_path / "out/collection.json").read_text()), extensions=[]) != []
    assert not any("classification" in uri or "projection" in uri for uri in collection.stac_extensions)
    assert "Where the chips lie is not known" in collection.description
    assert "| pixel | not known |" in (tmp_path / "out/README.md").read_text()


def test_an_incomplete_store_is_refused(tmp_path, capsys):
    store = make_store(tmp_path / "s", chips=8, pending=2)
    assert publish(store.path, tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert (
        "not published, 2 problems; the first: chip scene1_r1c2: pending; run the generate command again"
        in message
    )
    assert message.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".draft", "out"))] == []


def test_a_damaged_store_is_refused(store, tmp_path, capsys):
    shutil.copytree(store.path, tmp_path / "s")
    chunk = next(path for path in (tmp_path / "s/lulc/c").rglob("*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[20] ^= 1
    chunk.write_bytes(content)
    assert publish(tmp_path / "s", tmp_path / "out") == 2
    told = (
        capsys.readouterr().err
    )  # of which chip depends on the order in which Zarr puts chunks into a shard
    assert re.search(r"not published, 1 problem; the first: chip scene\d_r\dc\d: .*lulc of chip", told), told


def test_places_that_are_taken_or_unfit_are_refused(store, folder, tmp_path, capsys):
    assert publish(store.path, folder) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    assert publish(store.path, store.path / "out") == 2
    assert f"lies within the store {store.path}); choose another place" in capsys.readouterr().err
    assert publish(store.path, tmp_path / "out", "--license", "my own") == 2
    assert "expected an SPDX identifier such as CC-BY-4.0" in capsys.readouterr().err


class Hub:
    """The client of Hugging Face, without the network."""

    calls: list = []  # noqa: RUF012

    def create_repo(self, **given):
        self.calls.append(("create", given["repo_id"], given["repo_type"], given["private"]))

    def upload_folder(self, **given):
        names = sorted(path.name for path in Path(given["folder_path"]).iterdir())
        self.calls.append(("upload", given["repo_id"], given["repo_type"], names))
        return type(
            "Commit", (), {"commit_url": f"https://huggingface.co/datasets/{given['repo_id']}/commit/1"}
        )


def test_upload_as_a_data_set(store, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    for words in ((), ("--license", "CC-BY-4.0"), ("--attribution", "someone")):
        assert publish(store.path, tmp_path / "out", "--push", "me/maps", *words) == 2
        assert "say with --attribution who to credit" in capsys.readouterr().err
    assert Hub.calls == []
    assert publish(store.path, tmp_path / "out", "--push", "me/maps", *SAID) == 0
    assert capsys.readouterr().out.endswith("https://huggingface.co/datasets/me/maps/commit/1\n")
    names = ["README.md", "chips.parquet", "collection.json", "lulc.zarr"]
    assert Hub.calls == [("create", "me/maps", "dataset", True), ("upload", "me/maps", "dataset", names)]
