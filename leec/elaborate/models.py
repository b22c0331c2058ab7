"""Models: a class for each structure of hyperparameters, its constructor as an IR function, its members as views.

Shape integers stay symbolic, so one class serves every size; bools, strings, tuples' lengths and None choose code.
A number computed at construction (`scale = 1 / sqrt(d)`) travels with the tensors, as a leaf of kind `hyper`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from leec.diagnostics import LeeError, structure
from leec.dims import Dim, Facts
from leec.elaborate.callers import calling, entering, told
from leec.elaborate.context import Context, NeedStructural, Unify
from leec.elaborate.demands import demand, structural_bool
from leec.elaborate.keys import key_of
from leec.elaborate.specialise import inner_value
from leec.elaborate.values import POISON, ClassValue, Instance, ListValue, leaves_of
from leec.ir.graph import Function, Parameter, Result, Value
from leec.syntax import nodes
from leec.types import ShapeMismatch, TensorType


@dataclass(frozen=True)
class Part:
    """A member that is a model, its hyperparameters over the owner's symbols; leaves have the path as prefix."""

    spec: ModelSpec
    hypers: Mapping[str, object]
    path: str


@dataclass(eq=False)
class ModelSpec:
    """An elaborated model class. `leaves` maps every path to its type over the class's symbols."""

    name: str
    declaration: nodes.Model
    home: object
    hypers: dict[str, object]  # name -> value over own symbols: Dim, tuple, bool, Instance, ..
    parameters: tuple[Parameter, ...] = ()
    leaves: dict[str, TensorType] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)  # path -> param, state or hyper
    parts: dict[str, Part | tuple[Part, ...]] = field(default_factory=dict)
    statics: dict[str, object] = field(default_factory=dict)
    methods: dict[str, nodes.Function] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)  # members with mistakes
    facts: Facts = Facts()
    init: str = ""

    def member_names(self) -> list[str]:
        own = [p for p in self.leaves if "." not in p]
        return [*own, *self.parts, *self.statics, *self.hypers, *self.methods]


# ---- construction


def construct(ctx: Context, cls: ClassValue, given) -> Instance:
    """`Conv(1, 16, padding = 1)`: the class for this structure, and the call of its constructor."""
    from leec.elaborate.calls import bind, bind_argument, part, with_defaults
    from leec.elaborate.requirements import meet

    declaration: nodes.Model = cls.declaration
    bound = bind(declaration.name.id, declaration.params, given, declaration.name.span)
    full = with_defaults(ctx, cls.home, declaration.params, bound)
    spec = model_spec(ctx, cls, {n: v for n, (v, _) in full.items()}, given.span)
    binding: dict[str, Dim] = {}
    function = ctx.session.functions[spec.init]
    args: list[Value] = []
    for parameter in function.parameters:
        if parameter.name == "key":
            args.append(ctx.draw_key(declaration.name.id, given.span))
            continue
        value = part(full, parameter.name)
        args += bind_argument(ctx, function, parameter, value, given.span, binding)
    meet(ctx, function, binding, given.span)
    types = tuple(v.type.substitute(binding) for v in function.outputs)
    with ctx.at(given.span):
        known = tuple(sorted((k, v) for k, v in binding.items()))
        values = ctx.builder.call(*args, callee=function.name, dims=known, results=types) if types else ()
        values = ctx.rename_results(values, [v.name for v in function.outputs])
    hypers = {n: v for n, (v, _) in full.items() if not isinstance(v, (float, Value))}
    return Instance(spec, hypers, dict(zip(spec.leaves, values)))


def model_spec(ctx: Context, cls: ClassValue, values: dict[str, object], span) -> ModelSpec:
    """The elaborated class, from memory or made now."""
    session = ctx.session
    identity = ("model", id(cls.declaration))
    while True:
        demanded = session.structural.setdefault(identity, set())
        verify_known(values, demanded, span)
        key = (identity, *((n, key_of(v, demanded, n)) for n, v in values.items()))
        if key in session.memo:
            return session.memo[key]
        try:
            with entering(session, key, cls.name, span), calling(session, cls.name, span):
                spec = build_spec(ctx, cls, values, demanded)
        except NeedStructural as need:
            demand(demanded, need, {n: (v, span) for n, v in values.items()})
            continue
        session.memo[key] = spec
        session.models[spec.name] = spec
        return spec


def verify_known(values: dict[str, object], demanded: set[str], span) -> None:
    """What chooses code in the class must be a number here too; the caller restarts where it is a symbol."""
    from leec.elaborate.calls import part

    for name in demanded:
        value = part({n: (v, span) for n, v in values.items()}, name)
        if isinstance(value, Dim) and value.constant is None:
            raise NeedStructural(sorted(value.symbols)[0], span)


def build_spec(ctx: Context, cls: ClassValue, values: dict[str, object], demanded: set[str]) -> ModelSpec:
    """Run the members once, as the body of the constructor (R30)."""
    from leec.elaborate.requirements import remember

    session, declaration = ctx.session, cls.declaration
    name = session.unique(declaration.name.id, {**session.models, **{n: None for n in session.reserved_names}})
    inner = Context(session, cls.home, "init")
    spec = ModelSpec(name, declaration, cls.home, {})
    session.reserved_names.add(name)
    parameters: list[Parameter] = []
    for param in declaration.params:
        made, carried = inner_value(inner, param.name.id, values[param.name.id], demanded, param.name.span)
        enter_hyper(spec, inner, param.name.id, made)
        parameters += carried
    try:
        enter_members(spec, inner, declaration.members)
    except Unify as unify:
        raise NeedStructural(unify.symbol, unify.span or declaration.name.span) from unify
    if inner.key is not None:
        parameters.append(Parameter("key", (inner.key,)))
    spec.parameters = tuple(p for p in parameters if p.values or p.static or p.model)
    spec.facts = inner.facts
    spec.init = session.unique(f"{name}.init", session.functions)
    leaves = [inner.made[p] for p in spec.leaves]
    result = Result("self", tuple(leaves), name, tuple(spec.leaves))
    session.functions[spec.init] = Function(
        spec.init, spec.parameters, tuple(inner.builder.equations), (result,), (), inner.facts, tuple(inner.checks),
        declaration.doc or "", declaration.span, name,
    )  # fmt: skip
    remember(inner, session.functions[spec.init])
    return spec


def enter_hyper(spec: ModelSpec, ctx: Context, name: str, made: object) -> None:
    """A constructor argument: numbers travel as leaves, models become members, the rest is the class's structure."""
    ctx.names[name] = made
    if isinstance(made, Value):
        add_leaf(spec, ctx, name, made, "hyper")
    elif isinstance(made, Instance):
        add_part(spec, ctx, name, replace(made, place=None))
    else:
        spec.hypers[name] = made


def add_leaf(spec: ModelSpec, ctx: Context, path: str, value: Value, kind: str) -> None:
    spec.leaves[path], spec.kinds[path] = value.type, kind
    ctx.made[path] = value


def add_part(spec: ModelSpec, ctx: Context, path: str, instance: Instance) -> Part:
    """A member model, with all its leaves under its path."""
    for leaf, value in instance.leaves.items():
        add_leaf(spec, ctx, f"{path}.{leaf}", value, instance.spec.kinds[leaf])
    spec.parts[path] = Part(instance.spec, instance.hypers, path)
    return spec.parts[path]


# ---- members


def enter_members(spec: ModelSpec, ctx: Context, members: Iterable[nodes.Members]) -> None:
    """Every member; a mistake in one is reported, and who mentions it makes no other. What the library finds wrong in
    its own models is a mistake of the call, and nothing can be checked where a requirement is not met."""
    for member in members:
        try:
            enter_member(spec, ctx, member)
        except (LeeError, ShapeMismatch) as error:
            if ctx.home.is_std or isinstance(member, nodes.Require):
                raise
            told(ctx.session, error, member.span)
            spec.failed |= declared_names(member)
            ctx.names |= dict.fromkeys(declared_names(member), POISON)


def declared_names(member: nodes.Members) -> set[str]:
    match member:
        case nodes.MemberIf(then=then, otherwise=otherwise):
            return set().union(*map(declared_names, (*then, *otherwise)))
        case nodes.Require():
            return set()
    return {member.name.id}


def enter_member(spec: ModelSpec, ctx: Context, member: nodes.Members) -> None:
    from leec.elaborate.requirements import require

    match member:
        case nodes.ParamDecl():
            enter_tensor(spec, ctx, member, "param")
        case nodes.StateDecl() if member.like is None:
            enter_tensor(spec, ctx, member, "state")
        case nodes.Local():
            ctx.names[member.name.id] = initial(ctx, member)
        case nodes.Member():
            enter_named(spec, ctx, member)
        case nodes.MemberIf():
            enter_if(spec, ctx, member)
        case nodes.Require():
            require(ctx, member)
        case nodes.Function():
            spec.methods[member.name.id] = member
        case _:
            raise LeeError(structure.not_here(member.span, "`like`", "in a model"))


def enter_if(spec: ModelSpec, ctx: Context, member: nodes.MemberIf) -> None:
    """Members under a structural condition (decision 6)."""
    enter_members(spec, ctx, member.then if structural_bool(ctx, member.condition) else member.otherwise)


def enter_tensor(spec: ModelSpec, ctx: Context, member: nodes.ParamDecl | nodes.StateDecl, kind: str) -> None:
    value = initial(ctx, member)
    ctx.names[member.name.id] = value
    add_leaf(spec, ctx, member.name.id, value, kind)


def initial(ctx: Context, member: nodes.ParamDecl | nodes.StateDecl | nodes.Local) -> Value:
    """The first value of a tensor: a number that fills it, a tensor of its shape, or a draw from its prior."""
    from leec.elaborate.binding import filled
    from leec.elaborate.distributions import draw
    from leec.elaborate.expressions import evaluate, tensor_type
    from leec.elaborate.signature import read_pattern

    pattern = read_pattern(member.type)
    if pattern is None:
        raise LeeError(structure.wrong_kind(member.type.span, "a name", "a type such as `[n, d]`"))
    type_ = tensor_type(ctx, pattern.dtype, pattern.items)
    name = member.name.id
    with ctx.drawing_at(name), ctx.at(member.span):
        try:
            if member.prior is not None:
                value, _ = draw(ctx, member.prior, name, type_)
            else:
                value = filled(ctx, evaluate(ctx, member.init), type_, member.init.span)
        except (LeeError, ShapeMismatch) as error:
            if ctx.home.is_std:
                raise
            told(ctx.session, error, member.span)  # its type is known, so what is done with it can be checked
            value = filled(ctx, Dim.of(0), type_, member.span)
    return name_leaf(ctx, value, name, member)


def name_leaf(ctx: Context, value: Value, name: str, member: nodes.Node) -> Value:
    from leec.elaborate.define import name_value

    return name_value(ctx, name, value, member)


def enter_named(spec: ModelSpec, ctx: Context, member: nodes.Member) -> None:
    """`name = value`: a model, a list of models, or a constant of the construction."""
    from leec.elaborate.expressions import evaluate

    name = member.name.id
    with ctx.drawing_at(name):
        value = evaluate(ctx, member.value)
    ctx.names[name] = value
    if isinstance(value, Instance):
        add_part(spec, ctx, name, value)
    elif isinstance(value, ListValue) and value.items and all(isinstance(v, Instance) for v in value.items):
        spec.parts[name] = tuple(_element(spec, ctx, name, i, v) for i, v in enumerate(value.items))
    elif isinstance(value, Value) and value.type.host:
        add_leaf(spec, ctx, name, value, "hyper")
    elif not any(True for _ in leaves_of(value)):
        spec.statics[name] = value


def _element(spec: ModelSpec, ctx: Context, name: str, position: int, value: Instance) -> Part:
    part = add_part(spec, ctx, f"{name}.{position}", value)
    del spec.parts[f"{name}.{position}"]
    return part
