"""The sizes that a piece of IR speaks of, and those that a function can read off the shapes of its arguments."""

from __future__ import annotations

from collections.abc import Iterable

from leec.dims import Dim
from leec.ir.graph import Equation, Function, Parameter, Value
from leec.ops.contract import Contraction
from leec.types import TensorType


def symbols_of(part: object) -> frozenset[str]:
    """The symbols in a dim, a type, a param of an equation, a value, an equation, a function, or several of them."""
    match part:
        case Dim():
            return part.symbols
        case TensorType():
            return symbols_of(part.dims)
        case Contraction():
            places = symbols_of((*part.operands, part.result, part.dims, tuple(d for _, d in part.ranges)))
            return places - part.range.keys()
        case Value():
            return symbols_of(part.type)
        case Equation():
            return symbols_of((part.results, tuple(part.params.values())))
        case Function():
            own = (part.inputs, part.body, tuple((c.left, c.right) for c in part.checks))
            return symbols_of(own) | {p.static for p in part.parameters if p.static}
        case tuple() | list():
            return frozenset().union(*map(symbols_of, part))
    return frozenset()


def readable(parameters: Iterable[Parameter]) -> frozenset[str]:
    """The symbols that stand alone as a dim of an argument, or are arguments themselves."""
    given = list(parameters)
    bare = {d.symbol for p in given for v in p.values for d in v.type.dims if d.symbol}
    return frozenset(bare | {p.static for p in given if p.static})
