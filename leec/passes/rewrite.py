"""Rewriting: a function is built anew, and every equation, also each that a rule makes, is offered to the rules once.

A rule is a function (b, equation) -> value or None. What a rule gives stands in the place of the equation's result and
takes its name; a value of another type, or of none, is refused. One walk over the equations, no fixed point; what was computed
before is not computed again.

What `grad` asks about is opaque: no rule sees through it, as the derivative is with respect to this very value (R6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from math import isfinite
from operator import is_

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Value, rename
from leec.ops import TABLE
from leec.ops.table import complete
from leec.passes.dce import live
from leec.passes.sameness import identity
from leec.types import ShapeMismatch, TensorType

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
        self.uses = Counter(a for e in f.body for a in e.args)
        self.uses.update(f.outputs)
        self.inputs, self.outputs = set(f.inputs), set(f.outputs)
        self.memory: dict[tuple[str, Value], object] = {}
        self.known: dict[Hashable, Value] = {}  # results by what computes them
        self.depth = 0

    # ---- what rules may ask

    def producer(self, value: Value) -> Equation | None:
        """The equation of a value, unless it is an input, one of several results, or opaque."""
        equation = self.producers.get(value)
        return None if equation is None or value in self.opaque or len(equation.results) > 1 else equation

    def is_call(self, value: Value) -> bool:
        return value not in self.opaque and value in self.producers and self.producers[value].op == "call"

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

    def remembered(self, kind: str, value: Value, find: Callable[[], object]) -> object:
        """What `find` says of a value, found once; again if the equations that it made then were taken back."""
        answer = self.memory.get((kind, value), self)
        made = getattr(answer, "value", None)
        if answer is self or (made is not None and made not in self.producers and made not in self.inputs):
            answer = self.memory[kind, value] = find()
        return answer

    # ---- building

    def emit(self, op: str, args: tuple[Value, ...], params: dict | None = None, hint: str | None = None):
        """As Builder.emit, but an equation that a rule applies to is never written down."""
        row = TABLE[op]
        params, args = complete(row, params or {}), self.joined(row, args)
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
        """A value that is computed already, or what the first rule that applies gives for an equation of one result."""
        known = self.known.get(identity(equation))
        if known in self.producers:
            return known
        if self.depth > DEPTH:
            return None
        self.depth += 1
        try:
            for rule in self.rules.of(equation.op):
                mark = len(self.equations)
                try:
                    value = rule(self, equation)
                except ShapeMismatch:  # what it would build has no type
                    value = None
                if value is not None and value.type == equation.result.type and self._computable(mark):
                    return value
                self._forget(mark)
        finally:
            self.depth -= 1
        return None

    def _computable(self, mark: int) -> bool:
        """Whether Python has a column for every number of the host that a rule wrote, which few composites have."""
        numbers = (e for e in self.equations[mark:] if e.results[0].type.host and e.results[0].type.dtype != "key")
        return all(TABLE[e.op].host or "callee" in e.params for e in numbers)

    def _index(self, equation: Equation) -> None:
        for value in equation.results:
            self.producers[value] = equation
        if len(equation.results) == 1 and "callee" not in equation.params and equation.result not in self.opaque:
            self.known[identity(equation)] = equation.result

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
        equation = with_inside(rename(equation, self.now), self.rules)
        self.span = equation.span
        mark = len(self.equations)
        single = len(equation.results) == 1
        self.uses.subtract(equation.args)  # as if it were gone, so that rules see who else reads what it reads
        value = self.improved(equation) if single and not TABLE[equation.op].effect else None
        if value is not None and equation.result in self.opaque and self._place(value, mark) is None:
            self._forget(mark)  # a value that is there for others too is another one
            value = None
        if value is None:
            self.uses.update(equation.args)
            self.equations.append(equation)
            self._index(equation)
            return
        self._stand_for(equation, value, mark)
        self._release(equation.args)

    def _place(self, new: Value, mark: int) -> int | None:
        """Where a value was made since the mark that nothing reads yet."""
        places = range(len(self.equations) - 1, mark - 1, -1)
        return None if self.uses[new] else next((i for i in places if self.equations[i].results == (new,)), None)

    def _stand_for(self, replaced: Equation, new: Value, mark: int) -> None:
        """New in the place of a result. What was just made becomes the old value; what was there may take its name.

        A result that only goes by its op goes by the new one from now on.
        """
        old, place = replaced.result, self._place(new, mark)
        keeps = old.named or old in self.outputs or old in self.opaque or not goes_by(old.name, replaced.op)
        if keeps and place is not None:
            self.equations[place] = replace(self.equations[place], results=(old,))
            del self.producers[new]
            self.names.discard(new.name)
            self._index(self.equations[place])
            return
        self.now[old] = new
        self.uses[new] += self.uses[old]

    def _release(self, values: Iterable[Value]) -> None:
        """What has no reader left frees what it read."""
        waiting = list(dict.fromkeys(values))
        while waiting:
            value = waiting.pop()
            equation = self.producers.get(value)
            if self.uses[value] == 0 and equation is not None and len(equation.results) == 1:
                self.uses.subtract(equation.args)
                waiting.extend(dict.fromkeys(equation.args))

    def finish(self) -> Function:
        return numbered(live(settled(self.function, self.equations, self.now)))


def settled(f: Function, body: Iterable[Equation], now: Mapping[Value, Value]) -> Function:
    """The function with another body, in which some of its values have others `now` standing for them.

    An unnamed value takes the name of a user's value, or of an output, that it stands for.
    """
    body = tuple(body)
    if not now and len(body) == len(f.body) and all(map(is_, body, f.body)):
        return f
    outputs = set(f.outputs)
    made = {r for e in body for r in e.results}
    named_after: dict[Value, Value] = {}
    for old in now:
        new = standing(old, now)
        if (old.named or (old in outputs and new not in outputs)) and not new.named and new in made:
            named_after.setdefault(new, old)

    def last(values: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(named_after.get(v, v) for v in (standing(v, now) for v in values))

    def settle(e: Equation) -> Equation:
        args, results = last(e.args), last(e.results)
        return e if args == e.args and results == e.results else replace(e, args=args, results=results)

    return replace(
        f,
        body=tuple(map(settle, body)) if now else body,
        results=tuple(replace(r, values=last(r.values)) for r in f.results),
        state=tuple((before, last((after,))[0]) for before, after in f.state),
    )


def numbered(f: Function) -> Function:
    """Values that go by their op (`add`, `add_7`) numbered in order, as rules use up names for what does not stay."""
    shown = set(f.outputs)
    made = {r: e.op for e in f.body for r in e.results if not r.named and r not in shown and goes_by(r.name, e.op)}
    b = Builder(v.name for v in f.values() if v not in made)
    new = {v: replace(v, name=b.unique(op)) for v, op in made.items()}
    return settled(f, f.body, {v: w for v, w in new.items() if v.name != w.name})


def goes_by(name: str, op: str) -> bool:
    return name == op or (name.startswith(op + "_") and name[len(op) + 1 :].isdigit())


def standing(value: Value, now: Mapping[Value, Value]) -> Value:
    """What stands for a value in the end."""
    while value in now:
        value = now[value]
    return value


def with_inside(equation: Equation, rules: Rules) -> Equation:
    """The equation, with functions among its params rewritten too."""
    if not any(isinstance(p, Function) for p in equation.params.values()):
        return equation
    params = {k: rewrite(p, rules) if isinstance(p, Function) else p for k, p in equation.params.items()}
    return replace(equation, params=params)
