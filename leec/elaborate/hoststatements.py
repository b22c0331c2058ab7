"""The statements of a `train` that are for the host: objects, numbers, lists, conditions, loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from leec.diagnostics import LeeError
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import target_names
from leec.elaborate.constructions import constructor
from leec.elaborate.descriptions import joined
from leec.elaborate.hostexpr import host_value, is_host
from leec.elaborate.lists import append, brought
from leec.elaborate.look import look, read_first, read_names
from leec.elaborate.places import is_place, put
from leec.elaborate.procedures import ProcedureElaborator
from leec.elaborate.values import POISON
from leec.ir import host
from leec.ir.symbols import symbols_of
from leec.syntax import nodes

WHOLE = (hv.HostModel, hv.HostData, hv.HostSplit)  # objects that stay with the host, whatever is read of them

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
        if isinstance(outer, (*WHOLE, hv.HostOptimizer)) or outer is not None and self.open is None:
            snapshot(self, node.target.id, outer, node)
            return
    if isinstance(node.target, nodes.Name) and isinstance(node.value, nodes.Attribute):
        outer = look(self, node.value)
        if isinstance(outer, WHOLE):
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
    is_stored_into = isinstance(outer, hv.HostTensor) and not self.puts.isdisjoint((name, node.value.id))
    expr = host.Ask("copy", (outer.expr,)) if is_stored_into else outer.expr
    self.emit(host.Assign(name, expr, snapshot=is_object, span=node.span))
    twin = replace(outer, expr=host.Ref(name))
    if isinstance(outer, hv.HostModel):
        self.bind(name, twin, frozenset(symbols_of(tuple(outer.hypers.values()))) - sizes_of_models(self))
    else:
        self.variables[name] = twin


def sizes_of_models(self: ProcedureElaborator) -> set[str]:
    """Symbols of sizes that a model is asked for: they are others once its variable holds another one."""
    asked = {s: e.name for s, e in self.symbols.items() if isinstance(e, host.Ref) and e.fields}
    return {s for s, name in asked.items() if isinstance(self.variables.get(name), hv.HostModel)}


# ---- control


def _for(self: ProcedureElaborator, node: nodes.For) -> None:
    from leec.elaborate.loops import loop

    try:
        loop(self, node)
    except LeeError as error:  # most are of its head, and then the body has not been looked at
        self.session.report(error)
        bound = target_names(node.target)
        self.variables |= dict.fromkeys(bound, POISON)
        self.rounds(node, bound)


def _if(self: ProcedureElaborator, node: nodes.If) -> None:
    (condition, body), *rest = node.branches
    other = (nodes.If(tuple(rest), node.otherwise, span=node.span),) if rest else node.otherwise
    try:
        test = host_value(self, condition)
    except LeeError as error:
        self.session.report(error)
        start = dict(self.variables)
        for block in (body, other):  # whose mistakes are their own
            self.variables = dict(start)
            self.statements(block)
        raise LeeError() from error
    if isinstance(test, bool):
        for statement in body if test else other:
            self.statement(statement)
        return
    self.flush()
    start = dict(self.variables)
    then = self.statements(body)
    after_then, self.variables = self.variables, dict(start)
    otherwise = self.statements(other)
    for name in after_then.keys() & self.variables.keys():
        if after_then[name] is not start.get(name) and name in start:
            self.keep_kind(name, self.variables[name], after_then[name], node.span)
            self.keep_kind(name, after_then[name], self.variables[name], node.span)
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


def _evaluate(self: ProcedureElaborator, node: nodes.Evaluate) -> None:
    """A call of a procedure for what it does; its result is discarded."""
    rule = constructor(self, node.value) if isinstance(node.value, nodes.Call) else None
    if rule is None:
        self.in_run(node)
    else:
        rule(self, nodes.Name("_", span=node.span), node.value)


STATEMENT: Mapping[type, Callable] = {
    nodes.Assign: _assign,
    nodes.For: _for,
    nodes.If: _if,
    nodes.While: _while,
    nodes.Break: lambda self, node: self.emit(host.Break(span=node.span)),
    nodes.Return: _return,
    nodes.Report: _report,
    nodes.Evaluate: _evaluate,
    nodes.Append: append,
}
