"""Reductions by index: `sum[k](..)` and its like (R4, R20, decisions 10 and 47). Sums of products become one contract."""

from __future__ import annotations

import math
from contextlib import contextmanager

from leec.diagnostics import LeeError, Span, kinds, structure
from leec.dims import Dim
from leec.elaborate.context import Context, Indices
from leec.elaborate.entries import (
    Entry,
    Position,
    apply_entries,
    plain,
    position_value,
    symbol,
    used_indices,
    write_contraction,
)
from leec.elaborate.ranges import REDUCERS, infer, mentions
from leec.elaborate.rowwise import reduce_rows, takes_rows
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import TensorType

NEUTRAL = {
    "sum": 0,
    "mean": 0,
    "max": -math.inf,
    "min": math.inf,
    "prod": 1,
    "any": False,
    "all": True,
    "logsumexp": -math.inf,
    "argmax": -math.inf,
    "argmin": math.inf,
}


def is_index_reduction(ctx: Context, node: nodes.Call) -> bool:
    """`sum[..](..)`, where `sum` is not a variable."""
    head = node.function
    return (
        isinstance(head, nodes.Subscript)
        and isinstance(head.value, nodes.Name)
        and head.value.id in REDUCERS
        and head.value.id not in ctx.names
    )


@contextmanager
def over(ctx: Context, ranges: dict[str, Dim], shadowed: set[str] = frozenset()):
    """More index variables in scope, innermost last."""
    before = ctx.indices
    outer = before or Indices()
    ctx.indices = Indices({**outer.ranges, **ranges}, outer.guarded, outer.shadowed | set(shadowed))
    try:
        yield
    finally:
        ctx.indices = before


def reduce_by_index(ctx: Context, node: nodes.Call) -> object:
    head: nodes.Subscript = node.function
    kind = head.value.id
    if len(node.args) != 1 or node.keywords:
        raise LeeError(structure.not_here(node.span, "anything but one expression", f"in `{kind}[..](..)`"))
    explicit, lengths, spans = _binders(ctx, head)
    body = node.args[0]
    ranges = infer(ctx, explicit, (body, *lengths.values()), spans, {})
    if len(ranges) == 1 and not lengths and ctx.indices is None and takes_rows(ctx, body, *ranges):
        ((index, size),) = ranges.items()
        return reduce_rows(ctx, kind, body, index, size, node.span)
    with over(ctx, ranges, {n for n in ranges if n in ctx.dims}):
        if kind == "sum" and not lengths:
            return sum_of_products(ctx, body, list(ranges), node.span)
        return _reduce(ctx, kind, body, list(ranges), lengths, node.span)


def _binders(
    ctx: Context, head: nodes.Subscript
) -> tuple[dict[str, Dim | None], dict[str, nodes.Expr], dict[str, Span]]:
    """Index names with explicit ranges, ranges that depend on indices before or around them (R4), and spans."""
    from leec.elaborate.expressions import evaluate

    explicit: dict[str, Dim | None] = {}
    lengths: dict[str, nodes.Expr] = {}
    spans: dict[str, Span] = {}
    for item in head.items:
        name = item.name if isinstance(item, nodes.IndexIn) else item
        if not isinstance(name, nodes.Name):
            raise LeeError(structure.wrong_kind(item.span, "an expression", "the name of an index"))
        if name.id in ctx.names or (ctx.indices and name.id in ctx.indices.ranges):
            raise LeeError(
                structure.wrong_kind(
                    name.span, f"`{name.id}`, which has a meaning already", "a fresh name for an index"
                )
            )
        before = set(explicit)
        explicit[name.id], spans[name.id] = None, name.span
        if isinstance(item, nodes.IndexIn):
            bound = None if mentions(item.range, before) else evaluate(ctx, item.range)
            if isinstance(bound, Dim):
                explicit[name.id] = bound
            else:
                lengths[name.id] = item.range
    return explicit, lengths, spans


def factors(node: nodes.Expr) -> tuple[list[nodes.Expr], bool]:
    """The factors of a product, and whether an odd number of signs stands before them."""
    match node:
        case nodes.Binary(op="*", left=left, right=right):
            (a, s), (b, t) = factors(left), factors(right)
            return [*a, *b], s != t
        case nodes.Unary(op="-", operand=operand):
            found, sign = factors(operand)
            return found, not sign
    return [node], False


READ = (nodes.Name, nodes.Number, nodes.Subscript)  # factors that are as they stand


def product(ctx: Context, body: nodes.Expr) -> tuple[list[Entry], list[object]]:
    """A product's factors that depend on indices, and those that do not (a sign is a factor -1)."""
    from leec.elaborate.arithmetic import guard
    from leec.elaborate.expressions import evaluate

    parts, negative = factors(body)
    values = [evaluate(ctx, p) for p in parts]
    values = [position_value(ctx, v.dim, p.span) if isinstance(v, Position) else v for v, p in zip(values, parts)]
    if ctx.guard is not None and len(parts) > 1 and not all(isinstance(p, READ) for p in parts):
        values = [guard(ctx, v, p.span) for v, p in zip(values, parts)]  # a factor that is computed may be infinite
    entries = [v for v in values if isinstance(v, Entry)]
    for entry, part in zip(values, parts):
        if isinstance(entry, Entry) and entry.type.dtype == "bool" and len(values) > 1:
            raise LeeError(kinds.bool_arithmetic(part.span, "*"))
    return entries, [v for v in values if not isinstance(v, Entry)] + ([Dim.of(-1)] if negative else [])


def sum_of_products(ctx: Context, body: nodes.Expr, summed: list[str], span: Span) -> object:
    """One contraction over the factors; indices that no factor holds count how often the product is added."""
    from leec.elaborate.arithmetic import binary

    entries, scalars = product(ctx, body)
    free = [n for n in used_indices(ctx, *entries) if n not in summed]
    result: object = contract(ctx, entries, free, summed, span) if entries else Dim.of(1)
    for name in summed:
        if name not in used_indices(ctx, *entries):
            result = binary(ctx, "*", result, ctx.indices.ranges[name], span, (span, span))
    for scalar in scalars:
        result = binary(ctx, "*", scalar, result, span, (span, span))
    return result


def contract(ctx: Context, entries: list[Entry], free: list[str], summed: list[str], span: Span) -> Entry | Value:
    """The sum over `summed` of the product of entries, an array over `free`."""
    from leec.elaborate.builtins import counted

    with ctx.at(span):
        if len(entries) == 1 and (entries[0].type.dtype == "bool" or all(s.symbol for s in entries[0].subscripts)):
            used = used_indices(ctx, *entries)
            array = plain(ctx, entries[0], [*free, *(n for n in used if n in summed)], span)
            value = ctx.builder.sum(counted(ctx, "sum", array), axes=tuple(range(len(free), array.type.rank)))
        else:
            spec = write_contraction(ctx, [e.subscripts for e in entries], free)
            value = ctx.builder.emit("contract", tuple(e.value for e in entries), {"spec": spec})
    return Entry(value, tuple(Dim.of(symbol(n)) for n in free)) if free else value


def _reduce(
    ctx: Context, kind: str, body: nodes.Expr, over_names: list[str], bounds: dict[str, nodes.Expr], span: Span
) -> object:
    from leec.elaborate.arithmetic import as_value, binary
    from leec.elaborate.builtins import counted
    from leec.elaborate.expressions import evaluate

    value = evaluate(ctx, body)
    value = position_value(ctx, value.dim, span) if isinstance(value, Position) else value
    value = value if isinstance(value, Entry) else as_value(ctx, value, body.span)
    lengths = {name: evaluate(ctx, bound) for name, bound in bounds.items()}
    for name, length in lengths.items():
        inside = apply_entries(ctx, "lt", "<", (Position(Dim.of(symbol(name))), length), span, (span, span))
        value = apply_entries(ctx, "select", "where", (inside, value, NEUTRAL[kind]), span, (span, span, span))
    free = [n for n in used_indices(ctx, value) if n not in over_names]
    every = [*free, *over_names]
    array = plain(ctx, value, every, span) if isinstance(value, Entry) else value
    with ctx.at(span):
        full = tuple(ctx.indices.ranges[n] for n in every)
        array = array if array.type.dims == full else ctx.builder.broadcast(array, dims=full)
        axes = tuple(range(len(free), len(every)))
        op = "sum" if kind == "mean" and lengths else kind
        if kind in ("argmax", "argmin"):
            return places_of(ctx, kind, array, free, len(axes))
        else:
            result = ctx.builder.emit(op, (counted(ctx, op, array),), {"axes": axes})
    answer = Entry(result, tuple(Dim.of(symbol(n)) for n in free)) if free else result
    if op != kind and set(used_indices(ctx, *lengths.values())) & set(over_names):
        terms = _reduce(ctx, "sum", nodes.Number(1.0, span=span), over_names, bounds, span)
        return binary(ctx, "/", answer, terms, span, (span, span))
    if op != kind:
        for name in over_names:
            answer = binary(ctx, "/", answer, lengths.get(name, ctx.indices.ranges[name]), span, (span, span))
    return answer


def places_of(ctx: Context, kind: str, array: Value, free: list[str], count: int) -> object:
    """The index of an extreme over the last axes; of several the tuple of indices, which follow from one (decision 47)."""
    b, dims = ctx.builder, array.type.dims
    lead, over = dims[: len(free)], dims[len(free) :]
    size = TensorType("int", over).size
    flat = array if count == 1 else b.reshape(array, dims=(*lead, size))
    place, found = b.emit(kind, (flat,), {"axis": len(free)}), []
    for dim in reversed(over[1:]):
        found.append(b.mod(place, dim))
        place = b.floordiv(place, dim)
    found.append(place)
    answers = [Entry(p, tuple(Dim.of(symbol(n)) for n in free)) if free else p for p in reversed(found)]
    return answers[0] if count == 1 else tuple(answers)
