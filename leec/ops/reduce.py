"""Reductions over axes. `axes` are non-negative and sorted; the empty tuple reduces nothing."""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.table import REQUIRED, Op, declare
from leec.types import TensorType

REDUCTION = {"axes": REQUIRED, "keepdims": False}


def reduced(x: TensorType, axes: tuple[int, ...], keepdims: bool) -> TensorType:
    """The type with the axes gone, or of size 1."""
    kept = [(Dim.of(1) if i in axes else d) for i, d in enumerate(x.dims) if keepdims or i not in axes]
    return TensorType(x.dtype, tuple(kept))


def _count_type(x: TensorType, axes, keepdims) -> TensorType:
    """The sum of bool is int (R17)."""
    out = reduced(x, axes, keepdims)
    return out.with_dtype("int") if x.dtype == "bool" else out


def _mean_type(x: TensorType, axes, keepdims) -> TensorType:
    out = reduced(x, axes, keepdims)
    return out if out.is_float else out.with_dtype("float")


def expand(b, g, x, axes: tuple[int, ...], keepdims: bool):
    """A cotangent of the result, spread over the axes that were reduced."""
    if not keepdims:
        g = b.reshape(g, dims=tuple(Dim.of(1) if i in axes else d for i, d in enumerate(x.type.dims)))
    return b.broadcast(g, dims=x.type.dims)


def count(x: TensorType, axes: tuple[int, ...]) -> Dim:
    """The number of entries that one entry of the result is made of."""
    total = Dim.of(1)
    for axis in axes:
        total = total * x.dims[axis]
    return total


def _extreme_gradient(pick):
    """Only the first entry that attains it takes the gradient (R34: ties go to the lowest index)."""

    def rule(b, g, out, x, axes, keepdims):
        if len(axes) != 1:
            moved = (*(i for i in range(x.type.rank) if i not in axes), *axes)
            flat = b.transpose(x, perm=moved)
            kept = flat.type.dims[: x.type.rank - len(axes)]
            flat = b.reshape(flat, dims=(*kept, count(x.type, axes)))
            g = b.reshape(g, dims=kept) if keepdims else g
            d = rule(b, g, out, flat, (len(kept),), False)[0]
            d = b.reshape(d, dims=tuple(x.type.dims[i] for i in moved))
            return (b.transpose(d, perm=tuple(moved.index(i) for i in range(x.type.rank))),)
        (axis,) = axes
        first = getattr(b, pick)(x, axis=axis)
        first = b.reshape(first, dims=tuple(Dim.of(1) if i == axis else d for i, d in enumerate(x.type.dims)))
        place = b.iota(dims=tuple(d if i == axis else Dim.of(1) for i, d in enumerate(x.type.dims)), axis=axis)
        return (b.select(b.eq(place, first), expand(b, g, x, axes, keepdims), 0.0),)

    return rule


def _reduction(name: str, doc: str, type, vjp, numpy: str, torch, **more) -> Op:
    more["facts"] = {"reduces": True, **more.get("facts", {})}
    return declare(Op(name, ("x",), doc, type, vjp, numpy, torch, params=REDUCTION, **more))


_reduction("sum", "sum", _count_type, lambda b, g, out, x, axes, keepdims: (expand(b, g, x, axes, keepdims),),
           "x.sum(axis=axes, keepdims=keepdims)", "x.sum(dim=axes, keepdim=keepdims)", equation=r"\sum x")  # fmt: skip
_reduction("mean", "arithmetic mean; of int or bool a float", _mean_type,
           lambda b, g, out, x, axes, keepdims: (expand(b, b.div(g, count(x.type, axes)), x, axes, keepdims),),
           lambda types, params: "x.mean(axis=axes, keepdims=keepdims)" if types[0].is_float else "x.mean(axis=axes, keepdims=keepdims, dtype=FLOAT)",
           lambda types, params: "x.mean(dim=axes, keepdim=keepdims)" if types[0].is_float else "x.mean(dim=axes, keepdim=keepdims, dtype=FLOAT)",
           equation=r"\operatorname{mean} x")  # fmt: skip
_reduction("max", "largest entry; of nothing -inf (R35)", reduced, _extreme_gradient("argmax"),
           "x.max(axis=axes, keepdims=keepdims)", "x.amax(dim=axes, keepdim=keepdims)", equation=r"\max x")  # fmt: skip
_reduction("min", "smallest entry; of nothing inf (R35)", reduced, _extreme_gradient("argmin"),
           "x.min(axis=axes, keepdims=keepdims)", "x.amin(dim=axes, keepdim=keepdims)", equation=r"\min x")  # fmt: skip
_reduction("any", "is one true", reduced, None, "x.any(axis=axes, keepdims=keepdims)", "x.any(dim=axes, keepdim=keepdims)", facts={"operands": "bool"}, equation=r"\exists x")  # fmt: skip
_reduction("all", "are all true", reduced, None, "x.all(axis=axes, keepdims=keepdims)", "x.all(dim=axes, keepdim=keepdims)", facts={"operands": "bool"}, equation=r"\forall x")  # fmt: skip


def _logsumexp_gradient(b, g, out, x, axes, keepdims):
    """softmax, and 0 where the whole row is -inf (R34)."""
    spread = b.logsumexp(x, axes=axes, keepdims=True)
    finite = b.gt(spread, float("-inf"))
    weight = b.exp(b.sub(x, b.select(finite, spread, 0.0)))
    return (b.mul(expand(b, g, x, axes, keepdims), weight),)


_reduction("logsumexp", "log of the sum of exponentials, shifted by the maximum", reduced, _logsumexp_gradient,
           "logsumexp(x, axes, keepdims)", "torch.logsumexp(x, dim=axes, keepdim=keepdims)", flops=4, facts={"support": ("logsumexp",)},
           equation=r"\log \sum e^{x}")  # fmt: skip


def _arg_type(x: TensorType, axis: int) -> TensorType:
    return reduced(x, (axis,), False).with_dtype("int")


for _name in ("argmax", "argmin"):
    declare(Op(_name, ("x",), f"place of the {'largest' if _name == 'argmax' else 'smallest'} entry, the lowest at a tie (R25)", _arg_type, lambda b, g, out, x, axis: (None,),
               f"x.{_name}(axis=axis)", f"x.{_name}(dim=axis)", params={"axis": REQUIRED}, equation=rf"\operatorname{{{_name}}} x"))  # fmt: skip
