"""Sorting along an axis: stable, of equals the lowest position first, in either direction (R25)."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.shape import Slices
from leec.ops.table import REQUIRED, Op, border, declare, example
from leec.types import TensorType

ORDER = {"axis": REQUIRED, "descending": False}
EXAMPLES = tuple(
    example(f"{dtype}[a, b]", axis=axis, descending=descending)
    for dtype, axis, descending in (("float", 1, False), ("float", 0, True), ("int", 1, False), ("int", 1, True))
)


def _sort_gradient(b, g, out, x, axis, descending):
    """Through the permutation: entry i of x came to the place where the order of the order has i."""
    order = b.argsort(x, axis=axis, descending=descending)
    return (b.take_along(g, b.argsort(order, axis=axis), axis=axis),)


# fmt: off
declare(Op("sort", ("x",), "the entries along an axis in ascending order, or `descending`",
           lambda x, axis, descending: x, _sort_gradient,
           lambda types, params: "-np.sort(-x, axis=axis)" if params["descending"] else "np.sort(x, axis=axis)",
           "torch.sort(x, dim=axis, descending=descending, stable=True).values",
           params=ORDER, operands="number", surface="sort", flops=10, examples=EXAMPLES, equation=r"\operatorname{sort} x"))
declare(Op("argsort", ("x",), "the positions along an axis in the order of their entries; equals stay in order",
           lambda x, axis, descending: TensorType("int", x.dims), None,
           lambda types, params: f"np.argsort({'-x' if params['descending'] else 'x'}, axis=axis, kind='stable')",
           "torch.argsort(x, dim=axis, descending=descending, stable=True)",
           params=ORDER, operands="number", surface="argsort", flops=10, examples=EXAMPLES, equation=r"\operatorname{argsort} x",
           borders=(border([2, 1, 2, 1], axis=0, value=[1, 3, 0, 2]),
                    border([2, 1, 2, 1], axis=0, descending=True, value=[0, 2, 1, 3]),
                    border([2.0, 1.0, 2.0, 1.0], axis=0, descending=True, value=[0, 2, 1, 3]))))
# fmt: on


def top_k(b, x, k: Dim | int, axis: int, smallest: bool = False):
    """The k largest entries along an axis, largest first, of equals the lowest position, and their positions."""
    order = b.argsort(x, axis=axis, descending=not smallest)
    places = b.slice(order, slices=Slices.whole(x.type.dims).at(axis, Dim.of(0), Dim.of(k)))
    return b.take_along(x, places, axis=axis), places
