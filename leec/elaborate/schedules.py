"""Schedules: a def that returns a def of t becomes one function of its numbers and t; an optimizer gets the rest (R31)."""

from __future__ import annotations

from leec.diagnostics import LeeError, structure
from leec.elaborate import arithmetic
from leec.elaborate.calls import bind, with_defaults
from leec.elaborate.context import Context
from leec.elaborate.statements import run_block
from leec.elaborate.values import FunctionValue, describe
from leec.ir import host
from leec.ir.graph import Function, Parameter, Result, Value
from leec.syntax import nodes
from leec.types import host as host_type


def schedule(self, node: nodes.Call) -> tuple[object, host.HostExpr]:
    """`warmup_cosine(3e-4, 100, steps)` as an argument: a function of t, closed over host numbers."""
    from leec.elaborate.hostexpr import host_arguments
    from leec.elaborate.look import look
    from leec.elaborate.structural import expression

    found = look(self, node.function)
    if not isinstance(found, FunctionValue):
        raise LeeError(structure.not_built(node.span, "this argument in a `train`"))
    declaration = found.declaration
    given, exprs = host_arguments(self, node)
    bound = bind(found.name, declaration.params, given, declaration.name.span)
    full = with_defaults(self.known, found.home, declaration.params, bound)
    lists = {n: v for n, (v, _) in full.items() if isinstance(v, tuple)}
    numbers = []
    for position, param in enumerate(declaration.params):
        if param.name.id in lists:
            continue
        key = position if position < len(node.args) else param.name.id
        numbers.append(exprs[key] if key in exprs else expression(full[param.name.id][0]))
    name = rate_function(self.session, found, lists, node)
    return found, host.Partial(name, tuple(numbers))


def rate_function(session, found: FunctionValue, lists: dict[str, tuple], node: nodes.Call) -> str:
    """The IR function (numbers.., t) -> rate, made once a declaration and what lists of numbers it is given."""
    memo = ("schedule", id(found.declaration), *lists.items())
    if memo in session.memo:
        return session.memo[memo]
    ctx = Context(session, found.home, "def")
    parameters = [enter(ctx, p.name.id, "float", p) for p in found.declaration.params if p.name.id not in lists]
    ctx.names.update(lists)
    returned = run_block(ctx, found.declaration.body)
    inner = returned.value if returned else None
    if not isinstance(inner, FunctionValue) or len(inner.declaration.params) != 1:
        raise LeeError(structure.wrong_kind(node.span, describe(inner), "a number, or a function of t"))
    body = ctx.child()
    body.names = dict(inner.captured)
    t = inner.declaration.params[0]
    parameters.append(enter(body, t.name.id, "int", t))
    rate = run_block(body, inner.declaration.body)
    if rate is None:
        raise LeeError(structure.no_return(inner.declaration.name.span, inner.name))
    value = arithmetic.as_value(ctx, rate.value, rate.span)
    name = session.unique(found.name, session.functions)
    doc = found.declaration.doc or inner.declaration.doc or ""
    session.functions[name] = Function(
        name,
        tuple(parameters),
        tuple(ctx.builder.equations),
        (Result(value.name, (value,)),),
        (),
        ctx.facts,
        (),
        doc,
        found.declaration.span,
    )
    session.memo[memo] = name
    return name


def enter(ctx: Context, name: str, dtype: str, param: nodes.Param) -> Parameter:
    ctx.names[name] = Value(ctx.builder.unique(name), host_type(dtype), param.name.span, True)
    return Parameter(name, (ctx.names[name],))
