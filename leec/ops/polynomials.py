"""Entrywise arithmetic in a normal form: a polynomial over values, and over inverses of polynomials.

Two expressions that are equal by commuting, grouping and distributing have the same form, so that patterns of long
formulas need not count the ways to write them. Numbers are exact up to rounding; what is no arithmetic is an atom.
"""

from __future__ import annotations

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
Polynomial = Mapping[Monomial, float]

ONE: Monomial = frozenset()


@dataclass
class Algebra:
    """Normal forms of values; `producer` finds a value's equation, `stops` are values to take as they are."""

    producer: Callable
    stops: Collection = ()
    known: dict = field(default_factory=dict)

    def of(self, x, depth: int = DEPTH) -> Polynomial:
        """The normal form of a value."""
        if x not in self.known:
            self.known[x] = {frozenset({(x, 1)}): 1.0} if x in self.stops else self._made(x, depth)
        return self.known[x]

    def _made(self, x, depth: int) -> Polynomial:
        e, atom = self.producer(x), {frozenset({(x, 1)}): 1.0}
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
            found[key] = found.get(key, 0.0) + a * b
    return found


def plus(p: Polynomial, q: Polynomial, sign: float = 1.0) -> Polynomial:
    found = dict(p)
    for m, a in q.items():
        found[m] = found.get(m, 0.0) + sign * a
    return {m: a for m, a in found.items() if a}


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
    exponent = q.get(ONE) if q.keys() <= {ONE} else None
    if exponent not in (1.0, 2.0, 3.0, 4.0):
        return None
    found = p
    for _ in range(int(exponent) - 1):
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


def is_close(p: Polynomial, q: Polynomial, tolerance: float = 1e-14) -> bool:
    """The same monomials with the same factors, up to rounding."""
    return p.keys() == q.keys() and all(abs(p[m] - q[m]) <= tolerance * abs(q[m]) for m in q)


def nearby(producer: Callable, values: tuple, depth: int = 4) -> dict:
    """The values that some values are made of by a few steps of arithmetic, in order, themselves included."""
    found = dict.fromkeys(values)
    for x in values if depth else ():
        e = producer(x)
        if e is not None and e.op in RULES:
            found |= nearby(producer, e.args, depth - 1)
    return found
