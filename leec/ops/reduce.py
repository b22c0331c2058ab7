"""Reductions over axes. `axes` are non-negative and sorted; the empty tuple reduces nothing."""

from __future__ import annotations

import math

from leec.dims import Dim
from leec.ops.laws import Law
from leec.ops.table import REQUIRED, Op, border, declare, example
from leec.types import TensorType

REDUCTION = {"axes": REQUIRED, "keepdims": False}
NOTHING = [[], []]


def reduced(x: TensorType, axes: tuple[int, ...], keepdims: bool) -> TensorType:
    """The type with the axes gone, or of size 1."""
    kept = [(Dim.of(1) if i in axes else d) for i, d in enumerate(x.dims) if keepdims or i not in axes]
    return TensorType(x.dtype, tuple(kept))


def expand(b, g, x, axes: tuple[int, ...], keepdims: bool):
    """A cotangent of the result, spread over the axes that were reduced."""
    return b.broadcast(kept(b, g, x, axes, keepdims), dims=x.type.dims)


def kept(b, y, x, axes: tuple[int, ...], keepdims: bool):
    """A result with the axes that were reduced as axes of size 1."""
    if keepdims or not axes:
        return y
    return b.reshape(y, dims=tuple(Dim.of(1) if i in axes else d for i, d in enumerate(x.type.dims)))


def count(x: TensorType, axes: tuple[int, ...]) -> Dim:
    """The number of entries that one entry of the result is made of."""
    total = Dim.of(1)
    for axis in axes:
        total = total * x.dims[axis]
    return total


def column(text: str, nothing: str = "x"):
    """A column where `axis` is one axis or several; without axes `nothing`, as torch would reduce them all."""

    def find(types, params):
        axes = params["axes"]
        return (text if axes else nothing), {"axis": axes[0] if len(axes) == 1 else axes}

    return find


def _reduction(name: str, doc: str, vjp, numpy, torch, type=reduced, operands="number", **more) -> Op:
    more["facts"] = {"reduces": True, **more.get("facts", {})}
    dtype = {"number": "float", "same": "float"}.get(operands, operands)
    cases = [
        ("a, b", (1,), False),
        ("a, b", (0, 1), False),
        ("a, b, c", (0, 2), True),
        ("a", (0,), False),
        ("", (), False),
    ]
    made = tuple(example(f"{dtype}[{dims}]", axes=axes, keepdims=keepdims) for dims, axes, keepdims in cases)
    ints = (example("int[a, b]", axes=(0,), keepdims=False),) if operands in ("number", "same") else ()
    none = (example(f"{dtype}[a, b]", axes=(), keepdims=False),)
    examples = (*made, *ints, *none, *more.pop("examples", ()))
    return declare(
        Op(name, ("x",), doc, type, vjp, numpy, torch, params=REDUCTION, operands=operands, examples=examples, **more)
    )


# ---- sums


def _count_type(x: TensorType, axes, keepdims) -> TensorType:
    """The sum of bool is int (R17)."""
    out = reduced(x, axes, keepdims)
    return out.with_dtype("int") if x.dtype == "bool" else out


def _sum_gradient(b, g, out, x, axes, keepdims):
    return (expand(b, g, x, axes, keepdims),)


def _mean_gradient(b, g, out, x, axes, keepdims):
    return (expand(b, b.div(g, count(x.type, axes)), x, axes, keepdims),)


def _mean_of_all(b, x, a, k):
    """In a step the number of entries is a tensor that is there already."""
    whole = len(a) == x.type.rank > 0 and not k
    return b.div(b.sum(x, axes=a), count(x.type, a)) if whole else None


IN_STEPS = {"torch_step": (Law("mean(x, axes=a, keepdims=k)", _mean_of_all),)}


# fmt: off
_reduction("sum", "sum; of bools how many are true", _sum_gradient,
           column("x.sum(axis=axis, keepdims=keepdims)", "x + 0"), column("x.sum(dim=axis, keepdim=keepdims)", "x + 0"),
           type=_count_type, operands="same", borders=(border(NOTHING, axes=(1,), value=[0.0, 0.0]),),
           examples=(example("bool[a, b]", axes=(1,), keepdims=False),),
           equation=r"\sum x")
_reduction("mean", "arithmetic mean, a float; of nothing NaN (R35)", _mean_gradient,
           column("x.mean(axis=axis, keepdims=keepdims)"), column("x.mean(dim=axis, keepdim=keepdims)"),
           operands="float", borders=(border(NOTHING, axes=(1,), value=[math.nan, math.nan]),),
           facts={"idioms": IN_STEPS},
           equation=r"\operatorname{mean} x")
# fmt: on

# ---- product


def _prod_torch(types, params):
    """torch takes one axis at a time."""
    return "x" + "".join(f".prod(dim={a}, keepdim=keepdims)" for a in reversed(params["axes"]))


def _prod_gradient(b, g, out, x, axes, keepdims):
    """The product of all others, from before and from behind: never a division by an entry, which may be 0."""
    flat, place = flattened(b, x, axes)
    last = flat.type.rank - 1
    before, behind = (b.cumprod(flat, axis=last, exclusive=True, reverse=r) for r in (False, True))
    spread = b.reshape(kept(b, g, x, axes, keepdims), dims=(*flat.type.dims[:last], Dim.of(1)))
    return (place(b.mul(b.mul(before, behind), spread)),)


def flattened(b, x, axes: tuple[int, ...]):
    """x with the axes as one, the last; and the function that puts such an array back into the form of x."""
    order = (*(i for i in range(x.type.rank) if i not in axes), *axes)
    moved = tuple(x.type.dims[i] for i in order)
    dims = (*moved[: x.type.rank - len(axes)], count(x.type, axes))
    back = tuple(order.index(i) for i in range(x.type.rank))
    straight = order == tuple(range(x.type.rank))

    def place(y):
        y = y if moved == dims else b.reshape(y, dims=moved)
        return y if straight else b.transpose(y, perm=back)

    flat = x if straight else b.transpose(x, perm=order)
    return (flat if moved == dims else b.reshape(flat, dims=dims)), place


_reduction("prod", "product; of nothing 1 (R35)", _prod_gradient, column("x.prod(axis=axis, keepdims=keepdims)"),
           _prod_torch, equation=r"\prod x",
           borders=(border(NOTHING, axes=(1,), value=[1.0, 1.0]),
                    border([2.0, 0.0, 3.0], axes=(0,), value=0.0, gradients=([0.0, 6.0, 0.0],)),
                    border([0.0, 0.0, 3.0], axes=(0,), value=0.0, gradients=([0.0, 0.0, 0.0],))))  # fmt: skip


# ---- extremes


def _extreme_gradient(pick: str):
    """Only the first entry that attains it takes the gradient (R34: ties go to the lowest index)."""

    def rule(b, g, out, x, axes, keepdims):
        flat, place = flattened(b, x, axes)
        last = flat.type.rank - 1
        one = (*flat.type.dims[:last], Dim.of(1))
        first = b.reshape(getattr(b, pick)(flat, axis=last), dims=one)
        steps = b.iota(dims=(*(Dim.of(1),) * last, flat.type.dims[last]), axis=last)
        spread = b.broadcast(b.reshape(kept(b, g, x, axes, keepdims), dims=one), dims=flat.type.dims)
        return (place(b.select(b.eq(steps, first), spread, 0.0)),)

    return rule


def _may_be_empty(types, params) -> bool:
    return types[0].is_float and any(types[0].dims[a].constant in (None, 0) for a in params["axes"])


def _extreme_numpy(name: str, neutral: str):
    def find(types, params):
        initial = f", initial={neutral}" if _may_be_empty(types, params) else ""
        return column(f"x.{name}(axis=axis, keepdims=keepdims{initial})")(types, params)

    return find


def _extreme_torch(name: str, careful: str):
    """One axis after the other, from the last, gives the first of equals, also to autograd."""

    def find(types, params):
        if _may_be_empty(types, params):
            return f"{careful}(x, axes, keepdims)"
        return "x" + "".join(f".{name}({a}, keepdim=keepdims).values" for a in reversed(params["axes"]))

    return find


def _extreme_step(name: str):
    def find(types, params):
        if _may_be_empty(types, params):
            return f"{name}(x, axes, keepdims)"
        return column(f"x.{name}(dim=axis, keepdim=keepdims)")(types, params)

    return find


def _extreme(name: str, doc: str, careful: str, neutral: float) -> None:
    up = -math.copysign(1, neutral)  # the borders of max, turned over for min
    top = [[up, 3 * up, 3 * up], [neutral] * 3]
    _reduction(name, doc, _extreme_gradient(f"arg{name}"), _extreme_numpy(name, "-np.inf" if up > 0 else "np.inf"),
               _extreme_torch(name, careful), torch_step=_extreme_step(f"a{name}"),
               equation=rf"\{name} x",
               borders=(border(NOTHING, axes=(1,), value=[neutral] * 2),
                        border(top, axes=(1,), value=[3 * up, neutral],
                               gradients=([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],)),
                        border([[up, 3 * up], [3 * up, 0.0]], axes=(0, 1), value=3 * up,
                               gradients=([[0.0, 1.0], [0.0, 0.0]],))),
               examples=(example("float[3, 4]", axes=(0, 1), keepdims=False),
                         example("float[a, 4]", axes=(1,), keepdims=True)))  # fmt: skip


_extreme("max", "largest entry; of nothing -inf (R35)", "largest", -math.inf)
_extreme("min", "smallest entry; of nothing inf (R35)", "smallest", math.inf)

# ---- logic

# fmt: off
_reduction("any", "is one true", None, column("x.any(axis=axis, keepdims=keepdims)"),
           column("x.any(dim=axis, keepdim=keepdims)"), operands="bool",
           borders=(border(NOTHING, axes=(1,), value=[False, False]),), equation=r"\exists x")
_reduction("all", "are all true", None, column("x.all(axis=axis, keepdims=keepdims)"),
           column("x.all(dim=axis, keepdim=keepdims)"), operands="bool",
           borders=(border(NOTHING, axes=(1,), value=[True, True]),), equation=r"\forall x")
# fmt: on

# ---- logarithm of a sum of exponentials


def _logsumexp_gradient(b, g, out, x, axes, keepdims):
    """softmax, and 0 where the whole row is -inf (R34); exp(x - out) would lose the digits of a large maximum."""
    return (b.mul(expand(b, g, x, axes, keepdims), b.softmax(x, axes=axes)),)


_reduction("logsumexp", "log of the sum of exponentials, shifted by the maximum; of nothing -inf", _logsumexp_gradient,
           column("logsumexp(x, axis, keepdims=keepdims)"), column("logsumexp(x, axis, keepdims)"),
           torch_step=column("torch.logsumexp(x, dim=axis, keepdim=keepdims)"),
           operands="float", flops=6,
           borders=(border(NOTHING, axes=(1,), value=[-math.inf] * 2),
                    border([[-math.inf] * 2, [1e4, 1e4]], axes=(1,), value=[-math.inf, 1e4 + math.log(2)],
                           gradients=([[0.0, 0.0], [0.5, 0.5]],))), equation=r"\log \sum e^{x}")  # fmt: skip

# ---- where extremes are


def _arg_type(x: TensorType, axis: int, last: bool) -> TensorType:
    return reduced(x, (axis,), False).with_dtype("int")


def _arg_column(name: str, library: str):
    word = {"np": "axis", "torch": "dim"}[library]

    def find(types, params):
        if not params["last"]:
            return f"x.{name}({word}=axis)"
        flipped = {"np": "np.flip(x, axis)", "torch": "x.flip(axis)"}[library]
        return f"size - 1 - {flipped}.{name}({word}=axis)", {"size": types[0].dims[params["axis"]]}

    return find


for _name, _doc, _case in (("argmax", "largest", [[1, 3, 3]]), ("argmin", "smallest", [[3, 1, 1]])):
    declare(Op(_name, ("x",), f"place of the {_doc} entry; of equals the lowest (R25), or with `last` the highest",
               _arg_type, None, _arg_column(_name, "np"), _arg_column(_name, "torch"),
               params={"axis": REQUIRED, "last": False}, operands="number", surface=_name, equation=rf"\operatorname{{{_name}}} x",
               borders=(border(_case, axis=1, value=[1]), border(_case, axis=1, last=True, value=[2])),
               examples=(example("float[a, b]", axis=0), example("float[a, b]", axis=1), example("int[a, b]", axis=1),
                         example("int[a, b]", axis=1, last=True), example("float[a]", axis=0))))  # fmt: skip
