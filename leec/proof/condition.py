"""Condition: how far results move when every number that goes in is changed by one rounding.

Programs that round differently part about as far as that. Where they part by no more than ROUNDINGS times it, no
program is wrong: the formula itself blows rounding up, as a chaotic recurrence or a slope of 1e4 does (forward error
<= condition * backward error; Higham, Accuracy and Stability of Numerical Algorithms, section 1.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leec.proof.agreement import Row, distance, excess
from leec.proof.examples import Pair
from leec.proof.record import Call, record
from leec.proof.replay import replay
from leec.proof.report import NUMPY, TORCH
from leec.proof.steps import Steps, joined, train_section

ROUNDINGS = 10
TRIES = 3  # what one change of signs moves may cancel


@dataclass(frozen=True)
class Nudge:
    """Moves every entry of an array of floats by one rounding, up or down by chance; other things stay."""

    seed: int

    def __call__(self, x: Any) -> Any:
        if not isinstance(x, np.ndarray | np.floating) or x.dtype.kind != "f":
            return x
        signs = np.random.default_rng(self.seed).choice((-1.0, 1.0), x.shape)
        return np.asarray(x * (1 + signs * np.finfo(x.dtype).eps), x.dtype)

    def all(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        return {path: self(x) for path, x in tensors.items()}


def condition_of_step(pair: Pair, call: Call) -> tuple[list[float], float]:
    """How far the entries of each output of a recorded step move at most, and those of its gradients."""
    first, moved = replay(pair.numpy, call), []
    for nudge in map(Nudge, range(TRIES)):
        found = replay(pair.numpy, replace(call, values=[nudge(x) for x in call.values]))
        sides = [*zip(found.outputs, first.outputs, strict=True), (joined(found.gradients), joined(first.gradients))]
        moved.append([float(distance(a, b).max(initial=0.0)) for a, b in sides])
    *outputs, gradients = (max(tries) for tries in zip(*moved, strict=True))
    return outputs, gradients


def blown_up(made: Steps, rows: list[Row], name: str, steps: int, seed: int, arguments: Mapping[str, Any]) -> bool:
    """Whether the steps one after the other, from initial values that are nudged, part as far as these rows do."""
    first, moved = made.recordings[NUMPY], dict.fromkeys((row.quantity for row in rows), 0.0)
    for nudge in map(Nudge, range(TRIES)):
        second = record(made.pair.numpy, name, steps, seed, arguments=arguments, change=nudge.all)
        both = replace(made, recordings={NUMPY: first, TORCH: second}, followers={})
        found = {row.quantity: excess(row) for row in train_section(both, name, seed).rows}
        moved = {quantity: max(most, found.get(quantity, 0.0)) for quantity, most in moved.items()}
    return all(excess(row) <= ROUNDINGS * moved[row.quantity] for row in rows)
