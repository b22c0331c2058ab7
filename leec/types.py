"""Types of IR values: tensors of a dtype with dims, and host numbers.

dtype is `float` (the width chosen when compiling), `int` (64 bits), `bool`, or an explicit `f32`, `f64`, `bf16`.
A host number (rank 0, `host` true) is arithmetic on hyperparameters, sizes and step counts alone: it is computed
in Python, floats in 64 bits, and rounded once, where it meets a tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from leec.dims import Dim, parse_dim

FLOATS = ("float", "f32", "f64", "bf16")
DTYPES = (*FLOATS, "int", "bool")


@dataclass(frozen=True)
class TensorType:
    dtype: str
    dims: tuple[Dim, ...] = ()
    host: bool = False

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def size(self) -> Dim:
        """The number of entries."""
        total = Dim.of(1)
        for dim in self.dims:
            total = total * dim
        return total

    @property
    def shown(self) -> str:
        """As a spec writes it: `[n, d]`, `int[n]`."""
        return str(self).removeprefix("float")

    def with_dims(self, *dims: Dim | int) -> TensorType:
        return replace(self, dims=tuple(map(Dim.of, dims)), host=self.host and not dims)

    def with_dtype(self, dtype: str) -> TensorType:
        return replace(self, dtype=dtype)

    def substitute(self, binding: Mapping[str, Dim]) -> TensorType:
        dims = tuple([d.substitute(binding) for d in self.dims])
        return self if dims == self.dims else TensorType(self.dtype, dims, self.host)

    def __str__(self) -> str:
        if self.host:
            return f"host {self.dtype}"
        return f"{self.dtype}[{', '.join(map(str, self.dims))}]"


def tensor(dtype: str, *dims: Dim | int | str) -> TensorType:
    return TensorType(dtype, tuple(map(Dim.of, dims)))


def host(dtype: str) -> TensorType:
    return TensorType(dtype, (), True)


def parse_type(text: str) -> TensorType:
    """The type that `str` printed. Raises ValueError for any other text."""
    text = text.strip()
    if text.startswith("host "):
        return host(text[5:])
    dtype, _, rest = text.partition("[")
    if dtype not in DTYPES or not rest.endswith("]"):
        raise ValueError(f"not a type: {text!r}")
    inner = rest[:-1].strip()
    return TensorType(dtype, tuple(map(parse_dim, inner.split(","))) if inner else ())


class ShapeMismatch(Exception):
    """A type rule met operands that do not fit. `dims` are the two that differ, where there are two."""

    def __init__(self, message: str, dims: tuple[Dim, Dim] | None = None):
        super().__init__(message)
        self.dims = dims


def join_dtypes(*types: TensorType) -> str:
    """The dtype of arithmetic: int with float gives the float (R17); two float widths give the wider."""
    dtypes = {t.dtype for t in types if not t.host} or {t.dtype for t in types}
    floats = [d for d in ("f64", "f32", "float", "bf16") if d in dtypes]
    if floats:
        return floats[0]
    if any(t.dtype in FLOATS for t in types):
        return "float"
    return "int" if "int" in dtypes or any(t.dtype == "int" for t in types) else "bool"


def broadcast(*types: TensorType) -> tuple[Dim, ...]:
    """The dims of an elementwise result: aligned at the right; a literal 1 or a missing leading dim stretches (R19)."""
    rank = max(t.rank for t in types)
    result = []
    for axis in range(-rank, 0):
        found: Dim | None = None
        for t in types:
            dim = t.dims[axis] if -axis <= t.rank else None
            if dim is None or dim == 1 or dim == found:
                continue
            if found is not None:
                raise ShapeMismatch(f"{found} is not {dim}", (found, dim))
            found = dim
        result.append(found if found is not None else Dim.of(1))
    return tuple(result)
