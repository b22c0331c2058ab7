"""A def applied entry by entry: its body is elaborated where it is called, over the indices in scope there (R23).

Its names are its own: what it calls `u` is not the index `u` of the caller, which goes by another name meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, structure
from leec.dims import Dim
from leec.elaborate.context import Context, Indices
from leec.elaborate.entries import Entry, Position, symbol
from leec.elaborate.ranges import mentions
from leec.elaborate.values import FunctionValue
from leec.ir.graph import Value

Renaming = dict[str, Dim]


def in_place(ctx: Context, target: object, home, values: dict[str, object], given) -> object:
    """What the def gives for these arguments, of which some depend on indices."""
    from leec.elaborate.statements import run_block

    if not isinstance(target, FunctionValue):
        raise LeeError(structure.not_built(given.span, "a method applied entry by entry"))
    if any(isinstance(v, Value) and v.type.rank for v in values.values()):
        raise LeeError(structure.not_built(given.span, "a function of whole arrays applied entry by entry"))
    away = apart(ctx.indices, target.declaration.body)
    there = {symbol(old): Dim.of(symbol(new)) for old, new in away.items()}
    inner = ctx.child(home)
    inner.dims = {}
    inner.indices = replace(
        ctx.indices,
        ranges={away.get(n, n): d for n, d in ctx.indices.ranges.items()},
        shadowed={away.get(n, n) for n in ctx.indices.shadowed},
    )
    inner.guard = renamed(ctx.guard, there)
    inner.names = {**target.captured, **{n: renamed(v, there) for n, v in values.items()}}
    returned = run_block(inner, target.declaration.body)
    if returned is None:
        raise LeeError(structure.no_return(target.declaration.name.span, target.name))
    return renamed(returned.value, {symbol(new): Dim.of(symbol(old)) for old, new in away.items()})


def apart(indices: Indices, body: tuple) -> dict[str, str]:
    """A name that neither side uses, for every index that the body has a name in common with."""
    found: dict[str, str] = {}
    for name in indices.ranges:
        if mentions(body, {name}):
            number = 2
            while (fresh := f"{name}_{number}") in indices.ranges or mentions(body, {fresh}):
                number += 1
            found[name] = fresh
    return found


def renamed(value: object, names: Renaming) -> object:
    """The value over indices of other names."""
    match value:
        case Position(dim=dim):
            return Position(dim.substitute(names))
        case Entry(value=array, subscripts=subscripts):
            return Entry(array, tuple(d.substitute(names) for d in subscripts))
        case tuple():
            return tuple(renamed(v, names) for v in value)
    return value
