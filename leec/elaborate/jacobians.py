"""`jacobian(E, v)` and `hessian(E, v)`: a loop over the entries of what is differentiated, a row of the matrix a round."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, kinds, names
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.context import Context
from leec.elaborate.gradients import computed_in_round, differentiate, on_the_way, scalar, tensors_of
from leec.elaborate.primitives import builtin
from leec.elaborate.rounds import Collected, Loop
from leec.elaborate.scans import Carried, write_scan
from leec.elaborate.values import Instance
from leec.ir.graph import Value
from leec.syntax import nodes


@builtin("jacobian", "hessian", reads_nodes=True)
def _matrix(ctx: Context, node: nodes.Call) -> Value:
    """`jacobian(E, v)`, `hessian(E, v)`: the first, the second derivatives: the dims of E, then those of v; a point
    stands for the vector of its parameters (R32).
    """
    from leec.elaborate.expressions import evaluate

    name = node.function.id
    if len(node.args) != 2 or node.keywords:
        raise LeeError(names.argument_count(node.span, name, "takes an expression and a variable"))
    objective, variable = node.args
    if not isinstance(variable, (nodes.Name, nodes.Attribute)):
        raise LeeError(kinds.not_a_variable(variable.span))
    wrt = evaluate(ctx, variable)
    value = arithmetic.as_value(ctx, evaluate(ctx, objective), objective.span)
    tensors = tensors_of(ctx, wrt, variable.span, objective.span)
    if name == "hessian":
        slopes = differentiate(ctx, scalar(ctx, value, objective.span), tensors, variable.span, node.span)
        with ctx.at(node.span):
            value = ctx.builder.flatten(*slopes) if isinstance(wrt, Instance) else slopes[0]
    return jacobian(ctx, value, tensors, isinstance(wrt, Instance), variable.span, node.span)


def jacobian(ctx: Context, value: Value, wrt: list[Value], flat: bool, variable: Span, span: Span) -> Value:
    """The gradient of every entry by the tensors, of which there may be several only if they are made a vector."""
    b, dims, size = ctx.builder, value.type.dims, value.type.size
    with ctx.at(span):
        vector = b.reshape(value, dims=(size,)) if value.type.rank != 1 else value
    loop = Loop("row", ctx.fresh_symbol("row"), Dim.of(0), size, len(b.equations))
    ctx.loops.append(loop)
    try:
        vector = computed_in_round(ctx, vector, on_the_way(ctx, vector, set(wrt)), set(wrt))
        with ctx.at(span):
            here = b.eq(b.iota(dims=(size,), axis=0), b.size(Dim.of(loop.symbol)))
            entry = b.sum(b.select(here, vector, 0.0), axes=(0,))
            slopes = differentiate(ctx, entry, wrt, variable, span)
            row = b.flatten(*slopes) if flat else slopes[0]
    finally:
        ctx.loops.pop()
    loop.collected["rows"] = Collected(row, ((0, loop.symbol),), span)
    _, arrays = write_scan(ctx, loop, Carried(), False, span)
    rows, wanted = arrays["rows"][0], (*dims, *row.type.dims)
    with ctx.at(span):
        return rows if rows.type.dims == wanted else b.reshape(rows, dims=wanted)
