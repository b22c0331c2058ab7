"""`for` in a def: over positions a recurrence, over the items of a tuple or list written out round by round (R14)."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, structure
from leec.dims import Dim
from leec.elaborate.binding import bind_round
from leec.elaborate.context import Context, WrittenOut
from leec.elaborate.expressions import evaluate, structural_int
from leec.elaborate.recurrences import over_positions
from leec.elaborate.values import ListValue, RangeValue, Record, describe
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import TensorType

MAX_UNROLLED = 256
WRITTEN_OUT = 8  # rounds; a longer loop over numbers is a recurrence


def for_loop(ctx: Context, node: nodes.For) -> None:
    """A recurrence over positions; over what has a static length written out. Names first bound inside do not survive (R14)."""
    iterable = evaluate(ctx, node.iterable)
    match iterable:
        case Dim():
            first, last, reverse = Dim.of(0), iterable - 1, False
        case RangeValue(first=Dim() as first, last=Dim() as last, reverse=reverse):
            pass
        case _:
            return unrolled(ctx, node, iterable)
    length = last - first + 1
    if length.constant is None or length.constant > WRITTEN_OUT or leaves_or_collects(ctx, node):
        state, outside = ctx.snapshot(), dict(ctx.names)
        try:
            return over_positions(ctx, node, first, length, reverse)
        except WrittenOut as found:
            if any(loop.symbol == found.symbol for loop in ctx.loops):
                raise  # for a loop around this one
            ctx.restore(state)
            ctx.names = outside
    return unrolled(ctx, node, iterable)


def leaves_or_collects(ctx: Context, node: nodes.For) -> bool:
    """Does a loop `break`, or store rows under a new name? Then it is a recurrence however short."""

    def inside(statement: nodes.Stmt) -> bool:
        match statement:
            case nodes.Break():
                return True
            case nodes.Assign(target=nodes.Subscript(value=nodes.Name(id=name))):
                return name not in ctx.names
            case nodes.If(branches=branches, otherwise=otherwise):
                return any(map(inside, (*(s for _, b in branches for s in b), *otherwise)))
        return False

    return any(map(inside, node.body))


def unrolled(ctx: Context, node: nodes.For, iterable: object) -> None:
    from leec.elaborate import statements

    outside = set(ctx.names)
    for item in static_items(ctx, iterable, node.iterable.span):
        bind_round(ctx, node.target, item)
        if statements.run_block(ctx, node.body) is not None:
            raise LeeError(structure.not_built(node.span, "a `return` inside a loop"))
    ctx.ended |= set(ctx.names) - outside
    for name in ctx.ended & set(ctx.names):
        del ctx.names[name]
    return None


def static_items(ctx: Context, iterable: object, span: Span) -> list[object]:
    """What an unrolled loop goes through. Raises LeeError for what is not of static length."""
    match iterable:
        case tuple():
            return list(iterable)
        case ListValue(items=items) | Record(items=items):
            return list(items)
        case Value(type=TensorType(host=True)):
            structural_int(ctx, iterable, span)
        case Dim():
            return [Dim.of(i) for i in range(short(ctx, iterable, span))]
        case RangeValue(first=first, last=last, reverse=reverse):
            start, stop = (structural_int(ctx, end, span) for end in (first, last))
            numbers = [Dim.of(i) for i in range(start, start + short(ctx, Dim.of(stop - start + 1), span))]
            return numbers[::-1] if reverse else numbers
    raise LeeError(structure.wrong_kind(span, describe(iterable), "something to loop over"))


def short(ctx: Context, count: Dim, span: Span) -> int:
    """A number of rounds that is known and small enough to be written out."""
    number = structural_int(ctx, count, span)
    if number > MAX_UNROLLED:
        raise LeeError(structure.not_built(span, f"a loop of {number} rounds in a `def`"))
    return number
