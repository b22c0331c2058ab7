"""Which values lie on a way for gradients: float tensors between what is differentiated and by what.

Whether an equation passes a cotangent on is never declared a second time: its gradient rule is asked once, and the
arguments for which it gives None end the way there (`graft`, `floor`, the condition of a choice).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from leec.ir.build import Builder
from leec.ir.graph import Equation, Value
from leec.ops import TABLE

Ways = tuple[tuple[int, ...], ...]  # for every result, the positions of the arguments that its cotangent flows to
Reach = Callable[[Equation], Ways]


def carries(value: Value) -> bool:
    """Integers, booleans and host numbers never have a cotangent."""
    return value.type.is_float and not value.type.host


def ways_of_rule(equation: Equation) -> Ways:
    """Found by asking the row's rule."""
    if TABLE[equation.op].vjp is None or not any(map(carries, equation.results)):
        return ((),) * len(equation.results)
    parts = apply_rule(Builder(), equation, [r if carries(r) else None for r in equation.results])
    taken = tuple(i for i, (a, c) in enumerate(zip(equation.args, parts, strict=True)) if c is not None and carries(a))
    return tuple(taken if carries(r) else () for r in equation.results)


def apply_rule(b: Builder, equation: Equation, cotangents: Sequence[Value | None]) -> Sequence[Value | None]:
    """What the row's gradient rule builds.

    It gets the cotangent and the result as themselves, or as tuples where the type rule gives a tuple; None stands
    for the cotangent of what has none.
    """
    rule = TABLE[equation.op].vjp
    if gives_tuple(equation):
        return rule(b, tuple(cotangents), equation.results, *equation.args, **equation.params)
    return rule(b, cotangents[0], equation.result, *equation.args, **equation.params)


def gives_tuple(equation: Equation) -> bool:
    """Whether the row's type rule gives a tuple, be it of one."""
    row = TABLE[equation.op]
    if len(equation.results) != 1 or row.elementwise:
        return len(equation.results) != 1
    return isinstance(row.type(*(a.type for a in equation.args), **equation.params), tuple)


def active_values(body: Sequence[Equation], ends: Iterable[Value], starts: Iterable[Value], reach: Reach) -> set[Value]:
    """The values on a way from a cotangent of `ends` back to one of `starts`."""
    cone = set(filter(carries, ends))
    steps: list[tuple[Value, list[Value]]] = []
    for equation in reversed(body):
        if cone.isdisjoint(equation.results):
            continue
        for result, positions in zip(equation.results, reach(equation), strict=True):
            if result in cone:
                sources = [equation.args[i] for i in positions]
                steps.append((result, sources))
                cone.update(sources)
    active = cone.intersection(starts)
    for result, sources in reversed(steps):
        if not active.isdisjoint(sources):
            active.add(result)
    return active
