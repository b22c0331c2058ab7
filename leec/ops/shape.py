"""Operations that move entries without computing: reshape, transpose, slice, pad, concat, broadcast, iota, fill."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.table import REQUIRED, Op, declare
from leec.types import ShapeMismatch, TensorType

MOVES = {"moves": True, "uniform": True}  # every entry is one of x; so of equal entries come equal entries


class Slices(tuple):
    """(start, stop, step) for every axis, dims all; emitted as a Python subscript."""

    @staticmethod
    def whole(dims: tuple[Dim, ...]) -> Slices:
        return Slices((Dim.of(0), d, Dim.of(1)) for d in dims)

    def at(self, axis: int, start: Dim, stop: Dim, step: Dim | int = 1) -> Slices:
        """The same with another stretch along one axis."""
        return Slices((start, stop, Dim.of(step)) if i == axis else s for i, s in enumerate(self))


def _reshape_type(x: TensorType, dims) -> TensorType:
    return x.with_dims(*dims)


def _transpose_type(x: TensorType, perm) -> TensorType:
    return x.with_dims(*(x.dims[i] for i in perm))


def _inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(perm.index(i) for i in range(len(perm)))


def _transpose_numpy(types, params) -> str:
    return "x.T" if params["perm"] == (1, 0) else "x.transpose(perm)"


def _transpose_torch(types, params) -> str:
    return "x.T" if params["perm"] == (1, 0) else "x.permute(perm)"


declare(Op("reshape", ("x",), "the same entries, row-major, under other dims", _reshape_type,
           lambda b, g, out, x, dims: (b.reshape(g, dims=x.type.dims),), "x.reshape(dims)", "x.reshape(dims)",
           params={"dims": REQUIRED}, flops=0, facts=MOVES))  # fmt: skip
declare(Op("transpose", ("x",), "axes in another order: axis i of the result is axis perm[i] of x", _transpose_type,
           lambda b, g, out, x, perm: (b.transpose(g, perm=_inverse(perm)),), _transpose_numpy, _transpose_torch,
           params={"perm": REQUIRED}, flops=0, facts=MOVES))  # fmt: skip
declare(Op("broadcast", ("x",), "x repeated along its axes of size 1 and along new leading ones", lambda x, dims: TensorType(x.dtype, dims),
           lambda b, g, out, x, dims: (b.sum_to(g, x.type.dims),), "np.broadcast_to(x, dims)",
           lambda types, params: "torch.as_tensor(x).expand(dims)" if types[0].host else "x.expand(dims)",
           params={"dims": REQUIRED}, flops=0, facts={**MOVES, "repeats": True}))  # fmt: skip


def _slice_type(x: TensorType, slices: Slices) -> TensorType:
    return x.with_dims(*((stop - start + step - 1) // step for start, stop, step in slices))


declare(Op("slice", ("x",), "entries start, start + step, .. below stop of every axis", _slice_type,
           lambda b, g, out, x, slices: (b.unslice(g, slices=slices, dims=x.type.dims),), "x[slices]", "x[slices]",
           params={"slices": REQUIRED}, flops=0, facts=MOVES))  # fmt: skip
declare(Op("unslice", ("x",), "zeros of the given dims with x in the place of a slice", lambda x, slices, dims: x.with_dims(*dims),
           lambda b, g, out, x, slices, dims: (b.slice(g, slices=slices),),
           "unslice(x, dims, slices)", "unslice(x, dims, slices)",
           params={"slices": REQUIRED, "dims": REQUIRED}, flops=0, facts={"support": ("unslice",)}))  # fmt: skip


def _pad_type(x: TensorType, widths, value) -> TensorType:
    return x.with_dims(*(d + lo + hi for d, (lo, hi) in zip(x.dims, widths)))


def _pad_gradient(b, g, out, x, widths, value):
    return (b.slice(g, slices=Slices((lo, lo + d, Dim.of(1)) for d, (lo, _) in zip(x.type.dims, widths))),)


def _pad_torch(types, params):
    flat = tuple(w for pair in reversed(params["widths"]) for w in pair)
    return "torch.nn.functional.pad(x, flat, value=value)", {"flat": flat}


declare(Op("pad", ("x",), "x with (before, after) entries of a value along every axis", _pad_type, _pad_gradient,
           "np.pad(x, widths, constant_values=value)", _pad_torch, params={"widths": REQUIRED, "value": 0.0}, flops=0))  # fmt: skip


def _concat_type(*types: TensorType, axis: int) -> TensorType:
    first, total = types[0], Dim.of(0)
    for t in types:
        for i, (d, e) in enumerate(zip(first.dims, t.dims)):
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
           "np.concatenate(xs, axis=axis)", "torch.cat(xs, dim=axis)", params={"axis": REQUIRED}, flops=0))  # fmt: skip


def _iota(library: str):
    def column(types, params):
        flat = f"{library}(size)"
        return flat if len(params["dims"]) == 1 else f"{flat}.reshape(dims)", {"size": params["dims"][params["axis"]]}

    return column


declare(Op("iota", (), "0, 1, 2, .. along one axis; the other dims are 1", lambda dims, axis: TensorType("int", dims), None,
           _iota("np.arange"), _iota("arange"), params={"dims": REQUIRED, "axis": REQUIRED}, flops=0))  # fmt: skip
declare(Op("fill", ("x",), "a tensor of the given dims and dtype, every entry the scalar x", lambda x, dims, dtype: TensorType(dtype, dims),
           lambda b, g, out, x, dims, dtype: (None if x.type.host else b.sum(g, axes=tuple(range(len(dims)))),),
           "np.full(dims, x, dtype=dtype)", "torch.full(dims, x, dtype=dtype, device=DEVICE)",
           params={"dims": REQUIRED, "dtype": "float"}, flops=0, facts={"uniform": True, "repeats": True}))  # fmt: skip
