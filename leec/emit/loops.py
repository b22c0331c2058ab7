"""A `scan` as a Python loop: every round calls the function of the round.

    h = np.zeros((n, hidden))
    out = np.empty((n, time, hidden))
    for t in range(time):
        h, out[:, t] = self.forward_step(h, x[:, t])

What rounds save for their backward stays as it was returned, in a list by position.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from leec.dims import Dim
from leec.emit.calls import Caller
from leec.emit.expressions import dim_tree
from leec.emit.groups import Group
from leec.emit.layout import text, unparenthesised
from leec.emit.stacks import array_of, joined, stacked
from leec.emit.unit import saved_names
from leec.ir.graph import Equation, Function, Parameter, Value
from leec.ir.loops import CARRY, CONST, ROW, STATE, Recurrence

INDENT = "    "


class LoopWriter:
    """Writes one loop into the body of a function."""

    def __init__(self, caller: Caller, equation: Equation):
        self.caller, self.body, self.unit = caller, caller.body, caller.unit
        self.equation, self.loop = equation, Recurrence(equation)
        self.callee: Function = self.unit.functions[self.loop.callee]
        self.role = dict(zip(self.callee.inputs, self.loop.roles, strict=True))
        self.outer = dict(zip(self.callee.inputs, equation.args, strict=True))
        self.inside: dict[Value, Value] = {}  # what a round is called with, by the callee's inputs
        self.extras = self.unit.extras(self.callee)
        self.before: list[tuple[str, tuple[Value, ...]]] = []
        self.after: list[str] = []

    def write(self) -> None:
        self.position = self.body.names.fresh(self.equation.params["counter"])
        self.body.sizes.known[self.equation.params["counter"]] = ast.Name(self.position)
        self.caller.keep_order(self.callee, self.equation)
        self.write_arguments()
        for p in self.callee.parameters:
            self.enter(p)
        targets = self.targets()
        tree = self.call()
        self.body.consume(self.equation.args)
        into = f"{', '.join(map(text, targets))} = " if targets else ""
        round_ = f"{INDENT}{into}{unparenthesised(tree)}{self.counting()}"
        for line, values in self.before:
            self.body.line(line, values, self.equation.span)
        self.body.line(f"{self.head(targets)}:\n{round_}", (), self.equation.span)
        for line in self.after:
            self.body.line(line, (), None)
        self.caller.commit(self.callee, self.equation, list(self.loop.new_states))

    def write_arguments(self) -> None:
        """What rounds read must be there before the loop; what a gradient or model starts with goes into it at once."""
        for p in self.callee.parameters:
            whole = self.unit.role(self.callee, p) in ("model", "dict")
            for value in p.values:
                start = self.outer[value]
                if self.role[value] == CARRY and not start.named and self.body.readers[start] == 1:
                    self.body.called[start.name] = value.name
                if not value.type.host and not (whole and self.role[value] == CARRY):
                    self.body.write_out(self.outer[value])

    def head(self, targets: list[ast.expr]) -> str:
        """`for t in range(time)`, or `while going`."""
        if self.loop.length is None:
            return f"while {text(targets[self.equation.params['going']])}"
        return f"for {self.position} in {self.range()}"

    def counting(self) -> str:
        """The number of the round, where a `while` draws."""
        counter = self.equation.params["counter"]
        if self.loop.length is not None or all(p.static != counter for p in self.callee.parameters):
            return ""
        self.before.append((f"{self.position} = 0", ()))
        return f"\n{INDENT}{self.position} += 1"

    def range(self) -> str:
        first, length = self.equation.params["first"], self.loop.length
        bounds = [self.size(length)] if first == 0 else [self.size(first), self.size(first + length)]
        whole = f"range({', '.join(map(text, bounds))})"
        return f"reversed({whole})" if self.equation.params["reverse"] else whole

    def size(self, dim: Dim) -> ast.expr:
        return dim_tree(dim, self.body.sizes)

    def place(self, axis: int, start: Dim) -> ast.expr:
        """`:, t`"""
        position = self.size(start - self.equation.params["first"] + Dim.of(self.equation.params["counter"]))
        return ast.Tuple([*[ast.Slice()] * axis, position]) if axis else position

    # ---- what a round is given

    def enter(self, p: Parameter) -> None:
        """The arguments that one parameter of the round stands for."""
        for value in p.values:
            same = self.role[value] in (CONST, STATE)
            self.inside.setdefault(value, self.outer[value] if same else Value(value.name, value.type, value.span))
            self.body.readers[self.inside[value]] += 1
        kind = self.unit.role(self.callee, p)
        carried = [v for v in p.values if self.role[v] == CARRY]
        if carried and kind in ("model", "dict"):
            self.carry_object(p, kind)
        elif carried:
            self.carry(carried[0])
        for value in p.values:
            if self.role[value] == ROW and kind != "saved":
                axis, start = self.loop.rows[self.callee.inputs.index(value)]
                self.body.values[self.inside[value]] = self.row(self.outer[value], axis, start)
        if kind == "saved" and p.name == self.first_saved():
            self.saved_of_round()

    def row(self, array: Value, axis: int, start: Dim) -> ast.expr:
        """`x[:, t]`, or what a round saved: `saved[t][1]`."""
        where = self.body.groups.places.get(array)
        if array in self.body.values or where is None or not where.group.rounds(where.path):
            return ast.Subscript(self.body.read(array), self.place(axis, start))
        rounds = where.group.part(where.group.rounds(where.path)[0])
        item, path = where.group.of_round(where.path, ast.Subscript(rounds, self.place(0, start)))
        return stacked(self.body, item, path, array.type.dims[1:], array.type.dtype)

    def carry(self, value: Value) -> None:
        """A variable that rounds change; it goes on under the name of what it starts as, if nothing else reads that."""
        start, tree = self.outer[value], self.body.read(self.outer[value])
        if isinstance(tree, ast.Name) and self.body.readers[start] == 1:
            name = tree
        else:
            name = ast.Name(self.body.names.fresh(value.name))
            self.before.append((f"{name.id} = {unparenthesised(tree)}", ()))
        self.body.values[self.inside[value]] = self.body.values[self.final(value)] = name

    def carry_object(self, p: Parameter, kind: str) -> None:
        """A model, or a gradient, that rounds change."""
        starts = [self.outer[v] for v in p.values]
        tree = self.caller.model(p, starts) if kind == "model" else self.caller.gradient(starts, p.paths)
        name = ast.Name(self.body.names.fresh(p.name))
        self.before.append((f"{name.id} = {text(tree)}", ()))
        group = Group(name, kind, len(p.values), p.model)
        self.body.groups.enter(group, [self.inside[v] for v in p.values], p.paths)
        self.body.groups.enter(group, [self.final(v) for v in p.values], p.paths)

    def final(self, value: Value) -> Value:
        """What a carry is after the loop."""
        return self.loop.finals[self.loop.carries.index(self.callee.inputs.index(value))]

    def first_saved(self) -> str:
        return next(p.name for p in self.callee.parameters if self.unit.role(self.callee, p) == "saved")

    def saved_of_round(self) -> None:
        """What the forward of the round returned, from the list by position."""
        forward = self.unit.forward_of(self.callee)
        places = self.unit.places(forward)
        members = [
            pair
            for p in self.callee.parameters
            if self.unit.role(self.callee, p) == "saved"
            for pair in zip(p.values, saved_names(p), strict=True)
        ]
        found = self.body.groups.whole([self.outer[v] for v, _ in members], [places[n] for _, n in members], "rows")
        index = self.place(0, Dim.of(0))
        item, lists = ast.Subscript(found[0].part(found[1]), index), self.unit.listed[forward.name]
        group = Group(item, "tuple", len(places), callee=forward.name, lists=lists)
        for value, name in members:
            self.inside.setdefault(value, Value(value.name, value.type))
            self.body.groups.enter(group, [self.inside[value]], [places[name]])

    def call(self) -> ast.expr:
        args = tuple(self.inside[v] for v in self.callee.inputs)
        counter = self.equation.params["counter"]
        dims = (*self.equation.params["dims"], (counter, Dim.of(counter)))
        results = tuple(Value(v.name, v.type) for v in self.callee.outputs)
        for inner, after in zip(reversed(results), reversed(self.loop.new_states)):
            self.body.readers[inner] = self.body.readers[after]
        params = {"callee": self.callee.name, "dims": dims, "results": tuple(v.type for v in results)}
        return self.caller.call_tree(Equation("call", args, params, results, self.equation.span), self.callee)[0]

    # ---- where the results of a round go

    def targets(self) -> list[ast.expr]:
        """Carries, then rows into their arrays, then what was saved into its list."""
        found: list[ast.expr] = []
        carries = [self.callee.inputs[i] for i in self.loop.carries]
        own = self.callee.results[: len(self.callee.results) - len(self.extras)]
        rows = list(self.loop.collected)
        for result in own:
            if carries:
                taken, carries = carries[: len(result.values)], carries[len(result.values) :]
                found.append(self.carried_target(taken))
            else:
                found.append(self.row_target(*rows.pop(0)))
        return [*found, self.saved_target(rows)] if self.extras else found

    def carried_target(self, values: Sequence[Value]) -> ast.expr:
        inner = self.inside[values[0]]
        return self.body.values[inner] if inner in self.body.values else self.body.groups.places[inner].group.root

    def row_target(self, array: Value, axis: int) -> ast.expr:
        """`out[:, t]`; arrays whose rows autograd follows are put together after the loop."""
        if not self.body.readers[array]:
            return ast.Name("_")
        target = self.body.target(array)
        if self.body.dialect.autograd:
            self.before.append((f"{target.id} = {self.nothing_yet()}", ()))
            rows = joined(self.body, target, target, axis, array.type.dims, array.type.dtype)
            self.after.append(f"{target.id} = {text(rows)}")
            axis = 0
        else:
            empty = array_of(self.body, "empty", array.type.dims, array.type.dtype)
            self.before.append((f"{target.id} = {text(empty)}", (array,)))
        return ast.Subscript(target, self.place(axis, Dim.of(0)))

    def nothing_yet(self) -> str:
        """A list with a place for every round."""
        return text(ast.BinOp(ast.List([ast.Constant(None)]), ast.Mult(), self.size(self.loop.length)))

    def saved_target(self, rows: list[tuple[Value, int]]) -> ast.expr:
        values = [v for v, _ in rows]
        if not any(self.body.readers[v] for v in values):
            return ast.Name("_")
        name = ast.Name(self.body.names.fresh("saved_" + (self.callee.saving or self.callee.name).rpartition(".")[2]))
        places = self.unit.places(self.callee)
        lists = self.unit.listed[self.callee.name]
        group = Group(name, "rows", len(values), callee=self.callee.name, lists=lists)
        self.body.groups.enter(group, values, [places[n] for n in self.extras])
        self.before.append((f"{name.id} = {self.nothing_yet()}", ()))
        return ast.Subscript(name, self.place(0, Dim.of(0)))
