"""`grad(E, v)` and lazy `where`: what the language says about derivatives at the place where they are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from leec.diagnostics import LeeError, Span, kinds, names, shapes
from leec.elaborate import arithmetic
from leec.elaborate.context import Context
from leec.elaborate.primitives import builtin
from leec.elaborate.values import Instance, describe
from leec.ir.graph import Equation, Value, rename
from leec.syntax import nodes


@builtin("grad", reads_nodes=True)
def _grad(ctx: Context, node: nodes.Call) -> object:
    """`grad(E, v)`: the derivative of a scalar by the current version of a variable: a tensor, or a vector of a model
    (R6).
    """
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


def tensors_of(ctx: Context, wrt: object, variable: Span, span: Span) -> list[Value]:
    """The tensors that a variable stands for. Raises LeeError for what has no derivative."""
    found = [v for _, v in wrt.parameters()] if isinstance(wrt, Instance) else [wrt]
    if not all(isinstance(v, Value) and v.type.is_float and not v.type.host for v in found):
        raise LeeError(kinds.no_gradient(span, variable.text, variable))
    return found


@builtin("jvp", "hvp", reads_nodes=True)
def _along(ctx: Context, node: nodes.Call) -> object:
    """`jvp(E, v, u)`, `hvp(E, v, u)`: how E changes as v moves along u, and how the gradient of E by v does."""
    from leec.elaborate.expressions import evaluate

    name = node.function.id
    if len(node.args) != 3 or node.keywords:
        raise LeeError(names.argument_count(node.span, name, "takes an expression, a variable and a direction"))
    objective, variable, direction = node.args
    if not isinstance(variable, (nodes.Name, nodes.Attribute)):
        raise LeeError(kinds.not_a_variable(variable.span))
    wrt, along = evaluate(ctx, variable), evaluate(ctx, direction)
    value = arithmetic.as_value(ctx, evaluate(ctx, objective), objective.span)
    tensors = tensors_of(ctx, wrt, variable.span, objective.span)
    way = directions(ctx, wrt, along, variable.span, direction.span)
    if name == "jvp":
        return forward(ctx, [value], tensors, way, variable.span, node.span)[0]
    slopes = differentiate(ctx, scalar(ctx, value, objective.span), tensors, variable.span, node.span)
    found = forward(ctx, slopes, tensors, way, variable.span, node.span)
    if not isinstance(wrt, Instance):
        return found[0]
    return wrt.with_leaves({p: d for (p, _), d in zip(wrt.parameters(), found)}, place=None, is_vector=True)


def directions(ctx: Context, wrt: object, along: object, variable: Span, span: Span) -> list[Value]:
    """The tensors of a direction, of the very dims of the variable. Raises LeeError where they differ."""
    wanted = dict(wrt.parameters()) if isinstance(wrt, Instance) else {"": wrt}
    given = dict(along.parameters()) if isinstance(along, Instance) else {"": arithmetic.as_value(ctx, along, span)}
    fits = wanted.keys() == given.keys() and all(
        given[p].type.rank == v.type.rank and all(map(partial(ctx.agree, span=span), given[p].type.dims, v.type.dims))
        for p, v in wanted.items()
    )
    if not fits:
        sides = [(variable, shown_type(wrt)), (span, shown_type(along))]
        raise LeeError(shapes.shapes_differ(span, "the variable and the direction", sides))
    return [arithmetic.coerce(ctx, given[p], v.type.dims) for p, v in wanted.items()]


def shown_type(value: object) -> str:
    return value.type.shown if isinstance(value, Value) else describe(value)


def inner(ctx: Context, slopes: Iterable[Value], way: Iterable[Value], span: Span) -> Value:
    """The sum of products of all entries."""
    total = None
    with ctx.at(span):
        for g, u in zip(slopes, way, strict=True):
            part = ctx.builder.sum(ctx.builder.mul(g, u), axes=tuple(range(g.type.rank)))
            total = part if total is None else ctx.builder.add(total, part)
    return total


def forward(
    ctx: Context, values: Iterable[Value], wrt: list[Value], way: list[Value], variable: Span, span: Span
) -> tuple[Value, ...]:
    """The derivatives along a way: what J^T w is to w, as that is linear in w. The way may depend on the variable."""
    values = list(values)
    with ctx.at(span):
        ws = [ctx.builder.fill(1.0, dims=v.type.dims, dtype=v.type.dtype, hint="w") for v in values]
    slopes = differentiate(ctx, inner(ctx, values, ws, span), wrt, variable, span)
    return differentiate(ctx, inner(ctx, slopes, way, span), ws, variable, span)


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
    way = on_the_way(ctx, value, set(wrt))
    if value not in wrt and not way:
        raise LeeError(kinds.no_gradient(span, variable.text, variable))
    value = computed_in_round(ctx, value, way, set(wrt))
    with ctx.at(span):
        results = ctx.builder.grad(value, *wrt)
    return ctx.rename_results(results, [f"d_{w.name}" for w in wrt])


def on_the_way(ctx: Context, value: Value, sources: set[Value]) -> list[Equation]:
    """The equations of float paths from the sources to the value; none where nothing leads there."""
    reached, passed = set(sources), []
    for equation in ctx.builder.equations:
        if any(a in reached for a in equation.args):
            passed.append(equation)
            reached |= {r for r in equation.results if r.type.is_float}
    needed, way = {value}, []
    for equation in reversed(passed if value in reached else []):
        if not needed.isdisjoint(equation.results):
            way.append(equation)
            needed |= reached.intersection(equation.args)
    return way[::-1]


def reaches(ctx: Context, value: Value, sources: set[Value]) -> bool:
    """Does any float path lead from the sources to the value?"""
    return value in sources or bool(on_the_way(ctx, value, sources))


def computed_in_round(ctx: Context, value: Value, way: list[Equation], wrt: set[Value]) -> Value:
    """In a loop the way may begin before it: then a round goes it again, as outside it nothing can be differentiated."""
    equations = ctx.builder.equations
    if not ctx.loops or not way or equations.index(way[0]) >= ctx.loops[-1].mark:
        return value
    read = {a for e in way for a in e.args} - wrt
    numbers = [e for e in equations[: ctx.loops[-1].mark] if not e.args and not read.isdisjoint(e.results)]
    here: dict[Value, Value] = {}
    for equation in (*numbers, *way):
        results = tuple(replace(r, name=ctx.builder.unique(r.name), named=False) for r in equation.results)
        equations.append(replace(rename(equation, here), results=results))
        here |= zip(equation.results, results, strict=True)
    return here[value]


@builtin("where", reads_nodes=True)
def _where(ctx: Context, node: nodes.Call) -> object:
    """`where(c, x, y)`: x where c holds, else y; with gradient exactly 0 through the branch not taken (R3)."""
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
