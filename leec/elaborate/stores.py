"""Storing into places of an array that exists: slices and positions, known or computed (R38, decision 48).

All are functional: the name gets a new array, equal to the old one elsewhere.
"""

from __future__ import annotations

from leec.diagnostics import LeeError, kinds, names, structure
from leec.dims import Dim
from leec.elaborate.arithmetic import as_value, binary, elementwise
from leec.elaborate.context import Context
from leec.elaborate.entries import Entry, Position, plain, position_value
from leec.elaborate.expressions import evaluate
from leec.elaborate.ranges import infer
from leec.elaborate.reductions import over
from leec.elaborate.subscripts import expand_items, static_slices, subscript
from leec.elaborate.values import describe
from leec.ir.graph import Value
from leec.syntax import nodes


def stored_array(ctx: Context, target: nodes.Subscript) -> Value:
    """The array whose places are stored into. Raises LeeError where there is none."""
    before = ctx.names.get(target.value.id)
    if not isinstance(before, Value):
        raise LeeError(names.unknown_name(target.value, [n for n, v in ctx.names.items() if isinstance(v, Value)]))
    return before


def store(ctx: Context, target: nodes.Subscript, value: nodes.Expr) -> Value:
    """The array after `x[i, :] = value`."""
    before = stored_array(ctx, target)
    items, found = places_of(ctx, target, before)
    new = as_value(ctx, evaluate(ctx, value), value.span)
    if any(isinstance(f, Value) for f in found):
        return store_computed(ctx, before, items, found, new)
    return store_known(ctx, target, before, new)


def places_of(ctx: Context, target: nodes.Subscript, before: Value) -> tuple[list, list]:
    """What stands on every axis of a left side, and the positions among it."""
    items = expand_items(target, before)
    return items, [None if isinstance(i, nodes.Slice) else evaluate(ctx, i) for i in items]


def store_known(ctx: Context, target: nodes.Subscript, before: Value, new: Value) -> Value:
    """The array with slices and positions replaced that are known before a run."""
    slices, kept = static_slices(ctx, before, target)
    with ctx.at(target.span):
        part = ctx.builder.slice(before, slices=slices).type.dims
        new = fit(ctx, new, before, tuple(d for d, k in zip(part, kept) if k))
        new = ctx.builder.reshape(new, dims=part)
        whole = ctx.builder.unslice(
            ctx.builder.fill(True, dims=part, dtype="bool"), slices=slices, dims=before.type.dims
        )
        return ctx.builder.select(whole, ctx.builder.unslice(new, slices=slices, dims=before.type.dims), before)


def augment(ctx: Context, target: nodes.Subscript, op: str, value: nodes.Expr) -> Value:
    """The array after `x[i, :] += value`, which writes what stands there; at computed positions equal ones add up (R25)."""
    before = stored_array(ctx, target)
    items, found = places_of(ctx, target, before)
    spans = (target.span, value.span)
    new = evaluate(ctx, value)
    if not any(isinstance(f, Value) for f in found):
        changed = binary(ctx, op, subscript(ctx, before, target), new, target.span, spans)
        return store_known(ctx, target, before, as_value(ctx, changed, value.span))
    if op not in "+-":
        raise LeeError(structure.not_built(target.span, f"`{op}=` at computed positions"))
    axes, places, form = computed_places(ctx, before, items, found)
    new = brought_forward(ctx, fit(ctx, as_value(ctx, new, value.span), before, form), before, places, axes)
    added = ctx.builder.scatter_add(new, *places, dims=before.type.dims, axes=axes)
    return elementwise(ctx, "add" if op == "+" else "sub", op, (before, added), target.span, spans)


def store_computed(ctx: Context, before: Value, items: list, found: list, new: Value) -> Value:
    """The array with rows at computed positions replaced."""
    axes, places, form = computed_places(ctx, before, items, found)
    new = brought_forward(ctx, fit(ctx, new, before, form), before, places, axes)
    return ctx.builder.scatter_set(before, new, *places, axes=axes)


def brought_forward(ctx: Context, new: Value, before: Value, places: tuple[Value, ...], axes: tuple[int, ...]) -> Value:
    """What is written, its axes of positions first, as the rows have them; `x[:, at]` reads and writes them second."""
    lead, rank = axes[0], new.type.rank - (before.type.rank - len(axes))
    if not lead or not rank:
        return new
    return ctx.builder.transpose(
        new, perm=(*range(lead, lead + rank), *range(lead), *range(lead + rank, new.type.rank))
    )


def computed_places(
    ctx: Context, before: Value, items: list, found: list
) -> tuple[tuple[int, ...], tuple[Value, ...], tuple[Dim, ...]]:
    """The axes with positions, the positions, and the dims that `x[..]` has there."""
    places: dict[int, Value] = {}
    for axis, (item, place) in enumerate(zip(items, found)):
        if isinstance(item, nodes.Slice):
            if item.start or item.stop or item.step:
                raise LeeError(structure.not_built(item.span, "a partial slice beside a computed position"))
            continue
        with ctx.at(item.span):
            places[axis] = ctx.builder.lift(place) if isinstance(place, Dim) else place
        if not isinstance(places[axis], Value) or places[axis].type.dtype != "int":
            raise LeeError(kinds.needs_int(item.span, "a subscript", describe(place)))
    axes = tuple(places)
    found, lead = ctx.builder.gather(before, *places.values(), axes=axes).type.dims, axes[0]
    block = len(found) - (before.type.rank - len(axes))
    return axes, tuple(places.values()), (*found[block : block + lead], *found[:block], *found[block + lead :])


def fit(ctx: Context, new: Value, before: Value, dims: tuple[Dim, ...]) -> Value:
    """A value for every place, of the array's dtype."""
    if new.type.dtype != before.type.dtype and (new.type.host or new.type.dtype == "int"):
        new = ctx.builder.cast(new, dtype=before.type.dtype)
    if new.type.host:
        return ctx.builder.fill(new, dims=dims, dtype=before.type.dtype)
    return new if new.type.dims == dims else ctx.builder.broadcast(new, dims=dims)


def add_at_computed(ctx: Context, target: nodes.Subscript, value: nodes.Expr, free: dict[str, object]) -> Value:
    """The array after `y[label[i], ..] += value`: every setting of the indices adds where the left side says."""
    from leec.elaborate.define import entries_value

    before = stored_array(ctx, target)
    ranges = infer(ctx, {n: None for n in free}, (value, *target.items), free, {})
    with over(ctx, ranges, {n for n in ranges if n in ctx.dims}):
        order = list(ranges)
        added = entries_value(ctx, value, order)
        places = [place_array(ctx, evaluate(ctx, item), item, order) for item in target.items]
    with ctx.at(target.span):
        first = places[0]
        if first.type.dims != added.type.dims:
            places[0] = (
                ctx.builder.broadcast(first, dims=added.type.dims)
                if not first.type.host
                else ctx.builder.fill(first, dims=added.type.dims, dtype="int")
            )
        added = fit(ctx, added, before, added.type.dims)
        total = ctx.builder.scatter_add(added, *places, dims=before.type.dims, axes=tuple(range(len(places))))
    return elementwise(ctx, "add", "+", (before, total), target.span, (target.span, value.span))


def place_array(ctx: Context, found: object, item: nodes.Expr, order: list[str]) -> Value:
    """A subscript on the left as an array over the indices."""
    if isinstance(found, Position):
        found = position_value(ctx, found.dim, item.span)
    array = plain(ctx, found, order, item.span) if isinstance(found, Entry) else as_value(ctx, found, item.span)
    if array.type.dtype != "int":
        raise LeeError(kinds.needs_int(item.span, "a subscript", array.type.shown))
    return array
