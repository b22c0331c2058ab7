"""Group Q, what data say without labels or with a few, against scikit-learn and SciPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import sklearn.datasets
import sklearn.decomposition
import torch
from against import Spec, agree
from lectures import Row, every, example
from trainings import descent, ends

BOTH = ("numpy", "torch")


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
)


PCA = "unsupervised/pca.lee"
COMPONENTS = every(as_components, example("most_variance", varying, 1e-8))
LEAST = every(as_inverse_transform, example("least_error", left_over, 1e-8))
ROWS = (
    Row("Q11", PCA, "directions", COMPONENTS),
    Row("Q11", PCA, "projected", COMPONENTS),
    Row("Q12", PCA, "reconstructed", LEAST),
    Row("Q12", PCA, "error", LEAST),
    Row("Q13", PCA, "AutoEncoder", example("linear", lambda d: linear_code(d.net, d.x))),
    Row("Q13", PCA, "fit", ends("fit", coded, epochs=3)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
