"""Primitives that move and make entries: shapes, padding, constants, sizes, and the sequences of loops."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.context import Context

# ---- elementwise rows
from leec.elaborate.primitives import Reader, builtin, whole_axis
from leec.elaborate.readers import ListReader
from leec.elaborate.values import (
    Instance,
    ListValue,
    RangeValue,
    Record,
    TypeValue,
    describe,
)  # fmt: skip
from leec.ir.graph import Value


@builtin("reshape")
def _reshape(ctx: Context, given) -> Value:
    """`reshape(x, dims)`: the same entries in rows of another shape, as `reshape(x, [n, 4, d])`."""
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
    """`flatten(x, from = 0)`: all axes from `from` on made one; of a point all its parameters, one after the other
    (R32).
    """
    reader = Reader(ctx, given, "flatten", ("x", "from"))
    if isinstance(reader.get("x"), Instance):
        return flattened(ctx, reader.get("x"), given.span)
    x = reader.tensor("x")
    first = whole_axis(reader, x, reader.get("from", Dim.of(0)), given.span) if x.type.rank else 0
    rest = Dim.of(1)
    for dim in x.type.dims[first:]:
        rest = rest * dim
    with ctx.at(given.span):
        return ctx.builder.reshape(x, dims=(*x.type.dims[:first], ctx.facts.normal(rest)))


def flattened(ctx: Context, point: Instance, span: Span) -> Value:
    """The parameters of a point as one vector, in the order of declaration."""
    with ctx.at(span):
        return ctx.builder.flatten(*(v for _, v in point.parameters()))


@builtin("unflatten")
def _unflatten(ctx: Context, given) -> Instance | Value:
    """`unflatten(x, like = ..)`: a vector as a point or an array of the shape of another one (R32)."""
    reader = Reader(ctx, given, "unflatten", ("x", "like"))
    x, like = reader.tensor("x"), reader.get("like")
    if not isinstance(like, (Instance, Value)):
        raise LeeError(structure.wrong_kind(reader.span_of("like"), describe(like), "a point, as in `like = net`"))
    leaves = dict(like.parameters()) if isinstance(like, Instance) else {"": like}
    total = sum((v.type.size for v in leaves.values()), start=Dim.of(0))
    if x.type.rank != 1 or not ctx.agree(x.type.dims[0], total, given.span):
        sides = [(reader.span_of("x"), x.type.shown), (reader.span_of("like"), f"{total} parameters")]
        raise LeeError(shapes.shapes_differ(given.span, "the vector and the point", sides))
    with ctx.at(given.span):
        x = arithmetic.coerce(ctx, x, (total,))
        if isinstance(like, Value):
            return x if like.type.rank == 1 else ctx.builder.reshape(x, dims=like.type.dims)
        found = ctx.builder.unflatten(x, shapes=tuple(v.type.dims for v in leaves.values()))
    return like.with_leaves(dict(zip(leaves, found)), place=None, is_vector=True)


@builtin("concat")
def _concat(ctx: Context, given) -> Value:
    """`concat(x, y, .., axis = ..)`: the arrays one after the other along an axis."""
    reader = Reader(ctx, given, "concat", ("axis",), rest=True)
    xs = parts_of(ctx, given)
    axis = reader.axis(xs[0])
    with ctx.at(given.span):
        return ctx.builder.concat(*beside(ctx, given, xs, "concat", axis), axis=axis)


@builtin("stack")
def _stack(ctx: Context, given) -> Value:
    """`stack(x, y, .., axis = 0)`: the arrays along a new axis; `stack(list)` of what a list holds (decision 42)."""
    reader = Reader(ctx, given, "stack", ("axis",), rest=True)
    if len(given.positional) == 1 and isinstance(given.positional[0], ListReader):
        return given.positional[0].stacked(given.node.args[0])
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


@builtin("zeros", "ones")
def _constant(ctx: Context, given) -> Value:
    """`zeros(dims)`, `ones(dims)`: an array of zeros or ones, as `zeros([n, d])`."""
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
    """`zeros_like(x)`, `ones_like(x)`: zeros or ones in the shape of an array or a point."""
    name = given.node.function.id
    reader = Reader(ctx, given, name, ("x",))
    make = lambda v: ctx.builder.fill(float(name == "ones_like"), dims=v.type.dims, dtype=v.type.dtype)  # noqa: E731
    if isinstance(reader.get("x"), Instance):
        return arithmetic.on_points(ctx, make, (reader.get("x"),), given.span).with_leaves(
            {p: make(v) for p, v in reader.get("x").parameters()}, is_vector=True
        )
    return make(reader.tensor("x"))


@builtin("single_axis")
def _single_axis(ctx: Context, given) -> Dim:
    """`single_axis(x, axis)`: the number of the axis that was asked for, which may be None where there is only one
    (R20).
    """
    reader = Reader(ctx, given, ctx.session.calls[-1][0], ("x", "axis"))
    if reader.get("axis") is None:
        reader.found.pop("axis", None)
    return Dim.of(reader.axis(reader.tensor("x")))


@builtin("arange")
def _arange(ctx: Context, given) -> Value:
    """`arange(count)`: the integers 0, 1, .. count - 1."""
    (count,) = Reader(ctx, given, "arange", ("count",)).dims("count")
    with ctx.at(given.span):
        return ctx.builder.iota(dims=(count,), axis=0)


@builtin("len")
def _len(ctx: Context, given) -> Dim:
    """`len(x)`: the first size of an array; how many items a tuple or a list has."""
    value = Reader(ctx, given, "len", ("x",)).get("x")
    if isinstance(value, Value) and value.type.rank:
        return value.type.dims[0]
    if isinstance(value, (tuple, ListValue, Record)):
        return Dim.of(len(value if isinstance(value, tuple) else value.items))
    if isinstance(value, ListReader):
        return value.length()
    raise LeeError(structure.wrong_kind(given.span, describe(value), "something with a length"))


@builtin("rank")
def _rank(ctx: Context, given) -> Dim:
    """`rank(x)`: how many axes an array has."""
    return Dim.of(Reader(ctx, given, "rank", ("x",)).tensor("x").type.rank)


@builtin("count")
def _count(ctx: Context, given) -> Dim:
    """`count(x)`: the number of entries, of an array or of all the parameters of a point."""
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
    """`zip(a, b, ..)`: tuples or lists of one length, side by side."""
    columns = [v if isinstance(v, tuple) else getattr(v, "items", None) for v in given.positional]
    if any(not isinstance(c, tuple) for c in columns) or len({len(c) for c in columns}) > 1:
        raise LeeError(structure.wrong_kind(given.span, "these", "tuples or lists of one length"))
    return ListValue(tuple(zip(*columns)))


@builtin("reversed")
def _reversed(ctx: Context, given) -> object:
    """`reversed(x)`: a range, a tuple or a list from its end."""
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
