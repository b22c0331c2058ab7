"""Group Q, labels that flow along links and maps that keep neighbours, against scikit-learn, SciPy and loops by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse.csgraph
import scipy.spatial
import scipy.special
import scipy.stats
import sklearn.datasets
import sklearn.decomposition
import sklearn.manifold
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from sklearn.manifold._t_sne import _joint_probabilities, _kl_divergence
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import NearestNeighbors, kneighbors_graph
from sklearn.semi_supervised import LabelPropagation
from trainings import perceptron

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(0)


# ---- labels that flow along links


@cache
def moons() -> tuple[np.ndarray, np.ndarray]:
    return sklearn.datasets.make_moons(80, noise=0.08, random_state=0)


def linked(x: np.ndarray, k: int = 10, width: float = 0.1) -> np.ndarray:
    """By scikit-learn's neighbours: a link counts in both directions."""
    one_way = kneighbors_graph(x, k).toarray()
    return np.maximum(one_way, one_way.T) * np.exp(-euclidean_distances(x, squared=True) / width**2)


def as_neighbours(spec: Spec) -> None:
    for k, width in ((10, 0.1), (4, 0.5)):
        for column in BOTH:
            found = spec.value("graph", column, x=moons()[0], k=k, width=width)
            agree("graph", found, linked(moons()[0], k, width))


def along_links(d):
    return (
        d.c * torch.as_tensor(linked(d.x.detach().numpy()) > 0) * torch.exp(-(torch.cdist(d.x, d.x) ** 2) / 0.01)
    ).sum()


def as_label_propagation(spec: Spec) -> None:
    """What scikit-learn's label propagation ends at, which also divides by the sum over classes."""
    x, y = moons()
    w, marked = linked(x, 6, 0.5), np.concatenate([np.flatnonzero(y == c)[:2] for c in range(2)])
    given = np.full(len(x), -1)
    given[marked] = y[marked]
    ends = LabelPropagation(kernel=lambda a, b: w, max_iter=100_000, tol=1e-13).fit(x, given).label_distributions_
    for column in BOTH:
        found = np.asarray(spec.value("spread", column, w=w, marked=marked, y=y[marked], classes=2))
        agree("sums", found.sum(1), np.ones(len(x)))
        agree("shares", found, ends, 1e-7)


def flowing(d):
    """The equations of the examples without labels alone."""
    near = torch.cdist(d.x, d.x) + torch.diag(torch.full((12,), torch.inf))
    links = (near.argsort(1)[:, :5, None] == torch.arange(12)).any(1)
    w = torch.where(links | links.T, torch.exp(-(near**2) / 4), 0)
    known = F.one_hot(d.y, 2).double()
    other = torch.tensor([i for i in range(12) if i not in (0, 5, 7)])
    marked = torch.tensor([0, 5, 7])
    rest = torch.diag(w.sum(1)) - w
    flowed = torch.linalg.solve(rest[other][:, other], w[other][:, marked] @ known)
    return (d.c[marked] * known).sum() + (d.c[other] * flowed).sum()


def as_scipy_laplacian(spec: Spec) -> None:
    w = linked(moons()[0], 6, 0.5)
    p = RNG.normal(size=(len(w), 3))
    rough = 0.5 * (w[:, :, None] * (p[:, None] - p[None]) ** 2).sum()
    for column in BOTH:
        agree("laplacian", spec.value("laplacian", column, w=w), scipy.sparse.csgraph.laplacian(w))
        agree("roughness", spec.value("roughness", column, w=w, p=p), rough)


def uneven(d):
    x = d.x.detach().numpy()
    w = torch.as_tensor(linked(x, 3, 0.8) > 0) * torch.exp(-(torch.cdist(d.x, d.x) ** 2) / 0.64)
    z = perceptron(d.net, d.x)

    def rough(p):
        return 0.5 * (w[:, :, None] * (p[:, None] - p[None]) ** 2).sum()

    return F.cross_entropy(z[:3], d.y) + 0.7 * rough(z.softmax(1)) / 12 + rough(d.p)


# ---- t-SNE


def chances(apart: np.ndarray, perplexity: float) -> np.ndarray:
    """Row by row the width at which SciPy's entropy is as wanted, found by Brent's method."""
    found = np.zeros_like(apart)
    for i, row in enumerate(apart):
        others = np.arange(len(apart)) != i
        best = scipy.optimize.brentq(too_wide, -20, 20, (row[others], perplexity), xtol=1e-14)
        found[i, others] = scipy.special.softmax(-row[others] * np.exp(best))
    return found


def too_wide(log_precision: float, apart: np.ndarray, perplexity: float) -> float:
    return scipy.stats.entropy(scipy.special.softmax(-apart * np.exp(log_precision))) - np.log(perplexity)


def joint(x: np.ndarray, perplexity: float) -> np.ndarray:
    p = chances(euclidean_distances(x, squared=True), perplexity)
    return (p + p.T) / (2 * len(x))


def as_wide_as_wanted(spec: Spec) -> None:
    """And as scikit-learn has them, which stops as soon as an entropy is near by 1e-5."""
    x = moons()[0]
    apart = euclidean_distances(x, squared=True)
    rough = scipy.spatial.distance.squareform(_joint_probabilities(apart.astype(np.float32), 30.0, 0))
    for column in BOTH:
        agree("squares", spec.value("squares", column, x=x), apart)
        agree("calibrated", spec.value("calibrated", column, square=apart, perplexity=7.0), chances(apart, 7.0), 1e-8)
        found = np.asarray(spec.value("pairs", column, x=x, perplexity=30.0))
        agree("pairs", found, joint(x, 30.0), 1e-8)
        assert np.abs(found - rough).max() < 1e-6 < 1e-2 * rough.max()


def spread_out(p, z, near):
    self = torch.eye(len(z))
    q = near(z) * (1 - self)
    return torch.special.xlogy(p, p).sum() - (p * (q + self).log()).sum() + q.sum().log()


def student(z):
    return 1 / (1 + ((z[:, None] - z[None]) ** 2).sum(2))


def printed(z):
    apart = ((z[:, None] - z[None]) ** 2).sum(2)
    return 1 / (1 + torch.where(apart > 0, apart, 1).sqrt())


def apart(d):
    p = torch.as_tensor(joint(d.x.detach().numpy(), 4.0))
    return spread_out(p, d.z, student) + 2 * spread_out(3 * p, d.z, student)


def as_divergence(spec: Spec) -> None:
    """scikit-learn's, for chances whose sum is 1."""
    x, z = moons()[0], RNG.normal(size=(80, 2))
    p = joint(x, 30.0)
    wanted, _ = _kl_divergence(z.ravel(), scipy.spatial.distance.squareform(p), 1, 80, 2)
    for column in BOTH:
        agree("divergence", spec.value("divergence", column, p=p, z=z), wanted, 1e-8)


def moved(x: np.ndarray, z: torch.Tensor, steps: int, rate: float, early: int) -> torch.Tensor:
    """Descent as scikit-learn describes it."""
    p = torch.as_tensor(joint(x, 4.0))
    velocity, gain = torch.zeros_like(z), torch.ones_like(z)
    for s in range(steps):
        z = z.detach().requires_grad_()
        (g,) = torch.autograd.grad(spread_out((12 if s < early else 1) * p, z, student), z)
        gain = torch.where(velocity * g < 0, gain + 0.2, gain * 0.8).clamp(min=0.01)
        velocity = (0.5 if s < early else 0.8) * velocity - rate * gain * g
        z = z + velocity
        z = z - z.mean(0)
    return z.detach()


def as_moved(spec: Spec) -> None:
    d = spec.draws("mapped")
    wanted = moved(d["x"], torch.as_tensor(d["start"]), 6, 2.0, 3)
    for column in BOTH:
        agree(column, spec.results("mapped", column=column)["value"], wanted, 1e-8)


def by_rule(spec: Spec) -> None:
    """Long enough that a gain reaches its lower bound."""
    start, slopes = RNG.normal(size=4), RNG.uniform(0.5, 1, size=(30, 4))
    slopes[::2, 0] *= -1
    velocity, gain, θ = np.zeros(4), np.ones(4), start
    for column in BOTH:
        velocity, gain, θ = np.zeros(4), np.ones(4), start
        for g, found in zip(slopes, spec.path("Gained", start, slopes, column, lr=0.1, momentum=0.1)):
            gain = np.maximum(np.where(velocity * g < 0, gain + 0.2, gain * 0.8), 0.01)
            velocity = 0.1 * velocity - 0.1 * gain * g
            θ = θ + velocity
            agree("θ", found, θ)
        assert gain.min() == 0.01


def as_trusted(spec: Spec) -> None:
    d = spec.draws("true_to_space")
    nearest = NearestNeighbors(n_neighbors=1).fit(d["z"]).kneighbors(return_distance=False)[:, 0]
    plane = sklearn.decomposition.PCA(2).fit_transform(d["x"])[:, ::-1]
    wanted = (
        sklearn.manifold.trustworthiness(d["x"], d["z"], n_neighbors=5),
        np.mean(d["y"] == d["y"][nearest]),
        plane**2,
    )
    for column in BOTH:
        for found, right in zip(spec.results("true_to_space", column=column).values(), wanted, strict=True):
            agree(column, found, right)


SMOOTH, TSNE = (f"unsupervised/{name}.lee" for name in ("smoothness", "tsne"))
ROWS = (
    Row("Q5", SMOOTH, "graph", every(as_neighbours, example("linked", along_links))),
    Row("Q5", SMOOTH, "spread", every(as_label_propagation, example("flowing", flowing))),
    Row("Q6", SMOOTH, "laplacian", as_scipy_laplacian),
    Row("Q6", SMOOTH, "roughness", as_scipy_laplacian),
    Row("Q7", SMOOTH, "smooth", example("uneven", uneven)),
    Row("Q17", TSNE, "squares", as_wide_as_wanted),
    Row("Q17", TSNE, "calibrated", as_wide_as_wanted, spare=(("60", "bisection has ended long before"), ("1.0", "where it begins"), ("10", "any factor leads to an upper bound"))),
    Row("Q17", TSNE, "pairs", as_wide_as_wanted),
    Row("Q17", TSNE, "divergence", every(as_divergence, example("apart", apart))),
    Row("Q17", TSNE, "divergenceAsPrinted", example("apart_as_printed", lambda d: spread_out(3 * torch.as_tensor(joint(d.x.detach().numpy(), 4.0)), d.z, printed))),
    Row("Q17", TSNE, "tsne", as_moved),
    Row("Q17", TSNE, "gained", by_rule),
    Row("Q17", TSNE, "Gained", by_rule),
    Row("Q17", TSNE, "trustworthiness", as_trusted),
    Row("Q17", TSNE, "alike", as_trusted),
    Row("Q17", TSNE, "principal", as_trusted),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
