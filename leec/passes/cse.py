"""Common subexpressions: of equations that compute the same, the first stays, under the user's name of a later one.

Two are the same if op, arguments (in either order where the op is commutative) and params are; so draws with other
keys never are. Equations with an effect, and values that a `grad` asks about, stand for themselves alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from leec.ir.graph import Function, Program, rename
from leec.passes.dce import acting_functions, acts
from leec.passes.rewrite import asked_about, settled
from leec.passes.sameness import identity


def cse(program: Program) -> Program:
    acting = acting_functions(program)
    return program.map(lambda f: merged(f, acting))


def merged(f: Function, acting: Collection[str] = ()) -> Function:
    """The function with every value computed once."""
    opaque, first, now, body = asked_about(f), {}, {}, []
    for equation in f.body:
        equation = replace(rename(equation, now), params={k: _inside(p, acting) for k, p in equation.params.items()})
        alone = acts(equation, acting) or not opaque.isdisjoint(equation.results)
        same = equation if alone else first.setdefault(identity(equation), equation)
        if same is equation:
            body.append(equation)
        else:
            now.update(zip(equation.results, same.results, strict=True))
    return settled(f, body, now)


def _inside(param: object, acting: Collection[str]) -> object:
    return merged(param, acting) if isinstance(param, Function) else param
