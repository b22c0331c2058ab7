"""Running sums, products and extremes along an axis, and the linear recurrence that their gradients need."""

from __future__ import annotations

import math

from leec.dims import Dim
from leec.ops.shape import Slices, along
from leec.ops.table import REQUIRED, Op, border, declare, example
from leec.types import ShapeMismatch, TensorType

RUNNING = {"axis": REQUIRED, "reverse": False, "exclusive": False}
WAYS = (("float", 1, False, False), ("float", 0, True, False), ("float", 1, False, True), ("float", 0, True, True),
        ("int", 1, False, False), ("int", 1, True, True))  # fmt: skip
EXAMPLES = tuple(example(f"{t}[a, b]", axis=a, reverse=r, exclusive=e) for t, a, r, e in WAYS)


def shifted(b, x, axis: int, reverse: bool, free: float = 0.0):
    """x one place further along an axis, towards the front if `reverse`, and a number in the place that gets free."""
    size, none, one = x.type.dims[axis], Dim.of(0), Dim.of(1)
    stretch, widths = ((one, size), (none, one)) if reverse else ((none, size - 1), (one, none))
    part = b.slice(x, slices=Slices.whole(x.type.dims).at(axis, *stretch))
    return b.pad(part, widths=tuple(widths if i == axis else (none, none) for i in range(x.type.rank)), value=free)


def _column(plain: str, careful: str):
    """The library's own where it has what is asked for."""
    how = ", x, axis, reverse=reverse, exclusive=exclusive)"
    return lambda types, params: careful + how if params["reverse"] or params["exclusive"] else plain


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


def _running_total(name: str, doc: str, rule, ufunc: str, first: int, borders=()) -> None:
    doc = f"running {doc} along an axis, from its end if `reverse`, without the entry itself if `exclusive`"
    declare(Op(name, ("x",), doc, lambda x, axis, reverse, exclusive: x, rule,
               _column(f"np.{name}(x, axis=axis)", f"cumulate(np.{ufunc}"),
               _column(f"x.{name}(dim=axis)", f"cumulate(torch.{name}, {first}"),
               params=RUNNING, operands="number", surface=name, examples=EXAMPLES, borders=borders,
               equation=rf"\operatorname{{{name}}} x"))  # fmt: skip


_running_total("cumsum", "sums", _cumsum_gradient, "add", 0)
_running_total("cumprod", "products", _cumprod_gradient, "multiply", 1, ZEROS)


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
        places = [b.iota(dims=along(x.type, k), axis=k) for k in range(x.type.rank)]
        is_new = getattr(b, compare)(x, shifted(b, out, axis, reverse, outside))
        last = b.select(is_new, places[axis], b.size(x.type.dims[axis]) if reverse else -1)
        places[axis] = b.emit("cummin" if reverse else "cummax", (last,), {"axis": axis, "reverse": reverse})
        return (b.scatter_add(g, *places, dims=x.type.dims, axes=tuple(range(x.type.rank))),)

    return rule


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
               params={"axis": REQUIRED, "reverse": False}, operands="number", surface=name, equation=rf"\operatorname{{{name}}} x",
               examples=(example("float[a, b]", axis=1), example("float[a, b]", axis=0, reverse=True),
                         example("int[a, b]", axis=0))))  # fmt: skip


_running("cummax", "largest", "maximum", "ge", -math.inf)
_running("cummin", "smallest", "minimum", "le", math.inf)
