"""Binding: what the left side of a statement names, and values made to fit the place that they go to."""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, Span, kinds, shapes, structure
from leec.elaborate import arithmetic, points
from leec.elaborate.context import Context
from leec.elaborate.define import name_value
from leec.elaborate.values import Alias, Instance, ListValue, Place, Record, describe
from leec.ir.graph import Value, rename
from leec.syntax import nodes
from leec.types import TensorType


def bound_names(node: object) -> set[str]:
    """The names that a statement may bind, blocks included."""
    match node:
        case (
            nodes.Assign(target=target)
            | nodes.Augment(target=target)
            | nodes.Draw(target=target)
            | nodes.Store(target=target)
        ):
            return target_names(target)
        case nodes.Declare(name=name):
            return {name.id}
        case nodes.For(body=body) | nodes.While(body=body):
            return set().union(*map(bound_names, body))
        case nodes.If(branches=branches, otherwise=otherwise):
            return set().union(*(bound_names(s) for _, b in branches for s in b), *map(bound_names, otherwise))
    return set()


def target_names(node: nodes.Expr) -> set[str]:
    match node:
        case nodes.Name(id=name):
            return {name}
        case nodes.Tuple(items=items):
            return set().union(*map(target_names, items))
        case nodes.Subscript(value=value) | nodes.Attribute(value=value):
            return target_names(value)
    return set()


def names_apart(target: nodes.Expr) -> tuple[str | None, ...]:
    """The variables that take several values apart, or the one that takes one; None for `_`, which takes nothing (R36).

    Raises LeeError for anything but a name.
    """
    wanted = target.items if isinstance(target, nodes.Tuple) else (target,)
    for item in wanted:
        if not isinstance(item, nodes.Name):
            raise LeeError(structure.only_names(item.span))
    return tuple(n.id if n.id != "_" else None for n in wanted)


def bind_target(ctx: Context, target: nodes.Expr, value: object) -> None:
    """Names, nested in tuples; `_` binds nothing (R36)."""
    if isinstance(target, nodes.Name):
        if target.id != "_":
            ctx.names[target.id] = named(ctx, target, value)
        return
    if isinstance(target, nodes.Tuple):
        items = value.items if isinstance(value, (Record, ListValue)) else value
        if not isinstance(items, tuple) or len(items) != len(target.items):
            found = f"{len(items)} values" if isinstance(items, tuple) else describe(value)
            raise LeeError(structure.cannot_unpack(target.span, len(target.items), found))
        for part, item in zip(target.items, items):
            bind_target(ctx, part, item)
        return
    raise LeeError(structure.not_here(target.span, "this", "on the left of `=`"))


def bind_round(ctx: Context, target: nodes.Expr, item: object) -> None:
    """The variables of a round; a model that has a place keeps it, so that its state goes back there (R9)."""
    bind_target(ctx, target, item)
    names = target.items if isinstance(target, nodes.Tuple) else (target,)
    items = item if isinstance(target, nodes.Tuple) else (item,)
    for name, value in zip(names, items):
        if isinstance(name, nodes.Name) and isinstance(value, Instance) and value.place:
            if isinstance(ctx.names.get(value.place.root), Instance):
                ctx.names[name.id] = Alias(value.place)


def named(ctx: Context, target: nodes.Name, value: object) -> object:
    """The value under the user's name; a model becomes a variable of its own, whose state is threaded."""
    if isinstance(value, Value):
        return name_value(ctx, target.id, value, target)
    if isinstance(value, Instance):
        return variable(ctx, target.id, value)
    return value


def variable(ctx: Context, name: str, model: Instance) -> Instance:
    """A model variable: its tensors that this statement computed are named after it."""
    made = {r for e in ctx.builder.equations[ctx.begun :] for r in e.results if not r.named}
    new = renamed(ctx, {v: f"{name}.{p}" for p, v in model.leaves.items() if v in made})
    return model.with_leaves({p: new.get(v, v) for p, v in model.leaves.items()}, place=Place(name))


def renamed(ctx: Context, names: dict[Value, str]) -> dict[Value, Value]:
    """What this statement computed under better names, by what it was."""
    equations = ctx.builder.equations
    ctx.builder.names -= {v.name for v in names}
    new = {v: Value(ctx.builder.unique(name), v.type, v.span) for v, name in names.items()}
    equations[ctx.begun :] = [
        replace(rename(e, new), results=tuple(new.get(r, r) for r in e.results)) for e in equations[ctx.begun :]
    ]
    return new


def assign_field(ctx: Context, target: nodes.Attribute, value: object) -> None:
    """`layer.shift = value`, `net.layer = other.layer`: a functional update of the local name (R8)."""
    from leec.elaborate.expressions import evaluate

    owner = evaluate(ctx, target.value)
    if isinstance(owner, Instance) and owner.place is not None:
        old = owner.leaves.get(target.name.id) or evaluate(ctx, target)
        if isinstance(old, Value):
            ctx.write_back(owner.place, {target.name.id: filled(ctx, value, old.type, target.span)})
            return
        if isinstance(old, Instance):
            parts = points.hold(old, value, target.span).leaves.items()
            ctx.write_back(old.place, {p: filled(ctx, v, old.leaves[p].type, target.span) for p, v in parts})
            return
    raise LeeError(structure.cannot_store(target.span, target.span.text))


def stopped(ctx: Context, value: object, span: Span) -> object:
    """State holds values without gradient (R9)."""
    if isinstance(value, Value) and not value.type.host and value.type.is_float:
        with ctx.at(span):
            return ctx.builder.stop(value)
    return value


def filled(ctx: Context, value: object, wanted: TensorType, span: Span) -> Value:
    """A value of the wanted type: itself, or a number in every entry."""
    array = arithmetic.as_value(ctx, value, span)
    if array.type.is_float and wanted.dtype == "int":
        raise LeeError(kinds.needs_int(span, "what an `int` array holds", array.type.shown))
    if array.type.dtype != wanted.dtype and (array.type.is_float or array.type.dtype == "bool"):
        raise LeeError(kinds.argument_dtype(span, "this", "the value", array.type.shown, str(wanted.dtype), None))
    with ctx.at(span):
        if array.type.host or array.type.rank == 0 and wanted.rank:
            return ctx.builder.fill(array, dims=wanted.dims, dtype=wanted.dtype)
        fits = array.type.rank == wanted.rank and all(
            ctx.agree(w, d, span) for w, d in zip(wanted.dims, array.type.dims)
        )
        if not fits:
            raise LeeError(
                shapes.shapes_differ(
                    span, "the value and its place", [(span, array.type.shown)], f"the place is {wanted}"
                )
            )
        if array.type.dtype != wanted.dtype:
            array = ctx.builder.cast(array, dtype=wanted.dtype)
        return arithmetic.coerce(ctx, array, wanted.dims)
