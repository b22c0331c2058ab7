"""Training steps in NumPy: classes as in PyTorch, whose arrays live from call to call.

`plan` makes the arrays for the sizes of a batch; the gradients go straight into one vector, and the update walks over
blocks of it that stay in the cache.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import ClassVar

from leec.emit.arrays import Arrays, Slot, seen_through
from leec.emit.dialect import NUMPY, Dialect
from leec.emit.docs import docstring
from leec.emit.expressions import dim_tree
from leec.emit.functions import INDENT, definition
from leec.emit.layout import text
from leec.emit.listings import items, taken
from leec.emit.planned import PlannedBody
from leec.emit.rules import Rule
from leec.emit.splitting import fit
from leec.emit.statements import Body
from leec.emit.steps import StepEmitter
from leec.emit.ufuncs import Ufuncs
from leec.emit.updates import Move
from leec.ir.graph import Equation, Result


@dataclass
class PlannedRule(Rule):
    """The inside of the loop over blocks, in NumPy."""

    dialect: ClassVar[Dialect] = NUMPY

    def __post_init__(self) -> None:
        super().__post_init__()
        self.arrays = Arrays(self.local, True, "u")

    def register(self) -> str:
        name = self.arrays.take(self.inputs[0].type).name
        self.spare = [s.name for s in self.arrays.slots]
        return name

    def inplace(self, here: Body) -> Ufuncs:
        def is_number(tree: ast.expr) -> bool:
            return here.is_number(tree) or (isinstance(tree, ast.Name) and tree.id in self.scalar_names())

        return Ufuncs(self.arrays, here.type_of, is_number, here.rank, self.inside.append)

    def scalar_names(self) -> set[str]:
        return {*self.reduced, *self.hypers.values(), *(name for name, _ in self.scalars)}

    def write(self) -> None:
        super().write()
        self.spare = [s.name for s in self.arrays.slots]


class PlannedStep(StepEmitter):
    """Writes one step class."""

    rule_class: ClassVar[type[Rule]] = PlannedRule
    column: ClassVar[str] = NUMPY.column
    groups: ClassVar[bool] = True
    body: PlannedBody
    told = 0  # numbers that are given values already

    def dialect(self) -> Dialect:
        return NUMPY

    def new_body(self, *arguments) -> Body:
        return PlannedBody(*arguments, planned=True)

    # ---- the step

    def gradient(self, equation: Equation) -> None:
        name = self.gradients[equation.result]
        self.body.equation(equation, ast.Name(name))
        if text(self.body.read(equation.result)) == name:
            self.written_gradients.add(name)

    def result(self, r: Result) -> ast.expr:
        """Nothing that a caller gets lies in an array that the next call writes over."""
        tree = super().result(r)
        shared = r.model is None and seen_through(self.f, self.gradients).intersection(r.values)
        return self.body.dialect.copied(tree) if shared else tree

    def loop(self, rule: Rule, index: int) -> list[str]:
        new, self.told = self.numbers[self.told :], len(self.numbers)
        return [*(f"{name} = {text(tree)}" for name, tree in new), *super().loop(rule, index)]

    def whole(self, index: int) -> tuple[str, str]:
        one = len(self.moved(self.moves[index])[1]) == 1
        return (
            f"self.vectors[{index}][0]" if one else f"np.concatenate(self.vectors[{index}])"
        ), f"self.gradient[{index}]"

    def method(self, move: Move, index: int) -> list[str]:
        return [f"self.update({index}{f', self.shapes[{index}]' if self.updates.is_each(move.calls[0]) else ''})"]

    # ---- its arrays

    def arrays(self) -> list[str]:
        """`s0, s1 = self.planned(n)`"""
        arrays = [(s.name, self.made(s)) for s in self.body.arrays.slots]
        self.planned = [*arrays, *self.body.constants]
        if not self.planned:
            return []
        names = {n.id for _, tree in self.planned for n in ast.walk(tree) if isinstance(n, ast.Name)}
        self.sizes = [name for name in self.body.sizes.locals() if name in names]
        source = f"self.planned({', '.join(self.sizes)})"
        lines = taken([name for name, _ in self.planned], source)
        if len(lines) == 1:
            return lines
        whole = self.names.fresh("arrays")
        return [f"{whole} = {source}", *taken([name for name, _ in self.planned], whole)]

    def made(self, slot: Slot) -> ast.expr:
        dims = ast.Tuple([dim_tree(d, self.body.sizes) for d in slot.type.dims])
        return ast.Call(ast.Attribute(ast.Name("np"), "empty"), [dims, NUMPY.dtype(slot.type.dtype)], [])

    def given(self) -> list[str]:
        return []

    def methods(self) -> list[str]:
        return [self.plan()] if self.planned else []

    def plan(self) -> str:
        """The method that makes the arrays."""
        used = {n.id for _, tree in self.planned for n in ast.walk(tree) if isinstance(n, ast.Name)}
        before = [f"{name} = {text(tree)}" for name, tree in self.body.constants if name in used]
        parts = [name if name in used else text(tree) for name, tree in self.planned]
        lines = [*before, f"return {', '.join(parts) if len(parts) > 1 else items(parts)}"]
        body = fit("\n".join(lines), 2 * len(INDENT)).splitlines()
        words = docstring("The arrays that a step computes in, for the sizes of its batch.")
        return definition("plan", ["self", *self.sizes], [*words, *body], len(INDENT))
