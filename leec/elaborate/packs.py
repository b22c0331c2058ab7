"""Packs (decisions 4, 46): the axes that `..` of a type stands for are seen as one, and given back in results."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, shapes
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.signature import read_pattern
from leec.ir.graph import Value
from leec.syntax import nodes


def flatten_packs(ctx: Context, declaration: nodes.Function, full: dict) -> tuple[dict, tuple[Dim, ...] | None]:
    """Arguments whose type holds a pack, with those axes made one; and the dims that a result gets back."""
    packs: tuple[Dim, ...] | None = None
    out = dict(full)
    for param in declaration.params:
        pattern = read_pattern(param.type) if param.type is not None else None
        value, span = full[param.name.id]
        if pattern is None or pattern.pack is None or not isinstance(value, Value) or value.type.host:
            continue
        fixed = len(pattern.items) - 1
        count = value.type.rank - fixed
        if count < 0:
            raise LeeError(
                shapes.argument_shape(
                    span, declaration.name.id, param.name.id, value.type.shown, pattern.node.span.text, param.type.span
                )
            )
        lead = value.type.dims[pattern.pack : pattern.pack + count]
        if packs is not None and len(lead) == len(packs):
            for a, b in zip(packs, lead):
                ctx.agree(a, b, span)
        packs = lead if packs is None else packs
        total = Dim.of(1)
        for dim in lead:
            total = total * dim
        dims = (*value.type.dims[: pattern.pack], total, *value.type.dims[pattern.pack + count :])
        with ctx.at(span):
            out[param.name.id] = (value if count == 1 else ctx.builder.reshape(value, dims=dims), span)
    return out, packs


def restore_pack(ctx: Context, value: Value, position: int | None, packs: tuple[Dim, ...] | None, span: Span) -> Value:
    if packs is None or len(packs) == 1 or position is None:
        return value
    dims = value.type.dims
    with ctx.at(span):
        return ctx.builder.reshape(value, dims=(*dims[:position], *packs, *dims[position + 1 :]))
