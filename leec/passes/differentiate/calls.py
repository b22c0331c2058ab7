"""Derivatives of functions: `f_saved` gives what `f` gives and what its backward reads, `f_backward` the cotangents.

There is one `f_saved` for all callers, and one backward for every pair of active inputs and outputs that occurs.
Saved values are ordinary results (decision 18), so the derivative of a derivative needs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial, reduce
from operator import or_

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Result, Value
from leec.ir.loops import Recurrence
from leec.ops import TABLE
from leec.passes.differentiate.activity import Ways, carries, ways_of_rule
from leec.passes.differentiate.adjoint import Cotangents, Scope, Sweep
from leec.passes.differentiate.backward import Backward, make_backward
from leec.passes.differentiate.recurrences import collecting, ways_of_scan


class Derivation:
    """A function under differentiation: its equations, which come to call saving callees, and what it has to save.

    Its slots are its results and, behind them, its saved values. New states are stored stopped (R9) and have none.
    """

    def __init__(self, function: Function, derivatives: Derivatives) -> None:
        self.function, self.derivatives = function, derivatives
        self.scope = Scope(list(function.body), Builder(v.name for v in function.values()))
        self.results = tuple(v for r in function.results for v in r.values)
        self.saved: list[Value] = []
        self.saved_name = ""  # once something is saved
        self.backwards: dict[tuple, Backward] = {}
        self.sources: dict[Value, int] = {}
        self.copies: dict[Value, Value] = {}  # of states that it writes over
        self.seed_names: set[str] = set()  # of the cotangents that its backwards get

    @property
    def slots(self) -> tuple[Value, ...]:
        return (*self.results, *self.saved)

    def save(self, value: Value) -> None:
        self.saved_name = self.saved_name or self.derivatives.names.unique(f"{self.function.name}_saved")
        self.derivatives.derivations[self.saved_name] = self
        self.saved.append(value)

    @property
    def changed(self) -> frozenset[Value]:
        """The inputs that the function writes over."""
        return frozenset(before for before, after in self.function.state if after is not before)

    def kept(self, state: Value) -> Value:
        """A copy of a state that the function writes over, as it was at its start."""
        if state not in self.copies:
            self.copies[state] = self.scope.names.keep(state, hint=state.name)
            self.scope.body.insert(0, self.scope.names.equations.pop())
        return self.copies[state]

    def ways(self, equation: Equation) -> Ways:
        """For every result of a call of this function the arguments that its cotangent flows to."""
        count = len(equation.results) - len(self.function.state)
        flows = [self.inputs_of(v) for v in self.slots[:count]]
        return (*flows, *[()] * len(self.function.state))

    def inputs_of(self, value: Value) -> tuple[int, ...]:
        """The inputs that a cotangent of the value flows to; the sets are kept as the bits of a number.

        Every value of the body has one, be it empty: a value without would have all callees asked again.
        """
        inputs = self.function.inputs
        if value not in self.sources:
            self.sources = {v: 1 << i if carries(v) else 0 for i, v in enumerate(inputs)}
            for equation in self.scope.body:
                for result, positions in zip(equation.results, self.derivatives.ways(equation), strict=True):
                    self.sources[result] = reduce(or_, (self.sources[equation.args[i]] for i in positions), 0)
        bits = self.sources[value]
        return tuple(i for i in range(len(inputs)) if bits >> i & 1)

    def backward(self, active: tuple[int, ...], slots: tuple[int, ...]) -> Backward:
        """The function from cotangents of the slots to those of the active inputs."""
        if (active, slots) not in self.backwards:
            made = make_backward(self, active, slots)
            self.backwards[active, slots] = made
            self.derivatives.functions[made.function.name] = made.function
        return self.backwards[active, slots]

    def saving(self, call: Equation, names: Builder) -> Equation:
        """The call with all saved values among its results; the results that it had stay what they were."""
        first, states = len(self.results), len(call.results) - len(self.function.state)
        missing, binding = self.saved[states - first :], dict(call.params["dims"])
        here = {t: t.substitute(binding) for t in {v.type for v in missing}}
        new = [Value(names.unique(v.name), here[v.type], call.span, v.named) for v in missing]
        results = (*call.results[:states], *new, *call.results[states:])
        for value, inner in zip(new, self.saved[states - first :], strict=True):
            self.derivatives.keep_listed(value, inner)
        params = {"callee": self.saved_name, "results": tuple(r.type for r in results)}
        return replace(call, params={**call.params, **params}, results=results) if new else call

    def saved_function(self) -> Function:
        f, given = self.function, {v for r in self.function.results for v in r.values}
        free = Builder(r.name for r in f.results)  # a round saves what it gives, too: under the same name
        saved = tuple(Result(v.name if v in given else free.unique(v.name), (v,)) for v in self.saved)
        body, results = f.body if f.again else tuple(self.scope.body), (*f.results, *saved)
        saves = f.saves + len(saved)
        return replace(f, name=self.saved_name, body=body, results=results, public=False, saves=saves, saving=f.name)


class Derivatives:
    """All functions of a program with their derivatives, made when first needed."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.names = Builder(taken)
        self.functions: dict[str, Function] = {}
        self.derivations: dict[str, Derivation] = {}  # by the function's name, and by that of its saving form
        self.known_ways: dict[Equation, Ways] = {}
        self.known_elementwise: dict[str, bool] = {}
        self.listed: set[Value] = set()  # what rounds of loops save: no array shows its sizes

    def of(self, callee: str) -> Derivation:
        if callee not in self.derivations:
            self.derivations[callee] = Derivation(self.functions[callee], self)
        return self.derivations[callee]

    def keep_listed(self, value: Value, saved: Value) -> None:
        """What a callee saved of the rounds of a loop is so in its caller too."""
        if saved in self.listed:
            self.listed.add(value)

    def ways(self, equation: Equation) -> Ways:
        if equation.op == "call":
            return self.of(equation.params["callee"]).ways(equation)
        if equation.op == "scan":
            return ways_of_scan(Recurrence(equation), self.of(equation.params["callee"]))
        if isinstance(body := equation.params.get("body"), Function):
            return self.ways_of_group(body)
        if equation not in self.known_ways:
            find = TABLE[equation.op].facts.get("ways", ways_of_rule)
            self.known_ways[equation] = find(equation)
        return self.known_ways[equation]

    def ways_of_group(self, body: Function) -> Ways:
        """Through the operations that were put together."""
        found = {v: {i} if carries(v) else set() for i, v in enumerate(body.inputs)}
        for e in body.body:
            for result, positions in zip(e.results, self.ways(e), strict=True):
                found[result] = set().union(*(found[e.args[i]] for i in positions))
        return tuple(tuple(sorted(found[v])) for v in body.outputs)

    def is_elementwise(self, equation: Equation) -> bool:
        """Does every entry of the result come from the same entry of the arguments?"""
        if equation.op != "call":  # a loop is not elementwise, whatever its rounds are
            return TABLE[equation.op].elementwise
        f = self.of(equation.params["callee"]).function
        if f.name not in self.known_elementwise:
            computing = [e for e in f.body if e.args]
            self.known_elementwise[f.name] = all(map(self.is_elementwise, computing))
        return self.known_elementwise[f.name]

    def through_call(self, sweep: Sweep, call: Equation, cotangents: Cotangents) -> Cotangents:
        """The cotangents of a call's arguments: a call of the callee's backward, on what the callee saves."""
        derivation = self.of(call.params["callee"])
        slots = tuple(i for i, c in enumerate(cotangents) if c is not None)
        reached = {p for i in slots for p in derivation.ways(call)[i]}
        active = tuple(p for p in sorted(reached) if call.args[p] in sweep.active)
        backward = derivation.backward(active, slots)
        call = derivation.saving(call, sweep.scope.names)
        sweep.replace(call)
        slot_values = dict(zip(derivation.slots, call.results, strict=False))  # new states have no slot
        at_hand = slot_values | dict(zip(derivation.function.inputs, call.args, strict=True))
        args = (*(at_hand[v] for v in backward.reads), *(cotangents[i] for i in slots))
        given = {p: Value(f"d_{call.args[p].name}", call.args[p].type, call.span) for p in active}
        params = {
            "callee": backward.function.name,
            "dims": call.params["dims"],
            "results": tuple(v.type for v in given.values()),
        }
        sweep.builder.equations.append(Equation("call", args, params, tuple(given.values()), call.span))
        return [given.get(i) for i in range(len(call.args))]

    def completed(self, function: Function) -> Function:
        """The function with every call of a saving callee taking all that it saves by now."""
        names, body = Builder(v.name for v in function.values()), list(function.body)
        for position, equation in enumerate(body):
            derivation = self.derivations.get(equation.params.get("callee"))
            if derivation and derivation.saved_name == equation.params["callee"]:
                saving = derivation.saving if equation.op == "call" else partial(collecting, derivation)
                body[position] = saving(equation, names)
        return function.with_body(tuple(body))

    def family(self, name: str) -> Iterator[Function]:
        """A function and behind it what was derived from it."""
        yield self.completed(self.functions[name])
        if derivation := self.derivations.get(name):
            if derivation.saved:
                yield self.completed(derivation.saved_function())
            for backward in derivation.backwards.values():
                yield from self.family(backward.function.name)
