"""`contract`: the sum of products over indices, with affine subscripts on operands and result (decision 9).

One op covers matrix products, convolution, both its gradients and its transpose, and it is closed under
differentiation: the cotangent of an operand is the contraction that swaps it with the result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from leec.dims import Dim, parse_dim
from leec.ops.table import REQUIRED, Op, declare
from leec.types import TensorType, join_dtypes

Subscripts = tuple[Dim, ...]  # one affine expression over index names an axis


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

    def swapped(self, position: int, dims: tuple[Dim, ...]) -> Contraction:
        """The contraction that gives the cotangent of one operand, the result's cotangent coming in its place."""
        operands = list(self.operands)
        target, operands[position] = operands[position], self.result
        return Contraction(tuple(operands), target, self.ranges, dims)

    def substitute(self, binding: Mapping[str, Dim]) -> Contraction:
        """Sizes replaced; index names that a new size would capture are renamed first."""
        new = frozenset().union(*(d.symbols for d in binding.values()))
        clash = {n: Dim.of(_fresh(n, new | binding.keys() | self.range.keys())) for n, _ in self.ranges if n in new or n in binding}
        full = {**binding, **clash}
        change = lambda ds: tuple(d.substitute(full) for d in ds)  # noqa: E731
        ranges = tuple((clash[n].symbol if n in clash else n, d.substitute(binding)) for n, d in self.ranges)
        return Contraction(tuple(map(change, self.operands)), change(self.result), ranges, tuple(d.substitute(binding) for d in self.dims))

    def __str__(self) -> str:
        show = lambda s: f"[{', '.join(map(str, s))}]"  # noqa: E731
        ranges = ", ".join(f"{n} in {d}" for n, d in self.ranges)
        return f"{' '.join(map(show, self.operands))} -> {show(self.result)} of {show(self.dims)} for {ranges}"


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
    """`a @ b` with transposes, where a contraction of two plain operands is one matrix product."""
    if len(spec.operands) != 2 or not all(map(spec.is_plain, (*spec.operands, spec.result))):
        return None
    left, right = (tuple(s.symbol for s in o) for o in spec.operands)
    out = tuple(s.symbol for s in spec.result)
    forms = {
        lambda a, b: len(a) == 1 and len(b) == 1 and a == b and not out: "x @ y",
        lambda a, b: len(a) >= 1 and len(b) == 1 and a[-1] == b[0] and out == a[:-1]: "x @ y",
        lambda a, b: len(a) >= 1 and len(b) == 2 and a[-1] == b[0] and b[1] not in a and out == (*a[:-1], b[1]): "x @ y",
        lambda a, b: len(a) >= 1 and len(b) == 2 and a[-1] == b[1] and b[0] not in a and out == (*a[:-1], b[0]): "x @ y.T",
        lambda a, b: len(a) == 2 and len(b) == 2 and a[0] == b[0] and out == (a[1], b[1]): "x.T @ y",
        lambda a, b: len(a) == 2 and len(b) == 1 and a[0] == b[0] and out == (a[1],): "y @ x",
        lambda a, b: len(a) == 1 and len(b) == 2 and a[0] == b[1] and out == (b[0],): "y @ x",
        lambda a, b: len(a) == 1 and len(b) == 1 and out == (*a, *b): "x[:, None] * y",
    }  # fmt: skip
    for fits, form in forms.items():
        if fits(left, right):
            return form
        if fits(right, left):
            return form.translate(str.maketrans("xy", "yx"))
    return None


def einsum_text(spec: Contraction) -> str:
    """The subscripts of an einsum, for plain operands and result."""
    letters = {name: chr(ord("a") + i) for i, (name, _) in enumerate(spec.ranges)}
    free = [n for n in letters if len(n) == 1 and n.isascii() and n.isalpha()]
    letters |= {n: n for n in free}
    used = set(free)
    for name in letters.keys() - set(free):
        letters[name] = next(c for c in "abcdefghijklmnopqrstuvwxyz" if c not in used)
        used.add(letters[name])
    write = lambda s: "".join(letters[d.symbol] for d in s)  # noqa: E731
    return ",".join(map(write, spec.operands)) + "->" + write(spec.result)


def _column(library: str):
    def column(types, params):
        spec = params["spec"]
        form = matrix_form(spec) if all(t.is_float for t in types) else None
        if form:
            return form
        names = ["x", "y", *(f"x{i}" for i in range(2, len(types)))][: len(types)]
        optimize = ", optimize=True" if library == "np" and len(types) > 1 else ""
        return f"{library}.einsum({einsum_text(spec)!r}, {', '.join(names)}{optimize})"

    return column


declare(Op("contract", ("x", "y", "*more"), "the sum of products over indices", _contract_type, _contract_gradient,
           _column("np"), _column("torch"), params={"spec": REQUIRED}, flops=2))  # fmt: skip
