"""Common subexpressions: of equations that compute the same, the first stays, under the user's name of a later one.

Two are the same if op, arguments (in either order where the op is commutative) and params are; so draws with other
keys never are. Equations with an effect, models that are made, and values that a `grad` asks about stand for themselves
alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from leec.ir.graph import Equation, Function, Program, rename
from leec.passes.dce import acting_functions, acts
from leec.passes.inline import is_constructor
from leec.passes.rewrite import asked_about, settled
from leec.passes.sameness import identity


def cse(program: Program) -> Program:
    apart = acting_functions(program) | {name for name, f in program.functions.items() if is_constructor(f)}
    return program.map(lambda f: merged(f, apart))


def merged(f: Function, apart: Collection[str] = ()) -> Function:
    """The function with every value computed once; calls of functions `apart` stay, each its own object."""
    opaque, first, now, body = asked_about(f), {}, {}, []
    for equation in f.body:
        equation = _with_inside(rename(equation, now), apart)
        alone = acts(equation, apart) or not opaque.isdisjoint(equation.results)
        same = equation if alone else first.setdefault(identity(equation), equation)
        if same is equation:
            body.append(equation)
        else:
            now.update(zip(equation.results, same.results, strict=True))
    return settled(f, body, now)


def _with_inside(equation: Equation, apart: Collection[str]) -> Equation:
    """The equation, with functions among its params treated too."""
    bodies = {k: merged(p, apart) for k, p in equation.params.items() if isinstance(p, Function)}
    return replace(equation, params={**equation.params, **bodies}) if bodies else equation
