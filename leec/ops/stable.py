"""Logarithms that need no exponential: what `log` of an op's result is in terms of logarithms of its arguments.

`exp` overflows and a probability vanishes where their logarithms are ordinary numbers, so what is positive is followed
back as its logarithm. LOGARITHMS has a row an op; STABLE are the laws that use them. Values that are finite stay so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from leec.dims import Dim
from leec.ir.graph import Equation, Value
from leec.ops.laws import Law
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
    rule = LOGARITHMS.get(equation.op) or (_moved if _takes_entries(equation) else None)
    return rule(b, equation, lambda y: log_of(b, y, depth - 1)) if rule else None


def _takes_entries(e: Equation) -> bool:
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
    square = e is not None and len(e.args) == 2 and (e.op == "mul" and e.args[0] is e.args[1] or e.op == "power" and b.constant(e.args[1]) == 2)
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

LOGARITHMIC = {"log", "log1p"}

# ---- logarithms


def _log(b, x: Value) -> Value | None:
    """log(x), where some factor of x gains by it; other factors have the sign of x, so their logarithm exists too."""
    found = b.remembered("factors", x, lambda: _log_of_factors(b, x))
    return found and found.value


def _log_of_factors(b, x: Value) -> Log | None:
    found = log_of(b, x)
    if found is not None:
        return found if found.gains() else None
    e = b.producer(x)
    if e is None:
        return None
    rule = PARTLY.get(e.op) or (_partly_moved if _takes_entries(e) else None)
    value = rule(b, e) if rule else None
    return value and Log(value)


def _any_gains(b, *values: Value) -> bool:
    return any(_log(b, v) is not None for v in values)


def _partly_selected(b, e: Equation) -> Value | None:
    """The branch whose logarithm is unknown keeps clear of 0 where it is not taken."""
    c, x, y = e.args
    if not _any_gains(b, x, y):
        return None
    first = _log(b, x) or b.log(b.select(c, x, 1.0))
    return b.select(c, first, _log(b, y) or b.log(b.select(c, 1.0, y)))


def _partly_moved(b, e: Equation) -> Value | None:
    inner = _log(b, e.args[0])
    return None if inner is None else b.emit(e.op, (inner, *e.args[1:]), dict(e.params))


PARTLY: dict[str, Callable[..., Value | None]] = {
    "mul": lambda b, e: b.add(*map(b.log, e.args)) if _any_gains(b, *e.args) else None,
    "div": lambda b, e: b.sub(*map(b.log, e.args)) if _any_gains(b, *e.args) else None,
    "select": _partly_selected,
    "guard": _partly_moved,
}


def _log1p(b, x: Value) -> Value | None:
    e = b.producer(x)
    if e is not None and e.op == "neg":
        found = one_minus(b, e.args[0])
        return found and found.value
    found = log_of(b, x)
    return b.softplus(found.value) if found and found.large else None


# ---- softmax


def softmax(b, x: Value, axes: tuple[int, ...]) -> Value:
    return b.softmax(x, axes=axes, masked=_may_be_empty(b, x, of_inputs=True))


def log_softmax(b, x: Value, axes: tuple[int, ...]) -> Value:
    """What -inf would come from outside has no logarithm that anyone could use."""
    return b.log_softmax(x, axes=axes, masked=_may_be_empty(b, x, of_inputs=False))


def _may_be_empty(b, x: Value, of_inputs: bool, depth: int = 8) -> bool:
    """May -inf be among the entries by intention: written, as the log of a mask, or `of_inputs`?"""
    number, e = b.constant(x), b.producer(x)
    if number is not None:
        return number == -inf
    if e is None or "callee" in e.params or not depth:
        return of_inputs
    row = TABLE[e.op]
    passing = row.elementwise or _takes_entries(e) or e.op in ("concat", "pad")
    if e.op == "log" or e.params.get("value") == -inf:
        return True
    return bool(passing) and any(_may_be_empty(b, a, of_inputs, depth - 1) for a in e.args if a.type.is_float)


# ---- quotients


def _divided(b, x: Value, y: Value) -> Value | None:
    """x / y for a y that may overflow: softmax, logistic functions and tanh in the first place."""
    below = log_of(b, y)
    if below is None or not below.large or x.type.host and y.type.host:
        return None
    for form in (_softmax, _weighted_mean, _logistic, _tanh):
        value = form(b, x, y)
        if value is not None:
            return value
    above = log_of(b, x)
    if above and above.gains():
        return b.exp(b.sub(above.value, below.value))
    return b.mul(x, b.exp(b.neg(below.value)))


def _normaliser(b, y: Value) -> tuple[Value, tuple[int, ...], tuple[Dim, ...]] | None:
    """What y sums up, over which axes, and the dims that y has without leading ones."""
    e = b.producer(y)
    while e is not None and e.op == "reshape" and _squeezed(e.params["dims"]) == _squeezed(e.args[0].type.dims):
        e = b.producer(e.args[0])
    if e is None or e.op != "sum":
        return None
    return e.args[0], e.params["axes"], _without_leading(y.type.dims)


def _squeezed(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    return tuple(d for d in dims if d != 1)


def _without_leading(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    return _without_leading(dims[1:]) if dims and dims[0] == 1 else dims


def _kept(x: Value, axes: tuple[int, ...]) -> tuple[Dim, ...]:
    return tuple(Dim.of(1) if i in axes else d for i, d in enumerate(x.type.dims))


def _softmax(b, x: Value, y: Value) -> Value | None:
    found, above = _normaliser(b, y), log_of(b, x)
    if found is None or above is None:
        return None
    terms, axes, dims = found
    fits = terms is x and dims == _without_leading(_kept(x, axes))
    return softmax(b, above.value, axes) if fits else None


def _weighted_mean(b, x: Value, y: Value) -> Value | None:
    """A sum of weighted entries over the sum of the weights, as a sum of products or a contraction."""
    found, e = _normaliser(b, y), b.producer(x)
    if found is None or e is None or e.op not in ("sum", "contract"):
        return None
    weights, axes, dims = found
    logs = log_of(b, weights)
    if e.op == "contract":
        fits = weights in e.args and _is_mean(e.params["spec"], e.args.index(weights), weights, axes, dims)
        if not fits:
            return None
        shares = softmax(b, logs.value, axes)
        return b.contract(*(shares if a is weights else a for a in e.args), **e.params)
    product = b.producer(e.args[0])
    same = e.params["axes"] == axes and dims == _without_leading(x.type.dims) and e.args[0].type.dims == weights.type.dims
    if product is None or product.op != "mul" or weights not in product.args or not same:
        return None
    (other,) = [a for a in product.args if a is not weights] or [weights]
    return b.sum(b.mul(softmax(b, logs.value, axes), other), **e.params)


def _is_mean(spec, position: int, weights: Value, axes: tuple[int, ...], dims: tuple[Dim, ...]) -> bool:
    """Does the contraction sum the weights over just these axes, and the divisor lie along what is left?"""
    own = spec.operands[position]
    plain = spec.is_plain(own) and spec.is_plain(spec.result)
    kept = [s for i, s in enumerate(own) if i not in axes]
    along = tuple(d if s in kept else Dim.of(1) for s, d in zip(spec.result, spec.dims, strict=True))
    whole = all(spec.range[s.symbol] == d for s, d in zip(own, weights.type.dims, strict=True)) if plain else False
    return whole and [s for s in spec.result if s in own] == kept and dims == _without_leading(along)


def _terms(b, y: Value) -> list[Value]:
    """The terms of a sum of sums."""
    found, waiting = [], [y]
    while waiting and len(found) < DEPTH:
        x = waiting.pop()
        e = b.producer(x)
        if e is not None and e.op == "add" and b.constant(x) is None:
            waiting.extend(e.args)
        else:
            found.append(x)
    return found + waiting


def _is_same(b, x: Value, y: Value) -> bool:
    return x is y or (b.constant(x) is not None and b.constant(x) == b.constant(y))


def _logistic(b, x: Value, y: Value) -> Value | None:
    """One of the terms over their sum."""
    terms = _terms(b, y)
    place = next((i for i, t in enumerate(terms) if _is_same(b, t, x)), None)
    logs = [log_of(b, t) for t in terms]
    if place is None or len(terms) < 2 or None in logs:
        return None
    rest = [found.value for i, found in enumerate(logs) if i != place]
    total = rest[0]
    for other in rest[1:]:
        total = b.logaddexp(total, other)
    return b.sigmoid(b.sub(logs[place].value, total))


def _tanh(b, x: Value, y: Value) -> Value | None:
    """The difference of two terms over their sum."""
    above, below = b.producer(x), b.producer(y)
    if above is None or below is None or above.op != "sub" or below.op != "add":
        return None
    p, q = above.args
    fits = any(_is_same(b, p, s) and _is_same(b, q, t) for s, t in (below.args, below.args[::-1]))
    logs = [log_of(b, v) for v in (p, q)]
    return b.tanh(b.mul(b.sub(logs[0].value, logs[1].value), 0.5)) if fits and None not in logs else None


# ---- the laws


def _unshifted(b, x, s, m, a, k):
    """The maximum that was subtracted before is added again."""
    base = lambda v: b.producer(v).args[0] if b.producer(v) is not None and b.producer(v).op == "reshape" else v  # noqa: E731
    along = _without_leading(s.type.dims) == _without_leading(_kept(x, a))
    return b.logsumexp(x, axes=a, keepdims=k) if base(s) is base(m) and along else None


def _shifted(op: str) -> Callable:
    """softmax does not see what is constant along its axes, such as a maximum that was subtracted."""

    def right(b, x, m, a, k):
        dims = (Dim.of(1),) * (x.type.rank - m.type.rank) + m.type.dims
        along = x.type.rank >= m.type.rank and all(dims[i] == 1 for i in a)
        return b.emit(op, (x,), {"axes": a, "masked": k}) if along else None

    return right


def _masked(b, x, c, m):
    """The log of a mask is 0 or -inf: added to x, it chooses."""
    return b.select(c, x, -inf) if b.constant(m) == -inf else None


UNMASKED = Law("softmax(x, axes=a, masked=True)", lambda b, x, a: None if _may_be_empty(b, x, of_inputs=True) else b.softmax(x, axes=a, masked=False))

STABLE = (
    Law("log(exp(x))", "x"),
    Law("log(x)", _log),
    Law("log(add(1, x))", "log1p(x)"),
    Law("log1p(x)", _log1p),
    Law("add(x, select(c, 0, m))", _masked),
    Law("div(x, y)", _divided),
    Law("mul(exp(x), exp(y))", "exp(add(x, y))"),
    Law("power(exp(x), c)", lambda b, x, c: b.exp(b.mul(x, c)) if math.isfinite(b.constant(c) or math.inf) else None),
    Law("exp(log_softmax(x, axes=a))", lambda b, x, a: softmax(b, x, a)),
    Law("exp(log_sigmoid(x))", "sigmoid(x)"),
    Law("exp(neg(softplus(x)))", "sigmoid(neg(x))"),
    Law("neg(softplus(neg(x)))", "log_sigmoid(x)"),
    Law("neg(log_sigmoid(x))", "softplus(neg(x))"),
    Law("softmax(sub(x, m), axes=a, masked=k)", _shifted("softmax")),
    Law("log_softmax(sub(x, m), axes=a, masked=k)", _shifted("log_softmax")),
    Law("add(logsumexp(sub(x, s), axes=a, keepdims=k), m)", _unshifted),
)
