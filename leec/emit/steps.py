"""Training steps in PyTorch: classes whose `step` is forward, backward and update as one function, without autograd.

The step function of a procedure is taken with all its calls written out. Gradients go straight into views of the flat
gradient, and the update walks over blocks of the flat vectors, in place.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import ClassVar

from leec.emit.dialect import STEP, Dialect, parse
from leec.emit.docs import docstring
from leec.emit.functions import INDENT, Emitter, definition
from leec.emit.groups import Group, Place, joined
from leec.emit.held import StepBody
from leec.emit.inplace import InPlace
from leec.emit.layout import text
from leec.emit.listings import items, quote, returning, spare, taken
from leec.emit.loops import LoopWriter
from leec.emit.rules import Rule
from leec.emit.splitting import fit
from leec.emit.statements import Body, Line
from leec.emit.updates import Move, Updates
from leec.emit.wholesteps import StepSignature, waits
from leec.ir.graph import Equation, Program, Value

COMMENTED = 110  # columns of a line with its comment


@dataclass
class StepEmitter(Emitter):
    """Writes one step class."""

    tensors: dict[str, str] = field(default_factory=dict)  # local names of the models' tensors, by path
    gradients: dict[Value, str] = field(default_factory=dict)  # where the gradient of a parameter goes
    rules: list[Rule | None] = field(default_factory=list)  # of each update; None: left to the optimizer's method
    numbers: list[tuple[str, ast.expr]] = field(default_factory=list)
    held_numbers: dict[str, str] = field(default_factory=dict)  # of sizes alone, by name
    held_sizes: list[str] = field(default_factory=list)
    loops: frozenset[str] = frozenset()  # names that the loops of updates give values to
    rule_class: ClassVar[type[Rule]] = Rule
    column: ClassVar[str] = STEP.column
    groups: ClassVar[bool] = False  # are written as such

    def __post_init__(self) -> None:
        super().__post_init__()
        self.updates = Updates(self.caller, self.f)
        self.body.skipped = self.updates.covered
        self.moves = list(self.updates.moves.values())
        self.homes = dict(self.groups.places)
        for move in self.moves:
            self.homes |= {v: self.homes[leaf] for v, leaf in self.updates.moved(move)}
        for value, place in self.homes.items():
            if not value.type.host and place.group.model in self.unit.module.models:
                self.body.values[value] = ast.Name(self.tensor(place))
        for move in self.moves:
            for g, leaf in zip(move.gradients, move.leaves, strict=True):
                self.gradients.setdefault(g, self.gradient_name(leaf))

    def dialect(self) -> Dialect:
        return STEP

    def new_body(self, *arguments) -> Body:
        return StepBody(*arguments)

    def signed(self) -> StepSignature:
        return StepSignature(self.unit, self.f, self.names)

    def tensor(self, place: Place) -> str:
        """The local name of a tensor of a model: its path."""
        path = f"{text(place.group.root).removeprefix('self.')}.{place.path}"
        if path not in self.tensors:
            self.tensors[path] = self.names.of(("tensor", path), place.path)
        return self.tensors[path]

    def gradient_name(self, leaf: Value) -> str:
        return self.names.of(("gradient", leaf), f"d_{self.homes[leaf].path}")

    # ---- the step

    def statements(self) -> list[str]:
        self.written_gradients: set[str] = set()
        for equation in self.f.body:
            if equation in self.updates.moves:
                self.update(self.updates.moves[equation])
            elif equation in self.updates.covered:
                continue
            elif equation.op == "scan":
                LoopWriter(self.caller, equation).write()
            elif len(equation.results) == 1 and equation.result in self.gradients:
                self.gradient(equation)
            else:
                self.body.equation(equation)
        self.leave()
        checks, arrays = self.checks(), self.arrays()
        return [*self.opening(), *self.body.sizes.lines(), *checks, *arrays, *self.written()]

    def arrays(self) -> list[str]:
        """`count, scale = self.held(n)  # n, 2 / n`: what is to be had once sizes are known, here numbers as tensors."""
        self.held_numbers = self.body.held_numbers()
        names = {n.id for line in self.held_numbers.values() for n in ast.walk(parse(line)) if isinstance(n, ast.Name)}
        self.held_sizes = [name for name in self.body.sizes.locals() if name in names]
        lines = taken(list(self.held_numbers), f"self.held({', '.join(self.held_sizes)})") if names else []
        comment = f"  # {', '.join(self.held_numbers.values())}"
        return [lines[0] + comment] if len(lines) == 1 and len(lines[0] + comment) <= COMMENTED else lines

    def opening(self) -> list[str]:
        """Names for the tensors that the step reads, and for the gradients that it writes."""
        names = [self.gradient_name(leaf) for move in self.moves for leaf in move.leaves]
        return [*taken(list(self.tensors.values()), "self.tensors"), *taken(names, "self.gradients")]

    def gradient(self, equation: Equation) -> None:
        """The gradient of a parameter, written where the update finds it."""
        target = self.gradients[equation.result]
        tree = self.body.tree(equation)
        self.body.consume(equation.args)
        self.body.types[id(tree)] = tree, equation.result.type
        self.into(tree, target, equation)
        self.body.values[equation.result] = ast.Name(target)

    def into(self, tree: ast.expr, target: str, equation: Equation) -> None:
        lines: list[str] = []
        number, wanted = self.body.is_number, equation.result.type.dims

        def fits(part: ast.expr) -> bool:
            known = self.body.type_of(part)
            return known is not None and known.dims == wanted

        InPlace(number, number, fits, self.body.rank, lambda: None, lines).into(tree, ast.Name(target))
        for line in lines:
            self.body.line(line, equation.results, equation.span)
        self.written_gradients.add(target)

    def update(self, move: Move) -> None:
        call = move.calls[-1]
        for g, leaf in zip(move.gradients, move.leaves, strict=True):
            name = self.gradient_name(leaf)
            if name not in self.written_gradients:
                self.body.line(self.body.dialect.stored(ast.Name(name), self.body.read(g)), (g,), call.span)
                self.written_gradients.add(name)
        self.body.preserve(move.leaves, call)
        self.body.settle(frozenset(move.leaves))
        index = len(self.rules)
        rule = self.rule(move)
        self.rules.append(rule)
        self.body.lines += [Line(line) for line in (self.loop(rule, index) if rule else self.method(move, index))]
        self.updates.settle(move)
        self.body.values |= {v: ast.Name(self.tensor(self.homes[v])) for v, _ in self.updates.moved(move)}

    def rule(self, move: Move) -> Rule | None:
        f = self.unit.functions[move.calls[0].params["callee"]]
        optimizer = self.unit.module.optimizers[self.unit.owner(f)]
        if optimizer.update is None:
            return None
        rule = self.rule_class(
            f,
            optimizer,
            self.updates.optimizer_object(move),
            self.names,
            self.loops,
            self.unit.scheduled.get(optimizer.name, frozenset()),
            list(self.numbers),
        )
        if not rule.is_blockwise():
            return None
        rule.write()
        self.numbers = rule.scalars
        self.loops |= rule.local_names()
        self.names.taken |= self.loops
        return rule

    def loop(self, rule: Rule, index: int) -> list[str]:
        """`for θ, g, m in self.blocks[0]:`"""
        root = text(rule.optimizer)
        hypers = [f"{name} = {root}.{hyper}" for hyper, name in rule.hypers.items()]
        before = rule.before
        if before:
            whole = [f"{name}_all" for name in rule.vectors]
            used = [w for w in whole if any(w in line for line in before)]
            sources = dict(zip(whole[:2], self.whole(index), strict=True))
            sources |= {w: f"self.states[{index}][{i}]" for i, w in enumerate(whole[2:])}
            before = [*(f"{w} = {sources[w]}" for w in used), *before]
        arrays = ", ".join([*rule.vectors, *rule.spare])
        inside = [f"{INDENT}{line}" for line in rule.inside]
        return [*hypers, *before, f"for {arrays} in self.blocks[{index}]:", *inside]

    def whole(self, index: int) -> tuple[str, str]:
        """The parameters of an update as one vector, and their gradient."""
        return f"self.vectors[{index}].values", f"self.vectors[{index}].gradient"

    def method(self, move: Move, index: int) -> list[str]:
        """The optimizer's own update of the whole vector."""
        vector = f"self.vectors[{index}]"
        shapes = f", {vector}.shapes" if self.updates.is_each(move.calls[0]) else ""
        return [f"{vector}.moved_by({text(self.updates.optimizer_object(move))}.update{shapes})"]

    # ---- the class

    def class_text(self, name: str) -> str:
        body = self.statements()
        objects = self.signature.objects
        moved = [self.moved(m) for m in self.moves]
        counted = [o for (o, _), rule in zip(moved, self.rules, strict=True) if rule]
        lines = [
            *docstring(
                f"One step of {self.f.name.rpartition('_step')[0]} for {', '.join(objects)}: call it with a batch."
            ),
            "",
            f"moved = {items([f'({quote(o)}, {items(map(quote, models))})' for o, models in moved])}",
            f"counted = {items(map(quote, counted))}",
            *fit(f"read = {items(map(quote, self.tensors))}", len(INDENT)).splitlines(),
            f"spare = {items(spare(r) for r in self.rules)}",
            *(["waits = True"] if waits(Program(self.unit.functions), self.f.name) else []),
        ]
        start = [f"{', '.join(f'self.{o}' for o in objects)} = {', '.join(objects)}", "self.bind()"]
        methods = [definition("__init__", ["self", *objects], start, len(INDENT)), *self.methods()]
        methods.append(definition("step", [*self.parameters(), *self.given()], body, len(INDENT)))
        inside = "\n\n".join(["\n".join(lines), *methods])
        return f"class {name}(TrainStep):\n" + "\n".join(INDENT + x if x else "" for x in inside.splitlines())

    def methods(self) -> list[str]:
        """Beside the step itself."""
        held = [returning("numbers", list(self.held_numbers.values()), self.held_sizes)] if self.held_numbers else []
        constants = [self.constants()] if any(self.rules) else []
        return [*held, *constants, *([self.scalars()] if self.numbers else [])]

    def given(self) -> list[str]:
        """What the step takes beside a batch."""
        return [name for name, _ in self.numbers]

    def moved(self, move: Move) -> tuple[str, list[str]]:
        """The optimizer and the models of an update, by their attributes."""
        optimizer = text(self.updates.optimizer_object(move)).removeprefix("self.")
        places = [self.homes[v] for v in move.leaves]
        models, position = [], 0
        while position < len(places):
            group, prefix, paths = self.updates.model_at(places, position)
            models.append(self.model_path(group, prefix))
            position += len(paths)
        return optimizer, models

    def model_path(self, group: Group, prefix: str) -> str:
        return joined(text(group.root).removeprefix("self."), prefix)

    def constants(self) -> str:
        names = [f"{text(r.optimizer)}.{hyper}" for r in self.rules if r for hyper in r.hypers]
        return returning("constants", names)

    def scalars(self) -> str:
        return returning("scalars", [text(tree) for _, tree in self.numbers])
