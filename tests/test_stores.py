"""Storing into computed places (R38, decision 48): value and gradients against torch, in both programs."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from against import Draws, Spec

TEXT = """
def merge_rows(x: [n, n], keep: int[], drop: int[]) -> [n, n]:
    merged = 0.5 * (x[keep] + x[drop])
    merged[keep] = 7
    x[keep, :] = merged
    x[:, keep] = merged
    x[drop, :] = 0
    return x

example merging:
    x: [4, 4] ~ normal(0, 1)
    return sum(merge_rows(x, int(1), int(3)) ** 3)

def histogram(label: int[n], weight: [n], classes) -> [classes]:
    count = zeros([classes])
    count[label[i]] += weight[i]
    return count

example counts:
    label: int[9] ~ randint(0, 4)
    w: [9] ~ normal(0, 1)
    return sum(histogram(label, w, 4) ** 2)

def walk(start: int[], next: int[n], gain: [n], steps) -> [n]:
    seen = zeros([n])
    place = start
    for s in steps:
        seen[place] = seen[place] + gain[place]
        place = next[place]
    return seen

example places_in_a_loop:
    next: int[5] ~ randint(0, 5)
    gain: [5] ~ normal(0, 1)
    return sum(walk(int(2), next, gain, 11) ** 2)
"""


@cache
def spec() -> Spec:
    return Spec(TEXT)


def merging(d: Draws) -> torch.Tensor:
    merged = 0.5 * (d.x[1] + d.x[3])
    merged = torch.where(torch.arange(4) == 1, 7.0, merged)
    x = torch.cat([d.x[:1], merged[None], d.x[2:]])
    x = torch.cat([x[:, :1], merged[:, None], x[:, 2:]], 1)
    return torch.cat([x[:3], 0 * x[3:]]).pow(3).sum()


def walked(d: Draws) -> torch.Tensor:
    seen, place = [torch.zeros((), dtype=d.gain.dtype)] * 5, 2
    for _ in range(11):
        seen[place] = seen[place] + d.gain[place]
        place = int(d.next[place])
    return torch.stack(seen).square().sum()


REFERENCES = {
    "merging": merging,
    "counts": lambda d: torch.zeros(4, dtype=d.w.dtype).index_add(0, d.label, d.w).square().sum(),
    "places_in_a_loop": walked,
}


@pytest.mark.parametrize("name", REFERENCES)
def test_as_in_torch(name: str) -> None:
    spec().hold(name, REFERENCES[name])
