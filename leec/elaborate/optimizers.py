"""Optimizers: `update(θ, g, t)` on the whole vector, `update_each` on one tensor at a time (decision 11).

θ, g and every state like θ are one flat vector of a rigid length; what `<-` stores becomes the function's state.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from leec.diagnostics import LeeError, structure
from leec.dims import Dim
from leec.elaborate.context import Context, NeedStructural
from leec.elaborate.expressions import evaluate
from leec.elaborate.statements import run_block
from leec.elaborate.values import ClassValue
from leec.ir.graph import Function, Parameter, Value
from leec.ir.module import Hyper, OptimizerClass
from leec.syntax import nodes
from leec.types import TensorType, host


@dataclass(eq=False)
class OptimizerSpec:
    """An elaborated optimizer. States like θ start at the number in `starts`."""

    name: str
    declaration: nodes.Optimizer
    home: object
    hypers: dict[str, object]
    states: dict[str, float] = field(default_factory=dict)
    methods: dict[str, nodes.Function] = field(default_factory=dict)
    update: str | None = None
    update_each: dict[int, str] = field(default_factory=dict)
    counts: set[str] = field(default_factory=set)  # hyperparameters that are numbers of rounds

    def describe(self) -> OptimizerClass:
        live = {n: v for n, v in self.hypers.items() if n not in self.counts}
        hypers = tuple(Hyper(n, "float", number_of(v), v is not None) for n, v in live.items())
        return OptimizerClass(
            self.name, hypers, tuple((n, None) for n in self.states), self.update, dict(self.update_each),
            self.declaration.doc or "", self.declaration.span, dict(self.states),
        )  # fmt: skip


def optimizer_spec(session, cls: ClassValue, given: dict[str, object]) -> OptimizerSpec:
    """The elaborated class; one for all uses, but for numbers that its rule counts rounds by."""
    demanded = session.structural.setdefault(("optimizer", id(cls.declaration)), set())
    while True:
        key = (id(cls.declaration), *((n, given.get(n)) for n in sorted(demanded)))
        if key in session.memo:
            return session.memo[key]
        try:
            spec = build_spec(session, cls, {n: given[n] for n in demanded if n in given}, demanded)
        except NeedStructural as need:
            if need.symbol in demanded:
                raise
            demanded.add(need.symbol)
            continue
        session.memo[key] = session.optimizers[spec.name] = spec
        return spec


def build_spec(session, cls: ClassValue, given: dict[str, object], demanded: set[str]) -> OptimizerSpec:
    spec = OptimizerSpec(
        session.unique(cls.name, session.optimizers), cls.declaration, cls.home, {}, counts=set(demanded)
    )
    outer = Context(session, cls.home, "default")
    for param in cls.declaration.params:
        default = evaluate(outer, param.default) if param.default is not None else None
        spec.hypers[param.name.id] = given.get(param.name.id, default)
    for member in cls.declaration.members:
        enter_member(spec, outer, member)
    if "update" in spec.methods:
        made = {None: elaborate_update(session, spec, spec.methods["update"], None)}
        spec.update = made[None].name
    elif "update_each" not in spec.methods:
        raise LeeError(structure.no_return(cls.declaration.name.span, f"{cls.name} without `update`"))
    else:
        made = {rank: elaborate_update(session, spec, spec.methods["update_each"], rank) for rank in range(5)}
        spec.update_each = {rank: function.name for rank, function in made.items()}
    session.functions.update({f.name: f for f in made.values()})  # only now: a rank may ask for a restart
    return spec


def enter_member(spec: OptimizerSpec, ctx: Context, member: nodes.Members) -> None:
    match member:
        case nodes.StateDecl(like=nodes.Name(), init=init) if init is not None:
            start = evaluate(ctx, init)
            number = float(start.constant) if isinstance(start, Dim) and start.constant is not None else start
            if not isinstance(number, float):
                raise LeeError(structure.needs_static(init.span, "the first value of a state like θ"))
            spec.states[member.name.id] = number
        case nodes.Function(name=name):
            spec.methods[name.id] = member
        case _:
            raise LeeError(structure.not_built(member.span, "this member of an optimizer"))


def number_of(value: object) -> object:
    """A default as Python writes it."""
    return value.constant if isinstance(value, Dim) else value


def elaborate_update(session, spec: OptimizerSpec, declaration: nodes.Function, rank: int | None) -> Function:
    """The IR function (θ, g, states, t, hyperparameters) -> new θ and states."""
    ctx = Context(session, spec.home, "update")
    ctx.owner = spec.name
    if len(declaration.params) != 3:
        raise LeeError(structure.wrong_kind(declaration.name.span, "a rule with other parameters", "`update(θ, g, t)`"))
    theta, g, t = (p.name.id for p in declaration.params)
    dims = (Dim.of("count"),) if rank is None else tuple(Dim.of(f"d{i}") for i in range(rank))
    ctx.rigid |= {d.symbol for d in dims}
    parameters = []
    for name in (theta, g, *spec.states):
        ctx.names[name] = Value(ctx.builder.unique(name), TensorType("float", dims), declaration.span, True)
        parameters.append(Parameter(name, (ctx.names[name],)))
    ctx.names[t] = Value(ctx.builder.unique(t), host("int"), declaration.span, True)
    parameters.append(Parameter(t, (ctx.names[t],)))
    for name, default in spec.hypers.items():
        if name in spec.counts:
            ctx.names[name] = default  # a number of rounds: written out
            continue
        ctx.names[name] = Value(ctx.builder.unique(name), host("float"), declaration.span, True)
        parameters.append(Parameter(name, (ctx.names[name],), default=number_of(default)))
    start = {n: ctx.names[n] for n in (theta, *spec.states)}
    ctx.storable = set(start)
    run_block(ctx, declaration.body)
    if ctx.names[theta] is start[theta]:
        raise LeeError(structure.nothing_moves(declaration.name.span, theta))
    state = tuple((before, ctx.names[n]) for n, before in start.items() if ctx.names[n] is not before)
    suffix = "" if rank is None else f"_{rank}d"
    return Function(
        session.unique(f"{spec.name}.{declaration.name.id}{suffix}", session.functions), tuple(parameters),
        tuple(ctx.builder.equations), (), state, ctx.facts, (), declaration.doc or "", declaration.span, spec.name,
    )  # fmt: skip
