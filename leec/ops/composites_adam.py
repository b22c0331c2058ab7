"""Adam's update of a vector (Kingma & Ba 2015) as one call; AdamW keeps the decay apart (Loshchilov & Hutter 2019).

An idiom of torch: the equations that a spec gives for the parameters and both moments are compared in normal form, so
that it does not matter how they are grouped. The kernels work in place, on the arguments that `in_place` names.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator

from leec.ops.polynomials import ONE, Algebra, Inverse, Polynomial, Samples, monomial, nearby, plus
from leec.ops.table import Op, declare, example

SETTINGS = 4  # of the hyperparameters, at which numbers are compared
ARITHMETIC = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "power": operator.pow,
}


class Numbers:
    """What a function's numbers of the host are at the settings; inputs, and what is no arithmetic, are made up."""

    def __init__(self, f):
        self.producer = {r: e for e in f.body for r in e.results}.get
        self.host = [v for v in f.values() if v.type.host]
        self.known: dict = {}

    def of(self, x) -> Samples:
        if x not in self.known:
            self.known[x] = Samples(tuple(self._at(x, k) for k in range(SETTINGS)), lambda b: x)
        return self.known[x]

    def _at(self, x, k: int) -> float:
        """Counts are small integers, other inputs lie within 0 and 1."""
        e = self.producer(x)
        if e is not None and "value" in e.params:
            return float(e.params["value"])
        if e is not None and e.op in ARITHMETIC:
            try:
                return float(ARITHMETIC[e.op](*(self.of(a).values[k] for a in e.args)))
            except (ArithmeticError, TypeError):  # not defined at this setting
                return math.nan
        place = self.host.index(x) + 1
        return float(k + 2) if x.type.dtype == "int" else (0.1 + 0.618034 * place * (k + 1)) % 1.0

    def named(self, number: Samples) -> Samples:
        """The same number as the program has it, where it has it."""
        zero = Samples.constant(0.0, SETTINGS)
        return zero if zero == number else next((self.of(v) for v in self.host if self.of(v) == number), number)

    def count(self, holds: Callable[[Samples], bool]) -> Samples | None:
        """The integer for which something holds."""
        return next((self.of(v) for v in self.host if v.type.dtype == "int" and holds(self.of(v))), None)


# ---- finding it


def find_adam(f) -> tuple[tuple, tuple] | None:
    """Arguments (values, or numbers to make) and results of an update in a function, as find_adamw gives them.

    The decay is part of the gradient: g + decay x takes the place of g.
    """
    found = find_adamw(f, apart=False)
    if found is None:
        return None
    (x, g, m, v, lr, beta1, beta2, eps, decay, t), results = found
    numbers = Numbers(f)
    form = Algebra(numbers.producer, (x,), numbers.of).of(g)
    rest = [part for part in form if part != monomial(x)]
    if len(form) == 2 and len(rest) == 1 and form[rest[0]] == 1.0 and len(rest[0]) == 1:
        (((inner, power),),) = rest
        if power == 1 and not isinstance(inner, Inverse):
            g, decay = inner, numbers.named(form[monomial(x)])
    return (x, g, m, v, lr, beta1, beta2, eps, decay, t), results


def find_adamw(f, apart: bool = True) -> tuple[tuple, tuple] | None:
    """Arguments (values, or numbers to make) and results of an update in a function.

    It is x - lr (m̂ / (√v̂ + eps) + decay x), m̂ and v̂ being running means divided by 1 - beta**t. There is a decay where
    `apart` is true, else none.
    """
    numbers = Numbers(f)
    producer = numbers.producer
    for e in reversed(f.body):  # the last is whole: what it is made of may have the form of an update, too
        if e.op not in ("add", "sub") or e.result.type.host or not e.result.type.rank:
            continue
        parts = nearby(producer, (e.result,), 7)
        for deviation in (p for p in parts if (d := producer(p)) is not None and d.op == "sqrt" and not p.type.host):
            found = _update(numbers, e.result, deviation, parts)
            if found is not None:
                decays = found[0][8] != Samples.constant(0.0, SETTINGS)
                return found if decays == apart else None
    return None


def _update(numbers: Numbers, after, deviation, parts) -> tuple[tuple, tuple] | None:
    producer = numbers.producer
    inside = producer(deviation).args
    for v2, v, g, beta2 in _means(numbers, nearby(producer, inside), 2):
        for m2, m, h, beta1 in _means(numbers, parts, 1):
            if h is not g or m2 is v2 or m is v:
                continue
            t = _count(numbers, Algebra(producer, (v2,), numbers.of).of(inside[0]), v2, beta2)
            step = t and _step(numbers, after, deviation, m2, v2, _left(beta1, t))
            if step:
                x, lr, decay, eps = step
                return (x, g, m, v, lr, beta1, beta2, eps, decay, t), (after, m2, v2)
    return None


def _count(numbers: Numbers, form: Polynomial, v2, beta2: Samples) -> Samples | None:
    """The t of v2 / (1 - beta2**t)."""
    factor = form.get(monomial(v2)) if len(form) == 1 else None
    return factor and numbers.count(lambda t: factor * _left(beta2, t) == 1.0)


def _left(beta: Samples, t: Samples) -> Samples:
    """1 - beta**t"""
    values = tuple(1 - p**q for p, q in zip(beta.values, t.values, strict=True))
    return Samples(values, lambda b: b.sub(1.0, b.power(beta.make(b), t.make(b))))


def _means(numbers: Numbers, values, power: int) -> Iterator[tuple]:
    """Which values are a running mean beta s + (1 - beta) g**power: (value, s, g, beta)."""
    for value in values:
        for g in nearby(numbers.producer, (value,), 5):
            if g is value or g.type.host or value.type.host:
                continue
            form = Algebra(numbers.producer, (g,), numbers.of).of(value)
            states = [m for m in form if m != frozenset({(g, power)})]
            if (
                len(form) == 2
                and len(states) == 1
                and len(states[0]) == 1
                and plus(*({ONE: a} for a in form.values())) == {ONE: 1.0}
            ):
                ((state, once),) = states[0]
                if once == 1:
                    yield value, state, g, numbers.named(form[states[0]])


def _step(numbers: Numbers, after, deviation, m2, v2, left: Samples) -> tuple | None:
    """x, lr, decay and eps; `left` is 1 - beta1**t."""
    form = Algebra(numbers.producer, (m2, v2, deviation), numbers.of).of(after)
    moved = [m for m in form if any(a is m2 for a, _ in m)]
    still = [m for m in form if m not in moved]
    below = [a for m in moved for a, n in m if isinstance(a, Inverse) and n == 1]
    if not len(moved) == len(still) == len(still[0]) == len(below) == 1 or len(moved[0]) != 2:
        return None
    ((x, once),), denominator = still[0], dict(below[0].of)
    if once != 1 or denominator.keys() != {ONE, monomial(deviation)} or denominator[monomial(deviation)] != 1.0:
        return None
    lr = numbers.named(form[moved[0]] * left * -1.0)
    decay = numbers.named((form[still[0]] * -1.0 + 1.0) / lr)
    return (x, lr, decay, numbers.named(denominator[ONE])) if lr == lr and decay == decay else None


# ---- the row


def _adam_type(x, g, m, v, *numbers):
    return x, m, v


STATES = ("float[c]",) * 4
WITHIN = {
    "v": (0.1, 1.0),
    "lr": (0.01, 0.1),
    "beta1": (0.8, 0.9),
    "beta2": (0.9, 0.99),
    "eps": (0.001, 0.01),
    "decay": (0.0, 0.1),
    "t": (2, 5),
}
NUMBERS = ("lr", "beta1", "beta2", "eps", "decay")


def _row(name: str, doc: str, find: Callable, equation: str) -> Op:
    arguments = f"(x, g, m, v, {', '.join(NUMBERS)}, t)"
    return Op(name, ("x", "g", "m", "v", *NUMBERS, "t"), doc, _adam_type, None,
              name + arguments, name + arguments, operands=(*("float",) * 9, "int"), flops=14,
              examples=(example(*STATES, *("host float",) * 5, "host int", within=WITHIN),),
              facts={"support": (name,), "whole": dict.fromkeys(("torch", "torch_step"), find),
                     "in_place": (f"{name}_{arguments}", (0, 2, 3))},
              equation=equation)  # fmt: skip


declare(_row("adam", "x, m and v after a step of Adam", find_adam, r"\operatorname{Adam}(x, g + \lambda x)"))
declare(_row("adamw", "x, m and v after a step of AdamW", find_adamw, r"\operatorname{Adam}(x, g) - \eta \lambda x"))
