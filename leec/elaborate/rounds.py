"""What a round of a recurrence reads and collects: `x[:, t]` of an array from outside is a row, `out[:, t] = e` another.

Both keep the position out of the IR of the round, so that its gradient needs no scattering (R14).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from leec.diagnostics import LeeError, shapes, structure
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.ir.graph import Value
from leec.ir.loops import without_axis
from leec.syntax import nodes


@dataclass(frozen=True)
class Collected:
    """Rows that a statement stores: their value, and the names of the loops whose positions it names, by axis."""

    value: Value
    axes: tuple[tuple[int, str], ...]
    span: object


@dataclass
class Loop:
    """One recurrence while its round is elaborated. `mark` is where its equations begin.

    `length` is None for `while`, which has no variable either.
    """

    variable: str | None
    symbol: str
    first: Dim
    length: Dim | None
    mark: int
    heads: set[Value] = field(default_factory=set)
    rows: dict[tuple[Value, int, Dim], Value] = field(default_factory=dict)
    collected: dict[str, Collected] = field(default_factory=dict)

    def is_inside(self, ctx: Context, value: Value) -> bool:
        """Whether a value belongs to the round, and is no array that stays the same."""
        made = any(value in e.results for e in ctx.builder.equations[self.mark :])
        return made or value in self.heads or value in self.rows.values()

    def row(self, ctx: Context, value: Value, axis: int, start: Dim) -> Value:
        """One position of an axis, as a value of the round."""
        if (value, axis, start) not in self.rows:
            name = ctx.builder.unique(f"{value.name}_{self.variable}")
            self.rows[value, axis, start] = Value(name, without_axis(value.type, axis), value.span)
        return self.rows[value, axis, start]


def read_rows(ctx: Context, value: Value, items: list, found: list) -> tuple[Value, list, list]:
    """The value and subscripts that are left when positions of loops are read as rows, outer loops first.

    Raises LeeError where a round would read outside the array.
    """
    for loop in filter(lambda loop: loop.variable, ctx.loops):
        place = next((k for k, f in enumerate(found) if is_position(f, loop)), None)
        if place is None or loop.is_inside(ctx, value):
            continue
        axis = sum(not isinstance(i, nodes.Nothing) for i in items[:place])
        start = found[place] - Dim.of(loop.symbol) + loop.first
        verify_inside(ctx, loop, start, value.type.dims[axis], items[place])
        value = loop.row(ctx, value, axis, start)
        items, found = items[:place] + items[place + 1 :], found[:place] + found[place + 1 :]
    return value, items, found


def is_position(item: object, loop: Loop) -> bool:
    """`t`, or `t + 3`: goes from row to row."""
    return (
        isinstance(item, Dim)
        and loop.symbol in item.symbols
        and loop.symbol not in (item - Dim.of(loop.symbol)).symbols
    )


def verify_inside(ctx: Context, loop: Loop, start: Dim, size: Dim, item: nodes.Expr) -> None:
    """Positions that leave the axis for all sizes are an error; others are for the run to find."""
    beyond = ctx.facts.normal(start + loop.length - size).constant
    if (start.constant is not None and start.constant < 0) or (beyond is not None and beyond > 0):
        raise LeeError(shapes.outside(item.span, f"`{item.span.text}`", str(size)))


# ---- rows that are collected


def is_collecting(ctx: Context, target: nodes.Subscript) -> bool:
    """Does `out[.., t] = e` begin an array of rows? Then nothing is called `out` yet, and t is the variable of a loop."""
    name = target.value.id if isinstance(target.value, nodes.Name) else None
    defined = name in ctx.names and not any(name in loop.collected for loop in ctx.loops)
    return bool(name) and not defined and any(loop_of(ctx, item) for item in target.items)


def loop_of(ctx: Context, item: nodes.Expr) -> Loop | None:
    """The loop whose variable stands here alone."""
    if not isinstance(item, nodes.Name):
        return None
    return next((loop for loop in ctx.loops if ctx.names.get(item.id) == Dim.of(loop.symbol)), None)


def collect(ctx: Context, target: nodes.Subscript, value: nodes.Expr) -> None:
    """`out[:, t] = e`, `out[b, t] = e`: the rows of all rounds are an array after the loop."""
    from leec.elaborate.define import define_entries
    from leec.elaborate.expressions import evaluate

    name, loops = target.value.id, [loop_of(ctx, item) for item in target.items]
    rest = tuple(i for i, loop in zip(target.items, loops) if loop is None)
    innermost = [loop for loop in ctx.loops if loop in loops][-1]
    if innermost is not ctx.loops[-1]:
        raise LeeError(structure.conditional_rows(target.span, name))
    if any(isinstance(i, nodes.Slice) for i in rest):
        row = whole_row(ctx, target, evaluate(ctx, value), value, len(rest))
    elif rest:
        define_entries(ctx, nodes.Subscript(target.value, rest, span=target.span), value)
        row = ctx.names.pop(name)
    else:
        row = whole_row(ctx, target, evaluate(ctx, value), value, 0)
    axes = tuple((axis, loop.symbol) for axis, loop in enumerate(loops) if loop)
    note(ctx, innermost, name, Collected(row, axes, target.span))


def note(ctx: Context, loop: Loop, name: str, rows: Collected) -> None:
    if loop.first != 0:
        raise LeeError(structure.rows_from_zero(rows.span, name, loop.variable))
    if name in loop.collected or ctx.conditional:
        raise LeeError(structure.conditional_rows(rows.span, name))
    loop.collected[name] = rows


def whole_row(ctx: Context, target: nodes.Subscript, found: object, value: nodes.Expr, rank: int) -> Value:
    """The row of `out[:, t] = e`: an array with at least as many axes as there are `:`."""
    from leec.elaborate.arithmetic import as_value

    row = as_value(ctx, found, value.span)
    if row.type.host:
        with ctx.at(value.span):
            row = ctx.builder.fill(row, dims=(), dtype=row.type.dtype)
    if row.type.rank < rank:
        raise LeeError(
            shapes.wrong_rank(value.span, f"a row of `{target.value.id}`", row.type.shown, f"at least {rank} axes")
        )
    return row
