"""Calls of emitted functions: arguments regrouped into the objects that Python passes, results into variables.

The tensors of a model become the object, a gradient the dict, what a forward saved the tuple that it returned.
State that the callee changes is changed in its object, so the caller has nothing to write back.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from leec.diagnostics import InternalError
from leec.emit.expressions import dim_tree
from leec.emit.groups import Group, by_key, group_name
from leec.emit.layout import text
from leec.emit.objects import copied, made, resized
from leec.emit.statements import STATEMENT, Body
from leec.emit.unit import Unit, saved_names
from leec.ir.graph import Equation, Function, Parameter, Result, Value


@dataclass
class Caller:
    """Writes the calls of one body."""

    unit: Unit
    body: Body
    width: int = STATEMENT  # of a call
    hints: dict[Value, str] = field(default_factory=dict)  # names for gradients, by their first tensor
    objects: dict[str, str] = field(default_factory=dict)  # of the call under way: models by parameter

    def call(self, equation: Equation) -> None:
        """A call as an expression to fold, where it only gives one tensor, or as a statement."""
        callee = self.unit.functions[equation.params["callee"]]
        if not any(self.body.readers[v] for v in equation.results):
            return
        self.keep_order(callee, equation)
        tree, receiver = self.call_tree(equation, callee)
        outputs = iter(equation.results)
        groups = [(r, list(islice(outputs, len(r.values)))) for r in callee.results]
        self.commit(callee, equation, list(outputs))
        if len(groups) == 1 and not callee.state and groups[0][0].model is None:
            self.body.define(equation.results[0], tree, equation)
            return
        self.body.consume(equation.args)
        targets = self.targets(callee, groups, receiver)
        target = ast.Tuple(targets) if len(targets) > 1 else targets[0] if targets else None
        shown = groups[0][1] if len(groups) == 1 and groups[0][0].model is None else ()
        self.body.statement(target, tree, tuple(shown), equation.span)
        self.keep_new(callee, equation)

    def keep_order(self, callee: Function, equation: Equation) -> None:
        """What reads the old state must be computed before the callee changes it."""
        if callee.state:
            old = {before for before, _ in callee.state}
            changed = [a for i, a in zip(callee.inputs, equation.args, strict=True) if i in old]
            self.body.settle(frozenset(changed))

    def commit(self, callee: Function, equation: Equation, after: list[Value]) -> None:
        """The new state stands where the old one stood."""
        given = dict(zip(callee.inputs, equation.args, strict=True))
        for (before, _), value in zip(callee.state, after, strict=True):
            place = self.body.groups.places[given[before]]
            self.body.groups.places[value] = place
            self.body.in_place.add(value)

    def keep_new(self, callee: Function, equation: Equation) -> None:
        """Copies of new states for autograd, as a later call writes over them."""
        if callee.state and self.body.dialect.autograd:
            for value in filter(self.is_computed_with, equation.results[-len(callee.state) :]):
                copy = self.body.dialect.copied(self.body.read(value))
                self.body.statement(self.body.target(value), copy, (value,), None)

    def is_computed_with(self, value: Value) -> bool:
        """Whether more is done with a new state than to keep it and to hand it on to calls."""
        return any(value in e.args and "callee" not in e.params for e in self.body.f.body)

    # ---- the call

    def call_tree(self, equation: Equation, callee: Function) -> tuple[ast.expr, ast.expr | None]:
        """The expression and the object whose method it calls."""
        built = self.built(equation, callee)
        while len(text(built[0])) > self.width and self.body.shorten(equation.args):
            built = self.built(equation, callee)
        return built

    def construction(self, equation: Equation, callee: Function) -> ast.expr:
        """`Conv(1, 16, padding=1, key=..)`"""
        args, dims = iter(equation.args), dict(equation.params["dims"])
        given: dict[str, ast.expr] = {}
        for p in callee.parameters:
            values = list(islice(args, len(p.values)))
            given[p.name] = (
                dim_tree(dims[p.static], self.body.sizes)
                if p.static
                else self.argument(p, "model" if p.model else "value", values)
            )
        return made(self.unit, self.unit.owner(callee), given)

    def built(self, equation: Equation, callee: Function) -> tuple[ast.expr, ast.expr | None]:
        if callee.name.endswith(".init"):
            return self.construction(equation, callee), None
        receiver, positional, keywords = None, [], []
        self.objects = {}
        args, dims = iter(equation.args), dict(equation.params["dims"])
        saved: list[tuple[Value, str]] = []
        for p in callee.parameters:
            values = list(islice(args, len(p.values)))
            role = self.unit.role(callee, p)
            if role == "self":
                receiver = self.model(p, values, self.discards(callee, equation))
            elif role == "saved":
                positional += [] if saved else [ast.Name("saved")]
                saved += zip(values, saved_names(p), strict=True)
            elif role != "hyper":
                tree = dim_tree(dims[p.static], self.body.sizes) if role == "static" else self.argument(p, role, values)
                if p.default is None and not keywords:
                    positional.append(tree)
                elif not is_default(p, tree):
                    keywords.append(ast.keyword(self.unit.parameter_name(callee, p), tree))
        if saved:
            whole = self.saved(callee, saved)
            positional = [whole if isinstance(t, ast.Name) and t.id == "saved" else t for t in positional]
        function, more = self.function(callee, receiver)
        return ast.Call(function, positional, [*keywords, *more]), receiver

    def function(self, callee: Function, receiver: ast.expr | None) -> tuple[ast.expr, list[ast.keyword]]:
        """What is called: a function, a method, or the object itself for its `forward`; and the mode."""
        name, training = self.unit.public_name(callee)
        mode = [ast.keyword("training", ast.Constant(True))] if training else []
        owner = self.unit.owner(callee)
        if owner is None:
            return ast.Name(self.unit.function_name(name)), mode
        method = name.removeprefix(f"{owner}.")
        if receiver is None:
            return ast.Attribute(ast.Name(self.unit.class_name(owner)), method), mode
        return receiver if method == "forward" else ast.Attribute(receiver, method), mode

    def argument(self, p: Parameter, role: str, values: list[Value]) -> ast.expr:
        if role == "model":
            tree = self.model(p, values)
            self.objects[p.name] = text(tree)
            return tree
        if role == "dict":
            return self.gradient(values, p.paths)
        return self.body.read(values[0])

    def model(self, p: Parameter, values: Sequence[Value], discards: bool = False) -> ast.expr:
        """The object with these tensors: one in scope, or a copy of one at another point."""
        pairs = list(zip(values, p.paths, strict=True))
        tensors = [(v, path) for v, path in pairs if not v.type.host]
        for found in (self.whole(pairs), self.whole(tensors)):
            if found:
                return copied(found) if discards else found
        if not tensors:
            return self.without_tensors(p)
        point = {path: v for v, path in tensors}
        tree = ast.Call(ast.Attribute(self.like(p.model, point), "at"), [self.dictionary(point)], [])
        if all(self.body.readers[v] <= 1 for v in point.values()):
            return tree
        kept = self.kept(p, point, tree)
        return copied(kept) if discards else kept

    def kept(self, p: Parameter, point: Mapping[str, Value], tree: ast.expr) -> ast.expr:
        """A variable for an object that later calls, or the backward, ask for again."""
        found = group_name(Result("", tuple(point.values()), p.model, tuple(point)), list(point.values()))
        name = ast.Name(self.body.names.fresh(found or p.model.lower()))
        self.body.statement(name, tree, (), None)
        self.body.groups.enter(Group(name, "model", len(point), p.model), list(point.values()), list(point))
        return name

    def whole(self, pairs: Sequence[tuple[Value, str]]) -> ast.expr | None:
        found = self.body.groups.whole([v for v, _ in pairs], [path for _, path in pairs], "model")
        return found[0].part(found[1]) if found else None

    def like(self, model: str, tensors: Mapping[str, Value]) -> ast.expr:
        """An object of the class in scope, which knows the hyperparameters, or a new one where none has the sizes."""
        tree, fits = self.in_scope(model, tensors) or (None, False)
        found = tree if fits else resized(self, model, tree, tensors)
        if found is None:
            raise InternalError(f"no {model} is in scope to make another one of")
        return found

    def in_scope(self, model: str, tensors: Mapping[str, Value]) -> tuple[ast.expr, bool] | None:
        return self.body.groups.alike(model, self.unit.members, tensors)

    def without_tensors(self, p: Parameter) -> ast.expr:
        """A member of a class that has no tensors: any of that class."""
        for group in self.body.groups.roots:
            for path, name in self.unit.members(group.model).items():
                if name == p.model:
                    return group.part(path)
        raise InternalError(f"no {p.model} is in scope")

    def discards(self, callee: Function, equation: Equation) -> bool:
        """Whether the state that the callee would change goes nowhere: then a copy takes the change."""
        after = equation.results[len(equation.results) - len(callee.state) :]
        return bool(callee.state) and not any(self.body.readers[v] for v in after)

    def saved(self, callee: Function, values: Sequence[tuple[Value, str]]) -> ast.expr:
        """What the forward saved, as it returned it, or put together where the caller was handed parts of it."""
        forward = self.unit.forward_of(callee)
        places = self.unit.places(forward)
        found = self.body.groups.whole([v for v, _ in values], [places[n] for _, n in values], "tuple")
        return found[0].part(found[1]) if found else self.together(forward, {places[n]: v for v, n in values})

    def together(self, forward: Function, values: Mapping[str, Value]) -> ast.expr:
        """Saved values by place, those of nested calls within each other; None for what nobody reads."""
        entries = self.unit.entries(forward)
        parts: dict[int, dict[str, Value]] = {}
        for place, value in values.items():
            index, _, rest = place.partition(".") if len(entries) > 1 else ("0", "", place)
            parts.setdefault(int(index), {})[rest] = value
        trees = [self.part(e.callee, parts[i]) if i in parts else ast.Constant(None) for i, e in enumerate(entries)]
        return trees[0] if len(trees) == 1 else ast.Tuple(trees)

    def part(self, callee: str, values: Mapping[str, Value]) -> ast.expr:
        """One item of what was saved: a value, or what a nested call saved."""
        if not callee:
            return self.body.read(values[""])
        found = self.body.groups.whole(list(values.values()), list(values), "tuple")
        return found[0].part(found[1]) if found else self.together(self.unit.functions[callee], values)

    def model_value(self, r: Result) -> ast.expr:
        """A model that is returned: never one that the caller holds already (R8)."""
        found = self.body.groups.whole(r.values, r.paths, "model")
        if found:
            return copied(found[0].part(found[1]))
        like = self.like(r.model, dict(zip(r.paths, r.values, strict=True)))
        return ast.Call(ast.Attribute(like, "at"), [self.gradient(r.values, r.paths)], [])

    # ---- gradients and models as dicts

    def gradient(self, values: Sequence[Value], paths: Sequence[str]) -> ast.expr:
        found = self.body.groups.whole(values, paths, "dict")
        return found[0].part(found[1]) if found else self.dictionary(dict(zip(paths, values, strict=True)))

    def dictionary(self, values: dict[str, Value]) -> ast.expr:
        """Nested dicts of tensors by path; a part that is a dict already goes in whole."""
        items = []
        for key, inside in by_key(values).items():
            if isinstance(inside, Value):
                items.append((key, self.body.read(inside)))
            else:
                items.append((key, self.gradient(list(inside.values()), list(inside))))
        return ast.Dict([ast.Constant(k) for k, _ in items], [t for _, t in items])

    # ---- results

    def targets(
        self, callee: Function, groups: list[tuple[Result, list[Value]]], receiver: ast.expr | None
    ) -> list[ast.expr]:
        """The variables of the results; all that was saved goes into one."""
        extras = self.unit.extras(callee)
        own = groups[: len(groups) - len(extras)]
        found = [self.target(callee, r, values, receiver) for r, values in own]
        if extras:
            found.append(self.saved_target(callee, {r.name: values[0] for r, values in groups[len(own) :]}, receiver))
        return found

    def target(self, callee: Function, r: Result, values: list[Value], receiver: ast.expr | None) -> ast.expr:
        if r.model is None:
            return self.body.target(values[0])
        if not any(self.body.readers[v] for v in values):
            return ast.Name("_")
        kind = "dict" if callee.backward_of else "model"
        name = self.hints.get(values[0]) or self.gradient_name(r, values, receiver)
        group = Group(ast.Name(self.body.names.fresh(name)), kind, len(values), r.model)
        self.body.groups.enter(group, values, r.paths)
        return group.root

    def gradient_name(self, r: Result, values: list[Value], receiver: ast.expr | None) -> str:
        """After the object that it is the gradient of."""
        if r.name == "d_self":
            holder = text(receiver) if receiver else group_name(r, values)[2:]
            return f"d_{bare(holder if holder != 'self' else r.model.lower())}"
        given = self.objects.get(r.name.removeprefix("d_")) if r.name.startswith("d_") else None
        return f"d_{bare(given)}" if given and "(" not in given else group_name(r, values)

    def saved_target(self, callee: Function, values: Mapping[str, Value], receiver: ast.expr | None) -> ast.expr:
        if not any(self.body.readers[v] for v in values.values()):
            return ast.Name("_")
        hint = bare(text(receiver)) if receiver else (callee.saving or callee.name)
        name = ast.Name(self.body.names.fresh(f"saved_{hint}"))
        places = self.unit.places(callee)
        group = Group(name, "tuple", len(values), callee=callee.name, lists=self.unit.listed[callee.name])
        self.body.groups.enter(group, list(values.values()), [places[n] for n in values])
        return name


def bare(name: str) -> str:
    """The variable behind an object: of `net.at(..)`, net with other tensors, it is `net`."""
    return name.removeprefix("self.").partition(".at(")[0].removesuffix(".copy()")


def is_default(p: Parameter, tree: ast.expr) -> bool:
    return p.default is not None and isinstance(tree, ast.Constant) and tree.value == p.default
