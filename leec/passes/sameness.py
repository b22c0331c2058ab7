"""When two equations compute the same: equal op, arguments (in either order where it is commutative) and params."""

from __future__ import annotations

from collections.abc import Hashable

from leec.ir.graph import Equation, Function
from leec.ops import TABLE


def identity(equation: Equation) -> Hashable:
    """Equal for two equations exactly if they compute the same."""
    args = tuple(map(id, equation.args))
    args = tuple(sorted(args)) if TABLE[equation.op].commutative else args
    return equation.op, args, tuple((name, _frozen(p)) for name, p in equation.params.items())


def _frozen(param: object) -> Hashable:
    """A param with its kind: 1, 1.0 and true are three things, 0.0 and -0.0 two."""
    match param:
        case float():
            return "float", repr(param)
        case tuple():
            return type(param).__name__, tuple(map(_frozen, param))
        case Function():
            return "function", id(param)
    return type(param).__name__, param
