"""Updates in a step: `opt.update(net.parameters, net.flat(d_net))`, whatever the IR says around it.

There the tensors of a model are put together to one vector, the rule is called, and the result is taken apart again. In
Python the vector exists already and moves in place, so all of that is one statement.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from leec.diagnostics import InternalError
from leec.emit.calls import Caller
from leec.emit.groups import Group, Place
from leec.emit.layout import text
from leec.ir.graph import Equation, Function, Value
from leec.ops import TABLE


@dataclass(frozen=True)
class Move:
    """One update: the calls that make it up (one a tensor, where the rule is for tensors), leaves and gradients."""

    calls: tuple[Equation, ...]
    leaves: tuple[Value, ...]
    gradients: tuple[Value, ...]


@dataclass
class Updates:
    """The updates of one function."""

    caller: Caller
    f: Function
    moves: dict[Equation, Move] = field(default_factory=dict)  # by their last call
    covered: set[Equation] = field(default_factory=set)  # what needs no statement of its own
    vectors: dict[Value, tuple[Value, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.body, self.unit = self.caller.body, self.caller.unit
        self.source = {r: e for e in self.f.body for r in e.results}
        self.readers: dict[Value, list[Equation]] = {}
        for e in self.f.body:
            for a in e.args:
                self.readers.setdefault(a, []).append(e)
        calls = [e for e in self.f.body if self.optimizer_of(e)]
        self.covered |= set(calls)
        while calls:
            self.enter(self.together(calls))

    def optimizer_of(self, equation: Equation) -> str | None:
        callee = self.unit.functions.get(equation.params.get("callee", ""))
        owner = self.unit.owner(callee) if callee else None
        return owner if owner in self.unit.module.optimizers else None

    def together(self, calls: list[Equation]) -> list[Equation]:
        """The next update: one call of a rule for the vector, or those of a rule for tensors that share states."""
        first = calls.pop(0)
        group = [first]
        if self.is_each(first):
            states = self.origin(first)
            while calls and self.is_each(calls[0]) and self.origin(calls[0]) == states and self.source_of(calls[0]):
                group.append(calls.pop(0))
        return group

    def is_each(self, call: Equation) -> bool:
        return self.unit.module.optimizers[self.optimizer_of(call)].update is None

    def origin(self, call: Equation) -> Equation | None:
        """What took the states apart for a call of a rule for tensors; the step count where there are none."""
        return self.source.get(call.args[2]) if len(call.args) > 2 else None

    def source_of(self, call: Equation) -> bool:
        return call in self.covered

    def enter(self, calls: list[Equation]) -> None:
        if self.is_each(calls[0]):
            leaves, gradients = tuple(c.args[0] for c in calls), tuple(c.args[1] for c in calls)
        else:
            theta, g = calls[0].args[:2]
            leaves = self.vectors.get(theta) or self.source[theta].args
            gradients = self.source[g].args
        after = [self.after(c) for c in calls]
        self.moves[calls[-1]] = Move(tuple(calls), leaves, gradients)
        self.cover(calls, after)
        if not self.is_each(calls[0]):
            self.vectors[after[0]] = leaves

    def after(self, call: Equation) -> Value:
        """θ after the update, among the results of the call."""
        callee = self.unit.functions[call.params["callee"]]
        return call.results[[before for before, _ in callee.state].index(callee.inputs[0])]

    def cover(self, calls: Sequence[Equation], after: Sequence[Value]) -> None:
        """What puts the arguments together and takes the results apart."""
        made = {r for c in calls for r in c.results}
        for e in self.f.body:
            readers = [r for v in e.results for r in self.readers.get(v, ())]
            feeds = e.args and readers and all(r in self.covered for r in readers) and self.moves_only(e)
            if feeds or (made.intersection(e.args) and self.moves_only(e)):
                self.covered.add(e)

    def moves_only(self, e: Equation) -> bool:
        """Tensors are put together to a vector or taken from one."""
        return "points" in TABLE[e.op].facts

    def names(self) -> dict[Value, str]:
        """Gradients are called after the models that they move."""
        places = self.body.groups.places
        pairs = [
            (g, places.get(leaf)) for m in self.moves.values() for g, leaf in zip(m.gradients, m.leaves, strict=True)
        ]
        return {g: f"d_{text(place.group.root)}" for g, place in pairs if place}

    # ---- the statement

    def emit(self, equation: Equation) -> None:
        move = self.moves.get(equation)
        if move is None:
            return
        self.body.preserve(move.leaves, equation)
        self.body.settle(frozenset(move.leaves))
        tree = self.statement(move)
        self.body.statement(None, tree, (), equation.span)
        self.settle(move)

    def statement(self, move: Move) -> ast.expr:
        optimizer = self.optimizer_object(move)
        pairs = list(self.models(move))
        if len(pairs) == 1:
            ((model, gradient),) = pairs
            vector = ast.Call(ast.Attribute(model, "flat"), [gradient], [])
            more = [ast.Call(ast.Attribute(model, "shapes"), [], [])] if self.is_each(move.calls[0]) else []
            arguments = [ast.Attribute(model, "parameters"), vector, *more]
            return ast.Call(ast.Attribute(optimizer, "update"), arguments, [])
        each = [ast.keyword("each", ast.Constant(True))] if self.is_each(move.calls[0]) else []
        return ast.Call(ast.Name("update_together"), [optimizer, *(ast.Tuple(list(p)) for p in pairs)], each)

    def optimizer_object(self, move: Move) -> ast.expr:
        """The parameter whose count of updates the rule is given."""
        for value in move.calls[0].args:
            place = self.body.groups.places.get(value)
            if place and place.group.model in self.unit.module.optimizers:
                return place.group.root
        raise InternalError("an update without an optimizer")

    def models(self, move: Move) -> Iterable[tuple[ast.expr, ast.expr]]:
        """(model, its gradient) for every model whose parameters are all moved. Raises InternalError for parts of one."""
        places = [self.body.groups.places[v] for v in move.leaves]
        position = 0
        while position < len(places):
            group, prefix, paths = self.model_at(places, position)
            gradients = move.gradients[position : position + len(paths)]
            yield group.part(prefix), self.caller.gradient(gradients, paths)
            position += len(paths)

    def model_at(self, places: list[Place], position: int) -> tuple[Group, str, list[str]]:
        """The largest model whose parameters are the next leaves."""
        first = places[position]
        steps = first.path.split(".")
        for depth in range(len(steps)):
            prefix = ".".join(steps[:depth])
            paths = self.unit.trained(first.group.model, prefix)
            found = [p.path for p in places[position : position + len(paths)] if p.group is first.group]
            if paths and found == [f"{prefix}.{p}" if prefix else p for p in paths]:
                return first.group, prefix, paths
        raise InternalError(f"an update of {text(first.group.part(first.path))} alone")

    def settle(self, move: Move) -> None:
        """The new tensors stand where the old ones stood, and the new states too."""
        for value, leaf in self.moved(move):
            self.body.groups.places[value] = self.body.groups.places[leaf]
            self.body.in_place.add(value)
        self.body.in_place |= {r for e in self.covered for r in e.results}

    def moved(self, move: Move) -> list[tuple[Value, Value]]:
        """The tensors after an update, each with the one before."""
        after = [self.after(c) for c in move.calls]
        if not self.is_each(move.calls[0]):
            after = [r for e in self.readers.get(after[0], ()) if self.moves_only(e) for r in e.results]
        return list(zip(after, move.leaves, strict=True)) if after else []
