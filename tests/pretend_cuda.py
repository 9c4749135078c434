"""A CUDA device made of the CPU: tensors say that they are on `cuda`, compute on the CPU, and mix with no other.

What a test sees under `PretendCuda` is what it would see on a GPU: a tensor left on the CPU fails in the first
operation that meets one of the device, autocast takes CUDA's rules, and whatever makes the program wait for the
device is counted. Results are the CPU's, so that they can be compared.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_map

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
aten = torch.ops.aten

COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
"""Operations whose indices may be on the CPU where the indexed tensor is on the device."""


class OnDevice(Tensor):
    """A tensor that says it is on the device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=CUDA,
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"OnDevice({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: a tensor of the pretended device met its end outside `pretended_cuda`")


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnDevice) else value


class PretendCuda(TorchDispatchMode):
    """Runs what is asked of the device on the CPU.

    Attributes:
        waits: How often, by operation, the program waited for the device: blocking copies to the CPU, values read,
            and events waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        with self:  # inference mode hands over whole operations such as `linear` and `to`: take their parts
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        tensors = [
            leaf for leaf in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
        ]
        ours = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
        target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        on_device = target.type == "cuda" if target else bool(ours)
        if func is aten.copy_.default:
            on_device = isinstance(args[0], OnDevice)
        elif func not in COPIES:
            _check_together(func, args, tensors, ours)
        if ours and (not on_device or func is aten._local_scalar_dense.default):
            self.waits[func.overloadpacket.__name__] += not kwargs.get("non_blocking", False)
        if func is aten.is_pinned.default:
            return False
        if func is aten._pin_memory.default:
            return args[0].clone()
        if func is aten._fused_sdp_choice.default:
            return 0  # plain mathematics: the others are kernels of one kind of device
        if target is not None:
            kwargs["device"] = CPU
        if not on_device and not ours:
            return func(*args, **kwargs)
        with _autograd() if ours else contextlib.nullcontext():
            out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        if not on_device:
            return args[0] if func is aten.copy_.default else out
        wrapped = tree_map(lambda leaf: OnDevice(leaf) if isinstance(leaf, Tensor) else leaf, out)
        return return_and_correct_aliasing(func, args, kwargs, wrapped) if ours else wrapped


class PretendEvent:
    """An event of the device; waiting for it is counted like any other wait."""

    def __init__(self, device: torch.device) -> None:
        assert device.type == "cuda"
        self.recorded = False

    def record(self) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded
        torch.utils._python_dispatch._get_current_dispatch_mode().waits["event"] += 1


def _autograd() -> Any:
    """Lets autograd watch what is computed, one floor below that of the device, which needs a driver to run."""
    if torch.is_inference_mode_enabled():
        return contextlib.nullcontext()
    return torch.overrides.enable_reentrant_dispatch()


def watch(parameters: Iterable[Tensor]) -> None:
    """Makes what parameters hold leaves of the graph that `backward` runs through."""
    for parameter in parameters:
        parameter.held.requires_grad_()


def backward(loss: OnDevice, parameters: Iterable[Tensor]) -> None:
    """As `loss.backward()`, which on CUDA asks the driver for streams."""
    loss.held.backward()
    for parameter in parameters:
        if parameter.held.grad is not None:
            parameter.grad = OnDevice(parameter.held.grad)
            parameter.held.requires_grad_(requires_grad=False)  # the optimizer writes to it


def _check_together(func: Any, args: Any, tensors: list[Tensor], ours: list[OnDevice]) -> None:
    """As CUDA does: single numbers may come from the CPU, and so may indices of a tensor on the device."""
    if not ours:
        return
    indexed = func in INDEXED
    if indexed and isinstance(args[0], OnDevice):
        tensors = [argument for argument in args if isinstance(argument, Tensor)]
    strangers = [tensor for tensor in tensors if not isinstance(tensor, OnDevice) and tensor.dim()]
    if strangers or (indexed and not isinstance(args[0], OnDevice)):
        raise RuntimeError(f"{func}: expected all tensors on one device, found cuda:0 and cpu")


@contextlib.contextmanager
def pretended_cuda() -> Iterator[PretendCuda]:
    """The device, for as long as the block runs."""
    torch._C._ensureCUDADeviceGuardSet()
    no_cudnn = torch.backends.cudnn.flags(enabled=False)  # its kernels are of a real device only
    with pytest.MonkeyPatch.context() as patch, no_cudnn, PretendCuda() as mode:
        patch.setattr(torch.__future__, "_swap_module_params_on_conversion", True)  # a module's, in place
        patch.setattr(torch, "Event", PretendEvent)
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "is_available", lambda: True)  # otherwise autocast turns itself off
        patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(…, device=…)` is moved where modes see it
        try:
            yield mode
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
