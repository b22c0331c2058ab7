"""Sizes that code turned out to depend on: who has to know the number, and what is elaborated again (R13)."""

from __future__ import annotations

from leec.diagnostics import LeeError, structure
from leec.dims import Dim
from leec.elaborate.context import Context, NeedStructural, Restart, Session
from leec.elaborate.members import hyper_symbols
from leec.elaborate.values import Distribution, FunctionValue, Instance, ListValue, Record
from leec.ir.graph import Value
from leec.syntax import nodes


def demand(demanded: set[str], need: NeedStructural, full: dict) -> None:
    """From now on the argument is known by its number; what is no number here, the caller has to know (R13)."""
    from leec.elaborate.calls import part

    value = part(full, need.symbol) if parameter_of(need.symbol, full) else None
    if isinstance(value, Value):
        raise NeedStructural(value.name, need.span) from need
    if isinstance(value, Dim) and value.constant is None:
        raise NeedStructural(sorted(value.symbols)[0], need.span) from need
    if need.symbol in demanded or value is None:
        raise LeeError(structure.needs_static(need.span, f"`{need.span.text}`")) from need
    demanded.add(need.symbol)


def restart_for_class(session: Session, subject: Instance | None, need: NeedStructural) -> None:
    """A size of the method's own class is needed as a number: elaborate everything again with it known."""
    if subject is not None and need.symbol in dict(hyper_symbols(subject)):
        session.structural.setdefault(("model", id(subject.spec.declaration)), set()).add(need.symbol)
        raise Restart(need.symbol)


def parameter_of(symbol: str, full: dict) -> str | None:
    """The parameter that a symbol stands for: `k`, or `sizes` for `sizes_0`."""
    if symbol in full and isinstance(full[symbol][0], (Dim, Value)):
        return symbol
    head = symbol.rpartition("_")[0]
    return (
        head
        if head in full and isinstance(full[head][0], (tuple, ListValue, Record, Distribution, FunctionValue))
        else None
    )


# ---- conditions that choose code


def structural_bool(ctx: Context, node: nodes.Expr) -> bool:
    from leec.elaborate.expressions import evaluate

    value = evaluate(ctx, node)
    if not isinstance(value, bool):
        known_sizes(ctx, node)
        raise LeeError(structure.needs_static(node.span, f"the condition `{node.span.text}`"))
    return value


def known_sizes(ctx: Context, condition: nodes.Expr) -> None:
    """A comparison of sizes that chooses members, or where a function ends that calls itself, is known when compiling."""
    from leec.elaborate.expressions import evaluate, structural_int

    if not isinstance(condition, nodes.Compare):
        return
    operands = [(evaluate(ctx, e), e.span) for e in (condition.first, *(e for _, e in condition.rest))]
    if all(isinstance(v, Dim) for v, _ in operands):
        for size, span in operands:
            structural_int(ctx, size, span)
