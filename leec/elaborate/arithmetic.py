"""Arithmetic on whatever meets: dims stay dims, literals fold, tensors broadcast, points of models go leaf by leaf."""

from __future__ import annotations

import operator
from collections.abc import Callable

from leec.diagnostics import LeeError, Span, kinds, shapes, structure
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.values import Instance, Record, describe
from leec.ir.graph import Value
from leec.ops.contract import Contraction
from leec.ops.table import TABLE
from leec.types import ShapeMismatch, broadcast

OPERATIONS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "power"}
COMPARISONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
_PYTHON = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


def is_number(value: object) -> bool:
    return isinstance(value, (int, float, Dim)) and not isinstance(value, bool)


def as_value(ctx: Context, value: object, span: Span) -> Value:
    """An IR value: numbers and bools become constants of the host. Raises LeeError for anything else."""
    if isinstance(value, Value):
        return value
    if isinstance(value, (bool, int, float, Dim)):
        with ctx.at(span):
            return ctx.builder.lift(value)
    raise LeeError(structure.no_tensor(span, describe(value)))


def binary(ctx: Context, op: str, left: object, right: object, span: Span, spans: tuple[Span, Span]) -> object:
    """`left op right` for + - * / // % ** and the comparisons."""
    from leec.elaborate.entries import Entry, Position

    if isinstance(left, Instance) or isinstance(right, Instance):
        return on_points(ctx, lambda a, b: binary(ctx, op, a, b, span, spans), (left, right), span)
    if isinstance(left, Dim) and isinstance(right, Dim):
        found = on_dims(ctx, op, left, right, span)
        if found is not None:
            return found
    if is_number(left) and is_number(right):
        a, b = (v.constant if isinstance(v, Dim) else v for v in (left, right))
        if a is not None and b is not None:
            return fold(op, a, b, span)
    if op == "+" and isinstance(left, tuple) and isinstance(right, tuple):
        return left + right
    if op in ("==", "!=") and not all(isinstance(v, (Value, Dim, float, Entry, Position)) for v in (left, right)):
        return compare_structure(ctx, op, left, right, span)
    return elementwise(ctx, OPERATIONS.get(op) or COMPARISONS[op], op, (left, right), span, spans)


def fold(op: str, a: int | float, b: int | float, span: Span) -> object:
    """Arithmetic on literals."""
    try:
        found = _PYTHON[op](a, b)
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise LeeError(structure.no_value(span, str(error))) from error
    return Dim.of(found) if isinstance(found, int) and not isinstance(found, bool) else found


def on_dims(ctx: Context, op: str, left: Dim, right: Dim, span: Span) -> object | None:
    """Integers that sizes may be made of stay polynomials; None where the result is no integer or not decided."""
    if op in ("+", "-", "*"):
        return _PYTHON[op](left, right)
    if op in ("//", "%"):
        if right == 0:
            raise LeeError(structure.no_value(span, "division by zero"))
        return ctx.facts.normal(_PYTHON[op](left, right))
    if op == "**" and right.constant is not None and right.constant >= 0:
        return left**right.constant
    if op in ("==", "!="):
        same = ctx.equal(left, right)
        return None if same is None else same == (op == "==")
    if op in COMPARISONS:
        difference = ctx.facts.normal(left - right).constant
        return None if difference is None else _PYTHON[op](difference, 0)
    return None


def compare_structure(ctx: Context, op: str, left: object, right: object, span: Span) -> bool:
    """Equality of tuples, strings, bools and None, known when compiling."""
    if isinstance(left, Record):
        left = left.items
    if isinstance(left, tuple) and isinstance(right, tuple):
        same = len(left) == len(right) and all(
            binary(ctx, "==", a, b, span, (span, span)) is True for a, b in zip(left, right)
        )
        return same == (op == "==")
    return (left == right) == (op == "==")


def on_points(ctx: Context, change: Callable, operands: tuple, span: Span) -> Instance:
    """Leaf by leaf over the parameters; scalars broadcast to the structure (R28, decision 12)."""
    points = [v for v in operands if isinstance(v, Instance)]
    first = points[0]
    if any(dict(p.parameters()).keys() != dict(first.parameters()).keys() for p in points):
        raise LeeError(
            structure.wrong_kind(span, " and ".join(describe(p) for p in points), "two points of one structure")
        )
    leaves = {}
    for path, _ in first.parameters():
        leaves[path] = change(*(v.leaves[path] if isinstance(v, Instance) else v for v in operands))
    point = next((p for p in points if not p.is_vector), None)
    if point is None:
        return first.with_leaves(leaves, place=None)
    return point.with_leaves({**point.leaves, **leaves}, place=None)


def elementwise(ctx: Context, row: str, shown: str, operands: tuple, span: Span, spans: tuple[Span, ...]) -> Value:
    """An elementwise op on aligned operands; undecided dims become checks, contradictions errors."""
    from leec.elaborate.entries import apply_entries, is_indexed

    if ctx.guard is not None and TABLE[row].vjp and not TABLE[row].facts.get("linear"):
        operands = tuple(guard(ctx, v, s) for v, s in zip(operands, spans))
    if any(is_indexed(v) for v in operands):
        return apply_entries(ctx, row, shown, operands, span, spans)
    values = [as_value(ctx, v, s) for v, s in zip(operands, spans)]
    if row in OPERATIONS.values() and any(v.type.dtype == "bool" for v in values):
        raise LeeError(kinds.bool_arithmetic(span, shown))
    values = align(ctx, values, span, spans, f"the operands of `{shown}`")
    with ctx.at(span):
        if all(v.type.host for v in values) and not TABLE[row].host:  # Python has no such function
            values[0] = ctx.builder.fill(values[0], dims=(), dtype="float")
        return ctx.builder.emit(row, tuple(values))


def guard(ctx: Context, value: object, span: Span) -> object:
    """An operand inside a branch of `where`: its cotangent is 0 where the branch is not taken (R3).

    An array without subscripts, inside a definition by entries, is there for all of them, whatever this entry takes.
    """
    from leec.elaborate.entries import Entry, apply_entries, is_indexed

    condition = ctx.guard
    if not isinstance(value, (Value, Entry)) or not value.type.is_float or value.type.host:
        return value
    if isinstance(value, Value) and value.type.rank and is_indexed(condition):
        return value
    if is_indexed(value) or is_indexed(condition):
        return apply_entries(ctx, "guard", "where", (value, condition), span, (span, span))
    try:
        broadcast(value.type, condition.type)
    except ShapeMismatch:
        return value
    return ctx.builder.guard(value, condition)


def align(ctx: Context, values: list[Value], span: Span, spans: tuple[Span, ...], what: str) -> list[Value]:
    """The same values with dims that broadcast literally (R19). Raises LeeError where sizes contradict."""
    rank = max(v.type.rank for v in values)
    target: list[Dim | None] = [None] * rank
    wanted = [list(v.type.dims) for v in values]
    for axis in range(-rank, 0):
        for dims in wanted:
            if -axis > len(dims) or dims[axis] == 1:
                continue
            if target[axis] is None:
                target[axis] = dims[axis]
            elif dims[axis] != target[axis]:
                if not ctx.agree(target[axis], dims[axis], span):
                    sides = [(s, v.type.shown) for v, s in zip(values, spans)]
                    raise LeeError(shapes.shapes_differ(span, what, sides, f"{target[axis]} is not {dims[axis]}"))
                dims[axis] = target[axis]
    return [coerce(ctx, v, tuple(d)) for v, d in zip(values, wanted)]


def coerce(ctx: Context, value: Value, dims: tuple[Dim, ...]) -> Value:
    """The value under other names for equal sizes."""
    return value if value.type.dims == dims else ctx.builder.reshape(value, dims=dims)


def negate(ctx: Context, value: object, span: Span) -> object:
    if isinstance(value, Instance):
        return on_points(ctx, lambda a: negate(ctx, a, span), (value,), span)
    if is_number(value):
        return -value
    return elementwise(ctx, "neg", "-", (value,), span, (span,))


def logic(ctx: Context, op: str, values: list[object], span: Span, spans: list[Span]) -> object:
    """`and`, `or`: on structural bools now, else elementwise (R18)."""
    stop = op == "or"
    dynamic = []
    for value, where in zip(values, spans):
        if isinstance(value, bool):
            if value is stop:
                return value
            continue
        dynamic.append((value, where))
    if not dynamic:
        return not stop
    result, first = dynamic[0]
    for value, where in dynamic[1:]:
        result = elementwise(
            ctx, f"logical_{op}", op, (as_bool(ctx, result, first), as_bool(ctx, value, where)), span, (first, where)
        )
    return as_bool(ctx, result, first)


def as_bool(ctx: Context, value: object, span: Span) -> object:
    kind = getattr(getattr(value, "type", None) or getattr(getattr(value, "value", None), "type", None), "dtype", None)
    if isinstance(value, bool) or kind == "bool":
        return value
    raise LeeError(kinds.needs_bool(span, "an operand of `and`, `or`, `not`", describe(value)))


def invert(ctx: Context, value: object, span: Span) -> object:
    if isinstance(value, bool):
        return not value
    return elementwise(ctx, "logical_not", "not", (as_bool(ctx, value, span),), span, (span,))


def matmul(ctx: Context, left: object, right: object, span: Span, spans: tuple[Span, Span]) -> Value:
    """`left @ right`: the last axis of the left with the first of a vector, the last but one of a matrix."""
    a, b = as_value(ctx, left, spans[0]), as_value(ctx, right, spans[1])
    for value, where in ((a, spans[0]), (b, spans[1])):
        if value.type.rank == 0:
            raise LeeError(shapes.wrong_rank(where, "`@`", value.type.shown, "at least one axis on either side"))
        if value.type.dtype == "bool":
            raise LeeError(kinds.bool_arithmetic(span, "@"))
    inner = -1 if b.type.rank == 1 else -2
    if not ctx.agree(a.type.dims[-1], b.type.dims[inner], span):
        sides = [(spans[0], a.type.shown), (spans[1], b.type.shown)]
        raise LeeError(
            shapes.shapes_differ(span, "the operands of `@`", sides, f"{a.type.dims[-1]} is not {b.type.dims[inner]}")
        )
    try:
        with ctx.at(span):
            return ctx.builder.contract(a, b, spec=matmul_spec(a.type.dims, b.type.dims))
    except ShapeMismatch as error:
        sides = [(spans[0], a.type.shown), (spans[1], b.type.shown)]
        raise LeeError(shapes.shapes_differ(span, "the operands of `@`", sides, str(error))) from error


def matmul_spec(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> Contraction:
    """Batch axes align at the right, as in NumPy; a matrix on the right has none and meets any rank on the left."""
    sizes = {s for d in (*a, *b) for s in d.symbols}
    letters = (c for c in "ijkbcdefghlmnopqrstuvwxyz" if c not in sizes)
    row, column, inner = next(letters), next(letters), next(letters)
    lead = max(len(a) - 2, len(b) - 2, 0)
    batch = [next(letters) for _ in range(lead)]
    left_batch, right_batch = a[:-2] if len(a) > 1 else (), b[:-2] if len(b) > 1 else ()
    ranges = {}
    for name, axis in zip(batch, range(-lead, 0)):
        sides = [d[axis] for d in (left_batch, right_batch) if -axis <= len(d)]
        if len({*sides}) > 1:
            raise ShapeMismatch(f"{sides[0]} is not {sides[1]}", (sides[0], sides[1]))
        ranges[name] = sides[0]
    rows = [row] if len(a) > 1 else []
    columns = [column] if len(b) > 1 else []
    ranges |= {row: a[-2]} if rows else {}
    ranges |= {column: b[-1]} if columns else {}
    ranges[inner] = a[-1]
    left = [*batch[lead - len(left_batch) :], *rows, inner]
    right = [*batch[lead - len(right_batch) :], inner, *columns]
    out = [*batch, *rows, *columns]
    symbols = lambda ns: tuple(map(Dim.of, ns))  # noqa: E731
    return Contraction(
        (symbols(left), symbols(right)), symbols(out), tuple(ranges.items()), tuple(ranges[n] for n in out)
    )
