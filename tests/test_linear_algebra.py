"""Linear algebra against torch's and SciPy's: values, gradients, signs, equal eigenvalues; derivatives along directions."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from against import Spec, agree

BOTH = ("numpy", "torch")
FOLDER = Path(__file__).parent.parent / "specs" / "linear_algebra"
RNG = np.random.default_rng(0)
ONE = torch.eye(3, dtype=torch.float64)


@cache
def spec(name: str) -> Spec:
    path = FOLDER / name
    return Spec(path.read_text(encoding="utf-8"), path.name)


# ---- what the examples of the spec compute, in torch's words


def log_density(d):
    cov = d.a @ d.a.mT + ONE
    gaussians = torch.distributions.MultivariateNormal(d.mu, cov)
    return gaussians.log_prob(d.x[:, None]).sum()


def root(a):
    values, vectors = torch.linalg.eigh(a)
    return vectors @ torch.diag(values.sqrt()) @ vectors.T


def distance(d):
    first, second = d.a @ d.a.T + ONE, d.b @ d.b.T + ONE
    cross = torch.linalg.eigvals(first @ second).real.sqrt().sum()
    return ((d.mu - d.nu) ** 2).sum() + torch.trace(first + second) - 2 * cross


def whitening(d):
    centred = d.x - d.x.mean(0)
    return (torch.linalg.solve(root(torch.cov(d.x.T, correction=0)), centred.T).T * d.u).sum()


def components(d):
    centred = d.x - d.x.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    return ((d.x.mean(0) + centred @ vectors[:, 1:] @ vectors[:, 1:].T) ** 3).sum()


def variance(d):
    values = torch.linalg.eigvalsh(torch.cov(d.x.T, correction=0))
    return ((values / values.sum()) ** 2).sum()


def even(d):
    return torch.linalg.eigvalsh((d.a + d.a.T) / 2).var(correction=0) * 3


def flow(d):
    part = torch.distributions.Normal(0, 1).log_prob(d.z @ d.weight).sum() + 4 * torch.logdet(d.weight.T @ d.weight) / 2
    return part + ((d.weight.T @ d.weight).triu(1) ** 2).sum()


def gains(d):
    p = d.a @ d.a.mT + ONE
    right = torch.linalg.inv(d.h @ p @ d.h.mT + torch.eye(2).double())
    return (p @ d.h.mT @ right).sum()


REFERENCES = {
    "densities": log_density,
    "distance": distance,
    "whitening": whitening,
    "fit": lambda d: (torch.linalg.lstsq(d.x, d.y[:, None]).solution[:, 0] * d.u).sum(),
    "gains": gains,
    "components": components,
    "variance": variance,
    "low_rank": lambda d: torch.linalg.matrix_norm(d.a, "nuc"),
    "even": even,
    "flow": flow,
}


@pytest.mark.parametrize("example", REFERENCES)
def test_values_and_gradients(example: str) -> None:
    spec("matrices.lee").hold(example, REFERENCES[example], 1e-8)


def test_elimination_and_embedding() -> None:
    a, y, x = RNG.normal(size=(5, 5)), RNG.normal(size=5), RNG.normal(size=(6, 2))
    weights = np.exp(-((x[:, None] - x) ** 2).sum(-1))
    laplacian = np.diag(weights.sum(1)) - weights
    values = scipy.linalg.eigvalsh(laplacian)[1:3]
    for column in BOTH:
        agree("elimination", spec("matrices.lee").value("eliminated", column, a=a, y=y), np.linalg.solve(a, y))
        found = np.asarray(spec("matrices.lee").value("embedding", column, weights=weights, k=2))
        agree("eigenvectors", laplacian @ found, found * values)
        agree("unit vectors", found.T @ found, np.eye(2))


def test_signs_are_those_of_the_largest_entries() -> None:
    text = """
def vectors(a: [n, n]):
    values, vectors = eigh(a)
    return vectors

def parts(x: [n, d]):
    u, s, v = svd(x)
    q, r = qr(x)
    return u, s, v, q, r

def pieces(a: [n, n]):
    f = lu(a)
    return f.order, f.lower, f.upper

example e:
    a: [3, 3] ~ normal(0, 1)
    x: [4, 3] ~ normal(0, 1)
    return vectors(a), parts(x), pieces(a)
"""
    made = Spec(text)
    a, x = RNG.normal(size=(6, 6)), RNG.normal(size=(7, 4))
    for column in BOTH:
        vectors = np.asarray(made.value("vectors", column, a=a))
        assert (vectors[np.abs(vectors).argmax(0), range(6)] > 0).all()
        u, s, v, q, r = map(np.asarray, made.call("parts", column, x=x).values())
        agree("singular values", s, scipy.linalg.svdvals(x))
        agree("product", u * s @ v.T, x)
        assert (u[np.abs(u).argmax(0), range(4)] > 0).all()
        agree("qr", q @ r, x)
        agree("columns", q.T @ q, np.eye(4))
        assert (np.diag(r) > 0).all() and not np.tril(r, -1).any()
        order, lower, upper = map(np.asarray, made.call("pieces", column, a=a).values())
        agree("lu", (lower @ upper)[order], a)
        wanted = scipy.linalg.lu(a, p_indices=True)
        for given, right in zip((order, lower, upper), wanted, strict=True):
            agree("pieces", given, right)
        tied = np.array([[2.0, 1.0], [1.0, 2.0]])  # entries of equal size: the first one is positive
        agree("ties", made.value("vectors", column, a=tied), np.array([[1, 1], [-1, 1]]) / np.sqrt(2))


def test_equal_eigenvalues_have_a_gradient() -> None:
    """A function of eigenvalues that treats them alike has one everywhere; singular determinants, too."""
    text = """
loss spectrum(a: [n, n]):
    values, vectors = eigh(a)
    return sum(exp(values))

loss nuclear(a: [n, d]):
    u, s, v = svd(a)
    return sum(s)

def slope(a: [n, n]):
    return grad(spectrum(a), a)

def nuclear_slope(a: [n, d]):
    return grad(nuclear(a), a)

def det_slope(a: [n, n]):
    return grad(det(a), a)

example e:
    return slope(eye(3)), nuclear_slope(2 * eye(3)), det_slope(zeros([2, 2]))
"""
    made = Spec(text)
    one = np.eye(4)
    low = np.outer(np.arange(1.0, 4), np.ones(3)) + np.diag([0, 0, 1.0])  # of rank 2
    cofactors = np.array([[(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(low, i, 0), j, 1)) for j in range(3)] for i in range(3)])  # fmt: skip
    for column in BOTH:
        agree("e^I", made.value("slope", column, a=one), np.e * one)
        agree("singular values", made.value("nuclear_slope", column, a=3 * one), one)
        agree("cofactors", made.value("det_slope", column, a=low), cofactors)
        agree("nothing", made.value("det_slope", column, a=np.zeros((3, 3))), np.zeros((3, 3)))


# ---- along directions


def test_derivatives_along_directions() -> None:
    x, u, a = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=(3, 4))
    f = lambda x: torch.sin(x @ torch.tensor(a)) * x[:, :1]  # noqa: E731
    _, wanted = torch.func.jvp(f, (torch.tensor(x),), (torch.tensor(u),))
    for column in BOTH:
        agree("jvp", spec("derivatives.lee").value("pushed", column, x=x, u=u, a=a), wanted)


def test_a_forward_derivative_costs_no_backward_one() -> None:
    """Reverse mode twice leaves forward mode: two products of matrices, one of them the primal's."""
    ops = [e.op for e in spec("derivatives.lee").program(1).functions["pushed"].body]
    assert ops.count("contract") == 2 and "fill" not in ops


def net(p, x):
    return torch.relu(x @ p["layers.0.w"] + p["layers.0.b"]) @ p["layers.1.w"] + p["layers.1.b"]


def bend(d):
    points = [{k: m[k] for k in ("layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b")} for m in (d.net, d.u)]
    p, u = points
    f = lambda p: (net(p, d.x) ** 2).mean()  # noqa: E731
    _, bent = torch.func.jvp(torch.func.grad(f), (p,), (u,))
    _, moved = torch.func.jvp(lambda p: net(p, d.x), (p,), (u,))
    return sum((u[k] * bent[k]).sum() for k in u) + (moved**2).sum()


def test_curvature_of_a_net_and_its_gradient() -> None:
    """A third derivative through relu among them."""
    spec("derivatives.lee").hold("bend", bend, 1e-8)


def test_conjugate_gradients_solve_newtons_equation() -> None:
    """Each round of the loop differentiates what was computed before it."""
    x, a = RNG.normal(size=4), RNG.normal(size=(4, 4)) * 0.5
    h = a @ a.T + np.diag(np.cosh(x))
    wanted = x - np.linalg.solve(h, a @ a.T @ x + np.sinh(x))
    for column in BOTH:
        agree("Newton", spec("derivatives.lee").value("newton_of_four", column, x=x, a=a), wanted, 1e-7)


# ---- whole matrices


def layers(like: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = {"layers.0.w": (3, 4), "layers.0.b": (4,), "layers.1.w": (4, 2), "layers.1.b": (2,)}
    return {k: like.normal(size=s) for k, s in shapes.items()}


def test_hessians_and_jacobians() -> None:
    rng = np.random.default_rng(1)
    x, a, inputs, leaves = rng.normal(size=4), rng.normal(size=(4, 4)), rng.normal(size=(5, 3)), layers(rng)
    point = {k: torch.tensor(v) for k, v in leaves.items()}
    parts = torch.func.jacrev(lambda p: net(p, torch.tensor(inputs)))(point)
    jacobian = torch.cat([p.flatten(2) for p in parts.values()], 2)
    loss = lambda p: (net(p, torch.tensor(inputs)) ** 2).mean()  # noqa: E731
    rows = torch.func.hessian(loss)(point)
    sizes = {k: v.size for k, v in leaves.items()}
    h = torch.cat([torch.cat([rows[i][j].reshape(sizes[i], sizes[j]) for j in sizes], 1) for i in sizes])
    for column in BOTH:
        found = spec("derivatives.lee").value("bowl", column, x=x, a=a)
        agree("Hessian of a vector", found, a @ a.T + np.diag(np.cosh(x)))
        agree("Jacobian", spec("derivatives.lee").value("sensitivities", column, net=leaves, x=inputs), jacobian)
        values, lowest = spec("derivatives.lee").call("spectrum", column, net=leaves, x=inputs).values()
        agree("spectrum", values, torch.linalg.eigvalsh(h))
        agree("lowest", h.numpy() @ np.asarray(lowest), np.asarray(lowest) * np.asarray(values)[0])


def test_gradients_of_jacobians_and_hessians() -> None:
    volume = lambda r: r[0] ** 2 * r[1].sin()  # noqa: E731
    point = lambda r: r[0] * (r[1].sin() * (r[2].cos() + r[2].sin()) + r[1].cos())  # noqa: E731
    spec("derivatives.lee").hold("sphere", lambda d: volume(d.r) + point(d.r))
    bent = lambda d: torch.func.hessian(lambda x: torch.sin(x * d.a).sum() * x[0])(d.x)  # noqa: E731
    spec("derivatives.lee").hold("sharp", lambda d: (bent(d) ** 2).sum(), 1e-8)


# ---- examples one by one


def single_gradients(d) -> torch.Tensor:
    return 2 * (d.x @ d.w - d.y)[:, None] * d.x


def private(d) -> torch.Tensor:
    g = single_gradients(d)
    norms = g.norm(dim=1)
    return ((g / (norms / 2).clamp(min=1)[:, None]).sum(0) ** 2).sum() + norms.max()


def information(d) -> torch.Tensor:
    keys = ("layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b")
    loss = lambda p, x, y: ((net(p, x) - y) ** 2).mean()  # noqa: E731
    single = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))({k: d.net[k] for k in keys}, d.x, d.y)
    return sum((g**2).mean(0).sum() for g in single.values())


def test_gradients_of_single_examples() -> None:
    """R23: `mean[i](grad(..))` differentiates for every i; its own gradient is of second order, through the loop."""
    spec("derivatives.lee").hold("private", private)
    spec("derivatives.lee").hold("information", information)
