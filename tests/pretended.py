"""A GPU on a machine that has none: tensors know on which side they are, and graphs are captured and replayed.

The processor computes everything, so results can be compared. Checked is what a GPU asks of a program: that operations
get nothing but numbers from the host, that what is captured waits for nothing and copies nothing from the host, and
that a replay, which runs no Python, does what the step does. A number that a step reads from Python stays what it was
at the capture; an array that moved is not found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from leec.runtime.backend import TorchBackend

HOST, GPU = torch.device("cpu"), torch.device("cpu", 0)  # two devices to Python, one to torch
ACROSS = torch.Tensor.copy_, torch.Tensor.data.__set__, torch._has_compatible_shallow_copy_type  # take both sides
MAKERS = torch.tensor, torch.as_tensor, torch.from_numpy  # out of what Python has
WHOLE = torch.stack, torch.cat, torch.Tensor.__getitem__, torch.Tensor.__setitem__  # want numbers on their side, too
WAITS = {
    *("_local_scalar_dense", "is_nonzero", "item", "equal", "nonzero", "masked_select", "_unique2", "unique_dim"),
    *("linalg_inv", "linalg_solve", "linalg_cholesky", "linalg_eigh", "_linalg_eigh", "linalg_svd", "_linalg_svd"),
}


class Sides(TorchFunctionMode):
    """Every tensor is on the GPU or on the host, and so is what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[int, tuple[StorageWeakRef, torch.device]] = {}  # by storage, which views share
        self.capturing = False

    def side(self, x: torch.Tensor) -> torch.device | None:
        """None of what autograd made, which passes by no function of Python."""
        reference, side = self.known.get(x.untyped_storage()._cdata, (None, None))
        return side if reference is not None and not reference.expired() else None

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.Tensor.device.__get__, torch.Tensor.is_cuda.__get__):
            side = self.side(args[0]) or HOST
            return side if func == torch.Tensor.device.__get__ else side == GPU
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        sides = {self.side(x) for x in given} - {None}
        wanted = self.wanted(func, args, kwargs)
        self.check(func, given, wanted)
        if func == torch.Tensor.numpy and GPU in sides:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        made = func(*args, **kwargs)
        lands = wanted or (GPU if GPU in sides else HOST if sides or not given else None)
        moves = wanted is not None and (sides - {wanted} or func in MAKERS)
        return self.landed(made, lands, moves) if lands else made

    def wanted(self, func: Callable, args: tuple, kwargs: dict[str, Any]) -> torch.device | None:
        """The side that a call names, if it names one."""
        if func == torch.Tensor.cpu:
            return HOST
        if func == torch.Tensor.to and isinstance(args[1], torch.Tensor):
            return self.side(args[1])
        named = kwargs.get("device", next((a for a in args[1:] if isinstance(a, torch.device)), None))
        return None if named is None else GPU if named == GPU else HOST

    def check(self, func: Callable, given: list[torch.Tensor], wanted: torch.device | None) -> None:
        """Raises where an operation is given arrays of both sides, or a captured one anything of the host."""
        sides = [self.side(x) for x in given]
        if self.capturing:
            made_here = func in MAKERS and GPU not in sides
            copies = wanted == GPU and (made_here or HOST in sides) or func in ACROSS and HOST in sides
            assert not copies, f"{func} copies from the host while a graph is captured"
        if GPU in sides and wanted is None and func not in ACROSS:
            into = given[0] if func.__name__.endswith("_") and not func.__name__.endswith("__") else None
            alone = [x for x, side in zip(given, sides, strict=True) if side == HOST]
            stray = [x for x in alone if x.dim() or func in WHOLE or x is into]
            assert not stray, f"{func} is given tensors of the GPU and of the host"

    def landed(self, made: Any, side: torch.device, moves: Any) -> Any:
        """What was made, on its side; a tensor that came from the other one is a copy."""
        if isinstance(made, tuple | list):
            return type(made)(self.landed(x, side, moves) for x in made) if type(made) in (tuple, list) else made
        if not isinstance(made, torch.Tensor):
            return made
        made = made.clone() if moves else made
        reference = StorageWeakRef(made.untyped_storage())
        self.known[reference.cdata] = reference, side
        return made


class Noting(TorchDispatchMode):
    """Notes down every operation with what it got and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Callable, tuple, dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        counts = name.startswith("index") and any(x.dtype == torch.bool for x in tree_leaves(args[1]) if x is not None)
        assert name not in WAITS and not counts, f"{func} waits while a graph is captured"
        made = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, made))
        return made


class Graph:
    """torch.cuda.CUDAGraph: does again what was noted, and puts what comes of it where it was put then."""

    replays = 0

    def __init__(self) -> None:
        self.notes = Noting()

    def replay(self) -> None:
        Graph.replays += 1
        for func, args, kwargs, made in self.notes.done:
            for place, new in zip(tree_leaves(made), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(place, torch.Tensor) and memory(place) != memory(new):  # else a view or written into
                    place.copy_(new)


def memory(x: torch.Tensor) -> int:
    return x.untyped_storage().data_ptr()


@contextmanager
def a_gpu() -> Iterator[None]:
    """While it lasts, runs with the device "cuda" find one."""
    sides, idle = Sides(), SimpleNamespace(wait_stream=lambda other: None)

    @contextmanager
    def capturing(graph: Graph) -> Iterator[None]:
        sides.capturing = True
        try:
            with graph.notes:
                yield
        finally:
            sides.capturing = False

    Graph.replays = 0
    stands = {
        "Stream": lambda device: idle,
        "current_stream": lambda device: idle,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": Graph,
        "graph": capturing,
    }
    find = TorchBackend.find
    with pytest.MonkeyPatch.context() as patch, sides:
        for name, stand in stands.items():
            patch.setattr(torch.cuda, name, stand)
        patch.setattr(torch, "compile", lambda function: function)
        patch.setattr(TorchBackend, "find", lambda self, device: GPU if device == "cuda" else find(self, device))
        yield
