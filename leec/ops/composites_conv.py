"""Convolution and its two gradients, which are each other's gradients: closed under differentiation, to any order.

Layouts are those of the libraries: x [n, groups * c, *space], w [groups * o, c, *kernel], y [groups * o channels].
`stride`, `padding` (both sides) and `dilation` hold one size an axis of space. The body is the contraction of
decision 9, and NumPy runs it as one window view and one product; torch calls its library. Patterns: patterns_conv.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from leec.dims import Dim
from leec.ops.contract import Contraction
from leec.ops.patterns_conv import BIAS, CONV, KERNEL, TRANSPOSED
from leec.ops.shape import Slices
from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import ShapeMismatch, TensorType

Sizes = tuple[Dim, ...]
ONE = Dim.of(1)


def positions(size: Dim, kernel: Dim, stride: Dim, padding: Dim, dilation: Dim) -> Dim:
    """How many places a kernel has along an axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


# ---- types


def _conv_type(x: TensorType, w: TensorType, *bias: TensorType, stride, padding, dilation, groups) -> TensorType:
    if x.dims[1] != groups * w.dims[1]:
        raise ShapeMismatch(f"{x.dims[1]} channels for {groups} groups of {w.dims[1]}", (x.dims[1], groups * w.dims[1]))
    space = map(positions, x.dims[2:], w.dims[2:], stride, padding, dilation)
    return x.with_dims(x.dims[0], w.dims[0], *space)


def _transposed_type(g: TensorType, w: TensorType, stride, padding, dilation, groups, dims) -> TensorType:
    """`dims` are those of the space of the result: several sizes have the same number of places for a kernel."""
    for size, kernel, s, p, d, found in zip(dims, w.dims[2:], stride, padding, dilation, g.dims[2:], strict=True):
        if positions(size, kernel, s, p, d) != found:
            raise ShapeMismatch(f"{size} has no {found} places for a kernel of {kernel}", (size, found))
    return g.with_dims(g.dims[0], groups * w.dims[1], *dims)


def _kernel_type(x: TensorType, g: TensorType, stride, padding, dilation, groups, dims) -> TensorType:
    return x.with_dims(g.dims[1], x.dims[1] // groups, *dims)


# ---- what they mean


class _Indices:
    """Names for the indices of a convolution, none of which is the name of a size, and its subscripts."""

    def __init__(self, stride: Sizes, dilation: Sizes, *sizes: Dim):
        taken = frozenset().union(*(d.symbols for d in (*stride, *dilation, *sizes)))
        free = lambda name: Dim.of(name if name not in taken else free(name + "_"))  # noqa: E731
        self.n, self.group, self.o, self.c = map(free, ("n", "g", "o", "c"))
        self.places = tuple(free("ijl"[k]) for k in range(len(stride)))
        self.offsets = tuple(free("uvw"[k]) for k in range(len(stride)))
        steps = zip(stride, self.places, dilation, self.offsets, strict=True)
        self.windows = tuple(s * i + d * u for s, i, d, u in steps)

    def subscripts(self) -> tuple[Sizes, Sizes, Sizes]:
        """Those of x, of w and of y, the groups apart."""
        x = (self.n, self.group, self.c, *self.windows)
        w = (self.group, self.o, self.c, *self.offsets)
        return x, w, (self.n, self.group, self.o, *self.places)

    def ranges(self, n: Dim, groups: Dim, o: Dim, c: Dim, places: Sizes, kernel: Sizes) -> tuple[tuple[str, Dim], ...]:
        names = (self.n, self.group, self.o, self.c, *self.places, *self.offsets)
        return tuple((name.symbol, d) for name, d in zip(names, (n, groups, o, c, *places, *kernel), strict=True))


def _contracted(
    b,
    arrays: Sequence,
    dims: Sizes,
    shapes: tuple[TensorType, TensorType, TensorType],
    target: int,
    stride,
    dilation,
    groups,
):
    """The contraction that gives one of x, w and y (by number) from the other two; `shapes` are the types of all."""
    x, w, y = shapes
    o, c = w.dims[0] // groups, w.dims[1]
    index = _Indices(stride, dilation, *x.dims, *w.dims, *y.dims, groups)
    subscripts = list(index.subscripts())
    ranges = index.ranges(x.dims[0], groups, o, c, y.dims[2:], w.dims[2:])
    grouped = [(x.dims[0], groups, c, *x.dims[2:]), (groups, o, c, *w.dims[2:]), (y.dims[0], groups, o, *y.dims[2:])]
    if groups == 1:
        subscripts = [tuple(d for d in s if d is not index.group) for s in subscripts]
        grouped = [t.dims for t in shapes]
        ranges = tuple(r for r in ranges if r[0] != index.group.symbol)
    result, out = subscripts.pop(target), grouped.pop(target)
    arrays = [a if a.type.dims == d else b.reshape(a, dims=d) for a, d in zip(arrays, grouped, strict=True)]
    made = b.contract(*arrays, spec=Contraction(tuple(subscripts), result, ranges, out))
    return made if out == dims else b.reshape(made, dims=dims)


def _widths(padding: Sizes) -> tuple[tuple[Dim, Dim], ...]:
    zero = Dim.of(0)
    return ((zero, zero), (zero, zero), *((p, p) for p in padding))


def _padded(b, x, padding: Sizes):
    return x if all(p == 0 for p in padding) else b.pad(x, widths=_widths(padding))


def _conv_body(b, x, w, *bias, stride, padding, dilation, groups):
    y = _conv_type(x.type, w.type, stride=stride, padding=padding, dilation=dilation, groups=groups)
    x = _padded(b, x, padding)
    made = _contracted(b, (x, w), y.dims, (x.type, w.type, y), 2, stride, dilation, groups)
    return b.add(made, b.reshape(bias[0], dims=(*bias[0].type.dims, *(ONE for _ in stride)))) if bias else made


def _transposed_body(b, g, w, stride, padding, dilation, groups, dims):
    wide = tuple(d + 2 * p for d, p in zip(dims, padding, strict=True))
    x = g.type.with_dims(g.type.dims[0], groups * w.type.dims[1], *wide)
    made = _contracted(b, (w, g), x.dims, (x, w.type, g.type), 0, stride, dilation, groups)
    inside = zip(padding, dims, strict=True)
    slices = Slices((*Slices.whole(x.dims[:2]), *((p, p + d, ONE) for p, d in inside)))
    return made if wide == dims else b.slice(made, slices=slices)


def _kernel_body(b, x, g, stride, padding, dilation, groups, dims):
    w = _kernel_type(x.type, g.type, stride, padding, dilation, groups, dims)
    x = _padded(b, x, padding)
    return _contracted(b, (x, g), w.dims, (x.type, w, g.type), 1, stride, dilation, groups)


# ---- gradients


def _conv_gradient(b, g, out, x, w, *bias, **how):
    d_bias = [b.sum(g, axes=(0, *range(2, g.type.rank))) for _ in bias]
    d_x = b.conv_transpose(g, w, dims=x.type.dims[2:], **how)
    return (d_x, b.conv_kernel(x, g, dims=w.type.dims[2:], **how), *d_bias)


def _transposed_gradient(b, g, out, y, w, dims, **how):
    return b.conv(g, w, **how), b.conv_kernel(g, y, dims=w.type.dims[2:], **how)


def _kernel_gradient(b, g, out, x, y, dims, **how):
    return b.conv_transpose(y, g, dims=x.type.dims[2:], **how), b.conv(x, g, **how)


# ---- torch


def options(params, *names: str, default: dict | None = None, **more) -> tuple[str, dict]:
    """Keyword arguments that are not the library's defaults; one number where all axes have the same."""
    usual = {"stride": 1, "dilation": 1, "groups": 1, **(default or {})}
    found = {name: more.get(name, params.get(name)) for name in names}
    kept = {k: v for k, v in found.items() if v is not None and not _is_usual(v, usual.get(k, 0))}
    shown = {k: v[0] if isinstance(v, tuple) and len(set(v)) == 1 else v for k, v in kept.items()}
    return "".join(f", {k}={k}" for k in shown), shown


def _is_usual(value, usual) -> bool:
    return value == usual or all(d == usual for d in (value if isinstance(value, tuple) else (value,)))


def _conv_torch(types, params):
    text, shown = options(params, "stride", "padding", "dilation", "groups")
    bias = ", x2" if len(types) > 2 else ""
    return f"torch.nn.functional.conv{types[0].rank - 2}d(x, w{bias}{text})", shown


def _transposed_torch(types, params):
    g, w = types
    sizes = zip(
        params["dims"], g.dims[2:], w.dims[2:], params["stride"], params["padding"], params["dilation"], strict=True
    )
    rest = tuple(d - ((n - 1) * s - 2 * p + e * (k - 1) + 1) for d, n, k, s, p, e in sizes)
    text, shown = options(params, "stride", "padding", "output_padding", "groups", "dilation", output_padding=rest)
    return f"torch.nn.functional.conv_transpose{g.rank - 2}d(g, w{text})", shown


def _kernel_torch(types, params):
    text, shown = options(params, "stride", "padding", "dilation", "groups")
    shape = _kernel_type(*types, **params).dims
    return f"torch.nn.grad.conv{types[0].rank - 2}d_weight(x, shape, g{text})", {**shown, "shape": shape}


HOW = {"stride": REQUIRED, "padding": REQUIRED, "dilation": REQUIRED, "groups": ONE}


def _steps(stride: str = "1", padding: str = "0", dilation: str = "1", groups: str = "1", **more) -> dict:
    """Params of an example, an axis a word."""
    axes = {
        name: tuple(text.split()) for name, text in (("stride", stride), ("padding", padding), ("dilation", dilation))
    }
    return {**axes, "groups": groups, **{name: tuple(text.split()) for name, text in more.items()}}


declare(Op("conv", ("x", "w", "*bias"), "convolution: sums over windows of x, weighted by w",
           _conv_type, _conv_gradient, "", _conv_torch, params=HOW, operands="float",
           examples=(example("float[a, b, 7]", "float[c, b, 3]", **_steps("2")),
                     example("float[a, b, 6, 5]", "float[4, b, 3, 2]", "float[4]", **_steps("1 2", "1 0", "2 1")),
                     example("float[1, 4, 6]", "float[6, 2, 2]", **_steps(groups="2")),
                     example("float[1, 2, 4, 3, 4]", "float[2, 2, 2, 2, 3]", **_steps("1 1 1", "0 1 0", "1 1 1"))),
           facts={"body": _conv_body, "patterns": CONV, "idioms": dict.fromkeys(("torch", "torch_step"), BIAS)},
           equation=r"x * w"))  # fmt: skip
declare(Op("conv_transpose", ("g", "w"), "transposed convolution: the gradient of a convolution by its input",
           _transposed_type, _transposed_gradient, "", _transposed_torch,
           params={**HOW, "dims": REQUIRED}, operands="float",
           examples=(example("float[a, c, 3]", "float[c, b, 3]", **_steps("2", dims="8")),
                     example("float[a, 4, 4, 3]", "float[4, b, 2, 3]", **_steps("2 1", "1 0", "1 2", dims="6 7")),
                     example("float[1, 6, 5]", "float[6, 2, 2]", **_steps(groups="2", dims="6")),
                     example("float[1, 2, 3, 4, 2]", "float[2, 2, 2, 2, 3]",
                             **_steps("1 1 1", "0 1 0", "1 1 1", dims="4 3 4"))),
           facts={"body": _transposed_body, "patterns": TRANSPOSED}, equation=r"w^{\top} * g"))  # fmt: skip
declare(Op("conv_kernel", ("x", "g"), "the gradient of a convolution by its kernel", _kernel_type, _kernel_gradient,
           "", _kernel_torch, params={**HOW, "dims": REQUIRED}, operands="float",
           examples=(example("float[a, b, 8]", "float[a, c, 3]", **_steps("2", dims="3")),
                     example("float[a, b, 6, 5]", "float[a, 4, 4, 3]", **_steps("1 1", "1 0", "2 1", dims="3 3")),
                     example("float[2, 4, 6]", "float[2, 6, 5]", **_steps(groups="2", dims="2")),
                     example("float[1, 2, 4, 3, 4]", "float[1, 2, 3, 4, 2]",
                             **_steps("1 1 1", "0 1 0", "1 1 1", dims="2 2 3"))),
           facts={"body": _kernel_body, "patterns": KERNEL}, equation=r"x \star g"))  # fmt: skip
