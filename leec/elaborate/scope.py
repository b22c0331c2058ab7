"""Names in scope: locals, members of the model, dims, host variables, declarations, the prelude, primitives."""

from __future__ import annotations

from leec.diagnostics import LeeError, names, structure
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.entries import Position, symbol
from leec.elaborate.members import at_place, member_of
from leec.elaborate.modules import declared_value
from leec.elaborate.primitives import BUILTINS
from leec.elaborate.values import POISON, Alias, Instance
from leec.ir.graph import Value
from leec.syntax import nodes


def lookup(ctx: Context, name: str) -> tuple[object] | object | None:
    """The value in a 1-tuple (None is a value), POISON, or None for an unknown name."""
    if ctx.indices and name in ctx.indices.ranges:
        return (Position(Dim.of(symbol(name))),)
    if name in ctx.names:
        found = ctx.names[name]
        if isinstance(found, Alias):
            found = at_place(ctx.names[found.place.root], found.place.path)
        return found if found is POISON else (found,)
    own = own_member(ctx, name)
    if own is not None:
        return own
    if name == "training":
        ctx.reads_training = True
        return (ctx.training,)
    if name in ctx.dims:
        return (ctx.dims[name],)
    if ctx.missing is not None:
        found = ctx.missing(name)
        if found is not None:
            return found
    return global_value(ctx, name)


def own_member(ctx: Context, name: str) -> tuple[object] | None:
    """A member of the model whose method this is."""
    instance = ctx.names.get("self")
    return member_of(instance, name) if isinstance(instance, Instance) else None


def local_of_construction(ctx: Context, name: str) -> nodes.Local | None:
    """What the model whose method this is calls so while it is made, and forgets."""
    instance = ctx.names.get("self")
    members = instance.spec.declaration.members if isinstance(instance, Instance) else ()
    return next((m for m in members if isinstance(m, nodes.Local) and m.name.id == name), None)


def global_value(ctx: Context, name: str) -> tuple[object] | None:
    """A declaration of this file, of an import, of the prelude; or a primitive."""
    for module in (ctx.home, ctx.session.library.prelude):
        found = module.find(name) if module else None
        if found is not None:
            home, item = found
            if isinstance(item, nodes.Constant):
                return (_constant(ctx, home, item),)
            return (declared_value(home, item),)
    return (BUILTINS[name],) if name in BUILTINS else None


def _constant(ctx: Context, home, item: nodes.Constant) -> object:
    if item.name.id not in home.constants:
        home.constants[item.name.id] = POISON
        inner = Context(ctx.session, home, "constant")
        from leec.elaborate.expressions import evaluate

        home.constants[item.name.id] = evaluate(inner, item.value)
    found = home.constants[item.name.id]
    if found is POISON or isinstance(found, Value):
        raise LeeError(structure.needs_static(item.value.span, f"the constant `{item.name.id}`"))
    return found


def visible(ctx: Context) -> set[str]:
    """Every name that would have had a meaning, for suggestions."""
    found = set(ctx.names) | set(ctx.dims) | set(BUILTINS) | set(ctx.home.items) | set(ctx.home.imports)
    prelude = ctx.session.library.prelude
    return found | set(prelude.items) | set(prelude.imports) if prelude else found


def unknown(ctx: Context, node: nodes.Name) -> LeeError:
    """What is told of a name without a meaning, by where it would have one."""
    if local := local_of_construction(ctx, node.id):
        return LeeError(names.of_construction(node, local))
    if node.id in ctx.ended:
        return LeeError(names.ended(node))
    if ctx.indices and len(node.id) < 3 and not names.nearest(node.id, visible(ctx)):
        return LeeError(names.free_index(node))
    return ctx.home.unknown(node, visible(ctx))
