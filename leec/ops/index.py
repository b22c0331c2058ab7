"""Reading and adding at computed positions: `gather` and `scatter_add`, each the adjoint of the other.

`axes` are the axes of x that integer arrays index, in order; the arrays broadcast against each other. In the result of a
gather their dims come first, then the axes of x that are left. Positions never wrap: callers keep them inside.
"""

from __future__ import annotations

from leec.ops.table import REQUIRED, Op, declare
from leec.types import ShapeMismatch, TensorType, broadcast


def _gather_type(x: TensorType, *indices: TensorType, axes) -> TensorType:
    if any(i.dtype != "int" for i in indices) or len(indices) != len(axes):
        raise ShapeMismatch("gather needs one integer array for each of its axes")
    return TensorType(x.dtype, (*broadcast(*indices), *(d for a, d in enumerate(x.dims) if a not in axes)))


def _gather_gradient(b, g, out, x, *indices, axes):
    return b.scatter_add(g, *indices, dims=x.type.dims, axes=axes), *(None for _ in indices)


def _order(axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (*axes, *(a for a in range(rank) if a not in axes))


def _names(count: int) -> str:
    """The starred arguments as columns call them: the first is x1."""
    return ", ".join(f"x{i + 1}" for i in range(count))


def _gather_column(turn: str):
    def column(types, params):
        axes = params["axes"]
        leading = axes == tuple(range(len(axes)))
        return f"x{'' if leading else turn}[{_names(len(axes))}]", {"order": _order(axes, types[0].rank)}

    return column


declare(Op("gather", ("x", "*indices"), "entries at computed positions of some axes", _gather_type, _gather_gradient,
           _gather_column(".transpose(order)"), _gather_column(".permute(order)"), params={"axes": REQUIRED}, flops=0, facts={"picks": True}))  # fmt: skip


def _scatter_gradient(b, g, out, x, *indices, dims, axes):
    return b.gather(g, *indices, axes=axes), *(None for _ in indices)


def _scatter_column(turn: str):
    def column(types, params):
        order = _order(params["axes"], len(params["dims"]))
        text = f"scatter_add(x, ({_names(len(params['axes']))},), moved)"
        moved = tuple(params["dims"][a] for a in order)
        back = tuple(order.index(a) for a in range(len(order)))
        return text if order == tuple(range(len(order))) else f"{text}{turn}", {"moved": moved, "back": back}

    return column


declare(Op("scatter_add", ("x", "*indices"), "zeros of the given dims with the entries of x added at computed positions",
           lambda x, *indices, dims, axes: x.with_dims(*dims), _scatter_gradient,
           _scatter_column(".transpose(back)"), _scatter_column(".permute(back)"),
           params={"dims": REQUIRED, "axes": REQUIRED}, flops=1, facts={"support": ("scatter_add",)}))  # fmt: skip
