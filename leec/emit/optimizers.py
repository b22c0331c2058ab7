"""Optimizer classes: the rule as a method that moves θ and the states in place.

The rule of the spec is elementwise on one vector, and so is the method. Where the rule is for one tensor at a time,
`update` walks along the vector with the shapes of the tensors.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from leec.emit.classes import assignments
from leec.emit.dialect import STEP, Dialect
from leec.emit.docs import docstring
from leec.emit.expressions import constant_tree, dim_tree
from leec.emit.functions import INDENT, Emitter, definition
from leec.emit.groups import Group, attribute
from leec.emit.layout import text
from leec.emit.names import Names
from leec.emit.signatures import Signature
from leec.emit.sizes import Sizes
from leec.emit.statements import Body
from leec.emit.unit import Unit
from leec.ir.graph import Parameter
from leec.ir.module import OptimizerClass


class UpdateSignature(Signature):
    """`update(self, θ, g)`: states, hyperparameters and the count of updates are the object's."""

    def __post_init__(self) -> None:
        optimizer = self.unit.module.optimizers[self.unit.owner(self.f)]
        states = {name for name, _ in optimizer.states}
        hypers = {h.name for h in optimizer.hypers}
        self.parameters.append("self")
        own = Group(ast.Name("self"), "model", 0, optimizer.name)
        for p in self.f.parameters:
            if p.name in states:
                self.enter_state(p, own)
            elif p.model is not None:
                self.enter_object(p, Group(own.part(p.name), "model", len(p.values), p.model), f"{p.name}.")
            elif p.name in hypers:
                self.values[p.values[0]] = own.part(p.name)
            elif p.values[0].type.host:
                self.values[p.values[0]] = own.part("t")
            else:
                self.enter_value(p)

    def enter_state(self, p: Parameter, own: Group) -> None:
        self.groups.enter(own, p.values, [p.name])


class Update(Emitter):
    """The method of an optimizer's rule; no gradient flows through it."""

    def dialect(self) -> Dialect:
        return STEP if self.unit.dialect.autograd else self.unit.dialect

    def new_body(self, *arguments) -> Body:
        return Body(*arguments)

    def signed(self) -> Signature:
        return UpdateSignature(self.unit, self.f, self.names)

    def doc(self) -> str:
        return self.f.doc or "Move θ along its gradient, in place."


class BlockSignature(UpdateSignature):
    """The states are pieces of the object's, under their own names."""

    def enter_state(self, p: Parameter, own: Group) -> None:
        self.values[p.values[0]] = ast.Name(self.names.of(p, attribute(p.name)))


class UpdateBlocks(Update):
    """The inside of a loop over pieces of the vectors."""

    def signed(self) -> Signature:
        return BlockSignature(self.unit, self.f, self.names)

    def whole(self) -> tuple[str, str]:
        """The vectors that the pieces are of."""
        return self.names.of("whole θ", "parameters"), self.names.of("whole g", "gradient")

    def loop(self, optimizer: OptimizerClass) -> list[str] | None:
        """`for θ, g, m in blocks(parameters, gradient, self.m):`; None for a rule that needs the vectors whole."""
        vector = self.f.inputs[0].type.dims
        apart = all(len(e.results) == 1 and (e.result.type.host or e.result.type.dims == vector) for e in self.f.body)
        self.indent += len(INDENT)
        inside = self.statements() if apart else []
        if not apart or self.body.sizes.read:
            return None
        by_name = {p.name: p.values[0] for p in self.f.parameters}
        pieces = [*self.parameters()[1:], *(text(self.body.values[by_name[name]]) for name, _ in optimizer.states)]
        sources = [*self.whole(), *(f"self.{attribute(name)}" for name, _ in optimizer.states)]
        head = f"for {', '.join(pieces)} in blocks({', '.join(sources)}):"
        return [head, *(INDENT + line if line else "" for line in inside)]


class UpdateEach(Update):
    """The same for one tensor: its part of every state is given."""

    def signed(self) -> Signature:
        return EachSignature(self.unit, self.f, self.names)

    def doc(self) -> str:
        return self.f.doc or f"Move one tensor of rank {self.f.inputs[0].type.rank}, in place."


class EachSignature(UpdateSignature):
    def enter_state(self, p: Parameter, own: Group) -> None:
        self.enter_value(p)


def optimizer_text(unit: Unit, optimizer: OptimizerClass) -> str:
    hypers = [h.name for h in optimizer.hypers]
    shaped, models = shapes(unit, optimizer), [h.name for h in optimizer.hypers if h.kind == "model"]
    base = "ShapedOptimizer" if shaped or models else "Optimizer"
    lines = docstring(optimizer.doc or f"{optimizer.name}({', '.join(hypers)})")
    starts = ", ".join(f'"{name}": {float(optimizer.starts.get(name, 0.0))!r}' for name, _ in optimizer.states)
    held = [f"models = {text(ast.Tuple([ast.Constant(attribute(m)) for m in models]))}"] if models else []
    parts = ["\n".join([*lines, "", *([f"starts = {{{starts}}}"] if starts else []), *held]).rstrip()]
    if hypers:
        parts.append(constructor_text(unit, optimizer))
    if shaped:
        parts.append(shaped)
    parts += methods(unit, optimizer)
    inside = "\n\n".join(parts)
    return f"class {unit.class_name(optimizer.name)}({base}):\n" + "\n".join(
        INDENT + line if line else "" for line in inside.splitlines()
    )


def shapes(unit: Unit, optimizer: OptimizerClass) -> str:
    """The method that says how large the states are that declare a shape."""
    given = {name: type_ for name, type_ in optimizer.states if type_ is not None}
    if not given:
        return ""
    holders = [h for h in optimizer.hypers if h.kind == "model"]
    known = {
        f"{h.name}.{s}": Group(ast.Name("self"), "model", 0).part(f"{h.name}.{path}")
        for h in holders
        for s, path in unit.hypers(h.default).items()
    }
    sizes = Sizes(known | {"count": ast.Name("count")}, {}, Names())
    trees = [ast.Tuple([dim_tree(d, sizes) for d in type_.dims]) for type_ in given.values()]
    pairs = ", ".join(f'"{attribute(n)}": {text(tree)}' for n, tree in zip(given, trees, strict=True))
    body = ['"""Of the states, for so many parameters."""', f"return {{{pairs}}}"]
    return definition("shapes", ["self", "count"], body, len(INDENT))


def constructor_text(unit: Unit, optimizer: OptimizerClass) -> str:
    names = [unit.argument_name(h.name) for h in optimizer.hypers]
    given = [
        n + (f"={text(constant_tree(h.default, unit.dialect))}" if h.has_default else "")
        for n, h in zip(names, optimizer.hypers, strict=True)
    ]
    body = assignments([(f"self.{attribute(h.name)}", n) for n, h in zip(names, optimizer.hypers, strict=True)])
    return definition("__init__", ["self", *given], body, len(INDENT))


def methods(unit: Unit, optimizer: OptimizerClass) -> Iterable[str]:
    here = unit.functions
    if optimizer.update in here:
        emitter, pieces = (kind(unit, here[optimizer.update], "update") for kind in (Update, UpdateBlocks))
        loop = pieces.loop(optimizer) if unit.dialect.library == "np" else None
        given = ["self", *pieces.whole()] if loop else emitter.parameters()
        body = [*docstring(emitter.doc()), f"self.begin({given[1]})", *(loop or emitter.statements())]
        yield definition("update", given, body, len(INDENT))
        return
    ranks = {rank: name for rank, name in optimizer.update_each.items() if name in here}
    yield walk(optimizer, ranks)
    for rank, name in ranks.items():
        emitter = UpdateEach(unit, here[name], f"update_{rank}d")
        body = [*docstring(emitter.doc()), *emitter.statements()]
        yield definition(f"update_{rank}d", emitter.parameters(), body, len(INDENT))


def walk(optimizer: OptimizerClass, ranks: Iterable[int]) -> str:
    """`update` as a walk along the vector, tensor by tensor."""
    vectors = ", ".join(["θ", "g", *(f"self.{attribute(n)}" for n, _ in optimizer.states)])
    body = [
        *docstring("Move θ along its gradient, in place; `shapes` are those of the tensors in it."),
        "self.begin(θ)",
        f"rules = {{{', '.join(f'{rank}: self.update_{rank}d' for rank in ranks)}}}",
        "stop = 0",
        "for shape in shapes:",
        f"{INDENT}start, stop = stop, stop + math.prod(shape)",
        f"{INDENT}rules[len(shape)](*(v[start:stop].reshape(shape) for v in ({vectors})))",
    ]
    return definition("update", ["self", "θ", "g", "shapes"], body, len(INDENT))
