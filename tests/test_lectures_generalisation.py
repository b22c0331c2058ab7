"""Group B, generalisation and procedures, against scikit-learn and loops by hand in torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.linear_model
import torch
import torch.nn.functional as F
from against import KEY, Spec, agree, torch_path
from lectures import Row, every, example
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from trainings import descent, loaded, trains

RNG = np.random.default_rng(7)
START, SLOPES = RNG.normal(size=6), RNG.normal(size=(12, 6))
BOTH = ("numpy", "torch")


# ---- regularisation


def scaled_diabetes() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(x), (y - y.mean()) / y.std()


def flat_at_ridge(spec: Spec) -> None:
    """At the solution of scikit-learn's Ridge the loss has no slope; with the root of the notes it has."""
    x, y = scaled_diabetes()
    found = sklearn.linear_model.Ridge(alpha=7.0).fit(x, y)
    for column in BOTH:
        given = spec.call("slope", column, w=found.coef_, b=np.array(found.intercept_), x=x, target=y, strength=7.0)
        for name, slope in given.items():
            agree(f"{name} at the optimum in {column}", slope, np.zeros_like(slope), 1e-8)


def flat_at_lasso(spec: Spec) -> None:
    """At the solution of scikit-learn's Lasso, weights that are not 0 have no slope, others at most λ from the error."""
    x, y = scaled_diabetes()
    strength = 60.0
    found = sklearn.linear_model.Lasso(alpha=strength / 2 / len(y), tol=1e-12, max_iter=10**5).fit(x, y)
    zero = found.coef_ == 0
    assert 2 < zero.sum() < 8
    for column in BOTH:
        slope, of_bias = spec.call(
            "slope", column, w=found.coef_, b=np.array(found.intercept_), x=x, target=y, strength=strength
        ).values()
        agree("bias", of_bias, 0, 1e-6)
        agree("weights that are not 0", slope[~zero], np.zeros(10 - zero.sum()), 1e-6)
        assert np.abs(np.asarray(slope)[zero]).max() < strength


def squares(d):
    return ((d.target - d.b - d.x @ d.w) ** 2).sum()


SLOPE = """

def slope(w: [d], b: [], x: [n, d], target: [n], strength = 0.1):
    cost = {}(w, b, x, target, strength)
    return grad(cost, w), grad(cost, b)


example sloping:
    w: [3] ~ normal(0, 1)
    b: [] ~ normal(0, 1)
    x: [4, 3] ~ normal(0, 1)
    target: [4] ~ normal(0, 1)
    d_w, d_b = slope(w, b, x, target)
    return sum(d_w) + d_b
"""


def follows(name: str, reference: Callable) -> Callable[[Spec], None]:
    """The check that a rule takes the steps of an optimizer of torch."""

    def check(spec: Spec) -> None:
        right = torch_path(reference, START, SLOPES)
        for column in BOTH:
            for t, (a, b) in enumerate(zip(spec.path(name, START, SLOPES, column), right, strict=True), 1):
                agree(f"{name} at step {t} in {column}", a, b, 1e-12)

    return check


class SignDecay(torch.optim.SGD):
    """Descent that also takes 0.005 off every weight, towards 0."""

    @torch.no_grad()
    def step(self):
        weights = self.param_groups[0]["params"]
        before = [w.clone() for w in weights]
        super().step()
        for w, old in zip(weights, before, strict=True):
            w -= 0.1 * 0.05 * torch.sign(old)


def line(p, x, y):
    return F.mse_loss(p.b + x @ p.w, y)


def on_diabetes(rule):
    return descent("Linear", {"features": 10}, line, rule, "diabetes", 64, standardize=True)


# ---- dropout


def drawn(spec: Spec, example: str, name: str) -> np.ndarray:
    """What a callee of an example drew."""
    found = {}

    def observe(function, equation, values) -> None:
        found.update(zip((v.name for v in equation.results), values))

    spec.results(example, level=0, observer=observe)
    return found[name]


def dropout(model: str, example: str, training: Callable, testing: Callable) -> Callable[[Spec], None]:
    """The check with the same mask; of many neurons six in ten stay."""

    def check(spec: Spec) -> None:
        keep = torch.as_tensor(drawn(spec, example, "keep"))
        assert 0 < keep.mean() < 1
        spec.hold(example, lambda d: (d.c * training(d.a, keep)).sum() + (d.c**2 * testing(d.a)).sum())
        net = getattr(loaded(spec.text).numpy, model)()
        many = net.forward_training(np.ones((1000, 1000)), KEY)
        assert abs((many > 0).mean() - 0.6) < 0.0015

    return check


def inverted(a, keep):
    """As torch.nn.Dropout scales what stays."""
    scale = F.dropout(torch.ones(100, dtype=a.dtype), 0.4).max()
    return a * keep * scale


REGULAR = "generalisation/regularisation.lee"
ROWS = (
    Row("B2", REGULAR, "ridge", every(example("penalised", lambda d: squares(d) + 0.1 * (d.w**2).sum()), flat_at_ridge), SLOPE.format("ridge")),
    Row("B2", REGULAR, "ridgeAsPrinted", example("penalised_as_printed", lambda d: squares(d) + 0.05 * d.w.norm())),
    Row("B3", REGULAR, "WeightDecay", every(follows("WeightDecay", lambda w: torch.optim.SGD(w, 0.1, weight_decay=0.05)), trains("decaying", on_diabetes(lambda w: torch.optim.SGD(w, 0.1, weight_decay=0.05))))),
    Row("B4", REGULAR, "lasso", every(example("sparse", lambda d: squares(d) + 0.1 * d.w.abs().sum()), flat_at_lasso), SLOPE.format("lasso")),
    Row("B4", REGULAR, "SignDecay", every(follows("SignDecay", lambda w: SignDecay(w, 0.1)), trains("shrinking", on_diabetes(lambda w: SignDecay(w, 0.1))))),
    Row("B6", REGULAR, "Dropout", dropout("Dropout", "dropped", inverted, lambda a: a)),
    Row("B6", REGULAR, "DropoutAsPrinted", dropout("DropoutAsPrinted", "dropped_as_printed", lambda a, keep: a * keep, lambda a: 0.6 * a)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
