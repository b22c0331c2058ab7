"""Primitives with the signatures they have in lee: each maps a call to rows of the op table.

Elementwise rows of the table with a surface name are callable as they stand; what takes axes, dims or names has a
function here. Everything else that a spec may call is written in lee, in `std`.
"""

from __future__ import annotations

from collections.abc import Callable

from leec.diagnostics import LeeError, Span, kinds, names, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.context import Context
from leec.elaborate.primitives import BUILTINS, Reader, builtin
from leec.elaborate.values import (
    Instance,
)  # fmt: skip
from leec.ir.graph import Value
from leec.ops.order import top_k
from leec.ops.table import TABLE, Op
from leec.types import ShapeMismatch

# ---- elementwise rows


def _elementwise(row: str, count: int, shown: str) -> Callable:
    def apply(ctx: Context, given) -> object:
        if len(given.positional) != count or given.keywords:
            raise LeeError(names.argument_count(given.span, shown, f"takes {count} argument{'s' * (count > 1)}"))
        values, spans = given.positional, tuple(a.span for a in given.node.args)
        if any(isinstance(v, Instance) for v in values):
            change = lambda *vs: arithmetic.elementwise(ctx, row, shown, vs, given.span, spans)  # noqa: E731
            return arithmetic.on_points(ctx, change, tuple(values), given.span)
        return arithmetic.elementwise(ctx, row, shown, tuple(values), given.span, spans)

    return apply


def whole_arrays(row: Op) -> Callable:
    """A function of whole arrays with what it may be told, such as `tril(a, k = 1)`; its type rule says what fits."""

    def apply(ctx: Context, given) -> object:
        reader = Reader(ctx, given, row.surface, (*row.args, *row.params))
        arrays = [reader.tensor(name) for name in row.args]
        params = {name: option(reader, arrays[0], name, default) for name, default in row.params.items()}
        try:
            return fitted(ctx, row.name, arrays, params, given.span)
        except ShapeMismatch as error:
            sides = [(reader.span_of(n), a.type.shown) for n, a in zip(row.args, arrays)]
            origins = [(a.span, f"where `{a.name}` comes from") for a in arrays if a.named and a.span]
            raise LeeError(
                shapes.shapes_differ(given.span, f"the arguments of `{row.surface}`", sides + origins, str(error))
            ) from error

    return apply


def fitted(ctx: Context, row: str, arrays: list[Value], params: dict, span: Span) -> Value | tuple[Value, ...]:
    """The operation on arrays of which sizes must agree: those that only a run can tell get one name (decision 5)."""
    try:
        with ctx.at(span):
            return ctx.builder.emit(row, tuple(arrays), params)
    except ShapeMismatch as error:
        left, right = error.dims or (None, None)
        if left == right or not ctx.agree(left, right, span):
            raise
        changed = [tuple(right if d == left else d for d in a.type.dims) for a in arrays]
        if changed == [a.type.dims for a in arrays]:
            raise
        return fitted(ctx, row, [arithmetic.coerce(ctx, a, d) for a, d in zip(arrays, changed)], params, span)


def option(reader: Reader, x: Value, name: str, default: object) -> bool | int:
    """An axis of the first array, a choice, or a number: known when compiling."""
    if name == "axis":
        return reader.axis(x)
    if isinstance(default, bool):
        return reader.flag(name, default)
    from leec.elaborate.expressions import structural_int

    return structural_int(reader.ctx, reader.get(name, Dim.of(default)), reader.span_of(name))


def enter_rows() -> None:
    """Every row with a surface name that only takes arrays, unless a function here gives it a signature of its own."""
    for row in TABLE.values():
        if row.surface and row.surface not in BUILTINS:
            plain = row.elementwise and not row.params
            builtin(row.surface)(_elementwise(row.name, len(row.args), row.surface) if plain else whole_arrays(row))


@builtin("float", "int")
def _convert(ctx: Context, given) -> object:
    """`float(x)`, `int(x)`: the same value as another kind; of a condition 1 or 0. `int` cuts off the fraction."""
    name = given.node.function.id
    reader = Reader(ctx, given, name, ("x",))
    value = reader.get("x")
    if isinstance(value, (Dim, float)) and name == "float":
        return (
            float(value.constant)
            if isinstance(value, Dim) and value.constant is not None
            else arithmetic.binary(ctx, "*", value, 1.0, given.span, (given.span,) * 2)
        )
    if isinstance(value, bool):
        return 1.0 if value and name == "float" else 0.0 if name == "float" else Dim.of(int(value))
    return cast(ctx, value, name, given.span)


def cast(ctx: Context, value: object, dtype: str, span: Span) -> object:
    from leec.elaborate.entries import Entry, Position, position_value

    if isinstance(value, Instance):
        return arithmetic.on_points(ctx, lambda v: cast(ctx, v, dtype, span), (value,), span)
    if isinstance(value, Position):
        value = position_value(ctx, value.dim, span)
    with ctx.at(span):
        if isinstance(value, Entry):
            return Entry(ctx.builder.cast(value.value, dtype=dtype), value.subscripts)
        return ctx.builder.cast(arithmetic.as_value(ctx, value, span), dtype=dtype)


# ---- reductions


def _reduction(name: str) -> Callable:
    def apply(ctx: Context, given) -> object:
        if name in ("max", "min") and len(given.positional) > 1 and not given.keywords:
            return pairwise(ctx, "maximum" if name == "max" else "minimum", name, given)
        reader = Reader(ctx, given, name, ("x", "axis", "over", "keepdims"))
        if isinstance(reader.get("x"), Instance):
            return over_leaves(ctx, name, reader)
        x = reader.tensor("x")
        if name in ("any", "all") and x.type.dtype != "bool":
            raise LeeError(kinds.needs_bool(reader.span_of("x"), f"the argument of `{name}`", x.type.shown))
        axes, keepdims = reader.axes(x), reader.flag("keepdims")
        with ctx.at(given.span):
            return ctx.builder.emit(name, (counted(ctx, name, x),), {"axes": axes, "keepdims": keepdims})

    return apply


def counted(ctx: Context, name: str, x: Value) -> Value:
    """The mean of bool or int is a float, the sum of bool an int (R17)."""
    if name == "mean" and not x.type.is_float:
        return ctx.builder.cast(x, dtype="float")
    return ctx.builder.cast(x, dtype="int") if name in ("sum", "prod") and x.type.dtype == "bool" else x


@builtin("logaddexp")
def _logaddexp(ctx: Context, given) -> object:
    """`logaddexp(a, b, ..)`: log(exp(a) + exp(b) + ..), of any number of arguments (decision 42)."""
    if len(given.positional) < 2 or given.keywords:
        raise LeeError(names.argument_count(given.span, "logaddexp", "takes two arguments or more"))
    return pairwise(ctx, "logaddexp", "logaddexp", given)


def pairwise(ctx: Context, row: str, shown: str, given) -> object:
    """`max(a, b, ..)` and the like, elementwise."""
    result, where = given.positional[0], given.node.args[0].span
    for value, node in zip(given.positional[1:], given.node.args[1:]):

        def apply(*pair: object, spans: tuple[Span, ...] = (where, node.span)) -> object:
            return arithmetic.elementwise(ctx, row, shown, pair, given.span, spans)

        points = any(isinstance(v, Instance) for v in (result, value))
        result = arithmetic.on_points(ctx, apply, (result, value), given.span) if points else apply(result, value)
    return result


def over_leaves(ctx: Context, name: str, reader: Reader) -> Value:
    """Over all the parameters of a point (R28), which has no axes; a sum leaf by leaf, without one vector of them."""
    told = (p for p in ("axis", "over", "keepdims") if not (reader.get(p) is None or reader.get(p) is False))
    for option in told:
        span = reader.span_of("x")
        raise LeeError(structure.wrong_kind(span, f"a model with `{option} = ..`", "a tensor, which has axes,"))
    leaves = [leaf for _, leaf in reader.get("x").parameters()]
    if name != "sum":
        flat = counted(ctx, name, ctx.builder.flatten(*leaves))
        return ctx.builder.emit(name, (flat,), {"axes": (0,), "keepdims": False})
    total = None
    for leaf in leaves:
        part = ctx.builder.sum(counted(ctx, name, leaf), axes=tuple(range(leaf.type.rank)))
        total = part if total is None else ctx.builder.add(total, part)
    return total


for _name in ("sum", "mean", "max", "min", "prod", "any", "all", "logsumexp"):
    builtin(_name)(_reduction(_name))


@builtin("top_k")
def _top_k(ctx: Context, given) -> tuple[Value, Value]:
    """`top_k(x, k, axis = .., smallest = false)`: the k largest entries along an axis, the largest first, and their
    positions (R25).
    """
    reader = Reader(ctx, given, "top_k", ("x", "k", "axis", "smallest"))
    x, (k,) = reader.tensor("x"), reader.dims("k")
    with ctx.at(given.span):
        return top_k(ctx.builder, x, k, reader.axis(x), reader.flag("smallest"))
