"""`contract`: the sum of products over indices, with affine subscripts on operands and result (decision 9).

One op covers matrix products, convolution, both its gradients and its transpose, and it is closed under
differentiation: the cotangent of an operand is the contraction that swaps it with the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from string import ascii_letters

from leec.diagnostics import InternalError
from leec.dims import Dim, parse_dim
from leec.ops.table import REQUIRED, Op, declare, example
from leec.types import TensorType, join_dtypes

Subscripts = tuple[Dim, ...]  # one affine expression over index names an axis


@dataclass(frozen=True)
class Term:
    """What an index adds to a subscript: from one value of the index to the next `step` entries, maybe backwards."""

    name: str
    step: Dim
    size: Dim
    backwards: bool = False


@dataclass(frozen=True)
class Contraction:
    """result[..] = sum over all other indices of the product of operands[..]; an index runs over 0 .. its range - 1.

    Index names never occur as sizes in the same contraction. `dims` are the sizes of the result; entries that no
    index reaches are 0, entries that several reach add up.
    """

    operands: tuple[Subscripts, ...]
    result: Subscripts
    ranges: tuple[tuple[str, Dim], ...]
    dims: tuple[Dim, ...]

    @cached_property
    def range(self) -> Mapping[str, Dim]:
        return dict(self.ranges)

    def indices(self, subscripts: Subscripts) -> tuple[str, ...]:
        """The index names in some subscripts, in order of first use."""
        found: dict[str, None] = {}
        for subscript in subscripts:
            for name, _ in self.ranges:
                if name in subscript.symbols:
                    found.setdefault(name)
        return tuple(found)

    def is_plain(self, subscripts: Subscripts) -> bool:
        """Bare indices, each once: no window, no diagonal."""
        names = [s.symbol for s in subscripts]
        return all(n in self.range for n in names) and len(set(names)) == len(names)

    def terms(self, subscript: Dim) -> tuple[Term, ...]:
        """The indices of a subscript, that which runs farther first; else that with the longer steps, else in order.

        A step whose sign sizes do not decide counts as forwards.
        """
        if subscript.symbol in self.range:
            return (Term(subscript.symbol, Dim.of(1), self.range[subscript.symbol]),)
        found = []
        for name in self.indices((subscript,)):
            step = subscript.substitute({name: Dim.of(1)}) - subscript.substitute({name: Dim.of(0)})
            back = all(c < 0 for _, c in step.terms)
            found.append(Term(name, -step if back else step, self.range[name], back))
        found.sort(key=lambda t: (_rank(t.size), _rank(t.step)), reverse=True)
        if len(found) == 2 and found[1].step == found[0].size:  # side by side, whatever their number
            found.reverse()
        return tuple(found)

    def reach(self, subscript: Dim) -> tuple[Dim, Dim]:
        """The first entry of an axis that a subscript names, and how many there are from it to the last."""
        terms = self.terms(subscript)
        start = subscript.substitute({t.name: (t.size - 1 if t.backwards else Dim.of(0)) for t in terms})
        return start, span(terms)

    def counts_through(self, subscript: Dim, dim: Dim) -> tuple[Term, ...]:
        """The terms of a subscript that names every entry of an axis once, in order, like the digits of a number."""
        terms, step, digits = list(self.terms(subscript)), Dim.of(1), []
        while found := [t for t in terms if t.step == step and not t.backwards]:
            terms.remove(found[0])
            digits.insert(0, found[0])
            step = step * found[0].size
        return tuple(digits) if not terms and step == dim and self.reach(subscript)[0] == 0 else ()

    def is_direct(self, *types: TensorType) -> bool:
        """Bare indices over whole axes: what `@` and einsum can do without a view. Diagonals of operands are einsum's."""
        whole = zip((*self.operands, self.result), (*(t.dims for t in types), self.dims), strict=True)
        reached = {s.symbol for o in self.operands for s in o}
        return (
            all(
                len(subs) == len(dims)
                and all(s.symbol in self.range and self.range[s.symbol] == d for s, d in zip(subs, dims, strict=True))
                for subs, dims in whole
            )
            and self.is_plain(self.result)
            and reached == self.range.keys()
        )

    def swapped(self, position: int, dims: tuple[Dim, ...]) -> Contraction:
        """The contraction that gives the cotangent of one operand, the result's cotangent coming in its place."""
        operands = list(self.operands)
        target, operands[position] = operands[position], self.result
        return Contraction(tuple(operands), target, self.ranges, dims)

    def substitute(self, binding: Mapping[str, Dim]) -> Contraction:
        """Sizes replaced; index names that a new size would capture are renamed first."""
        new = frozenset().union(*(d.symbols for d in binding.values()))
        clash = {
            n: Dim.of(_fresh(n, new | binding.keys() | self.range.keys()))
            for n, _ in self.ranges
            if n in new or n in binding
        }
        full = {**binding, **clash}
        change = lambda ds: tuple(d.substitute(full) for d in ds)  # noqa: E731
        ranges = tuple((clash[n].symbol if n in clash else n, d.substitute(binding)) for n, d in self.ranges)
        return Contraction(
            tuple(map(change, self.operands)),
            change(self.result),
            ranges,
            tuple(d.substitute(binding) for d in self.dims),
        )

    def __str__(self) -> str:
        show = lambda s: f"[{', '.join(map(str, s))}]"  # noqa: E731
        ranges = ", ".join(f"{n} in {d}" for n, d in self.ranges)
        return f"{' '.join(map(show, self.operands))} -> {show(self.result)} of {show(self.dims)} for {ranges}"


def span(terms: Iterable[Term]) -> Dim:
    """How many entries lie from the first to the last that some terms reach."""
    return sum((t.step * (t.size - 1) for t in terms), Dim.of(1))


def _rank(dim: Dim) -> tuple[int, int]:
    """An order of sizes for where nothing is known of them: numbers, names, then what is computed from other sizes."""
    if dim.constant is not None:
        return 0, dim.constant
    return (1 if dim.symbol else 2), len(dim.symbols)


def _fresh(name: str, taken) -> str:
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def parse_contraction(text: str) -> Contraction:
    """The contraction that `str` printed. Raises ValueError for any other text."""
    lists = [tuple(map(parse_dim, filter(None, m.split(",")))) for m in re.findall(r"\[([^\]]*)\]", text)]
    ranges = [r.split(" in ") for r in text.rpartition(" for ")[2].split(",") if " in " in r]
    return Contraction(tuple(lists[:-2]), lists[-2], tuple((n.strip(), parse_dim(d)) for n, d in ranges), lists[-1])


def _contract_type(*types: TensorType, spec: Contraction) -> TensorType:
    return TensorType(join_dtypes(*types), spec.dims)


def _contract_gradient(b, g, out, *operands, spec: Contraction):
    cotangents = []
    for position, x in enumerate(operands):
        others = (*operands[:position], g, *operands[position + 1 :])
        cotangents.append(b.contract(*others, spec=spec.swapped(position, x.type.dims)))
    return tuple(cotangents)


def matrix_form(spec: Contraction) -> str | None:
    """The product as `x @ x1` or `x * x1`, matrices transposed where needed; None where no such form says it.

    Leading indices of an operand that the other one lacks broadcast, as `@` and `*` do.
    """
    if len(spec.operands) != 2 or not all(map(spec.is_plain, (*spec.operands, spec.result))):
        return None
    x, y = (tuple(s.symbol for s in o) for o in spec.operands)
    out = tuple(s.symbol for s in spec.result)
    forms = (
        *_matrix_products(x, y, out, ("x", "x1")),
        *_matrix_products(y, x, out, ("x1", "x")),
        *_entrywise_products(x, y, out),
    )
    return min(forms, key=len, default=None)


def _matrix_products(x: tuple, y: tuple, out: tuple, names: tuple[str, str]) -> Iterator[str]:
    """Every way to write out as x @ y, in this order of the operands."""
    for a, left in _orientations(x, names[0]):
        for b, right in _orientations(y, names[1]):
            rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
            batch = out[: len(out) - len(rows + columns)]
            parts = (a[:-2], b[:-2])
            fits = batch in parts and all(batch[len(batch) - len(p) :] == p for p in parts)
            inner = b[-2] if len(b) > 1 else b[0]
            if fits and a[-1] == inner and inner not in out and out == (*batch, *rows, *columns):
                yield f"{left} @ {right}"


def _orientations(names: tuple, text: str) -> Iterator[tuple[tuple, str]]:
    """A matrix as it is and transposed, a vector as it is; `.mT` transposes each matrix of a stack."""
    if names:
        yield names, text
    if len(names) > 1:
        yield (*names[:-2], names[-1], names[-2]), text + (".T" if len(names) == 2 else ".mT")


def _entrywise_products(x: tuple, y: tuple, out: tuple) -> Iterator[str]:
    if (x == out and out[len(out) - len(y) :] == y) or (y == out and out[len(out) - len(x) :] == x):
        yield "x * x1"
    if len(x) == len(y) == 1 and out == (*x, *y):
        yield "x[:, None] * x1"
    if len(x) == len(y) == 1 and out == (*y, *x):
        yield "x1[:, None] * x"


def einsum_text(spec: Contraction) -> str:
    """The subscripts of an einsum, for bare subscripts; indices keep their names where those are letters."""
    letters = {n: n for n, _ in spec.ranges if n in ascii_letters}
    free = (c for c in ascii_letters if c not in letters)
    letters |= {n: next(free) for n, _ in spec.ranges if n not in letters}
    write = lambda s: "".join(letters[d.symbol] for d in s)  # noqa: E731
    return ",".join(map(write, spec.operands)) + "->" + write(spec.result)


def _column(library: str):
    def column(types, params):
        spec = params["spec"]
        if not spec.is_direct(*types):
            raise InternalError(f"windows, strides and ranges are lowered to views before this runs: {spec}")
        form = matrix_form(spec) if all(t.is_float for t in types) else None
        if form:
            return form
        names = ["x", *(f"x{i}" for i in range(1, len(types)))]
        optimize = ", optimize=True" if library == "np" and len(types) > 1 else ""
        return f"{library}.einsum({einsum_text(spec)!r}, {', '.join(names)}{optimize})"

    return column


def _spec(text: str):
    return {"spec": lambda: parse_contraction(text)}


EXAMPLES = (
    example("float[n, a]", "float[a, b]", **_spec("[i, j] [j, k] -> [i, k] of [n, b] for i in n, j in a, k in b")),
    example("float[n, a]", "float[b, a]", **_spec("[i, j] [k, j] -> [i, k] of [n, b] for i in n, j in a, k in b")),
    example("float[c, n, a]", "float[c, a]", **_spec("[m, i, j] [m, j] -> [i, m] of [n, c] for m in c, i in n, j in a")),
    example("float[a]", "float[a]", **_spec("[i] [i] -> [] of [] for i in a")),
    example("float[a]", "float[b]", **_spec("[i] [j] -> [j, i] of [b, a] for i in a, j in b")),
    example("float[a]", "float[a, b]", "float[b]", **_spec("[i] [i, j] [j] -> [] of [] for i in a, j in b")),
    example("float[a, a]", **_spec("[i, i] -> [i] of [a] for i in a")),
    example("float[n, c, 7]", "float[b, c, 3]",
            **_spec("[m, i, 2 * t + u] [o, i, u] -> [m, o, t] of [n, b, 3] for m in n, i in c, t in 3, o in b, u in 3")),
    example("float[a, b]", "float[b, 3]", **_spec("[i, j] [j, u] -> [2 * i + u] of [2 * a + 2] for i in a, j in b, u in 3")),
    example("int[n, a]", "int[a, b]", **_spec("[i, j] [j, k] -> [i, k] of [n, b] for i in n, j in a, k in b")),
)  # fmt: skip

declare(Op("contract", ("x", "*more"), "the sum of products over indices", _contract_type, _contract_gradient, _column("np"), _column("torch"),
           params={"spec": REQUIRED}, operands="same", flops=2, examples=EXAMPLES, equation=r"\sum x \, y"))  # fmt: skip
