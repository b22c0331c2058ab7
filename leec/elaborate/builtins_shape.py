"""Primitives that move and make entries: shapes, padding, constants, sizes, and the sequences of loops."""

from __future__ import annotations

import math

from leec.diagnostics import LeeError, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.context import Context

# ---- elementwise rows
from leec.elaborate.primitives import Reader, builtin, whole_axis
from leec.elaborate.values import (
    Instance,
    ListValue,
    RangeValue,
    Record,
    TypeValue,
    describe,
)  # fmt: skip
from leec.ir.graph import Value
from leec.types import TensorType


@builtin("reshape")
def _reshape(ctx: Context, given) -> Value:
    reader = Reader(ctx, given, "reshape", ("x", "dims"))
    x, dims = reader.tensor("x"), reader.dims("dims")
    size = Dim.of(1)
    for dim in dims:
        size = size * dim
    if not ctx.agree(x.type.size, size, given.span):
        raise LeeError(
            shapes.shapes_differ(
                given.span,
                "the array and its new dims",
                [(reader.span_of("x"), x.type.shown)],
                f"{x.type.size} entries are not {size}",
            )
        )
    with ctx.at(given.span):
        return ctx.builder.reshape(x, dims=dims)


@builtin("flatten")
def _flatten(ctx: Context, given) -> Value:
    """All axes from `from` on made one."""
    reader = Reader(ctx, given, "flatten", ("x", "from"))
    x = reader.tensor("x")
    first = whole_axis(reader, x, reader.get("from", Dim.of(0)), given.span) if x.type.rank else 0
    rest = Dim.of(1)
    for dim in x.type.dims[first:]:
        rest = rest * dim
    with ctx.at(given.span):
        return ctx.builder.reshape(x, dims=(*x.type.dims[:first], ctx.facts.normal(rest)))


@builtin("concat")
def _concat(ctx: Context, given) -> Value:
    reader = Reader(ctx, given, "concat", ("axis",), rest=True)
    xs = parts_of(ctx, given)
    axis = reader.axis(xs[0])
    with ctx.at(given.span):
        return ctx.builder.concat(*beside(ctx, given, xs, "concat", axis), axis=axis)


@builtin("stack")
def _stack(ctx: Context, given) -> Value:
    """The arrays along a new axis, the first one unless said otherwise (decision 42)."""
    reader = Reader(ctx, given, "stack", ("axis",), rest=True)
    xs = parts_of(ctx, given)
    grown = xs[0].type.with_dims(*xs[0].type.dims, Dim.of(1))
    place = whole_axis(reader, Value("", grown), reader.get("axis", Dim.of(0)), reader.span_of("axis"))
    with ctx.at(given.span):
        xs = beside(ctx, given, xs, "stack", None)
        rows = [ctx.builder.reshape(x, dims=(*x.type.dims[:place], Dim.of(1), *x.type.dims[place:])) for x in xs]
        return ctx.builder.concat(*rows, axis=place)


def parts_of(ctx: Context, given) -> list[Value]:
    """What is put together: the arguments, or the items of the only one."""
    parts, spans = given.positional, [a.span for a in given.node.args]
    if len(parts) == 1 and isinstance(parts[0], (ListValue, tuple)):
        parts = parts[0].items if isinstance(parts[0], ListValue) else parts[0]
        spans = spans * len(parts)
    if not parts:
        raise LeeError(structure.wrong_kind(given.span, "nothing", "at least one array"))
    return [arithmetic.as_value(ctx, v, s) for v, s in zip(parts, spans)]


def beside(ctx: Context, given, xs: list[Value], name: str, axis: int | None) -> list[Value]:
    """The same arrays with dims that are literally those of the first one, but along one axis."""
    first, found = xs[0].type, [xs[0]]
    for number, x in enumerate(xs[1:], 1):
        pairs = [(a, b) for i, (a, b) in enumerate(zip(first.dims, x.type.dims)) if i != axis]
        if x.type.rank != first.rank or not all(ctx.agree(a, b, given.span) for a, b in pairs):
            spans = [given.node.args[min(i, len(given.node.args) - 1)].span for i in (0, number)]
            sides = [(spans[0], first.shown), (spans[1], x.type.shown)]
            raise LeeError(shapes.shapes_differ(given.span, f"the parts of `{name}`", sides))
        dims = tuple(b if i == axis else a for i, (a, b) in enumerate(zip(first.dims, x.type.dims)))
        found.append(arithmetic.coerce(ctx, x, dims))
    return found


@builtin("pad")
def _pad(ctx: Context, given) -> Value:
    """One number an axis means both sides; pairs give (before, after) (decision 49)."""
    reader = Reader(ctx, given, "pad", ("x", "widths", "mode", "value"))
    x, widths = reader.tensor("x"), reader.get("widths")
    if reader.get("mode", "constant") != "constant":
        raise LeeError(structure.not_built(reader.span_of("mode"), "a padding mode other than constant"))
    if not isinstance(widths, tuple) or len(widths) != x.type.rank:
        raise LeeError(
            shapes.wrong_rank(reader.span_of("widths"), "`pad`", describe(widths), f"{x.type.rank} widths, one an axis")
        )
    pairs = tuple(w if isinstance(w, tuple) else (w, w) for w in widths)
    for width in (w for pair in pairs for w in pair):
        if not isinstance(width, Dim):
            raise LeeError(structure.wrong_kind(reader.span_of("widths"), describe(width), "a whole number of entries"))
    value = reader.get("value", 0.0)
    number = float(value.constant) if isinstance(value, Dim) and value.constant is not None else value
    with ctx.at(given.span):
        return ctx.builder.pad(x, widths=pairs, value=number)


@builtin("zeros", "ones")
def _constant(ctx: Context, given) -> Value:
    name = given.node.function.id
    reader = Reader(ctx, given, name, ("dims",))
    wanted = reader.get("dims")
    dtype, dims = (
        (wanted.type.dtype, wanted.type.dims) if isinstance(wanted, TypeValue) else ("float", reader.dims("dims"))
    )
    number = float(name == "ones") if dtype == "float" else int(name == "ones")
    with ctx.at(given.span):
        return ctx.builder.fill(number, dims=dims, dtype=dtype)


@builtin("zeros_like", "ones_like")
def _constant_like(ctx: Context, given) -> object:
    name = given.node.function.id
    reader = Reader(ctx, given, name, ("x",))
    make = lambda v: ctx.builder.fill(float(name == "ones_like"), dims=v.type.dims, dtype=v.type.dtype)  # noqa: E731
    if isinstance(reader.get("x"), Instance):
        return arithmetic.on_points(ctx, make, (reader.get("x"),), given.span).with_leaves(
            {p: make(v) for p, v in reader.get("x").parameters()}, is_vector=True
        )
    return make(reader.tensor("x"))


@builtin("tensor")
def _tensor(ctx: Context, given) -> Value:
    """A tensor literal: `tensor([[1, 2], [3, 4]])` (decision 50)."""
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
        raise LeeError(structure.wrong_kind(given.span, "this", "numbers, or bools, in lists of equal lengths"))
    dtype = "float" if float in kinds else kinds.pop().__name__
    with ctx.at(given.span):
        return ctx.builder.const(value=entries, type=TensorType(dtype, tuple(map(Dim.of, dims))))


@builtin("arange")
def _arange(ctx: Context, given) -> Value:
    (count,) = Reader(ctx, given, "arange", ("count",)).dims("count")
    with ctx.at(given.span):
        return ctx.builder.iota(dims=(count,), axis=0)


@builtin("len")
def _len(ctx: Context, given) -> Dim:
    value = Reader(ctx, given, "len", ("x",)).get("x")
    if isinstance(value, Value) and value.type.rank:
        return value.type.dims[0]
    if isinstance(value, (tuple, ListValue, Record)):
        return Dim.of(len(value if isinstance(value, tuple) else value.items))
    raise LeeError(structure.wrong_kind(given.span, describe(value), "something with a length"))


@builtin("rank")
def _rank(ctx: Context, given) -> Dim:
    return Dim.of(Reader(ctx, given, "rank", ("x",)).tensor("x").type.rank)


@builtin("count")
def _count(ctx: Context, given) -> Dim:
    """The number of entries, of a tensor or of all the parameters of a point."""
    value = Reader(ctx, given, "count", ("x",)).get("x")
    leaves = (
        [v for _, v in value.parameters()]
        if isinstance(value, Instance)
        else [arithmetic.as_value(ctx, value, given.span)]
    )
    total = Dim.of(0)
    for leaf in leaves:
        total = total + leaf.type.size
    return total


@builtin("zip")
def _zip(ctx: Context, given) -> ListValue:
    columns = [v if isinstance(v, tuple) else getattr(v, "items", None) for v in given.positional]
    if any(not isinstance(c, tuple) for c in columns) or len({len(c) for c in columns}) > 1:
        raise LeeError(structure.wrong_kind(given.span, "these", "tuples or lists of one length"))
    return ListValue(tuple(zip(*columns)))


@builtin("reversed")
def _reversed(ctx: Context, given) -> object:
    value = Reader(ctx, given, "reversed", ("x",)).get("x")
    match value:
        case tuple():
            return value[::-1]
        case ListValue(items=items):
            return ListValue(items[::-1])
        case Dim():
            return RangeValue(Dim.of(0), value - 1, True)
        case RangeValue():
            return RangeValue(value.first, value.last, not value.reverse)
    raise LeeError(structure.wrong_kind(given.span, describe(value), "a range, a tuple or a list"))


# ---- entries at other places


@builtin("flip")
def _flip(ctx: Context, given) -> Value:
    """The entries along one axis, or several, in the opposite order."""
    reader = Reader(ctx, given, "flip", ("x", "axis", "over"))
    x = reader.tensor("x")
    with ctx.at(given.span):
        return ctx.builder.flip(x, axes=reader.axes(x))


@builtin("scatter")
def _scatter(ctx: Context, given) -> Value:
    """x with values combined into positions of its first axes: one array of positions, or a tuple (decision 48)."""
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
