"""Specialisation: one IR function for each structure of arguments that a def or method is called with (decision 5).

The key holds structural values, ranks, dtypes, model classes and `training`; never a size. Restarts follow what the
body demanded: a size as a number (NeedStructural), or two sizes that must agree (Unify).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from leec.diagnostics import LeeError, Span, kinds, shapes, structure
from leec.dims import Dim
from leec.elaborate.annotations import verify_named
from leec.elaborate.callers import entering
from leec.elaborate.context import Context, NeedStructural, Session, Unify
from leec.elaborate.demands import demand, parameter_of, restart_for_class
from leec.elaborate.keys import annotated_key, key_of
from leec.elaborate.requirements import remember
from leec.elaborate.signature import PACK, declare_dims, read_pattern, rigid, with_default
from leec.elaborate.values import (
    Distribution,
    FunctionValue,
    Instance,
    ListValue,
    MethodValue,
    Record,
    describe,
    leaves_of,
)
from leec.ir.graph import Function, Parameter, Result, Value
from leec.syntax import nodes
from leec.types import TensorType, host


@dataclass
class Specialised:
    """The function, and what it returns as a tree over its result values."""

    function: Function
    template: object
    reads_training: bool
    pack_positions: dict[Value, int] = field(default_factory=dict)


def specialise(
    ctx: Context, target: FunctionValue | MethodValue, home, full: dict, training: bool, span: Span
) -> Specialised:
    """The specialisation for these arguments, from memory or elaborated now."""
    session, declaration = ctx.session, target.declaration
    subject = target.instance if isinstance(target, MethodValue) else None
    identity = (id(declaration), subject.spec.name if subject else None)
    while True:
        demanded = session.structural.setdefault(identity, set())
        verify_static(full, demanded)
        captured = getattr(target, "captured", {})
        typed = {p.name.id for p in declaration.params if p.type is not None}
        keys = (
            (n, annotated_key(v) if n in typed and isinstance(v, Value) else key_of(v, demanded, n))
            for n, (v, _) in full.items()
        )
        key = (identity, training, *keys, *(key_of(v, demanded, n) for n, v in captured.items()))
        if key in session.memo:
            return session.memo[key]
        try:
            with entering(session, key, declaration.name.id, span):
                found = elaborate(session, target, home, full, training, demanded)
        except NeedStructural as need:
            owner = parameter_of(need.symbol, full)
            if owner is None:
                restart_for_class(session, subject, need)
                raise
            demand(demanded, need, full)
            continue
        session.memo[key] = found
        if not found.reads_training:
            session.memo[(key[0], not training, *key[2:])] = found
        return found


def verify_static(full: dict, demanded: set[str]) -> None:
    """Raises NeedStructural for the caller, where it gives a size of its own for what the callee must know."""
    from leec.elaborate.calls import part

    for name in sorted(demanded):
        value = part(full, name)
        if isinstance(value, Dim) and value.constant is None:
            raise NeedStructural(sorted(value.symbols)[0], full[parameter_of(name, full)][1])


def elaborate(
    session: Session, target: FunctionValue | MethodValue, home, full: dict, training: bool, demanded: set[str]
) -> Specialised:
    """Elaborate the body, again whenever two of its dims turn out to be one."""
    equated: dict[str, Dim] = {}
    while True:
        ctx = Context(session, home, "def", training)
        ctx.equated = equated
        try:
            return body_of(ctx, target, full, demanded)
        except NeedStructural:
            ctx.forget_functions()
            raise
        except Unify as unify:
            ctx.forget_functions()
            equated = {
                **{k: v.substitute({unify.symbol: unify.dim}) for k, v in equated.items()},
                unify.symbol: unify.dim,
            }


def body_of(ctx: Context, target: FunctionValue | MethodValue, full: dict, demanded: set[str]) -> Specialised:
    from leec.elaborate.statements import run_block

    declaration = target.declaration
    parameters = []
    ctx.title = declaration.name.id
    if isinstance(target, MethodValue):
        parameters.append(enter_self(ctx, target.instance))
    else:
        parameters += enter_captured(ctx, target, full, demanded)
    for param in declaration.params:
        value, span = full[param.name.id]
        parameters += [with_default(p, param) for p in enter(ctx, declaration, param, value, span, demanded)]
    start = {p.name: ctx.names[p.name] for p in parameters if p.model and p.name in ctx.names}
    returned = run_block(ctx, declaration.body)
    if returned is None:
        raise LeeError(structure.no_return(declaration.name.span, declaration.name.id))
    value = promise(ctx, declaration, returned)
    return finish(ctx, target, parameters, start, value)


def enter_captured(ctx: Context, target: FunctionValue, full: dict, demanded: set[str]) -> list[Parameter]:
    """What a nested def captured: values of the function around it, so parameters of this one."""
    found = {n: inner_value(ctx, n, full[n][0], demanded, full[n][1]) for n in target.captured}
    ctx.names.update({n: inner for n, (inner, _) in found.items()})
    return [p for _, made in found.values() for p in made]


def enter_self(ctx: Context, instance: Instance) -> Parameter:
    """The model of a method: its leaves under their own paths, its sizes under their own names."""
    from leec.elaborate.members import inner_instance

    ctx.owner = instance.spec.name
    inner, values = inner_instance(ctx, instance, "self")
    ctx.names["self"] = inner
    ctx.facts = instance.spec.facts
    return Parameter("self", tuple(values), instance.spec.name, tuple(inner.leaves))


def enter(
    ctx: Context, owner: nodes.Function, param: nodes.Param, value: object, span: Span, demanded: set[str]
) -> list[Parameter]:
    """The parameter of the function for an argument of this structure, and its name in scope."""
    name = param.name.id
    pattern = read_pattern(param.type) if param.type is not None else None
    if pattern is not None and isinstance(value, Value) and not (value.type.host and not pattern.items):
        inner = tensor_parameter(ctx, owner, param, pattern, value, span)
    else:
        verify_named(ctx, owner, param, value, span)
        inner = inner_value(ctx, name, value, demanded, param.name.span)
    ctx.names[name] = inner[0]
    return inner[1]


def tensor_parameter(
    ctx: Context, owner: nodes.Function, param: nodes.Param, pattern, value: Value, span: Span
) -> tuple[Value, list[Parameter]]:
    name = param.name.id
    declared = declare_dims(ctx, pattern)
    if declared.rank != value.type.rank:
        found, wanted = describe(value), pattern.node.span.text
        raise LeeError(shapes.argument_shape(span, owner.name.id, name, found, wanted, param.type.span))
    inner = Value(ctx.builder.unique(name), declared, param.type.span, True)
    return inner, [Parameter(name, (inner,))]


def inner_value(
    ctx: Context, name: str, value: object, demanded: set[str], span: Span
) -> tuple[object, list[Parameter]]:
    """A value of the same structure that belongs to the callee, with the parameters that carry it."""
    from leec.elaborate.members import inner_instance

    match value:
        case Dim():
            if name in demanded:
                return value, [Parameter(name, static=None, default=value.constant)]
            return rigid(ctx, name), [Parameter(name, static=name)]
        case float():
            inner = Value(ctx.builder.unique(name), host("float"), span, True)
            return inner, [Parameter(name, (inner,))]
        case Value():
            dims = tuple(Dim.of(1) if d == 1 else rigid(ctx, f"{name}_{i}") for i, d in enumerate(value.type.dims))
            inner = Value(ctx.builder.unique(name), TensorType(value.type.dtype, dims, value.type.host), span, True)
            return inner, [Parameter(name, (inner,))]
        case Instance():
            inner, values = inner_instance(ctx, value, name)
            return inner, [Parameter(name, tuple(values), value.spec.name, tuple(inner.leaves))]
        case tuple() | Record() | ListValue() | Distribution() | FunctionValue():
            items = value if isinstance(value, tuple) else value.items
            parts = [inner_value(ctx, f"{name}_{i}", v, demanded, span) for i, v in enumerate(items)]
            made = tuple(p for p, _ in parts)
            return made if isinstance(value, tuple) else value.with_items(made), [p for _, ps in parts for p in ps]
    return value, []


def promise(ctx: Context, declaration: nodes.Function, returned) -> object:
    """What is returned, held against `-> type` and against being a loss."""
    value = returned.value
    if isinstance(value, (float, Dim)) and declaration.kind in ("loss", "metric"):
        value = ctx.builder.lift(value)
    if declaration.returns is not None:
        value = promised(ctx, declaration, declaration.returns, value, returned.span)
    if declaration.kind == "loss" and "reduce" not in {p.name.id for p in declaration.params}:
        if not (isinstance(value, Value) and value.type.rank == 0 and value.type.is_float):
            raise LeeError(kinds.not_scalar(returned.span, f"the loss `{declaration.name.id}`", describe(value)))
    return value


def promised(ctx: Context, declaration: nodes.Function, node: nodes.Expr, value: object, span: Span) -> object:
    from leec.elaborate.arithmetic import coerce

    if isinstance(node, nodes.Tuple) and isinstance(value, tuple) and len(value) == len(node.items):
        return tuple(promised(ctx, declaration, n, v, span) for n, v in zip(node.items, value))
    pattern = read_pattern(node)
    if pattern is None:
        return value
    if isinstance(value, (Dim, float, bool)):
        value = ctx.builder.lift(value)
    wanted = declare_dims(ctx, pattern)
    fits = (
        isinstance(value, Value)
        and value.type.rank == wanted.rank
        and (value.type.dtype == wanted.dtype or (value.type.is_float and wanted.is_float))
    )
    if not fits or not all(ctx.agree(w, d, span) for w, d in zip(wanted.dims, value.type.dims)):
        raise LeeError(shapes.returned_shape(span, declaration.name.id, describe(value), node.span.text, node.span))
    return coerce(ctx, value, wanted.dims)


def grouped(value: object) -> Iterator[Result]:
    """What is returned, a value under its name; the tensors of a model stay together. Each value comes once."""
    seen: set[Value] = set()
    for item in value if isinstance(value, tuple) else (value,):
        leaves = list(leaves_of(item))
        if isinstance(item, Instance) and seen.isdisjoint(leaves) and len(set(leaves)) == len(leaves):
            yield Result(item.spec.name.lower(), tuple(leaves), item.spec.name, tuple(item.leaves))
        else:
            yield from (Result(v.name, (v,)) for v in dict.fromkeys(leaves) if v not in seen)
        seen |= set(leaves)


def finish(
    ctx: Context, target: object, parameters: list[Parameter], start: dict[str, Instance], value: object
) -> Specialised:
    """The Function: results, state that changed, and a name no other specialisation has."""
    session, declaration = ctx.session, target.declaration
    parameters = [p for p in parameters if p.values or p.static or p.model]
    if ctx.key is not None:  # in front of what may be left out
        place = next((i for i, p in enumerate(parameters) if p.default is not None), len(parameters))
        parameters.insert(place, Parameter("key", (ctx.key,)))
    state = tuple(
        (before, ctx.names[name].leaves[path])
        for name, instance in start.items()
        for path, before in instance.leaves.items()
        if instance.spec.kinds[path] == "state" and ctx.names[name].leaves[path] is not before
    )
    ctx.reads_training |= bool(state)  # out of training no state is committed (R9)
    base = f"{ctx.owner}.{declaration.name.id}" if ctx.owner else declaration.name.id
    base += "_eval" if ctx.reads_training and not ctx.training else ""
    function = Function(
        session.unique(base, session.functions), tuple(parameters), tuple(ctx.builder.equations),
        tuple(grouped(value)), state if ctx.training else (), ctx.facts, tuple(ctx.checks), declaration.doc or "",
        declaration.span, ctx.owner, public=True, pack=ctx.dims[PACK].symbol if PACK in ctx.dims else None,
    )  # fmt: skip
    session.functions[function.name] = function
    remember(ctx, function)
    packs = {v: i for v in leaves_of(value) for i, d in enumerate(v.type.dims) if d == ctx.dims.get(PACK)}
    return Specialised(function, value, ctx.reads_training, packs)
