"""`y[i, j] = ..`: definition by entries, update of positions, and scatter by `+=` (R1, R38, decisions 9, 39, 46)."""

from __future__ import annotations

from leec.diagnostics import LeeError, shapes, structure
from leec.dims import Dim
from leec.elaborate.arithmetic import elementwise
from leec.elaborate.context import Context
from leec.elaborate.entries import Entry, Position, plain, position_value, symbol, used_indices, write_contraction
from leec.elaborate.ranges import affine, infer, mentions
from leec.elaborate.reductions import over, product
from leec.elaborate.rounds import collect, is_collecting
from leec.elaborate.signature import PACK
from leec.elaborate.values import POISON, describe
from leec.ir.graph import Value
from leec.syntax import nodes


def is_bound(ctx: Context, name: str) -> bool:
    """Does a name mean a value here? Dims, functions and imports do not count (R1, decision 51). Raises LeeError for
    a name that has none because of a mistake."""
    if ctx.names.get(name) is POISON:
        raise LeeError()
    return name in ctx.names and isinstance(ctx.names[name], (Value, Dim, float, bool))


def index_items(ctx: Context, target: nodes.Subscript) -> dict[str, tuple[Dim | None, nodes.Expr]]:
    """The index variables of a left-hand side, with explicit ranges; other items are positions."""
    from leec.elaborate.expressions import evaluate

    found: dict[str, tuple[Dim | None, nodes.Expr]] = {}
    for item in target.items:
        match item:
            case nodes.Name(id=name) if not is_bound(ctx, name):
                found[name] = (None, item)
            case nodes.IndexIn(name=name, range=range_):
                bound = evaluate(ctx, range_)
                if not isinstance(bound, Dim):
                    raise LeeError(
                        structure.wrong_kind(range_.span, describe(bound), "the size of an index on the left")
                    )
                found[name.id] = (bound, item)
            case nodes.Ellipsis():
                found[PACK] = (ctx.dims.get(PACK), item)
    return found


def define_entries(ctx: Context, target: nodes.Subscript, value: nodes.Expr) -> None:
    """`name[..] = value`"""
    if ctx.loops and is_collecting(ctx, target):
        return collect(ctx, target, value)
    if not isinstance(target.value, nodes.Name):
        raise LeeError(structure.not_built(target.span, "storing into an entry of a field"))
    found = index_items(ctx, target)
    name = target.value.id
    if len(found) != len(target.items):
        return update_positions(ctx, target, value)
    before = ctx.names.get(name)
    old = (
        {n: d for n, d in zip(found, before.type.dims)}
        if isinstance(before, Value) and before.type.rank == len(found)
        else {}
    )
    spans = {n: item.span for n, (_, item) in found.items()}
    ranges = infer(ctx, {n: r for n, (r, _) in found.items()}, value, spans, old)
    with over(ctx, ranges, {n for n in ranges if n in ctx.dims}):
        result = entries_value(ctx, value, list(ranges))
    ctx.names[name] = name_value(ctx, name, result, target)


def entries_value(ctx: Context, node: nodes.Expr, order: list[str]) -> Value:
    """The expression for every setting of the indices, as an array over them in order."""
    from leec.elaborate.arithmetic import as_value
    from leec.elaborate.expressions import evaluate

    value = evaluate(ctx, node)
    if isinstance(value, Position):
        value = position_value(ctx, value.dim, node.span)
    dims = tuple(ctx.indices.ranges[n] for n in order)
    with ctx.at(node.span):
        if isinstance(value, Entry):
            array = plain(ctx, value, order, node.span)
        else:
            array = as_value(ctx, value, node.span)
            if array.type.rank:
                raise LeeError(
                    shapes.wrong_rank(node.span, "an entry", array.type.shown, "a number: write its subscripts")
                )
        if array.type.host:
            return ctx.builder.fill(array, dims=dims, dtype=array.type.dtype)
        return array if array.type.dims == dims else ctx.builder.broadcast(array, dims=dims)


def name_value(ctx: Context, name: str, value: Value, node: nodes.Node) -> Value:
    """The value under the user's name: the last equation is renamed, or an alias is made where it has a name."""
    from dataclasses import replace

    last = ctx.last_made
    if value.named or last is None or value not in last.results:
        return value
    own = ctx.within is None  # else it is a local of what is elaborated in place, and the user's names come first
    hint = name if own else f"{ctx.within}_{name}"
    renamed = Value(ctx.builder.unique(hint), value.type, node.span, own)
    ctx.builder.names.discard(value.name)
    ctx.builder.equations[-1] = replace(last, results=tuple(renamed if r is value else r for r in last.results))
    return renamed


def update_positions(ctx: Context, target: nodes.Subscript, value: nodes.Expr) -> None:
    """`x[i, :] = value` for an array that exists (R38)."""
    from leec.elaborate.stores import store

    ctx.names[target.value.id] = name_value(ctx, target.value.id, store(ctx, target, value), target)


def augment_places(ctx: Context, target: nodes.Subscript, op: str, value: nodes.Expr) -> None:
    """`x[i, :] += value`: as an update with what stands there and the value, but equal computed places add up (R25)."""
    from leec.elaborate.stores import augment

    ctx.names[target.value.id] = name_value(ctx, target.value.id, augment(ctx, target, op, value), target)


def add_entries(ctx: Context, target: nodes.Subscript, value: nodes.Expr) -> None:
    """`y[s*i + u, ..] += value`: every setting of the indices adds to the entry that the left names (decision 9)."""
    from leec.elaborate.stores import add_at_computed, stored_array
    from leec.elaborate.subscripts import bound_items

    before = stored_array(ctx, target)
    free, items = left_indices(ctx, target), bound_items(target, before)
    if all(affine(ctx, item, set(free)) is not None for item in items):
        ranges = infer(ctx, {n: None for n in free}, value, free, _left_ranges(target, before, free))
        with over(ctx, ranges, {n for n in ranges if n in ctx.dims}):
            left = tuple(affine(ctx, item, set(ranges)) for item in items)
            added = _scatter(ctx, value, left, before)
        result = elementwise(ctx, "add", "+", (before, added), target.span, (target.span, value.span))
    else:
        result = add_at_computed(ctx, target, value, free)
    ctx.names[target.value.id] = name_value(ctx, target.value.id, result, target)


def _scatter(ctx: Context, value: nodes.Expr, left: tuple[Dim, ...], before: Value) -> Value:
    """One contraction where the value is a sum of products, so that a transposed convolution stays one op."""
    from leec.elaborate.arithmetic import binary

    body, summed = _sum_body(ctx, value)
    with over(ctx, summed):
        entries, scalars = product(ctx, body)
        missing = [
            n
            for n in ctx.indices.ranges
            if any(symbol(n) in d.symbols for d in left) and n not in used_indices(ctx, *entries)
        ]
        for name in missing:
            entries.append(
                Entry(ctx.builder.fill(1.0, dims=(ctx.indices.ranges[name],), dtype="float"), (Dim.of(symbol(name)),))
            )
        spec = write_contraction(ctx, [e.subscripts for e in entries], [], before.type.dims, left)
        with ctx.at(value.span):
            added = ctx.builder.emit("contract", tuple(e.value for e in entries), {"spec": spec})
    for scalar in scalars:
        added = binary(ctx, "*", scalar, added, value.span, (value.span, value.span))
    return added


def _sum_body(ctx: Context, value: nodes.Expr) -> tuple[nodes.Expr, dict[str, Dim]]:
    from leec.elaborate.reductions import _binders, is_index_reduction

    if isinstance(value, nodes.Call) and is_index_reduction(ctx, value) and value.function.value.id == "sum":
        explicit, lengths, spans = _binders(ctx, value.function)
        if not lengths:
            return value.args[0], infer(ctx, explicit, value.args[0], spans, {})
    return value, {}


def left_indices(ctx: Context, target: nodes.Subscript) -> dict[str, object]:
    """Every unbound name inside the left subscripts, with its span (R1; a dim inside a compound is a number)."""
    found: dict[str, object] = {}

    def visit(node: object, alone: bool) -> None:
        if isinstance(node, nodes.Name) and not is_bound(ctx, node.id) and (alone or node.id not in ctx.dims):
            found.setdefault(node.id, node.span)
        elif isinstance(node, nodes.Binary):
            visit(node.left, False)
            visit(node.right, False)
        elif isinstance(node, nodes.Subscript):
            for item in node.items:
                visit(item, True)

    for item in target.items:
        visit(item, True)
    return found


def _left_ranges(target: nodes.Subscript, before: Value, free: dict[str, object]) -> dict[str, Dim]:
    """A bare index on the left runs over the axis that it names."""
    if len(target.items) != before.type.rank:
        raise LeeError(shapes.too_many_subscripts(target.span, len(target.items), before.type.shown))
    return {i.id: d for i, d in zip(target.items, before.type.dims) if isinstance(i, nodes.Name) and i.id in free}


__all__ = ["add_entries", "augment_places", "define_entries", "is_bound", "left_indices", "mentions", "name_value"]
