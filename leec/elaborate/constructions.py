"""Calls in a `train` that make host objects: models, optimizers, data, samples, splits, and calls of procedures."""

from __future__ import annotations

from collections.abc import Callable

from leec.diagnostics import LeeError, names, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import names_apart
from leec.elaborate.calls import bind, part, with_defaults
from leec.elaborate.environments import is_environment, method
from leec.elaborate.hostexpr import host_arguments
from leec.elaborate.invocation import invoke
from leec.elaborate.lists import stack
from leec.elaborate.look import is_list, look
from leec.elaborate.models import model_spec
from leec.elaborate.optimizers import optimizer_spec
from leec.elaborate.requirements import meet
from leec.elaborate.sources import load_source, with_rows
from leec.elaborate.structural import is_compiled_in
from leec.elaborate.values import BuiltinValue, ClassValue, ProcedureValue, SourceValue
from leec.ir import host
from leec.ir.graph import Value
from leec.syntax import nodes


def constructor(self, node: nodes.Call) -> Callable | None:
    """How a call that makes a host object is elaborated; None for other calls."""
    if isinstance(node.function, nodes.Attribute):
        owner = node.function.value
        name = node.function.name.id
        if is_environment(look(self, owner)):
            return method
        if name == "sample" and isinstance(look(self, owner), hv.HostSplit):
            return _sample
        return None
    found = look(self, node.function)
    match found:
        case ClassValue(declaration=nodes.Model()):
            return construct_model
        case ClassValue():
            return _construct_optimizer
        case SourceValue():
            return load
        case ProcedureValue():
            return _call_procedure
        case hv.RuntimeFunction(name="split"):
            return _split
        case BuiltinValue(name="stack") if len(node.args) == 1 and is_list(self, node.args[0]) and not node.keywords:
            return stack
    return None


def construct_model(self, target: nodes.Name, node: nodes.Call) -> None:
    """The class is elaborated for these arguments; the object is made by the host."""
    cls = look(self, node.function)
    self.flush()
    given, exprs = host_arguments(self, node)
    bound = bind(cls.name, cls.declaration.params, given, cls.declaration.name.span)
    full = with_defaults(self.known, cls.home, cls.declaration.params, bound)
    values = {n: v for n, (v, _) in full.items()}
    spec = model_spec(self.known, cls, values, node.span)
    init = self.session.functions[spec.init]
    sizes = {p.static: part(full, p.name) for p in init.parameters if p.static}
    meet(self.known, init, sizes, node.span)
    named = [p.name.id for p in named_params(cls.declaration.params, node, exprs)]
    arguments = tuple((n, exprs[n]) for n in named if not is_compiled_in(spec.hypers.get(n, exprs[n])))
    self.emit(host.Construct(target.id, "model", spec.name, arguments, target.id, span=node.span))
    hypers = {n: v for n, v in values.items() if not isinstance(v, (float, Value))}
    self.bind(target.id, hv.HostModel(host.Ref(target.id), spec, hypers))


def named_params(params: tuple[nodes.Param, ...], node: nodes.Call, exprs: dict) -> list[nodes.Param]:
    """The parameters that a call gives, positional ones under their names."""
    for position, param in enumerate(params[: len(node.args)]):
        exprs[param.name.id] = exprs[position]
    return [p for p in params if p.name.id in exprs]


def _construct_optimizer(self, target: nodes.Name, node: nodes.Call) -> None:

    cls = look(self, node.function)
    self.flush()
    given, exprs = host_arguments(self, node)
    bound = bind(cls.name, cls.declaration.params, given, cls.declaration.name.span)
    spec = optimizer_spec(self.session, cls, {n: v for n, (v, _) in bound.items()})
    arguments = tuple(
        (p.name.id, exprs[p.name.id])
        for p in named_params(cls.declaration.params, node, exprs)
        if p.name.id not in spec.counts
    )
    self.emit(host.Construct(target.id, "optimizer", spec.name, arguments, target.id, span=node.span))
    self.variables[target.id] = hv.HostOptimizer(host.Ref(target.id), spec)


def load(self, target: nodes.Name, node: nodes.Call) -> None:
    statement, value = load_source(self, look(self, node.function), target.id, node)
    self.emit(statement)
    self.variables[target.id] = value


def _sample(self, target: nodes.Expr, node: nodes.Call) -> None:
    """`part.sample(batch)`: one array a field, in field order (decision 15)."""
    part = look(self, node.function.value)
    given, exprs = host_arguments(self, node)
    if len(given.positional) != 1 or not isinstance(given.positional[0], Dim):
        raise LeeError(names.argument_count(node.span, "sample", "takes the number of rows"))
    rows = given.positional[0]
    types = [t.with_dims(rows, *t.dims[1:]) for t in part.fields.values()]
    targets = names_apart(target)
    if isinstance(target, nodes.Name) and len(types) > 1:
        fields = tuple(hv.HostTensor(host.Ref(""), t) for t in types)
        self.emit(
            host.Runtime((target.id,), "sample", (part.expr, exprs[0]), site=self.label(target.id), span=node.span)
        )
        self.bind(target.id, hv.HostTuple(host.Ref(target.id), fields, tuple(part.fields)))
        return
    if len(targets) != len(types):
        raise LeeError(structure.cannot_unpack(target.span, len(targets), f"{len(types)} fields"))
    site = self.label(next((t for t in targets if t), "sample"))
    self.emit(host.Runtime(targets, "sample", (part.expr, exprs[0]), site=site, span=node.span))
    for name, type_ in zip(targets, types):
        if name:
            self.variables[name] = hv.HostTensor(host.Ref(name), type_)


def _split(self, target: nodes.Expr, node: nodes.Call) -> None:
    """`a, b = split(part, fraction)`"""
    given, exprs = host_arguments(self, node)
    part = look(self, node.args[0]) if node.args else None
    if not isinstance(part, hv.HostSplit) or len(given.positional) != 2 or not isinstance(target, nodes.Tuple):
        raise LeeError(
            names.argument_count(node.span, "split", "takes a part of a source and a fraction, and gives two")
        )
    targets = names_apart(target)
    self.emit(host.Runtime(targets, "split", (part.expr, exprs[1]), site=self.label(targets[0]), span=node.span))
    for name in targets:
        self.variables[name] = with_rows(self, part, host.Ref(name), f"{name}_n")


def _call_procedure(self, target: nodes.Expr, node: nodes.Call) -> None:

    self.flush()
    signature, arguments = invoke(self, look(self, node.function), node)
    targets = names_apart(target)
    site = self.label(signature.procedure.name)
    self.emit(host.CallProcedure(targets, signature.procedure.name, arguments, site, span=node.span))
    several = isinstance(signature.returned, hv.HostTuple) and len(targets) > 1
    returned = signature.returned.items if several else (signature.returned,)
    if len(returned) != len(targets):
        raise LeeError(structure.cannot_unpack(target.span, len(targets), f"{len(returned)} values"))
    for name, value in zip(targets, returned):
        if name:
            self.bind(name, value, frozenset())
