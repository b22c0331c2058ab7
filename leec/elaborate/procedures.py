"""Procedures: the statements of a `train`, each sent to the host or into the run that is open (decisions 3, 22, 34)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from leec.diagnostics import LeeError, Span, structure
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import bound_names
from leec.elaborate.constructions import constructor
from leec.elaborate.context import Context, NeedStructural, Restart, Session
from leec.elaborate.hostexpr import host_value, is_host
from leec.elaborate.lists import append, brought, is_wider, joined, variable, widened
from leec.elaborate.look import changed_names, minimised_names, read_first, read_inside, read_names
from leec.elaborate.modules import SpecModule
from leec.elaborate.places import is_place, prepared, put
from leec.elaborate.points import keep
from leec.elaborate.runs import Run
from leec.elaborate.structural import restart_for_procedure
from leec.elaborate.values import POISON
from leec.ir import host
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
        self.environments: dict[str, tuple[host.Environment, hv.HostEnvironment]] = {}
        self.draws: dict[str, int] = {}  # how often each name was drawn
        self.wanted: dict[str, Span] = {}  # lists that were read before anything said what is in them
        changed = set().union(*map(changed_names, declaration.body)) if declaration.body else set()
        self.arguments = frozenset(p.name.id for p in declaration.params) - changed  # sizes that stay the same
        self.known = Context(session, home, "host")
        self.known.missing = lambda n: (self.variables[n],) if n in self.variables else None

    # ---- blocks

    def statements(self, body: tuple[nodes.Stmt, ...]) -> tuple[host.Statement, ...]:
        """The host statements of a block; a run that is open at its end is closed."""
        outer, self.block = self.block, []
        for position, statement in enumerate(body):
            self.later.append(read_inside(statement) | read_first(body[position + 1 :]))
            try:
                self.statement(statement)
            except (LeeError, NeedStructural) as error:
                if isinstance(error, NeedStructural):
                    restart_for_procedure(self.session, self.declaration, self.variables, error)
                self.open = None
                self.session.report(reported(error))
                self.variables |= dict.fromkeys(bound_names(statement), POISON)
            finally:
                self.later.pop()
        self.later.append(set())
        self.flush()
        self.later.pop()
        made, self.block = self.block, outer
        return tuple(made)

    def statement(self, node: nodes.Stmt) -> None:
        node = prepared(self, node)
        rule = _STATEMENT.get(type(node))
        if rule is None:
            self.in_run(node)
        else:
            rule(self, node)

    def emit(self, statement: host.Statement) -> None:
        self.flush()
        self.block.append(statement)

    def in_run(self, node: nodes.Stmt) -> None:
        """Tensor statements join the run that is open; in one run every optimizer counts one update."""
        if self.open and not updating(node).isdisjoint(self.open.optimizers):
            self.flush()
        self.open = self.open or Run(self)
        self.open.statement(node)

    def flush(self) -> None:
        """Close the open run: what is read later, in this block or around it, becomes host variables."""
        run, self.open = self.open, None
        if run is None:
            return
        wanted = sorted(n for n in run.assigned if any(n in later for later in self.later))
        objects = keep(run, self, wanted)
        losses = {f"loss_{i}" if i else "loss": v for i, v in enumerate(run.losses)}
        suffix = "step" if run.is_step else "_".join(wanted) or "run"
        function, results = run.finish(f"{self.name}_{suffix}", wanted, losses)
        if not results and not function.state:
            return
        site = self.name if any(p.name == "key" for p in function.parameters) else None
        self.draws = run.ctx.sites
        self.block += objects
        self.block.append(
            host.Compute(tuple(results), function.name, tuple(run.arguments), site, run.is_step, span=run.span)
        )
        for name, value in run.described(wanted).items():
            self.bind(name, value)

    # ---- variables

    def bind(self, name: str, value: object, known: frozenset[str] | None = None) -> None:
        """A variable; later statements, met before a restart, may have said that it is more than this value."""
        learned = self.session.learned.get((self.name, name))
        self.variables[name] = variable(self, name, widened(self, value, learned) if learned else value, known)

    def learn(self, name: str, value: object) -> object:
        """Something about a variable that holds wherever it is bound."""
        self.session.learned[self.name, name] = value
        return value

    def want(self, name: str, span: Span) -> None:
        self.wanted.setdefault(name, span)

    def keep_kind(self, name: str, old: object, new: object, span: Span) -> None:
        """One kind for what a variable may hold at a place; where that is not that of `old`, everything starts again."""
        if old is POISON or new is POISON or new is None:
            return
        both = joined(self, old, new, span)
        if isinstance(both, hv.HostList):
            self.learn(name, both)
        elif is_wider(self, name, both, old):
            self.learn(name, both)
            raise Restart(name)

    def settle(self) -> None:
        """At the end: lists that were read too early are read again, now that it is known what is in them."""
        for name, span in self.wanted.items():
            if getattr(self.session.learned.get((self.name, name)), "element", None) is not None:
                raise Restart(name)
            self.session.report(LeeError(structure.never_appended(span, name)))

    # ---- loops

    @contextmanager
    def inside_loop(self, reads: set[str]):
        """What a round reads is also read later: in the next one."""
        self.later.append(reads)
        try:
            yield
        finally:
            self.later.pop()

    def rounds(
        self, node: nodes.For | nodes.While, bound: set[str]
    ) -> tuple[tuple[str, ...], tuple[host.Statement, ...]]:
        """What a loop changes, and its body; a variable keeps its kind from round to round."""
        carried = self.carried(node.body, bound)
        before = {n: self.variables[n] for n in carried}
        with self.inside_loop(read_first(node.body)):
            body = self.statements(node.body)
        for n in carried:
            self.keep_kind(n, before[n], self.variables.get(n), node.span)
        return carried, body

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
        models = {n for n, v in self.variables.items() if isinstance(v, hv.HostModel)}
        changed = set().union(*map(changed_names, body)) | models & set().union(*map(minimised_names, body))
        return tuple(sorted(n for n in changed - bound if n in self.variables))


def updating(node: nodes.Stmt) -> set[str]:
    """The optimizers that a statement asks."""
    asked = getattr(node, "optimizers", ()) or (getattr(node, "optimizer", None),)
    return {o.id for o in asked if isinstance(o, nodes.Name)}


def reported(error: LeeError | NeedStructural) -> LeeError:
    if isinstance(error, LeeError):
        return error
    return LeeError(structure.needs_static(error.span, f"`{error.span.text}`, which chooses code,"))


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
    if isinstance(node.target, nodes.Subscript) and is_place(self, node.target):
        put(self, node)
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
        value: object = hv.HostList(host.ListOf(()))
    else:
        value = host_value(self, node.value)
    if isinstance(value, bool):
        value = hv.HostNumber(host.Literal(value), "bool")
    learned = self.session.learned.get((self.name, name))
    expr = value.expr
    if getattr(learned, "dtype", "") == "float" and isinstance(expr, host.Literal) and type(expr.value) is int:
        expr = host.Literal(float(expr.value))
    copied = isinstance(value, hv.HostList) and not isinstance(expr, host.ListOf)
    self.emit(host.Assign(name, expr, snapshot=copied, span=node.span))
    self.bind(name, value)


def snapshot(self: ProcedureElaborator, name: str, outer: object, node: nodes.Stmt) -> None:
    """`b = a` copies the object (decision 1)."""
    from dataclasses import replace

    is_object = isinstance(outer, (hv.HostModel, hv.HostOptimizer, hv.HostList))
    self.emit(host.Assign(name, outer.expr, snapshot=is_object, span=node.span))
    self.variables[name] = replace(outer, expr=host.Ref(name))


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
    for name in after_then.keys() & self.variables.keys():
        if after_then[name] is not start.get(name) and name in start:
            self.keep_kind(name, self.variables[name], after_then[name], node.span)
            after_then[name] = either(after_then[name], self.variables[name])
    self.variables = {**self.variables, **after_then}
    self.emit(host.If(test.expr, then, otherwise, span=node.span))


def either(one: object, other: object) -> object:
    """Of two descriptions of a variable the one that says more."""
    return other if isinstance(one, hv.HostList) and one.element is None else one


def _while(self: ProcedureElaborator, node: nodes.While) -> None:
    """The condition is computed before every round."""
    self.flush()
    outer, self.block = self.block, []
    with self.inside_loop(read_first(node.body) | read_names(node.condition)):
        condition = host_value(self, node.condition)
    test, self.block = tuple(self.block), outer
    with self.inside_loop(read_names(node.condition)):
        _, body = self.rounds(node, set())
    expr = host.Literal(condition) if isinstance(condition, bool) else condition.expr
    self.emit(host.While(self.label("while"), expr, body, test, span=node.span))


def _return(self: ProcedureElaborator, node: nodes.Return) -> None:
    self.later.append(read_names(node))
    self.flush()
    self.later.pop()
    value, expr = brought(self, node.value, "returned") if node.value is not None else (None, None)
    self.returned = joined(self, self.returned, value, node.span)
    self.emit(host.Return(expr, span=node.span))


def _report(self: ProcedureElaborator, node: nodes.Report) -> None:
    """Evaluated without gradient, out of training; host numbers as they are (R33)."""
    from leec.elaborate.reports import report

    report(self, node)


_STATEMENT: Mapping[type, Callable] = {
    nodes.Assign: _assign,
    nodes.For: _for,
    nodes.If: _if,
    nodes.While: _while,
    nodes.Break: lambda self, node: self.emit(host.Break(span=node.span)),
    nodes.Return: _return,
    nodes.Report: _report,
    nodes.Append: append,
}


def elaborate_procedure(session: Session, home: SpecModule, item: nodes.Function) -> None:
    """A procedure of the spec for the arguments that its declaration stands for."""
    from leec.elaborate.invocation import declared_arguments, elaborate_body

    declared = declared_arguments(session, home, item, session.given.get(item.name.id, {}))
    if declared is not None:
        elaborate_body(session, home, item, declared)
