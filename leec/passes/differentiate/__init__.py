"""Differentiation: every `grad` becomes equations of cotangents in its place, every call on its way a saving one.

`differentiate(program)` gives a program without `grad`. Functions are taken in order and the requests of one as they
stand, so a later one differentiates through the equations of an earlier one: derivatives of every order are free.
Gradient rules are those of the rows; `apply_rule` says what a rule gets where an op has several results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Value, rename
from leec.passes.differentiate.adjoint import AdjointBuilder, Scope, Sweep
from leec.passes.differentiate.calls import Derivatives
from leec.passes.differentiate.names import final_names, needed, renamed


def differentiate(program: Program) -> Program:
    """The program with all gradients written out, the derivatives of a function behind it."""
    derivatives = Derivatives(program.functions)
    for name, function in program.functions.items():
        derivatives.functions[name] = without_requests(function, derivatives)
    functions = [f for name in program.functions for f in derivatives.family(name)]
    return Program({f.name: f for f in functions})


def without_requests(function: Function, derivatives: Derivatives) -> Function:
    if all(e.op != "grad" for e in function.body):
        return function
    scope = Scope([], Builder(v.name for v in function.values()))
    standing: dict[Value, Value] = {}  # for results of requests that are the same value as something else
    for equation in function.body:
        equation = rename(equation, standing)
        if equation.op == "grad":
            standing |= fulfil(equation, scope, derivatives)
        else:
            scope.body.append(equation)
    stand = lambda values: tuple(standing.get(v, v) for v in values)  # noqa: E731
    return replace(
        function,
        body=tuple(scope.body),
        results=tuple(replace(r, values=stand(r.values)) for r in function.results),
        state=tuple((before, standing.get(after, after)) for before, after in function.state),
    )


def fulfil(request: Equation, scope: Scope, derivatives: Derivatives) -> Mapping[Value, Value]:
    """Append to the scope what a `grad` asks for; gives what stands for those of its results that are not defined."""
    e, *wrt = request.args
    builder = AdjointBuilder()
    builder.span = request.span
    one = builder.fill(1.0, dims=e.type.dims, dtype=e.type.dtype)
    sweep = Sweep(derivatives, scope, [(e, one)], wrt, builder)
    cotangents = sweep.run()
    region = needed(builder.equations, cotangents)
    holders = {v: r for r, v in zip(reversed(request.results), reversed(wrt), strict=True)}
    new = final_names(region, sweep, scope.names, holders)
    scope.body += renamed(region, new)
    found = {r: new.get(c, c) for r, c in zip(request.results, cotangents, strict=True)}
    return {r: c for r, c in found.items() if r is not c}
