"""Rewriting: a function is built anew, and every equation, also each that a rule makes, is offered to the rules once.

A rule is a function (b, equation) -> value or None. What a rule gives stands in the place of the equation's result and
takes its name; a value of another type is refused. One walk over the equations, no fixed point.

What `grad` asks about is opaque: no rule sees through it, as the derivative is with respect to this very value (R6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import isfinite

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Value, rename
from leec.ops import TABLE
from leec.ops.table import complete
from leec.passes.dce import live
from leec.types import TensorType

Rule = Callable[["Rewriter", Equation], Value | None]
DEPTH = 40  # how far rules may call each other through what they build


class Rules:
    """Rules by the op they start from; `generic` ones look at every equation and go by the facts of its row."""

    def __init__(self, by_op: Iterable[tuple[str, Rule]] = (), generic: Iterable[Rule] = ()):
        self.generic = tuple(generic)
        self.by_op: dict[str, tuple[Rule, ...]] = {}
        for op, rule in by_op:
            self.by_op[op] = (*self.by_op.get(op, ()), rule)

    def of(self, op: str) -> tuple[Rule, ...]:
        return self.generic + self.by_op.get(op, ())

    def __add__(self, other: Rules) -> Rules:
        pairs = [(op, rule) for rules in (self, other) for op, found in rules.by_op.items() for rule in found]
        return Rules(pairs, self.generic + other.generic)


def asked_about(f: Function) -> frozenset[Value]:
    """The values that some `grad` takes derivatives with respect to."""
    return frozenset(v for e in f.body if e.op == "grad" for v in e.args[1:])


def rewrite(f: Function, rules: Rules) -> Function:
    """The function after the rules, without what they left unused."""
    b = Rewriter(f, rules)
    for equation in f.body:
        b.take(equation)
    return b.finish()


class Rewriter(Builder):
    def __init__(self, f: Function, rules: Rules):
        super().__init__(v.name for v in f.values())
        self.function, self.rules = f, rules
        self.opaque = asked_about(f)
        self.producers: dict[Value, Equation] = {}
        self.now: dict[Value, Value] = {}  # what stands for a value of the old function
        self.named_after: dict[Value, Value] = {}  # an unnamed value that takes the name of one it stands for
        self.uses = Counter(a for e in f.body for a in e.args)
        self.uses.update(f.outputs)
        self.outputs = set(f.outputs)
        self.depth = 0

    # ---- what rules may ask

    def producer(self, value: Value) -> Equation | None:
        """The equation of a value, unless it is an input, one of several results, or opaque."""
        equation = self.producers.get(value)
        return None if equation is None or value in self.opaque or len(equation.results) > 1 else equation

    def is_once(self, value: Value) -> bool:
        """Unnamed and read in one place: nobody misses it when it goes."""
        return not value.named and self.uses[value] <= 1

    def constant(self, value: Value) -> bool | int | float | None:
        """The number that every entry of a value is, where the program says so."""
        chain, equation = [value], self.producer(value)
        while equation is not None and equation.args and TABLE[equation.op].facts.get("uniform"):
            chain.append(equation.args[0])
            equation = self.producer(equation.args[0])
        number = None if equation is None or equation.args else equation.params.get("value")
        if not isinstance(number, bool | int | float):
            return None
        for step in reversed(chain):
            kind = float if step.type.is_float else {"int": int, "bool": bool}[step.type.dtype]
            if kind is int and not isfinite(number):
                return None
            number = kind(number)
        return number

    # ---- building

    def emit(self, op: str, args: tuple[Value, ...], params: dict | None = None, hint: str | None = None):
        """As Builder.emit, but an equation that a rule applies to is never written down."""
        row = TABLE[op]
        params = complete(row, params or {})
        types = row.type(*(a.type for a in args), **params)
        if isinstance(types, TensorType):
            found = self.improved(Equation(op, args, params, (Value(op, types),), self.span))
            if found is not None:
                return found
        results = super().emit(op, args, params, hint)
        self._index(self.equations[-1])
        self.uses.update(args)
        return results

    def improved(self, equation: Equation) -> Value | None:
        """What the first rule that applies gives for an equation of one result."""
        if self.depth > DEPTH:
            return None
        self.depth += 1
        try:
            for rule in self.rules.of(equation.op):
                mark = len(self.equations)
                value = rule(self, equation)
                if value is not None and value.type == equation.result.type:
                    return value
                self._forget(mark)
        finally:
            self.depth -= 1
        return None

    def _index(self, equation: Equation) -> None:
        for value in equation.results:
            self.producers[value] = equation

    def _forget(self, mark: int) -> None:
        """Take back what a rule wrote that came to nothing."""
        for equation in self.equations[mark:]:
            self.uses.subtract(equation.args)
            for value in equation.results:
                del self.producers[value]
                self.names.discard(value.name)
        del self.equations[mark:]

    # ---- the walk

    def take(self, equation: Equation) -> None:
        """Rewrite one equation of the old function."""
        equation = rename(equation, self.now)
        equation = replace(equation, params=inside(equation.params, self.rules))
        self.span = equation.span
        mark = len(self.equations)
        single = len(equation.results) == 1 and equation.result not in self.opaque
        value = self.improved(equation) if single and not TABLE[equation.op].effect else None
        if value is None:
            self.equations.append(equation)
            self._index(equation)
            return
        self._stand_for(equation.result, value, mark)
        self._release(equation.args)

    def _stand_for(self, old: Value, new: Value, mark: int) -> None:
        """New in the place of old. What was just made becomes the old value; what was there may take its name."""
        for place in range(len(self.equations) - 1, mark - 1, -1):
            equation = self.equations[place]
            if new in equation.results and len(equation.results) == 1 and not self.uses[new]:
                self.equations[place] = made = replace(equation, results=(old,))
                self.producers[old] = made
                return
        self.now[old] = new
        self.uses[new] += self.uses[old]
        wanted = old.named or old in self.outputs and new not in self.outputs
        if wanted and not new.named and new in self.producers and new not in self.named_after:
            self.named_after[new] = old

    def _release(self, values: Iterable[Value]) -> None:
        """Fewer readers: what has none left frees what it read."""
        waiting = list(values)
        while waiting:
            value = waiting.pop()
            self.uses[value] -= 1
            equation = self.producers.get(value)
            if self.uses[value] == 0 and equation is not None and len(equation.results) == 1:
                waiting.extend(equation.args)

    def finish(self) -> Function:
        f, last = self.function, self._last
        body = tuple(
            replace(e, args=tuple(map(last, e.args)), results=tuple(map(last, e.results))) for e in self.equations
        )
        results = tuple(replace(r, values=tuple(map(last, r.values))) for r in f.results)
        state = tuple((before, last(after)) for before, after in f.state)
        return live(replace(f, body=body, results=results, state=state))

    def _last(self, value: Value) -> Value:
        value = self.now.get(value, value)
        return self.named_after.get(value, value)


def inside(params: Mapping[str, object], rules: Rules) -> Mapping[str, object]:
    """The params, with functions among them rewritten too."""
    if not any(isinstance(p, Function) for p in params.values()):
        return params
    return {k: rewrite(p, rules) if isinstance(p, Function) else p for k, p in params.items()}
