"""Laws: what may stand in the place of what, with the same value up to rounding and never NaN where that was finite (R39).

The left side is text over ops: a name stands for any value, after `=` for a param, and twice for the same; `*xs` for
all arguments; `unnamed(..)` for a value without a user's name, `once(..)` for one with no other reader besides;
`host(h)` for a host number. The right side is text over the same names, or a function of the builder and the names that gives None where the law does not hold.
A law whose right side has another type than its left does not apply there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leec.ir.graph import Value
from leec.ops.table import TABLE
from leec.types import broadcast


@dataclass(frozen=True)
class Law:
    left: str
    right: str | Callable


# ---- signs move outwards, until a sum or a difference takes them


def _outwards(op: str) -> Callable:
    """neg(op(x, y)) for an op with a negative y, where that is no more work than before."""
    return lambda b, x, y: b.neg(b.emit(op, (x, y))) if y.type.dims == broadcast(x.type, y.type) else None


SIGNS = (
    Law("neg(neg(x))", "x"),
    Law("neg(unnamed(sub(x, y)))", "sub(y, x)"),
    Law("add(x, unnamed(neg(y)))", "sub(x, y)"),
    Law("sub(x, unnamed(neg(y)))", "add(x, y)"),
    Law("sub(once(neg(x)), y)", "neg(add(x, y))"),
    Law("sub(x, neg(x))", "mul(2, x)"),
    Law("sub(0, x)", "neg(x)"),
    Law("mul(x, -1)", "neg(x)"),
    Law("div(x, -1)", "neg(x)"),
    Law("mul(once(neg(x)), once(neg(y)))", "mul(x, y)"),
    Law("div(once(neg(x)), once(neg(y)))", "div(x, y)"),
    Law("mul(x, once(neg(y)))", _outwards("mul")),
    Law("div(x, once(neg(y)))", _outwards("div")),
    Law("div(once(neg(x)), y)", lambda b, x, y: _outwards("div")(b, x, y) if x.type.dims == y.type.dims else None),
    Law("neg(unnamed(mul(x, const(value=h))))", lambda b, x, h: b.mul(-h, x)),
    Law("neg(once(mul(once(mul(const(value=k), s)), x)))", lambda b, k, s, x: b.mul(b.mul(-k, s), x)),
    Law("neg(unnamed(div(x, const(value=h))))", lambda b, x, h: b.div(x, -h)),
    Law("sum(once(neg(x)), axes=a, keepdims=k)", "neg(sum(x, axes=a, keepdims=k))"),
    Law("mean(once(neg(x)), axes=a, keepdims=k)", "neg(mean(x, axes=a, keepdims=k))"),
    Law("abs(neg(x))", "abs(x)"),
    Law("abs(abs(x))", "abs(x)"),
)

# ---- powers and products of host numbers


def _power(exponent: int) -> Callable:
    """Products in the place of a power; for host numbers a power is no slower."""

    def product(b, x):
        square = b.mul(x, x)
        return {2: lambda: square, 3: lambda: b.mul(square, x), 4: lambda: b.mul(square, square)}[exponent]()

    return lambda b, x: None if x.type.host else product(b, x)


def _scaled(op: str, numbers: Callable) -> Callable:
    """One scaling by a host number in the place of two, where neither is so large or small that it could overflow."""

    def right(b, x, h, k):
        fits = x.type.rank > 0 and _is_moderate(b, h) and _is_moderate(b, k)
        if not fits:
            return None
        number = numbers(b, h, k)
        return b.mul(number, x) if op == "mul" else b.div(x, number)

    return right


def _on_the_scalar(b, x: Value, y: Value, k: Value) -> Value | None:
    """A number multiplies a scalar rather than all entries."""
    for scalar, entries in ((x, y), (y, x)):
        if scalar.type.rank == 0 and not scalar.type.host and entries.type.rank and _is_moderate(b, k):
            return b.mul(b.mul(k, scalar), entries)
    return None


def _is_moderate(b, h: Value) -> bool:
    """A number written in the program, or arithmetic on sizes and such numbers."""
    number = b.constant(h)
    if number is not None:
        return 1e-6 <= abs(number) <= 1e6
    equation = b.producer(h)
    if equation is None:
        return False
    return "dim" in equation.params or (bool(equation.args) and all(_is_moderate(b, a) for a in equation.args))


POWERS = (
    *(Law(f"power(x, {n})", _power(n)) for n in (2, 3, 4)),
    Law("power(x, -1)", lambda b, x: None if x.type.host else b.div(1, x)),
    Law("add(x, x)", "mul(2, x)"),
    Law("mul(unnamed(mul(x, host(h))), host(k))", _scaled("mul", lambda b, h, k: b.mul(h, k))),
    Law(
        "mul(unnamed(div(x, host(h))), const(value=k))",
        lambda b, x, h, k: _scaled("div", _quotient)(b, x, h, b.lift(k)),
    ),
    Law(
        "div(unnamed(mul(x, host(h))), const(value=k))",
        lambda b, x, h, k: _scaled("mul", _quotient)(b, x, h, b.lift(k)),
    ),
    Law(
        "mul(const(value=k), once(div(x, host(h))))",
        lambda b, x, k, h: b.div(b.mul(k, x), h) if x.type.rank == 0 else None,
    ),
    Law("mul(once(mul(x, y)), host(k))", lambda b, x, y, k: _on_the_scalar(b, x, y, k)),
    Law("div(unnamed(div(x, host(h))), host(k))", _scaled("div", lambda b, h, k: b.mul(h, k))),
    Law("mul(host(h), div(const(value=1), host(k)))", "div(h, k)"),
    Law("div(size(dim=d), size(dim=d))", "1.0"),
)


def _quotient(b, h, k):
    return b.div(h, k)


# ---- logic and selection


def _is_guarded(b, x, c, depth: int = 8) -> bool:
    """No gradient leaves the branch of c through x: entry by entry it is made of what is guarded there."""
    if not x.type.is_float or x.type.host or b.constant(x) is not None:
        return True
    e = b.producer(x)
    if e is None or not depth:
        return False
    if e.op == "guard":
        return _implies(b, e.args[1], c)
    return TABLE[e.op].elementwise and bool(e.args) and all(_is_guarded(b, a, c, depth - 1) for a in e.args)


def _implies(b, inner, c) -> bool:
    """Whether c holds wherever the inner condition does."""
    e = b.producer(inner)
    return inner is c or (e is not None and e.op == "logical_and" and any(_implies(b, a, c) for a in e.args))


LOGIC = (
    Law("logical_not(logical_not(x))", "x"),
    Law("logical_and(x, x)", "x"),
    Law("logical_or(x, x)", "x"),
    Law("maximum(x, x)", "x"),
    Law("minimum(x, x)", "x"),
    Law("select(c, x, x)", "x"),
    Law("select(c, x, y)", lambda b, c, x, y: None if b.constant(c) is None else (x if b.constant(c) else y)),
    Law("select(logical_not(c), x, y)", "select(c, y, x)"),
    Law("select(c, select(c, x, y), z)", "select(c, x, z)"),
    Law("select(c, x, select(c, y, z))", "select(c, x, z)"),
    Law("select(c, guard(x, c), y)", "select(c, x, y)"),
    Law("select(c, x, guard(y, logical_not(c)))", "select(c, x, y)"),
    Law("graft(x, y)", lambda b, x, y: None if b.constant(y) is None else b.stop(x)),
    Law(
        "guard(x, c)", lambda b, x, c: x if _is_guarded(b, x, c) and x.type.dims == broadcast(x.type, c.type) else None
    ),
    Law("cast(x, dtype=t)", lambda b, x, t: x if x.type.dtype == t else None),
    Law("cast(cast(x, dtype=s), dtype=t)", lambda b, x, s, t: b.cast(x, dtype=t) if x.type.dtype == "bool" else None),
)

LAWS = (*SIGNS, *POWERS, *LOGIC)

# ---- when nothing is left to differentiate


def _unguarded(b, x, c):
    dims = broadcast(x.type, c.type)
    return x if dims == x.type.dims else b.broadcast(x, dims=dims)


RELEASE = (Law("graft(x, y)", "x"), Law("stop(x)", "x"), Law("guard(x, c)", _unguarded))
