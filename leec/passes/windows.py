"""Windows: every contraction becomes strided views of its operands, plain products, and the folding of their result.

Subscripts `s*i + u` of an operand are a window, of the result the overlapping sum that undoes one; `s*i + c` is a
slice, `c*g + k` that counts through a whole axis a reshape, a repeated index a diagonal. Nothing loops over entries:
a convolution is one view, one copy and one product. What `@`, `*` or a diagonal say by themselves stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from leec.dims import Dim
from leec.ir.graph import Equation, Function, Value
from leec.ops.contract import Contraction, Subscripts, Term, matrix_form, span
from leec.ops.moving import reshaped
from leec.ops.shape import Slices
from leec.passes.products import Labelled, Names, aligned, contract_all, transposed, unique
from leec.passes.rewrite import Rewriter, Rules, rewrite


def lower_windows(f: Function) -> Function:
    """The function with every contraction in a form that both back ends can run."""
    return rewrite(f, Rules(generic=[lower_equation]))


def lower_equation(b: Rewriter, equation: Equation) -> Value | None:
    spec = equation.params.get("spec")
    if not isinstance(spec, Contraction) or _stands(spec, equation.args):
        return None
    return lower_contraction(b, spec, equation.args)


def _stands(spec: Contraction, args: tuple[Value, ...]) -> bool:
    """Is it one product, or one diagonal?"""
    if not spec.is_direct(*(a.type for a in args)):
        return False
    if len(args) == 1:
        return set(spec.operands[0]) == set(spec.result) and len(spec.operands[0]) > len(spec.result)
    return all(a.type.is_float and not a.type.host for a in args) and matrix_form(spec) is not None


def lower_contraction(b: Rewriter, spec: Contraction, args: tuple[Value, ...]) -> Value:
    """The result of a contraction, written with views, products and folds; an index that nothing mentions counts."""
    arrays = [view(b, x, subscripts, spec) for x, subscripts in zip(args, spec.operands, strict=True)]
    axes = [Axis(spec, s, d) for s, d in zip(spec.result, spec.dims, strict=True)]
    order = unique(t.name for axis in axes for t in axis.terms)
    value = place(b, contract_all(b, arrays, order), spec, axes)
    mentioned = {*order, *(n for x in arrays for n in x.names)}
    times = math.prod((d for n, d in spec.ranges if n not in mentioned), start=Dim.of(1))
    return value if times == 1 else b.mul(value, b.size(times))


# ---- operands


def view(b: Rewriter, x: Value, subscripts: Subscripts, spec: Contraction) -> Labelled:
    """The operand with one axis for every index in its subscripts."""
    axes = [Axis(spec, s, d) for s, d in zip(subscripts, x.type.dims, strict=True)]
    whole = Slices.whole(x.type.dims)
    slices = Slices(axis.stretch or w for axis, w in zip(axes, whole, strict=True))
    x = x if slices == whole else b.slice(x, slices=slices)
    for position, axis in reversed(list(enumerate(axes))):
        x = axis.slide(b, x, position)
    terms = [t for axis in axes for t in axis.terms]
    x = reshaped(b, x, tuple(t.size for t in terms))
    back = tuple(i for i, t in enumerate(terms) if t.backwards)
    x = b.flip(x, axes=back) if back else x
    short = frozenset(t.name for axis in axes if axis.is_window for t in axis.terms[1:])
    return _diagonal(b, Labelled(x, tuple(t.name for t in terms), short))


class Axis:
    """One axis of an operand or of the result: which of its entries a subscript reaches, through which indices."""

    def __init__(self, spec: Contraction, subscript: Dim, dim: Dim):
        digits = spec.counts_through(subscript, dim)
        self.dim = dim
        self.terms: tuple[Term, ...] = digits or spec.terms(subscript)
        self.is_window = len(self.terms) > 1 and not digits
        self.start, self.span = spec.reach(subscript)
        self.stretch = None if digits or self._covers() else self._stretch()

    def _covers(self) -> bool:
        """Do its windows fill the axis, but for a rest at the end that no further window would fit in?"""
        last = (self.dim - span(self.terms[1:])) // self.terms[0].step if self.is_window else None
        return self.is_window and self.start == 0 and last + 1 == self.terms[0].size

    def _stretch(self) -> tuple[Dim, Dim, Dim]:
        """First, end and step of the entries that are reached."""
        return self.start, self.start + self.span, self.terms[0].step if len(self.terms) == 1 else Dim.of(1)

    @property
    def merged(self) -> tuple[Dim, ...]:
        """The sizes in an array that is about to be folded: those of a window's indices, else one for all."""
        if self.is_window:
            return tuple(t.size for t in self.terms)
        return (math.prod((t.size for t in self.terms), start=Dim.of(1)),)

    def slide(self, b: Rewriter, x: Value, position: int) -> Value:
        """The axis as windows: the outermost index, and inside of it the others."""
        for outer, *inner in _levels(self.terms if self.is_window else ()):
            size, dilation = (inner[0].size, inner[0].step) if len(inner) == 1 else (span(inner), Dim.of(1))
            x = b.window(x, axis=position, size=size, stride=outer.step, dilation=dilation, hint="windows")
            position += 1
        return x

    def fold(self, b: Rewriter, x: Value, position: int) -> Value:
        """The overlapping sum of what `slide` would take apart."""
        size = self.dim if self.stretch is None else self.span
        for outer, *inner in reversed(list(_levels(self.terms if self.is_window else ()))):
            depth = len(self.terms) - 1 - len(inner)
            into = size if depth == 0 else span((outer, *inner))
            dilation = inner[0].step if len(inner) == 1 else Dim.of(1)
            x = b.unwindow(x, axis=position + depth, size=into, stride=outer.step, dilation=dilation)
        return x


def _levels(terms: tuple[Term, ...]) -> Iterator[tuple[Term, ...]]:
    """From the outermost index inwards, each with those inside of it."""
    return (terms[i:] for i in range(len(terms) - 1))


def _diagonal(b: Rewriter, x: Labelled) -> Labelled:
    """One axis for an index that stands several times."""
    names = unique(x.names)
    if names == x.names:
        return x
    bare = lambda names: tuple(map(Dim.of, names))  # noqa: E731
    ranges = tuple((n, x.dim(n)) for n in names)
    spec = Contraction((bare(x.names),), bare(names), ranges, tuple(d for _, d in ranges))
    return Labelled(b.contract(x.value, spec=spec), names, x.short)


# ---- result


def place(b: Rewriter, x: Labelled, spec: Contraction, axes: list[Axis]) -> Value:
    """The result from an array over its indices; entries that no index reaches are 0."""
    x, names = _spread(b, x, [t for axis in axes for t in axis.terms])
    back = tuple(i for i, t in enumerate(t for axis in axes for t in axis.terms) if t.backwards)
    value = transposed(b, x, names).value
    value = b.flip(value, axes=back) if back else value
    value = reshaped(b, value, tuple(d for axis in axes for d in axis.merged))
    for i, axis in reversed(list(enumerate(axes))):
        value = axis.fold(b, value, sum(len(a.merged) for a in axes[:i]))
    whole = Slices.whole(spec.dims)
    slices = Slices(axis.stretch or w for axis, w in zip(axes, whole, strict=True))
    return value if slices == whole else b.unslice(value, slices=slices, dims=spec.dims)


def _spread(b: Rewriter, x: Labelled, terms: list[Term]) -> tuple[Labelled, Names]:
    """An axis for every term: repeated along those that no operand has, zero beside the diagonal of those that repeat.

    The second axis of an index i is called i'.
    """
    names = unique(t.name for t in terms)
    sizes = {t.name: t.size for t in terms}
    if set(names) != set(x.names):
        x = Labelled(b.broadcast(aligned(b, x, names), dims=tuple(map(sizes.get, names))), names)
    seen: list[str] = []
    for term in terms:
        label = term.name + "'" * seen.count(term.name)
        seen.append(term.name)
        if label not in x.names:
            x = _beside(b, x, term.name, label)
    labels = tuple(n + "'" * seen[:i].count(n) for i, n in enumerate(seen))
    return x, labels


def _beside(b: Rewriter, x: Labelled, name: str, label: str) -> Labelled:
    """One more axis for an index, with zeros where it differs from the first."""
    names, dims = (*x.names, label), (*x.value.type.dims, x.dim(name))
    ones = lambda kept: tuple(d if n == kept else Dim.of(1) for n, d in zip(names, dims, strict=True))  # noqa: E731
    here, there = (b.iota(dims=ones(n), axis=names.index(n)) for n in (name, label))
    column = b.reshape(x.value, dims=(*x.value.type.dims, Dim.of(1)))
    return Labelled(b.select(b.eq(here, there), column, 0.0), names, x.short)
