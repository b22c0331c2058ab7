"""Group N, lifelong learning, against SciPy and torch; what is kept of earlier tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, Spec, agree
from lectures import SPECS, Row, every, example
from scipy.optimize import nnls
from torch.func import grad, vmap
from trainings import Loop, Weights, begin, ends, loaded, perceptron, quiet, rounds

from leec.runtime.run import Run

GEM, PLASTICITY = "lifelong/gem.lee", "lifelong/plasticity.lee"
RNG = np.random.default_rng(3)


def nearest(spec: Spec) -> None:
    """z = g + v past, where v ≥ 0 is the least-squares solution of the dual; nothing moves what points nowhere against."""
    g = RNG.normal(size=6)
    for past in (RNG.normal(size=(2, 6)), np.outer([1.0, 2.0], g)):
        v, _ = nnls(past.T, -g)
        expected = g + v @ past
        for column in ("numpy", "torch"):
            agree(
                f"project in {column}",
                spec.value("project", column, g=g, past=past, steps=3000, margin=0.0),
                expected,
                1e-6,
            )


def on_its_way(spec: Spec) -> None:
    """Three steps by hand, also where past slopes have almost vanished."""
    for scale in (1.0, 1e-6):
        g, past = RNG.normal(size=6), scale * RNG.normal(size=(2, 6))
        past *= -np.sign(past @ g)[:, None]
        gram, v = past @ past.T, np.zeros(2)
        for _ in range(3):
            v = np.maximum(v - (gram @ v + past @ g) / (np.linalg.norm(gram) + 1e-12), 0)
        for column in ("numpy", "torch"):
            given = spec.value("project", column, g=g, past=past, steps=3, margin=0.0)
            agree(f"three steps in {column}", given, g + v @ past)


# ---- plasticity

Measure = Callable[[Weights, torch.Tensor, torch.Tensor], Weights]


def surprise(w: Weights, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(perceptron(w, x[None]), y[None])


def fisher(w: Weights, x: torch.Tensor, y: torch.Tensor) -> Weights:
    each = vmap(grad(surprise), (None, 0, 0))(w, x, y)
    return {p: (g**2).mean(0) for p, g in each.items()}


def sensitivity(w: Weights, x: torch.Tensor, _: torch.Tensor) -> Weights:
    each = vmap(grad(lambda w, x: (perceptron(w, x) ** 2).sum()), (None, 0))(w, x)
    return {p: g.abs().mean(0) for p, g in each.items()}


def path_integral(path: Weights, w: Weights, start: Weights) -> Weights:
    return {p: v.clamp(min=0) / ((w[p] - start[p]) ** 2 + 0.1) for p, v in path.items()}


def guarded(
    w: Weights, old: Weights, guard: Weights, x: torch.Tensor, y: torch.Tensor, strength: float
) -> torch.Tensor:
    held = sum((guard[p] * (w[p] - old[p]) ** 2).sum() for p in w)
    return F.cross_entropy(perceptron(w, x), y) + strength * held


def worth(spec: Spec) -> None:
    """Each measure against derivatives of single examples by torch.func."""
    d = Draws({k: torch.tensor(v) for k, v in spec.draws("worth").items() if isinstance(v, np.ndarray)})
    net, start = (dict(getattr(d, name)) for name in ("net", "start"))
    path = {p: net[p] * start[p] for p in net}
    expected = fisher(net, d.x, d.y), sensitivity(net, d.x, d.y), path_integral(path, net, start)
    for level, column in ((0, "numpy"), (1, "numpy"), (1, "torch")):
        given = spec.results("worth", level, column).values()
        for name, value, right in zip(("fisher", "sensitivity", "path_integral"), given, expected, strict=True):
            agree(f"{name} in {column}", value, torch.cat([v.flatten() for v in right.values()]))


def elsewhere(run: Run, models: ModuleType, procedure: str) -> torch.Tensor:
    """The order in which the second task sees the pixels: that of 64 numbers."""
    key = models.fold(run.key(procedure), models.SITES["place"])
    return torch.tensor(models.uniform(key, (64,), np.float64)).argsort(stable=True)


def plasticity(procedure: str, measure: Measure | None, strength: float) -> Loop:
    """Both tasks; without a measure, the guard is the path integral of the first one."""

    def loop(run: Run, models: ModuleType) -> Iterator[Weights]:
        train = run.data("digits", shape=(64,), test=0.3).train
        weights = begin(run, models, "MLP", sizes=(64, 64, 10))
        order, start = elsewhere(run, models, procedure), copied(weights)
        path = {p: torch.zeros_like(w) for p, w in weights.items()}
        opt = torch.optim.Adam(list(weights.values()), lr=3e-3)
        for x, y in rounds(run, train, 700, 1):
            before = copied(weights)
            descend(opt, F.cross_entropy(perceptron(weights, x), y))
            path = {p: v + weights[p].grad * (before[p] - weights[p].detach()) for p, v in path.items()}
        old, (x, y) = copied(weights), (torch.as_tensor(f) for f in train.fields.values())
        guard = measure(old, x, y) if measure else path_integral(path, old, start)
        opt = torch.optim.Adam(list(weights.values()), lr=3e-3)
        for x, y in rounds(run, train, 700, 1, loop="_2"):
            descend(opt, guarded(weights, old, guard, x[:, order], y, strength))
        yield weights

    return loop


def copied(weights: Weights) -> Weights:
    return {p: w.detach().clone() for p, w in weights.items()}


def descend(opt: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    opt.zero_grad()
    loss.backward()
    opt.step()


ORDER = (("1", "where numbers are drawn from that are only ordered"),)
SHORT = {"epochs": 1, "batch": 700}  # two steps on each task

ROWS = (
    Row(
        "N3",
        PLASTICITY,
        "guarded",
        example("held", lambda d: guarded(d.net, d.old, {p: w**2 for p, w in d.old.items()}, d.x, d.y, 1.0)),
    ),
    Row("N4", PLASTICITY, "fisher", worth),
    Row("N4", PLASTICITY, "sensitivity", worth),
    Row("N4", PLASTICITY, "path_integral", worth),
    Row("N4", PLASTICITY, "elastic", ends("elastic", plasticity("elastic", fisher, 100.0), **SHORT), spare=ORDER),
    Row("N4", PLASTICITY, "synaptic", ends("synaptic", plasticity("synaptic", None, 2.0), **SHORT), spare=ORDER),
    Row("N5", GEM, "project", every(nearest, on_its_way)),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_agrees_with_its_reference(row: Row) -> None:
    row.check(row.spec)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ("numpy", "torch"))
def test_what_was_learned_first_is_not_forgotten(backend: str) -> None:
    """Three tasks in turn that contradict each other in places: the mean over all of them at the end."""
    program = loaded((SPECS / GEM).read_text(encoding="utf-8"))
    found = []
    for kept in (64, 1):
        with quiet("in_turn", backend) as run:
            program.backend(backend).in_turn(kept=kept, run=run)
        found.append(np.mean([v for row in run.history for label, v in row.items() if "accuracy" in label]))
    assert found[0] >= 0.55 and found[0] > found[1] + 0.1, found
