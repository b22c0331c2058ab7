"""Primitives that read and write entries at other places: along an axis, at positions, around the border."""

from __future__ import annotations

from leec.diagnostics import LeeError, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.context import Context
from leec.elaborate.primitives import Reader, builtin
from leec.elaborate.values import describe
from leec.ir.graph import Value

# ---- positions


@builtin("take")
def _take(ctx: Context, given) -> Value:
    """`take(x, index, axis = ..)`: the entries at some positions along an axis; the dims of `index` stand where that
    axis stood.
    """
    reader = Reader(ctx, given, "take", ("x", "index", "axis"))
    x, index = reader.tensor("x"), reader.tensor("index")
    with ctx.at(given.span):
        return taken(ctx, x, index, reader.axis(x))


def taken(ctx: Context, x: Value, index: Value, axis: int, proven: tuple[int, ...] = ()) -> Value:
    found, rank = ctx.builder.gather(x, index, axes=(axis,), proven=proven), index.type.rank
    order = (*range(rank, rank + axis), *range(rank), *range(rank + axis, found.type.rank))
    return found if order == tuple(range(found.type.rank)) else ctx.builder.transpose(found, perm=order)


@builtin("reverse")
def _reverse(ctx: Context, given) -> Value:
    """`reverse(x, axis = .., over = ..)`: the entries along one axis, or several, in the opposite order."""
    reader = Reader(ctx, given, "reverse", ("x", "axis", "over"))
    x = reader.tensor("x")
    with ctx.at(given.span):
        return ctx.builder.flip(x, axes=reader.axes(x))


@builtin("scatter")
def _scatter(ctx: Context, given) -> Value:
    """`scatter(x, index, values, mode = "set")`: x with values combined into positions of its first axes: one array of
    positions, or a tuple. The mode is "set", "add", "max", "min" or "mul" (decision 48).
    """
    reader = Reader(ctx, given, "scatter", ("x", "index", "values", "mode"))
    x, values, mode = reader.tensor("x"), reader.tensor("values"), reader.get("mode", "set")
    index = reader.get("index") if isinstance(reader.get("index"), tuple) else (reader.tensor("index"),)
    places = [arithmetic.as_value(ctx, i, reader.span_of("index")) for i in index]
    if mode not in ("set", "add", "max", "min", "mul"):
        raise LeeError(
            structure.wrong_kind(reader.span_of("mode"), repr(mode), 'one of "set", "add", "max", "min", "mul"')
        )
    axes = tuple(range(len(places)))
    with ctx.at(given.span):
        form = ctx.builder.gather(x, *places, axes=axes).type.dims
        values = values if values.type.dims == form else ctx.builder.broadcast(values, dims=form)
        if mode == "add":
            return ctx.builder.add(x, ctx.builder.scatter_add(values, *places, dims=x.type.dims, axes=axes))
        return ctx.builder.emit(f"scatter_{mode}", (x, values, *places), {"axes": axes})


# ---- the border

MODES = ("constant", "reflect", "edge", "wrap")


@builtin("pad")
def _pad(ctx: Context, given) -> Value:
    """`pad(x, widths, mode = "constant", value = 0)`: x with a border. One number an axis means both sides; pairs give
    (before, after). The mode is "constant", "reflect", "edge" or "wrap" (decision 49).
    """
    reader = Reader(ctx, given, "pad", ("x", "widths", "mode", "value"))
    x, pairs, mode = reader.tensor("x"), _widths(reader), reader.get("mode", "constant")
    if mode not in MODES:
        raise LeeError(
            structure.wrong_kind(reader.span_of("mode"), repr(mode), "one of " + ", ".join(map(repr, MODES)))
        )
    value = reader.get("value", 0.0)
    number = float(value.constant) if isinstance(value, Dim) and value.constant is not None else value
    with ctx.at(given.span):
        if mode == "constant":
            return ctx.builder.pad(x, widths=pairs, value=number)
        for axis, (before, after) in enumerate(pairs):
            if (before, after) != (0, 0):
                x = taken(ctx, x, _mirrored(ctx, mode, x.type.dims[axis], before, after), axis, proven=(0,))
        return x


def _widths(reader: Reader) -> tuple[tuple[Dim, Dim], ...]:
    """(before, after) for every axis."""
    x, widths = reader.tensor("x"), reader.get("widths")
    if not isinstance(widths, tuple) or len(widths) != x.type.rank:
        raise LeeError(
            shapes.wrong_rank(reader.span_of("widths"), "`pad`", describe(widths), f"{x.type.rank} widths, one an axis")
        )
    pairs = tuple(w if isinstance(w, tuple) else (w, w) for w in widths)
    for width in (w for pair in pairs for w in pair):
        if not isinstance(width, Dim):
            raise LeeError(structure.wrong_kind(reader.span_of("widths"), describe(width), "a whole number of entries"))
    return pairs


def _mirrored(ctx: Context, mode: str, size: Dim, before: Dim, after: Dim) -> Value:
    """The positions of the entries that stand along an axis and beyond its ends, however wide the border."""
    b = ctx.builder
    place = b.sub(b.iota(dims=(before + size + after,), axis=0), before)
    if mode == "edge":
        return b.minimum(b.maximum(place, 0), size - 1)
    if mode == "wrap":
        return b.mod(place, size)
    period = b.maximum(b.lift(2 * (size - 1)), 1)  # there and back, without the ends twice
    return b.abs(b.sub(b.mod(b.add(place, size - 1), period), size - 1))
