"""Reading and writing at computed positions: gather and scatter, which are each other's gradients.

`gather(x, i, j, ..; axes)` reads the listed axes of x at integer arrays that broadcast together: the result has the
dims of these arrays first, then the axes of x that are left, in order. `scatter_add(v, i, j, ..; dims, axes)` adds v,
of just that form, into zeros; `scatter_set` and its like combine v into a copy of x, one entry after the other.
Positions count from the front and never wrap (R3).
"""

from __future__ import annotations

from leec.dims import Dim
from leec.ops.shape import along
from leec.ops.table import REQUIRED, Op, border, declare, example
from leec.types import ShapeMismatch, TensorType, broadcast


def _gathered(x: TensorType, indices: tuple[TensorType, ...], axes: tuple[int, ...]) -> TensorType:
    if len(indices) != len(axes):
        raise ShapeMismatch(f"{len(indices)} arrays of positions for {len(axes)} axes")
    return TensorType(x.dtype, (*broadcast(*indices), *(d for i, d in enumerate(x.dims) if i not in axes)))


def _order(rank: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    """The listed axes, then the others."""
    return (*axes, *(i for i in range(rank) if i not in axes))


def _fronted(x: TensorType, axes: tuple[int, ...], method: str) -> tuple[str, str, dict]:
    """x with the listed axes in front, what undoes it, and the params that both mention."""
    order = _order(x.rank, axes)
    if order == tuple(range(x.rank)):
        return "x", "", {}
    back = tuple(order.index(i) for i in range(x.rank))
    return f"x.{method}(order)", f".{method}(back)", {"order": order, "back": back}


# ---- gather


def _gather_type(x: TensorType, *indices: TensorType, axes, proven) -> TensorType:
    return _gathered(x, indices, axes)


def _gather_gradient(b, g, out, x, *indices, axes, proven):
    return (b.scatter_add(g, *indices, dims=x.type.dims, axes=axes), *(None for _ in indices))


def _gather_numpy(types, params):
    front, _, more = _fronted(types[0], params["axes"], "transpose")
    shown = [f"x{k}" if k - 1 in params["proven"] else f"inside(x{k})" for k in range(1, len(types))]
    return f"{front}[{', '.join(shown)}]", more


def _gather_torch(types, params):
    front, _, more = _fronted(types[0], params["axes"], "permute")
    return f"{front}[{', '.join(f'x{k}' for k in range(1, len(types)))}]", more


IN_THREE = {"i": (0, 2), "j": (0, 3), "indices": (0, 2)}
declare(Op("gather", ("x", "*indices"),
           "entries at computed positions of some axes; `proven` are arrays known to stay inside",
           _gather_type, _gather_gradient, _gather_numpy, _gather_torch,
           params={"axes": REQUIRED, "proven": ()}, operands=("any", "int"), flops=0, facts={"picks": True},
           examples=(example("float[3, b]", "int[a]", axes=(0,), within=IN_THREE),
                     example("float[3, 4]", "int[a, 1]", "int[b]", axes=(0, 1), within=IN_THREE),
                     example("float[a, 3, b]", "int[c]", axes=(1,), within=IN_THREE),
                     example("float[3, b, 4]", "int[a]", "int[a]", axes=(0, 2), proven=(0, 1), within=IN_THREE),
                     example("int[3, b]", "int[a, c]", axes=(0,), within=IN_THREE),
                     example("bool[3]", "int[a]", axes=(0,), within=IN_THREE),
                     example("float[3, b]", "host int", axes=(0,), within=IN_THREE)),
           equation="x_{i j ..}"))  # fmt: skip


# ---- along one axis


def _along_type(x: TensorType, i: TensorType, axis: int) -> TensorType:
    if x.rank != i.rank:
        raise ShapeMismatch(f"{i.shown} are no positions along an axis of {x.shown}: the ranks differ")
    for k, (d, e) in enumerate(zip(x.dims, i.dims, strict=True)):
        if k != axis and d != e:
            raise ShapeMismatch(f"{i.shown} are no positions along axis {axis} of {x.shown}: {d} is not {e}", (d, e))
    return x.with_dims(*i.dims)


def _along_gradient(b, g, out, x, i, axis):
    places = [i if k == axis else b.iota(dims=along(i.type, k), axis=k) for k in range(i.type.rank)]
    return b.scatter_add(g, *places, dims=x.type.dims, axes=tuple(range(x.type.rank))), None


declare(Op("take_along", ("x", "i"), "of every line along an axis the entries at its own positions", _along_type,
           _along_gradient,
           "np.take_along_axis(x, i, axis)", "torch.take_along_dim(x, i, axis)", params={"axis": REQUIRED}, surface="take_along",
           operands=("any", "int"), flops=0, facts={"picks": True},
           examples=(example("float[a, 3]", "int[a, b]", axis=1, within=IN_THREE),
                     example("float[3, b]", "int[3, b]", axis=0, within=IN_THREE))))  # fmt: skip


# ---- what all writing shares


def _reader(b, indices, axes):
    """The entries of an array like x at the positions, as an array like v."""
    proven = tuple(range(len(indices)))
    return lambda y: b.gather(y, *indices, axes=axes, proven=proven)


def _scatter_column(call: str, tensors: bool = False, first: int = 2):
    """`call` with the tuple of positions in its place, and `axes` where they are not the first ones."""

    def column(types, params):
        wrap = "torch.full((), {}, device=DEVICE)" if tensors else "{}"
        shown = [wrap.format(f"x{k}") if t.host else f"x{k}" for k, t in list(enumerate(types))[first:]]
        leading = params["axes"] == tuple(range(len(params["axes"])))
        return call.format(index=f"({', '.join(shown)},)", axes="" if leading else ", axes")

    return column


# ---- adding into zeros


def _added_type(v: TensorType, *indices: TensorType, dims, axes) -> TensorType:
    whole = TensorType(v.dtype, tuple(dims))
    wanted = _gathered(whole, indices, axes)
    if v.dims != wanted.dims:
        raise ShapeMismatch(f"{v} where {wanted} is added")
    return whole


def _added_gradient(b, g, out, v, *indices, dims, axes):
    return _reader(b, indices, axes)(g), *(None for _ in indices)


ADDED = "scatter_add(v, {index}, dims{axes})"

declare(Op("scatter_add", ("v", "*indices"),
           "zeros of the given dims with v added at computed positions; equal ones add up",
           _added_type, _added_gradient, _scatter_column(ADDED, first=1), _scatter_column(ADDED, True, first=1),
           params={"dims": REQUIRED, "axes": REQUIRED}, operands=("same", "int"),
           examples=(example("float[a, b]", "int[a]", dims=("3", "b"), axes=(0,), within=IN_THREE),
                     example("float[a, b]", "int[a, 1]", "int[b]", dims=("3", "4"), axes=(0, 1), within=IN_THREE),
                     example("float[c, a]", "int[c]", dims=("a", "3"), axes=(1,), within=IN_THREE),
                     example("int[a]", "int[a]", dims=("3",), axes=(0,), within=IN_THREE))))  # fmt: skip


# ---- writing into a copy


def _scatter_type(x: TensorType, v: TensorType, *indices: TensorType, axes) -> TensorType:
    wanted = _gathered(x, indices, axes)
    if v.dims != wanted.dims:
        raise ShapeMismatch(f"{v} where {wanted} is written")
    return x


def _set_gradient(b, g, out, x, v, *indices, axes):
    zeros = b.fill(0.0, dims=v.type.dims, dtype=v.type.dtype)
    return b.scatter_set(g, zeros, *indices, axes=axes), _reader(b, indices, axes)(g), *(None for _ in indices)


def _extreme_gradient(b, g, out, x, v, *indices, axes):
    """It goes to x where x stays, else to the first entry of v that attains the extreme."""
    at, stays = _reader(b, indices, axes), b.eq(x, out)
    block = broadcast(*(i.type for i in indices))
    size = TensorType("int", block).size
    count = b.reshape(b.iota(dims=(size,), axis=0), dims=(*block, *(Dim.of(1) for _ in v.type.dims[len(block) :])))
    count = b.broadcast(count, dims=v.type.dims)
    attains = b.select(b.eq(v, at(out)), count, b.size(size))
    first = b.scatter_min(b.fill(b.size(size), dims=x.type.dims, dtype="int"), attains, *indices, axes=axes)
    wins = b.logical_and(b.eq(at(first), count), b.logical_not(at(stays)))
    return b.select(stays, g, 0.0), b.select(wins, at(g), 0.0), *(None for _ in indices)


def _mul_gradient(b, g, out, x, v, *indices, axes):
    """The product of all others: by a quotient for an entry that is not 0, from the others alone for the only 0."""
    at, zero = _reader(b, indices, axes), b.eq(v, 0.0)
    safe = b.select(zero, 1.0, v)
    factor = b.scatter_mul(b.fill(1.0, dims=x.type.dims, dtype=x.type.dtype), v, *indices, axes=axes)
    zeros = b.scatter_add(b.cast(zero, dtype="int"), *indices, dims=x.type.dims, axes=axes)
    alone = b.select(b.eq(at(zeros), 1), at(b.scatter_mul(x, safe, *indices, axes=axes)), 0.0)
    others = b.select(zero, alone, b.div(at(out), safe))
    return b.mul(g, factor), b.mul(at(g), others), *(None for _ in indices)


def _put(types, params):
    """index_put wants tensors for positions."""
    front, back, more = _fronted(types[0], params["axes"], "permute")
    text = _scatter_column(f"{front}.index_put({{index}}, v){back}", tensors=True)(types, params)
    return text, more


def _scatter(
    mode: str, doc: str, rule, numpy: str, torch, dtypes=("float", "int"), domain=(-2.0, 2.0), borders=()
) -> None:
    cases = [
        (("{0}[3, b]", "{0}[2, b]", "int[2]"), (0,)),
        (("{0}[a, 3]", "{0}[c, a]", "int[c]"), (1,)),
        (("{0}[3, 4]", "{0}[a]", "int[a]", "int[a]"), (0, 1)),
    ]
    once = {"indices": [2, 0]} if mode == "set" else IN_THREE
    examples = tuple(
        example(*(t.format(d) for t in types), axes=axes, within=once)
        for types, axes in (cases[:1] if mode == "set" else cases)
        for d in dtypes
    )
    declare(Op(f"scatter_{mode}", ("x", "v", "*indices"), doc, _scatter_type, rule, _scatter_column(numpy), torch,
               params={"axes": REQUIRED}, operands=("same", "same", "int"), domain=domain, examples=examples,
               borders=borders))  # fmt: skip


# fmt: off
_scatter("set", "x with v written at computed positions, which must all be different", _set_gradient,
         "scatter_set(x, v, {index}{axes})", _put)
_scatter("max", "the largest of x and of v at computed positions", _extreme_gradient,
         "scatter(np.maximum, x, v, {index}{axes})",
         _scatter_column("scatter_extreme('amax', x, v, {index}{axes})", True),
         borders=(border([1.0, 5.0], [5.0, 5.0, 5.0], [0, 1, 0], axes=(0,), value=[5.0, 5.0],
                         gradients=([0.0, 1.0], [1.0, 0.0, 0.0], None)),))
_scatter("min", "the smallest of x and of v at computed positions", _extreme_gradient,
         "scatter(np.minimum, x, v, {index}{axes})",
         _scatter_column("scatter_extreme('amin', x, v, {index}{axes})", True),
         borders=(border([5.0, 1.0], [1.0, 1.0, 1.0], [0, 1, 0], axes=(0,), value=[1.0, 1.0],
                         gradients=([0.0, 1.0], [1.0, 0.0, 0.0], None)),))
_scatter("mul", "x with v multiplied into computed positions", _mul_gradient,
         "scatter(np.multiply, x, v, {index}{axes})", _scatter_column("scatter('prod', x, v, {index}{axes})", True),
         dtypes=("float",), domain=(0.5, 2.0),
         borders=(border([2.0, 3.0], [0.0, 4.0, 0.0], [0, 0, 1], axes=(0,), value=[0.0, 0.0],
                         gradients=([0.0, 0.0], [8.0, 0.0, 3.0], None)),))
# fmt: on
