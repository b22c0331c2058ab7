"""Laws of what moves entries, of reductions and of contractions; how laws are written says leec/ops/laws.py."""

from __future__ import annotations

from collections.abc import Callable

from leec.dims import Dim
from leec.ir.graph import Value
from leec.ops.contract import Contraction
from leec.ops.laws import Law
from leec.ops.reduce import count, reduced
from leec.ops.shape import Slices
from leec.types import TensorType

# ---- entries that move


def _composed(b, x, inner, outer):
    """A slice of a slice: entry i is a + s * (c + t * i)."""
    triples = []
    for (a, _stop, s), (c, d, t) in zip(inner, outer, strict=True):
        triples.append((a + s * c, a + d if s == 1 else a + s * (d - 1) + 1, s * t))
    return b.slice(x, slices=Slices(triples))


def _piece(b, xs, axis, slices):
    """The operand of a concat that a slice takes out whole."""
    start = Dim.of(0)
    for x in xs:
        stop = start + x.type.dims[axis]
        if slices == Slices.whole(x.type.dims).at(axis, start, stop):
            return x
        start = stop
    return None


def _without_leading_ones(b, x, dims, wide):
    """A broadcast brings its own leading axes."""
    ones = len(dims) - x.type.rank
    leading = ones > 0 and dims[ones:] == x.type.dims and all(d == 1 for d in dims[:ones])
    return b.broadcast(x, dims=wide) if leading else None


MOVEMENT = (
    Law("transpose(x, perm=p)", lambda b, x, p: x if p == tuple(range(len(p))) else None),
    Law("transpose(transpose(x, perm=p), perm=q)", lambda b, x, p, q: b.transpose(x, perm=tuple(p[i] for i in q))),
    Law("reshape(x, dims=d)", lambda b, x, d: x),
    Law("reshape(reshape(x, dims=d), dims=e)", "reshape(x, dims=e)"),
    Law("broadcast(x, dims=d)", lambda b, x, d: x),
    Law("broadcast(broadcast(x, dims=d), dims=e)", "broadcast(x, dims=e)"),
    Law("broadcast(reshape(x, dims=d), dims=e)", lambda b, x, d, e: _without_leading_ones(b, x, d, e)),
    Law("slice(x, slices=s)", lambda b, x, s: x if s == Slices.whole(x.type.dims) else None),
    Law("slice(slice(x, slices=s), slices=t)", lambda b, x, s, t: _composed(b, x, s, t)),
    Law("slice(unslice(x, slices=s, dims=d), slices=s)", "x"),
    Law("slice(pad(x, widths=w, value=v), slices=s)",
        lambda b, x, w, v, s: x if s == tuple((lo, lo + d, Dim.of(1)) for d, (lo, _) in zip(x.type.dims, w, strict=False)) else None),
    Law("slice(concat(*xs, axis=a), slices=s)", lambda b, xs, a, s: _piece(b, xs, a, s)),
    Law("unslice(x, slices=s, dims=d)", lambda b, x, s, d: x if s == Slices.whole(x.type.dims) else None),
    Law("pad(x, widths=w, value=v)", lambda b, x, w, v: x if all(d == 0 for pair in w for d in pair) else None),
    Law("concat(*xs, axis=a)", lambda b, xs, a: xs[0] if len(xs) == 1 else None),
)  # fmt: skip

# ---- sums of pieces


def _addends(b, value: Value, readers: int = 0) -> list[Value]:
    """What a sum adds up, through sums that nobody else reads and the user gave no name."""
    e = b.producer(value)
    hidden = e is not None and e.op == "add" and b.uses[value] <= readers and not value.named
    return [p for a in e.args for p in _addends(b, a, 1)] if hidden else [value]


def _tiled(b, x: Value, y: Value):
    """Arrays that are 0 but for a stretch of an axis, which fill it one after the other, are a concat."""
    if not any(e is not None and e.op == "unslice" for e in map(b.producer, (x, y))):
        return None  # the last piece comes in by itself
    found: dict[Dim, tuple[Value, Dim]] = {}
    along, rest = None, []
    for part in (*_addends(b, x), *_addends(b, y)):
        e = b.producer(part)
        axes = _cut(e.params["slices"], part.type.dims) if e is not None and e.op == "unslice" else ()
        start = e.params["slices"][axes[0]][0] if len(axes) == 1 else None
        if start is None or axes[0] != (axes[0] if along is None else along) or start in found:
            rest.append(part)
        else:
            along, found[start] = axes[0], (e.args[0], e.params["slices"][axes[0]][1])
    pieces, stop = [], Dim.of(0)
    while stop in found and stop != found[stop][1]:
        piece, stop = found[stop]
        pieces.append(piece)
    if along is None or len(pieces) < max(2, len(found)) or stop != x.type.dims[along]:
        return None
    total = b.concat(*pieces, axis=along)
    for part in rest:
        total = b.add(total, part)
    return total


def _cut(slices: Slices, dims: tuple[Dim, ...]) -> tuple[int, ...]:
    """The axes along which a slice is not all there is; none where it leaves something out in between."""
    axes = tuple(i for i, (s, d) in enumerate(zip(slices, dims, strict=True)) if s[:2] != (0, d) or s[2] != 1)
    return axes if all(slices[i][2] == 1 for i in axes) else ()


PIECES = (Law("add(x, y)", _tiled),)

# ---- reductions


def _stretched(x: Value, dims: tuple[Dim, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes among some of a broadcast to `dims` along which x repeats."""
    missing = len(dims) - x.type.rank
    return tuple(a for a in axes if a < missing or x.type.dims[a - missing] == 1 != dims[a])


def _of_broadcast(op: str, again: Callable) -> Callable:
    """Reduce x itself over the axes that are really there; `again(b, y, n)` is what n entries equal to y reduce to."""

    def right(b, x, d, a, k):
        missing, wide = len(d) - x.type.rank, TensorType(x.type.dtype, d)
        out, n = reduced(wide, a, k), count(wide, _stretched(x, d, a))
        if x.type.rank == 0:
            value = again(b, x, n)
            return b.fill(value, dims=out.dims, dtype=value.type.dtype)
        y = b.emit(op, (x,), {"axes": tuple(i - missing for i in a if i >= missing), "keepdims": k})
        return b.broadcast(again(b, y, n), dims=out.dims)

    return right


def _of_fill(op: str, again: Callable) -> Callable:
    return lambda b, x, d, t, a, k: _of_broadcast(op, again)(b, x, d, a, k) if x.type.dtype == t else None


def _merged(op: str) -> Callable:
    """One reduction in the place of two: `c` are axes of what is left after `a`."""

    def right(b, x, a, c, k):
        left = [i for i in range(x.type.rank) if k or i not in a]
        return b.emit(op, (x,), {"axes": tuple(sorted({*a, *(left[i] for i in c)})), "keepdims": k})

    return right


def _of_one(b, x, a, k):
    """Nothing to reduce: the axes are of size 1, or there are none."""
    if not all(x.type.dims[i] == 1 for i in a):
        return None
    return x if k or not a else b.reshape(x, dims=tuple(d for i, d in enumerate(x.type.dims) if i not in a))


def _reshaped(op: str, k: bool) -> Callable:
    """The reduction that keeps its axes, or drops them, as a reshape after it did."""

    def right(b, x, a, d):
        y = b.emit(op, (x,), {"axes": a, "keepdims": not k})
        return y if y.type.dims == d else None

    return right


AGAIN = {  # what n equal entries reduce to
    "sum": lambda b, y, n: b.mul(y, n),
    "logsumexp": lambda b, y, n: b.add(y, b.log(n)),
    **dict.fromkeys(("mean", "max", "min", "any", "all"), lambda b, y, n: y),
}

REDUCTIONS = tuple(
    law
    for r, again in AGAIN.items()
    for law in (
        Law(f"{r}(x, axes=a, keepdims=k)", _of_one),
        Law(f"{r}(broadcast(x, dims=d), axes=a, keepdims=k)", _of_broadcast(r, again)),
        Law(f"{r}(fill(x, dims=d, dtype=t), axes=a, keepdims=k)", _of_fill(r, again)),
        Law(f"{r}(once({r}(x, axes=a, keepdims=k)), axes=c, keepdims=k)", _merged(r)),
        Law(f"reshape(once({r}(x, axes=a, keepdims=False)), dims=d)", _reshaped(r, False)),
        Law(f"reshape(once({r}(x, axes=a, keepdims=True)), dims=d)", _reshaped(r, True)),
    )
)

# ---- contractions


def _transposed(b, xs, s: Contraction, p):
    order = tuple(s.result[i] for i in p)
    return b.contract(*xs, spec=Contraction(s.operands, order, s.ranges, tuple(s.dims[i] for i in p)))


def _of_one_operand(b, x, s: Contraction):
    """A sum and a transpose, where every index runs along one whole axis."""
    (subscripts,) = s.operands
    whole = s.is_plain(subscripts) and s.is_plain(s.result) and set(s.result) <= set(subscripts)
    if not whole or any(s.range[i.symbol] != d for i, d in zip(subscripts, x.type.dims, strict=True)):
        return None
    kept = [i for i in subscripts if i in s.result]
    summed = b.sum(x, axes=tuple(n for n, i in enumerate(subscripts) if i not in s.result))
    return b.transpose(summed, perm=tuple(kept.index(i) for i in s.result))


def _absorbed(b, xs, s: Contraction):
    """Operands as they are before a transpose, or before they repeat along indices that others have too."""
    for position, x in enumerate(xs):
        before = b.producer(x)
        if before is None or before.op not in ABSORBED:
            continue
        found = ABSORBED[before.op](before.args[0], before.params, s, position)
        if found is not None:
            kept, subscripts = found
            return _contracted(b, xs, s, position, _with_axes(b, before.args[0], kept), subscripts)
    return None


def _before_transpose(y: Value, params, s: Contraction, position: int):
    """All axes of y, and their subscripts."""
    subscripts = s.operands[position]
    return tuple(range(y.type.rank)), tuple(subscripts[params["perm"].index(i)] for i in range(y.type.rank))


def _before_broadcast(y: Value, params, s: Contraction, position: int):
    """The axes of y that are not of size 1, where the indices of all others occur elsewhere."""
    subscripts, missing = s.operands[position], len(params["dims"]) - y.type.rank
    gone = _stretched(y, params["dims"], tuple(range(len(params["dims"]))))
    kept = tuple(i for i in range(len(subscripts)) if i not in gone)
    others = (*(o for n, o in enumerate(s.operands) if n != position), tuple(subscripts[i] for i in kept))
    elsewhere = frozenset(n for o in others for n in s.indices(o))
    if not gone or not set(s.indices(tuple(subscripts[i] for i in gone))) <= elsewhere:
        return None
    return tuple(i - missing for i in kept), tuple(subscripts[i] for i in kept)


def _before_fill(y: Value, params, s: Contraction, position: int):
    """A number that became a tensor without axes only multiplies."""
    return None if params["dims"] or len(s.operands) == 1 else ((), ())


ABSORBED = {"transpose": _before_transpose, "broadcast": _before_broadcast, "fill": _before_fill}


def _with_axes(b, y: Value, axes: tuple[int, ...]) -> Value:
    return y if len(axes) == y.type.rank else b.reshape(y, dims=tuple(y.type.dims[i] for i in axes))


def _contracted(b, xs, s: Contraction, position: int, y: Value, subscripts) -> Value:
    """With another operand in a position; a scalar multiplies what the others give."""
    change = lambda old, new: (*old[:position], *new, *old[position + 1 :])  # noqa: E731
    if y.type.rank or len(xs) == 1:
        return b.contract(
            *change(xs, (y,)), spec=Contraction(change(s.operands, (subscripts,)), s.result, s.ranges, s.dims)
        )
    rest = b.contract(*change(xs, ()), spec=Contraction(change(s.operands, ()), s.result, s.ranges, s.dims))
    return b.mul(rest, y)


CONTRACTIONS = (
    Law("contract(*xs, spec=s)", _absorbed),
    Law("transpose(once(contract(*xs, spec=s)), perm=p)", _transposed),
    Law("contract(x, spec=s)", _of_one_operand),
)

SHAPE_LAWS = (*MOVEMENT, *PIECES, *REDUCTIONS, *CONTRACTIONS)
