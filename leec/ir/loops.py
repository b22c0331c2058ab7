"""A recurrence: the equation `scan` seen as what it repeats, what it carries, and which rows it reads and collects.

    results = scan(args; callee, roles, ..)        h = h0
                                                   for t in first .. first + length - 1:
                                                       h, y[t] = callee(h, x[t], w)

`roles` has a word an argument: a `carry` becomes what the callee gives for it, and so does a `state`, which is one of the
callee's too; of a `row` the callee sees one position of an axis, a `const` stays. The callee's outputs are the next carries,
the rows to collect, its states; `counter` is its symbol for the position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from leec.dims import Dim
from leec.ir.graph import Equation, Value
from leec.types import TensorType

CARRY, STATE, ROW, CONST = "carry", "state", "row", "const"


@dataclass(frozen=True)
class Recurrence:
    """The parts of one `scan`."""

    equation: Equation

    @property
    def callee(self) -> str:
        return self.equation.params["callee"]

    @property
    def length(self) -> Dim | None:
        """The number of rounds; None where they go on while the carry at `going` is true."""
        return self.equation.params["length"]

    @property
    def roles(self) -> tuple[str, ...]:
        return self.equation.params["roles"]

    @property
    def carries(self) -> tuple[int, ...]:
        """Positions of the arguments that the loop changes, in the order of their results."""
        return tuple(i for i, role in enumerate(self.roles) if role == CARRY)

    @property
    def states(self) -> tuple[int, ...]:
        return tuple(i for i, role in enumerate(self.roles) if role == STATE)

    @property
    def rows(self) -> dict[int, tuple[int, Dim]]:
        """Arguments by position that are read row by row: the axis, and the position on it that comes first."""
        positions = (i for i, role in enumerate(self.roles) if role == ROW)
        return dict(zip(positions, zip(self.equation.params["axes"], self.equation.params["starts"])))

    @property
    def finals(self) -> tuple[Value, ...]:
        """The carries after the last round."""
        return self.equation.results[: len(self.carries)]

    @property
    def collected(self) -> tuple[tuple[Value, int], ...]:
        """The arrays of rows, each with the axis that counts the rounds."""
        results = self.equation.results[len(self.carries) : len(self.equation.results) - len(self.states)]
        return tuple(zip(results, self.equation.params["out_axes"], strict=True))

    @property
    def new_states(self) -> tuple[Value, ...]:
        """The states after the last round."""
        return self.equation.results[len(self.equation.results) - len(self.states) :]

    def inside(self) -> Iterator[TensorType]:
        """The types that the callee sees, over the sizes out here."""
        rows = self.rows
        for i, arg in enumerate(self.equation.args):
            yield without_axis(arg.type, rows[i][0]) if i in rows else arg.type

    def given(self) -> Iterator[TensorType]:
        """The types that the callee gives."""
        yield from (v.type for v in self.finals)
        yield from (without_axis(v.type, axis) for v, axis in self.collected)
        yield from (v.type for v in self.new_states)


def without_axis(type: TensorType, axis: int) -> TensorType:
    return type.with_dims(*type.dims[:axis], *type.dims[axis + 1 :])


def with_axis(type: TensorType, axis: int, size: Dim) -> TensorType:
    return type.with_dims(*type.dims[:axis], size, *type.dims[axis:])
