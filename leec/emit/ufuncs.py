"""NumPy statements that compute an expression into arrays that exist: `np.exp(s0, out=s0)`, `s0 += b`.

An expression goes operation by operation, from the inside out. The array that was given back last is the first to be
written again, so chains run in place.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leec.emit.arrays import Arrays, Slot
from leec.emit.layout import text
from leec.emit.operations import PREDICATES, Operation, for_strided, inside, operation
from leec.types import ShapeMismatch, TensorType, broadcast, host, join_dtypes


@dataclass
class Ufuncs:
    """Writes statements. `type_of` knows expressions that stand for values, `is_number` those that are the host's."""

    arrays: Arrays
    type_of: Callable[[ast.expr], TensorType | None]
    is_number: Callable[[ast.expr], bool]
    rank: Callable[[ast.expr], int | None]
    write: Callable[[str], None]

    def array(self, tree: ast.expr) -> tuple[Operation, TensorType] | None:
        """The operation and type of an expression that can be computed into an array."""
        op, kind = operation(tree, self.rank), self.kind(tree)
        return (op, kind) if op is not None and kind is not None and kind.dims else None

    def kind(self, tree: ast.expr) -> TensorType | None:
        """The type of an expression; None where it cannot be told."""
        known = self.type_of(tree)
        if known is not None or self.is_number(tree):
            return known or host("float")
        op = operation(tree, self.rank)
        kinds = [self.kind(o) for o in op.operands] if op is not None and op.entrywise else [None]
        if None in kinds:
            return None
        try:
            dtype = "bool" if op.name in PREDICATES else join_dtypes(*kinds)
            dims = broadcast(*kinds)
        except ShapeMismatch:  # sizes that are only known to be equal
            return None
        return None if op.name == "np.divide" and dtype == "int" else TensorType(dtype, dims)

    # ---- statements

    def compute(self, tree: ast.expr, name: str | None = None) -> Slot | None:
        """Compute in an array of the function, which the variable then is; None where an expression must do it itself."""
        found = self.array(tree)
        if found is None:
            return None
        op, kind = found
        operands = [self.operand(o) for o in op.operands]
        if op.entrywise:
            self.arrays.release(operands)
        slot = self.arrays.take(kind)
        if not op.entrywise:
            self.arrays.release(operands)
        if slot.name is None:
            slot.rows = bool(op.strided)
        elif not slot.rows and len(kind.dims) > 1:
            op = for_strided(op)
        variable = name or slot.name or self.arrays.names.fresh("s")
        if variable == slot.name:
            self.write(op.statement(operands, slot.name))
        else:
            self.write(f"{variable} = {op.expression(operands, slot.name)}")
        slot.name = slot.name or variable
        return slot

    def operand(self, tree: ast.expr) -> ast.expr:
        """Where an operand stands, computed if need be."""
        if self.array(tree) is None:
            return self.inline(tree)
        slot = self.compute(tree)
        self.arrays.keep(slot.name, slot)
        return ast.Name(slot.name)

    def inline(self, tree: ast.expr) -> ast.expr:
        """An expression, with the arrays that are made on the way to it computed before."""
        return inside(tree, self.operand) if isinstance(tree, PARTS) else tree

    def into(self, tree: ast.expr, target: ast.expr, pending: Sequence[ast.expr] = ()) -> None:
        """Make the target hold the value of the expression; what is pending is read after that."""
        found = self.array(tree)
        if found is None:
            made = self.inline(tree)
            self.write(f"{text(target)}[...] = {text(made)}")
            self.arrays.release([made])
            return
        op, kind = found
        operands = list(op.operands)
        for i, o in enumerate(operands):
            others = [*operands[:i], *operands[i + 1 :], *pending]
            if op.entrywise and self.array(o) and self.kind(o) == kind and not any(mentions(x, target) for x in others):
                self.into(o, target, others)
                operands[i] = target
            else:
                operands[i] = self.operand(o)
        self.write(op.statement(operands, text(target)))
        self.arrays.release(operands)


PARTS = (ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Attribute, ast.Subscript, ast.Tuple)


def mentions(tree: ast.expr, target: ast.expr) -> bool:
    """Whether an expression reads the target."""
    return any(isinstance(n, type(target)) and text(n) == text(target) for n in ast.walk(tree))
