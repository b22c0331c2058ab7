"""`mean[i](f(x[i]))` where f takes whole rows, or a gradient is taken for every i (R23): a loop, an index a round.

Sums are carried from round to round; for other reductions the results are collected and reduced after the loop.
"""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, structure
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.ranges import mentions
from leec.elaborate.rounds import Collected, Loop
from leec.elaborate.scans import Carried, write_scan
from leec.elaborate.values import Instance
from leec.ir.graph import Value
from leec.syntax import nodes

DERIVATIVES = ("grad", "jvp", "hvp", "jacobian", "hessian")


def takes_rows(ctx: Context, node: object, index: str) -> bool:
    """Does an expression read rows at the index, or differentiate what depends on it?"""
    match node:
        case tuple():
            return any(takes_rows(ctx, n, index) for n in node)
        case nodes.Call(function=nodes.Name(id=name), args=args) if name in DERIVATIVES and mentions(args, {index}):
            return True
        case nodes.Subscript(value=nodes.Name(id=name), items=items) if mentions(items, {index}):
            array = ctx.names.get(name)
            axes = [i for i in items if not isinstance(i, nodes.Nothing)]
            whole = len(axes) < array.type.rank if isinstance(array, Value) else False
            return whole or any(isinstance(i, nodes.Slice) for i in axes)
        case nodes.Node():
            return any(takes_rows(ctx, getattr(node, f), index) for f in node.__match_args__)
    return False


def reduce_rows(ctx: Context, kind: str, body: nodes.Expr, index: str, size: Dim, span: Span) -> Value | Instance:
    """The reduction over one index of what the expression gives, be it an array or a point."""
    from leec.elaborate.expressions import evaluate

    loop = Loop(index, ctx.fresh_symbol(index), Dim.of(0), size, len(ctx.builder.equations))
    names, indices = ctx.names, ctx.indices
    ctx.names, ctx.indices = {**names, index: Dim.of(loop.symbol)}, None
    ctx.loops.append(loop)
    try:
        found = evaluate(ctx, body)
        parts = tensors(ctx, found, body.span)
    finally:
        ctx.loops.pop()
        ctx.names, ctx.indices = names, indices
    with ctx.at(span):
        sums = kind in ("sum", "mean") and all(v.type.is_float for v in parts.values())
        totals = summed(ctx, loop, parts, span) if sums else collected(ctx, loop, kind, parts, span)
        if sums and kind == "mean":
            totals = {p: ctx.builder.div(v, size) for p, v in totals.items()}
    return found.with_leaves(totals, place=None, is_vector=True) if isinstance(found, Instance) else totals[""]


def tensors(ctx: Context, found: object, span: Span) -> dict[str, Value]:
    """By path in a point; "" for an array."""
    from leec.elaborate.arithmetic import as_value

    if isinstance(found, Instance):
        return dict(found.parameters())
    if isinstance(found, tuple):
        raise LeeError(structure.wrong_kind(span, "a tuple", "one array, or a point"))
    value = as_value(ctx, found, span)
    with ctx.at(span):
        return {"": ctx.builder.fill(value, dims=(), dtype=value.type.dtype) if value.type.host else value}


def summed(ctx: Context, loop: Loop, parts: dict[str, Value], span: Span) -> dict[str, Value]:
    """The sums, which start as zeros before the loop."""
    b, body = ctx.builder, ctx.builder.equations[loop.mark :]
    del b.equations[loop.mark :]
    starts = [b.fill(0.0, dims=v.type.dims, dtype=v.type.dtype) for v in parts.values()]
    loop.mark = len(b.equations)
    b.equations += body
    places = [("total", path) for path in parts]
    heads = [Value(b.unique(".".join(filter(None, p))), v.type, span, True) for p, v in zip(places, parts.values())]
    ends = [b.add(head, v) for head, v in zip(heads, parts.values(), strict=True)]
    finals, _ = write_scan(ctx, loop, Carried(places, [], starts, heads, ends), False, span)
    return dict(zip(parts, finals, strict=True))


def collected(ctx: Context, loop: Loop, kind: str, parts: dict[str, Value], span: Span) -> dict[str, Value]:
    """The reductions of the collected rows."""
    from leec.elaborate.builtins import counted

    loop.collected |= {f"rows.{p}" if p else "rows": Collected(v, ((0, loop.symbol),), span) for p, v in parts.items()}
    _, arrays = write_scan(ctx, loop, Carried(), False, span)
    rows = [value for value, _ in arrays.values()]
    places = {"axis": 0} if kind in ("argmax", "argmin") else {"axes": (0,)}
    return {p: ctx.builder.emit(kind, (counted(ctx, kind, v),), places) for p, v in zip(parts, rows, strict=True)}
