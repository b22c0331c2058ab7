"""Operations that move entries without computing: reshape, transpose, slice, pad, concat, broadcast, iota, fill."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import ShapeMismatch, TensorType, broadcast

MOVES = {"moves": True, "uniform": True}  # every entry is one of x; so of equal entries come equal entries


class Slices(tuple):
    """(start, stop, step) for every axis, dims all; emitted as a Python subscript.

    In a column a dim alone may stand for an axis: one position, which drops the axis.
    """

    @property
    def dims(self) -> tuple[Dim, ...]:
        """Those of what is left."""
        return tuple((stop - start + step - 1) // step for start, stop, step in self)

    @staticmethod
    def whole(dims: tuple[Dim, ...]) -> Slices:
        return Slices((Dim.of(0), d, Dim.of(1)) for d in dims)

    def at(self, axis: int, start: Dim, stop: Dim, step: Dim | int = 1) -> Slices:
        """The same with another stretch along one axis."""
        return Slices((start, stop, Dim.of(step)) if i == axis else s for i, s in enumerate(self))


def along(x: TensorType, axis: int) -> tuple[Dim, ...]:
    """The dims of x that are all 1 but for one axis."""
    return tuple(d if i == axis else Dim.of(1) for i, d in enumerate(x.dims))


# ---- other dims, other order


def _reshape_type(x: TensorType, dims) -> TensorType:
    if x.host:
        raise ShapeMismatch("a number of the host has no axes: broadcast it")
    return x.with_dims(*dims)


def _without_longest(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """A size that would fill a line is left for the library to find."""
    place = max(range(len(dims)), key=lambda i: len(str(dims[i])), default=0)
    return (*dims[:place], Dim.of(-1), *dims[place + 1 :]) if dims and len(str(dims[place])) > 30 else dims


def _reshape_column(types, params):
    """Axes of size 1 that come in between are shown as `None`."""
    rest, items = list(types[0].dims), []
    for dim in params["dims"]:
        kept = bool(rest) and rest[0] == dim
        items.append(":" if kept else "None")
        if kept:
            rest.pop(0)
        elif dim != 1:
            rest.append(dim)  # another split of the entries
            break
    if rest or "None" not in items or "1" in map(str, types[0].dims):
        return "x.reshape(dims)", {"dims": _without_longest(params["dims"])}
    while items[-1] == ":":
        items.pop()
    return f"x[{', '.join(items)}]"


declare(Op("reshape", ("x",), "the same entries, row-major, under other dims", _reshape_type,
           lambda b, g, out, x, dims: (b.reshape(g, dims=x.type.dims),), _reshape_column, _reshape_column,
           params={"dims": REQUIRED}, flops=0,
           facts={**MOVES, "called": lambda x, y: "{}_flat" if y.rank < x.rank else None},
           examples=(example("float[a, b]", dims=("b * a",)), example("float[6]", dims=("2", "3")),
                     example("float[a]", dims=("1", "a", "1")),
                     example("float[]", dims=("1", "1")), example("float[a, 1]", dims=("a",)),
                     example("int[2 * a]", dims=("a", "2")),
                     example("float[a, b]", dims=("1", "a", "1", "b")),
                     example("bool[1, a]", dims=("a", "1")))))  # fmt: skip


def _transpose_type(x: TensorType, perm) -> TensorType:
    return x.with_dims(*(x.dims[i] for i in perm))


def _inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(perm.index(i) for i in range(len(perm)))


def _transpose_column(method: str):
    """`x.T`, `x.mT` where only the last two axes change places, else the library's word."""

    def column(types, params):
        perm = params["perm"]
        last = len(perm) > 1 and perm == (*range(len(perm) - 2), len(perm) - 1, len(perm) - 2)
        return ("x.T" if len(perm) == 2 else "x.mT") if last else f"x.{method}(perm)"

    return column


declare(Op("transpose", ("x",), "axes in another order: axis i of the result is axis perm[i] of x", _transpose_type,
           lambda b, g, out, x, perm: (b.transpose(g, perm=_inverse(perm)),), _transpose_column("transpose"),
           _transpose_column("permute"),
           params={"perm": REQUIRED}, flops=0,
           facts={**MOVES, "called": lambda x, y: "{}_T" if x.rank == 2 else None},
           examples=(example("float[a, b]", perm=(1, 0)), example("float[a, b, c]", perm=(2, 0, 1)),
                     example("float[a, b, c]", perm=(0, 2, 1)),
                     example("float[a]", perm=(0,)), example("int[a, b, c]", perm=(1, 0, 2)))))  # fmt: skip
declare(Op("flip", ("x",), "the entries along some axes in the opposite order", lambda x, axes: x,
           lambda b, g, out, x, axes: (b.flip(g, axes=axes),), "np.flip(x, axes)", "torch.flip(x, axes)",
           params={"axes": REQUIRED}, flops=0, facts=MOVES,
           examples=(example("float[a, b]", axes=(1,)), example("float[a, b]", axes=(0, 1)),
                     example("bool[a]", axes=(0,)))))  # fmt: skip

# ---- more of the same


def _broadcast_type(x: TensorType, dims) -> TensorType:
    wide = TensorType(x.dtype, tuple(dims))
    if x.rank > wide.rank or broadcast(x, wide) != wide.dims:
        raise ShapeMismatch(f"{x} does not stretch to {wide}")
    return wide


def _broadcast_column(text: str, full: str):
    return lambda types, params: (full, {"dtype": types[0].dtype}) if types[0].host else text


declare(Op("broadcast", ("x",), "x repeated along its axes of size 1 and along new leading ones", _broadcast_type,
           lambda b, g, out, x, dims: (None if x.type.host else b.sum_to(g, x.type.dims),),
           _broadcast_column("np.broadcast_to(x, dims)", "np.full(dims, x, dtype=dtype)"),
           _broadcast_column("x.expand(dims)", "torch.full(dims, x, dtype=dtype, device=DEVICE)"),
           params={"dims": REQUIRED}, flops=0, facts={**MOVES, "repeats": True},
           examples=(example("float[b]", dims=("a", "b")), example("float[a, 1]", dims=("a", "b")),
                     example("float[]", dims=("a", "b")),
                     example("host float", dims=("a",)), example("host int", dims=("a",)),
                     example("int[1]", dims=("a",)),
                     example("float[]", dims=()))))  # fmt: skip
declare(Op("fill", ("x",), "a tensor of the given dims and dtype, every entry the number x", lambda x, dims,
           dtype: TensorType(dtype, tuple(dims)),
           lambda b, g, out, x, dims, dtype: (None if x.type.host else b.sum(g, axes=tuple(range(len(dims)))),),
           "np.full(dims, x, dtype=dtype)",
           lambda types,
           params: "torch.full(dims, x, dtype=dtype, device=DEVICE)" if types[0].host else "x.to(dtype).expand(dims)",
           params={"dims": REQUIRED, "dtype": "float"}, flops=0, facts={"uniform": True, "repeats": True},
           examples=(example("host float", dims=("a", "b")), example("host int", dims=("a",), dtype="int"),
                     example("host bool", dims=(), dtype="bool"),
                     example("host float", dims=("a",), dtype="f64"),
                     example("float[]", dims=("a", "b")))))  # fmt: skip


def _iota_column(text: str):
    """0, 1, .. with axes of size 1 around it."""

    def column(types, params):
        dims, axis = params["dims"], params["axis"]
        around = "" if len(dims) == 1 else f"[{', '.join(':' if i == axis else 'None' for i in range(len(dims)))}]"
        return text + around, {"size": dims[axis]}

    return column


declare(Op("iota", (), "0, 1, 2, .. along one axis; the other dims are 1", lambda dims,
           axis: TensorType("int", tuple(dims)), None,
           _iota_column("np.arange(size)"), _iota_column("torch.arange(size, device=DEVICE)"),
           params={"dims": REQUIRED, "axis": REQUIRED}, flops=0,
           examples=(example(dims=("a",), axis=0), example(dims=("a", "1"), axis=0),
                     example(dims=("1", "b", "1"), axis=1))))  # fmt: skip

# ---- parts


def _slice_type(x: TensorType, slices: Slices) -> TensorType:
    return x.with_dims(*slices.dims)


_STRETCHES = Slices([(Dim.of(1), Dim.of("a"), Dim.of(1)), (Dim.of(0), Dim.of(5), Dim.of(2))])

declare(Op("slice", ("x",), "entries start, start + step, .. below stop of every axis", _slice_type,
           lambda b, g, out, x, slices: (b.unslice(g, slices=slices, dims=x.type.dims),), "x[slices]", "x[slices]",
           params={"slices": REQUIRED}, flops=0, facts=MOVES,
           examples=(example("float[a, 5]", slices=_STRETCHES), example("int[a, 6]", slices=_STRETCHES),
                     example("float[]", slices=Slices()))))  # fmt: skip
declare(Op("unslice", ("x",), "zeros of the given dims with x in the place of a slice", lambda x, slices,
           dims: x.with_dims(*dims),
           lambda b, g, out, x, slices, dims: (b.slice(g, slices=slices),),
           "unslice(x, dims, slices)", "unslice(x, dims, slices)",
           params={"slices": REQUIRED, "dims": REQUIRED}, flops=0,
           examples=(example("float[a - 1, 3]", slices=_STRETCHES, dims=("a", "6")),
                     example("bool[a - 1, 3]", slices=_STRETCHES, dims=("a", "5")))))  # fmt: skip


def _pad_type(x: TensorType, widths, value) -> TensorType:
    return x.with_dims(*(d + lo + hi for d, (lo, hi) in zip(x.dims, widths, strict=True)))


def _pad_gradient(b, g, out, x, widths, value):
    return (b.slice(g, slices=Slices((lo, lo + d, Dim.of(1)) for d, (lo, _) in zip(x.type.dims, widths, strict=True))),)


def _pad_torch(types, params):
    flat = tuple(w for pair in reversed(params["widths"]) for w in pair)
    return "torch.nn.functional.pad(x, flat, value=value)", {"flat": flat}


_WIDTHS = ((Dim.of(1), Dim.of("a")), (Dim.of(0), Dim.of(2)))

declare(Op("pad", ("x",), "x with (before, after) entries of a value along every axis", _pad_type, _pad_gradient,
           "np.pad(x, widths, constant_values=value)", _pad_torch, params={"widths": REQUIRED, "value": 0.0}, flops=0,
           examples=(example("float[a, b]", widths=_WIDTHS),
                     example("float[a, b]", widths=_WIDTHS, value=float("-inf")),
                     example("int[a, b]", widths=_WIDTHS, value=-1),
                     example("bool[a, b]", widths=_WIDTHS, value=True))))  # fmt: skip

# ---- several


def _concat_type(*types: TensorType, axis: int) -> TensorType:
    first, total = types[0], Dim.of(0)
    for t in types:
        for i, (d, e) in enumerate(zip(first.dims, t.dims, strict=True)):
            if i != axis and d != e:
                raise ShapeMismatch(f"axis {i} is {d} and {e}", (d, e))
        total = total + t.dims[axis]
    return first.with_dims(*(total if i == axis else d for i, d in enumerate(first.dims)))


def _concat_gradient(b, g, out, *xs, axis):
    pieces, start = [], Dim.of(0)
    for x in xs:
        stop = start + x.type.dims[axis]
        pieces.append(b.slice(g, slices=Slices.whole(out.type.dims).at(axis, start, stop)))
        start = stop
    return tuple(pieces)


declare(Op("concat", ("*xs",), "one after the other along an axis", _concat_type, _concat_gradient,
           "np.concatenate(xs, axis=axis)", "torch.cat(xs, dim=axis)", params={"axis": REQUIRED}, operands="same",
           flops=0,
           examples=(example("float[a, b]", "float[3, b]", axis=0),
                     example("float[a, b]", "float[a, 1]", "float[a, b]", axis=1),
                     example("int[a]", "int[2]", axis=0), example("bool[a]", axis=0))))  # fmt: skip
