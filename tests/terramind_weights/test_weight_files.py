import contextlib
import http.server
import os
import subprocess
import sys
import threading

import pytest
import torch
from safetensors.torch import save_file

from terramind_weights.catalog import GeneratorSource, WeightFile
from terramind_weights.weight_files import WeightsError, locate, read_state
from tests.conftest import ROOT


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


class Hub(http.server.BaseHTTPRequestHandler):
    """One file as Hugging Face serves it; `requests` lists what was asked about the file."""

    requests: list[str]
    content = b"weights"

    def note(self):
        if self.path.endswith(".pt"):  # it also asks which other services there are
            self.requests.append(self.command)

    def do_HEAD(self):
        self.note()
        self.send_response(200)
        self.send_header("ETag", '"abc"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *_):
        pass


class Silent(Hub):
    """A server that closes every connection without an answer."""

    def do_HEAD(self):
        self.note()
        self.close_connection = True

    do_GET = do_HEAD  # noqa: N815 - the name that the server looks for


@contextlib.contextmanager
def served(handler):
    """Address of a server, and the requests it got."""
    made = type("Made", (handler,), {"requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}", made.requests
        server.shutdown()


def locate_at(address, cache, **more):
    """Runs `locate` in a process of its own: huggingface_hub reads its environment on import."""
    code = (
        "import sys\nfrom terramind_weights.catalog import PUBLISHED\n"
        "from terramind_weights.weight_files import locate\n"
        "source = PUBLISHED['terramind_v1_tiny']\n"
        "print(locate(source.network, source, None).read_bytes(), 'torch' in sys.modules)"
    )
    env = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "PYTHONPATH": str(ROOT), **more}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_file_is_downloaded_once_and_then_comes_from_the_cache(tmp_path):
    with served(Hub) as (address, requests):
        for _ in range(2):
            done = locate_at(address, tmp_path)
            assert done.stdout == "b'weights' False\n", done.stderr
        assert requests.count("GET") == 1
        asked = len(requests)
        assert locate_at(address, tmp_path, HF_HUB_OFFLINE="1").stdout == "b'weights' False\n"
        assert len(requests) == asked


@pytest.mark.slow
def test_a_hub_that_does_not_answer_is_asked_once(tmp_path):
    with served(Silent) as (address, requests):
        done = locate_at(address, tmp_path)
    assert requests == ["HEAD"]
    message = done.stderr.splitlines()[-1]
    assert "WeightsError: TerraMind_v1_tiny.pt is not in the Hugging Face cache (" in message
    assert "hf download ibm-esa-geospatial/TerraMind-1.0-tiny TerraMind_v1_tiny.pt" in message


@pytest.mark.slow
def test_nothing_is_asked_offline(tmp_path):
    with served(Hub) as (address, requests):
        done = locate_at(address, tmp_path, HF_HUB_OFFLINE="1")
    assert "is not in the Hugging Face cache" in done.stderr.splitlines()[-1]
    assert requests == []
