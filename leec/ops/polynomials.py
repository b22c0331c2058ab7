"""Entrywise arithmetic in a normal form: a polynomial over values, and over inverses of polynomials.

Two expressions that are equal by commuting, grouping and distributing have the same form, so that patterns of long
formulas need not count the ways to write them. What is no arithmetic is an atom. Factors are floats, or Samples where
numbers of the host take part: what such a number is for a few settings of the hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

LIMIT = 32  # terms of a polynomial; what is larger is an atom
DEPTH = 24


@dataclass(frozen=True)
class Inverse:
    """The atom 1 / x, by the normal form of x."""

    of: frozenset


Atom = object  # a Value or an Inverse
Monomial = frozenset  # of (atom, power)
Polynomial = Mapping[Monomial, object]  # float or Samples

ONE: Monomial = frozenset()


@dataclass
class Algebra:
    """Normal forms of values; `producer` finds a value's equation, `stops` are values to take as they are.

    `number` gives the factor that a number of the host is; without it such numbers are atoms.
    """

    producer: Callable
    stops: Collection = ()
    number: Callable | None = None
    known: dict = field(default_factory=dict)

    def of(self, x, depth: int = DEPTH) -> Polynomial:
        """The normal form of a value."""
        if x not in self.known:
            self.known[x] = {frozenset({(x, 1)}): 1.0} if x in self.stops else self._made(x, depth)
        return self.known[x]

    def _made(self, x, depth: int) -> Polynomial:
        e, atom = self.producer(x), {frozenset({(x, 1)}): 1.0}
        if self.number is not None and x.type.host:
            return {ONE: self.number(x)}
        if e is None or depth == 0:
            return atom
        number = e.params.get("value") if not e.args else None
        if isinstance(number, int | float) and not isinstance(number, bool):
            return {ONE: float(number)} if number else {}
        rule = RULES.get(e.op)
        found = rule(*(self.of(a, depth - 1) for a in e.args)) if rule else None
        return atom if found is None or len(found) > LIMIT else found


def times(p: Polynomial, q: Polynomial) -> Polynomial:
    found: dict[Monomial, float] = {}
    for m, a in p.items():
        for n, b in q.items():
            powers = dict(m)
            for atom, power in n:
                powers[atom] = powers.get(atom, 0) + power
            key = frozenset((atom, power) for atom, power in powers.items() if power)
            found[key] = found[key] + a * b if key in found else a * b
    return found


def plus(p: Polynomial, q: Polynomial, sign: float = 1.0) -> Polynomial:
    found = dict(p)
    for m, a in q.items():
        found[m] = found[m] + sign * a if m in found else sign * a
    return {m: a for m, a in found.items() if a != 0.0}


def over(p: Polynomial, q: Polynomial) -> Polynomial | None:
    """p / q: of one term by its own powers, of several as an atom."""
    if not q:
        return None
    if len(q) == 1:
        ((m, a),) = q.items()
        return times(p, {frozenset((atom, -power) for atom, power in m): 1 / a})
    return times(p, {frozenset({(Inverse(frozenset(q.items())), 1)}): 1.0})


def power(p: Polynomial, q: Polynomial) -> Polynomial | None:
    """Small whole powers that are written in the program."""
    exponent = next((n for n in (1, 2, 3, 4) if q.keys() == {ONE} and q[ONE] == n), None)
    if exponent is None:
        return None
    found = p
    for _ in range(exponent - 1):
        if len(found) > LIMIT:
            return None
        found = times(found, p)
    return found


RULES: Mapping[str, Callable[..., Polynomial | None]] = {
    "add": plus,
    "sub": lambda p, q: plus(p, q, -1.0),
    "neg": lambda p: times(p, {ONE: -1.0}),
    "mul": times,
    "div": over,
    "power": power,
    "cast": lambda p: p,
}


def monomial(*atoms) -> Monomial:
    """The product of some atoms."""
    powers: dict = {}
    for atom in atoms:
        powers[atom] = powers.get(atom, 0) + 1
    return frozenset(powers.items())


def is_close(p: Polynomial | None, q: Polynomial, tolerance: float = 1e-14) -> bool:
    """The same monomials with the same factors, up to rounding."""
    return p is not None and p.keys() == q.keys() and all(abs(p[m] - q[m]) <= tolerance * abs(q[m]) for m in q)


def nearby(producer: Callable, values: tuple, depth: int = 4) -> dict:
    """The values that some values are made of by a few steps of arithmetic, in order, themselves included."""
    found = dict.fromkeys(values)
    for x in values if depth else ():
        e = producer(x)
        if e is not None and e.op in RULES:
            found |= nearby(producer, e.args, depth - 1)
    return found


# ---- numbers of the host


@dataclass(frozen=True)
class Samples:
    """A number of the host by its values at a few settings; `make(b)` writes it. Equal samples are equal numbers."""

    values: tuple[float, ...]
    make: Callable

    @staticmethod
    def constant(number: float, count: int) -> Samples:
        return Samples((number,) * count, lambda b: b.lift(number))

    def _with(self, other: Samples | float, op: str, compute: Callable, turned: bool = False) -> Samples:
        other = other if isinstance(other, Samples) else Samples.constant(float(other), len(self.values))
        x, y = (other, self) if turned else (self, other)
        values = tuple(compute(p, q) for p, q in zip(x.values, y.values, strict=True))
        return Samples(values, lambda b: getattr(b, op)(x.make(b), y.make(b)))

    def __mul__(self, other: Samples | float) -> Samples:
        return self._with(other, "mul", lambda p, q: p * q)

    def __add__(self, other: Samples | float) -> Samples:
        return self._with(other, "add", lambda p, q: p + q)

    def __truediv__(self, other: Samples | float) -> Samples:
        return self._with(other, "div", lambda p, q: p / q if q else math.nan)

    def __rtruediv__(self, other: float) -> Samples:
        return self._with(other, "div", lambda p, q: p / q if q else math.nan, turned=True)

    __rmul__, __radd__ = __mul__, __add__

    def __eq__(self, other: object) -> bool:
        values = other.values if isinstance(other, Samples) else (other,) * len(self.values)
        return all(math.isclose(p, q, rel_tol=1e-9, abs_tol=1e-12) for p, q in zip(self.values, values, strict=True))

    def __hash__(self) -> int:
        return 0  # as equality allows for rounding
