"""Dims: integer polynomials with floor division over named sizes, in a normal form.

Two dims that are equal by algebra compare equal; `Facts` adds what `require` statements say.
A symbol stands for a size of at least 0. Nothing here knows tensors or syntax.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Quotient:
    """The atom `num // den`; den is not 1 and does not divide num."""

    num: Dim
    den: Dim

    def __str__(self) -> str:
        return f"{self.num.as_factor()} // {self.den.as_factor()}"


Atom = str | Quotient
Monomial = tuple[tuple[Atom, int], ...]  # atoms with their powers, sorted by text


def _sorted(powers: Mapping[Atom, int]) -> Monomial:
    return tuple(sorted([(a, p) for a, p in powers.items() if p], key=lambda item: str(item[0])))


@dataclass(frozen=True, eq=False)
class Dim:
    """A polynomial: monomials with non-zero integer coefficients, sorted."""

    terms: tuple[tuple[Monomial, int], ...]

    @staticmethod
    def of(value: Dim | int | str) -> Dim:
        if isinstance(value, Dim):
            return value
        if isinstance(value, str):
            return Dim(((((value, 1),), 1),))
        return Dim((((), int(value)),) if value else ())

    @staticmethod
    def _collect(terms: list[tuple[Monomial, int]]) -> Dim:
        total: dict[Monomial, int] = {}
        for monomial, factor in terms:
            total[monomial] = total.get(monomial, 0) + factor
        kept = [(m, c) for m, c in total.items() if c]
        if len(kept) > 1:
            kept.sort(key=lambda t: (-sum(p for _, p in t[0]), str(t[0])))
        return Dim(tuple(kept))

    @cached_property
    def constant(self) -> int | None:
        """The value of a dim without symbols, else None."""
        if not self.terms:
            return 0
        return self.terms[0][1] if self.terms[0][0] == () else None

    @cached_property
    def symbol(self) -> str | None:
        """The name, if the dim is one bare symbol."""
        return self.single_atom if isinstance(self.single_atom, str) else None

    @cached_property
    def symbols(self) -> frozenset[str]:
        atoms = (atom for monomial, _ in self.terms for atom, _ in monomial)
        return frozenset().union(*({a} if isinstance(a, str) else a.num.symbols | a.den.symbols for a in atoms))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int):
            return self.constant == other
        return isinstance(other, Dim) and self.terms == other.terms

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms if self.constant is None else self.constant)

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Dim | int) -> Dim:
        return Dim._collect([*self.terms, *Dim.of(other).terms])

    def __neg__(self) -> Dim:
        return Dim(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Dim | int) -> Dim:
        return self + -Dim.of(other)

    def __mul__(self, other: Dim | int) -> Dim:
        return Dim._collect([(_times(m, n), c * d) for m, c in self.terms for n, d in Dim.of(other).terms])

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: int) -> Dim:
        return Dim.of(other) - self

    def __floordiv__(self, other: Dim | int) -> Dim:
        den = Dim.of(other)
        if den == 0:
            raise ZeroDivisionError("a dim is divided by 0")
        if self.constant is not None and den.constant is not None:
            return Dim.of(self.constant // den.constant)
        whole, rest = _divide(self, den)
        if rest == 0:
            return whole
        inner = rest.single_atom
        if isinstance(inner, Quotient):  # (a // b) // c = a // (b * c)
            return whole + inner.num // (inner.den * den)
        if rest.constant is not None and den.constant is not None:
            return whole + rest.constant // den.constant
        return whole + Dim((((((Quotient(rest, den)), 1),), 1),))

    def __mod__(self, other: Dim | int) -> Dim:
        return self - Dim.of(other) * (self // other)

    def __pow__(self, power: int) -> Dim:
        result = Dim.of(1)
        for _ in range(power):
            result = result * self
        return result

    @cached_property
    def single_atom(self) -> Atom | None:
        if len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1:
            atom, power = self.terms[0][0][0]
            return atom if power == 1 else None
        return None

    def substitute(self, binding: Mapping[str, Dim]) -> Dim:
        """The dim with symbols replaced; symbols without a binding stay."""
        if self.symbol is not None:
            return binding.get(self.symbol, self)
        if self.symbols.isdisjoint(binding):
            return self
        total = Dim.of(0)
        for monomial, factor in self.terms:
            product = Dim.of(factor)
            for atom, power in monomial:
                product = product * _substitute_atom(atom, binding) ** power
            total = total + product
        return total

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The number for given sizes. Raises KeyError for a symbol without a size."""
        total = 0
        for monomial, factor in self.terms:
            for atom, power in monomial:
                value = sizes[atom] if isinstance(atom, str) else atom.num.evaluate(sizes) // atom.den.evaluate(sizes)
                factor *= value**power
            total += factor
        return total

    def __str__(self) -> str:
        return self.render(lambda name: name)

    __repr__ = __str__

    def render(self, name: Callable[[str], str]) -> str:
        """A Python expression, symbols written as `name` says."""
        if not self.terms:
            return "0"
        ordered = [t for t in self.terms if t[1] > 0] + [t for t in self.terms if t[1] < 0]
        pieces = []
        for monomial, factor in ordered:
            sign = ("-" if factor < 0 else "") if not pieces else (" - " if factor < 0 else " + ")
            pieces.append(sign + _product(monomial, abs(factor), name, tight=sign == "-"))
        return "".join(pieces)

    def as_factor(self, name: Callable[[str], str] = lambda n: n) -> str:
        """The expression, in parentheses where it has an operator that could bind less than its neighbour."""
        text = self.render(name)
        return f"({text})" if " " in text or text.startswith("-") else text


def _product(monomial: Monomial, factor: int, name: Callable[[str], str], tight: bool) -> str:
    parts = [str(factor)] if factor != 1 or not monomial else []
    for atom, power in monomial:
        if isinstance(atom, str):
            text = name(atom)
        else:
            text = f"{atom.num.as_factor(name)} // {atom.den.as_factor(name)}"
            text = f"({text})" if tight or len(monomial) > 1 or factor != 1 or power > 1 else text
        parts.append(text if power == 1 else f"{text}**{power}")
    return " * ".join(parts)


def _times(left: Monomial, right: Monomial) -> Monomial:
    powers = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return _sorted(powers)


def _substitute_atom(atom: Atom, binding: Mapping[str, Dim]) -> Dim:
    if isinstance(atom, str):
        return binding.get(atom, Dim.of(atom))
    return atom.num.substitute(binding) // atom.den.substitute(binding)


def _divide(num: Dim, den: Dim) -> tuple[Dim, Dim]:
    """num = den * whole + rest, where whole takes every term that a one-term den divides."""
    if len(den.terms) != 1:
        return (Dim.of(1), Dim.of(0)) if num == den else (Dim.of(0), num)
    ((divisor, factor),) = den.terms
    whole, rest = [], []
    for monomial, coefficient in num.terms:
        powers = dict(monomial)
        fits = coefficient % factor == 0 and all(powers.get(a, 0) >= p for a, p in divisor)
        if fits:
            for atom, power in divisor:
                powers[atom] -= power
            whole.append((_sorted(powers), coefficient // factor))
        else:
            rest.append((monomial, coefficient))
    return Dim._collect(whole), Dim._collect(rest)


@dataclass(frozen=True)
class Facts:
    """Divisibility known from `require d % m == r`: wherever m * (d // m) stands, d - r may."""

    remainders: tuple[tuple[Dim, Dim, int], ...] = ()
    equal_pairs: tuple[tuple[Dim, Dim], ...] = ()

    def with_remainder(self, num: Dim, den: Dim, rest: int) -> Facts:
        return Facts((*self.remainders, (num, den, rest)), self.equal_pairs)

    def with_equal(self, left: Dim, right: Dim) -> Facts:
        return Facts(self.remainders, (*self.equal_pairs, (left, right)))

    def normal(self, dim: Dim) -> Dim:
        for num, den, rest in self.remainders:
            quotient = num // den
            if quotient.single_atom is None:
                continue
            dim = _replace_product(dim, quotient.single_atom, den, num - rest)
        for left, right in self.equal_pairs:
            if left.symbol:
                dim = dim.substitute({left.symbol: right})
        return dim

    def equal(self, left: Dim, right: Dim) -> bool | None:
        """True or False where the algebra decides, None where only the sizes can."""
        difference = self.normal(left - right)
        if difference.constant is not None:
            return difference.constant == 0
        return None

    def substitute(self, binding: Mapping[str, Dim]) -> Facts:
        return Facts(
            tuple((n.substitute(binding), d.substitute(binding), r) for n, d, r in self.remainders),
            tuple((a.substitute(binding), b.substitute(binding)) for a, b in self.equal_pairs),
        )


def _replace_product(dim: Dim, atom: Atom, den: Dim, value: Dim) -> Dim:
    """Every term that holds den * atom, with value in its place."""
    if len(den.terms) != 1:
        return dim
    ((divisor, factor),) = den.terms
    needed = dict(_times(divisor, ((atom, 1),)))
    total = Dim.of(0)
    for monomial, coefficient in dim.terms:
        powers = dict(monomial)
        if coefficient % factor == 0 and all(powers.get(a, 0) >= p for a, p in needed.items()):
            for a, p in needed.items():
                powers[a] -= p
            total = total + Dim(((_sorted(powers), coefficient // factor),)) * value
        else:
            total = total + Dim(((monomial, coefficient),))
    return total


def parse_dim(text: str) -> Dim:
    """The dim that `str` printed. Raises ValueError for any other text."""
    try:
        return dim_from_ast(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"not a dim: {text!r}") from error


_OPERATIONS = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Pow: lambda a, b: a ** (b.constant or 0),
}


def dim_from_ast(node: ast.expr) -> Dim:
    """A Python expression tree of names, integers and + - * // ** as a dim."""
    match node:
        case ast.Name(id=name):
            return Dim.of(name)
        case ast.Constant(value=int(value)):
            return Dim.of(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -dim_from_ast(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            return _OPERATIONS[type(op)](dim_from_ast(left), dim_from_ast(right))
    raise ValueError(f"not a dim: {ast.unparse(node)}")
