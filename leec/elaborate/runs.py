"""A run: a stretch of a `train` without host effects, outlined into one IR function (decision 22).

Host variables that it reads become parameters when they are first read; what later statements need becomes results;
models and optimizers are changed in place, which the function's state says.
"""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, Span, kinds, structure
from leec.dims import Dim, Facts
from leec.elaborate import hostvalues as hv
from leec.elaborate import points
from leec.elaborate.context import Context
from leec.elaborate.gradients import reaches, scalar
from leec.elaborate.handed import parts
from leec.elaborate.members import hyper_symbols
from leec.elaborate.readers import ListReader, Reader, RecordReader
from leec.elaborate.statements import run_block
from leec.elaborate.values import POISON, Instance, Place, describe, leaves_of, rebuild
from leec.ir import host
from leec.ir.graph import Function, Parameter, Result, Value
from leec.ir.symbols import readable, symbols_of
from leec.syntax import nodes
from leec.types import TensorType
from leec.types import host as host_type


class Run:
    """The function under construction, and the host expressions of its arguments."""

    def __init__(self, owner, training: bool = True):
        self.owner = owner
        self.ctx = Context(owner.session, owner.home, "run", training)
        self.ctx.missing, self.ctx.restarts = self.capture, False
        self.ctx.sites = owner.draws  # equal names of other runs draw other numbers, however statements are grouped
        self.parameters: list[Parameter] = []
        self.arguments: list[host.HostExpr] = []
        self.start: dict[str, Instance] = {}
        self.entered: dict[str, Instance] = {}
        self.captured: dict[str, object] = {}
        self.optimizers: dict[str, dict[str, Value]] = {}
        self.assigned: dict[str, Span] = {}
        self.is_step = False
        self.losses: list[Value] = []
        self.span: Span | None = None

    # ---- reading host variables

    def capture(self, name: str) -> tuple[object] | None:
        """The inner value of a host variable, made a parameter the first time."""
        if name not in self.captured:
            outer = self.owner.variables.get(name)
            if outer is None:
                return None
            if outer is POISON:
                raise LeeError()
            self.captured[name] = self.bring_in(name, outer)
            if isinstance(self.captured[name], Instance):
                self.ctx.names[name] = self.captured[name]
        return (self.captured[name],)

    def bring_in(self, name: str, outer: object) -> object:
        match outer:
            case hv.HostTensor():
                return self.tensor(name, outer)
            case hv.HostNumber(expr=expr, dtype=dtype):
                return self.enter(name, host_type(dtype), expr)
            case hv.HostModel():
                return self.model(name, outer)
            case hv.HostData() | hv.HostSplit():
                return Reader(self, name, outer)
            case hv.HostTuple(items=items, names=()):
                return tuple(self.bring_in(f"{name}_{i}", v) for i, v in enumerate(items))
            case hv.HostTuple():
                return RecordReader(self, name, outer)
            case hv.HostList():
                return ListReader(self, name, outer)
            case hv.HostStructure(value=value, tensors=tensors):
                return rebuild(value, lambda v: self.bring_in(f"{name}_{v.name}", tensors[v]), lambda d: d)
        return outer

    def enter(self, name: str, type_: TensorType, expr: host.HostExpr) -> Value:
        value = Value(self.ctx.builder.unique(name), type_, self.span, True)
        self.parameters.append(Parameter(name, (value,)))
        self.arguments.append(expr)
        self.ctx.rigid |= {s for d in type_.dims for s in d.symbols}
        return value

    def tensor(self, name: str, outer: hv.HostTensor) -> Value:
        return self.enter(name, outer.type, outer.expr)

    def model(self, name: str, outer: hv.HostModel) -> Instance:
        """The model as a parameter, with the sizes that the procedure made it with."""
        spec = outer.spec
        instance = Instance(spec, outer.hypers, {p: Value(p, t) for p, t in spec.leaves.items()})
        binding = dict(hyper_symbols(instance))
        leaves = {
            p: Value(self.ctx.builder.unique(f"{name}.{p}"), t.substitute(binding), None, True)
            for p, t in spec.leaves.items()
        }
        self.ctx.facts = Facts(
            (*self.ctx.facts.remainders, *spec.facts.substitute(binding).remainders), self.ctx.facts.equal_pairs
        )
        self.parameters.append(Parameter(name, tuple(leaves.values()), spec.name, tuple(leaves)))
        self.arguments.append(outer.expr)
        self.start[name] = replace(instance, leaves=leaves, place=Place(name))
        return points.entered(self, name, outer, self.start[name])

    def optimizer(self, name: str, outer: hv.HostOptimizer, size: Dim) -> dict[str, Value]:
        """An optimizer's states, step count and hyperparameters, as one parameter."""
        if name not in self.optimizers:
            spec = outer.spec
            types = {n: TensorType("float", (size,)) for n in spec.states} | {"t": host_type("int")}
            numbers = (n for n, v in spec.hypers.items() if n not in spec.counts and not isinstance(v, Instance))
            types |= {n: host_type("float") for n in numbers}
            types |= self.shaped(name, spec, size)
            values = {n: Value(self.ctx.builder.unique(f"{name}.{n}"), t, None, True) for n, t in types.items()}
            self.parameters.append(Parameter(name, tuple(values.values()), spec.name, tuple(values)))
            self.arguments.append(outer.expr)
            self.optimizers[name] = dict(values)
        return self.optimizers[name]

    def shaped(self, name: str, spec, size: Dim) -> dict[str, TensorType]:
        """The types of states that declare a shape, and of the tensors of models among the hyperparameters."""
        own = {s: Dim.of(f"{name}.{s}") for s in spec.sizes(self.owner.session)} | {"count": size}
        self.ctx.rigid |= {d.symbol for d in own.values() if d.symbol}
        return {n: t.substitute(own) for n, t in (spec.types | spec.tensors(self.owner.session)).items()}

    # ---- statements

    def statement(self, node: nodes.Stmt) -> None:
        self.span = self.span or node.span
        match node:
            case nodes.Minimize():
                self.minimize(node)
            case nodes.Update():
                self.update(node)
            case nodes.Store(target=nodes.Name(id=name)):
                self.capture(name)
                self.ctx.names.setdefault(name, self.captured.get(name))
                self.ctx.storable.add(name)
                self.block(node)
            case _:
                self.block(node)

    def block(self, node: nodes.Stmt) -> None:
        from leec.elaborate.binding import bound_names

        run_block(self.ctx, (node,))
        self.assigned |= {n: node.span for n in sorted(bound_names(node))}

    def minimize(self, node: nodes.Minimize) -> None:
        """E once in training mode, its gradient, state committed, then the update (R27)."""
        from leec.elaborate import arithmetic
        from leec.elaborate.expressions import evaluate

        targets = [evaluate(self.ctx, t) for t in node.targets]
        before = [self.leaves_of_target(t, n) for t, n in zip(targets, node.targets)]
        with self.ctx.at(node.span):
            value = scalar(self.ctx, evaluate(self.ctx, node.objective), node.objective.span)
            self.losses.append(value)
            descent = arithmetic.negate(self.ctx, value, node.span) if node.maximize else value
            for leaves, target in zip(before, node.targets):
                if not reaches(self.ctx, value, {v for _, v in leaves}):
                    raise LeeError(kinds.no_gradient(node.objective.span, target.span.text, target.span))
            flat = [v for leaves in before for _, v in leaves]
            found = self.ctx.rename_results(
                self.ctx.builder.grad(descent, *flat), [f"d_{v.name.rpartition('.')[2]}" for v in flat]
            )
        self.step(node, before, list(found), node.targets, node.optimizers)

    def update(self, node: nodes.Update) -> None:
        """`update θ with opt along g`"""
        from leec.elaborate.expressions import evaluate

        target = evaluate(self.ctx, node.target)
        direction = evaluate(self.ctx, node.direction)
        leaves = self.leaves_of_target(target, node.target)
        along = (
            [v for _, v in direction.parameters()] if isinstance(direction, Instance) else list(leaves_of(direction))
        )
        self.step(node, [leaves], along, (node.target,), (node.optimizer,))

    def leaves_of_target(self, target: object, node: nodes.Expr) -> list[tuple[Place, Value]]:
        """The parameters of a model variable or of a field of one."""
        if isinstance(target, Instance) and target.place is not None and not target.is_vector:
            return [(target.place.member(p), v) for p, v in target.parameters()]
        raise LeeError(kinds.not_moved(node.span, describe(target)))

    def step(self, node, before: list, found: list[Value], targets: tuple, optimizers: tuple) -> None:
        """One optimizer takes all targets as one vector; as many optimizers as targets go in pairs (R29)."""
        if len(optimizers) not in (1, len(targets)):
            raise LeeError(
                structure.wrong_kind(
                    node.span, f"{len(optimizers)} optimizers for {len(targets)} targets", "one for all, or one each"
                )
            )
        named = [o.id for o in optimizers if isinstance(o, nodes.Name)]
        if len(set(named)) < len(named):
            raise LeeError(
                structure.wrong_kind(node.span, "one optimizer twice", "one for all, or an own one for each")
            )
        self.is_step = True
        groups = [[pair for leaves in before for pair in leaves]] if len(optimizers) == 1 else before
        for leaves, optimizer in zip(groups, optimizers):
            gradient, found = found[: len(leaves)], found[len(leaves) :]
            self.apply(node, optimizer, leaves, gradient)

    def apply(self, node, optimizer: nodes.Expr, leaves: list[tuple[Place, Value]], gradient: list[Value]) -> None:
        outer = self.owner.variables.get(optimizer.id) if isinstance(optimizer, nodes.Name) else None
        if not isinstance(outer, hv.HostOptimizer):
            raise LeeError(structure.wrong_kind(optimizer.span, "this", "an optimizer"))
        b = self.ctx.builder
        with self.ctx.at(node.span):
            values = [v for _, v in leaves]
            size = sum((v.type.size for v in values), Dim.of(0))
            state = self.optimizer(optimizer.id, outer, size)
            if outer.spec.update is not None:
                theta = self.call_update(
                    outer, outer.spec.update, b.flatten(*values, hint="theta"), b.flatten(*gradient, hint="g"), state
                )
                after = b.unflatten(theta, shapes=tuple(v.type.dims for v in values))
            else:
                after = self.each(outer, values, gradient, state)
        after = (
            self.ctx.rename_results(after, [v.name.rpartition(".")[2] for v in values]) if outer.spec.update else after
        )
        for (place, _), value in zip(leaves, after):
            self.ctx.write_back(Place(place.root), {place.path: value})

    def call_update(self, outer: hv.HostOptimizer, name: str, theta: Value, g: Value, state: dict[str, Value]) -> Value:
        """Call the rule; its new states replace those of the optimizer."""
        function = self.owner.session.functions[name]
        given = {function.parameters[0].name: theta, function.parameters[1].name: g, **state}
        places = [f"{p.name}.{q}" if p.model else p.name for p in function.parameters for q in p.paths or ("",)]
        args = [given.get(place, state["t"]) for place in places]
        binding = dict(zip((d.symbol for d in function.inputs[0].type.dims), theta.type.dims))
        binding |= {s: Dim.of(f"{outer.expr.name}.{s}") for s in outer.spec.sizes(self.owner.session)}
        types = tuple(v.type.substitute(binding) for v in function.outputs)
        results = self.ctx.builder.call(*args, callee=name, dims=tuple(sorted(binding.items())), results=types)
        results = self.ctx.rename_results(results, [v.name for v in function.outputs])
        for (before, _), value in zip(function.state, results):
            if before.name in state:
                state[before.name] = value
        return results[[before.name for before, _ in function.state].index(function.parameters[0].name)]

    def each(
        self, outer: hv.HostOptimizer, values: list[Value], gradient: list[Value], state: dict[str, Value]
    ) -> tuple[Value, ...]:
        """`update_each`: one call a tensor, with its part of every state."""
        b, shapes = self.ctx.builder, tuple(v.type.dims for v in values)
        parts = {n: b.unflatten(state[n], shapes=shapes) for n in outer.spec.states}
        after, states = [], {n: [] for n in parts}
        for i, (value, g) in enumerate(zip(values, gradient)):
            own = {**state, **{n: p[i] for n, p in parts.items()}}
            after.append(self.call_update(outer, outer.spec.update_each[value.type.rank], value, g, own))
            for n in states:
                states[n].append(own[n])
        state.update({n: b.flatten(*vs, hint=n) for n, vs in states.items()})
        return tuple(after)

    # ---- the function

    def finish(
        self, name: str, wanted: list[str], outputs: dict[str, Value] | None = None
    ) -> tuple[Function, list[str]]:
        """Close the function: its results are the wanted names, then the given values."""
        ctx = self.ctx
        values = {r: v for n in wanted for r, v in parts(self, n).items()} | (outputs or {})
        state = points.changes(self)
        for parameter in self.parameters:
            state += [(v, self.optimizers[parameter.name][p]) for v, p in zip(parameter.values, parameter.paths)
                      if parameter.name in self.optimizers and self.optimizers[parameter.name][p] is not v]  # fmt: skip
        self.close_symbols()
        if ctx.key is not None:
            self.parameters.append(Parameter("key", (ctx.key,)))
        session = self.owner.session
        function = Function(
            session.unique(name, session.functions), tuple(self.parameters), tuple(ctx.builder.equations),
            tuple(Result(n, (v,)) for n, v in values.items()), tuple(state), ctx.facts, tuple(ctx.checks), "", self.span, public=False,
        )  # fmt: skip
        session.functions[function.name] = function
        return function, list(values)

    def close_symbols(self) -> None:
        """Sizes that no argument's shape tells are passed as integers."""
        used = symbols_of((tuple(v for p in self.parameters for v in p.values), tuple(self.ctx.builder.equations)))
        for symbol in sorted(used - readable(self.parameters)):
            self.parameters.append(Parameter(symbol, static=symbol))
            self.arguments.append(host.Size(Dim.of(symbol)))
