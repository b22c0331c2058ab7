"""Running sums, products and extremes along an axis, and the linear recurrence that their gradients need."""

from __future__ import annotations

import math

from leec.dims import Dim
from leec.ops.shape import Slices
from leec.ops.table import REQUIRED, Op, border, declare, example
from leec.types import ShapeMismatch, TensorType

RUNNING = {"axis": REQUIRED, "reverse": False, "exclusive": False}
EXAMPLES = tuple(
    example(f"{dtype}[a, b]", axis=axis, reverse=reverse, exclusive=exclusive)
    for dtype, axis, reverse, exclusive in (
        ("float", 1, False, False), ("float", 0, True, False), ("float", 1, False, True), ("float", 0, True, True),
        ("int", 1, False, False), ("int", 1, True, True),
    )
)  # fmt: skip


def shifted(b, x, axis: int, reverse: bool):
    """x one place further along an axis, towards the front if `reverse`, a 0 in the place that gets free."""
    size = x.type.dims[axis]
    start, stop = (Dim.of(1), size) if reverse else (Dim.of(0), size - 1)
    part = b.slice(x, slices=Slices.whole(x.type.dims).at(axis, start, stop))
    free = (Dim.of(0), Dim.of(1)) if reverse else (Dim.of(1), Dim.of(0))
    none = (Dim.of(0), Dim.of(0))
    return b.pad(part, widths=tuple(free if i == axis else none for i in range(x.type.rank)), value=0.0)


def _columns(name: str):
    """(NumPy, torch): the library's own where it has what is asked for."""

    def numpy(types, params):
        plain = not params["reverse"] and not params["exclusive"]
        ufunc = {"cumsum": "np.add", "cumprod": "np.multiply"}[name]
        return (
            f"np.{name}(x, axis=axis)" if plain else f"cumulate({ufunc}, x, axis, reverse=reverse, exclusive=exclusive)"
        )

    def torch(types, params):
        plain = not params["reverse"] and not params["exclusive"]
        first = {"cumsum": 0, "cumprod": 1}[name]
        return (
            f"x.{name}(dim=axis)"
            if plain
            else f"cumulate(torch.{name}, {first}, x, axis, reverse=reverse, exclusive=exclusive)"
        )

    return numpy, torch


def _cumsum_gradient(b, g, out, x, axis, reverse, exclusive):
    return (b.cumsum(g, axis=axis, reverse=not reverse, exclusive=exclusive),)


def _cumprod_gradient(b, g, out, x, axis, reverse, exclusive):
    """Entry i gets the product before it times what a recurrence from behind collects: right at zeros of x."""
    back = not reverse
    before = b.cumprod(x, axis=axis, reverse=reverse, exclusive=True)
    factor = shifted(b, x, axis, back)
    if exclusive:
        behind = b.recurrence(x, g, axis=axis, reverse=back)
        return (b.mul(before, shifted(b, behind, axis, back)),)
    return (b.mul(before, b.recurrence(factor, g, axis=axis, reverse=back)),)


ZEROS = (
    border([2.0, 0.0, 3.0], axis=0, value=[2.0, 0.0, 0.0], gradients=([1.0, 8.0, 0.0],)),
    border([2.0, 0.0, 3.0], axis=0, exclusive=True, value=[1.0, 2.0, 0.0], gradients=([1.0, 2.0, 0.0],)),
)

for _name, _doc, _rule, _borders in (
    ("cumsum", "sums", _cumsum_gradient, ()),
    ("cumprod", "products", _cumprod_gradient, ZEROS),
):
    declare(Op(_name, ("x",),
               f"running {_doc} along an axis, from its end if `reverse`, without the entry itself if `exclusive`",
               lambda x, axis, reverse, exclusive: x, _rule, *_columns(_name), params=RUNNING, operands="number",
               examples=EXAMPLES, borders=_borders,
               equation=rf"\operatorname{{{_name}}} x"))  # fmt: skip


# ---- h[t] = a[t] h[t-1] + b[t]


def _recurrence_type(x: TensorType, y: TensorType, axis: int, reverse: bool) -> TensorType:
    if x.dims != y.dims:
        raise ShapeMismatch(f"a recurrence needs two values of one shape, not {x} and {y}")
    return x


def _recurrence_gradient(b, g, out, x, y, axis, reverse):
    """The cotangents obey the same recurrence, the other way round."""
    back = b.recurrence(shifted(b, x, axis, not reverse), g, axis=axis, reverse=not reverse)
    return b.mul(back, shifted(b, out, axis, reverse)), back


declare(Op("recurrence", ("x", "y"), "h with h[t] = x[t] h[t-1] + y[t] along an axis, h before the start being 0",
           _recurrence_type, _recurrence_gradient, "recurrence(x, y, axis, reverse=reverse)",
           "recurrence(x, y, axis, reverse=reverse)", params={"axis": REQUIRED, "reverse": False}, operands="float",
           flops=2, equation="h_t = x_t h_{t-1} + y_t",
           examples=(example("float[a, b]", "float[a, b]", axis=1),
                     example("float[a, b]", "float[a, b]", axis=0, reverse=True),
                     example("float[a]", "float[a]", axis=0))))  # fmt: skip


# ---- running extremes


def _extreme_gradient(compare: str, outside: float):
    """The cotangent goes to the place of the extreme so far, of equals the last, as in torch."""

    def rule(b, g, out, x, axis, reverse):
        first, last = Dim.of(0), x.type.dims[axis] - 1
        size, one, none = x.type.dims[axis], Dim.of(1), (first, first)
        stretch, free = ((one, size), (first, one)) if reverse else ((first, last), (one, first))
        part = b.slice(out, slices=Slices.whole(x.type.dims).at(axis, *stretch))
        before = b.pad(part, widths=tuple(free if i == axis else none for i in range(x.type.rank)), value=outside)
        places = [b.iota(dims=along(x.type, k), axis=k) for k in range(x.type.rank)]
        new = b.select(getattr(b, compare)(x, before), places[axis], b.size(size) if reverse else -1)
        places[axis] = b.emit("cummin" if reverse else "cummax", (new,), {"axis": axis, "reverse": reverse})
        return (b.scatter_add(g, *places, dims=x.type.dims, axes=tuple(range(x.type.rank))),)

    return rule


def along(x: TensorType, axis: int) -> tuple[Dim, ...]:
    """Dims that are 1 but for one axis."""
    return tuple(d if i == axis else Dim.of(1) for i, d in enumerate(x.dims))


def _running(name: str, word: str, ufunc: str, compare: str, outside: float) -> None:
    up = -math.copysign(1, outside)
    case, so_far = [up, up, 0.0, 2 * up], [up, up, up, 2 * up]

    def numpy(types, params):
        if params["reverse"]:
            return f"np.flip(np.{ufunc}.accumulate(np.flip(x, axis), axis=axis), axis)"
        return f"np.{ufunc}.accumulate(x, axis=axis)"

    def torch(types, params):
        return f"x.flip(axis).{name}(dim=axis).values.flip(axis)" if params["reverse"] else f"x.{name}(dim=axis).values"

    declare(Op(name, ("x",), f"the {word} entry so far along an axis, from its end if `reverse`",
               lambda x, axis, reverse: x, _extreme_gradient(compare, outside), numpy, torch,
               borders=(border(case, axis=0, value=so_far, gradients=([1.0, 2.0, 0.0, 1.0],)),),
               params={"axis": REQUIRED, "reverse": False}, operands="number", equation=rf"\operatorname{{{name}}} x",
               examples=(example("float[a, b]", axis=1), example("float[a, b]", axis=0, reverse=True),
                         example("int[a, b]", axis=0))))  # fmt: skip


_running("cummax", "largest", "maximum", "ge", -math.inf)
_running("cummin", "smallest", "minimum", "le", math.inf)
