"""`for t in time:` in a def is a recurrence (R14): what a round changes is carried, what it stores at t is collected.

A round is elaborated with its carries as inputs, again whenever it turned out that more is carried, or that a carry is
of another type; then its equations become a function of their own and the loop one equation, `scan`.
"""

from __future__ import annotations

from dataclasses import dataclass

from leec.diagnostics import LeeError, kinds, structure
from leec.dims import Dim
from leec.elaborate.arithmetic import elementwise
from leec.elaborate.binding import bound_names
from leec.elaborate.carries import (
    Carry,
    as_tensor,
    carries_of,
    changed_models,
    end_of,
    entered,
    fitted,
    head_name,
    is_carried,
    paths_of,
    widened,
)
from leec.elaborate.context import Context, WrittenOut
from leec.elaborate.rounds import Loop, note
from leec.elaborate.scans import Carried, write_scan
from leec.elaborate.values import describe
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import TensorType

# What else than variables is carried, by words for it: the first that no variable of the spec is called.
STOPPED = ("stopped", "broken_off", "ended", "left_off")
GOING = ("going", "another_round", "goes_on", "not_over")


@dataclass(frozen=True)
class Rounds:
    """What is repeated: over positions, or while a condition holds (then `length` is None)."""

    node: nodes.For | nodes.While
    variable: str | None
    first: Dim
    length: Dim | None
    reverse: bool = False

    @property
    def condition(self) -> nodes.Expr | None:
        return self.node.condition if isinstance(self.node, nodes.While) else None


def over_positions(ctx: Context, node: nodes.For, first: Dim, length: Dim, reverse: bool) -> None:
    """`for t in first..last`"""
    if not isinstance(node.target, nodes.Name):
        raise LeeError(structure.cannot_unpack(node.target.span, 2, "one number"))
    recurrence(ctx, Rounds(node, node.target.id, first, length, reverse))


def while_loop(ctx: Context, node: nodes.While) -> None:
    """`while condition:`; the condition is carried, so that a round ends with what the next one begins with."""
    recurrence(ctx, Rounds(node, None, Dim.of(0), None))


def recurrence(ctx: Context, rounds: Rounds) -> None:
    """Elaborate the loop and bind what it leaves: the last carries, and the collected rows."""
    node, before, types = rounds.node, dict(ctx.names), {}
    changed = {(n, None) for n in bound_names_of(node.body) & before.keys() if is_carried(before[n])}
    while True:
        carries = [c for n, path in sorted(changed, key=str) for c in carries_of(ctx, before, n, path, types, node)]
        state = ctx.snapshot()
        now = one_round(ctx, rounds, before, carries)
        more = changed_models(before, ctx.names, changed)
        wider = widened(carries, now.ends)
        if not more and not wider:
            break
        ctx.restore(state)
        changed |= more
        types |= wider
    states = [k for k, c in enumerate(carries) if (c.name, c.path) in changed and c.path is not None]
    places = [*((c.name, c.path or "") for c in carries), *now.flags]
    ends = [fitted(ctx, c, end, node.span) for c, end in zip(carries, now.ends)]
    ends = [*(stopping(ctx, now, ends, node) if now.stop is not None else ends), *now.ends[len(carries) :]]
    ctx.ended |= ctx.names.keys() - before.keys()
    ctx.names = before
    finals, arrays = write_scan(
        ctx, now.loop, Carried(places, states, now.starts, now.heads, ends), rounds.reverse, node.span
    )
    ctx.names |= entered(before, carries, finals)
    for name, (value, rest) in arrays.items():
        if rest.axes:
            note(ctx, ctx.loops[-1], name, rest)
        else:
            ctx.names[name] = value


@dataclass
class Round:
    """An elaborated round: the carries before the loop, as the round gets them, and as it leaves them."""

    loop: Loop
    starts: list[Value]
    heads: list[Value]
    ends: list[Value]
    stop: Value | None  # whether the round broke off
    flags: list[tuple[str, str]]  # what else is carried: whether a round broke off, whether there is another


def bound_names_of(body: tuple[nodes.Stmt, ...]) -> set[str]:
    return set().union(*map(bound_names, body))


def one_round(ctx: Context, rounds: Rounds, before: dict, carries: list[Carry]) -> Round:
    """Elaborate the body once."""
    node, variable = rounds.node, rounds.variable
    ctx.names = dict(before)  # an attempt with narrower carries may have left its own
    starts = [as_tensor(ctx, c, node) for c in carries]
    stopped, goes = start_of_stops(ctx, node), truth_of(ctx, rounds.condition)
    taken = {head_name(c) for c in carries}
    named = ((STOPPED, stopped), (GOING, goes))
    flags = {next(n for n in names if n not in taken): v for names, v in named if v is not None}
    loop = Loop(
        variable, ctx.fresh_symbol(variable or "round"), rounds.first, rounds.length, len(ctx.builder.equations)
    )
    heads = [Value(ctx.builder.unique(head_name(c)), s.type, node.span, True) for c, s in zip(carries, starts)]
    going = [] if goes is None else [Value(ctx.builder.unique("going"), goes.type, node.span, True)]
    loop.heads = {*heads, *going}
    ctx.names = {**before, **entered(before, carries, heads)}
    if variable:
        ctx.names[variable] = Dim.of(loop.symbol)
    ctx.loops.append(loop)
    try:
        with ctx.on_condition(False):
            stop = run_round(ctx, node.body)
        if any(paths_of(ctx.names.get(n)) != paths_of(before[n]) for n in bound_names_of(node.body) & before.keys()):
            raise WrittenOut(loop.symbol)  # of another structure, as a tuple that grows
        ends = [end_of(ctx, c, node) for c in carries]
        ends += [truth_of(ctx, rounds.condition)] * len(going)
    finally:
        ctx.loops.pop()
    return Round(loop, [*starts, *flags.values()], [*heads, *going], ends, stop, [(n, "") for n in flags])


def truth_of(ctx: Context, condition: nodes.Expr | None) -> Value | None:
    """A run-time condition as an array of no axes."""
    from leec.elaborate.expressions import evaluate

    if condition is None:
        return None
    found = evaluate(ctx, condition)
    if isinstance(found, bool):
        found = ctx.builder.lift(found)
    if not isinstance(found, Value) or found.type.dtype != "bool" or found.type.rank:
        raise LeeError(kinds.needs_bool(condition.span, "the condition", describe(found)))
    with ctx.at(condition.span):
        return ctx.builder.fill(found, dims=(), dtype="bool") if found.type.host else found


def start_of_stops(ctx: Context, node: nodes.For | nodes.While) -> Value | None:
    """No round has broken off before the first; None for a loop without `break`."""
    with ctx.at(node.span):
        return ctx.builder.fill(False, dims=(), dtype="bool") if any(map(is_stop, node.body)) else None


def run_round(ctx: Context, body: tuple[nodes.Stmt, ...]) -> Value | None:
    """The statements of a round; the condition under which it broke off, if it may."""
    from leec.elaborate.statements import merge, run_block

    position = next((k for k, s in enumerate(body) if is_stop(s)), None)
    if run_block(ctx, body[:position]) is not None:
        raise LeeError(structure.not_built(body[-1].span, "a `return` inside a loop"))
    if position is None:
        return None
    ((condition, leaving),) = body[position].branches
    found = truth_of(ctx, condition)
    here = dict(ctx.names)
    run_block(ctx, leaving[:-1])
    left, ctx.names = ctx.names, dict(here)
    with ctx.on_condition():
        later = run_round(ctx, body[position + 1 :])
    spans = (condition.span,) * 3
    choose = lambda a, b: elementwise(ctx, "select", "if", (found, a, b), condition.span, spans)  # noqa: E731
    ctx.names = {n: merge(choose, left[n], v) if n in left else v for n, v in ctx.names.items()}
    with ctx.at(condition.span):
        return found if later is None else ctx.builder.logical_or(found, later)


def is_stop(node: nodes.Stmt) -> bool:
    """`if e: ..; break`"""
    return (
        isinstance(node, nodes.If)
        and not node.otherwise
        and len(node.branches) == 1
        and isinstance(node.branches[0][1][-1], nodes.Break)
    )


def stopping(ctx: Context, now: Round, ends: list[Value], node: nodes.For | nodes.While) -> list[Value]:
    """After a round that broke off nothing changes any more: a carry of its own says so (R15)."""
    with ctx.at(node.span):
        b = ctx.builder
        done = Value(b.unique("stopped"), TensorType("bool"), node.span, True)
        ends = [b.select(done, head, end) for head, end in zip(now.heads, ends)] + [b.logical_or(done, now.stop)]
    now.heads.insert(len(ends) - 1, done)
    return ends
