"""Arguments of a `train` that choose its code: bools, texts, tuples, None, and integers that something is unrolled by.

They are compiled in and leave the signature of the generated procedure; other values are another compilation (decision 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leec.dims import Dim
from leec.elaborate.context import NeedStructural, Restart, Session
from leec.elaborate.values import ListValue
from leec.ir import host
from leec.syntax import nodes

Plain = bool | int | float | str | tuple | None  # a value of Python that can choose code


def from_python(value: Plain) -> object:
    """A value as elaboration sees it."""
    if isinstance(value, tuple | list):
        return tuple(map(from_python, value))
    return Dim.of(value) if isinstance(value, int) and not isinstance(value, bool) else value


def to_python(value: object) -> Plain:
    """A structural value as Python writes it."""
    if isinstance(value, tuple):
        return tuple(map(to_python, value))
    return value.constant if isinstance(value, Dim) else value  # type: ignore[return-value]


def is_structural(value: object) -> bool:
    """Is the value known when compiling, so that code may depend on it?"""
    if isinstance(value, tuple):
        return all(is_structural(v) or isinstance(v, float) for v in value)
    return value is None or isinstance(value, bool | str) or (isinstance(value, Dim) and value.constant is not None)


def is_compiled_in(value: object) -> bool:
    """Has the value chosen the code of a class, whose constructor then does not take it? Tuples stay arguments."""
    return not isinstance(value, tuple) and is_structural(value)


def compiled_for(given: Mapping[str, object]) -> dict[str, Any]:
    """Of the arguments of a procedure those that its code is made for."""
    return {n: to_python(v) for n, v in given.items() if is_structural(v)}


def known_numbers(session: Session, item: nodes.Function) -> set[str]:
    """The integers of a procedure that turned out to choose code."""
    return session.structural.setdefault(("procedure", id(item)), set())


def restart_for_procedure(
    session: Session, item: nodes.Function, variables: Mapping[str, object], need: NeedStructural
):
    """An integer argument is needed as a number: elaborate everything again with it known."""
    own = any(p.name.id == need.symbol for p in item.params) and variables.get(need.symbol) == Dim.of(need.symbol)
    if own:
        known_numbers(session, item).add(need.symbol)
        raise Restart(need.symbol) from need


def expression(value: object) -> host.HostExpr:
    """A structural value written out in a procedure."""
    match value:
        case Dim():
            return host.Size(value)
        case ListValue(items=items) | tuple(items):
            return host.Bundle(tuple(map(expression, items)))
    return host.Literal(value)
