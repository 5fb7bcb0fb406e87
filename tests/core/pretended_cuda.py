"""A CUDA device that is pretended on a CPU, so that the code paths for GPUs run without one.

Numbers that are said to lie on the device are held in main memory and computed with there, so
that everything runs to its end and the results can be compared with those of a CPU. Every single
operation is checked for what a real device refuses: tensors on two devices (scalars and, as in
reality, indices excepted), a generator of another device, ``.numpy()``, pinning what is not on
the CPU. Calls that make the program wait for the device are written down.

It cannot find what kernels do: numbers, types that one lacks, memory, order between streams. To
torch's own core the device is ``meta``, which a build without CUDA has, so neither autocast nor
several GPUs are pretended. (torch's fake tensors would need the guards of a CUDA build, and cannot
be asked for a number.)
"""

import traceback
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DEVICE = torch.device("cuda", 0)
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}
WAITING = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default,
    aten._unique2.default, aten.bincount.default, aten.repeat_interleave.Tensor,
    aten.equal.default,
}  # fmt: skip
"""Operations whose answer decides what the program does next."""


class OnGPU(torch.Tensor):
    """Numbers in main memory that are said to lie on the device."""

    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers):
        layout = numbers.shape, numbers.stride(), numbers.storage_offset()
        return torch.Tensor._make_wrapper_subclass(
            cls, *layout, dtype=numbers.dtype, device="meta"
        )

    def __init__(self, numbers):
        self.numbers = numbers

    def __repr__(self):
        return f"OnGPU({self.numbers})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {}, waits=[])

    def tolist(self):
        return self.cpu().tolist()

    def untyped_storage(self):
        return self.numbers.untyped_storage()

    def record_stream(self, stream):
        assert isinstance(stream, Stream)


def computed(func, args, kwargs, waits):
    """What ``func`` gives, on the device where an argument is or where it is asked for."""
    tensors = []
    mapped(lambda x: tensors.append(x) if isinstance(x, torch.Tensor) else None, (args, kwargs))
    there = [x for x in tensors if isinstance(x, OnGPU)]
    assert not any(x.is_meta for x in tensors), f"{func}: {tensors} has no numbers"
    if func in (aten.is_pinned.default, aten._pin_memory.default):
        return pinned(func, args[0])
    check(func, args, tensors, there)
    if waiting(func, args, kwargs, there):
        waits.append(f"{func} at {place_in_code()}")
    wanted = kwargs.get("device")
    on_gpu = bool(there) if wanted is None else wanted.type != "cpu"
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    plain_args, plain_kwargs = mapped(
        lambda x: x.numbers if isinstance(x, OnGPU) else x, (args, kwargs)
    )
    found = func(*plain_args, **plain_kwargs)
    known = {id(x.numbers): x for x in there} | {id(x): x for x in tensors}

    def placed(x):
        if not isinstance(x, torch.Tensor) or id(x) in known or not on_gpu:
            return known.get(id(x), x)
        with torch.inference_mode(torch.is_inference_mode_enabled() and x.is_inference()):
            return OnGPU(x)

    return mapped(placed, found)


def mapped(change, value):
    """The value with every part of it changed; torch's own ``tree_map`` takes half of the time."""
    if isinstance(value, list | tuple):
        return type(value)([mapped(change, part) for part in value])
    if isinstance(value, dict):
        return {name: mapped(change, part) for name, part in value.items()}
    return change(value)


def pinned(func, tensor):
    if func is aten.is_pinned.default:
        return getattr(tensor, "pinned", False)
    assert not isinstance(tensor, OnGPU), "cannot pin: only dense CPU tensors can be pinned"
    found = tensor.clone()
    found.pinned = True
    return found


def check(func, args, tensors, there):
    """Refuse what CUDA refuses: another tensor than a scalar, or an index, on the CPU."""
    if not there or func in COPIES:
        return
    if func in INDEXED:
        tensors = [x for x in (args[0], *args[2:]) if isinstance(x, torch.Tensor)]
        if not isinstance(args[0], OnGPU):
            raise RuntimeError(f"{func}: indices should be either on cpu or on the same device")
    if any(x.ndim and not isinstance(x, OnGPU) for x in tensors):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device")


def waiting(func, args, kwargs, there):
    """Whether the program stands still until the device has done all it was given."""
    if func is aten._to_copy.default and kwargs.get("device") is not None:
        came, goes = isinstance(args[0], OnGPU), kwargs["device"].type != "cpu"
        behind = kwargs.get("non_blocking") and getattr(args[0], "pinned", False)
        return came != goes and not behind
    if func is aten.copy_.default:
        return isinstance(args[0], OnGPU) != isinstance(args[1], OnGPU)
    if func in INDEXED and there:
        chosen = [x for x in args[1] if x is not None]
        return any(x.dtype is torch.bool or not isinstance(x, OnGPU) for x in chosen)
    return bool(there) and func in WAITING


def place_in_code():
    """The innermost line of ours that is being run, as ``guidance.py:33``."""
    for frame, line in traceback.walk_stack(None):
        name = Path(frame.f_code.co_filename)
        if "site-packages" not in name.parts and name != Path(__file__):
            return f"{name.name}:{line}"
    return "nowhere"


class Operations(TorchDispatchMode):
    """Sees every operation, those that make tensors included."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        implicit = "CompositeImplicitAutograd"
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), implicit):
            with self:  # under inference mode torch leaves these whole
                found = func.decompose(*args, **(kwargs or {}))
            if found is not NotImplemented:
                return found
        return computed(func, args, kwargs or {}, self.waits)


class Calls(TorchFunctionMode):
    """Sees what is called from Python, for what torch's core would decide by the device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        args = tuple(numbered(x) for x in args)
        kwargs = {name: numbered(x) for name, x in (kwargs or {}).items()}
        first = args[0] if args else None
        if kwargs.get("generator") is not None:
            device = kwargs.get("device", getattr(first, "device", None)) or torch.device("cpu")
            assert kwargs["generator"].device.type == torch.device(device).type
        if func == SET_DATA and isinstance(args[1], OnGPU):
            new = args[1].detach()
            if isinstance(first, torch.nn.Parameter):
                new = torch.nn.Parameter(new, first.requires_grad)
            return torch.utils.swap_tensors(first, new)
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return torch.tensor(*args, **{**kwargs, "device": None}).to(DEVICE)
        if isinstance(first, OnGPU) and func is torch.Tensor.new_tensor:
            return torch.tensor(args[1], **{"dtype": first.dtype, **kwargs}).to(DEVICE)
        if isinstance(first, OnGPU) and func in (torch.Tensor.__getitem__, SET_ITEM):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            index = tuple(torch.tensor(i).to(DEVICE) if isinstance(i, list) else i for i in index)
            args = (first, index, *args[2:])
        return func(*args, **kwargs)


SET_DATA, SET_ITEM = torch.Tensor.data.__set__, torch.Tensor.__setitem__


def numbered(x):
    """The device by its number, where it is named without one."""
    plain = isinstance(x, str | torch.device) and str(x) == "cuda"
    return DEVICE if plain else x


class Generator(torch.Generator):
    """Numbers of the CPU's generator, for the device it is asked for."""

    def __new__(cls, device="cpu"):
        self = super().__new__(cls, "cpu")
        self.place = torch.device(device)
        return self

    device = property(lambda self: self.place)


class Stream:
    """Everything is done at once, so there is nothing to wait for."""

    def __init__(self, device=None):
        self.device = device

    def wait_stream(self, stream):
        assert isinstance(stream, Stream)

    def wait_event(self, event):
        assert isinstance(event, Event)


class Event(torch.cuda.Event):
    """A moment, each a millisecond after the one before."""

    def __new__(cls, **_):
        return object.__new__(cls)

    def __init__(self, *, enable_timing=False):
        self.timed = enable_timing

    def record(self, stream=None):
        assert stream is None or isinstance(stream, Stream)

    def synchronize(self):
        pass

    def elapsed_time(self, later):
        assert self.timed
        assert later.timed
        return 1.0


NAMES = {
    "_lazy_init": lambda: None,
    "current_device": lambda: 0,
    "current_stream": Stream,
    "device_count": lambda: 1,
    "Event": Event,
    "get_device_name": lambda device=None: "NVIDIA Pretended",
    "is_available": lambda: True,
    "is_bf16_supported": lambda including_emulation=True: True,
    "set_device": lambda device: None,
    "Stream": Stream,
    "stream": lambda stream: nullcontext(),
}


@contextmanager
def pretended_cuda():
    """Pretend a GPU for as long as the block lasts; the list of waits, each with its place."""
    if torch.backends.cuda.is_built():
        pytest.skip("this torch is built for CUDA: tests that need a GPU do instead")
    waits = []
    with ExitStack() as stack:
        stack.callback(forget_accelerator)
        forget_accelerator()
        stack.enter_context(patch.multiple(torch.cuda, **NAMES))
        stack.enter_context(patch.object(torch, "Generator", Generator))
        stack.enter_context(Calls())
        stack.enter_context(Operations(waits))
        yield waits


def forget_accelerator():
    """accelerate keeps the device it found first."""
    AcceleratorState._reset_state()
    PartialState._reset_state()
