"""Group A, regression and optimisation: update rules step by step and whole runs against torch, on diabetes."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import sklearn.datasets
import sklearn.linear_model
import sklearn.neural_network
import torch
import torch.nn.functional as F
from against import Spec, agree, torch_path
from lectures import Row, every, example

RNG = np.random.default_rng(0)
START = RNG.normal(size=7)
SLOPES = RNG.normal(size=(30, 7)) * 10.0 ** -np.linspace(0, 9, 7)  # so small that every ε matters


# ---- one rule, step by step


def follows(name: str, reference, start: np.ndarray = START, slopes: np.ndarray = SLOPES, **hypers):
    """The check that an optimizer takes the steps of a reference, in both back ends, with its own defaults otherwise."""

    def check(spec: Spec) -> None:
        wanted = reference(start, slopes)
        for column in ("numpy", "torch"):
            for t, (a, b) in enumerate(zip(spec.path(name, start, slopes, column, **hypers), wanted, strict=True), 1):
                agree(f"{name} at step {t} in {column}", a, b, 1e-12)

    return check


def by_torch(make):
    return lambda start, slopes: torch_path(make, start, slopes)


def written_out(step):
    """A rule as a loop: `step(θ, g, t, memory)` gives the next θ and changes the memory."""

    def path(start, slopes):
        θ, memory, found = start, {}, []
        for t, g in enumerate(slopes, 1):
            θ = step(θ, g, t, memory)
            found.append(θ)
        return found

    return path


def constant_rate(θ, g, t, memory):
    memory["s"] = memory.get("s", 0) + g**2
    return θ - 0.01 * g / (np.sqrt(memory["s"] / t) + 1e-10)


def compounding(θ, g, t, memory):
    memory["s"] = memory.get("s", 0) + g**2
    memory["η"] = memory.get("η", 0.01) / np.sqrt(memory["s"])
    return θ - memory["η"] * g


def scheduled_momentum(θ, g, t, memory):
    memory["m"] = 0.9 * memory.get("m", 0) - 0.1 / np.sqrt(t) * g
    return θ + memory["m"]


def first_square(start, slopes):
    """torch's RMSprop, whose average starts at the first gradient squared."""

    def make(parameters):
        optimizer = torch.optim.RMSprop(parameters, 0.001, alpha=0.99)
        first = torch.tensor(slopes[0]) ** 2
        optimizer.state[parameters[0]] = {"step": torch.tensor(0.0), "square_avg": first}
        return optimizer

    return torch_path(make, start, slopes)


def rms_with_decay(θ, g, t, memory):
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
    return θ - 0.001 / np.sqrt(t) * g / (np.sqrt(memory["v"]) + 1e-8)


def without_correction(sign):
    """Adam without its bias correction; the notes' own m turns the direction round."""

    def step(θ, g, t, memory):
        memory["m"] = 0.9 * memory.get("m", 0) + (0.1 if sign > 0 else -0.01) * g
        memory["v"] = 0.99 * memory.get("v", 0) + 0.01 * g**2
        return θ - 0.01 * memory["m"] / (np.sqrt(memory["v"]) + 1e-8)

    return step


def direction(name: str, falls: bool):
    """Against a constant gradient of 1 the rule goes down, or, as printed, up."""

    def check(spec: Spec) -> None:
        assert (spec.path(name, np.zeros(1), np.ones((20, 1)))[-1] < 0) == falls

    return check


def is_not_adagrad(spec: Spec) -> None:
    """Under constant η the printed form is far from Adagrad: nothing decays."""
    wanted = torch_path(lambda p: torch.optim.Adagrad(p, 0.1, eps=0), START, SLOPES)[-1]
    given = spec.path("AdagradSumAsPrinted", START, SLOPES, lr=0.1)[-1]
    assert np.abs(given - wanted).max() > 0.3


def clipped_by_torch(spec: Spec) -> None:
    """torch's clip_grad_norm_ of gradients longer and shorter than the bound, one so short that its 1e-6 counts."""
    for length, bound in ((5, 2), (5, 7), (1e-5, 8e-6)):
        g = SLOPES[0] / np.linalg.norm(SLOPES[0]) * length
        θ = torch.zeros(7, dtype=torch.float64, requires_grad=True)
        θ.grad = torch.tensor(g)
        torch.nn.utils.clip_grad_norm_([θ], bound)
        for column in ("numpy", "torch"):
            given = np.asarray(spec.value("rescaled", column, g=g, bound=bound))
            agree(f"clipped from {length} to {bound} in {column}", given / length, θ.grad / length)


# ---- whole runs


@cache
def diabetes() -> tuple[np.ndarray, np.ndarray]:
    x, y = sklearn.datasets.load_diabetes(return_X_y=True)
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


def torch_run(epochs: int, batch: int, rate: float, schedule=None, by_epoch: bool = False) -> dict[str, np.ndarray]:
    """Linear regression by torch.optim.SGD over the rows in order."""
    x, y = map(torch.tensor, diabetes())
    w, b = torch.zeros(10, dtype=torch.float64, requires_grad=True), torch.zeros(
        (), dtype=torch.float64, requires_grad=True
    )
    optimizer = torch.optim.SGD([w, b], rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule or (lambda k: 1.0))
    for _ in range(epochs):
        for rows in torch.arange(len(x)).split(batch):
            optimizer.zero_grad()
            F.mse_loss(x[rows] @ w + b, y[rows]).backward()
            optimizer.step()
            scheduler.step() if not by_epoch else None
        scheduler.step() if by_epoch else None
    return {"w": w.detach().numpy(), "b": b.detach().numpy()}


def runs(procedure: str, reference, **arguments):
    """The check that a procedure ends with the weights of a reference, in both back ends."""

    def check(spec: Spec) -> None:
        x, y = diabetes()
        for backend in ("numpy", "torch"):
            given, wanted = spec.fit(procedure, backend, data={"x": x, "y": y}, **arguments), reference()
            for path in wanted:
                agree(f"{procedure}: {path} in {backend}", given[path], wanted[path], 1e-9)

    return check


# ---- models


def at_least_squares(spec: Spec) -> None:
    """Predictions are scikit-learn's, and at its solution the gradient is 0."""
    x, y = diabetes()
    found = sklearn.linear_model.LinearRegression().fit(x, y)
    for column in ("numpy", "torch"):
        e, d_w, d_b, predicted = spec.call(
            "slope", column, net={"w": found.coef_, "b": found.intercept_}, x=x, y=y
        ).values()
        agree("prediction", predicted, found.predict(x))
        agree("loss", e, np.mean((found.predict(x) - y) ** 2))
        agree("gradient", np.append(d_w, d_b), np.zeros(11))


def by_finite_differences(spec: Spec) -> None:
    """The hand-written backward pass gives the slope of the loss along every weight of the first layer."""
    x, y = diabetes()[0][:6, :4], diabetes()[1][:6]
    net = {"w1": RNG.normal(size=(4, 3)), "b1": RNG.normal(size=3), "w2": RNG.normal(size=3), "b2": np.array(0.3)}
    _, d_w1, *_ = spec.call("back_propagation", net=net, x=x, y=y).values()

    def loss(w1):
        return spec.value("back_propagation", net={**net, "w1": w1}, x=x, y=y)

    for i, j in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[i, j] = 1e-5
        agree(f"∂C/∂w[{i}, {j}]", d_w1[i, j], (loss(net["w1"] + step) - loss(net["w1"] - step)) / 2e-5, 1e-8)


def by_autograd(spec: Spec) -> None:
    x, y = diabetes()[0][:9, :4], diabetes()[1][:9]
    net = {"w1": RNG.normal(size=(4, 3)), "b1": RNG.normal(size=3), "w2": RNG.normal(size=3), "b2": np.array(0.3)}
    leaves = {k: torch.tensor(v, requires_grad=True) for k, v in net.items()}
    z = torch.sigmoid(torch.tensor(x) @ leaves["w1"] + leaves["b1"]) @ leaves["w2"] + leaves["b2"]
    error = 0.5 * ((torch.sigmoid(z) - torch.tensor(y)) ** 2).sum()
    wanted = [error, *torch.autograd.grad(error, list(leaves.values()))]
    for column in ("numpy", "torch"):
        for name, a, b in zip(
            ("C", *net), spec.call("back_propagation", column, net=net, x=x, y=y).values(), wanted, strict=True
        ):
            agree(f"∂C/∂{name}", a, b.detach())


def sums_of_steps(d, kind):
    p = d.net
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), kind(), torch.nn.Linear(5, 1, bias=False)).double()
    given = {"0.weight": p.w.T, "0.bias": p.b, "2.weight": p.c[None]}
    return (p.a + torch.func.functional_call(net, given, (d.x,))[:, 0]).square().sum()


def two_lines_a_piece(spec: Spec) -> None:
    """A curve of straight pieces is exactly a constant and two rectified lines for every piece."""
    corners, heights = np.array([-1.0, 0.5, 2.0]), np.array([1.5, -2.0])
    slopes = heights / np.diff(corners)
    c = np.repeat(slopes, 2) * np.tile([1, -1], 2)
    b = -corners[[0, 1, 1, 2]]
    x = np.linspace(-3, 4, 50)
    given = spec.value("ReluSum.forward", self={"c": c, "w": np.ones((1, 4)), "b": b, "a": np.array(0.7)}, x=x[:, None])
    agree("pieces", given, np.interp(x, corners, 0.7 + np.append(0, heights.cumsum())))


def stack(d):
    h = d.x
    for i in range(3):
        z = F.linear(h, d.net[f"layers.{i}.w"].T, d.net[f"layers.{i}.b"])
        h = torch.sigmoid(z) if i < 2 else z
    return F.cross_entropy(h, d.label)


def as_scikit_learn(spec: Spec) -> None:
    """The same probabilities as a classifier of scikit-learn with these weights, before its first step."""
    x, label = sklearn.datasets.load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    net = sklearn.neural_network.MLPClassifier((6, 5), "logistic", max_iter=1, random_state=0)
    with pytest.warns(sklearn.exceptions.ConvergenceWarning):
        net.fit(x, label)
    weights = {f"layers.{i}.w": w for i, w in enumerate(net.coefs_)} | {
        f"layers.{i}.b": b for i, b in enumerate(net.intercepts_)
    }
    text = "\n\ndef shares(net, x: [n, d]):\n    return softmax(net(x), axis = 1)\n"
    text += "\n\nexample probed:\n    net = FullyConnected((13, 6, 5, 3))\n    x: [4, 13] ~ normal(0, 1)\n    return sum(shares(net, x) ** 2)\n"
    found = Spec(spec.text + text)
    agree("shares", found.value("shares", net=weights, x=x), net.predict_proba(x))


OPTIMIZERS, DESCENT, MODELS = "regression/optimizers.lee", "regression/descent.lee", "regression/models.lee"
SLOPE = """

def slope(net: Linear, x: [n, d], y: [n]):
    e = mean((net(x) - y) ** 2)
    return e, grad(e, net.w), grad(e, net.b), net(x)
"""
ROWS = (
    Row("A1", MODELS, "Linear", at_least_squares, probe=SLOPE),
    Row("A2", DESCENT, "GradientDescent", every(follows("GradientDescent", by_torch(lambda p: torch.optim.SGD(p, 0.1))), runs("descend", lambda: torch_run(40, 442, 0.1)))),
    Row("A3", DESCENT, "stochastic", runs("stochastic", lambda: torch_run(2, 1, 0.01))),
    Row("A4", DESCENT, "decayed", every(runs("slowing", lambda: torch_run(40, 442, 0.1, lambda k: (k + 1) ** -0.5)), runs("slowing_by_epoch", lambda: torch_run(5, 100, 0.1, lambda k: (k + 1) ** -0.5, by_epoch=True)))),
    Row("A5", OPTIMIZERS, "Adagrad", follows("Adagrad", by_torch(lambda p: torch.optim.Adagrad(p, 0.01, eps=0)))),
    Row("A6", OPTIMIZERS, "AdagradSum", follows("AdagradSum", by_torch(lambda p: torch.optim.Adagrad(p, 0.01)))),
    Row("A6", OPTIMIZERS, "AdagradSumAsPrinted", every(follows("AdagradSumAsPrinted", written_out(constant_rate)), is_not_adagrad)),
    Row("A6", OPTIMIZERS, "AdagradCompoundAsPrinted", follows("AdagradCompoundAsPrinted", written_out(compounding), slopes=SLOPES[:4])),
    Row("A7", OPTIMIZERS, "Momentum", every(follows("Momentum", by_torch(lambda p: torch.optim.SGD(p, 0.01, momentum=0.9))), follows("Momentum", written_out(scheduled_momentum), lr=lambda t: 0.1 / np.sqrt(t)))),
    Row("A8", OPTIMIZERS, "RMSProp", follows("RMSProp", by_torch(lambda p: torch.optim.RMSprop(p, 0.001)))),
    Row("A8", OPTIMIZERS, "RMSPropAsPrinted", follows("RMSPropAsPrinted", first_square)),
    Row("A9", OPTIMIZERS, "Adam", follows("Adam", by_torch(lambda p: torch.optim.Adam(p)))),
    Row("A9", OPTIMIZERS, "AdamAsPrinted", follows("AdamAsPrinted", written_out(rms_with_decay))),
    Row("A10", OPTIMIZERS, "MomentumOverRMS", every(follows("MomentumOverRMS", written_out(without_correction(1))), direction("MomentumOverRMS", falls=True))),
    Row("A10", OPTIMIZERS, "MomentumOverRMSAsPrinted", every(follows("MomentumOverRMSAsPrinted", written_out(without_correction(-1))), direction("MomentumOverRMSAsPrinted", falls=False))),
    Row("A11", DESCENT, "warmed", runs("warming", lambda: torch_run(40, 442, 0.1, lambda k: min((k + 1) / 10, (10 / (k + 1)) ** 0.5)))),
    Row("A12", OPTIMIZERS, "clipped", example("within_bounds", lambda d: (d.c * d.g.clamp(-1.5, 1.5)).sum())),
    Row("A12", OPTIMIZERS, "clippedAsPrinted", example("within_bounds_as_printed", lambda d: (d.c * d.g.clamp(max=1.5)).sum())),
    Row("A12", OPTIMIZERS, "rescaled", every(clipped_by_torch, example("shortened", lambda d: sum((d.c * d.g * (b / (d.g.norm() + 1e-6)).clamp(max=1)).sum() for b in (1.5, 100))))),
    Row("A13", MODELS, "back_propagation", every(by_autograd, by_finite_differences)),
    Row("A14", MODELS, "SigmoidSum", example("steps", lambda d: sums_of_steps(d, torch.nn.Sigmoid))),
    Row("A14", MODELS, "ReluSum", every(example("lines", lambda d: sums_of_steps(d, torch.nn.ReLU)), two_lines_a_piece)),
    Row("A15", MODELS, "FullyConnected", every(example("classes", stack), as_scikit_learn)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
