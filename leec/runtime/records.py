"""Records and lists of a procedure: values by field name, and lists of equal things stacked into arrays (R21)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from leec.runtime import faults
from leec.runtime.backend import Array, NumpyBackend, TorchBackend, is_array, is_tensor


class Record:
    """Values by name, `b.reward`; unpacking goes in the order of the names."""

    def __init__(self, **values: Any):
        self.__dict__.update(values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.__dict__.values())

    def __len__(self) -> int:
        return len(self.__dict__)

    def __getitem__(self, place: int) -> Any:
        return list(self)[place]

    def __repr__(self) -> str:
        return f"({', '.join(f'{name} = {value!r}' for name, value in self.__dict__.items())})"

    def _asdict(self) -> dict[str, Any]:
        return dict(self.__dict__)


def stack(items: Sequence[Any], place: NumpyBackend | TorchBackend) -> Any:
    """Arrays over a new first axis: of numbers, of arrays of one shape, of the parts of tuples and records.

    Raises LEE733 for an empty list, LEE734 for arrays of different shapes.
    """
    if not items:
        raise faults.nothing_to_stack()
    first = items[0]
    if isinstance(first, Record):
        return Record(**{name: stack([getattr(item, name) for item in items], place) for name in first._asdict()})
    if isinstance(first, tuple):
        return tuple(stack(part, place) for part in zip(*items, strict=True))
    if not is_array(first):
        kind = "bool" if isinstance(first, bool) else "int" if isinstance(first, int) else "float"
        return place.asarray(np.array([float(x) if kind == "float" else x for x in items]), kind)
    return stacked(items, place)


def stacked(items: Sequence[Array | float], place: NumpyBackend | TorchBackend) -> Array:
    """Arrays of one shape; numbers of the host among them count as arrays without axes."""
    first = items[0]
    shapes = [tuple(getattr(x, "shape", ())) for x in items]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise faults.uneven_list(number, shape, shapes[0])
    if is_tensor(first):
        return place.torch.stack([x if is_tensor(x) else place.torch.tensor(x).to(first) for x in items])
    return np.stack(items).astype(first.dtype, copy=False)
