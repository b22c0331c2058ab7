"""Condition: how far results move when every number is rounded otherwise.

Programs that round differently part about as far as that. Where they part by no more than ROUNDINGS times it, no
program is wrong: the formula itself blows rounding up, as a chaotic recurrence or close eigenvalues do. Inside a
function every result of an operation moves by one rounding, up or down by chance (Monte Carlo arithmetic, Parker
1997); of a procedure the values that objects begin with, and data. What becomes infinite or NaN excuses nothing, and
integers have to be equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np

from leec.ir.graph import Equation, Function
from leec.proof.agreement import compare, distance, excess
from leec.proof.emitted import to_array
from leec.proof.examples import Pair, example_inputs
from leec.proof.interpret import Interpreter, bind
from leec.proof.locate import Case
from leec.proof.record import Call, record
from leec.proof.report import NUMPY, TORCH, Section
from leec.proof.steps import Steps, joined, train_section

ROUNDINGS = 10
TRIES = 3  # what moves by chance may cancel


class Nudge:
    """Moves every entry of an array of floats by one rounding, up or down by chance; other things stay."""

    def __init__(self, seed: int):
        self.chance = np.random.default_rng(seed)

    def __call__(self, x: Any) -> Any:
        if not isinstance(x, np.ndarray | np.floating) or x.dtype.kind != "f":
            return x
        signs = self.chance.choice((-1.0, 1.0), x.shape)
        with np.errstate(all="ignore"):
            return np.asarray(x * (1 + signs * np.finfo(x.dtype).eps), x.dtype)


@dataclass
class Rounded(Interpreter):
    """An interpreter in NumPy that rounds every result by chance; `directions` are what updates were given."""

    nudge: Nudge | None = None
    rules: frozenset[str] = frozenset()
    directions: list[Any] = field(default_factory=list)

    def equation(self, e: Equation, args: list[object], sizes: Mapping[str, int]) -> tuple:
        if e.params.get("callee") in self.rules:
            self.directions.append(args[1])
        found = super().equation(e, args, sizes)
        return found if self.nudge is None else tuple(map(self.nudge, found))


def moved(pair: Pair, name: str, values: Sequence[Any], sizes: Mapping[str, int]) -> list[float]:
    """For each output of a function how far its entries move at most, then for all gradients that updates are given."""
    program, runs = pair.spec.optimised.functions, []
    for nudge in (None, *map(Nudge, range(TRIES))):
        machine = Rounded(program, float_dtype=pair.dtype, nudge=nudge, rules=pair.rules)
        f: Function = machine.program.functions[name]
        arrays = [machine.array(x, v.type) for x, v in zip(values, f.inputs, strict=True)]
        outputs = machine.call(f, arrays, sizes)
        runs.append([*map(to_array, outputs), joined(machine.directions)])
    first, *rest = runs
    far = [[float(distance(a, b).max(initial=0.0)) for a, b in zip(run, first, strict=True)] for run in rest]
    return [max(map(finite, tries)) for tries in zip(*far, strict=True)]


def finite(far: float) -> float:
    return far if isfinite(far) else 0.0


def allowing(pair: Pair, section: Section, seed: int) -> None:
    """Bounds of an example that are as wide as rounding makes them."""
    f, given = example_inputs(pair, section.name, seed)
    values, sizes = bind(f, given)
    known = {v.quantity: far for v, far in zip(section.rows, moved(pair, f.name, values, sizes), strict=False)}
    for i, row in enumerate(section.rows):
        bound = ROUNDINGS * known[row.quantity]
        if not row.agrees and row.error <= bound:
            section.rows[i] = replace(row, bound=bound)
            section.notes.append(
                f"{row.quantity}: its bound is {ROUNDINGS} times as far as it moves where operations round otherwise"
            )


def together(case: Case, call: Call, scale: np.ndarray, tolerance: float) -> bool:
    """Whether all programs agree on a step, or part no further than rounding otherwise moves it.

    `scale` is that of its gradients, which are compared as they are: what is made of them may be small.
    """
    first, *others = case.outputs.values()
    vectors = [joined(found) for found in case.gradients.values() if all(g is not None for g in found)]

    def agree(scales: Sequence[float]) -> bool:
        *own, widest = scales
        rows = (compare("gradient", {"a": vectors[0], "b": v}, widest, tolerance) for v in vectors[1:])
        return all(case.agree(first, other, own, tolerance) for other in others) and all(row.agrees for row in rows)

    scales = [*case.scales(), float(scale.max(initial=0.0))]
    if agree(scales):
        return True
    far = moved(case.pair, call.f.name, call.values, call.sizes)
    return agree([max(s, ROUNDINGS * m / tolerance) for s, m in zip(scales, far, strict=True)])


def blown_up(made: Steps, section: Section, steps: int, arguments: Mapping[str, Any]) -> bool:
    """Whether steps one after the other part as far, where what they begin with is rounded otherwise."""
    known = dict.fromkeys((row.quantity for row in section.failures), 0.0)
    for nudge in map(Nudge, range(TRIES)):
        second = record(made.pair.numpy, section.name, steps, section.seed, arguments=arguments, change=nudge)
        both = replace(made, recordings={NUMPY: made.recordings[NUMPY], TORCH: second}, followers={})
        found = {row.quantity: excess(row) for row in train_section(both, section.name, section.seed).rows}
        known = {quantity: max(far, finite(found.get(quantity, 0.0))) for quantity, far in known.items()}
    return all(excess(row) <= ROUNDINGS * known[row.quantity] for row in section.failures)
