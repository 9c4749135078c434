"""Tokens alone, and the maps made of them later: the same bits as a run that makes both at once."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from augment_store.errors import StoreError
from augment_store.integrity.verify import verify_store
from augment_store.store.history import command_line
from augment_store.store.schema import ChipShape, State, map_arrays
from augment_store.store.writer import AugmentStore
from generate.cli.main import main
from generate.decode import _prepare_store
from generate.model.map_decoder import MapDecoder
from tests.generate.conftest import IDS, assert_equal_stores
from tests.worlds import make_spec, make_store, write_folder_chips

pytestmark = pytest.mark.slow

SPEC = ("--samples", "2", "--probabilities", "--network-batch", "3")


@pytest.fixture(scope="module")
def tokens(command, tmp_path_factory):
    """The store of a run that kept tokens alone."""
    store = tmp_path_factory.mktemp("tokens") / "store.zarr"
    assert main(command(store, *SPEC, "--arrays", "tokens")) == 0
    return store


def decode(tokens, store, *more):
    return main(["decode", "--tokens", str(tokens), "--store", str(store), "--accelerator", "cpu", *more])


def test_tokens_alone_are_those_of_a_whole_run(tokens, reference, capsys):
    store, whole = AugmentStore.open(tokens), AugmentStore.open(reference)
    assert store.map_names == ("tokens", "token_probability")
    assert store.chips_in(State.COMPLETE) == IDS
    assert list(verify_store(store)) == []
    assert store.fingerprint != whole.fingerprint
    for name in (*store.map_names, "input_digest", "timestep_source"):
        np.testing.assert_array_equal(store.values(name), whole.values(name), err_msg=name)
    with pytest.raises(StoreError, match=r"no array 'lulc'.*make the maps with tim-generate decode --tokens"):
        store.read(IDS[0], "lulc")


def test_a_nyc_chip_takes_as_many_bytes_as_its_tokens_say():
    """256 px are 16 × 16 tokens of two bytes and a probability of four, at each of four timesteps."""
    spec, shape = make_spec(tokens_only=True), ChipShape(4, 256, 256)
    sizes = {one.name: np.prod(one.shape) * np.dtype(one.dtype).itemsize for one in map_arrays(spec, shape)}
    assert sizes == {"tokens": 4 * 256 * 2, "token_probability": 4 * 256 * 4}


def test_a_spec_with_maps_is_written_as_before_there_was_the_choice():
    assert "tokens_only" not in make_spec().to_dict()
    assert make_spec().fingerprint != make_spec(tokens_only=True).fingerprint
    assert type(make_spec()).from_dict(make_spec(tokens_only=True).to_dict()).tokens_only


def test_the_decoded_store_is_that_of_a_whole_run(tokens, reference, tmp_path, monkeypatch):
    words = ["--tokens", str(tokens), "--store", str(tmp_path / "s"), "--accelerator", "cpu"]
    assert decode(tokens, tmp_path / "s") == 0
    assert_equal_stores(tmp_path / "s", reference)
    store = AugmentStore.open(tmp_path / "s")
    generated, decoded = store.history.splitlines()
    assert "--arrays tokens" in generated
    assert decoded.endswith(command_line("generate", ["decode", *words]))


def test_decoding_resumes_where_it_stopped(tokens, reference, tmp_path, monkeypatch, capsys):
    decoded = MapDecoder.generate

    def stop(self, images, owners):
        if stopped:
            raise KeyboardInterrupt
        stopped.append(True)
        return decoded(self, images, owners)

    stopped: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(MapDecoder, "generate", stop)
        assert decode(tokens, tmp_path / "s") == 130
    capsys.readouterr()
    assert decode(tokens, tmp_path / "s") == 0
    assert "0 failed" in capsys.readouterr().err
    assert_equal_stores(tmp_path / "s", reference)
    assert decode(tokens, tmp_path / "s") == 0
    assert "0 done, 6 skipped, 0 failed" in capsys.readouterr().err


def test_maps_of_tokens_that_were_generated_again_from_other_inputs_are_made_again(tmp_path):
    maps = make_store(tmp_path / "maps", 3)
    kept, changed, pending = maps.chip_ids
    other = {changed: {"input_digest": np.zeros((1, 16), np.uint8)}}
    tokens = make_store(tmp_path / "tokens", 3, given=other, pending=[pending])
    assert _prepare_store(tokens, SimpleNamespace(store=maps.path), make_spec(), "decode") == 1
    found = AugmentStore.open(maps.path)
    # what is pending in the store of tokens has maps of the inputs that it was last complete with
    assert found.chips_in(State.COMPLETE) == (kept, pending)
    assert found.chips_in(State.PENDING) == (changed,)


def test_tokens_and_maps_never_mix(tokens, reference, command, tmp_path, capsys):
    assert main(command(tokens, *SPEC)) == 2
    assert "tokens_only: True ≠ (absent)" in capsys.readouterr().err
    assert decode(tokens, tokens) == 2
    assert "tokens_only: True ≠ (absent)" in capsys.readouterr().err
    assert decode(reference, tmp_path / "s") == 2
    assert f"{reference}: holds its maps already" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_other_weights_or_versions_would_make_other_maps(tokens, tmp_path, capsys, monkeypatch):
    assert decode(tokens, tmp_path / "s", "--weights", "hub") == 2  # the demo's own weights
    assert "tokenizer_sha256: " in capsys.readouterr().err
    versions = {**AugmentStore.open(tokens).spec.versions, "torch": "1.0"}
    monkeypatch.setattr("generate.decode.installed_versions", lambda: versions)
    assert decode(tokens, tmp_path / "s") == 2
    told = capsys.readouterr().err
    assert f"versions.torch: {torch.__version__.partition('+')[0]}" in told
    assert "Decode with the weights, the kind of device and the versions" in told
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("size", "more", "message"),
    [
        (32, ("--window", "32"), "maps blended of windows have no tokens to keep; leave out --window"),
        ((32, 48), (), "chips of 32 × 48 px are padded for LULC"),
        (48, ("--modality", "NDVI"), "cut square chips of a multiple of 32 px"),
    ],
)
def test_tokens_that_could_not_be_decoded_alike_are_refused(command, tmp_path, capsys, size, more, message):
    chips = write_folder_chips(tmp_path / "chips", ["a", "b"], size=size)
    assert main(command(tmp_path / "s", "--chips", str(chips), "--arrays", "tokens", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_a_padded_square_keeps_all_of_its_tokens(command, tmp_path):
    """40 px are three tokens a side, the last of them half padding."""
    chips = str(write_folder_chips(tmp_path / "chips", ["a", "b"], size=40))
    assert main(command(tmp_path / "whole", "--chips", chips)) == 0
    assert main(command(tmp_path / "tokens", "--chips", chips, "--arrays", "tokens")) == 0
    assert decode(tmp_path / "tokens", tmp_path / "decoded") == 0
    assert_equal_stores(tmp_path / "decoded", tmp_path / "whole")
