import os

import pytest
import torch
from safetensors.torch import save_file

from terramind_weights.catalog import GeneratorSource, WeightFile
from terramind_weights.files import WeightsError, locate, read_state


class Trap:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("content", ["damaged", "trap", "nested"])
def test_files_that_are_no_flat_state_dict_are_refused(tmp_path, content):
    path = tmp_path / "file.pt"
    made = {"trap": Trap(), "nested": {"model": {"a": torch.ones(1)}}}
    path.write_bytes(b"PK\x03\x04 not a zip") if content == "damaged" else torch.save(made[content], path)
    with pytest.raises(WeightsError, match=r"file.pt: (cannot be read|expected a flat state dict)"):
        read_state(path)


def test_a_published_file_that_is_cut_short_says_how_much_there_is(tmp_path):
    path = tmp_path / "TerraMind_v1_tiny.pt"
    torch.save({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        WeightsError, match=r"it holds 1,000 of the published 211,873,402 bytes; copy the file"
    ):
        read_state(path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "file.pt").touch()
    with pytest.raises(WeightsError, match=r"file.pt: cannot be read \(\w+"):
        read_state(tmp_path / "file.pt")


def test_safetensors_are_read(tmp_path):
    save_file({"a": torch.arange(3.0)}, tmp_path / "file.safetensors")
    assert torch.equal(read_state(tmp_path / "file.safetensors")["a"], torch.arange(3.0))


def test_files_that_ship_with_a_package_are_found_there(tmp_path):
    file = WeightFile("w.safetensors")
    source = GeneratorSource("x", "x_generate", file, {}, folder=tmp_path)
    with pytest.raises(WeightsError, match="ships with its package; reinstall that"):
        locate(file, source, None)
    (tmp_path / "w.safetensors").touch()
    assert locate(file, source, None) == tmp_path / "w.safetensors"
