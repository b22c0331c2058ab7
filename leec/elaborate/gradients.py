"""`grad(E, v)` and lazy `where`: what the language says about derivatives at the place where they are written."""

from __future__ import annotations

from leec.diagnostics import LeeError, Span, kinds, names
from leec.elaborate import arithmetic
from leec.elaborate.context import Context
from leec.elaborate.primitives import builtin
from leec.elaborate.values import Instance, describe
from leec.ir.graph import Value
from leec.syntax import nodes


@builtin("grad", reads_nodes=True)
def _grad(ctx: Context, node: nodes.Call) -> object:
    """The derivative of a scalar by the current version of a variable: a tensor, or a vector of a model (R6)."""
    from leec.elaborate.expressions import evaluate

    if len(node.args) != 2 or node.keywords:
        raise LeeError(names.argument_count(node.span, "grad", "takes an expression and a variable"))
    objective, variable = node.args
    if not isinstance(variable, (nodes.Name, nodes.Attribute)):
        raise LeeError(kinds.not_a_variable(variable.span))
    wrt = evaluate(ctx, variable)
    value = scalar(ctx, evaluate(ctx, objective), objective.span)
    if isinstance(wrt, Instance):
        return gradient_of_model(ctx, value, wrt, variable, node.span)
    if not isinstance(wrt, Value) or not wrt.type.is_float or wrt.type.host:
        raise LeeError(kinds.no_gradient(objective.span, variable.span.text, variable.span))
    (result,) = differentiate(ctx, value, [wrt], variable.span, node.span)
    return result


def scalar(ctx: Context, value: object, span: Span) -> Value:
    """The objective as a float scalar. Raises LeeError for anything else."""
    value = arithmetic.as_value(ctx, value, span)
    if value.type.rank or not value.type.is_float:
        raise LeeError(kinds.not_scalar(span, "what is differentiated", describe(value)))
    return value


def gradient_of_model(ctx: Context, value: Value, model: Instance, variable: nodes.Expr, span: Span) -> Instance:
    paths = [p for p, _ in model.parameters()]
    found = differentiate(ctx, value, [model.leaves[p] for p in paths], variable.span, span)
    return model.with_leaves(dict(zip(paths, found)), place=None, is_vector=True)


def differentiate(ctx: Context, value: Value, wrt: list[Value], variable: Span, span: Span) -> tuple[Value, ...]:
    """The request that the differentiate pass fulfils. Raises LeeError where nothing depends on any of wrt."""
    if not reaches(ctx, value, set(wrt)):
        raise LeeError(kinds.no_gradient(span, variable.text, variable))
    with ctx.at(span):
        results = ctx.builder.grad(value, *wrt)
    return ctx.rename_results(results, [f"d_{w.name}" for w in wrt])


def reaches(ctx: Context, value: Value, sources: set[Value]) -> bool:
    """Does any float path lead from the sources to the value?"""
    reached = set(sources)
    for equation in ctx.builder.equations:
        if any(a in reached for a in equation.args):
            reached |= {r for r in equation.results if r.type.is_float}
    return value in reached


@builtin("where", reads_nodes=True)
def _where(ctx: Context, node: nodes.Call) -> object:
    """`where(c, a, b)`: lazy by entry inside a definition, and gradient exactly 0 through the branch not taken (R3)."""
    from leec.elaborate.expressions import evaluate

    if len(node.args) != 3 or node.keywords:
        raise LeeError(names.argument_count(node.span, "where", "takes a condition and two values"))
    condition = evaluate(ctx, node.args[0])
    if isinstance(condition, bool):
        return evaluate(ctx, node.args[1] if condition else node.args[2])
    dtype = getattr(getattr(condition, "type", None), "dtype", None)
    if dtype != "bool" and not isinstance(condition, Instance):
        raise LeeError(kinds.needs_bool(node.args[0].span, "the condition of `where`", describe(condition)))
    pointwise = isinstance(condition, Instance)
    with guarded(ctx, None if pointwise else condition, node.span):
        then = evaluate(ctx, node.args[1])
    other = None if pointwise else arithmetic.invert(ctx, condition, node.args[0].span)
    with guarded(ctx, other, node.span):
        otherwise = evaluate(ctx, node.args[2])
    spans = tuple(a.span for a in node.args)
    if any(isinstance(v, Instance) for v in (condition, then, otherwise)):
        select = lambda *vs: arithmetic.elementwise(ctx, "select", "where", vs, node.span, spans)  # noqa: E731
        return arithmetic.on_points(ctx, select, (condition, then, otherwise), node.span)
    return arithmetic.elementwise(ctx, "select", "where", (condition, then, otherwise), node.span, spans)


class guarded:
    """Inside, operands of delicate operations take no gradient where the branch is not taken; subscripts are clamped."""

    def __init__(self, ctx: Context, condition: object, span: Span):
        self.ctx, self.condition, self.span = ctx, condition, span

    def __enter__(self):
        from dataclasses import replace

        self.before = self.ctx.guard, self.ctx.indices
        self.ctx.guard = self.both(self.ctx.guard)
        if self.ctx.indices:
            self.ctx.indices = replace(self.ctx.indices, guarded=True)

    def both(self, outer: object) -> object:
        """A branch inside a branch is taken where both are; of sizes that differ the inner condition alone counts."""
        if outer is None or self.condition is None:
            return self.condition if outer is None else outer
        try:
            return arithmetic.elementwise(
                self.ctx, "logical_and", "where", (outer, self.condition), self.span, (self.span,) * 2
            )
        except LeeError:
            return self.condition

    def __exit__(self, *error):
        self.ctx.guard, self.ctx.indices = self.before
