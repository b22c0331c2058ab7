"""Group P, meta-learning, against torch: what passes through the steps of a task, and trainings step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws
from lectures import Row, every, example
from trainings import Weights, begin, ends, perceptron

from leec.runtime.run import Run

MAML = "meta/maml.lee"
SINE = {"sizes": (1, 40, 40, 1)}


def net(w: Draws, x: torch.Tensor) -> torch.Tensor:
    return perceptron(w, x, depth=3)


# ---- MAML


def adapted(w: Weights, x: torch.Tensor, y: torch.Tensor, rate: float, steps: int = 1, second: bool = True) -> Weights:
    """Steps of descent, through which autograd passes to the second order or to the first."""
    for _ in range(steps):
        slopes = torch.autograd.grad(F.mse_loss(net(w, x), y), list(w.values()), create_graph=True)
        w = {p: v - rate * (g if second else g.detach()) for (p, v), g in zip(w.items(), slopes, strict=True)}
    return w


def meta(w: Weights, tasks: tuple[torch.Tensor, ...], rate: float, steps: int = 1, second: bool = True) -> torch.Tensor:
    losses = [F.mse_loss(net(adapted(w, x, y, rate, steps, second), xq), yq) for x, y, xq, yq in zip(*tasks)]
    return torch.stack(losses).mean()


def of_example(rate: float, steps: int = 1, second: bool = True) -> Callable[[Draws], torch.Tensor]:
    def value(d: Draws) -> torch.Tensor:
        weights = {p: w for p, w in d.net.items() if w.requires_grad}  # beside them stands what its steps saved
        return meta(weights, (d.x, d.y, d.xq, d.yq), rate, steps, second)

    return value


def waves(run: Run, models: ModuleType, procedure: str, k: int, shots: int) -> tuple[torch.Tensor, ...]:
    """The tasks of a round, from its key: h sin(x + p) at two sets of points."""
    key = models.fold(run.key(procedure), models.SITES["waves"])

    def drawn(name: str, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
        numbers = models.uniform(models.fold(key, models.SITES[name]), shape, np.float64)
        return torch.tensor(low + (high - low) * numbers)

    height, phase = drawn("height", (k, 1, 1), 0.1, 5), drawn("phase", (k, 1, 1), 0, np.pi)
    x, xq = (drawn(name, (k, shots, 1), -5, 5) for name in ("x", "xq"))
    return x, height * torch.sin(x + phase), xq, height * torch.sin(xq + phase)


def through_tasks(procedure: str, second: bool) -> Callable[[Run, ModuleType], Iterator[Weights]]:
    def loop(run: Run, models: ModuleType) -> Iterator[Weights]:
        weights = begin(run, models, "MLP", **SINE)
        opt = torch.optim.Adam(list(weights.values()), lr=2e-3)
        for _ in run.loop("round", 1, 3):
            opt.zero_grad()
            meta(weights, waves(run, models, procedure, 4, 10), 0.01, second=second).backward()
            opt.step()
            yield weights

    return loop


def towards_tasks(run: Run, models: ModuleType) -> Iterator[Weights]:
    """Reptile, by steps of torch's own descent."""
    weights = begin(run, models, "MLP", **SINE)
    for _ in run.loop("round", 1, 3):
        x, y, _, _ = waves(run, models, "reptile", 1, 10)
        there = {p: w.detach().clone().requires_grad_() for p, w in weights.items()}
        opt = torch.optim.SGD(list(there.values()), lr=0.02)
        for _ in range(8):
            opt.zero_grad()
            F.mse_loss(net(there, x[0]), y[0]).backward()
            opt.step()
        weights = {p: w + 0.1 * (there[p].detach() - w) for p, w in weights.items()}
        yield weights


GIVEN = (("0.01", "given by who calls it"), ("1", "given by who calls it"))
LENGTH = (("2000", "how long it learns"), ("4000", "how long it learns"), ("100", "how many tasks judge it"))

ROWS = (
    Row("P3", MAML, "maml", every(example("one_step", of_example(0.01)), example("three_steps", of_example(0.1, 3)))),
    Row("P3", MAML, "adapted", example("three_steps", of_example(0.1, 3)), spare=GIVEN),
    Row("P3", MAML, "sinusoids", ends("sinusoids", through_tasks("sinusoids", True), rounds=3), spare=LENGTH),
    Row("P4", MAML, "first_order", example("without_second_derivatives", of_example(0.01, second=False))),
    Row(
        "P4",
        MAML,
        "sinusoids_first_order",
        ends("sinusoids_first_order", through_tasks("sinusoids_first_order", False), rounds=3),
        spare=LENGTH,
    ),
    Row("P4", MAML, "reptile", ends("reptile", towards_tasks, rounds=3), spare=LENGTH),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_agrees_with_its_reference(row: Row) -> None:
    row.check(row.spec)
