"""`tensor([[1, 2], [3, 4]])` (decision 50): numbers or bools in lists of equal lengths, and what is wrong with others."""

from __future__ import annotations

import math

from leec.diagnostics import Diagnostic, LeeError, shapes, structure
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.expressions import evaluate
from leec.elaborate.primitives import Reader, builtin
from leec.elaborate.values import ListValue, describe
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import TensorType


@builtin("tensor")
def _tensor(ctx: Context, given) -> Value:
    """`tensor(entries)`: the array whose rows are written out, as `tensor([[1, 2], [3, 4]])` (decision 50)."""
    reader = Reader(ctx, given, "tensor", ("entries",))
    number = lambda v: v.constant if isinstance(v, Dim) else v  # noqa: E731
    nested = lambda v: tuple(map(nested, v.items)) if isinstance(v, ListValue) else number(v)  # noqa: E731
    entries = nested(reader.get("entries"))
    dims, flat = [], [entries]
    while flat and all(isinstance(v, tuple) for v in flat):
        dims.append(len(flat[0]))
        flat = [v for row in flat for v in row]
    kinds = {type(v) for v in flat}
    if math.prod(dims) != len(flat) or not kinds or not (kinds <= {int, float} or kinds == {bool}):
        raise LeeError(wrong_entries(ctx, given.node.args[0] if given.node.args else given.node))
    dtype = "float" if float in kinds else kinds.pop().__name__
    with ctx.at(given.span):
        return ctx.builder.const(value=entries, type=TensorType(dtype, tuple(map(Dim.of, dims))))


def wrong_entries(ctx: Context, node: nodes.Expr) -> Diagnostic:
    """The first row or entry that does not fit those before it."""
    rows: list[nodes.Expr] = [node]
    while all(isinstance(row, nodes.List) for row in rows):
        first = rows[0]
        for row in rows:
            if len(row.items) != len(first.items):
                return shapes.ragged_rows(row.span, len(row.items), first.span, len(first.items))
        rows = [item for row in rows for item in row.items]
        if not rows:
            return structure.wrong_kind(node.span, "an empty list", "a list with entries")
    if any(isinstance(row, nodes.List) for row in rows):
        odd = next(row for row in rows if isinstance(row, nodes.List) != isinstance(rows[0], nodes.List))
        return shapes.ragged_rows(odd.span, None, rows[0].span, None)
    values = [evaluate(ctx, row) for row in rows]
    kinds = [bool if isinstance(v, bool) else float if is_number(v) else None for v in values]
    odd = next(i for i, kind in enumerate(kinds) if kind is None or kind is not kinds[0])
    wanted = (
        "a number that is known when compiling"
        if kinds[odd] is None
        else f"a {'bool' if kinds[0] is bool else 'number'}"
    )
    return structure.wrong_kind(rows[odd].span, describe(values[odd]), wanted)


def is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, Dim) and value.constant is not None)
