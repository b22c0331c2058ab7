"""The equations of a sweep as they go into a function: those that are needed, under names that a reader expects.

The cotangent of `h` is `d_h`, and a statement of its own where `h` is; contributions that add up to it are `d_h_2`,
`d_h_3`. One value may be the cotangent of several: it is named after the one nearest to the end, the user's first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from leec.ir.build import Builder
from leec.ir.graph import Equation, Value
from leec.passes.differentiate.adjoint import Sweep


def needed(equations: Iterable[Equation], wanted: Iterable[Value]) -> list[Equation]:
    """The equations that some wanted value depends on."""
    alive, kept = set(wanted), []
    for equation in reversed(list(equations)):
        if not alive.isdisjoint(equation.results):
            alive.update(equation.args)
            kept.append(equation)
    return kept[::-1]


def final_names(
    region: list[Equation], sweep: Sweep, names: Builder, holders: Mapping[Value, Value]
) -> dict[Value, Value]:
    """For every value that the region computes the one to stand for it; `holders` are given for some cotangents.

    A holder is the value that shall hold the cotangent of its key: the result of the `grad` that asked for it.
    """
    made = {r for equation in region for r in equation.results}
    new: dict[Value, Value] = {}
    for primal in sorted(sweep.totals, key=lambda v: (v not in holders or not holders[v].named, not v.named)):
        cotangent = sweep.totals[primal]
        if cotangent in made and cotangent not in new:
            named = primal.named and cotangent not in sweep.seeds  # nobody wants to read `d_loss = 1`
            new[cotangent] = holders.get(primal) or called(cotangent, f"d_{primal.name}", names, named)
    for primal, parts in sweep.parts.items():
        for part in parts:
            if part in made and part not in new:
                new[part] = called(part, f"d_{primal.name}", names)
    for equation in region:
        for result in equation.results:
            if result not in new:
                new[result] = called(result, result.name, names)
    return new


def called(value: Value, name: str, names: Builder, named: bool = False) -> Value:
    return replace(value, name=names.unique(name), named=named)


def renamed(region: list[Equation], new: Mapping[Value, Value]) -> list[Equation]:
    return [
        replace(e, args=tuple(new.get(a, a) for a in e.args), results=tuple(new.get(r, r) for r in e.results))
        for e in region
    ]
