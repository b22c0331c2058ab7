"""Rates of specs/regression/schedules.lee against torch's schedulers and formulas, its optimizers against torch's rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from against import Spec, agree, torch_path
from lectures import SPECS

RNG = np.random.default_rng(0)
UPDATES = range(1, 41)


@cache
def spec() -> Spec:
    return Spec((SPECS / "regression/schedules.lee").read_text(encoding="utf-8"), "schedules.lee")


def scheduled(make: Callable) -> list[float]:
    """The rates of the first updates by a scheduler of torch."""
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    scheduler, found = make(optimizer), []
    for _ in UPDATES:
        optimizer.step()
        scheduler.step()
        found += scheduler.get_last_lr()
    return found


RATES = {  # name: arguments, and the rate by another way
    "warmup_linear": ((2.0, 5, 40), [2.0 * min(t / 5, (40 - t) / 35) for t in UPDATES]),
    "warmup_cosine": (
        (2.0, 5, 40),
        [2.0 * (t / 5 if t < 5 else math.cos(math.pi * (t - 5) / 70) ** 2) for t in UPDATES],
    ),
    "warmup_inverse_sqrt": ((64, 5), [min(1 / math.sqrt(t), t / 5 / math.sqrt(5)) / 8 for t in UPDATES]),
    "cyclic": (
        (0.5, 2.0, 8),
        scheduled(lambda o: torch.optim.lr_scheduler.CyclicLR(o, 0.5, 2.0, 4, cycle_momentum=False)),
    ),
}


@pytest.mark.parametrize("name", RATES)
def test_rates(name: str) -> None:
    arguments, wanted = RATES[name]
    for backend in ("numpy", "torch"):
        rate = getattr(spec().loaded.backend(backend), name)
        agree(f"{name} in {backend}", [rate(*arguments, t) for t in UPDATES], wanted, 1e-12)


def test_milestones_are_compiled_in() -> None:
    """Their number decides how much is to be computed, so (100, 160) of `in_steps` stand in the function."""
    for backend in ("numpy", "torch"):
        rate = spec().loaded.backend(backend).warmup_steps
        given = [rate(1.0, 5, 0.1, t) for t in (1, 4, 5, 99, 100, 159, 160)]
        assert given == pytest.approx([0.2, 0.8, 1.0, 1.0, 0.1, 0.1, 0.01])


# ---- optimizers

START, SLOPES = RNG.normal(size=12), RNG.normal(size=(8, 12)) * np.geomspace(1, 1e-3, 8)[:, None]


def held(name: str, wanted: list[np.ndarray], start: np.ndarray = START, slopes: np.ndarray = SLOPES, **hypers) -> None:
    for column in ("numpy", "torch"):
        for t, (a, b) in enumerate(zip(spec().path(name, start, slopes, column, **hypers), wanted, strict=True), 1):
            agree(f"{name} at step {t} in {column}", a, b, 1e-11)


def test_adamw_with_decay_and_a_schedule() -> None:
    rates = RATES["warmup_cosine"][1]
    rule = spec().loaded.numpy.warmup_cosine

    def make(weights):
        optimizer = torch.optim.AdamW(weights, 1.0, weight_decay=0.1)
        return Clipped(optimizer, weights, rates)

    held("AdamW", torch_path(make, START, SLOPES), lr=lambda t: rule(2.0, 5, 40, t), weight_decay=0.1, clip=1.5)


class Clipped:
    """AdamW of torch with its gradients clipped and a rate given for every update."""

    def __init__(self, optimizer, weights, rates):
        self.optimizer, self.weights, self.rates = optimizer, weights, iter(rates)

    def step(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.weights, 1.5)
        self.optimizer.param_groups[0]["lr"] = next(self.rates)
        self.optimizer.step()


def test_muon_makes_singular_values_alike() -> None:
    """A round of the iteration leaves singular vectors and makes s of s: (3 s - s³) / 2, which has 1 as its limit."""
    start, slopes = START.reshape(4, 3), SLOPES.reshape(8, 4, 3)
    m, θ, wanted = 0, start, []
    for g in slopes:
        m = 0.95 * m + g
        u, s, v = np.linalg.svd(m, full_matrices=False)
        s = s / np.linalg.norm(s)
        for _ in range(5):
            s = (3 * s - s**3) / 2
        θ = θ - 0.02 * (u * s) @ v
        wanted.append(θ)
    held("Muon", wanted, start, slopes)
