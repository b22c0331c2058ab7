"""Windows that slide along an axis, a view, and the overlapping sum that undoes it; each is the other's gradient."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.bodies import body_gradient
from leec.ops.laws import Law
from leec.ops.shape import MOVES, Slices
from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import TensorType

STEPS = {"stride": Dim.of(1), "dilation": Dim.of(1)}


def _window_type(x: TensorType, axis: int, size: Dim, stride: Dim, dilation: Dim) -> TensorType:
    """As many windows as fit: the last may leave a rest of the axis."""
    count = (x.dims[axis] - (Dim.of(size) - 1) * dilation - 1) // Dim.of(stride) + 1
    return x.with_dims(*x.dims[:axis], count, size, *x.dims[axis + 1 :])


def _window_gradient(b, g, out, x, axis, size, stride, dilation):
    return (b.unwindow(g, axis=axis, size=x.type.dims[axis], stride=stride, dilation=dilation),)


def _fold_gradient(b, g, out, x, axis, size, stride, dilation):
    """The windows of g, as many as were folded."""
    windows = b.window(g, axis=axis, size=x.type.dims[axis + 1], stride=stride, dilation=dilation)
    if windows.type != x.type:
        windows = b.slice(windows, slices=Slices.whole(windows.type.dims).at(axis, Dim.of(0), x.type.dims[axis]))
    return (windows,)


def _window_torch(types, params):
    dilated = "x.unfold(axis, size, stride)"
    if params["dilation"] != 1:
        dilated = "x.unfold(axis, (size - 1) * dilation + 1, stride)[..., ::dilation]"
    last = params["axis"] + 1 == types[0].rank
    return dilated if last else (f"{dilated}.movedim(-1, after)", {"after": params["axis"] + 1})


declare(Op("window", ("x",),
           "windows of `size` entries, `dilation` apart, that begin every `stride`: axis -> (count, size)",
           _window_type, _window_gradient, "window(x, axis, size, stride, dilation)", _window_torch,
           params={"axis": REQUIRED, "size": REQUIRED, **STEPS}, flops=0, facts=MOVES,
           examples=(example("float[a, 9]", axis=1, size="3"), example("float[8, b]", axis=0, size="3", stride="2"),
                     example("float[a, 11, b]", axis=1, size="b", stride="3", dilation="2"),
                     example("int[7]", axis=0, size="2"),
                     example("float[9]", axis=0, size="3", stride="4", dilation="2"))))  # fmt: skip
declare(Op("unwindow", ("x",),
           "the sum of overlapping windows, as `window` takes them: axes (count, size) -> one of `size` entries",
           lambda x, axis, size, stride, dilation: x.with_dims(*x.dims[:axis], size, *x.dims[axis + 2 :]),
           _fold_gradient,
           "unwindow(x, axis, size, stride, dilation)", "unwindow(x, axis, size, stride, dilation)",
           params={"axis": REQUIRED, "size": REQUIRED, **STEPS},
           examples=(example("float[a, 7, 3]", axis=1, size="9"),
                     example("float[3, 3, b]", axis=0, size="8", stride="2"),
                     example("float[a, 2, b, 2]", axis=1, size="2 * b + 2", stride="3", dilation="2"),
                     example("int[6, 2]", axis=0, size="7"),
                     example("float[2, 3]", axis=0, size="9", stride="4"))))  # fmt: skip


# ---- along several axes at once


def _windows_type(x: TensorType, axes, sizes, strides, dilations) -> TensorType:
    dims = list(x.dims)
    for axis, size in zip(reversed(axes), reversed(sizes)):
        dims[axis : axis + 2] = [size]
    return x.with_dims(*dims)


def _one_by_one(b, x, axes, sizes, strides, dilations):
    """The last axis first, so that the others keep their numbers."""
    for axis, size, stride, dilation in reversed(list(zip(axes, sizes, strides, dilations))):
        x = b.unwindow(x, axis=axis, size=size, stride=stride, dilation=dilation)
    return x


def _together(b, x, a, s, p, q, c, t, r, e):
    """Two that follow each other, where the second one folds an axis before the first."""
    return b.unwindows(x, axes=(c, a), sizes=(t, s), strides=(r, p), dilations=(e, q)) if c + 1 < a else None


BOTH = Law(
    "unwindow(once(unwindow(x, axis=a, size=s, stride=p, dilation=q)), axis=c, size=t, stride=r, dilation=e)", _together
)
declare(Op("unwindows", ("x",), "unwindow along several axes, in increasing order, counted before any is folded",
           _windows_type, body_gradient(_one_by_one), "unwindows(x, axes, sizes, strides, dilations)", "",
           params={"axes": REQUIRED, "sizes": REQUIRED, "strides": REQUIRED, "dilations": REQUIRED},
           examples=(example("float[a, 7, 3, 4, 2]", axes=(1, 3), sizes=("9", "9"), strides=("1", "2"),
                             dilations=("1", "1")),),
           facts={"body": _one_by_one, "idioms": {"numpy": (BOTH,)}, "support": ("unwindows",)}))  # fmt: skip
