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
from leec.elaborate.distributions import PARAMETERS
from leec.elaborate.entries import is_indexed
from leec.elaborate.values import (
    BuiltinValue,
    Distribution,
    Instance,
    ListValue,
    RangeValue,
    Record,
    TypeValue,
    describe,
)  # fmt: skip
from leec.ir.graph import Value
from leec.ops.table import TABLE

BUILTINS: dict[str, BuiltinValue] = {}


def builtin(*spellings: str, reads_nodes: bool = False) -> Callable:
    """Enter a primitive under its names in lee."""

    def enter(function: Callable) -> Callable:
        function.reads_nodes = reads_nodes
        for name in spellings:
            BUILTINS[name] = BuiltinValue(name, function)
        return function

    return enter


# ---- reading arguments


class Reader:
    """A call's arguments by the primitive's own parameter names."""

    def __init__(self, ctx: Context, given, name: str, parameters: tuple[str, ...], rest: bool = False):
        self.ctx, self.given, self.name, self.span = ctx, given, name, given.span
        if not rest and len(given.positional) > len(parameters):
            raise LeeError(names.argument_count(given.span, name, f"takes {len(parameters)} arguments, not {len(given.positional)}"))
        self.found = {p: (v, given.node.args[i].span) for i, (p, v) in enumerate(zip(parameters, given.positional))}
        for keyword, node in given.node.keywords:
            if keyword.id not in parameters or keyword.id in self.found:
                raise LeeError(names.unknown_keyword(keyword, name, parameters))
            self.found[keyword.id] = (given.keywords[keyword.id], node.span)

    def get(self, parameter: str, default: object = None) -> object:
        return self.found.get(parameter, (default, self.span))[0]

    def span_of(self, parameter: str) -> Span:
        return self.found.get(parameter, (None, self.span))[1]

    def has(self, parameter: str) -> bool:
        return parameter in self.found

    def tensor(self, parameter: str) -> Value:
        if parameter not in self.found:
            raise LeeError(names.argument_count(self.span, self.name, f"also needs `{parameter}`"))
        value, span = self.found[parameter]
        if is_indexed(value):
            raise LeeError(structure.not_built(span, f"`{self.name}` of a value that depends on an index"))
        return arithmetic.as_value(self.ctx, value, span)

    def axis(self, x: Value, parameter: str = "axis") -> int:
        """One axis, counted from the front; may be left out where there is only one (R20)."""
        if not self.has(parameter):
            if x.type.rank > 1:
                raise LeeError(shapes.axis_needed(self.span, self.name))
            return 0
        return whole_axis(self, x, self.get(parameter), self.span_of(parameter))

    def axes(self, x: Value) -> tuple[int, ...]:
        """`axis = ..`, `over = (n, h)` by dim name, or all."""
        if self.has("over"):
            wanted = self.get("over")
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            return tuple(sorted(named_axis(self, x, w) for w in wanted))
        if self.get("axis") is None:
            return tuple(range(x.type.rank))
        wanted = self.get("axis")
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        return tuple(sorted(whole_axis(self, x, w, self.span_of("axis")) for w in wanted))

    def dims(self, parameter: str) -> tuple[Dim, ...]:
        value, span = self.found[parameter]
        items = value.items if isinstance(value, ListValue) else value if isinstance(value, tuple) else (value,)
        for item in items:
            if not isinstance(item, Dim):
                raise LeeError(structure.wrong_kind(span, describe(item), "a size"))
        return tuple(items)

    def flag(self, parameter: str, default: bool = False) -> bool:
        value = self.get(parameter, default)
        if not isinstance(value, bool):
            raise LeeError(structure.needs_static(self.span_of(parameter), f"`{parameter}`"))
        return value


def whole_axis(reader: Reader, x: Value, value: object, span: Span) -> int:
    from leec.elaborate.expressions import structural_int

    number = structural_int(reader.ctx, value, span)
    if not -x.type.rank <= number < x.type.rank:
        raise LeeError(shapes.no_such_axis(span, number, str(x.type)))
    return number % x.type.rank


def named_axis(reader: Reader, x: Value, dim: object) -> int:
    """The axis with this dim, by name and not by size (R11)."""
    found = [i for i, d in enumerate(x.type.dims) if d == dim]
    if len(found) != 1:
        raise LeeError(shapes.no_such_dim(reader.span_of("over"), str(dim), str(x.type)))
    return found[0]


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


def enter_rows() -> None:
    """Every elementwise row with a surface name, unless a function here gives it a signature of its own."""
    for row in TABLE.values():
        if row.elementwise and row.surface and row.surface not in BUILTINS:
            builtin(row.surface)(_elementwise(row.name, len(row.args), row.surface))


@builtin("float", "int")
def _convert(ctx: Context, given) -> object:
    """`float(c)` of bools, ints, and points of masks; `int(x)` truncates."""
    name = given.node.function.id
    reader = Reader(ctx, given, name, ("x",))
    value = reader.get("x")
    if isinstance(value, (Dim, float)) and name == "float":
        return float(value.constant) if isinstance(value, Dim) and value.constant is not None else arithmetic.binary(ctx, "*", value, 1.0, given.span, (given.span,) * 2)
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
            raise LeeError(kinds.needs_bool(reader.span_of("x"), f"the argument of `{name}`", str(x.type)))
        axes, keepdims = reader.axes(x), reader.flag("keepdims")
        with ctx.at(given.span):
            return ctx.builder.emit(name, (counted(ctx, name, x),), {"axes": axes, "keepdims": keepdims})

    return apply


def counted(ctx: Context, name: str, x: Value) -> Value:
    """The mean of bool or int is a float, the sum of bool an int (R17)."""
    if name == "mean" and not x.type.is_float:
        return ctx.builder.cast(x, dtype="float")
    return ctx.builder.cast(x, dtype="int") if name in ("sum", "prod") and x.type.dtype == "bool" else x


def pairwise(ctx: Context, row: str, shown: str, given) -> object:
    """`max(a, b, ..)` elementwise."""
    result, where = given.positional[0], given.node.args[0].span
    for value, node in zip(given.positional[1:], given.node.args[1:]):
        result = arithmetic.elementwise(ctx, row, shown, (result, value), given.span, (where, node.span))
    return result


def over_leaves(ctx: Context, name: str, reader: Reader) -> Value:
    """`sum` over all the leaves of a point (R28)."""
    if name != "sum":
        raise LeeError(structure.not_built(reader.span, f"`{name}` over a point"))
    total = None
    for _, leaf in reader.get("x").parameters():
        part = ctx.builder.sum(leaf, axes=tuple(range(leaf.type.rank)))
        total = part if total is None else ctx.builder.add(total, part)
    return total


for _name in ("sum", "mean", "max", "min", "prod", "any", "all", "logsumexp"):
    builtin(_name)(_reduction(_name))


def _along(name: str, *options: str) -> Callable:
    """A row with one `axis`, and options passed on as they are."""

    def apply(ctx: Context, given) -> Value:
        reader = Reader(ctx, given, name, ("x", "axis", *options))
        x = reader.tensor("x")
        extra = {o: reader.flag(o) for o in options if reader.has(o)}
        with ctx.at(given.span):
            return ctx.builder.emit(name, (x,), {"axis": reader.axis(x), **extra})

    return apply


for _name, _options in {"argmax": (), "argmin": (), "cumsum": ("reverse", "exclusive"), "cumprod": ("reverse", "exclusive"), "sort": (), "argsort": ()}.items():
    builtin(_name)(_along(_name, *_options))


# ---- shapes


@builtin("reshape")
def _reshape(ctx: Context, given) -> Value:
    reader = Reader(ctx, given, "reshape", ("x", "dims"))
    x, dims = reader.tensor("x"), reader.dims("dims")
    size = Dim.of(1)
    for dim in dims:
        size = size * dim
    if not ctx.agree(x.type.size, size, given.span):
        raise LeeError(shapes.shapes_differ(given.span, "the array and its new dims", [(reader.span_of("x"), str(x.type))], f"{x.type.size} entries are not {size}"))
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
    reader.found = {k: v for k, v in reader.found.items() if k == "axis" and "axis" in given.keywords}
    xs = [arithmetic.as_value(ctx, v, a.span) for v, a in zip(given.positional, given.node.args)]
    axis = reader.axis(xs[0])
    for x, node in zip(xs[1:], given.node.args[1:]):
        fits = x.type.rank == xs[0].type.rank and all(i == axis or ctx.agree(a, b, node.span) for i, (a, b) in enumerate(zip(xs[0].type.dims, x.type.dims)))
        if not fits:
            raise LeeError(shapes.shapes_differ(given.span, "the parts of `concat`", [(given.node.args[0].span, str(xs[0].type)), (node.span, str(x.type))]))
    with ctx.at(given.span):
        return ctx.builder.concat(*xs, axis=axis)


@builtin("stack")
def _stack(ctx: Context, given) -> Value:
    reader = Reader(ctx, given, "stack", ("axis",), rest=True)
    parts = given.positional
    if len(parts) == 1 and isinstance(parts[0], (ListValue, tuple)):
        parts = parts[0].items if isinstance(parts[0], ListValue) else parts[0]
    if not parts:
        raise LeeError(structure.wrong_kind(given.span, "nothing", "at least one array to stack"))
    xs = [arithmetic.as_value(ctx, v, given.span) for v in parts]
    axis = given.keywords.get("axis", Dim.of(0))
    place = (axis.constant or 0) % (xs[0].type.rank + 1)
    del reader
    with ctx.at(given.span):
        rows = [ctx.builder.reshape(x, dims=(*x.type.dims[:place], Dim.of(1), *x.type.dims[place:])) for x in xs]
        return ctx.builder.concat(*rows, axis=place)


@builtin("pad")
def _pad(ctx: Context, given) -> Value:
    """One number an axis means both sides; pairs give (before, after) (decision 49)."""
    reader = Reader(ctx, given, "pad", ("x", "widths", "mode", "value"))
    x, widths = reader.tensor("x"), reader.get("widths")
    if reader.get("mode", "constant") != "constant":
        raise LeeError(structure.not_built(reader.span_of("mode"), "a padding mode other than constant"))
    if not isinstance(widths, tuple) or len(widths) != x.type.rank:
        raise LeeError(shapes.wrong_rank(reader.span_of("widths"), "`pad`", describe(widths), f"{x.type.rank} widths, one an axis"))
    pairs = tuple(w if isinstance(w, tuple) else (w, w) for w in widths)
    value = reader.get("value", 0.0)
    number = float(value.constant) if isinstance(value, Dim) and value.constant is not None else value
    with ctx.at(given.span):
        return ctx.builder.pad(x, widths=pairs, value=number)


@builtin("zeros", "ones")
def _constant(ctx: Context, given) -> Value:
    name = given.node.function.id
    reader = Reader(ctx, given, name, ("dims",))
    wanted = reader.get("dims")
    dtype, dims = (wanted.type.dtype, wanted.type.dims) if isinstance(wanted, TypeValue) else ("float", reader.dims("dims"))
    number = float(name == "ones") if dtype == "float" else int(name == "ones")
    with ctx.at(given.span):
        return ctx.builder.fill(number, dims=dims, dtype=dtype)


@builtin("zeros_like", "ones_like")
def _constant_like(ctx: Context, given) -> object:
    name = given.node.function.id
    reader = Reader(ctx, given, name, ("x",))
    make = lambda v: ctx.builder.fill(float(name == "ones_like"), dims=v.type.dims, dtype=v.type.dtype)  # noqa: E731
    if isinstance(reader.get("x"), Instance):
        return arithmetic.on_points(ctx, make, (reader.get("x"),), given.span).with_leaves({p: make(v) for p, v in reader.get("x").parameters()}, is_vector=True)
    return make(reader.tensor("x"))


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
    leaves = [v for _, v in value.parameters()] if isinstance(value, Instance) else [arithmetic.as_value(ctx, value, given.span)]
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


# ---- distributions


def _family(name: str) -> Callable:
    def apply(ctx: Context, given) -> Distribution:
        reader = Reader(ctx, given, name, PARAMETERS[name])
        missing = [p for p in PARAMETERS[name] if not reader.has(p)]
        if missing:
            raise LeeError(names.argument_count(given.span, name, f"also needs `{missing[0]}`"))
        return Distribution(name, {p: reader.get(p) for p in PARAMETERS[name]})

    return apply


for _name in PARAMETERS:
    builtin(_name)(_family(_name))
