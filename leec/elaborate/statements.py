"""Statements of defs, methods, examples and updates; one function a kind of node.

A statement in error poisons the names that it would have bound, so that one mistake is reported once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from leec.diagnostics import LeeError, Span, kinds, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic, points
from leec.elaborate.binding import assign_field, bind_target, bound_names, filled, stopped, target_names
from leec.elaborate.callers import told
from leec.elaborate.context import Context
from leec.elaborate.define import add_entries, augment_places, define_entries, left_indices, name_value
from leec.elaborate.demands import known_sizes
from leec.elaborate.distributions import draw
from leec.elaborate.expressions import evaluate
from leec.elaborate.forloops import for_loop
from leec.elaborate.ranges import mentions
from leec.elaborate.recurrences import while_loop
from leec.elaborate.requirements import require
from leec.elaborate.signature import PACK, TypePattern, declare_dims, match_type, read_pattern
from leec.elaborate.values import (
    POISON,
    Distribution,
    FunctionValue,
    Instance,
    Place,
    Record,
    describe,
)  # fmt: skip
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import ShapeMismatch, TensorType


@dataclass(frozen=True)
class Returned:
    value: object
    span: Span


def run_block(ctx: Context, body: tuple[nodes.Stmt, ...]) -> Returned | None:
    """Elaborate statements in order; what the first `return` gives, if one is reached."""
    failed = False
    for statement in body:
        ctx.begun = len(ctx.builder.equations)
        try:
            returned = _STATEMENT[type(statement)](ctx, statement)
        except (LeeError, ShapeMismatch) as error:
            told(ctx.session, error, statement.span)
            failed = True
            look_inside(ctx, statement, bool(getattr(error, "diagnostics", True)))
            ctx.names |= dict.fromkeys(bound_names(statement), POISON)
            continue
        if returned is not None:
            if failed:
                break
            return returned
    if failed:
        raise LeeError()
    return None


def look_inside(ctx: Context, statement: nodes.Stmt, of_head: bool) -> None:
    """Tell the mistakes in the blocks of a statement with a mistake; of one in a block the others may be unseen."""
    match statement:
        case nodes.If(branches=branches, otherwise=otherwise):
            blocks, bound = [*(block for _, block in branches), otherwise], set()
        case nodes.For(target=target, body=body) if of_head:
            blocks, bound = [body], target_names(target)
        case _:
            return
    before = dict(ctx.names)
    for block in blocks:
        ctx.names = before | dict.fromkeys(bound, POISON)
        with suppress(LeeError):
            run_block(ctx, tuple(s for s in block if not isinstance(s, nodes.Break)))
    ctx.names = before


def _assign(ctx: Context, node: nodes.Assign) -> None:
    match node.target:
        case nodes.Subscript():
            define_entries(ctx, node.target, node.value)
        case nodes.Attribute():
            assign_field(ctx, node.target, evaluate(ctx, node.value))
        case _:
            with ctx.drawing_at(node.target.id) if isinstance(node.target, nodes.Name) else ctx.drawing_at(ctx.site):
                value = evaluate(ctx, node.value)
            bind_target(ctx, node.target, value)


def _store(ctx: Context, node: nodes.Store) -> None:
    """`x <- e` for own state, and for whatever the role of this code lets it change; keeps type and shape (R8)."""
    target = node.target
    value = evaluate(ctx, node.value)
    if isinstance(target, nodes.Name):
        instance = ctx.names.get("self")
        if isinstance(instance, Instance) and instance.spec.kinds.get(target.id) == "state":
            stored = filled(ctx, stopped(ctx, value, node.value.span), instance.leaves[target.id].type, node.value.span)
            ctx.write_back(Place("self"), {target.id: name_value(ctx, target.id, stored, target)})
            return
        if target.id in ctx.storable:
            old = ctx.names[target.id]
            if isinstance(old, Instance):
                ctx.write_back(Place(target.id), points.hold(old, value, node.value.span).leaves)
                return
            ctx.names[target.id] = name_value(ctx, target.id, filled(ctx, value, old.type, node.value.span), target)
            return
    raise LeeError(structure.cannot_store(target.span, target.span.text))


def _augment(ctx: Context, node: nodes.Augment) -> None:
    if isinstance(node.target, nodes.Subscript) and not left_indices(ctx, node.target):
        augment_places(ctx, node.target, node.op, node.value)
        return
    if isinstance(node.target, nodes.Subscript):
        if node.op != "+":
            raise LeeError(structure.not_built(node.span, f"`{node.op}=` on entries"))
        add_entries(ctx, node.target, node.value)
        return
    spans = (node.target.span, node.value.span)
    value = arithmetic.binary(ctx, node.op, evaluate(ctx, node.target), evaluate(ctx, node.value), node.span, spans)
    bind_target(ctx, node.target, value)


def _declare(ctx: Context, node: nodes.Declare) -> None:
    """`h: [n, d] = e`: fills, or holds the value against the type and binds its free dims (R16)."""
    pattern = read_pattern(node.type)
    if pattern is None:
        raise LeeError(shapes.not_a_type(node.type.span))
    if node.value is None:
        raise LeeError(structure.not_built(node.span, "a declaration without a value"))
    value = arithmetic.as_value(ctx, evaluate(ctx, node.value), node.value.span)
    wanted, free = declared(ctx, pattern)
    fresh: dict[str, Dim] = {}
    if value.type.rank:
        known = {s: Dim.of(s) for d in wanted.dims for s in d.symbols - free}
        problem = match_type(wanted, value.type, known, ctx)
        if problem:
            raise LeeError(
                shapes.shapes_differ(
                    node.value.span, f"`{node.name.id}` and its value", [(node.value.span, value.type.shown)], problem
                )
            )
        fresh = {s: known[s] for s in free if s in known}
        ctx.dims = {n: d.substitute(fresh) for n, d in ctx.dims.items()}
    elif free:
        raise LeeError(shapes.unbound_dim(node.type.span, sorted(free)[0]))
    ctx.names[node.name.id] = name_value(
        ctx, node.name.id, filled(ctx, value, wanted.substitute(fresh), node.value.span), node.name
    )


def declared(ctx: Context, pattern: TypePattern) -> tuple[TensorType, set[str]]:
    """A declared type, and the symbols of its dims that had no meaning before."""
    names, symbols = set(ctx.dims), set(ctx.rigid)
    wanted = declare_dims(
        ctx, pattern
    )  # which may read a variable of a `train`: its sizes are new here, but have a meaning
    new = {symbol for name in ctx.dims.keys() - names for symbol in ctx.dims[name].symbols}
    return wanted, new - symbols


def _draw(ctx: Context, node: nodes.Draw) -> None:
    """`e: [n, k] ~ p`; without a type as many as p has in its batch."""
    if not isinstance(node.target, nodes.Name):
        raise LeeError(structure.not_here(node.target.span, "this", "on the left of `~`"))
    name, wanted, free = node.target.id, None, set()
    if node.type is not None:
        pattern = read_pattern(node.type)
        if pattern is None:
            raise LeeError(shapes.not_a_type(node.type.span))
        wanted, free = declared(ctx, pattern)
    with ctx.at(node.span):
        value, sizes = draw(ctx, node.distribution, name, wanted, free)
    for symbol in sorted(free - sizes.keys()):
        raise LeeError(shapes.unbound_dim(node.type.span, symbol))
    ctx.dims = {n: d.substitute(sizes) for n, d in ctx.dims.items()}
    if isinstance(value, Value):
        value = name_value(ctx, name, value, node.target)
        ctx.drawn.add(value)
    ctx.names[name] = value


# ---- control


def _return(ctx: Context, node: nodes.Return) -> Returned:
    return Returned(evaluate(ctx, node.value) if node.value is not None else (), (node.value or node).span)


def _if(ctx: Context, node: nodes.If) -> Returned | None:
    """A structural condition chooses code, a run-time scalar selects values."""
    for position, (condition, body) in enumerate(node.branches):
        value = evaluate(ctx, condition)
        if value is True:
            return run_block(ctx, body)
        if value is not False:
            rest = node.branches[position + 1 :]
            other = (nodes.If(rest, node.otherwise, span=node.span),) if rest else node.otherwise
            return select_block(ctx, value, condition, body, other)
    return run_block(ctx, node.otherwise)


def select_block(ctx: Context, condition: object, node: nodes.Expr, then: tuple, otherwise: tuple) -> Returned | None:
    """Both branches are computed; what they bind or return is selected."""
    if not isinstance(condition, Value) or condition.type.dtype != "bool" or condition.type.rank:
        raise LeeError(kinds.needs_bool(node.span, "the condition of `if`", describe(condition)))
    if returns(then) != returns(otherwise):
        known_sizes(ctx, node)
    start = dict(ctx.names)
    with ctx.on_condition():
        returned_then, names_then = run_block(ctx, then), ctx.names
        ctx.names = dict(start)
        returned_else, names_else = run_block(ctx, otherwise), ctx.names
    ctx.names = start

    def choose(a: Value, b: Value) -> Value:
        return arithmetic.elementwise(ctx, "select", "if", (condition, a, b), node.span, (node.span,) * 3)

    if (returned_then is None) != (returned_else is None):
        raise LeeError(structure.not_built(node.span, "a `return` in one branch of a run-time `if` only"))
    if returned_then is not None:
        return Returned(merge(choose, returned_then.value, returned_else.value), returned_then.span)
    for name in {**names_then, **names_else}:
        a, b = names_then.get(name), names_else.get(name)
        if name in names_then and name in names_else:
            start[name] = a if a is b else merge(choose, a, b)
    return None


def returns(block: tuple) -> bool:
    return bool(block) and isinstance(block[-1], nodes.Return)


def merge(choose: Callable, a: object, b: object) -> object:
    """The same structure with its values selected."""
    if a is b:
        return a
    if isinstance(a, tuple) and isinstance(b, tuple):
        return tuple(merge(choose, x, y) for x, y in zip(a, b))
    if isinstance(a, Record | Distribution) and isinstance(b, type(a)) and len(a.items) == len(b.items):
        return a.with_items(merge(choose, x, y) for x, y in zip(a.items, b.items))
    if isinstance(a, Instance) and isinstance(b, Instance):
        return a.with_leaves({p: v if v is b.leaves[p] else choose(v, b.leaves[p]) for p, v in a.leaves.items()})
    return choose(a, b)


def _function(ctx: Context, node: nodes.Function) -> None:
    """A nested def captures by value what it mentions; in a method also the model, whose members it may mention."""
    around = {n: d for n, d in ctx.dims.items() if n != PACK} | ctx.names
    captured = {n: v for n, v in around.items() if n == "self" or mentions((node.params, node.body), {n})}
    ctx.names[node.name.id] = FunctionValue(node, ctx.home, captured)


def _evaluate(ctx: Context, node: nodes.Evaluate) -> None:
    evaluate(ctx, node.value)


def _refuse(what: str, where: str = "in a `def`") -> Callable:
    def rule(ctx: Context, node: nodes.Stmt):
        raise LeeError(structure.not_here(node.span, f"`{what}`", where))

    return rule


def _not_built(what: str) -> Callable:
    def rule(ctx: Context, node: nodes.Stmt):
        raise LeeError(structure.not_built(node.span, what))

    return rule


_STATEMENT: dict[type, Callable] = {
    nodes.Assign: _assign,
    nodes.Store: _store,
    nodes.Augment: _augment,
    nodes.Declare: _declare,
    nodes.Draw: _draw,
    nodes.Return: _return,
    nodes.Require: require,
    nodes.If: _if,
    nodes.For: for_loop,
    nodes.Function: _function,
    nodes.Evaluate: _evaluate,
    nodes.While: while_loop,
    nodes.Break: _not_built("a `break` that is not the end of an `if` in a loop over positions"),
    nodes.Minimize: _refuse("minimize"),
    nodes.Update: _refuse("update"),
    nodes.Report: _refuse("report"),
    nodes.Append: _refuse("append"),
}
