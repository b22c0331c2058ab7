"""Watches the losses of the steps: their means for the reports, and NaN, without waiting for the device in between.

Losses add up where they live. On the host every step is looked at; on a device every 50th, and a NaN since then
still shows, because it stays in the sum.
"""

from __future__ import annotations

import math
from typing import Any

from leec.runtime import faults
from leec.runtime.backend import Array, NumpyBackend, TorchBackend


class Watch:
    """Sums of losses by label since the last report, and the number of steps of the run."""

    def __init__(self, place: NumpyBackend | TorchBackend, every: int | None = None):
        self.place = place
        self.every = every or (1 if place.device == "cpu" else 50)
        self.steps = self.checked = 0  # all steps; the step up to which there was no NaN
        self.fault: faults.RuntimeFault | None = None
        self.sums: dict[str, tuple[int, Array]] = {}  # label -> number of losses, their sum

    @property
    def pending(self) -> int:
        """Steps since the last means."""
        return max((count for count, _ in self.sums.values()), default=0)

    def step(self, label: str, loss: Array) -> None:
        """A step gave this loss. Raises LEE703 when it is time to look and there was a NaN."""
        count, total = self.sums.get(label, (0, 0.0))
        self.sums[label] = count + 1, self.place.add(total, loss)
        self.steps += 1
        if self.steps - self.checked >= self.every:
            self.check()

    def check(self) -> None:
        """Wait for the losses and look. Raises LEE703 if one since the last look was NaN."""
        self.look()
        self.stop()

    def look(self) -> None:
        """Wait for the losses; a NaN among them is remembered."""
        for label, (_, total) in self.sums.items():
            if not self.fault and math.isnan(float(total)):
                self.fault = faults.not_a_number(label, self.checked + 1, self.steps)
        self.checked = self.steps

    def stop(self) -> None:
        """Raises LEE703 if a NaN was seen."""
        if self.fault:
            raise self.fault

    def means(self) -> dict[str, float]:
        """The mean loss of each label since the last call."""
        self.look()
        means = {label: float(total) / count for label, (count, total) in self.sums.items()}
        self.sums = {}
        return means

    def glance(self) -> dict[str, float]:
        """The means so far, without looking on a device."""
        if self.every > 1:
            return {}
        return {label: float(total) / count for label, (count, total) in self.sums.items()}

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps; the sums are float64 and pass through text unchanged."""
        return {"steps": self.steps, "sums": {k: [n, float(total).hex()] for k, (n, total) in self.sums.items()}}

    def restore(self, facts: dict[str, Any]) -> None:
        self.steps = self.checked = facts["steps"]
        self.sums = {k: (n, self.place.add(float.fromhex(total), 0.0)) for k, (n, total) in facts["sums"].items()}
