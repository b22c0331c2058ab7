"""Laws that keep exponentials and vanishing probabilities out of what is computed, so that nothing overflows.

They say where logarithms without exponentials (leec/ops/logarithms.py) are worth it: in `log`, and below fractions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from leec.dims import Dim
from leec.ir.graph import Equation, Value
from leec.ops.laws import Law
from leec.ops.logarithms import DEPTH, log_of, may_be_empty, one_minus, softmax, takes_entries

LOGARITHMIC = {"log", "log1p"}
FACTORS = 12  # how far back the factors of a product are followed

# ---- logarithms


def _log(b, x: Value) -> Value | None:
    """log(x), where x is a product with exponentials in it: those need no log, and what is left has the sign of x."""
    found = log_of(b, x)
    if found is not None:
        return found.value if found.gains() else None
    split = _split(b, x, FACTORS)
    if split.log is None:
        return None
    return split.log if split.rest is None else b.add(split.log, b.log(split.rest))


@dataclass(frozen=True)
class Split:
    """x = exp(log) * rest, where either may be absent.

    The log of the rest is taken where log(x) was: before a choice or a gather, entries may be 0 that nobody picks.
    """

    log: Value | None
    rest: Value | None

    def part(self, b, change: Callable[[Value], Value]) -> Split:
        """The same of another x, which comes from this one by a choice or a move."""
        return Split(self.log and change(self.log), self.rest and change(self.rest))


def _split(b, x: Value, depth: int) -> Split:
    found, e = log_of(b, x), b.producer(x)
    if found is not None and found.gains():
        return Split(found.value, None)
    if e is None or not depth:
        return Split(None, x)
    rule = SPLITS.get(e.op) or (_split_moved if takes_entries(e) else None)
    return (rule(b, e, lambda y: _split(b, y, depth - 1)) if rule else None) or Split(None, x)


def _either(op: Callable, unit: float) -> Callable:
    """An operation of two parts, the unit standing for an absent second one, None for two."""
    return lambda b, x, y: (
        None if x is None and y is None else op(b, unit if x is None else x, unit if y is None else y)
    )


def _split_by(logs: Callable, rests: Callable) -> Callable:
    def rule(b, e: Equation, split: Callable[[Value], Split]) -> Split | None:
        x, y = map(split, e.args)
        if x.log is None and y.log is None:
            return None
        return Split(_either(logs, 0.0)(b, x.log, y.log), _either(rests, 1.0)(b, x.rest, y.rest))

    return rule


def _split_choice(b, e: Equation, split: Callable[[Value], Split]) -> Split | None:
    c, x, y = e.args[0], *map(split, e.args[1:])
    if x.log is None and y.log is None:
        return None
    chosen = lambda b, p, q: b.select(c, p, q)  # noqa: E731
    return Split(_either(chosen, 0.0)(b, x.log, y.log), _either(chosen, 1.0)(b, x.rest, y.rest))


def _split_moved(b, e: Equation, split: Callable[[Value], Split]) -> Split | None:
    inner, dims = split(e.args[0]), e.args[0].type.dims
    if inner.log is None:
        return None
    return inner.part(b, lambda v: b.emit(e.op, (b.broadcast(v, dims=dims), *e.args[1:]), dict(e.params)))


SPLITS: dict[str, Callable[..., Split | None]] = {
    "mul": _split_by(lambda b, x, y: b.add(x, y), lambda b, x, y: b.mul(x, y)),
    "div": _split_by(lambda b, x, y: b.sub(x, y), lambda b, x, y: b.div(x, y)),
    "select": _split_choice,
    "guard": _split_moved,
}


def _log1p(b, x: Value) -> Value | None:
    e = b.producer(x)
    if e is not None and e.op == "neg":
        found = one_minus(b, e.args[0])
        return found and found.value
    found = log_of(b, x)
    return b.softplus(found.value) if found and found.large else None


# ---- quotients


def _divided(b, x: Value, y: Value) -> Value | None:
    """x / y for a y that may overflow: softmax, logistic functions and tanh in the first place."""
    below = log_of(b, y)
    if below is None or not below.large or (x.type.host and y.type.host):
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
    same = (
        e.params["axes"] == axes and dims == _without_leading(x.type.dims) and e.args[0].type.dims == weights.type.dims
    )
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

    def base(v):
        return b.producer(v).args[0] if b.producer(v) is not None and b.producer(v).op == "reshape" else v

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


UNMASKED = Law(
    "softmax(x, axes=a, masked=True)",
    lambda b, x, a: None if may_be_empty(b, x, of_inputs=True) else b.softmax(x, axes=a, masked=False),
)

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
