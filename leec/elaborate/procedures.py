"""Procedures: the statements of a `train`, each sent to the host or into the run that is open (decisions 3, 22, 34)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from leec.diagnostics import LeeError, names, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.context import Context, Session
from leec.elaborate.hostexpr import host_value, is_host, number
from leec.elaborate.modules import SpecModule
from leec.elaborate.runs import Run
from leec.elaborate.sources import load_source
from leec.elaborate.statements import bound_names, target_names
from leec.elaborate.values import POISON, ClassValue, Instance, ProcedureValue, SourceValue
from leec.ir import host
from leec.ir.graph import Value
from leec.syntax import nodes


@dataclass(frozen=True)
class Signature:
    """What a caller needs to know of an elaborated procedure."""

    procedure: host.Procedure
    returned: object


class ProcedureElaborator:
    """The variables and statements of one procedure while it is elaborated."""

    def __init__(self, session: Session, home: SpecModule, declaration: nodes.Function):
        self.session, self.home, self.declaration = session, home, declaration
        self.name = declaration.name.id
        self.variables: dict[str, object] = {}
        self.symbols: dict[str, host.HostExpr] = {}
        self.block: list[host.Statement] = []
        self.open: Run | None = None
        self.later: list[set[str]] = []  # names read after the statement under way, a set for every block around it
        self.labels: dict[str, int] = {}
        self.returned: object = None
        self.known = Context(session, home, "host")
        self.known.missing = lambda n: (self.variables[n],) if n in self.variables else None

    # ---- blocks

    def statements(self, body: tuple[nodes.Stmt, ...]) -> tuple[host.Statement, ...]:
        """The host statements of a block; a run that is open at its end is closed."""
        outer, self.block = self.block, []
        reads = [read_names(s) for s in body]
        for position, statement in enumerate(body):
            self.later.append(set().union(*reads[position + 1 :]))
            try:
                self.statement(statement)
            except LeeError as error:
                self.open = None
                self.session.report(error)
                self.variables |= dict.fromkeys(bound_names(statement), POISON)
            finally:
                self.later.pop()
        self.later.append(set())
        self.flush()
        self.later.pop()
        made, self.block = self.block, outer
        return tuple(made)

    def statement(self, node: nodes.Stmt) -> None:
        rule = _STATEMENT.get(type(node))
        if rule is None:
            self.in_run(node)
        else:
            rule(self, node)

    def emit(self, statement: host.Statement) -> None:
        self.flush()
        self.block.append(statement)

    def in_run(self, node: nodes.Stmt) -> None:
        """Tensor statements join the run that is open."""
        self.open = self.open or Run(self)
        self.open.statement(node)

    def flush(self) -> None:
        """Close the open run: what is read later, in this block or around it, becomes host variables."""
        run, self.open = self.open, None
        if run is None:
            return
        wanted = sorted(n for n in run.assigned if any(n in later for later in self.later))
        losses = {f"loss_{i}" if i else "loss": v for i, v in enumerate(run.losses)}
        suffix = "step" if run.is_step else "_".join(sorted(run.assigned)) or "run"
        function, results = run.finish(f"{self.name}_{suffix}", wanted, losses)
        if not results and not function.state:
            return
        site = function.name if any(p.name == "key" for p in function.parameters) else None
        self.block.append(host.Compute(tuple(results), function.name, tuple(run.arguments), site, run.is_step, span=run.span))
        for result in function.results:
            (value,) = result.values
            if result.name not in losses:
                self.bind_result(result.name, value)

    def bind_result(self, name: str, value: Value) -> None:
        if value.type.host:
            self.variables[name] = hv.HostNumber(host.Ref(name), value.type.dtype)
        else:
            self.variables[name] = hv.HostTensor(host.Ref(name), value.type)

    @contextmanager
    def inside_loop(self, body: tuple[nodes.Stmt, ...]):
        """What the body reads is also read later: in the next round."""
        self.later.append(set().union(*map(read_names, body)) if body else set())
        try:
            yield
        finally:
            self.later.pop()

    def fresh_symbol(self, hint: str, source: host.HostExpr) -> str:
        """A size of the procedure, and where a run finds it."""
        symbol = self.session.unique(hint, self.symbols)
        self.symbols[symbol] = source
        return symbol

    def label(self, hint: str) -> str:
        self.labels[hint] = self.labels.get(hint, 0) + 1
        return hint if self.labels[hint] == 1 else f"{hint}_{self.labels[hint]}"

    def carried(self, body: tuple[nodes.Stmt, ...], bound: set[str]) -> tuple[str, ...]:
        """Variables from before the loop that its body changes."""
        changed = set().union(*map(changed_names, body)) - bound
        return tuple(sorted(n for n in changed if n in self.variables))


# ---- assignments


def _assign(self: ProcedureElaborator, node: nodes.Assign) -> None:
    if isinstance(node.target, nodes.Name) and isinstance(node.value, nodes.Call):
        rule = constructor(self, node.value)
        if rule is not None:
            rule(self, node.target, node.value)
            return
    if isinstance(node.target, nodes.Tuple) and isinstance(node.value, nodes.Call) and constructor(self, node.value):
        constructor(self, node.value)(self, node.target, node.value)
        return
    if isinstance(node.target, nodes.Name) and is_host(self, node.value):
        assign_host(self, node.target.id, node)
        return
    if isinstance(node.target, nodes.Name) and isinstance(node.value, nodes.Name):
        outer = self.variables.get(node.value.id)
        if isinstance(outer, (hv.HostModel, hv.HostOptimizer)) or outer is not None and self.open is None:
            snapshot(self, node.target.id, outer, node)
            return
    self.in_run(node)


def assign_host(self: ProcedureElaborator, name: str, node: nodes.Assign) -> None:
    if isinstance(node.value, nodes.List) and not node.value.items:
        raise LeeError(structure.not_built(node.value.span, "a list that grows"))
    value = host_value(self, node.value)
    if isinstance(value, bool):
        value = hv.HostNumber(host.Literal(value), "bool")
    self.emit(host.Assign(name, value.expr, span=node.span))
    self.variables[name] = number(name, value)


def snapshot(self: ProcedureElaborator, name: str, outer: object, node: nodes.Stmt) -> None:
    """`b = a` copies the object (decision 1)."""
    from dataclasses import replace

    self.emit(host.Assign(name, outer.expr, snapshot=isinstance(outer, (hv.HostModel, hv.HostOptimizer)), span=node.span))
    self.variables[name] = replace(outer, expr=host.Ref(name))


def constructor(self: ProcedureElaborator, node: nodes.Call) -> Callable | None:
    """How a call that makes a host object is elaborated; None for other calls."""
    if isinstance(node.function, nodes.Attribute):
        owner = node.function.value
        name = node.function.name.id
        if name == "sample" and isinstance(look(self, owner), hv.HostSplit):
            return _sample
        return None
    found = look(self, node.function)
    match found:
        case ClassValue(declaration=nodes.Model()):
            return _construct_model
        case ClassValue():
            return _construct_optimizer
        case SourceValue():
            return _load
        case ProcedureValue():
            return _call_procedure
        case hv.RuntimeFunction(name="split"):
            return _split
    return None


def look(self: ProcedureElaborator, node: nodes.Expr) -> object | None:
    """What a name or a field of a host variable is, without computing anything."""
    from leec.elaborate.expressions import lookup

    if isinstance(node, nodes.Name):
        if self.open is not None and node.id in self.open.assigned:
            return None
        found = lookup(self.known, node.id)
        if found is POISON or found == (POISON,):
            raise LeeError()
        return found[0] if isinstance(found, tuple) else None
    if isinstance(node, nodes.Attribute):
        return field_of(look(self, node.value), node.name.id)
    return None


def field_of(owner: object, name: str) -> object | None:
    match owner:
        case hv.HostData(splits=splits):
            return splits.get(name)
        case hv.HostSplit(fields=fields, expr=expr) if name in fields:
            return hv.HostTensor(host.Ref(expr.name, (*expr.fields, name)), fields[name])
        case hv.HostTuple(items=items, names=field_names) if name in field_names:
            return items[field_names.index(name)]
    if owner is POISON:
        raise LeeError()
    return None


def _construct_model(self: ProcedureElaborator, target: nodes.Name, node: nodes.Call) -> None:
    """The class is elaborated for these arguments; the object is made by the host."""
    from leec.elaborate.calls import bind, with_defaults
    from leec.elaborate.hostexpr import host_arguments
    from leec.elaborate.models import model_spec

    cls = look(self, node.function)
    self.flush()
    given, exprs = host_arguments(self, node)
    bound = bind(cls.name, cls.declaration.params, given, cls.declaration.name.span)
    full = with_defaults(self.known, cls.home, cls.declaration.params, bound)
    values = {n: v for n, (v, _) in full.items()}
    spec = model_spec(self.known, cls, values, node.span)
    arguments = tuple((p.name.id, exprs[p.name.id]) for p in named_params(cls.declaration.params, node, exprs))
    self.emit(host.Construct(target.id, "model", spec.name, arguments, target.id, span=node.span))
    hypers = {n: v for n, v in values.items() if not isinstance(v, (float, Value, Instance))}
    self.variables[target.id] = hv.HostModel(host.Ref(target.id), spec, hypers)


def named_params(params: tuple[nodes.Param, ...], node: nodes.Call, exprs: dict) -> list[nodes.Param]:
    """The parameters that a call gives, positional ones under their names."""
    for position, param in enumerate(params[: len(node.args)]):
        exprs[param.name.id] = exprs[position]
    return [p for p in params if p.name.id in exprs]


def _construct_optimizer(self: ProcedureElaborator, target: nodes.Name, node: nodes.Call) -> None:
    from leec.elaborate.calls import bind
    from leec.elaborate.hostexpr import host_arguments
    from leec.elaborate.optimizers import optimizer_spec

    cls = look(self, node.function)
    self.flush()
    given, exprs = host_arguments(self, node)
    bound = bind(cls.name, cls.declaration.params, given, cls.declaration.name.span)
    spec = optimizer_spec(self.session, cls, {n: v for n, (v, _) in bound.items()})
    arguments = tuple((p.name.id, exprs[p.name.id]) for p in named_params(cls.declaration.params, node, exprs) if p.name.id not in spec.counts)
    self.emit(host.Construct(target.id, "optimizer", spec.name, arguments, target.id, span=node.span))
    self.variables[target.id] = hv.HostOptimizer(host.Ref(target.id), spec)


def _load(self: ProcedureElaborator, target: nodes.Name, node: nodes.Call) -> None:
    statement, value = load_source(self, look(self, node.function), target.id, node)
    self.emit(statement)
    self.variables[target.id] = value


def _sample(self: ProcedureElaborator, target: nodes.Expr, node: nodes.Call) -> None:
    """`part.sample(batch)`: one array a field, in field order (decision 15)."""
    from leec.elaborate.hostexpr import host_arguments

    part = look(self, node.function.value)
    given, exprs = host_arguments(self, node)
    if len(given.positional) != 1 or not isinstance(given.positional[0], Dim):
        raise LeeError(names.argument_count(node.span, "sample", "takes the number of rows"))
    rows = given.positional[0]
    types = [t.with_dims(rows, *t.dims[1:]) for t in part.fields.values()]
    wanted = [target] if isinstance(target, nodes.Name) else list(target.items)
    if len(wanted) != len(types):
        raise LeeError(structure.cannot_unpack(target.span, len(wanted), f"{len(types)} fields"))
    targets = tuple(n.id if isinstance(n, nodes.Name) and n.id != "_" else None for n in wanted)
    site = self.label(next((t for t in targets if t), "sample"))
    self.emit(host.Runtime(targets, "sample", (part.expr, exprs[0]), site=site, span=node.span))
    for name, type_ in zip(targets, types):
        if name:
            self.variables[name] = hv.HostTensor(host.Ref(name), type_)


def _split(self: ProcedureElaborator, target: nodes.Expr, node: nodes.Call) -> None:
    """`a, b = split(part, fraction)`"""
    from leec.elaborate.hostexpr import host_arguments
    from leec.elaborate.sources import with_rows

    given, exprs = host_arguments(self, node)
    part = look(self, node.args[0]) if node.args else None
    if not isinstance(part, hv.HostSplit) or len(given.positional) != 2 or not isinstance(target, nodes.Tuple):
        raise LeeError(names.argument_count(node.span, "split", "takes a part of a source and a fraction, and gives two"))
    targets = tuple(n.id for n in target.items)
    self.emit(host.Runtime(targets, "split", (part.expr, exprs[1]), site=self.label(targets[0]), span=node.span))
    for name in targets:
        self.variables[name] = with_rows(self, part, host.Ref(name), f"{name}_n")


def _call_procedure(self: ProcedureElaborator, target: nodes.Expr, node: nodes.Call) -> None:
    from leec.elaborate.invocation import invoke

    self.flush()
    signature, arguments = invoke(self, look(self, node.function), node)
    wanted = [target] if isinstance(target, nodes.Name) else list(target.items)
    targets = tuple(n.id if isinstance(n, nodes.Name) and n.id != "_" else None for n in wanted)
    site = self.label(signature.procedure.name)
    self.emit(host.CallProcedure(targets, signature.procedure.name, arguments, site, span=node.span))
    returned = signature.returned if isinstance(signature.returned, tuple) and len(wanted) > 1 else (signature.returned,)
    if len(returned) != len(wanted):
        raise LeeError(structure.cannot_unpack(target.span, len(wanted), f"{len(returned)} values"))
    for name, value in zip(targets, returned):
        if name:
            self.variables[name] = renamed(value, name)


def renamed(value: object, name: str) -> object:
    """A value of another procedure under a name of this one."""
    from dataclasses import replace

    return number(name, value) if isinstance(value, (Dim, hv.HostNumber)) else replace(value, expr=host.Ref(name))


# ---- control


def _for(self: ProcedureElaborator, node: nodes.For) -> None:
    from leec.elaborate.loops import loop

    loop(self, node)


def _if(self: ProcedureElaborator, node: nodes.If) -> None:
    (condition, body), *rest = node.branches
    test = host_value(self, condition)
    if isinstance(test, bool):
        other = (nodes.If(tuple(rest), node.otherwise, span=node.span),) if rest else node.otherwise
        for statement in body if test else other:
            self.statement(statement)
        return
    self.flush()
    start = dict(self.variables)
    then = self.statements(body)
    after_then, self.variables = self.variables, dict(start)
    other = (nodes.If(tuple(rest), node.otherwise, span=node.span),) if rest else node.otherwise
    otherwise = self.statements(other)
    self.variables = {**after_then, **self.variables}
    self.emit(host.If(test.expr, then, otherwise, span=node.span))


def _while(self: ProcedureElaborator, node: nodes.While) -> None:
    self.flush()
    carried = self.carried(node.body, set())
    with self.inside_loop(node.body):
        test = host_value(self, node.condition)
        body = self.statements(node.body)
    self.emit(host.While(self.label("while"), test.expr, body, carried, span=node.span))


def _return(self: ProcedureElaborator, node: nodes.Return) -> None:
    from leec.elaborate.hostexpr import returned_value

    self.later.append(read_names(node))
    self.flush()
    self.later.pop()
    value, self.returned = returned_value(self, node.value) if node.value is not None else (None, None)
    self.emit(host.Return(value, span=node.span))


def _report(self: ProcedureElaborator, node: nodes.Report) -> None:
    """Evaluated without gradient, out of training; host numbers as they are (R33)."""
    from leec.elaborate.reports import report

    report(self, node)


def _append(self: ProcedureElaborator, node: nodes.Append) -> None:
    raise LeeError(structure.not_built(node.span, "a list that grows"))


_STATEMENT: Mapping[type, Callable] = {
    nodes.Assign: _assign,
    nodes.For: _for,
    nodes.If: _if,
    nodes.While: _while,
    nodes.Break: lambda self, node: self.emit(host.Break(span=node.span)),
    nodes.Return: _return,
    nodes.Report: _report,
    nodes.Append: _append,
}


# ---- names


def read_names(node: object) -> set[str]:
    """Every name that occurs in a statement."""
    if isinstance(node, nodes.Name):
        return {node.id}
    if isinstance(node, nodes.Node):
        return set().union(*(read_names(getattr(node, f)) for f in node.__slots__))
    return set().union(*map(read_names, node)) if isinstance(node, tuple) else set()


def changed_names(node: nodes.Stmt) -> set[str]:
    """Names that a statement binds or stores into, models and optimizers of a step included."""
    match node:
        case nodes.Minimize(targets=targets, optimizers=optimizers):
            return set().union(*map(target_names, (*targets, *optimizers)), read_names(node.objective))
        case nodes.Update(target=target, optimizer=optimizer):
            return target_names(target) | target_names(optimizer)
        case nodes.For(body=body) | nodes.While(body=body):
            return set().union(*map(changed_names, body))
        case nodes.If(branches=branches, otherwise=otherwise):
            return set().union(*(changed_names(s) for _, b in branches for s in b), *map(changed_names, otherwise))
    return bound_names(node)


def elaborate_procedure(session: Session, home: SpecModule, item: nodes.Function) -> None:
    """A procedure of the spec for the arguments that its declaration stands for."""
    from leec.elaborate.invocation import declared_arguments, elaborate_body

    declared = declared_arguments(session, home, item)
    if declared is not None:
        elaborate_body(session, home, item, declared)
