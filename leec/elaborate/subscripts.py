"""Subscripts of whole arrays: positions, slices, None, `..`, and integer arrays that gather (R22, decision 13)."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, kinds, shapes, structure
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.entries import Entry, Position, is_indexed, read, symbol
from leec.elaborate.readers import ListReader
from leec.elaborate.rounds import read_rows
from leec.elaborate.signature import PACK
from leec.elaborate.values import ListValue, Record, describe
from leec.ir.graph import Value
from leec.ops.shape import Slices
from leec.syntax import nodes


def bound_items(target: nodes.Subscript, value: Value) -> list[nodes.Expr]:
    """The items, one an axis. Raises LeeError for more than there are axes."""
    if len(target.items) > value.type.rank:
        raise LeeError(shapes.too_many_subscripts(target.span, len(target.items), value.type.shown))
    return list(target.items)


def expand_items(node: nodes.Subscript, value: Value) -> list[nodes.Expr | None]:
    """The items with `..` and missing trailing ones written out as full slices; None items add axes."""
    used = sum(not isinstance(i, (nodes.Ellipsis, nodes.Nothing)) for i in node.items)
    if used > value.type.rank:
        raise LeeError(shapes.too_many_subscripts(node.span, used, value.type.shown))
    full = [nodes.Slice(None, None, None, span=node.span)] * (value.type.rank - used)
    out: list[nodes.Expr] = []
    seen = False
    for item in node.items:
        if isinstance(item, nodes.Ellipsis):
            out += full
            seen = True
        else:
            out.append(item)
    return out if seen else out + full


def subscript(ctx: Context, value: object, node: nodes.Subscript) -> object:
    """`value[items]`"""
    from leec.elaborate.expressions import evaluate

    match value:
        case Value():
            return of_array(ctx, value, node)
        case Entry():
            raise LeeError(structure.not_built(node.span, "a subscript of a value that depends on an index"))
        case Record(items=items) | ListValue(items=items):
            return of_sequence(ctx, value, items, node)
        case tuple():
            return of_sequence(ctx, value, value, node)
        case ListReader():
            return value.at(node)
    evaluate(ctx, node.value)
    raise LeeError(structure.wrong_kind(node.value.span, describe(value), "an array, a tuple or a list"))


def of_sequence(ctx: Context, whole: object, items: tuple, node: nodes.Subscript) -> object:
    """One item or a slice of a tuple or list, by numbers known when compiling."""
    if len(node.items) != 1:
        raise LeeError(shapes.too_many_subscripts(node.span, len(node.items), describe(whole)))
    (item,) = node.items
    if isinstance(item, nodes.Slice):
        part = items[slice(*(known(ctx, e) for e in (item.start, item.stop, item.step)))]
        return ListValue(part) if isinstance(whole, ListValue) else part
    number = known(ctx, item)
    if not -len(items) <= number < len(items):
        raise LeeError(shapes.outside(item.span, f"`{item.span.text}`", str(len(items))))
    return items[number]


def known(ctx: Context, node: nodes.Expr | None) -> int | None:
    """An integer that must be a number when compiling."""
    from leec.elaborate.expressions import evaluate, structural_int

    return None if node is None else structural_int(ctx, evaluate(ctx, node), node.span)


def of_array(ctx: Context, value: Value, node: nodes.Subscript) -> object:
    from leec.elaborate.expressions import evaluate

    if ctx.indices and PACK in ctx.indices.ranges and len(node.items) == value.type.rank:
        items, packs = list(node.items), Position(Dim.of(symbol(PACK)))  # decision 46: `..` on both sides
    else:
        items, packs = expand_items(node, value), None
    found = [
        (
            None
            if isinstance(i, (nodes.Slice, nodes.Nothing))
            else packs if isinstance(i, nodes.Ellipsis) else evaluate(ctx, i)
        )
        for i in items
    ]
    if ctx.loops:
        value, items, found = read_rows(ctx, value, items, found)
    if any(map(is_indexed, found)):
        if any(isinstance(i, (nodes.Slice, nodes.Nothing)) for i in items):
            raise LeeError(structure.not_built(node.span, "a slice beside an index variable"))
        return read(ctx, value, found, [i.span for i in items], node.span)
    if any(isinstance(f, Value) for f in found):
        return gather_axes(ctx, value, items, found, node)
    return slice_axes(ctx, value, items, found, node)


def slice_axes(ctx: Context, value: Value, items: list, found: list, node: nodes.Subscript) -> Value:
    """Positions and slices whose numbers are dims; a reshape drops the positions and adds the Nones."""
    slices, shape, axis = Slices.whole(value.type.dims), [], 0
    for item, position in zip(items, found):
        if isinstance(item, nodes.Nothing):
            shape.append(Dim.of(1))
            continue
        size = value.type.dims[axis]
        if isinstance(item, nodes.Slice):
            start, stop, step = bounds(ctx, item, size)
            slices = slices.at(axis, start, stop, step)
            shape.append((stop - start + step - 1) // step)
        else:
            place = inside(ctx, position, size, item.span)
            slices = slices.at(axis, place, place + 1)
        axis += 1
    with ctx.at(node.span):
        part = value if slices == Slices.whole(value.type.dims) else ctx.builder.slice(value, slices=slices)
        return part if part.type.dims == tuple(shape) else ctx.builder.reshape(part, dims=tuple(shape))


def static_slices(ctx: Context, value: Value, node: nodes.Subscript) -> tuple[Slices, list[bool]]:
    """The slices that a left-hand side names, and which axes it keeps."""
    from leec.elaborate.expressions import evaluate

    slices, kept = Slices.whole(value.type.dims), []
    for axis, item in enumerate(expand_items(node, value)):
        size = value.type.dims[axis]
        if isinstance(item, nodes.Slice):
            slices = slices.at(axis, *bounds(ctx, item, size))
        else:
            place = inside(ctx, evaluate(ctx, item), size, item.span)
            slices = slices.at(axis, place, place + 1)
        kept.append(isinstance(item, nodes.Slice))
    return slices, kept


def bounds(ctx: Context, item: nodes.Slice, size: Dim) -> tuple[Dim, Dim, Dim]:
    """start, stop and step of a slice; negative literals count from the end, and nothing is clamped (decision 13)."""
    from leec.elaborate.expressions import evaluate

    def number(node: nodes.Expr | None, default: Dim) -> Dim:
        if node is None:
            return default
        value = evaluate(ctx, node)
        if not isinstance(value, Dim):
            raise LeeError(structure.wrong_kind(node.span, describe(value), "an integer that sizes can be made of"))
        return size + value if value.constant is not None and value.constant < 0 else value

    start, stop = number(item.start, Dim.of(0)), number(item.stop, size)
    for end, where in ((start, item.start), (stop, item.stop)):
        beyond = ctx.facts.normal(end - size).constant
        if beyond is not None and beyond > 0:
            raise LeeError(shapes.outside(where.span, f"`{where.span.text}`", str(size)))
    return start, stop, number(item.step, Dim.of(1))


def inside(ctx: Context, position: object, size: Dim, span: Span) -> Dim:
    """A position on an axis; a negative literal counts from the end."""
    if not isinstance(position, Dim):
        raise LeeError(kinds.needs_int(span, "a subscript", describe(position)))
    place = size + position if position.constant is not None and position.constant < 0 else position
    beyond = ctx.facts.normal(place - size).constant
    if (beyond is not None and beyond >= 0) or (place.constant is not None and place.constant < 0):
        raise LeeError(shapes.outside(span, f"`{span.text}`", str(size)))
    return place


def gather_axes(ctx: Context, value: Value, items: list, found: list, node: nodes.Subscript) -> Value:
    """Integer arrays among full slices: the gathered axes come first, as one block, where the first array stood."""
    arrays: dict[int, Value] = {}
    for axis, (item, array) in enumerate(zip(items, found)):
        if isinstance(item, nodes.Nothing) or (
            isinstance(item, nodes.Slice) and (item.start or item.stop or item.step)
        ):
            raise LeeError(structure.not_built(item.span, "a partial slice beside an array of positions"))
        if isinstance(item, nodes.Slice):
            continue
        if isinstance(array, Value) and array.type.dtype == "bool":
            raise LeeError(
                kinds.needs_int(
                    item.span,
                    "a subscript in a `def`",
                    "a mask, whose result would have no fixed size; use `where` or `compact`",
                )
            )
        with ctx.at(item.span):
            arrays[axis] = ctx.builder.lift(array) if isinstance(array, (Dim, int)) else array
        if arrays[axis].type.dtype != "int":
            raise LeeError(kinds.needs_int(item.span, "a subscript", describe(array)))
    axes = tuple(arrays)
    with ctx.at(node.span):
        result = ctx.builder.gather(value, *arrays.values(), axes=axes)
        lead, rank = axes[0], max(a.type.rank for a in arrays.values())
        if lead == 0:
            return result
        order = (*range(rank, rank + lead), *range(rank), *range(rank + lead, result.type.rank))
        return ctx.builder.transpose(result, perm=order)
