"""Group S, analysis of training, against torch's automatic differentiation, eigenvalues of NumPy and closed forms."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.optimize
import sklearn.datasets
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(0)
POINT = RNG.normal(size=13) * 0.5
ONE = np.ones(1)


@cache
def flowers() -> tuple[np.ndarray, np.ndarray]:
    x, y = sklearn.datasets.load_iris(return_X_y=True)
    return ((x - x.mean(0)) / x.std(0))[50:], y[50:] - 1.5


def net(θ, x, y):
    """The small net in torch."""
    a = torch.tanh(x @ θ[:8].reshape(4, 2) + θ[8:10])
    return F.mse_loss(a @ θ[10:12] + θ[12], y)


def toy(θ, x, y):
    return ((y - θ[0] * θ[1] * x) ** 2).sum()


def loss_of(θ: np.ndarray) -> float:
    x, y = map(torch.tensor, flowers())
    return net(torch.tensor(θ), x, y).item()


def true_hessian(θ: np.ndarray) -> np.ndarray:
    x, y = map(torch.tensor, flowers())
    return torch.func.hessian(lambda p: net(p, x, y))(torch.tensor(θ)).numpy()


def second_derivatives(spec: Spec) -> None:
    x, y = flowers()
    for column in BOTH:
        agree("hessian", spec.value("net_hessian", column, θ=POINT, x=x, y=y), true_hessian(POINT))
    agree("at the saddle", spec.value("toy_hessian", θ=np.zeros(2), x=ONE, y=ONE), [[0, -2], [-2, 0]])


def eigenvalues(spec: Spec) -> None:
    """The ends of NumPy's spectrum; their vectors are eigenvectors."""
    x, y = flowers()
    wanted = np.linalg.eigvalsh(true_hessian(POINT))
    for column in BOTH:
        high, up, low, down = map(np.asarray, spec.call("net_extremes", column, θ=POINT, x=x, y=y).values())
        agree("eigenvalues", [high, low], wanted[[-1, 0]], 1e-8)
        agree("lengths", [np.linalg.norm(up), np.linalg.norm(down)], [1, 1])
        agree(
            "eigenvectors",
            [true_hessian(POINT) @ up - high * up, true_hessian(POINT) @ down - low * down],
            np.zeros((2, 13)),
            1e-6,
        )


def kinds(spec: Spec) -> None:
    """A minimum, a maximum and the saddle of y = w₁ w₂ x."""
    for sign, kind in ((1, 1), (-1, -1)):
        spectrum = np.diag([0.3, 1.0, 2.0]) * sign
        turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
        assert spec.value("kind_of_point", h=turn @ spectrum @ turn.T) == kind
    assert spec.value("kind_of_point", h=spec.value("toy_hessian", θ=np.zeros(2), x=ONE, y=ONE)) == 0


def model_of_third_order(spec: Spec) -> None:
    """The error of the model falls as the third power of the distance; it is the value of torch's derivatives."""
    x, y = flowers()
    direction = RNG.normal(size=13)
    errors = []
    for size in (1e-1, 1e-2):
        given = spec.value("net_model", θ=POINT + size * direction, at=POINT, x=x, y=y)
        errors.append(abs(given - loss_of(POINT + size * direction)))
    assert 2.7 < np.log10(errors[0] / errors[1]) < 3.3
    slope = torch.func.grad(lambda p: net(p, *map(torch.tensor, flowers())))(torch.tensor(POINT)).numpy()
    wanted = loss_of(POINT) + direction @ slope + 0.5 * direction @ true_hessian(POINT) @ direction
    for column in BOTH:
        agree("model", spec.value("net_model", column, θ=POINT + direction, at=POINT, x=x, y=y), wanted)


def escape(spec: Spec) -> None:
    """From the saddle the step has the given length and lowers the loss."""
    for column in BOTH:
        given = np.asarray(spec.value("toy_escaped", column, θ=np.zeros(2), reach=0.3, x=ONE, y=ONE))
        agree("along the eigenvector", np.abs(given), np.full(2, 0.3 / np.sqrt(2)))
        assert toy(torch.tensor(given), 1, torch.ones(1)).item() < 1


def lowest(spec: Spec) -> None:
    """No point of a small sphere is lower: SciPy's best one is the same."""
    x, y = flowers()
    radius = 1e-4
    given = np.asarray(spec.value("net_lowest", θ=POINT, radius=radius, x=x, y=y))
    ball = scipy.optimize.NonlinearConstraint(lambda d: d @ d, 0, 1, jac=lambda d: 2 * d)
    fall = lambda d: (loss_of(POINT + radius * d) - loss_of(POINT)) / radius  # noqa: E731
    found = scipy.optimize.minimize(fall, np.full(13, 0.1), constraints=ball, method="SLSQP", options={"ftol": 1e-12})
    assert fall((given - POINT) / radius) <= found.fun + 1e-4 * abs(found.fun)
    agree("on the sphere", np.linalg.norm(given - POINT), radius, 1e-12)


def surface(spec: Spec) -> None:
    x, y = sklearn.datasets.load_diabetes(return_X_y=True)
    x, y = x[:, [2, 8]] * 20, (y - y.mean()) / y.std()
    first, second = np.linspace(-1, 1, 7), np.linspace(-2, 2, 5)
    wanted = [[np.mean((a * x[:, 0] + b * x[:, 1] - y) ** 2) for b in second] for a in first]
    for column in BOTH:
        agree("grid", spec.value("surface", column, first=first, second=second, x=x, y=y), wanted)


# ---- gradients


def flat_far_out(spec: Spec) -> None:
    """Far on the wrong side the one has no slope left, the other all of it."""
    z, target = np.array([-20.0, 20.0]), np.array([1.0, 0.0])
    for column in BOTH:
        assert np.abs(np.asarray(spec.value("slope_of_mse", column, z=z, target=target))).max() < 1e-8
        agree("cross-entropy", spec.value("slope_of_cross_entropy", column, z=z, target=target), [-1, 1], 1e-8)


def both_slopes(d):
    p = torch.sigmoid(d.z)
    of_mse = 2 * (p - d.target) * p * (1 - p)
    return (of_mse**2).sum() + ((p - d.target) ** 2).sum()


def by_layer(kind):
    """The norms of every layer's slope by torch, through which torch differentiates once more."""

    def reference(d):
        weights, x = [d[f"net.weights.{i}.w"] for i in range(4)], d.x
        for w in weights:
            x = kind(x @ w)
        slopes = torch.autograd.grad((x**2).mean(), weights, create_graph=True)
        return sum(s.norm() ** 2 for s in slopes)

    return reference


def vanishes(spec: Spec) -> None:
    """With σ each layer nearer the input slopes less; with ReLU the first keeps a good part of the last one's slope."""
    text = spec.text + "".join(
        f"\n\nexample probe_{name}:\n    net = Deep(40, 8, saturating = {flag})\n    x: [30, 40] ~ normal(0, 1)\n    return norms_by_layer(net, x, 8)\n"
        for name, flag in (("steps", "true"), ("lines", "false"))
    )
    probed = Spec(text)
    steps, lines = (np.asarray(probed.results(f"probe_{n}")["value"]) for n in ("steps", "lines"))
    assert (np.diff(np.log(steps)) > 0.2).all() and steps[0] / steps[-1] < 0.02
    assert lines[0] / lines[-1] > 0.3


def closed_form(spec: Spec) -> None:
    w = np.array([0.9, 0.99, 1.0, 1.01, 1.1])
    for column in BOTH:
        agree("wⁿ", spec.value("cliff_100", column, w=w), w**100, 1e-10)
        agree("n wⁿ⁻¹", spec.value("slope_100", column, w=w), 100 * w**99, 1e-10)


CLIFF = "\n\ndef cliff_100(w: [n]) -> [n]:\n    return cliff(w, 100)\n\n\ndef slope_100(w: [n]) -> [n]:\n    return slope_of_cliff(w, 100)\n"


def moved(d):
    def scores(x):
        h = F.relu(x @ d["net.layers.0.w"] + d["net.layers.0.b"])
        return h @ d["net.layers.1.w"] + d["net.layers.1.b"]

    loss = F.cross_entropy(scores(d.x[None]), d.label[None])
    (slope,) = torch.autograd.grad(loss, d.x, create_graph=True)
    return (scores(d.x + d.steps[:, None] * slope / slope.norm()) ** 2).sum() + (slope**2).sum()


def sizes_of_slopes(spec: Spec) -> None:
    """The loss and the gradient's norm of the first updates, by torch from the same first weights."""
    loaded = spec.loaded
    weights = loaded.weights(loaded.fit("watched", steps=0))
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    x, y = torch.tensor(x) / 16, torch.tensor(y)
    p = {k: torch.tensor(np.array(v), requires_grad=True) for k, v in weights.items()}
    optimizer, wanted = torch.optim.SGD(list(p.values()), 0.5), []
    for _ in range(5):
        optimizer.zero_grad()
        h = F.relu(x @ p["layers.0.w"] + p["layers.0.b"])
        loss = F.cross_entropy(h @ p["layers.1.w"] + p["layers.1.b"], y)
        loss.backward()
        wanted.append((loss.item(), np.sqrt(sum((v.grad**2).sum().item() for v in p.values()))))
        optimizer.step()
    for backend in BOTH:
        given = [(row["loss"], row["slope"]) for row in spec.reports("watched", backend, steps=5)]
        agree(f"watched in {backend}", given, wanted, 1e-8)


LANDSCAPE, GRADIENTS = "analysis/landscape.lee", "analysis/gradients.lee"
ROWS = (
    Row("S1", LANDSCAPE, "curvature", second_derivatives),
    Row("S1", LANDSCAPE, "hessian", second_derivatives),
    Row("S1", LANDSCAPE, "extremes", every(eigenvalues, kinds)),
    Row("S1", LANDSCAPE, "kind_of_point", kinds),
    Row("S2", LANDSCAPE, "second_order", model_of_third_order),
    Row("S3", LANDSCAPE, "escaped", escape),
    Row("S4", LANDSCAPE, "lowest_nearby", lowest),
    Row("S5", LANDSCAPE, "surface", surface),
    Row("S6", GRADIENTS, "watched", sizes_of_slopes),
    Row("S8", GRADIENTS, "slope_of_mse", every(example("flat", both_slopes), flat_far_out)),
    Row("S8", GRADIENTS, "slope_of_cross_entropy", every(example("flat", both_slopes), flat_far_out)),
    Row("S10", GRADIENTS, "norms_by_layer", every(example("saturated", by_layer(torch.sigmoid)), example("rectified", by_layer(torch.relu)), vanishes)),
    Row("S11", GRADIENTS, "cliff", closed_form, CLIFF),
    Row("S11", GRADIENTS, "slope_of_cliff", closed_form, CLIFF),
    Row("S15", GRADIENTS, "scores_along", example("moved", moved)),
    Row("S15", GRADIENTS, "attack_direction", example("moved", moved)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
