"""Finding convolutions: which contractions of two operands are one, or one of its gradients.

Only the subscripts decide, never names or layouts. An axis `s*i + d*u` is a window where i and u stand apart in the
other two of the three arrays; every other index is the batch, the groups, or channels, by the arrays it occurs in.
Axes are then brought to the library's order; several indices of one kind become one axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from math import prod

from leec.dims import Dim
from leec.ops.contract import Contraction, Subscripts, Term, span
from leec.ops.laws import Law
from leec.ops.moving import reshaped
from leec.ops.shape import Slices
from leec.types import ShapeMismatch

ONE, ZERO = Dim.of(1), Dim.of(0)
RESULT = 2  # the result, after the operands 0 and 1
Names = tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """An axis of size `dim` with subscript `start + s*i + d*u`: i counts places, u offsets within the window."""

    place: Term
    offset: Term
    start: Dim
    dim: Dim

    @property
    def reach(self) -> Dim:
        """How many entries lie from the first to the last that is read."""
        return span((self.place, self.offset))

    @property
    def fills(self) -> bool:
        """No further place would fit on the axis."""
        return self.start == 0 and (self.dim - span((self.offset,))) // self.place.step + 1 == self.place.size


@dataclass(frozen=True)
class Found:
    """A contraction read as a convolution: which array has the windows, which the places and which the kernel."""

    spec: Contraction
    wide: int
    places: int
    kernel: int
    windows: tuple[Window, ...]

    def kind(self, *arrays: int) -> Names:
        """The indices that occur in just these arrays, in order, without those of windows."""
        inside = {t.name for w in self.windows for t in (w.place, w.offset)}
        where = occurrences(self.spec)
        return tuple(n for n, _ in self.spec.ranges if where[n] == set(arrays) and n not in inside)

    @property
    def groups(self) -> Names:
        return self.kind(0, 1, RESULT)

    def axes(self, array: int) -> tuple[Names, ...]:
        """The indices that make each axis of an array in the library's layout; a window is called as its place."""
        batch, inputs = self.kind(self.wide, self.places), self.kind(self.wide, self.kernel)
        outputs = self.kind(self.places, self.kernel)
        if array == self.kernel:
            return (*self.groups, *outputs), inputs, *((w.offset.name,) for w in self.windows)
        channels = inputs if array == self.wide else outputs
        return batch, (*self.groups, *channels), *((w.place.name,) for w in self.windows)

    def names(self, array: int) -> Names:
        """The index of every axis of an array as it is."""
        windows = iter(self.windows)
        side = (*self.spec.operands, self.spec.result)[array]
        return tuple(s.symbol if s.symbol in self.spec.range else next(windows).place.name for s in side)

    @property
    def how(self) -> dict[str, object]:
        """The params of a convolution."""
        groups = prod((self.spec.range[n] for n in self.groups), start=ONE)
        steps = {
            "stride": tuple(w.place.step for w in self.windows),
            "dilation": tuple(w.offset.step for w in self.windows),
        }
        return {**steps, "padding": (ZERO,) * len(self.windows), "groups": groups}


def occurrences(spec: Contraction) -> dict[str, frozenset[int]]:
    """Which of the operands and the result mention an index."""
    sides = [spec.indices(s) for s in (*spec.operands, spec.result)]
    return {n: frozenset(i for i, found in enumerate(sides) if n in found) for n, _ in spec.ranges}


# ---- reading


def convolution(spec: Contraction, dims: tuple[tuple[Dim, ...], ...]) -> Found | None:
    """The contraction as a convolution, if it is one; `dims` are those of the operands and the result.

    Of the two indices of a window the one that runs farther counts the places; where axes disagree, any will do.
    """
    for in_order in (True, False):
        for wide, places, kernel in permutations(range(3)):
            windows = list(_windows(spec, dims[wide], (wide, places, kernel), in_order))
            if None not in windows and 1 <= len(windows) <= 3:
                found = Found(spec, wide, places, kernel, tuple(windows))
                if _complete(found, dims):
                    return found
    return None


def _windows(
    spec: Contraction, dims: tuple[Dim, ...], roles: tuple[int, int, int], in_order: bool
) -> Iterator[Window | None]:
    """Every axis with more than a bare index; None for one that is no window."""
    where, (wide, places, kernel) = occurrences(spec), roles
    for subscript, dim in zip((*spec.operands, spec.result)[wide], dims, strict=True):
        if subscript.symbol not in spec.range:
            terms = spec.terms(subscript)[:: 1 if in_order else -1]
            fits = [where[t.name] for t in terms] == [{wide, places}, {wide, kernel}]
            start, _ = spec.reach(subscript)
            yield Window(*terms, start, dim) if fits and not any(t.backwards for t in terms) else None


def _complete(found: Found, dims: tuple[tuple[Dim, ...], ...]) -> bool:
    """Every index has a part to play, once an array, and what is no window runs along a whole axis."""
    spec, sides = found.spec, (*found.spec.operands, found.spec.result)
    once = [n for s in sides[found.wide] for n in spec.indices((s,))]
    parts = {n for array in range(3) for axis in found.axes(array) for n in axis}
    bare = [
        (s, d)
        for side, ds in zip(sides, dims, strict=True)
        for s, d in zip(side, ds, strict=True)
        if s.symbol in spec.range
    ]
    return (
        len(once) == len(set(once))
        and all(spec.is_plain(sides[i]) for i in (found.places, found.kernel))
        and parts == spec.range.keys()
        and all(spec.range[s.symbol] == d for s, d in bare)
    )


def split_groups(b, spec: Contraction, xs: tuple) -> tuple[Contraction, tuple]:
    """Axes that count through groups, `c*g + k` with g in all three arrays, as two axes each."""
    parts = [_digits(spec, s, x.type.dims) for x, s in zip(xs, spec.operands, strict=True)]
    arrays = tuple(reshaped(b, x, dims) for x, (_, dims) in zip(xs, parts, strict=True))
    result, dims = _digits(spec, spec.result, spec.dims)
    return Contraction(tuple(s for s, _ in parts), result, spec.ranges, dims), arrays


def _digits(spec: Contraction, subscripts: Subscripts, dims: tuple[Dim, ...]) -> tuple[Subscripts, tuple[Dim, ...]]:
    """The subscripts and dims of an array once its groups have an axis of their own."""
    where, found = occurrences(spec), []
    for subscript, dim in zip(subscripts, dims, strict=True):
        terms = spec.counts_through(subscript, dim)
        grouped = len(terms) == 2 and any(len(where[t.name]) == 3 for t in terms)
        found += [(Dim.of(t.name), t.size) for t in terms] if grouped else [(subscript, dim)]
    return tuple(s for s, _ in found), tuple(d for _, d in found)


# ---- rewriting


def recognise_convolution(b, xs: tuple, s: Contraction):
    """A contraction of two arrays as `conv`, `conv_transpose` or `conv_kernel`, between transposes and reshapes."""
    plain = all(d.symbol in s.range for side in (*s.operands, s.result) for d in side)
    if len(xs) != 2 or plain or not all(x.type.is_float for x in xs):
        return None
    spec, arrays = split_groups(b, s, xs)
    found = convolution(spec, (*(x.type.dims for x in arrays), spec.dims))
    if found is None:
        return None
    arranged = {i: _to_library(b, found, i, x) for i, x in enumerate(arrays)}
    make = {found.wide: _transposed, found.places: _forward, found.kernel: _kernel_gradient}[RESULT]
    return reshaped(b, _from_library(b, found, make(b, found, arranged)), s.dims)


def _forward(b, found: Found, arrays: dict):
    return b.conv(_cut(b, found, arrays[found.wide]), arrays[found.kernel], **found.how)


def _kernel_gradient(b, found: Found, arrays: dict):
    sizes = tuple(w.offset.size for w in found.windows)
    return b.conv_kernel(_cut(b, found, arrays[found.wide]), arrays[found.places], dims=sizes, **found.how)


def _transposed(b, found: Found, arrays: dict):
    """The space that is reached, in its place within zeros where there is more."""
    reached = tuple(w.dim if w.fills else w.reach for w in found.windows)
    made = b.conv_transpose(arrays[found.places], arrays[found.kernel], dims=reached, **found.how)
    if all(w.fills for w in found.windows):
        return made
    dims = (*made.type.dims[:2], *(w.dim for w in found.windows))
    return b.unslice(made, slices=_stretches(found, dims), dims=dims)


def _cut(b, found: Found, x):
    """The array with the windows, as far as they reach."""
    return x if all(w.fills for w in found.windows) else b.slice(x, slices=_stretches(found, x.type.dims))


def _stretches(found: Found, dims: tuple[Dim, ...]) -> Slices:
    slices = Slices.whole(dims)
    for axis, w in enumerate(found.windows, 2):
        slices = slices if w.fills else slices.at(axis, w.start, w.start + w.reach)
    return slices


def _to_library(b, found: Found, array: int, x):
    """Axes in the library's order, indices of one kind merged. Padding moves along, so that it is still seen."""
    names, axes = found.names(array), found.axes(array)
    order = tuple(names.index(n) for axis in axes for n in axis)
    before = b.producer(x)
    if before and before.op == "pad" and before.params["value"] == 0 and order != tuple(range(len(order))):
        widths = [[before.params["widths"][names.index(n)] for n in axis] for axis in axes]
        if all(len(w) == 1 or all(d == 0 for pair in w for d in pair) for w in widths):
            inner = _to_library(b, found, array, before.args[0])
            return b.pad(inner, widths=tuple(w[0] if len(w) == 1 else (ZERO, ZERO) for w in widths))
    x = x if order == tuple(range(len(order))) else b.transpose(x, perm=order)
    lengths = iter(x.type.dims)
    return reshaped(b, x, tuple(prod((next(lengths) for _ in axis), start=ONE) for axis in axes))


def _from_library(b, found: Found, y):
    """The result with its own axes, before its groups are merged."""
    names, axes = found.names(RESULT), found.axes(RESULT)
    sizes = dict(zip(names, found.spec.dims, strict=True))
    order = tuple(n for axis in axes for n in axis)
    y = reshaped(b, y, tuple(sizes[n] for n in order))
    return y if order == names else b.transpose(y, perm=tuple(order.index(n) for n in names))


# ---- what else the library does


def _with_padding(op: str):
    """Zeros around the space, the same on both sides, are the library's `padding`."""

    def right(b, x, y, v, s, p, d, q, **more):
        around, inside = v[2:], v[:2]
        if any(w != 0 for pair in inside for w in pair) or any(lo != hi for lo, hi in around):
            return None
        padding = tuple(a + lo for a, (lo, _) in zip(p, around, strict=True))
        params = {"stride": s, "padding": padding, "dilation": d, "groups": q}
        return b.emit(op, (x, y), {**params, **({"dims": more["e"]} if more else {})})

    return right


def _cropped(b, g, w, s, p, d, q, e, t):
    """Entries cut off around the space of a transposed convolution are its `padding`."""
    if any(step != 1 for _, _, step in t) or any(start != 0 for start, _, _ in t[:2]):
        return None
    padding = tuple(a + start for a, (start, _, _) in zip(p, t[2:], strict=True))
    dims = tuple(stop - start for start, stop, _ in t[2:])
    try:
        return b.conv_transpose(g, w, stride=s, padding=padding, dilation=d, groups=q, dims=dims)
    except ShapeMismatch:  # cut more on one side than on the other
        return None


def _with_bias(b, y, c, e):
    """One function of torch for a convolution that nothing else reads, and a number for each of its channels."""
    conv = b.producer(y)
    if conv is None or conv.op != "conv" or len(conv.args) > 2 or b.uses[y]:
        return None
    x, w = conv.args
    fits = c.type.rank == 1 and e == (*c.type.dims, *(ONE for _ in w.type.dims[2:])) and c.type.dims == w.type.dims[:1]
    return b.conv(x, w, c, **conv.params) if fits else None


HOW = "stride=s, padding=p, dilation=d, groups=q"
CONV = (
    Law("contract(*xs, spec=s)", recognise_convolution),
    Law(f"conv(pad(x, widths=v, value=0), y, {HOW})", _with_padding("conv")),
)
BIAS = (Law("add(y, reshape(c, dims=e))", _with_bias),)
TRANSPOSED = (Law(f"slice(once(conv_transpose(g, w, {HOW}, dims=e)), slices=t)", _cropped),)
KERNEL = (Law(f"conv_kernel(pad(x, widths=v, value=0), y, {HOW}, dims=e)", _with_padding("conv_kernel")),)
