"""`require`: what it proves, what it tells the dim algebra, and what is left for a check at entry (decision 5).

What a function requires of sizes is known of it: a call where it never holds is an error at the call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from leec.diagnostics import LeeError, Span, structure
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.expressions import evaluate
from leec.ir.graph import RELATIONS, Check, Function
from leec.syntax import nodes


def require(ctx: Context, node: nodes.Require) -> None:
    """A fact: proven, contradicted, used by the dim algebra, or checked at entry."""
    for condition in conjuncts(node.condition):
        if of_sizes(ctx, condition):
            continue
        value = evaluate(ctx, condition)
        if value is False:
            raise LeeError(structure.require_fails(condition.span, condition.span.text))
        if value is not True:
            ctx.requirements.append((value, condition.span))


def conjuncts(node: nodes.Expr) -> Iterable[nodes.Expr]:
    if isinstance(node, nodes.Logic) and node.op == "and":
        for item in node.items:
            yield from conjuncts(item)
    else:
        yield node


def of_sizes(ctx: Context, node: nodes.Expr) -> bool:
    """Comparisons of sizes alone: learned, or left for entry; False for any other condition."""
    if not isinstance(node, nodes.Compare) or any(op not in RELATIONS for op, _ in node.rest):
        return False
    left = evaluate(ctx, node.first)
    for op, right_node in node.rest:
        right = evaluate(ctx, right_node)
        if not isinstance(left, Dim) or not isinstance(right, Dim):
            return False
        check = Check(left, right, node.span.text, node.span, op)
        holds = check.holds(ctx.facts)
        if holds is False:
            raise LeeError(structure.require_fails(node.span, node.span.text))
        if holds is None:
            learn(ctx, node, check)
        left = right
    return True


def learn(ctx: Context, node: nodes.Compare, check: Check) -> None:
    """`require d % m == r` tells the dim algebra that d - r is a multiple of m, `a == b` that they are the same."""
    ctx.checks.append(check)
    if check.relation != "==":
        return
    if isinstance(node.first, nodes.Binary) and node.first.op == "%" and check.right.constant is not None:
        num, den = evaluate(ctx, node.first.left), evaluate(ctx, node.first.right)
        ctx.facts = ctx.facts.with_remainder(num, den, check.right.constant)
    elif check.left.symbol or check.right.symbol:
        pair = (check.left, check.right) if check.left.symbol else (check.right, check.left)
        ctx.facts = ctx.facts.with_equal(*pair)


# ---- at calls


def meet(ctx: Context, function: Function, binding: Mapping[str, Dim], span: Span) -> None:
    """What a callee requires of sizes: an error where it never holds, passed on where a caller of this one decides.

    Raises LeeError at the call, with the requirement beside it.
    """
    for duty in ctx.session.duties.get(function.name, function.checks):
        here = duty.substitute(binding)
        symbols = duty.left.symbols | duty.right.symbols
        if here.holds() is False:
            known = [f"`{s}` is {binding[s]}" for s in sorted(symbols) if s in binding]
            name = function.owner or function.name
            raise LeeError(structure.requirement_not_met(span, name, duty.message, known, duty.span))
        if here.holds() is None and here.left.symbols | here.right.symbols <= ctx.rigid:
            ctx.inherited.append(here)


def remember(ctx: Context, function: Function) -> None:
    """What callers of a finished function have to meet: what it checks itself, and what its callees passed on."""
    ctx.session.duties[function.name] = tuple(dict.fromkeys((*ctx.checks, *ctx.inherited)))
