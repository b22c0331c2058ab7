"""Where an index gets its range (R2): explicit, identity uses, solved affine uses, or the dims that are re-defined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from leec.diagnostics import LeeError, Span, shapes
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.entries import _coefficient, symbol
from leec.ir.graph import Value
from leec.syntax import nodes


@dataclass(frozen=True)
class Use:
    """An affine subscript of an axis: `size` is the axis, `guarded` whether a `where` stands around it."""

    subscript: Dim
    size: Dim
    guarded: bool
    span: Span


def mentions(node: object, names: set[str]) -> bool:
    """Does any of the names occur in the expression?"""
    if isinstance(node, nodes.Name):
        return node.id in names
    if isinstance(node, nodes.Attribute):
        return mentions(node.value, names)
    if isinstance(node, tuple):
        return any(mentions(n, names) for n in node)
    if isinstance(node, nodes.Node):
        return any(mentions(getattr(node, f), names) for f in node.__match_args__)
    return False


def affine(ctx: Context, node: nodes.Expr, names: set[str]) -> Dim | None:
    """The subscript as a polynomial over index symbols and sizes, if it is written so."""
    from leec.elaborate.expressions import evaluate

    match node:
        case nodes.Name(id=name) if name in names:
            return Dim.of(symbol(name))
        case nodes.Binary(op="+" | "-" | "*" as op, left=left, right=right):
            a, b = affine(ctx, left, names), affine(ctx, right, names)
            if a is None or b is None:
                return None
            return a + b if op == "+" else a - b if op == "-" else a * b
        case nodes.Unary(op="-", operand=operand):
            found = affine(ctx, operand, names)
            return None if found is None else -found
        case nodes.Number() | nodes.Name() | nodes.Attribute() if not mentions(node, names):
            value = evaluate(ctx, node)
            return value if isinstance(value, Dim) else None
    return None


def uses(ctx: Context, node: object, names: set[str], guarded: bool = False) -> Iterator[Use]:
    """Every affine subscript in an expression that holds one of the names."""
    if isinstance(node, tuple):
        for child in node:
            yield from uses(ctx, child, names, guarded)
        return
    if not isinstance(node, nodes.Node):
        return
    if (
        isinstance(node, nodes.Call)
        and isinstance(node.function, nodes.Name)
        and node.function.id == "where"
        and len(node.args) == 3
    ):
        yield from uses(ctx, node.args[0], names, guarded)
        yield from uses(ctx, node.args[1:], names, True)
        return
    if isinstance(node, nodes.Subscript):
        yield from _subscript_uses(ctx, node, names, guarded)
    for slot in node.__match_args__:
        yield from uses(ctx, getattr(node, slot), names, guarded)


def _subscript_uses(ctx: Context, node: nodes.Subscript, names: set[str], guarded: bool) -> Iterator[Use]:
    from leec.elaborate.expressions import evaluate

    if not mentions(node.items, names) or mentions(node.value, names | set(ctx.indices.ranges if ctx.indices else ())):
        return
    if isinstance(node.value, nodes.Name) and node.value.id in REDUCERS and node.value.id not in ctx.names:
        return
    value = evaluate(ctx, node.value)
    if not isinstance(value, Value):
        return
    axis = 0
    for item in node.items:
        if isinstance(item, nodes.Ellipsis):
            axis = value.type.rank - (len(node.items) - 1 - node.items.index(item))
            continue
        if isinstance(item, nodes.Nothing):
            continue
        if (
            axis < value.type.rank
            and isinstance(item, (nodes.Name, nodes.Binary, nodes.Unary))
            and mentions(item, names)
        ):
            subscript = affine(ctx, item, names | set(ctx.indices.ranges if ctx.indices else ()))
            if subscript is not None:
                yield Use(subscript, value.type.dims[axis], guarded, item.span)
        axis += 1


REDUCERS = frozenset({"sum", "mean", "max", "min", "prod", "any", "all", "logsumexp", "argmax", "argmin"})


def infer(
    ctx: Context, wanted: dict[str, Dim | None], node: object, spans: dict[str, Span], old: dict[str, Dim]
) -> dict[str, Dim]:
    """Ranges for all the wanted indices; those given explicitly are not None. Raises LeeError where nothing says."""
    inner = {n: d for n, d in inner_indices(ctx, node).items() if n not in wanted}
    asked, wanted = wanted, {**inner, **wanted}
    names = set(wanted)
    found = {n: d for n, d in wanted.items() if d is not None}
    every = list(uses(ctx, node, names)) if len(found) < len(wanted) else []
    for guarded in (False, True):
        for use in every:
            name = (use.subscript.symbol or "@")[1:]
            if name not in names or use.guarded != guarded or wanted.get(name) is not None:
                continue
            if name not in found:
                found[name] = use.size
            elif not guarded and not ctx.agree(found[name], use.size, use.span):
                raise LeeError(shapes.ranges_differ(use.span, name, str(found[name]), str(use.size)))
    outer = ctx.indices.ranges if ctx.indices else {}
    progress = True
    while progress:
        progress = False
        for use in every:
            solved = None if use.guarded else _solve(use, names, {**outer, **found})
            if solved and solved[0] not in found:
                found[solved[0]], progress = solved[1], True
    for name in asked.keys() - found.keys():
        if name not in old:
            raise LeeError(shapes.no_range(spans[name], name))
        found[name] = old[name]
    return {n: found[n] for n in asked}


def inner_indices(ctx: Context, node: object) -> dict[str, Dim | None]:
    """The index variables that reductions inside an expression bind, with the explicit ranges that are sizes."""
    from leec.elaborate.expressions import evaluate

    found: dict[str, Dim | None] = {}
    if isinstance(node, nodes.Call) and isinstance(node.function, nodes.Subscript):
        head = node.function
        if isinstance(head.value, nodes.Name) and head.value.id in REDUCERS and head.value.id not in ctx.names:
            for item in head.items:
                if isinstance(item, nodes.Name):
                    found[item.id] = None
                elif isinstance(item, nodes.IndexIn):
                    found[item.name.id] = None
                    if isinstance(item.range, (nodes.Name, nodes.Number, nodes.Binary, nodes.Attribute)):
                        bound = evaluate(ctx, item.range)
                        found[item.name.id] = bound if isinstance(bound, Dim) else None
    children = (
        node
        if isinstance(node, tuple)
        else [getattr(node, f) for f in node.__match_args__] if isinstance(node, nodes.Node) else ()
    )
    for child in children:
        found |= inner_indices(ctx, child)
    return found


def _solve(use: Use, names: set[str], known: dict[str, Dim]) -> tuple[str, Dim] | None:
    """The one index without a range, if all its subscripts from 0 up to a bound lie inside the axis."""
    inside = [n for n in (s[1:] for s in sorted(use.subscript.symbols) if s.startswith("@"))]
    unknown = [n for n in inside if n in names and n not in known]
    if len(unknown) != 1:
        return None
    step = _coefficient(use.subscript, symbol(unknown[0]))
    rest = use.subscript - step * Dim.of(symbol(unknown[0]))
    reach = rest.substitute({symbol(n): known[n] - 1 for n in inside if n in known})
    first = rest.substitute({symbol(n): Dim.of(0) for n in inside})
    if first != 0 and (first.constant is None or first.constant < 0):
        return None
    return unknown[0], (use.size - 1 - reach) // step + 1
