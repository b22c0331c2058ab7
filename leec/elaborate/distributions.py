"""Distributions: values with a batch shape, drawn from and asked through the methods of their families (R26).

A family is written in lee, as `distribution normal(mean: [..], scale: [..]) -> [..]:` with methods. What a parameter has
beside `..` are axes of one draw, which the type behind the arrow says too; the rest is the batch. Methods are
elaborated where they are used, over the parameters and the sizes of these axes.
"""

from __future__ import annotations

from dataclasses import dataclass

from leec.diagnostics import LeeError, Span, kinds, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.callers import calling
from leec.elaborate.context import Context
from leec.elaborate.entries import is_indexed
from leec.elaborate.signature import TypePattern, match_type, read_pattern
from leec.elaborate.values import BuiltinValue, Distribution, DistributionMethod, FamilyValue, FunctionValue, describe
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import ShapeMismatch, TensorType, broadcast


def distribution(ctx: Context, family: FamilyValue, given) -> Distribution:
    """`normal(m, s)`"""
    from leec.elaborate.calls import bind, with_defaults

    declaration = family.declaration
    bound = bind(family.name, declaration.params, given, declaration.name.span)
    full = with_defaults(ctx, family.home, declaration.params, bound)
    made = Distribution(family, {p.name.id: parameter(family, p, *full[p.name.id]) for p in declaration.params})
    with calling(ctx.session, family.name, given.span):
        layout(ctx, made, given.span)
    return made


def parameter(family: FamilyValue, param: nodes.Param, value: object, span: Span) -> object:
    """A parameter as its type says; a number where an array may stand is a batch of its own."""
    pattern = read_pattern(param.type) if param.type is not None else None
    if pattern is None or is_indexed(value):
        return value
    if pattern.dtype == "float" and isinstance(value, Dim) and value.constant is not None:
        return float(value.constant)
    if isinstance(value, (Dim, float)) and len(pattern.items) <= 1:
        return value
    found = value.type if isinstance(value, Value) else None
    if found is None or found.rank < len(own_axes(pattern)) or not fits(found.dtype, pattern.dtype):
        wanted = pattern.node.span.text
        raise LeeError(
            shapes.argument_shape(span, family.name, param.name.id, describe(value), wanted, param.type.span)
        )
    return value


def fits(found: str, wanted: str) -> bool:
    """Whether values of a dtype may stand for another: integers are numbers, truths are both 0 and 1."""
    return TensorType(wanted).is_float and found != "bool" or found == wanted


def own_axes(pattern: TypePattern) -> tuple[nodes.Expr, ...]:
    """The axes beside the batch."""
    return tuple(item for item in pattern.items if not isinstance(item, nodes.Ellipsis))


@dataclass(frozen=True)
class Layout:
    """The dims of the batch, the sizes of the axes that parameters have beside it, and the type of one draw."""

    batch: tuple[Dim, ...]
    sizes: dict[str, Dim]
    variate: TypePattern | None

    def event(self, span: Span) -> tuple[Dim, ...]:
        """The dims of one draw. Raises LeeError for a size that no parameter tells."""
        names = [item.id for item in own_axes(self.variate)] if self.variate else []
        for name in names:
            if name not in self.sizes:
                raise LeeError(shapes.unbound_dim(span, name))
        return tuple(self.sizes[name] for name in names)


def layout(ctx: Context, p: Distribution, span: Span) -> Layout:
    """How the parameters fit together. Raises LeeError where they do not."""
    declaration = p.family.declaration
    leads, sizes = [], {}
    for param in declaration.params:
        value = p.parameters[param.name.id]
        pattern = read_pattern(param.type) if param.type is not None else None
        if pattern is None or not isinstance(value, Value):
            continue
        axes, dims = own_axes(pattern), value.type.dims
        leads.append(TensorType("float", dims[: len(dims) - len(axes)]))
        for axis, size in zip(axes, dims[len(dims) - len(axes) :]):
            if not ctx.agree(sizes.setdefault(axis.id, size), size, span):
                raise LeeError(shapes.shapes_differ(span, f"the parameters of `{p.family.name}`", [],
                                                    f"`{axis.id}` is {sizes[axis.id]} and {size}"))  # fmt: skip
    try:
        batch = together(ctx, leads, span)
    except ShapeMismatch as error:
        sides = [(span, v.type.shown) for v in p.items if isinstance(v, Value) and v.type.rank]
        raise LeeError(shapes.shapes_differ(span, f"the parameters of `{p.family.name}`", sides, str(error))) from error
    return Layout(batch, sizes, read_pattern(declaration.variate) if declaration.variate is not None else None)


def together(ctx: Context, leads: list[TensorType], span: Span) -> tuple[Dim, ...]:
    """The dims of arrays that broadcast; sizes that only a run can tell are found equal there."""
    try:
        return broadcast(*leads) if leads else ()
    except ShapeMismatch as error:
        left, right = error.dims or (None, None)
        if left is None or not ctx.agree(left, right, span):
            raise
        same = [lead.with_dims(*(left if d == right else d for d in lead.dims)) for lead in leads]
        return together(ctx, same, span)


# ---- drawing


def draw(ctx: Context, node: nodes.Expr, name: str, wanted: TensorType | None = None, free: set[str] = frozenset()):
    """What `name: type ~ p` gives, and the sizes that the type leaves to p; without a type one draw for the batch."""
    from leec.elaborate.expressions import evaluate

    with ctx.drawing_at(name):
        p = evaluate(ctx, node)
        if not isinstance(p, Distribution):
            raise LeeError(structure.wrong_kind(node.span, describe(p), "a distribution"))
        return sample(ctx, p, wanted, free, node.span)


def sample(ctx: Context, p: Distribution, wanted: TensorType | None, free: set[str], span: Span):
    """A draw of the wanted type, and the sizes among `free` as it has them."""
    found = layout(ctx, p, span)
    if found.variate is None:  # of no tensor: a point
        return methods(p)["sample"] and ask(ctx, p, "sample", [], {}, span), {}
    rank = len(own_axes(found.variate))
    if wanted is not None:
        event = wanted.dims[wanted.rank - rank :]
        for axis, size in zip(own_axes(found.variate), event):
            found.sizes.setdefault(axis.id, size)
    natural = TensorType(found.variate.dtype, (*found.batch, *found.event(span)))
    known: dict[str, Dim] = {}
    if wanted is None:
        wanted = natural
    else:
        known = {s: Dim.of(s) for d in wanted.dims for s in d.symbols - free}
        tail = wanted.with_dims(*wanted.dims[max(0, wanted.rank - natural.rank) :])
        problem = "" if tail.rank < natural.rank else match_type(tail, natural, known, ctx)
        if problem is not None and natural.rank:
            raise LeeError(kinds.draw_shape(span, p.family.name, wanted.shown, natural.shown))
        verify_dtype(natural, wanted, span)
        wanted = wanted.substitute(known)
    dims = wanted.dims[: wanted.rank - rank]
    value = arithmetic.as_value(ctx, ask(ctx, p, "sample", [dims], found.sizes, span), span)
    with ctx.at(span):
        if value.type.dtype != wanted.dtype:
            value = ctx.builder.cast(value, dtype=wanted.dtype)
        return spread(ctx, value, wanted.dims), {s: known[s] for s in free if s in known}


def verify_dtype(natural: TensorType, wanted: TensorType, span: Span) -> None:
    """Truths may become numbers 0 and 1; integers stay integers, numbers stay numbers."""
    if natural.dtype != "bool" and (natural.is_float != wanted.is_float or wanted.dtype == "bool"):
        found = {"int": "a distribution over integers"}.get(natural.dtype, "a distribution over numbers")
        raise LeeError(structure.wrong_kind(span, found, f"an `{natural.dtype}[..]` on the left"))
    if natural.dtype == "bool" and wanted.host:
        raise LeeError(structure.wrong_kind(span, "a distribution over truths", "a tensor on the left"))


def spread(ctx: Context, value: Value, dims: tuple[Dim, ...]) -> Value:
    """Repeated along the dims that it lacks."""
    if len(value.type.dims) < len(dims) or any(a == 1 != b for a, b in zip(value.type.dims, dims)):
        return ctx.builder.broadcast(value, dims=dims)
    return arithmetic.coerce(ctx, value, dims)


# ---- methods


def methods(p: Distribution) -> dict[str, nodes.Function]:
    return {m.name.id: m for m in p.family.declaration.members if isinstance(m, nodes.Function)}


def member(p: Distribution, name: str) -> tuple[object] | None:
    """A parameter or a method in a 1-tuple."""
    if name in p.parameters:
        return (p.parameters[name],)
    return (DistributionMethod(p, methods(p)[name]),) if name in methods(p) else None


def answer(ctx: Context, target: object, given) -> tuple[object] | None:
    """`entropy(p)`, in a 1-tuple: a function of the library that is asked of a distribution, by the family's method."""
    p = given.positional[0] if given.positional else None
    ours = isinstance(target, BuiltinValue) or isinstance(target, FunctionValue) and target.home.is_std
    if not isinstance(p, Distribution) or not ours:
        return None
    name = target.name
    if name in methods(p):
        return (call_method(ctx, DistributionMethod(p, methods(p)[name]), given, 1),)
    if name in p.parameters and len(given.positional) == 1:
        return (over_batch(ctx, p, p.parameters[name], given.span),)
    raise LeeError(kinds.unknown_of_family(given.node.function.span, name, p.family.name, sorted(methods(p))))


def call_method(ctx: Context, method: DistributionMethod, given, skip: int = 0) -> object:
    """`p.log_prob(x)`, `log_prob(p, x)`"""
    from leec.elaborate.calls import Arguments, bind

    node = nodes.Call(given.node.function, given.node.args[skip:], given.node.keywords, span=given.span)
    rest = Arguments(given.positional[skip:], given.keywords, node)
    declaration, p = method.declaration, method.owner
    bound = bind(declaration.name.id, declaration.params, rest, declaration.name.span)
    values = [bound[n.name.id][0] for n in declaration.params if n.name.id in bound]
    for value, span in bound.values():
        verify_family(p, value, span)
    found = ask(ctx, p, declaration.name.id, values, layout(ctx, p, given.span).sizes, given.span)
    return found if any(map(is_indexed, [found, *p.items])) else over_batch(ctx, p, found, given.span)


def verify_family(p: Distribution, other: object, span: Span) -> None:
    """What compares two distributions is known within a family."""
    if isinstance(other, Distribution) and other.family.declaration is not p.family.declaration:
        raise LeeError(structure.wrong_kind(span, describe(other), describe(p)))


def ask(ctx: Context, p: Distribution, name: str, values: list[object], sizes: dict[str, Dim], span: Span) -> object:
    """What a method gives, elaborated here."""
    from leec.elaborate.statements import run_block

    declaration = methods(p).get(name)
    if declaration is None:
        raise LeeError(kinds.unknown_of_family(span, name, p.family.name, sorted(methods(p))))
    inner = ctx.child(p.family.home)
    inner.missing, inner.dims, inner.storable = None, dict(sizes), set()
    inner.names = {**p.parameters, **dict(zip((a.name.id for a in declaration.params), values))}
    inner.within = p.family.name
    if p.family.home.is_std:
        inner.pinned = ctx.pinned or span
    with calling(ctx.session, name if name != "sample" else p.family.name, span):
        locals_of(inner, p)
        returned = run_block(inner, declaration.body)
    if returned is None:
        raise LeeError(structure.no_return(declaration.name.span, name))
    return returned.value


def locals_of(inner: Context, p: Distribution) -> None:
    """`name = e` in a family: what its methods share."""
    from leec.elaborate.expressions import evaluate

    for item in p.family.declaration.members:
        match item:
            case nodes.Member():
                inner.names.setdefault(item.name.id, evaluate(inner, item.value))
            case nodes.Function():
                pass
            case _:
                raise LeeError(structure.not_here(item.span, "this", "in a distribution, which has methods and values"))


def over_batch(ctx: Context, p: Distribution, value: object, span: Span) -> object:
    """One value for each of the batch."""
    batch = layout(ctx, p, span).batch
    if not isinstance(value, (Value, Dim, float)) or isinstance(value, Value) and value.type.rank >= len(batch):
        return value
    if not batch:
        return value
    value = arithmetic.as_value(ctx, value, span)
    with ctx.at(span):
        if value.type.host:
            return ctx.builder.fill(value, dims=batch, dtype="float")
        return ctx.builder.broadcast(value, dims=batch)
