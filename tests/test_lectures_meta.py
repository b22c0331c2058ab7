"""Group P, meta-learning, against torch: what passes through the steps of a task, and trainings step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, Spec, agree
from lectures import Row, every, example
from torch.func import functional_call
from trainings import BACKENDS, Weights, begin, ends, loaded, perceptron, quiet

from leec.runtime.run import Run

MAML, LEARNED, FEW_SHOT, REWEIGHTING = (
    f"meta/{name}.lee" for name in ("maml", "learned_optimizer", "few_shot", "reweighting")
)
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


# ---- a rule that is learned


def rule(w: Weights, g: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """torch's cell on the logarithm and the sign of a slope, or on -1 and e^p times it."""
    big = g.abs() >= np.exp(-10)
    size = torch.where(big, g.abs().clamp(min=1e-30).log() / 10, -1.0)
    seen = torch.stack([size, torch.where(big, g.sign(), np.exp(10) * g)], 1)
    cell = torch.nn.LSTMCell(2, h.shape[1]).double()
    parts = {"weight_ih": w["cell.w"].T, "weight_hh": w["cell.u"].T, "bias_ih": w["cell.b"]}
    h, c = functional_call(cell, {**parts, "bias_hh": torch.zeros_like(w["cell.b"])}, (seen, (h, c)))
    return 0.1 * F.linear(h, w["out.w"].T, w["out.b"])[:, 0], h, c


def quadratic(θ: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return ((a @ θ - b) ** 2).sum()


def unroll(w: Weights, θ: torch.Tensor, h: torch.Tensor, c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, steps: int):
    total = torch.zeros((), dtype=θ.dtype)
    for _ in range(steps):
        total = total + quadratic(θ, a, b)
        step, h, c = rule(w, (2 * a.T @ (a @ θ - b)).detach(), h, c)
        θ = θ + step
    return total + quadratic(θ, a, b), θ, h, c


def small_slopes(d: Draws) -> torch.Tensor:
    zeros = torch.zeros(5, 4, dtype=d.g.dtype)
    return (rule(d.rule, d.g, zeros, zeros)[0] ** 2).sum()


def unrolled(d: Draws) -> torch.Tensor:
    return unroll(d.rule, d.θ, d.h, d.c, d.a, d.b, 3)[0]


FEW = {"rounds": 2, "d": 3, "length": 4, "segment": 2, "hidden": 4, "tasks": 2}


def drawn(models: ModuleType, key: tuple[int, int], name: str, *shape: int) -> torch.Tensor:
    return torch.tensor(models.normal(models.fold(key, models.SITES[name]), shape, np.float64))


def rule_learned(run: Run, models: ModuleType) -> Iterator[Weights]:
    """Two segments of each of two rounds."""
    weights = begin(run, models, "Rule", "rule", hidden=4)
    opt = torch.optim.Adam(list(weights.values()), lr=3e-3)
    for _ in run.loop("round", 1, 2):
        key = run.key("learned")
        a, b, θ = drawn(models, key, "a", 3, 3), drawn(models, key, "b", 3), drawn(models, key, "θ", 3)
        h = c = torch.zeros(3, 4, dtype=torch.float64)
        for _ in range(2):
            total, θ, h, c = unroll(weights, *(v.detach() for v in (θ, h, c)), a, b, 2)
            opt.zero_grad()
            total.backward()
            opt.step()
    yield weights


def rule_at_work(spec: Spec) -> None:
    """The optimizer that the learned rule makes, by hand on the same tasks."""
    run, models = quiet("learned"), loaded(spec.text).numpy
    *_, weights = rule_learned(run, models)
    left = 0.0
    for _ in run.loop("task", 1, 2):
        key = run.key("learned")
        a, b = drawn(models, key, "a#2", 3, 3), drawn(models, key, "b#2", 3)
        θ = begin(run, models, "Point", "point", d=3)["θ"].detach()
        h = c = torch.zeros(3, 4, dtype=torch.float64)
        left += quadratic(unroll(weights, θ, h, c, a, b, 4)[1], a, b).item() / 2
    for backend in BACKENDS:
        agree(f"left in {backend}", spec.reports("learned", backend, **FEW)[-1]["left"], left, 1e-8)


# ---- few examples


def tasks(spec: Spec) -> None:
    """The examples of a class are all of that class, no class comes twice, and none is in support and query."""
    found = spec.draws("tasks")
    for level, column in ((0, "numpy"), (1, "numpy"), (1, "torch")):
        support, query = (np.asarray(v) for v in spec.results("tasks", level, column).values())
        rows = [
            [[int(np.flatnonzero((found["x"] == x).all(1))[0]) for x in c] for c in part] for part in (support, query)
        ]
        classes = [{int(found["y"][i]) for part in rows for i in part[c]} for c in range(3)]
        assert all(len(c) == 1 for c in classes) and len(set.union(*classes)) == 3
        assert len({i for part in rows for c in part for i in c}) == 12


def prototypical(f: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    k, m, _ = q.shape
    return F.cross_entropy(-torch.cdist(q.flatten(0, 1), f.mean(1)) ** 2, torch.arange(k).repeat_interleave(m))


def matching(d: Draws) -> torch.Tensor:
    likeness = F.cosine_similarity(d.q.flatten(0, 1)[:, None], d.f.flatten(0, 1)[None], dim=2)
    votes = likeness.softmax(1) @ F.one_hot(torch.arange(3).repeat_interleave(2)).double()
    return F.nll_loss(votes.log(), torch.arange(3).repeat_interleave(5))


def siamese(d: Draws) -> torch.Tensor:
    f, q, other = (v.flatten(0, 1) for v in (d.f, d.q, d.q.roll(-1, 0)))
    return (F.pairwise_distance(f, q, eps=0) ** 2).mean() + (
        F.relu(1 - F.pairwise_distance(f, other, eps=0)) ** 2
    ).mean()


def two_tasks(run: Run, models: ModuleType) -> Iterator[Weights]:
    """Tasks from the same numbers: the first five classes by theirs, of each class the first two examples by theirs."""
    x, y = (torch.as_tensor(v) for v in run.data("digits", shape=(64,), test=0.3).train.fields.values())
    weights = begin(run, models, "MLP", sizes=(64, 64, 32))
    opt = torch.optim.Adam(list(weights.values()), lr=1e-3)
    for _ in run.loop("round", 1, 2):
        key = models.fold(run.key("few_shot"), models.SITES["episode"])
        u, v = (
            models.uniform(models.fold(key, models.SITES[s]), (n,), np.float64) for s, n in (("u", 10), ("v", len(y)))
        )
        chosen = [np.flatnonzero(y.numpy() == c) for c in np.argsort(u)[:5]]
        rows = np.stack([of_class[np.argsort(v[of_class])[:2]] for of_class in chosen])
        opt.zero_grad()
        prototypical(*(perceptron(weights, x[rows[:, [s]]]) for s in (0, 1))).backward()
        opt.step()
    yield weights


# ---- what an example is worth


def worth(d: Draws) -> torch.Tensor:
    """In closed form: the inner products of its slope with that of the clean examples, the positive ones shared out."""
    w = {p: v for p, v in d.net.items() if v.requires_grad}

    def slope(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found = torch.autograd.grad(F.cross_entropy(perceptron(w, x), y), list(w.values()), create_graph=True)
        return torch.cat([g.flatten() for g in found])

    clean = slope(d.clean, d.labels)
    gain = torch.stack([F.relu(slope(d.x[[i]], d.y[[i]]) @ clean) for i in range(5)])
    return gain / gain.sum()


def reweighted(d: Draws) -> torch.Tensor:
    return (worth(d).detach() * F.cross_entropy(perceptron(d.net, d.x), d.y, reduction="none")).sum()


ALONE = """

example by_itself:
    net = MLP((1, 4, 4, 1))
    x: [1, 3, 1] ~ normal(0, 1)
    y: [1, 3, 1] ~ normal(0, 1)
    xq: [1, 5, 1] ~ normal(0, 1)
    yq: [1, 5, 1] ~ normal(0, 1)
    return mse(adapted(net, x[0], y[0])(xq[0]), yq[0])
"""
CANCELS = (("0.1", "cancels in the share"), ("1e-12", "keeps from 0 / 0"))

ROWS = (
    Row("P3", MAML, "maml", every(example("one_step", of_example(0.01)), example("three_steps", of_example(0.1, 3)))),
    Row(
        "P3",
        MAML,
        "adapted",
        every(example("three_steps", of_example(0.1, 3)), example("by_itself", of_example(0.01))),
        ALONE,
    ),
    Row("P3", MAML, "sinusoids", ends("sinusoids", through_tasks("sinusoids", True), rounds=3)),
    Row("P4", MAML, "first_order", example("without_second_derivatives", of_example(0.01, second=False))),
    Row(
        "P4",
        MAML,
        "sinusoids_first_order",
        ends("sinusoids_first_order", through_tasks("sinusoids_first_order", False), rounds=3),
    ),
    Row("P4", MAML, "reptile", ends("reptile", towards_tasks, rounds=3)),
    Row(
        "P5",
        LEARNED,
        "Rule",
        every(example("small_slopes", small_slopes), example("unrolled", unrolled)),
        spare=(("1e-30", "below what counts as large"),),
    ),
    Row("P5", LEARNED, "quadratic", example("unrolled", unrolled)),
    Row("P5", LEARNED, "learned", every(ends("learned", rule_learned, **FEW), rule_at_work)),
    Row("P8", REWEIGHTING, "weights", example("worth", lambda d: (d.c * worth(d)).sum()), spare=CANCELS),
    Row("P8", REWEIGHTING, "reweighted", example("weighed", reweighted)),
    Row(
        "P1",
        FEW_SHOT,
        "few_shot",
        every(ends("few_shot", two_tasks, rounds=2), tasks),
        spare=(("200", "tasks judge it"),),
    ),
    Row("P10", FEW_SHOT, "near_prototypes", example("by_distance", lambda d: prototypical(d.f, d.q))),
    Row("P10", FEW_SHOT, "prototypical", example("by_distance", lambda d: prototypical(d.f, d.q))),
    Row("P10", FEW_SHOT, "by_matching", example("by_votes", matching, 1e-6), spare=(("1e-8", "keeps from 0 / 0"),)),
    Row("P10", FEW_SHOT, "matching", example("by_votes", matching, 1e-6)),
    Row("P10", FEW_SHOT, "siamese", example("in_pairs", siamese)),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_agrees_with_its_reference(row: Row) -> None:
    row.check(row.spec)
