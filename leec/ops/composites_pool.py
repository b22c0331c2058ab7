"""Pooling: the largest entry, or the mean, of every window along the last axes of x [n, c, *space] (or [c, *space]).

The gradient of the largest goes to the first entry that attains it, row by row (R34), as that of the libraries does.
NumPy takes maxima and sums of strided views, one for each offset within the window; torch calls its library.
"""

from __future__ import annotations

from math import inf, prod

from leec.dims import Dim
from leec.ops.bodies import body_gradient, cotangents
from leec.ops.composites_conv import ONE, Sizes, options, positions
from leec.ops.contract import Contraction
from leec.ops.laws import Law
from leec.ops.patterns_pool import AVERAGE, LARGEST
from leec.ops.shape import Slices
from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import TensorType

ZERO = Dim.of(0)

# ---- types


def _pool_type(x: TensorType, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes | None = None) -> TensorType:
    fixed = x.rank - len(size)
    dilation = dilation or (ONE,) * len(size)
    return x.with_dims(*x.dims[:fixed], *map(positions, x.dims[fixed:], size, stride, padding, dilation))


def _max_gradient_type(g: TensorType, x: TensorType, y: TensorType, **how) -> TensorType:
    return x


def _spread_type(g: TensorType, size: Sizes, stride: Sizes, padding: Sizes, dims: Sizes) -> TensorType:
    return g.with_dims(*g.dims[: g.rank - len(size)], *dims)


# ---- what they mean


def _window_spec(dims: Sizes, places: Sizes, size: Sizes, stride: Sizes, dilation: Sizes) -> Contraction:
    """All windows of an array with these dims: first the axes that have none, then places, then offsets."""
    taken = frozenset().union(*(d.symbols for d in (*dims, *places, *size, *stride, *dilation)))
    free = lambda name: Dim.of(name if name not in taken else free(name + "_"))  # noqa: E731
    fixed = tuple(free(f"n{k}") for k in range(len(dims) - len(size)))
    at, within = ([free(f"{letter}{k}") for k in range(len(size))] for letter in "iu")
    windows = (s * i + d * u for s, i, d, u in zip(stride, at, dilation, within, strict=True))
    whole = (*dims[: len(fixed)], *places, *size)
    ranges = tuple((n.symbol, d) for n, d in zip((*fixed, *at, *within), whole, strict=True))
    return Contraction(((*fixed, *windows),), (*fixed, *at, *within), ranges, whole)


def _windows(b, x, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, fill: float):
    """x with its windows, and the axes that run inside of them."""
    y = _pool_type(x.type, size, stride, padding, dilation)
    x = _around(b, x, padding, fill)
    spec = _window_spec(x.type.dims, y.dims[x.type.rank - len(size) :], size, stride, dilation)
    return b.contract(x, spec=spec), tuple(range(x.type.rank, x.type.rank + len(size)))


def _max_body(b, x, size, stride, padding, dilation):
    windows, inside = _windows(b, x, size, stride, padding, dilation, -inf)
    return b.max(windows, axes=inside)


def _mean_body(b, x, size, stride, padding):
    windows, inside = _windows(b, x, size, stride, padding, (ONE,) * len(size), 0.0)
    return b.mean(windows, axes=inside)


def _max_gradient_body(b, g, x, y, **how):
    return cotangents(b, lambda b, x: _max_body(b, x, **how), (x,), g)[0]


def _mean_gradient_body(b, g, size, stride, padding, dims):
    """An equal share to every entry of a window."""
    x = _spread_type(g.type, size, stride, padding, dims)
    fixed = x.rank - len(size)
    wide = (*x.dims[:fixed], *(d + 2 * p for d, p in zip(dims, padding, strict=True)))
    spec = _window_spec(wide, g.type.dims[fixed:], size, stride, (ONE,) * len(size))
    scatter = Contraction((spec.result[: g.type.rank],), spec.operands[0], spec.ranges, wide)
    return _inside(b, b.contract(b.div(g, prod(size, start=ONE)), spec=scatter), padding)


# ---- padding, where the array itself has to hold it


def _around(b, x, padding: Sizes, fill: float):
    if all(p == 0 for p in padding):
        return x
    fixed = x.type.rank - len(padding)
    return b.pad(x, widths=(*((ZERO, ZERO) for _ in range(fixed)), *((p, p) for p in padding)), value=fill)


def _inside(b, x, padding: Sizes):
    slices = whole = Slices.whole(x.type.dims)
    for axis, p in enumerate(padding, x.type.rank - len(padding)):
        slices = slices.at(axis, p, x.type.dims[axis] - p)
    return x if slices == whole else b.slice(x, slices=slices)


def _apart(build):
    """A lowering that takes the padding out of the op, where there is any."""

    def lowering(b, *args, padding: Sizes, **how):
        nothing = (ZERO,) * len(padding)
        return None if padding == nothing else build(b, *args, padding, {**how, "padding": nothing})

    return lowering


def _max_apart(b, x, padding, how):
    return b.max_pool(_around(b, x, padding, -inf), **how)


def _max_gradient_apart(b, g, x, y, padding, how):
    return _inside(b, b.max_pool_gradient(g, _around(b, x, padding, -inf), y, **how), padding)


def _mean_apart(b, x, padding, how):
    return b.avg_pool(_around(b, x, padding, 0.0), **how)


# ---- gradients


def _max_gradient(b, g, out, x, **how):
    return (b.max_pool_gradient(g, x, out, **how),)


def _mean_gradient(b, g, out, x, **how):
    return (b.avg_pool_gradient(g, dims=x.type.dims[x.type.rank - len(how["size"]) :], **how),)


def _shares_gradient(b, g, out, y, dims, **how):
    return (b.avg_pool(g, **how),)


# ---- spellings of one back end

HOW = "size=a, stride=s, padding=p, dilation=d"


def _relu_last(b, x, **how):
    """The largest of what is positive is the largest where that is positive, and there are fewer of these."""
    return b.relu(b.max_pool(x, **_sizes(**how)))


def _relu_first(b, g, x, y, **how):
    """Of a window whose largest entry y is not positive, no entry is."""
    return b.max_pool_gradient(b.relu_gradient(g, b.relu(y)), x, y, **_sizes(**how))


def _mask_first(b, g, x, y, **how):
    return b.max_pool_gradient(b.masked(g, b.gt(b.relu(y), 0.0)), x, y, **_sizes(**how))


def _sizes(a, s, p, d) -> dict[str, Sizes]:
    return {"size": a, "stride": s, "padding": p, "dilation": d}


FEWER = tuple(Law(f"relu_gradient(max_pool_gradient(g, relu(x), relu(y), {HOW}), {gate})", _relu_first)
              for gate in ("x", "relu(x)"))  # fmt: skip
FEWER_BITS = tuple(Law(f"masked(max_pool_gradient(g, relu(x), relu(y), {HOW}), gt({gate}, 0))", _mask_first)
                   for gate in ("x", "relu(x)"))  # fmt: skip


def _library(name: str):
    def column(types, params):
        default = {"stride": params["size"]}
        text, shown = options(params, "stride", "padding", "dilation", default=default)
        (size, *_), same = params["size"], len(set(params["size"])) == 1
        space = len(params["size"])
        return f"torch.nn.functional.{name}{space}d(x, size{text})", {**shown, "size": size if same else params["size"]}

    return column


SPACE = {"size": REQUIRED, "stride": REQUIRED, "padding": REQUIRED}
STRIDED = "size, stride, dilation"

LINE = {"size": ("3",), "stride": ("2",), "padding": ("1",)}  # examples in one and two dimensions
PLANE = {"size": ("2", "2"), "stride": ("2", "1"), "padding": ("0", "0")}
MET = {"x": [[[1.0, 5.0, 2.0, 4.0, 4.0]]], "y": [[[5.0, 5.0, 4.0]]]}  # one largest entry of two windows, and a tie

declare(Op("max_pool", ("x",), "the largest entry of every window", _pool_type, _max_gradient,
           f"max_pool(x, {STRIDED})", _library("max_pool"), torch_step=f"max_pool(x, {STRIDED}, padding)",
           params={**SPACE, "dilation": REQUIRED}, operands="float",
           examples=(example("float[1, 2, 5]", **LINE, dilation=("1",)),
                     example("float[2, 4, 5]", **PLANE, dilation=("2", "1"))),
           facts={"body": _max_body, "lowering": {"numpy": _apart(_max_apart)}, "support": ("max_pool",),
                  "patterns": LARGEST, "idioms": dict.fromkeys(("numpy", "torch_step"), (Law(f"max_pool(relu(x), {HOW})", _relu_last),))},
           equation=r"\max_{u} x_{s i + u}"))  # fmt: skip
declare(Op("max_pool_gradient", ("g", "x", "y"), "g where x attains the maximum y of its window first",
           _max_gradient_type, body_gradient(_max_gradient_body),
           f"max_pool_gradient(g, x, y, {STRIDED})", f"max_pool_gradient(g, x, y, {STRIDED}, padding)",
           params={**SPACE, "dilation": REQUIRED}, operands="float",
           examples=(example("float[1, 1, 3]", "float[1, 1, 5]", "float[1, 1, 3]", within=MET,
                             fixed=("x", "y"), **LINE, dilation=("1",)),),
           facts={"body": _max_gradient_body, "lowering": {"numpy": _apart(_max_gradient_apart)},
                  "support": ("max_pool_gradient",), "idioms": {"torch_step": FEWER, "numpy": FEWER_BITS}},
           equation=r"\sum_i g_i [x_{s i + u} = y_i]"))  # fmt: skip
declare(Op("avg_pool", ("x",), "the mean of every window, zeros around counted", _pool_type, _mean_gradient,
           "avg_pool(x, size, stride)", _library("avg_pool"), params=SPACE, operands="float",
           examples=(example("float[1, 2, 5]", **LINE), example("float[2, 4, 5]", **PLANE)),
           facts={"body": _mean_body, "lowering": {"numpy": _apart(_mean_apart)}, "support": ("avg_pool",),
                  "patterns": AVERAGE},
           equation=r"\operatorname{mean}_u x_{s i + u}"))  # fmt: skip
declare(Op("avg_pool_gradient", ("g",), "an equal share of g to every entry of its window",
           _spread_type, _shares_gradient, "", "avg_pool_gradient(g, size, stride, padding, dims)",
           params={**SPACE, "dims": REQUIRED}, operands="float",
           examples=(example("float[1, 2, 3]", **LINE, dims=("5",)),
                     example("float[2, 2, 4]", **PLANE, dims=("4", "5"))),
           facts={"body": _mean_gradient_body, "support": ("avg_pool_gradient",)},
           equation=r"\sum_i g_i / \lvert u \rvert"))  # fmt: skip
