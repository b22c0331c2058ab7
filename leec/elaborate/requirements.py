"""`require`: what it proves, what it tells the dim algebra, and what is left for a check at entry (decision 5)."""

from __future__ import annotations

from leec.diagnostics import LeeError, structure
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.expressions import evaluate
from leec.ir.graph import Check
from leec.syntax import nodes


def require(ctx: Context, node: nodes.Require) -> None:
    """A fact: proven, contradicted, used by the dim algebra, or checked at entry."""
    for condition in (
        node.condition.items
        if isinstance(node.condition, nodes.Logic) and node.condition.op == "and"
        else (node.condition,)
    ):
        if not learn(ctx, condition):
            value = evaluate(ctx, condition)
            if value is False:
                raise LeeError(structure.require_fails(condition.span, condition.span.text))
            if value is not True:
                ctx.requirements.append((value, condition.span))


def learn(ctx: Context, node: nodes.Expr) -> bool:
    """`require d % m == r` tells the dim algebra that d - r is a multiple of m (decision 5)."""
    match node:
        case nodes.Compare(first=nodes.Binary(op="%", left=left, right=right), rest=(("==", rest),)):
            num, den, remainder = (evaluate(ctx, e) for e in (left, right, rest))
            if (
                isinstance(num, Dim)
                and isinstance(den, Dim)
                and isinstance(remainder, Dim)
                and remainder.constant is not None
            ):
                if num.constant is None or den.constant is None:
                    ctx.facts = ctx.facts.with_remainder(num, den, remainder.constant)
                    return True
        case nodes.Compare(first=first, rest=(("==", right),)):
            left, right = evaluate(ctx, first), evaluate(ctx, right)
            if (
                isinstance(left, Dim)
                and isinstance(right, Dim)
                and ctx.equal(left, right) is None
                and (left.symbol or right.symbol)
            ):
                pair = (left, right) if left.symbol else (right, left)
                ctx.facts = ctx.facts.with_equal(*pair)
                ctx.checks.append(Check(left, right, node.span.text, node.span))
                return True
    return False
