"""Expressions: one function a kind of node, found by the node's class."""

from __future__ import annotations

from collections.abc import Callable

from leec.diagnostics import LeeError, Span, kinds, names, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.branches import reaches
from leec.elaborate.context import Context, NeedStructural, WrittenOut
from leec.elaborate.distributions import member as of_distribution
from leec.elaborate.entries import Position
from leec.elaborate.reductions import is_index_reduction, reduce_by_index
from leec.elaborate.scope import lookup, unknown, visible
from leec.elaborate.subscripts import subscript
from leec.elaborate.values import (
    POISON,
    Distribution,
    Instance,
    ListValue,
    RangeValue,
    Record,
    TypeValue,
    describe,
)  # fmt: skip
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import DTYPES, ShapeMismatch, TensorType


def evaluate(ctx: Context, node: nodes.Expr) -> object:
    """The value of an expression. Raises LeeError, with no diagnostics where the cause was reported before."""
    guard = ctx.guard
    try:
        if guard is not None and not reaches(ctx, node):
            ctx.guard = None
        return _EVALUATE[type(node)](ctx, node)
    except ShapeMismatch as mismatch:  # what no rule of the language caught before the row did
        raise LeeError(
            shapes.shapes_differ(node.span, f"the operands of `{node.span.text}`", [], str(mismatch))
        ) from mismatch
    finally:
        ctx.guard = guard


def structural_int(ctx: Context, value: object, span: Span) -> int:
    """A number that code depends on; a symbolic one restarts the function with its value (R13)."""
    if isinstance(value, Dim):
        if value.constant is not None:
            return value.constant
        for name in sorted(value.symbols):
            if any(loop.symbol == name for loop in ctx.loops):
                raise WrittenOut(name)
            raise NeedStructural(name, span)
    if isinstance(value, Value) and value.type.host and value.named:
        raise NeedStructural(value.name, span)
    if isinstance(value, float):
        raise LeeError(kinds.needs_int(span, "a number that code depends on", str(value)))
    raise LeeError(structure.needs_static(span, f"`{span.text}`"))


# ---- names


def _name(ctx: Context, node: nodes.Name) -> object:
    found = lookup(ctx, node.id)
    if found is None:
        raise unknown(ctx, node)
    if found is POISON:
        raise LeeError()
    return found[0]


# ---- literals and containers


def _number(ctx: Context, node: nodes.Number) -> object:
    return Dim.of(node.value) if isinstance(node.value, int) else node.value


def _list(ctx: Context, node: nodes.List) -> ListValue:
    return ListValue(tuple(evaluate(ctx, i) for i in node.items))


def _record(ctx: Context, node: nodes.Record) -> Record:
    return Record(tuple(n.id for n, _ in node.fields), tuple(evaluate(ctx, e) for _, e in node.fields))


def _comprehension(ctx: Context, node: nodes.Comprehension) -> ListValue:
    from leec.elaborate.binding import bind_round
    from leec.elaborate.demands import structural_bool
    from leec.elaborate.forloops import static_items

    items = []
    for number, item in enumerate(static_items(ctx, evaluate(ctx, node.iterable), node.iterable.span)):
        inner = ctx.child()
        bind_round(inner, node.target, item)
        inner.site = f"{ctx.site}.{number}" if ctx.site else str(number)
        if node.condition is None or structural_bool(inner, node.condition):
            items.append(evaluate(inner, node.element))
            keep_state(ctx, inner, node.target)
    return ListValue(tuple(items))


def keep_state(ctx: Context, inner: Context, target: nodes.Expr) -> None:
    """New state of models from outside, which calls inside a comprehension have made."""
    from leec.elaborate.binding import target_names

    for name in ctx.names.keys() - target_names(target):
        if isinstance(ctx.names[name], Instance):
            ctx.names[name] = inner.names[name]


# ---- operators


def _binary(ctx: Context, node: nodes.Binary) -> object:
    left, right = evaluate(ctx, node.left), evaluate(ctx, node.right)
    spans = (node.left.span, node.right.span)
    if node.op == "@":
        return arithmetic.matmul(ctx, left, right, node.span, spans)
    if isinstance(left, Position) or isinstance(right, Position):
        moved = _move(node.op, left, right)
        if moved is not None:
            return moved
    return arithmetic.binary(ctx, node.op, left, right, node.span, spans)


def _move(op: str, left: object, right: object) -> Position | None:
    """Positions stay affine under + - * with sizes."""
    a, b = (v.dim if isinstance(v, Position) else v for v in (left, right))
    if not (isinstance(a, Dim) and isinstance(b, Dim)):
        return None
    if op in "+-":
        return Position(a + b if op == "+" else a - b)
    if op == "*" and not (isinstance(left, Position) and isinstance(right, Position)):
        return Position(a * b)
    return None


def _unary(ctx: Context, node: nodes.Unary) -> object:
    value = evaluate(ctx, node.operand)
    if node.op == "not":
        return arithmetic.invert(ctx, value, node.span)
    return Position(-value.dim) if isinstance(value, Position) else arithmetic.negate(ctx, value, node.span)


def _compare(ctx: Context, node: nodes.Compare) -> object:
    left, where, links = evaluate(ctx, node.first), node.first.span, []
    for op, right_node in node.rest:
        right = evaluate(ctx, right_node)
        if op in ("is", "is not"):
            links.append((left is None) == (op == "is"))
        else:
            links.append(arithmetic.binary(ctx, op, left, right, node.span, (where, right_node.span)))
        left, where = right, right_node.span
    return links[0] if len(links) == 1 else arithmetic.logic(ctx, "and", links, node.span, [node.span] * len(links))


def _logic(ctx: Context, node: nodes.Logic) -> object:
    values: list[object] = []
    for item in node.items:
        values.append(evaluate(ctx, item))
        if values[-1] is (node.op == "or"):
            return values[-1]
    return arithmetic.logic(ctx, node.op, values, node.span, [i.span for i in node.items])


def _ternary(ctx: Context, node: nodes.Ternary) -> object:
    condition = evaluate(ctx, node.condition)
    if isinstance(condition, bool):
        return evaluate(ctx, node.value if condition else node.other)
    values = (condition, evaluate(ctx, node.value), evaluate(ctx, node.other))
    spans = (node.condition.span, node.value.span, node.other.span)
    if getattr(condition, "type", None) is None or condition.type.dtype != "bool":
        raise LeeError(kinds.needs_bool(node.condition.span, "the condition", describe(condition)))
    return arithmetic.elementwise(ctx, "select", "if", values, node.span, spans)


def _range(ctx: Context, node: nodes.Range) -> RangeValue:
    return RangeValue(evaluate(ctx, node.first), evaluate(ctx, node.last))


# ---- fields, subscripts, calls


def _attribute(ctx: Context, node: nodes.Attribute) -> object:
    return attribute(ctx, evaluate(ctx, node.value), node)


def attribute(ctx: Context, value: object, node: nodes.Attribute) -> object:
    name = node.name.id
    match value:
        case Value() if name == "T":
            return transposed(ctx, value, node.span)
        case Value() if name == "dims":
            return value.type.dims
        case Instance():
            return member(value, name, node)
        case Record(names=fields) if name in fields:
            return value.get(name)
        case Distribution():
            found = of_distribution(value, name)
            if found is not None:
                return found[0]
    reader = getattr(value, "member", None)  # a data source inside a run
    if reader is not None:
        found = reader(name)
        if found is not None:
            return found[0]
    candidates = list(value.names) if isinstance(value, Record) else ["T", "dims"] if isinstance(value, Value) else []
    of_tensors = isinstance(value, Value) and ctx.home is not ctx.session.library.prelude  # which calls methods itself
    functions = visible(ctx) if of_tensors else ()
    raise LeeError(names.no_member(node.name.span, name, describe(value), candidates, functions))


def transposed(ctx: Context, value: Value, span: Span) -> Value:
    """All axes reversed."""
    with ctx.at(span):
        return ctx.builder.transpose(value, perm=tuple(reversed(range(value.type.rank))))


def member(instance: Instance, name: str, node: nodes.Attribute) -> object:
    """A tensor, hyperparameter, constant, method or part of a model."""
    from leec.elaborate.members import member_of

    found = member_of(instance, name)
    if found is None:
        raise LeeError(
            names.no_member(node.name.span, name, f"the model `{instance.spec.name}`", instance.spec.member_names())
        )
    return found[0]


def _subscript(ctx: Context, node: nodes.Subscript) -> object:
    if isinstance(node.value, nodes.Name) and node.value.id in DTYPES and node.value.id not in ctx.names:
        return TypeValue(tensor_type(ctx, node.value.id, node.items))
    return subscript(ctx, evaluate(ctx, node.value), node)


def tensor_type(ctx: Context, dtype: str, items: tuple[nodes.Expr, ...]) -> TensorType:
    """`int[n, 3]` with dims that are known here."""
    dims = []
    for item in items:
        value = evaluate(ctx, item)
        if not isinstance(value, Dim):
            raise LeeError(structure.wrong_kind(item.span, describe(value), "a size"))
        dims.append(value)
    return TensorType(dtype, tuple(dims))


def _call(ctx: Context, node: nodes.Call) -> object:
    from leec.elaborate.calls import call

    if is_index_reduction(ctx, node):
        return reduce_by_index(ctx, node)
    return call(ctx, evaluate(ctx, node.function), node)


def _refuse(what: str) -> Callable:
    def rule(ctx: Context, node: nodes.Expr):
        raise LeeError(structure.not_here(node.span, what, "in an expression"))

    return rule


_EVALUATE: dict[type, Callable] = {
    nodes.Name: _name,
    nodes.Number: _number,
    nodes.String: lambda ctx, node: node.value,
    nodes.Bool: lambda ctx, node: node.value,
    nodes.Nothing: lambda ctx, node: None,
    nodes.Tuple: lambda ctx, node: tuple(evaluate(ctx, i) for i in node.items),
    nodes.List: _list,
    nodes.Record: _record,
    nodes.Comprehension: _comprehension,
    nodes.Binary: _binary,
    nodes.Unary: _unary,
    nodes.Compare: _compare,
    nodes.Logic: _logic,
    nodes.Ternary: _ternary,
    nodes.Range: _range,
    nodes.Attribute: _attribute,
    nodes.Call: _call,
    nodes.Subscript: _subscript,
    nodes.Slice: _refuse("a slice"),
    nodes.IndexIn: _refuse("`in`"),
    nodes.Ellipsis: _refuse("`..`"),
}
