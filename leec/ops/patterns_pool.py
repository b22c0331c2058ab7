"""Finding pooling: a maximum or a mean over just the offsets of the windows of an array.

The windows are a contraction of one operand, whose places and offsets its result has as axes; a mean may also be a
contraction that sums the offsets, divided by their number. Offsets in another order than the axes of space give the
order of space, as ties go to the first.
"""

from __future__ import annotations

from math import inf, prod

from leec.dims import Dim
from leec.ops.contract import Contraction
from leec.ops.laws import Law
from leec.ops.moving import reshaped
from leec.ops.patterns_conv import ONE, ZERO, Names, Window
from leec.ops.shape import Slices


def windows_of(spec: Contraction, dims: tuple[Dim, ...], offsets: Names) -> dict[str, Window] | None:
    """The window of every offset, where each is in one, and every other axis is a bare index along all of it."""
    (subscripts,), found = spec.operands, {}
    for subscript, dim in zip(subscripts, dims, strict=True):
        terms, inside = spec.terms(subscript), [t for t in spec.terms(subscript) if t.name in offsets]
        if subscript.symbol in spec.range:
            if subscript.symbol in offsets or spec.range[subscript.symbol] != dim:
                return None
        elif len(terms) == 2 and len(inside) == 1 and not any(t.backwards for t in terms):
            (place,) = [t for t in terms if t.name not in offsets]
            found[inside[0].name] = Window(place, inside[0], spec.reach(subscript)[0], dim)
        else:
            return None
    names = [n for s in subscripts for n in spec.indices((s,))]
    once = len(names) == len(set(names)) == len(spec.ranges)
    return found if once and found.keys() == set(offsets) and all(w.start == 0 for w in found.values()) else None


def _pooled(b, op: str, x, spec: Contraction, offsets: Names, **more):
    """`op` of the windows of x, axes in the order of the result without the offsets; None where there is none."""
    windows = windows_of(spec, x.type.dims, offsets)
    kept = tuple(s.symbol for s in spec.result if s.symbol not in offsets)
    if (
        not windows
        or len(windows) > 3
        or not x.type.is_float
        or not spec.is_plain(spec.result)
        or set(kept) | set(offsets) != spec.range.keys()
    ):
        return None
    space = [windows[n] for n in offsets]
    if op == "avg_pool" and any(w.offset.step != 1 for w in space):
        return None
    (subscripts,) = spec.operands
    places = [w.place.name for w in space]
    names = [next((p for p in places if p in spec.indices((s,))), s.symbol) for s in subscripts]
    x, fixed = _space_last(b, x, names, places, space)
    how = {
        "size": tuple(w.offset.size for w in space),
        "stride": tuple(w.place.step for w in space),
        "padding": (ZERO,) * len(space),
    }
    how |= {"dilation": tuple(w.offset.step for w in space)} if op == "max_pool" else {}
    y = b.emit(op, (x,), how)
    order = (*fixed, *places)
    y = reshaped(b, y, tuple(spec.range[n] for n in order))
    return y if order == kept else b.transpose(y, perm=tuple(order.index(n) for n in kept))


def _space_last(b, x, names: list[str], places: list[str], space: list[Window]):
    """x with the axes of space last and two before them, as far as the windows reach; and the names of the others."""
    fixed = tuple(n for n in names if n not in places)
    perm = tuple(names.index(n) for n in (*fixed, *places))
    x = x if perm == tuple(range(len(perm))) else b.transpose(x, perm=perm)
    slices = whole = Slices.whole(x.type.dims)
    for axis, w in enumerate(space, len(fixed)):
        slices = slices if w.fills else slices.at(axis, w.start, w.start + w.reach)
    x = x if slices == whole else b.slice(x, slices=slices)
    dims, count = x.type.dims, len(fixed)
    if count not in (1, 2):
        first, last = prod(dims[: max(count - 1, 0)], start=ONE), prod(dims[max(count - 1, 0) : count], start=ONE)
        dims = (first, last, *dims[count:])
    return reshaped(b, x, dims), fixed


# ---- laws


def _reduced(op: str):
    def right(b, x, s, a):
        offsets = tuple(s.result[i].symbol or "" for i in a)
        return _pooled(b, op, x, s, offsets)

    return right


def _divided(b, x, s, c):
    """The sum over some indices, divided by their number."""
    summed = tuple(n for n, _ in s.ranges if n not in s.indices(s.result))
    number = prod((s.range[n] for n in summed), start=ONE)
    size = b.producer(c)
    found = size.params.get("dim") if size and not size.args else None
    return _pooled(b, "avg_pool", x, s, summed) if summed and (found == number or number == b.constant(c)) else None


def _padded(op: str, around: float):
    """Entries of the neutral kind around the space, the same on both sides; no more than the libraries take."""

    def right(b, x, w, v, k, s, p, *_, **more):
        fixed = len(w) - len(k)
        space = w[fixed:]
        if v != around or any(d != 0 for pair in w[:fixed] for d in pair) or any(lo != hi for lo, hi in space):
            return None
        padding = tuple(q + lo for q, (lo, _) in zip(p, space, strict=True))
        if any(
            (size - 2 * q).constant is None or (size - 2 * q).constant < 0 for size, q in zip(k, padding, strict=True)
        ):
            return None
        return b.emit(
            op, (x,), {"size": k, "stride": s, "padding": padding, **({"dilation": more["d"]} if more else {})}
        )

    return right


LARGEST = (
    Law("max(contract(x, spec=s), axes=a, keepdims=False)", _reduced("max_pool")),
    Law("max_pool(pad(x, widths=w, value=v), size=k, stride=s, padding=p, dilation=d)", _padded("max_pool", -inf)),
)
AVERAGE = (
    Law("mean(contract(x, spec=s), axes=a, keepdims=False)", _reduced("avg_pool")),
    Law("div(once(contract(x, spec=s)), host(c))", _divided),
    Law("avg_pool(pad(x, widths=w, value=v), size=k, stride=s, padding=p)", _padded("avg_pool", 0.0)),
)
