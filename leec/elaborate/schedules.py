"""Schedules: a def that returns a def of t; the optimizer gets the inner one, closed over its numbers (R31)."""

from __future__ import annotations

from leec.diagnostics import LeeError, structure
from leec.elaborate.values import FunctionValue
from leec.ir import host
from leec.syntax import nodes


def schedule(self, node: nodes.Call) -> tuple[object, host.HostExpr]:
    from leec.elaborate.look import look

    found = look(self, node.function)
    if isinstance(found, FunctionValue):
        raise LeeError(structure.not_built(node.span, "a rate that is a function of t"))
    raise LeeError(structure.not_built(node.span, "this argument in a `train`"))
