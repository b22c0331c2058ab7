"""Optimizers: `update(θ, g, t)` on the whole vector, `update_each` on one tensor at a time (decision 11).

θ, g and every state like θ are one flat vector of a rigid length; what `<-` stores becomes the function's state. States
of a declared shape, and models among the hyperparameters, belong to rules of the whole vector.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from leec.diagnostics import LeeError, structure
from leec.dims import Dim
from leec.elaborate.context import Context, NeedStructural
from leec.elaborate.expressions import evaluate, tensor_type
from leec.elaborate.signature import read_pattern
from leec.elaborate.specialise import inner_value
from leec.elaborate.statements import run_block
from leec.elaborate.values import ClassValue, Instance
from leec.ir.graph import Function, Parameter, Value
from leec.ir.module import Hyper, OptimizerClass
from leec.ir.symbols import symbols_of
from leec.syntax import nodes
from leec.types import TensorType, host


@dataclass(eq=False)
class OptimizerSpec:
    """An elaborated optimizer. `states` are the numbers that fill them at first; `shaped` those that declare a shape."""

    name: str
    declaration: nodes.Optimizer
    home: object
    hypers: dict[str, object]
    states: dict[str, float] = field(default_factory=dict)
    shaped: dict[str, nodes.StateDecl] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)  # of those, in terms of the rule
    methods: dict[str, nodes.Function] = field(default_factory=dict)
    update: str | None = None
    update_each: dict[int, str] = field(default_factory=dict)
    counts: set[str] = field(default_factory=set)  # hyperparameters that are numbers of rounds

    def tensors(self, session) -> dict[str, TensorType]:
        """The tensors of models among the hyperparameters, by path, in terms of the rule."""
        rule = session.functions[self.update or next(iter(self.update_each.values()))]
        return {f"{p.name}.{q}": v.type for p in rule.parameters for q, v in zip(p.paths, p.values)}

    def sizes(self, session) -> list[str]:
        """The symbols of the sizes of these models."""
        return sorted(symbols_of((*self.types.values(), *self.tensors(session).values())) - {"count"})

    def describe(self) -> OptimizerClass:
        hypers = tuple(hyper(n, v) for n, v in self.hypers.items() if n not in self.counts)
        return OptimizerClass(
            self.name, hypers, tuple((n, self.types.get(n)) for n in self.states), self.update, dict(self.update_each),
            self.declaration.doc or "", self.declaration.span, dict(self.states),
        )  # fmt: skip


def hyper(name: str, given: object) -> Hyper:
    """What the class takes: a model, or a number with the default that the declaration gives it."""
    if isinstance(given, Instance):
        return Hyper(name, "model", given.spec.name)
    return Hyper(name, "float", number_of(given), given is not None)


def optimizer_spec(session, cls: ClassValue, given: dict[str, object]) -> OptimizerSpec:
    """The elaborated class; one for all uses, but for numbers that its rule counts rounds by, and for classes of models."""
    demanded = session.structural.setdefault(("optimizer", id(cls.declaration)), set())
    models = {n: v for n, v in given.items() if isinstance(v, Instance)}
    while True:
        of_models = ((n, models[n].spec.name) for n in sorted(models))
        key = (id(cls.declaration), *((n, given.get(n)) for n in sorted(demanded)), *of_models)
        if key in session.memo:
            return session.memo[key]
        try:
            spec = build_spec(session, cls, models | {n: given[n] for n in demanded if n in given}, demanded)
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
        case nodes.StateDecl(init=init) if init is not None:
            start = evaluate(ctx, init)
            number = float(start.constant) if isinstance(start, Dim) and start.constant is not None else start
            if not isinstance(number, float):
                raise LeeError(structure.needs_static(init.span, "the first value of an optimizer's state"))
            spec.states[member.name.id] = number
            if member.like is None:
                spec.shaped[member.name.id] = member
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
    like = TensorType("float", (Dim.of("count"),) if rank is None else tuple(Dim.of(f"d{i}") for i in range(rank)))
    ctx.rigid |= {d.symbol for d in like.dims}
    enter = Entering(ctx, declaration)
    parameters = [enter.value(name, like) for name in (theta, g)]
    hypers = [p for name, default in spec.hypers.items() for p in enter.hyper(spec, name, default)]
    spec.types |= {name: state_type(ctx, node, rank) for name, node in spec.shaped.items()}
    parameters += [enter.value(name, spec.types.get(name, like)) for name in spec.states]
    parameters += [enter.value(t, host("int")), *hypers]
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


@dataclass
class Entering:
    """Parameters of a rule, each with its name in scope."""

    ctx: Context
    declaration: nodes.Function

    def value(self, name: str, type_: TensorType, default: object = None) -> Parameter:
        self.ctx.names[name] = Value(self.ctx.builder.unique(name), type_, self.declaration.span, True)
        return Parameter(name, (self.ctx.names[name],), default=default)

    def hyper(self, spec: OptimizerSpec, name: str, given: object) -> list[Parameter]:
        if name in spec.counts:
            self.ctx.names[name] = given  # a number of rounds: written out
            return []
        if isinstance(given, Instance):
            self.ctx.names[name], parameters = inner_value(self.ctx, name, given, set(), self.declaration.span)
            return parameters
        return [self.value(name, host("float"), number_of(given))]


def state_type(ctx: Context, node: nodes.StateDecl, rank: int | None) -> TensorType:
    """The declared type of a state, whose sizes may speak of θ and of models among the hyperparameters."""
    pattern = read_pattern(node.type)
    if pattern is None or pattern.dtype != "float":
        raise LeeError(structure.wrong_kind(node.type.span, "this", "a type such as `[count(θ), d]`"))
    if rank is not None:
        raise LeeError(structure.not_built(node.span, "a state of a declared shape beside `update_each`"))
    return tensor_type(ctx, pattern.dtype, pattern.items)
