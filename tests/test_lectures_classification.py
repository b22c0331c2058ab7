"""Group R, classification, against scikit-learn and SciPy."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.stats
import sklearn.datasets
import sklearn.linear_model
import torch
from against import KEY, Spec, agree
from lectures import Row, every
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC

BOTH = ("numpy", "torch")


@cache
def two_irises() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All flowers, and the two kinds that are hard to tell apart."""
    x, y = sklearn.datasets.load_iris(return_X_y=True)
    return x[50:], x[y == 1], x[y == 2]


@cache
def tumours() -> tuple[np.ndarray, np.ndarray]:
    x, y = sklearn.datasets.load_breast_cancer(return_X_y=True)
    x = x[:, :4]
    return (x - x.mean(0)) / x.std(0), y.astype(float)


def gives(function: str, expected, tolerance: float = 1e-9, **arguments):
    """The check of a def's first result in both back ends; what is expected may be computed late."""

    def check(spec: Spec) -> None:
        wanted = expected() if callable(expected) else expected
        for column in BOTH:
            agree(f"{function} in {column}", spec.value(function, column, **arguments), wanted, tolerance)

    return check


# ---- Gaussians

X, FIRST, SECOND = two_irises()
KINDS = np.repeat([1, 0], [len(FIRST), len(SECOND)])
KNOWN = np.concatenate([FIRST, SECOND])


def by_scikit_learn(classifier):
    return lambda: classifier.fit(KNOWN, KINDS).predict_proba(X)[:, 1]


def quadratic():
    """scikit-learn's own covariances divide by n or by n - 1, depending on its version: given here, they divide by n."""
    found = QuadraticDiscriminantAnalysis(store_covariance=True).fit(KNOWN, KINDS)
    ratio = np.trace(found.covariance_[1]) / np.trace(np.cov(FIRST.T, bias=True))
    if abs(ratio - 1) < 1e-9:
        return found.predict_proba(X)[:, 1]
    densities = [scipy.stats.multivariate_normal(c.mean(0), np.cov(c.T, bias=True)).logpdf(X) for c in (SECOND, FIRST)]
    return softmax(np.transpose(densities), axis=1)[:, 1]


def shared(spec: Spec) -> None:
    found = LinearDiscriminantAnalysis(solver="lsqr").fit(KNOWN, KINDS)
    for column in BOTH:
        w, bias = spec.call("shared_line", column, first=FIRST, second=SECOND).values()
        agree("w", w, found.coef_[0])
        agree("b", bias, found.intercept_[0])


def drawn(spec: Spec) -> None:
    """Of many draws the mean and the covariance are those of what is known; the root is one."""
    root = spec.value("matrix_root", sigma=np.cov(X.T, bias=True), rounds=20)
    agree("R R", root @ root, np.cov(X.T, bias=True), 1e-12)
    made = spec.value("sampled", known=X, count=200_000, key=KEY)
    reference = scipy.stats.multivariate_normal(X.mean(0), np.cov(X.T, bias=True))
    spread = np.sqrt(np.diag(reference.cov))
    assert np.abs((made.mean(0) - reference.mean) / spread).max() < 5 / np.sqrt(len(made))
    assert np.abs((np.cov(made.T) - reference.cov) / np.outer(spread, spread)).max() < 5 * np.sqrt(2 / len(made))
    assert abs(reference.logpdf(made).mean() + reference.entropy()) < 5 * np.sqrt(2 / len(made))


# ---- lines


def at_the_optimum(spec: Spec) -> None:
    """scikit-learn's solution has no slope, and its loss."""
    x, y = tumours()
    found = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000).fit(x, y)
    net = {"w": found.coef_[0], "b": found.intercept_[0]}
    for column in BOTH:
        e, d_w, d_b = spec.call("slope", column, net=net, x=x, y=y).values()
        agree("slope", np.append(d_w, d_b), np.zeros(5), 2e-3)
        p = found.predict_proba(x)[:, 1]
        agree("-log likelihood", e, -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum())


def of_several_at_the_optimum(spec: Spec) -> None:
    x, y = sklearn.datasets.load_iris(return_X_y=True)
    found = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(x, y)
    for column in BOTH:
        e, d_w, d_b = spec.call("slope", column, net={"w": found.coef_.T, "b": found.intercept_}, x=x, y=y).values()
        agree("slope", np.concatenate([np.asarray(d_w).ravel(), d_b]), np.zeros(15), 2e-3)
        p = found.predict_proba(x)[np.arange(150), y]
        agree("loss", e, -np.log(p).sum() + (found.coef_**2).sum() / 2)


def steps(sign: float):
    """One step of gradient descent on the likelihood by torch; the notes' goes the other way."""

    def check(spec: Spec) -> None:
        x, y = tumours()
        w = torch.full((4,), 0.1, dtype=torch.float64, requires_grad=True)
        torch.nn.functional.binary_cross_entropy_with_logits(
            torch.tensor(x) @ w, torch.tensor(y), reduction="sum"
        ).backward()
        wanted = (w - sign * 0.01 * w.grad).detach()
        gives("step" if sign > 0 else "stepAsPrinted", wanted, w=np.full(4, 0.1), x=x, y=y, rate=0.01)(spec)

    return check


def beyond_doubt() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes that a line at 0 tells apart, and points of one far on the right side."""
    rng = np.random.default_rng(0)
    near = np.sort(rng.normal(size=(40, 1)), axis=0)
    far = np.full((20, 1), 30.0)
    return near, np.concatenate([near, far]), np.concatenate([near[:, 0] > 0, np.ones(20)]).astype(float)


def regression_fails(spec: Spec) -> None:
    near, x, y = beyond_doubt()
    wanted = LinearRegression().fit(x, y).predict(near) > 0.5
    for column in BOTH:
        given = np.asarray(spec.value("as_regression", column, x=x, y=y, asked=near))
        assert np.array_equal(given, wanted)
    assert (given == y[:40]).mean() < 0.9
    assert (LogisticRegression(C=1e4).fit(x, y).predict(near) == y[:40]).all()
    assert np.asarray(spec.value("as_regression", x=near, y=y[:40], asked=near) == y[:40]).mean() > 0.95


def line_by_numpy(spec: Spec) -> None:
    """The threshold is where scikit-learn's line is one half: just there the class changes."""
    _, x, y = beyond_doubt()
    found = LinearRegression().fit(x, y)
    at = (0.5 - found.intercept_) / found.coef_[0]
    asked = np.array([[at - 1e-6], [at + 1e-6]])
    assert np.asarray(spec.value("as_regression", x=x, y=y, asked=asked)).tolist() == [False, True]


CORNERS, XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0.0, 1.0, 1.0, 0.0])


def exclusive_or(spec: Spec) -> None:
    """No line solves it: the best one says one half everywhere. With distances for features one line does."""
    stuck = LogisticRegression(C=np.inf).fit(CORNERS, XOR)
    agree("one half", stuck.predict_proba(CORNERS)[:, 1], np.full(4, 0.5), 1e-6)
    for column in BOTH:
        made = np.asarray(spec.value("distances", column, x=CORNERS))
        agree("distances", made, np.stack([np.hypot(*CORNERS.T), np.hypot(*(CORNERS - 1).T)], axis=1))
    assert LogisticRegression(C=1e4).fit(made, XOR).score(made, XOR) == 1


def support_vectors(spec: Spec) -> None:
    """At scikit-learn's solution the loss equals its dual: Σ α - ½ ‖w‖²."""
    x, y = tumours()
    found = SVC(kernel="linear", C=1.0, tol=1e-10).fit(x, y)
    dual = np.abs(found.dual_coef_).sum() - (found.coef_**2).sum() / 2
    gives("hinge", dual, 1e-8, w=found.coef_[0].copy(), b=found.intercept_[0], x=x, y=2 * y - 1, cost=1.0)(spec)
    defaults = spec.call("margin_of", w=found.coef_[0].copy(), b=found.intercept_[0], x=x, y=2 * y - 1)
    agree("with its default", next(iter(defaults.values())), dual, 1e-8)


def explained(spec: Spec) -> None:
    """The weights of scikit-learn's Ridge on the same neighbours, weighted by distance."""
    rng = np.random.default_rng(0)
    x, near, score = rng.normal(size=5), rng.normal(size=(60, 5)), rng.uniform(size=60)
    weight = np.exp(-((near - x) ** 2).sum(1) / 0.75**2)
    gives("explain", Ridge(1.0).fit(near, score, sample_weight=weight).coef_, x=x, near=near, score=score)(spec)


SLOPE = """

def slope(net: {}, x: [n, d], y: {}):
    e = {}(net, x, y)
    return e, grad(e, net.w), grad(e, net.b)
"""
DEFAULTS = """

def margin_of(w: [d], b: [], x: [n, d], y: [n]):
    return hinge(w, b, x, y)


def explain(x: [d], near: [n, d], score: [n]):
    return explanation(x, near, score)
"""
GENERATIVE, LOGISTIC = "classification/generative.lee", "classification/logistic.lee"
HALF = np.array([0.2, 0.5, 0.503, 0.51, 0.7])
ROWS = (
    Row("R1", GENERATIVE, "posterior", gives("posterior", quadratic, x=X, first=FIRST, second=SECOND)),
    Row("R1", GENERATIVE, "is_first", gives("is_first", [False, False, True, True, True], p=HALF)),
    Row("R1", GENERATIVE, "is_firstAsPrinted", gives("is_firstAsPrinted", [False, True, True, True, True, True], p=np.append(0, HALF))),
    Row("R2", GENERATIVE, "centre", gives("centre", X.mean(0), x=X)),
    Row("R2", GENERATIVE, "covariance", gives("covariance", np.cov(X.T, bias=True), x=X)),
    Row("R2", GENERATIVE, "log_density", gives("log_density", lambda: scipy.stats.multivariate_normal(X.mean(0), np.cov(X.T)).logpdf(X), x=X, mu=X.mean(0), sigma=np.cov(X.T))),
    Row("R3", GENERATIVE, "naive_posterior", gives("naive_posterior", by_scikit_learn(GaussianNB(var_smoothing=0)), x=X, first=FIRST, second=SECOND)),
    Row("R3", GENERATIVE, "independent", gives("independent", lambda: scipy.stats.norm(X.mean(0), X.std(0)).logpdf(X).sum(1), x=X, mu=X.mean(0), variance=X.var(0))),
    Row("R4", GENERATIVE, "shared_line", shared),
    Row("R5", LOGISTIC, "likelihood", at_the_optimum, SLOPE.format("Logistic", "[n]", "likelihood")),
    Row("R5", LOGISTIC, "step", steps(1)),
    Row("R5", LOGISTIC, "stepAsPrinted", steps(-1)),
    Row("R6", LOGISTIC, "multi_class", of_several_at_the_optimum, SLOPE.format("Softmax", "int[n]", "multi_class")),
    Row("R7", LOGISTIC, "as_regression", every(regression_fails, line_by_numpy)),
    Row("R8", LOGISTIC, "distances", exclusive_or),
    Row("R9", GENERATIVE, "sampled", drawn),
    Row("R9", GENERATIVE, "matrix_root", drawn),
    Row("R10", LOGISTIC, "hinge", support_vectors, DEFAULTS),
    Row("R11", LOGISTIC, "explanation", explained, DEFAULTS),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
