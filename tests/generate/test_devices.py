"""Arithmetic and devices of a run, as far as they can be asked for where there is no GPU."""

from types import SimpleNamespace

import lightning
import pytest
import torch

from generate.cli.main import main
from generate.devices import make_trainer, planned_device, settled_precision
from generate.errors import OptionsError
from generate.requests import DeviceRequest
from terramind_weights.tf32 import float32_products, has_tf32

pytestmark = pytest.mark.slow

CPU = DeviceRequest(accelerator="cpu")


def allowed():
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture
def put_back():
    products, convolutions = allowed()
    yield
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("tf32", ("high", True)), ("32-true", ("highest", False)), ("bf16-mixed", ("highest", False))],
)
@pytest.mark.parametrize("before", [("medium", False), ("highest", True)])
@pytest.mark.usefixtures("put_back")
def test_only_tf32_rounds_products_and_what_was_set_before_returns(precision, expected, before):
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
    with pytest.raises(KeyboardInterrupt), float32_products(precision):  # noqa: PT012 - both belong inside
        assert allowed() == expected
        raise KeyboardInterrupt
    assert allowed() == before


@pytest.mark.usefixtures("put_back")
def test_what_torch_cannot_tell_is_float32():
    """As after a module of a user's own that lets GPUs take TF32 by torch's older switch."""
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.matmul.allow_tf32 = False
    with pytest.raises(RuntimeError, match="mix of the legacy and new"):
        torch.get_float32_matmul_precision()
    with float32_products("32-true"):
        assert allowed() == ("highest", False)
    assert allowed()[0] == "highest"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_tf32_is_the_arithmetic_of_ampere_and_later(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_tf32(torch.device("cuda")) is expected
    assert not has_tf32(torch.device("cpu"))


def test_a_device_without_tf32_refuses_it():
    with pytest.raises(
        OptionsError,
        match="this run is on cpu; use --precision 32-true",
    ):
        make_trainer(DeviceRequest("cpu", precision="tf32"))


def test_a_device_without_float64_is_refused(monkeypatch):
    # in place of Lightning's trainer on an Apple device, which is not here
    strategy = SimpleNamespace(root_device=torch.device("mps"))
    monkeypatch.setattr(lightning, "Trainer", lambda **options: SimpleNamespace(strategy=strategy))
    with pytest.raises(
        OptionsError, match="MPS has no float64, in which tokens are drawn; use --accelerator cpu"
    ):
        make_trainer(CPU)


def test_the_spec_names_the_arithmetic_in_use():
    assert settled_precision(DeviceRequest("cpu", precision="tf32"), make_trainer(CPU)) == "tf32"
    assert settled_precision(CPU, make_trainer(CPU)) == "32-true"


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks what is planned where there is no GPU")
def test_a_run_on_a_gpu_is_planned_where_there_is_none(command, tmp_path, capsys):
    assert planned_device(DeviceRequest("gpu", precision="tf32")) == ("tf32", "cuda")
    gpu = ("--accelerator", "gpu", "--devices", "4", "--precision", "tf32")
    assert main(command(tmp_path / "s", *gpu, "--dry-run")) == 0
    assert "→ LULC by demo on cuda" in " ".join(capsys.readouterr().err.split())
    assert main(command(tmp_path / "s", *gpu)) == 2
    assert "--accelerator gpu --devices 4 --precision tf32: " in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
