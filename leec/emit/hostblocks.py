"""What the statements of a procedure bind and call, at any depth, and functions that have another form than a call."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leec.dims import Dim
from leec.emit.expressions import Replace
from leec.immutable import Immutable
from leec.ir import host
from leec.ir.graph import Function

INNER = ("test", "body", "then", "otherwise")  # fields of statements that hold statements
BINDING = host.Assign | host.Construct | host.Load | host.Accept | host.Environment | host.Put


@dataclass(frozen=True)
class Simple:
    """A function that is one expression of its parameters, each written once."""

    parameters: tuple[str, ...]
    expression: ast.expr

    def on(self, arguments: Sequence[ast.expr]) -> ast.expr:
        return Replace(dict(zip(self.parameters, arguments, strict=True))).visit(self.expression)


@dataclass(frozen=True)
class Step:
    """A step class: its name, and the parameters that are models and optimizers."""

    name: str
    objects: tuple[str, ...]
    function: Function


def rebound(statements: Sequence[host.Statement]) -> set[str]:
    """The names that statements bind, at any depth."""
    found: set[str] = set()
    for s in statements:
        found |= {t for t in getattr(s, "targets", ()) if t}
        found |= {s.target} if isinstance(s, BINDING) else set()
        found |= {s.list} if isinstance(s, host.Append) else set()
        for inner in INNER:
            found |= rebound(getattr(s, inner, ()))
    return found


def readings(node: object) -> Iterable[str]:
    """The name of a variable for every time that statements read it, at any depth."""
    if isinstance(node, host.Ref):
        yield node.name
    elif isinstance(node, Dim):
        yield from node.symbols
    elif isinstance(node, tuple):
        for item in node:
            yield from readings(item)
    elif isinstance(node, Immutable):
        for name in node._fields:
            yield from readings(getattr(node, name))


def steps_in(statements: Sequence[host.Statement]) -> Iterable[host.Compute]:
    """The steps that statements take, at any depth."""
    for s in statements:
        if isinstance(s, host.Compute) and s.is_step:
            yield s
        for inner in INNER:
            yield from steps_in(getattr(s, inner, ()))


def called(statements: Iterable[host.Statement]) -> set[str]:
    found: set[str] = set()
    for s in statements:
        found |= {s.function} if isinstance(s, host.Compute) else set()
        found |= (
            {v.function for _, v in getattr(s, "arguments", ()) if isinstance(v, host.Partial)}
            if isinstance(s, host.Construct)
            else set()
        )
        for inner in INNER:
            found |= called(getattr(s, inner, ()))
    return found


def scheduled(statements: Iterable[host.Statement]) -> set[tuple[str, str]]:
    """(optimizer class, hyperparameter) that are given as functions of t."""
    found: set[tuple[str, str]] = set()
    for s in statements:
        if isinstance(s, host.Construct):
            found |= {(s.name, name) for name, value in s.arguments if isinstance(value, host.Partial)}
        for inner in INNER:
            found |= scheduled(getattr(s, inner, ()))
    return found


def stepped(statements: Iterable[host.Statement]) -> set[str]:
    """The environments that statements act on, at any depth."""
    found: set[str] = set()
    for s in statements:
        found |= {s.owner} if isinstance(s, host.Method) else set()
        for inner in INNER:
            found |= stepped(getattr(s, inner, ()))
    return found


def leaves_by_break(statements: Iterable[host.Statement]) -> bool:
    """May a `break` of this very loop end it?"""
    for s in statements:
        if isinstance(s, host.Break):
            return True
        if isinstance(s, host.If) and leaves_by_break((*s.then, *s.otherwise)):
            return True
    return False
