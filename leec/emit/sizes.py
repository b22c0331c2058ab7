"""Where the sizes that a function mentions come from: arguments, hyperparameters, or shapes of its inputs.

A size is looked up when it is first mentioned, so a function only unpacks the shapes that it really needs.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from leec.diagnostics import InternalError
from leec.emit.layout import text
from leec.emit.names import Names
from leec.ir.graph import Value


class Sizes:
    """`known` are symbols with expressions of their own; `arrays` are the inputs to read shapes from, best first."""

    def __init__(self, known: Mapping[str, ast.expr], arrays: Mapping[Value, Callable[[], ast.expr]], names: Names):
        self.known, self.arrays, self.names = dict(known), arrays, names
        self.read: dict[Value, dict[int, str]] = {}

    def __call__(self, symbol: str) -> ast.expr:
        """The expression of a symbol. Raises InternalError if no input shows its value."""
        if symbol not in self.known:
            value, axis = self.find(symbol)
            name = self.names.fresh(symbol)
            self.read.setdefault(value, {})[axis] = name
            self.known[symbol] = ast.Name(name)
        return self.known[symbol]

    def find(self, symbol: str) -> tuple[Value, int]:
        """The array that shows a size; one that is read already comes first."""
        places = [(v, axis) for v in self.arrays for axis, d in enumerate(v.type.dims) if d.symbol == symbol]
        if not places:
            raise InternalError(f"no input of the function shows the size {symbol}")
        return min(places, key=lambda place: place[0] not in self.read)

    def lines(self) -> list[str]:
        """`n, d = x.shape`, in the order of the inputs."""
        return [self.line(value) for value in self.arrays if value in self.read]

    def line(self, value: Value) -> str:
        axes = self.read[value]
        shape = f"{text(self.arrays[value]())}.shape"
        if len(axes) == 1:
            ((axis, name),) = axes.items()
            return f"{name} = {shape}[{axis}]"
        return f"{', '.join(axes.get(axis, '_') for axis in range(value.type.rank))} = {shape}"
