"""Where arrays live: NumPy arrays, or torch tensors on a device, behind the same functions.

Everything else of the runtime decides on the host, in NumPy, and crosses over here. torch is imported when a
TorchBackend is made, never before.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from leec.runtime import faults

Array = Any  # np.ndarray or torch.Tensor
FLOATS = {"f32": np.float32, "f64": np.float64}
KINDS = {"int": np.int64, "bool": np.bool_, **FLOATS}  # and "float": the width of the run


def backend(name: str, dtype: str = "f32", device: str = "cpu") -> NumpyBackend | TorchBackend:
    """A back end by name. Raises LEE801 without torch, LEE802 without the device, LEE803 for another width."""
    if name == "numpy":
        return NumpyBackend(dtype)
    if name == "torch":
        return TorchBackend(dtype, device)
    raise ValueError(f"no back end is called {name}")


def is_tensor(value: object) -> bool:
    """Whether a value is a torch tensor, without importing torch: if nobody has, there are none."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_array(value: object) -> bool:
    return isinstance(value, np.ndarray | np.generic) or is_tensor(value)


def to_numpy(value: Array) -> np.ndarray:
    """The values on the host; bfloat16, which NumPy lacks, widens to float32, which holds it exactly."""
    if is_tensor(value):
        value = value.detach().cpu()
        return (value.float() if value.dtype.itemsize == 2 and value.is_floating_point() else value).numpy()
    return np.asarray(value)


def copy(value: Array) -> Array:
    """The values as they are now, whatever happens to the array later; on the same device."""
    return value.detach().clone() if is_tensor(value) else np.array(value)


def dtype_name(value: Array) -> str:
    """The name under which both libraries know the element type: "float32", "bfloat16", "int64", "bool"."""
    return str(value.dtype).removeprefix("torch.")


def beside(rows: np.ndarray, array: Array) -> Array:
    """Positions (int64, of the host) where an array lives, so that taking rows by them moves nothing."""
    return sys.modules["torch"].as_tensor(rows, device=array.device) if is_tensor(array) else rows


def take(array: Array, rows: np.ndarray) -> Array:
    """The rows of an array at positions of the host."""
    return array[beside(rows, array)]


class NumpyBackend:
    """Arrays are NumPy arrays, floats of width "f32" or "f64"."""

    name, device = "numpy", "cpu"

    def __init__(self, dtype: str = "f32"):
        if dtype not in FLOATS:
            raise faults.no_width("NumPy", dtype, FLOATS)
        self.dtype = dtype
        self.kinds = {"float": FLOATS[dtype], **KINDS}

    def asarray(self, value: Array, kind: str) -> np.ndarray:
        """An array of a kind: "float" (the width of the run), "f32", "f64", "int" or "bool"."""
        return np.asarray(to_numpy(value), self.kinds[kind], order="C")

    def rebuild(self, value: np.ndarray, dtype: str) -> np.ndarray:
        """An array from a file as this back end's own, of the element type it had when it was saved."""
        return np.array(value, "float32" if dtype in ("bfloat16", "float16") else dtype)

    def at_home(self) -> AbstractContextManager[Any]:
        """While it lasts, arrays that nobody says a place of are made here."""
        return nullcontext()

    def add(self, total: float, value: Array) -> float:
        """A running total of scalars, in float64."""
        return total + float(value)


class TorchBackend:
    """Arrays are torch tensors on one device; "auto" is the GPU where there is one. Floats: f32, f64 or bf16."""

    name = "torch"

    def __init__(self, dtype: str = "f32", device: str = "cpu"):
        try:
            import torch
        except ImportError:
            raise faults.missing_package("PyTorch", "torch", "the torch back end") from None
        floats = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16}
        if dtype not in floats:
            raise faults.no_width("torch", dtype, floats)
        self.torch, self.dtype = torch, dtype
        self.device = self.find(device)
        self.kinds = {"float": floats[dtype], **floats, "int": torch.int64, "bool": torch.bool}

    def find(self, device: str) -> str:
        """The name of a device that is there."""
        here = ["cpu", *(f"cuda:{i}" for i in range(self.torch.cuda.device_count()))]
        wanted = {"auto": here[1:2] or here[:1], "cuda": ["cuda:0"]}.get(device, [device])[0]
        if wanted not in here:
            raise faults.no_device(device, here)
        return wanted

    def asarray(self, value: Array, kind: str) -> Array:
        """A tensor of a kind: "float" (the width of the run), "f32", "f64", "bf16", "int" or "bool"."""
        if isinstance(value, np.ndarray) and not (value.flags.writeable and value.flags.c_contiguous):
            value = value.copy()  # torch shares memory: it must be able to write there, and knows no negative stride
        return self.torch.as_tensor(value, dtype=self.kinds[kind], device=self.device)

    def rebuild(self, value: np.ndarray, dtype: str) -> Array:
        """A tensor from a file, on this back end's device, of the element type it had when it was saved."""
        return self.torch.tensor(value, dtype=getattr(self.torch, dtype), device=self.device)

    def at_home(self) -> AbstractContextManager[Any]:
        """While it lasts, tensors that nobody names a device for are made on this one."""
        return nullcontext() if self.device == "cpu" else self.torch.device(self.device)

    def add(self, total: Array, value: Array) -> Array:
        """A running total of scalars, in float64 on the device, without waiting for it."""
        if not is_tensor(total):
            total = self.torch.tensor(total, dtype=self.torch.float64, device=self.device)
        return total.add_(value.detach() if is_tensor(value) else value)
