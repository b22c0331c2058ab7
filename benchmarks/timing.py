"""Interleaved measurement: A B C A B C .. in one process, so that what slows the machine slows all of them.

The clock counts the processor's time of this process, which other processes do not add to.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median, quantiles
from time import process_time

from benchmarks.workloads import Step

BLOCK = 0.02  # seconds that an implementation runs at a time


def interleaved(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds a step of every implementation, once a round."""
    counts = {name: repetitions(step) for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(seconds(step, counts[name]))
    return times


def repetitions(step: Step) -> int:
    """How many steps fill a block."""
    count = 1
    while count * seconds(step, count) < BLOCK / 4:
        count *= 2
    return max(1, round(BLOCK / seconds(step, count)))


def seconds(step: Step, count: int) -> float:
    start = process_time()
    for _ in range(count):
        step()
    return (process_time() - start) / count


def ratios(times: Mapping[str, list[float]], base: str) -> dict[str, tuple[float, float, float]]:
    """How many times faster than `base` each is: the ratio of medians, and the quartiles of the ratios of the rounds."""
    found = {}
    for name, own in times.items():
        low, _, high = quantiles([b / a for a, b in zip(own, times[base], strict=True)], n=4)
        found[name] = median(times[base]) / median(own), low, high
    return found
