"""Group B, procedures that choose a model, against NumPy's polynomials, scikit-learn's selection and loops in torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Draws, Spec, agree
from lectures import Row, every, example
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_diabetes, load_wine
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, ParameterGrid, cross_val_score, train_test_split
from trainings import Weights, begin, ends, rounds, trains

BOTH = ("numpy", "torch")


# ---- how flexible


def by_degree(spec: Spec) -> None:
    """NumPy's polynomials of degree 1 to 15 through 40 patients: on the others, the higher ones are far worse."""
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:, 2] / np.abs(x[:, 2]).max(), (y - y.mean()) / y.std()
    known, unknown = (x[:40], y[:40]), (x[40:], y[40:])
    made = [np.polynomial.Polynomial.fit(*known, degree) for degree in range(16)]
    wanted = [[np.mean((p(x) - y) ** 2) for p in made] for x, y in (known, unknown)]
    for column in BOTH:
        given = spec.call("errors_15", column, x=known[0], y=known[1], at=unknown[0], target=unknown[1]).values()
        for name, a, b in zip(("known", "unknown"), given, wanted, strict=True):
            agree(f"error on what was {name} in {column}", a, b, 1e-6)
        fits = spec.value("fits_3", column, x=known[0], y=known[1], at=unknown[0])
        agree("third degree", fits[3], np.polyval(np.polyfit(*known, 3), unknown[0]), 1e-8)
    assert (np.diff(wanted[0]) < 1e-12).all() and np.argmin(wanted[1]) < 5 and wanted[1][-1] > 2 * min(wanted[1])


def least_squares(d):
    def error(at, target, degree):
        powers = d.x[:, None] ** torch.arange(degree + 1)
        c = torch.linalg.lstsq(powers, d.y[:, None]).solution[:, 0]
        return ((at[:, None] ** torch.arange(degree + 1) @ c - target) ** 2).mean()

    return sum(error(d.x, d.y, k) + error(d.at, d.target, k) for k in range(5))


PROBE = """

def errors_15(x: [n], y: [n], at: [m], target: [m]):
    return error_by_degree(x, y, at, target, 15)


def fits_3(x: [n], y: [n], at: [m]):
    return polynomials(x, at, y, 3)


def ratio_of_3(x: [n, d], y: int[n]):
    return variance_ratio(x, y, 3)


def best_4(x: [n, d], score: [d]):
    return most_telling(x, score, 4)
"""


# ---- fewer to choose from


def as_select_k_best(spec: Spec) -> None:
    x, y = load_wine(return_X_y=True)
    chosen = SelectKBest(f_classif, k=4).fit(x, y)
    for column in BOTH:
        score = np.asarray(spec.value("ratio_of_3", column, x=x, y=y))
        agree("F", score, f_classif(x, y)[0], 1e-9)
        given = np.asarray(spec.value("best_4", column, x=x, score=score))
        order = np.argsort(-chosen.scores_[chosen.get_support()])
        agree("features", given, chosen.transform(x)[:, order])


def ratio(d):
    groups = [d.x[d.y == c] for c in range(3)]
    between = sum(len(g) * (g.mean(0) - d.x.mean(0)) ** 2 for g in groups) / 2
    return (between / (sum(((g - g.mean(0)) ** 2).sum(0) for g in groups) / 17)).sum()


def shared(d):
    p = d.net
    h = F.relu(d.x @ p["first.w"] + p["first.b"])
    for _ in range(3):
        h = F.relu(h @ p["again.w"] + p["again.b"])
    return F.cross_entropy(h @ p["last.w"] + p["last.b"], d.y)


def perceptron(p, x, at: str = ""):
    h = F.relu(x @ p[f"{at}layers.0.w"] + p[f"{at}layers.0.b"])
    return h @ p[f"{at}layers.1.w"] + p[f"{at}layers.1.b"]


def vote(d):
    z = [perceptron(d, d.x, f"net.members.{i}.") for i in range(3)]
    return (d.c * sum(torch.softmax(one, 1) for one in z) / 3).sum() + sum(F.cross_entropy(one, d.y) for one in z)


def mean_of_shares(spec: Spec) -> None:
    """NumPy's mean of the members' probabilities."""
    d = spec.draws("vote")
    weights = {k.removeprefix("net."): v for k, v in d.items() if k.startswith("net.")}
    z = [
        perceptron(
            Draws({k: torch.as_tensor(v) for k, v in weights.items()}), torch.tensor(d["x"]), f"members.{i}."
        ).numpy()
        for i in range(3)
    ]
    wanted = np.mean([np.exp(one) / np.exp(one).sum(1, keepdims=True) for one in z], axis=0)
    agree(
        "probabilities",
        (d["c"] * wanted).sum() + spec.value("loss_of_each", committee=weights, x=d["x"], y=d["y"]),
        spec.results("vote")["value"],
    )


# ---- procedures


def updated(weights: Weights, loss: torch.Tensor, rate: float) -> Weights:
    slopes = torch.autograd.grad(loss, list(weights.values()))
    return {k: (w - rate * s).detach().requires_grad_() for (k, w), s in zip(weights.items(), slopes, strict=True)}


def stopping(run, models) -> Iterator[Weights]:
    """The weights after every epoch in which the validation loss was the lowest."""
    known, unknown = run.split("known", run.data("digits", shape=(64,), test=0.2).train, 0.2)
    x, y = (torch.as_tensor(a) for a in (unknown.x, unknown.y))
    weights, lowest, waited = begin(run, models, "MLP", sizes=(64, 32, 10)), np.inf, 0
    for _ in run.loop("epoch", 1, 60):
        for rows in run.batches("batches", known, 64, shuffle=True):
            a, b = map(torch.as_tensor, rows)
            weights = updated(weights, F.cross_entropy(perceptron(weights, a), b), 0.5)
        valid = F.cross_entropy(perceptron(weights, x), y).item()
        waited = 0 if valid < lowest else waited + 1
        if waited == 0:
            lowest = valid
            yield weights
        if waited >= 3:
            return


def ends_early(spec: Spec) -> None:
    """Three epochs after the best one, which is not the last of all."""
    valid = [row["valid"] for row in spec.reports("early_stopping") if "valid" in row]
    assert len(valid) < 60 and np.argmin(valid) == len(valid) - 4


def linear(weights, x):
    return x @ weights["w"] + weights["b"]


def softmax_regression(x, y, classes: int, steps: int, rate: float, decay: float = 0) -> Weights:
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    weights = {
        "w": torch.zeros(x.shape[1], classes).double().requires_grad_(),
        "b": torch.zeros(classes).double().requires_grad_(),
    }
    for _ in range(steps):
        weights = updated(weights, F.cross_entropy(linear(weights, x), y) + decay * (weights["w"] ** 2).sum(), rate)
    return weights


def validating(run, models) -> Iterator[Weights]:
    data = run.data("breast_cancer", standardize=True, test=0.25)
    known, valid = run.split("known", data.train, 0.25)
    sizes = [len(part) for part in train_test_split(np.arange(len(data.train)), test_size=len(valid))]
    assert sizes == [len(known), len(valid)] == [320, 107]
    assert not {map(tuple, known.x)} & {map(tuple, valid.x)}
    nets = [softmax_regression(known.x, known.y, 2, 60, 0.5 * factor) for factor in range(1, 5)]
    losses = [F.cross_entropy(linear(net, torch.as_tensor(valid.x)), torch.as_tensor(valid.y)).item() for net in nets]
    yield nets[int(np.argmin(losses))]


def touches_the_test_once(spec: Spec) -> None:
    """The last report, and only it, is the accuracy on the test part."""
    reports = spec.reports("validated")
    assert ["test" in row for row in reports] == [False] * 4 + [True] and reports[-1]["test"] > 0.9


class Regression(ClassifierMixin, BaseEstimator):
    """Softmax regression by descent, as scikit-learn wants it."""

    def __init__(self, decay: float = 0.0):
        self.decay = decay

    def fit(self, x, y):
        self.classes_ = np.arange(3)
        self.weights = softmax_regression(x, y, 3, 60, 1.0, self.decay)
        return self

    def predict_proba(self, x):
        return torch.softmax(linear(self.weights, torch.as_tensor(x)), 1).detach().numpy()


def as_cross_val_score(spec: Spec) -> None:
    """The scores of scikit-learn on the same folds, and the weights of the winner fitted to everything.

    Of few examples, whose features tell little, too little decay learns the noise.
    """
    x, y = load_wine(return_X_y=True)
    order = np.random.default_rng(3).permutation(len(x))[:50]
    x, y = ((x - x.mean(0)) / x.std(0))[order][:, [1, 2, 3, 4, 7]], y[order]

    def surprise(net, x, y):
        return log_loss(y, net.predict_proba(x), labels=[0, 1, 2])

    wanted = [cross_val_score(Regression(0.01 * k), x, y, cv=KFold(5), scoring=surprise).mean() for k in range(4)]
    assert 0 < np.argmin(wanted) < 3, f"a winner with a neighbour on each side: {wanted}"
    best = Regression(0.01 * np.argmin(wanted)).fit(x, y).weights
    for backend in BOTH:
        given = [
            row["score"] for row in spec.reports("cross_validated", backend, data={"x": x, "y": y}) if "score" in row
        ]
        agree(f"scores in {backend}", given, wanted, 1e-9)
        found = spec.fit("cross_validated", backend, data={"x": x, "y": y})
        for path, right in best.items():
            agree(f"winner in {backend}: {path}", found[path], right.detach(), 1e-9)


def over_the_grid(spec: Spec) -> None:
    """A loop over scikit-learn's grid: one rate diverges, and of the others the largest is fastest."""
    x, y = load_diabetes(return_X_y=True)
    x, y, wanted = (x - x.mean(0)) / x.std(0), y - y.mean(), []
    for choice in ParameterGrid({"rate": [0.3, 0.1, 0.01, 0.001]}):
        w = np.zeros(10)
        for _ in range(20):
            w = w - choice["rate"] * 2 * x.T @ (x @ w - y) / len(x)
            wanted.append(np.mean((x @ w - y) ** 2))
    for backend in BOTH:
        agree(f"losses in {backend}", np.log([row["loss"] for row in spec.reports("rates", backend)]), np.log(wanted))
    ends_ = np.reshape(wanted, (4, 20))[:, -1]
    assert ends_[0] > 1e6 and (np.diff(ends_[1:]) > 0).all()


def committee(run, models) -> Iterator[Weights]:
    """Each member by an optimizer of its own, as if there were no others."""
    together = begin(run, models, "Committee", sizes=(64, 12, 10))
    members = [{k: w for k, w in together.items() if k.startswith(f"members.{i}.")} for i in range(3)]
    optimizers = [torch.optim.SGD(list(m.values()), 0.3) for m in members]
    for x, y in rounds(run, run.data("digits", shape=(64,), test=0.3).train, 64, 10):
        for i, (weights, optimizer) in enumerate(zip(members, optimizers, strict=True)):
            optimizer.zero_grad()
            F.cross_entropy(perceptron(weights, x, f"members.{i}."), y).backward()
            optimizer.step()
        yield together


def better_together(spec: Spec) -> None:
    assert spec.reports("committee")[-1]["together"] > spec.reports("committee")[-1]["alone"]


FILE = "generalisation/selection.lee"
ROWS = (
    Row("B1", FILE, "polynomials", every(by_degree, example("curve", least_squares, 1e-8)), PROBE),
    Row("B1", FILE, "error_by_degree", every(by_degree, example("curve", least_squares, 1e-8)), PROBE),
    Row("B5", FILE, "early_stopping", every(ends("early_stopping", stopping), ends_early)),
    Row("B7", FILE, "validated", every(ends("validated", validating), touches_the_test_once)),
    Row("B8", FILE, "cross_validated", as_cross_val_score),
    Row("B11", FILE, "rates", over_the_grid),
    Row("B12", FILE, "variance_ratio", every(as_select_k_best, example("told_apart", ratio)), PROBE),
    Row("B12", FILE, "most_telling", every(as_select_k_best, example("kept", lambda d: (d.c * d.x[:, d.score.topk(3)[1]]).sum())), PROBE),
    Row("B12", FILE, "Shared", example("shared", shared)),
    Row("B14", FILE, "Committee", every(example("vote", vote), mean_of_shares)),
    Row("B14", FILE, "loss_of_each", every(example("vote", vote), trains("committee", committee))),
    Row("B14", FILE, "committee", every(trains("committee", committee), better_together)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
