"""Group Q, what data say without labels or with a few, against scikit-learn and SciPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.cluster.hierarchy
import scipy.linalg
import scipy.special
import scipy.stats
import sklearn.cluster
import sklearn.datasets
import sklearn.decomposition
import sklearn.mixture
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from sklearn.manifold import LocallyLinearEmbedding, SpectralEmbedding
from sklearn.manifold._locally_linear import barycenter_kneighbors_graph
from sklearn.metrics import euclidean_distances
from sklearn.neighbors import kneighbors_graph
from trainings import descent, ends

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(0)


@cache
def flowers() -> np.ndarray:
    return sklearn.datasets.load_iris().data


@cache
def images() -> np.ndarray:
    return sklearn.datasets.load_digits().data[:300] / 16


# ---- principal components


def as_components(spec: Spec) -> None:
    """scikit-learn's PCA, up to signs."""
    for x, k in ((flowers(), 3), (images(), 10)):
        pca = sklearn.decomposition.PCA(k).fit(x)
        for column in BOTH:
            found = np.asarray(spec.value("directions", column, x=x, k=k))
            signs = np.sign((found * pca.components_).sum(1))
            agree("directions", found, signs[:, None] * pca.components_)
            agree("codes", spec.value("projected", column, x=x, k=k), signs * pca.transform(x))


def as_inverse_transform(spec: Spec) -> None:
    """What scikit-learn gets back from its codes, and what of the variance they leave."""
    for x, k in ((flowers(), 2), (images(), 10)):
        pca = sklearn.decomposition.PCA(k).fit(x)
        left = (np.var(x, axis=0).sum() - pca.explained_variance_.sum() * (len(x) - 1) / len(x)).item()
        for column in BOTH:
            found = np.asarray(spec.value("reconstructed", column, x=x, k=k))
            agree("reconstructions", found, pca.inverse_transform(pca.transform(x)))
            agree("error", spec.value("error", column, x=x, again=found), left)


def varying(d):
    centred = d.x - d.x.mean(0)
    left, size, _ = torch.linalg.svd(centred, full_matrices=False)
    return (d.c * (left * size)[:, :2] ** 2).sum()


def left_over(d):
    return torch.linalg.eigvalsh(torch.cov(d.x.T, correction=0))[:2].sum()


def linear_code(net, x):
    return ((x - x @ net["encode"] @ net["decode"]) ** 2).sum(1).mean()


coded = descent(
    "AutoEncoder",
    {"d": 64, "k": 10},
    lambda net, x, y: linear_code(net, x - x.mean(0)),
    lambda p: torch.optim.Adam(p, 1e-2),
    "digits",
    epochs=3,
    test=0.0,
)


# ---- clusters


def as_k_means(spec: Spec) -> None:
    """scikit-learn's KMeans from the same centres, to where no label changes."""
    for x, k in ((flowers(), 3), (images(), 10)):
        start = x[RNG.permutation(len(x))[:k]]
        found = sklearn.cluster.KMeans(k, init=start, n_init=1, tol=0, algorithm="lloyd").fit(x)
        for column in BOTH:
            centre, label = spec.call("kmeans", column, x=x, start=start).values()
            agree("centres", centre, found.cluster_centers_)
            agree("labels", label, found.labels_)
            agree("inertia", spec.value("inertia", column, x=x, label=label, centre=centre), found.inertia_)


def without_examples(spec: Spec) -> None:
    """A centre that nothing is near to stays, others move."""
    x, centre = np.arange(6.0).reshape(3, 2), np.array([[0.0, 0.0], [90, 90]])
    label = spec.value("nearest", x=x, centre=centre)
    agree("centres", spec.value("middles", x=x, label=label, centre=centre), [[2, 3], [90, 90]])


def from_centres(d):
    return (torch.cdist(d.x, d.centre).amin(1) ** 2).sum()


def as_linkage(spec: Spec) -> None:
    """SciPy's tree by average linkage: the same heights, and the same clusters wherever it is cut."""
    x = RNG.normal(size=(40, 3))
    wanted = scipy.cluster.hierarchy.linkage(x, "average")
    for column in BOTH:
        kept, dropped, height = spec.call("tree", column, x=x).values()
        agree("heights", height, wanted[:, 2])
        assert (kept < dropped).all() and sorted(dropped.tolist()) == list(range(1, 40))
        for threshold in wanted[5::7, 2] * (1 + 1e-9):  # a cut at a height joins what is so far apart
            given = spec.value("cut", column, kept=kept, dropped=dropped, height=height, threshold=threshold)
            clusters = scipy.cluster.hierarchy.fcluster(wanted, threshold, "distance")
            firsts = [np.flatnonzero(clusters == c)[0] for c in clusters]
            agree("clusters", given, firsts)
        given = np.asarray(spec.value("agglomerated", column, x=x, clusters=5))
        clusters = scipy.cluster.hierarchy.fcluster(wanted, 5, "maxclust")
        agree("five", given, [np.flatnonzero(clusters == c)[0] for c in clusters])


# ---- mixtures


def as_gaussian_mixture(spec: Spec) -> None:
    """scikit-learn's GaussianMixture from the same start: means, covariances and how likely, after as many rounds."""
    x, pick = flowers(), np.array([3, 70, 120])
    found = sklearn.mixture.GaussianMixture(
        3,
        tol=1e-4,
        max_iter=500,
        weights_init=np.full(3, 1 / 3),
        means_init=x[pick],
        precisions_init=np.stack([np.eye(4)] * 3),
    ).fit(x)
    for column in BOTH:
        weight, mu, cov, likely = spec.call("without_labels", column, x=x, pick=pick, tolerance=1e-4).values()
        agree("weights", weight, found.weights_)
        agree("means", mu, found.means_)
        agree("covariances", cov, found.covariances_)
        agree("likelihood", likely, found.lower_bound_)
        density = np.asarray(spec.value("log_density", column, x=x, mu=mu, cov=cov))
        y = (found.predict(x) + (np.arange(150) % 3 == 0)) % 3
        agree("hits", spec.value("hits", column, x=x, y=y, weight=weight, mu=mu, cov=cov), 2 / 3)
        agree("density", scipy.special.logsumexp(density + np.log(np.asarray(weight)), axis=1), found.score_samples(x))


def by_hand(x, label, k, tolerance):
    """EM where known labels keep their responsibility, with SciPy's densities."""
    known = np.eye(k)[label] * (label >= 0)[:, None]
    r, likely = known, [-np.inf, np.inf]
    while len(likely) < 4 or likely[-1] - likely[-2] > tolerance:
        weight, mu = r.sum(0) / r.sum(), r.T @ x / r.sum(0)[:, None]
        cov = [np.cov(x.T, aweights=r[:, c], bias=True) + 1e-6 * np.eye(x.shape[1]) for c in range(k)]
        joint = np.stack(
            [np.log(weight[c]) + scipy.stats.multivariate_normal(mu[c], cov[c]).logpdf(x) for c in range(k)], axis=1
        )
        evidence = scipy.special.logsumexp(joint, axis=1)
        likely.append(np.where(label >= 0, (joint * known).sum(1), evidence).mean())
        r = np.where(label[:, None] >= 0, known, np.exp(joint - evidence[:, None]))
    weight, mu = r.sum(0) / r.sum(), r.T @ x / r.sum(0)[:, None]
    return weight, mu, likely[2:]


def with_labels(spec: Spec) -> None:
    """Never less likely, round by round, and to the same Gaussians as a loop in NumPy and SciPy."""
    x, y = sklearn.datasets.load_iris(return_X_y=True)
    label = np.where(np.arange(150) % 5 == 0, y, -1)
    weight, mu, likely = by_hand(x, label, 3, 1e-3)
    assert len(likely) > 3 and (np.diff(likely) > 0).all()
    for column in BOTH:
        given = spec.call("with_some_labels", column, x=x, label=label, k=3, tolerance=1e-3).values()
        for name, a, b in zip(
            ("weights", "means", "likely"), (*list(given)[:2], list(given)[3]), (weight, mu, likely[-1])
        ):
            agree(name, a, b, 1e-8)


def one_round(d):
    cov = d.a @ d.a.mT + torch.eye(2)
    joint = torch.distributions.MultivariateNormal(d.mu, cov).log_prob(d.x[:, None])
    joint = joint + torch.tensor([0.3, 0.7], dtype=torch.float64).log()
    known = F.one_hot(d.label.clamp(min=0), 2)
    seen = (d.label >= 0)[:, None]
    likely = torch.where(seen[:, 0], (joint * known).sum(1), joint.logsumexp(1))
    return (d.c * torch.where(seen, known, joint.softmax(1))).sum() + likely.mean()


# ---- maps that keep neighbours


def roll() -> np.ndarray:
    return sklearn.datasets.make_swiss_roll(150, random_state=0)[0]


def as_lle(spec: Spec) -> None:
    """scikit-learn's mixtures, and its map by the dense solver, up to signs."""
    x = roll()
    mixtures = barycenter_kneighbors_graph(x, 9, reg=1e-3).toarray()
    wanted = LocallyLinearEmbedding(n_neighbors=9, n_components=2, eigen_solver="dense").fit_transform(x)
    for column in BOTH:
        apart = np.asarray(spec.value("squares", column, x=x))
        assert np.isinf(apart.diagonal()).all()
        agree("squares", np.where(np.eye(150), 0, apart), euclidean_distances(x, squared=True))
        agree("what is left", spec.value("unmixed", column, x=x, k=9), np.eye(150) - mixtures)
        given = np.asarray(spec.value("lle", column, x=x, neighbours=9, k=2))
        agree("map", np.abs(given), np.abs(wanted), 1e-7)


def as_eigenmap(spec: Spec) -> None:
    """SciPy's L z = λ D z on scikit-learn's graph; SpectralEmbedding's coordinates are these but for their lengths."""
    x = roll()
    graph = kneighbors_graph(x, 9).toarray()
    w = (graph + graph.T) / 2
    _, wanted = scipy.linalg.eigh(np.diag(w.sum(1)) - w, np.diag(w.sum(1)))
    other = SpectralEmbedding(2, affinity="precomputed").fit_transform(w)
    for column in BOTH:
        agree("graph", spec.value("links", column, x=x, k=9), w)
        given = np.asarray(spec.value("eigenmap", column, w=w, k=2))
        agree("map", np.abs(given), np.abs(wanted[:, 1:3]), 1e-7)
        along = np.diag(np.corrcoef(given.T, other.T)[:2, 2:])
        agree("correlation", np.abs(along), np.ones(2), 1e-7)


PCA, KMEANS, HAC, MIXTURES, NEIGHBOURS = (
    f"unsupervised/{name}.lee" for name in ("pca", "kmeans", "hac", "mixtures", "neighbours")
)
NEAR = example("near_centres", from_centres)
ROUND = example("one_round", one_round, 1e-8)
COMPONENTS = every(as_components, example("most_variance", varying, 1e-8))
LEAST = every(as_inverse_transform, example("least_error", left_over, 1e-8))
ROWS = (
    Row("Q1", MIXTURES, "log_density", every(ROUND, as_gaussian_mixture)),
    Row("Q1", MIXTURES, "most_likely", with_labels),
    Row("Q1", MIXTURES, "hits", as_gaussian_mixture),
    Row("Q8", KMEANS, "nearest", NEAR),
    Row("Q8", KMEANS, "middles", every(without_examples, as_k_means)),
    Row("Q8", KMEANS, "inertia", NEAR),
    Row("Q9", HAC, "tree", as_linkage, spare=(("1", "sizes are held against each other"),)),
    Row("Q11", PCA, "directions", COMPONENTS),
    Row("Q11", PCA, "projected", COMPONENTS),
    Row("Q12", PCA, "reconstructed", LEAST),
    Row("Q12", PCA, "error", LEAST),
    Row("Q13", PCA, "AutoEncoder", example("linear", lambda d: linear_code(d.net, d.x))),
    Row("Q13", PCA, "fit", ends("fit", coded, epochs=3)),
    Row("Q14", NEIGHBOURS, "squares", as_lle),
    Row("Q14", NEIGHBOURS, "shares", as_lle),
    Row("Q14", NEIGHBOURS, "unmixed", as_lle),
    Row("Q14", NEIGHBOURS, "lle", as_lle),
    Row("Q15", NEIGHBOURS, "links", as_eigenmap),
    Row("Q15", NEIGHBOURS, "eigenmap", as_eigenmap),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
