"""Logarithms that need no exponential: what `log` of an op's result is in terms of logarithms of its arguments.

`exp` overflows and a probability vanishes where their logarithms are ordinary numbers, so what is positive is followed
back as its logarithm. LOGARITHMS has a row an op; leec/ops/stable.py uses them. Values that are finite stay so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from leec.dims import Dim
from leec.ir.graph import Equation, Value
from leec.ops.reduce import count
from leec.ops.table import TABLE

DEPTH = 60  # how far back a logarithm is followed


@dataclass(frozen=True)
class Log:
    """The logarithm of a value. `large`: the value itself may overflow; `small`: it may vanish without being 0."""

    value: Value
    large: bool = False
    small: bool = False

    def times(self, other: Log, value: Value) -> Log:
        return Log(value, self.large or other.large, self.small or other.small)

    def over(self, other: Log, value: Value) -> Log:
        return Log(value, self.large or other.small, self.small or other.large)

    def plus(self, other: Log, value: Value) -> Log:
        return Log(value, self.large or other.large, self.small and other.small)

    def gains(self) -> bool:
        return self.large or self.small


def log_of(b, x: Value, depth: int = DEPTH) -> Log | None:
    """The logarithm of x without computing x, where x is made of exponentials and the like."""
    return b.remembered("log", x, lambda: _found(b, x, depth))


def _found(b, x: Value, depth: int) -> Log | None:
    number, equation = b.constant(x), b.producer(x)
    if number is not None:
        return _log_of_number(b, x, number)
    if b.is_call(x):
        return b.log_of_call(x)
    if equation is None or not depth or not x.type.is_float or x.type.host:
        return None
    rule = LOGARITHMS.get(equation.op) or (_moved if takes_entries(equation) else None)
    return rule(b, equation, lambda y: log_of(b, y, depth - 1)) if rule else None


def takes_entries(e: Equation) -> bool:
    """Every entry of the result is one of the first argument."""
    return bool({"moves", "picks"} & TABLE[e.op].facts.keys())


def _log_of_number(b, x: Value, number: float) -> Log | None:
    if number < 0 or number != number or isinstance(number, bool):
        return None
    value = b.lift(math.log(number) if number else -inf)
    return Log(value if x.type.rank == 0 else b.fill(value, dims=x.type.dims, dtype=x.type.dtype))


# ---- a row an op: (b, equation, log) -> Log or None, where `log` gives that of an argument

Follow = Callable[[Value], Log | None]


def _moved(b, e: Equation, log: Follow) -> Log | None:
    """Entries that move take their logarithms along."""
    found = log(e.args[0])
    return found and Log(b.emit(e.op, (found.value, *e.args[1:]), dict(e.params)), found.large, found.small)


def _product(b, e: Equation, log: Follow) -> Log | None:
    x, y = map(log, e.args)
    return x.times(y, b.add(x.value, y.value)) if x and y else None


def _quotient(b, e: Equation, log: Follow) -> Log | None:
    x, y = map(log, e.args)
    return x.over(y, b.sub(x.value, y.value)) if x and y else None


def _sum(b, e: Equation, log: Follow) -> Log | None:
    """Worth it where a term may overflow or all may vanish: a sum with a number bounds what is small itself."""
    x, y = map(log, e.args)
    if not x or not y or not (x.large or y.large or (x.small and y.small)):
        return None
    return x.plus(y, _logaddexp(b, x.value, y.value))


def _logaddexp(b, x: Value, y: Value) -> Value:
    if b.constant(x) == 0:
        return b.softplus(y)
    return b.softplus(x) if b.constant(y) == 0 else b.logaddexp(x, y)


def _difference(b, e: Equation, log: Follow) -> Log | None:
    return one_minus(b, e.args[1]) if b.constant(e.args[0]) == 1 else None


def one_minus(b, y: Value) -> Log | None:
    """log(1 - y) for a logistic function and for a squared tanh, which is 1 - 1 / cosh(z)**2."""
    e = b.producer(y)
    if e is not None and e.op == "sigmoid":
        return Log(b.log_sigmoid(b.neg(e.args[0])), small=True)
    z = _tanh_squared(b, e)
    if z is None:
        return None
    half = b.sub(b.sub(math.log(2), z), b.softplus(b.mul(z, -2)))
    return Log(b.mul(half, 2), small=True)


def _tanh_squared(b, e: Equation | None) -> Value | None:
    """The z of tanh(z)**2."""
    square = (
        e is not None
        and len(e.args) == 2
        and ((e.op == "mul" and e.args[0] is e.args[1]) or (e.op == "power" and b.constant(e.args[1]) == 2))
    )
    inner = b.producer(e.args[0]) if square else None
    return inner.args[0] if inner is not None and inner.op == "tanh" else None


def _power(b, e: Equation, log: Follow) -> Log | None:
    x, exponent = log(e.args[0]), b.constant(e.args[1])
    if x is None or exponent is None or not math.isfinite(exponent):
        return None
    return Log(b.mul(x.value, exponent), x.gains(), x.gains())


def _summed(b, e: Equation, log: Follow) -> Log | None:
    x = log(e.args[0])
    return Log(b.logsumexp(x.value, **e.params), x.large, x.small) if x and x.gains() else None


def _averaged(b, e: Equation, log: Follow) -> Log | None:
    x = _summed(b, e, log)
    return x and Log(b.sub(x.value, b.log(count(e.args[0].type, e.params["axes"]))), x.large, x.small)


def _monotone(b, e: Equation, log: Follow) -> Log | None:
    """max and min, of entries or over axes, commute with the logarithm; a number is a bound against vanishing."""
    found = [log(x) for x in e.args]
    if None in found or not (any(x.large for x in found) or all(x.small for x in found)):
        return None
    value = b.emit(e.op, tuple(x.value for x in found), dict(e.params))
    return Log(value, any(x.large for x in found), all(x.small for x in found))


def _selected(b, e: Equation, log: Follow) -> Log | None:
    c, x, y = e.args[0], *map(log, e.args[1:])
    return Log(b.select(c, x.value, y.value), x.large or y.large, x.small or y.small) if x and y else None


def _padded(b, e: Equation, log: Follow) -> Log | None:
    x, value = log(e.args[0]), e.params["value"]
    if x is None or value < 0:
        return None
    return Log(b.pad(x.value, widths=e.params["widths"], value=math.log(value) if value else -inf), x.large, x.small)


def _joined(b, e: Equation, log: Follow) -> Log | None:
    found = [log(x) for x in e.args]
    if None in found or not any(x.gains() for x in found):
        return None
    value = b.concat(*(x.value for x in found), **e.params)
    return Log(value, any(x.large for x in found), any(x.small for x in found))


def _converted(b, e: Equation, log: Follow) -> Log | None:
    """A mask is 0 and 1, so its logarithm -inf and 0."""
    (x,) = e.args
    if x.type.dtype == "bool":
        zeros = b.fill(0.0, dims=x.type.dims, dtype=e.params["dtype"])
        return Log(b.select(x, zeros, -inf))
    found = log(x) if x.type.is_float else None
    return found and Log(b.cast(found.value, **e.params), found.large, found.small)


def _contracted(b, e: Equation, log: Follow) -> Log | None:
    """A sum of products that is no larger than one operand, such as a choice by a one-hot mask."""
    spec, found = e.params["spec"], [log(x) for x in e.args]
    if None in found or not any(x.gains() for x in found) or not all(map(spec.is_plain, (*spec.operands, spec.result))):
        return None
    widest = max(spec.operands, key=len)
    if {n for n, _ in spec.ranges} != set(spec.indices(widest)) or not set(spec.result) <= set(widest):
        return None
    order = (*spec.result, *(s for s in widest if s not in spec.result))
    total = None
    for x, subscripts in zip(found, spec.operands, strict=True):
        place = _aligned(b, x.value, subscripts, order)
        total = place if total is None else b.add(total, place)
    value = b.logsumexp(total, axes=tuple(range(len(spec.result), len(order))))
    return Log(value, any(x.large for x in found), any(x.small for x in found))


def _aligned(b, x: Value, subscripts: tuple[Dim, ...], order: tuple[Dim, ...]) -> Value:
    """x with its axes in the given order of indices, of size 1 where it lacks one."""
    moved = b.transpose(x, perm=tuple(subscripts.index(s) for s in order if s in subscripts))
    sizes = iter(moved.type.dims)
    return b.reshape(moved, dims=tuple(next(sizes) if s in subscripts else Dim.of(1) for s in order))


# ---- softmax


def softmax(b, x: Value, axes: tuple[int, ...]) -> Value:
    return b.softmax(x, axes=axes, masked=may_be_empty(b, x, of_inputs=True))


def log_softmax(b, x: Value, axes: tuple[int, ...]) -> Value:
    """What -inf would come from outside has no logarithm that anyone could use."""
    return b.log_softmax(x, axes=axes, masked=may_be_empty(b, x, of_inputs=False))


def may_be_empty(b, x: Value, of_inputs: bool, depth: int = 8) -> bool:
    """May -inf be among the entries by intention: written, as the log of a mask, or `of_inputs`?"""
    number, e = b.constant(x), b.producer(x)
    if number is not None:
        return number == -inf
    if e is None or "callee" in e.params or not depth:
        return of_inputs
    row = TABLE[e.op]
    passing = row.elementwise or takes_entries(e) or e.op in ("concat", "pad")
    if e.op == "log" or e.params.get("value") == -inf:
        return True
    return bool(passing) and any(may_be_empty(b, a, of_inputs, depth - 1) for a in e.args if a.type.is_float)


LOGARITHMS: dict[str, Callable[..., Log | None]] = {
    "exp": lambda b, e, log: Log(e.args[0], large=True, small=True),
    "softmax": lambda b, e, log: Log(log_softmax(b, e.args[0], e.params["axes"]), small=True),
    "sigmoid": lambda b, e, log: Log(b.log_sigmoid(e.args[0]), small=True),
    "mul": _product,
    "div": _quotient,
    "add": _sum,
    "sub": _difference,
    "power": _power,
    "sqrt": lambda b, e, log: (x := log(e.args[0])) and Log(b.mul(x.value, 0.5), x.large, x.small),
    "sum": _summed,
    "mean": _averaged,
    "max": _monotone,
    "min": _monotone,
    "maximum": _monotone,
    "minimum": _monotone,
    "select": _selected,
    "guard": _moved,
    "pad": _padded,
    "concat": _joined,
    "cast": _converted,
    "contract": _contracted,
}
