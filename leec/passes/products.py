"""Plain products: arrays whose axes are index names, multiplied and summed, as few and as large `@` as there can be.

`multiply` brings two arrays into the form stack x rows x inner by stack x inner x columns, with transposes and
reshapes around one product. A reshape of a window view is the one copy that a convolution needs ("im2col").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from leec.dims import Dim
from leec.ir.graph import Value
from leec.ops.contract import Contraction, matrix_form
from leec.ops.moving import reshaped
from leec.passes.rewrite import Rewriter
from leec.types import join_dtypes

Names = tuple[str, ...]
TYPICAL = 32  # stands for a size that is not known, where the order of products is chosen


@dataclass(frozen=True)
class Labelled:
    """An array with an index name for every axis.

    `short` are its axes that run inside a window; where there are some, merging axes copies.
    """

    value: Value
    names: Names
    short: frozenset[str] = frozenset()

    def dim(self, name: str) -> Dim:
        return self.value.type.dims[self.names.index(name)]


def unique(names: Iterable[str]) -> Names:
    return tuple(dict.fromkeys(names))


def transposed(b: Rewriter, x: Labelled, names: Names) -> Labelled:
    """The same axes in another order."""
    if names == x.names:
        return x
    return Labelled(b.transpose(x.value, perm=tuple(map(x.names.index, names))), names, x.short)


def summed(b: Rewriter, x: Labelled, names: set[str]) -> Labelled:
    """The sum over some axes."""
    if not names:
        return x
    value = b.sum(x.value, axes=tuple(i for i, n in enumerate(x.names) if n in names))
    return Labelled(value, tuple(n for n in x.names if n not in names), x.short - names)


def aligned(b: Rewriter, x: Labelled, names: Names) -> Value:
    """The array with these axes, of size 1 where it lacks one; leading ones are left out, as broadcasting allows."""
    x = transposed(b, x, tuple(n for n in names if n in x.names))
    while names and names[0] not in x.names:
        names = names[1:]
    dims = tuple(x.dim(n) if n in x.names else Dim.of(1) for n in names)
    return reshaped(b, x.value, dims)


def contract_all(b: Rewriter, arrays: list[Labelled], keep: Names) -> Labelled:
    """The sum over every name that is not kept of the product of the arrays, its axes in the order of `keep`."""
    arrays = [_alone(b, arrays, i, keep) for i in range(len(arrays))]
    for left, right in _order(arrays, keep):
        y, x = arrays.pop(max(left, right)), arrays.pop(min(left, right))
        later = {n for a in arrays for n in a.names} | set(keep)
        wanted = keep if not arrays else unique(n for n in (*x.names, *y.names) if n in later)
        arrays.append(multiply(b, x, y, tuple(n for n in wanted if n in (*x.names, *y.names))))
    (last,) = arrays
    return transposed(b, last, tuple(n for n in keep if n in last.names))


def _alone(b: Rewriter, arrays: list[Labelled], position: int, keep: Names) -> Labelled:
    """One array, summed over the names that nothing else mentions."""
    others = {n for i, a in enumerate(arrays) if i != position for n in a.names}
    return summed(b, arrays[position], set(arrays[position].names) - others - set(keep))


def _order(arrays: list[Labelled], keep: Names) -> Iterable[tuple[int, int]]:
    """Pairs of positions to multiply, each product going to the end of the list; by cost where there is a choice."""
    if len(arrays) < 3:
        return [(0, 1)] * (len(arrays) - 1)
    from opt_einsum import contract_path  # only here: few programs need it, and importing leec stays light
    from opt_einsum.parser import get_symbol

    letters = {n: get_symbol(i) for i, n in enumerate(unique(n for a in arrays for n in a.names))}
    write = lambda names: "".join(letters[n] for n in names if n in letters)  # noqa: E731
    shapes = [tuple(max(1, d.evaluate(Typical())) for d in a.value.type.dims) for a in arrays]
    text = f"{','.join(write(a.names) for a in arrays)}->{write(keep)}"
    return contract_path(text, *shapes, shapes=True, optimize="optimal" if len(arrays) < 7 else "greedy")[0]


class Typical(dict):
    """Sizes by name, where none is known."""

    def __missing__(self, name: str) -> int:
        return TYPICAL


def multiply(b: Rewriter, x: Labelled, y: Labelled, keep: Names) -> Labelled:
    """The product of two arrays, summed over the names that are not kept."""
    dtype = join_dtypes(x.value.type, y.value.type)
    x, y = (
        a if a.value.type.dtype == dtype else Labelled(b.cast(a.value, dtype=dtype), a.names, a.short) for a in (x, y)
    )
    inner = [n for n in x.names if n in y.names and n not in keep]
    dots = not any((n in x.names) != (n in y.names) for n in keep) and keep
    if not inner or dots or not x.value.type.is_float or x.value.type.host or y.value.type.host:
        return _entrywise(b, x, y, keep)
    spec = plain_spec((x, y), keep)
    if matrix_form(spec):
        return Labelled(b.contract(x.value, y.value, spec=spec), keep)
    return _Product(b, x, y, keep, inner).build()


def _entrywise(b: Rewriter, x: Labelled, y: Labelled, keep: Names) -> Labelled:
    """`x * y` in the order of one that has every axis, where there is one, and a sum after it."""
    every = set(x.names) | set(y.names)
    inner = every - set(keep)
    names = next(
        (a.names for a in (x, y) if inner and every == set(a.names)), (*keep, *(n for n in x.names if n in inner))
    )
    value = b.mul(aligned(b, x, names), aligned(b, y, names))
    return transposed(b, summed(b, Labelled(value, names), inner), keep)


def plain_spec(arrays: tuple[Labelled, ...], keep: Names) -> Contraction:
    """The contraction of arrays whose axes are bare indices."""
    sizes = {n: a.dim(n) for a in arrays for n in a.names}
    bare = lambda names: tuple(map(Dim.of, names))  # noqa: E731
    return Contraction(
        tuple(bare(a.names) for a in arrays), bare(keep), tuple(sizes.items()), tuple(sizes[n] for n in keep)
    )


class _Product:
    """One `@`: which names are the stack of matrices, the rows, the columns and the inner axis."""

    def __init__(self, b: Rewriter, x: Labelled, y: Labelled, keep: Names, inner: list[str]):
        self.b, self.keep = b, keep
        both = [n for n in keep if n in x.names and n in y.names]
        free = [n for n in keep if n not in both]
        ahead = _ahead(free, x)
        rest = [n for n in free if n not in ahead]
        self.left, self.right = (x, y) if not rest or rest[0] in x.names else (y, x)
        self.rows = tuple(n for n in rest if n in self.left.names)
        self.columns = tuple(n for n in rest if n in self.right.names)
        self.inner = self._inner_order(inner)
        added_up = self._added_up()
        self.inner = tuple(n for n in self.inner if n not in added_up)
        self.stack = (*ahead, *added_up, *both)

    def _inner_order(self, inner: list[str]) -> Names:
        """As they lie in the operand that has them side by side, so that merging them there is free."""
        orders = [tuple(n for n in a.names if n in inner) for a in (self.left, self.right)]
        for array, order in zip((self.left, self.right), orders, strict=True):
            if not array.short and _adjacent(array.names, order):
                return order
        return orders[0]

    def _added_up(self) -> Names:
        """A leading summed name becomes a stack of products that are added up, where merging it would copy."""
        first = self.inner[0]
        leads = self.left.names[0] == self.right.names[0] == first and len(self.inner) > 1
        free = all(not a.short and _adjacent(a.names, self.inner) for a in (self.left, self.right))
        return (first,) if leads and not free else ()

    def build(self) -> Labelled:
        left = self._matrix(self.left, (self.rows, self.inner), (self.inner, self.rows))
        right = self._matrix(self.right, (self.inner, self.columns), (self.columns, self.inner))
        spec = plain_spec((left, right), (*self.stack, *self._label(self.rows), *self._label(self.columns)))
        product = self.b.contract(left.value, right.value, spec=spec)
        names = (*self.stack, *self.rows, *self.columns)
        dims = tuple((self.left if n in self.left.names else self.right).dim(n) for n in names)
        whole = Labelled(reshaped(self.b, product, dims), names)
        return transposed(self.b, summed(self.b, whole, set(names) - set(self.keep)), self.keep)

    def _matrix(self, array: Labelled, *orders: tuple[Names, Names]) -> Labelled:
        """The stack and two axes merged from groups, in the first of the orders that copies least."""
        stack = tuple(n for n in self.stack if n in array.names)
        groups = min(orders, key=lambda order: _copies(array, stack, order))
        array = transposed(self.b, array, (*stack, *groups[0], *groups[1]))
        labels = [self._label(g) for g in groups]
        dims = (*map(array.dim, stack), *(_size(array, g) for g, label in zip(groups, labels, strict=True) if label))
        hint = "columns" if array.short else None
        return Labelled(reshaped(self.b, array.value, dims, hint), (*stack, *(n for label in labels for n in label)))

    def _label(self, group: Names) -> Names:
        """A merged axis is called as its first. Beside a stack a vector is a matrix of one row or column, called _."""
        return group[:1] or (("_",) if self.stack else ())


def _ahead(free: list[str], x: Labelled) -> Names:
    """Leading names of one operand that come before names of the other, and again names of the first.

    `y[n, o, i] = sum of w[o, ..] * x[n, .., i]` is a stack over n of products w @ x[n]: no axis has to move.
    """
    side = [n in x.names for n in free]
    run = next((i for i, s in enumerate(side) if s != side[0]), len(side))
    return tuple(free[:run]) if side and side[0] in side[run:] else ()


def _adjacent(names: Names, part: Names) -> bool:
    return any(names[i : i + len(part)] == part for i in range(len(names)))


def _size(array: Labelled, group: Names) -> Dim:
    total = Dim.of(1)
    for name in group:
        total = total * array.dim(name)
    return total


def _copies(array: Labelled, stack: Names, order: tuple[Names, Names]) -> tuple[bool, bool]:
    """What an order of a matrix costs: a copy to merge axes; in a copy, short stretches that lie together."""
    names = (*stack, *order[0], *order[1])
    merges = any(len(group) > 1 for group in order)
    copies = merges and (bool(array.short) or names != array.names)
    return copies, copies and bool(names) and names[-1] in array.short
