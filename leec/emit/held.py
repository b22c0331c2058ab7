"""Numbers of a step that depend on sizes alone, such as 2 / n: a step holds them as tensors without axes.

The library takes half the time for the product of an array with such a tensor than for that with a Python number. They
are made once for all steps with the same sizes.
"""

from __future__ import annotations

import ast
import re

from leec.emit.layout import text
from leec.emit.statements import Body
from leec.ir.graph import Equation, Value
from leec.ops import TABLE

ARITHMETIC = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name)


class StepBody(Body):
    """A body whose arithmetic on arrays reads numbers made of sizes from `held`: their names, by their text."""

    def __init__(self, *given, **options):
        super().__init__(*given, **options)
        self.held: dict[str, str] = {}

    def operand(self, equation: Equation, value: Value) -> ast.expr:
        tree = self.read(value)
        result = equation.results[0].type
        beside = TABLE[equation.op].elementwise and result.is_float and not result.host
        if not beside or not self.is_number(tree) or not self.is_made_of_sizes(tree):
            return tree
        if text(tree) not in self.held:
            self.held[text(tree)] = self.names.fresh("count" if isinstance(tree, ast.Name) else "scale")
        return ast.Name(self.held[text(tree)])

    def is_made_of_sizes(self, tree: ast.expr) -> bool:
        """Arithmetic in which names are those of sizes, and occur."""
        nodes = [n for n in ast.walk(tree) if isinstance(n, ast.expr)]
        names = {n.id for n in nodes if isinstance(n, ast.Name)}
        return bool(names) and names <= self.size_names() and all(isinstance(n, ARITHMETIC) for n in nodes)

    def size_names(self) -> set[str]:
        return {name for axes in self.sizes.read.values() for name in axes.values()} | self.sizes.written.keys()

    def held_numbers(self) -> dict[str, str]:
        """What is read of them in the end, by name."""
        code = "\n".join(line.code for line in self.lines)
        written = set(re.findall(r"\w+", code))
        return {name: number for number, name in self.held.items() if name in written}
