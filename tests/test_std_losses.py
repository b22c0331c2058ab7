"""Losses against torch, values and gradients; metrics against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
import torch.nn.functional as F
from against import Spec, agree

INPUTS = """
    x: [7, 5] ~ normal(0, 1)
    t: [7, 5] ~ normal(0, 1)
    u: [7, 5] ~ normal(0, 1)
    k: int[7] ~ randint(0, 5)
    b: [7] ~ bernoulli(0.5)
    yes: [7, 5] ~ bernoulli(0.5)
"""


def contrastive(d):
    distance = torch.linalg.norm(d.x - d.t, dim=1)
    return (d.b * distance**2 + (1 - d.b) * F.relu(1 - distance) ** 2).mean()


def focal(d):
    p = torch.sigmoid(d.x)
    share = d.yes * p + (1 - d.yes) * (1 - p)
    return ((1 - share) ** 1.5 * F.binary_cross_entropy_with_logits(d.x, d.yes, reduction="none")).mean()


LOSSES = {
    "mse(x, t)": lambda d: F.mse_loss(d.x, d.t),
    "sum(mse(x, t, reduce = false) * u)": lambda d: (F.mse_loss(d.x, d.t, reduction="none") * d.u).sum(),
    "mae(x, t)": lambda d: F.l1_loss(d.x, d.t),
    "huber(x, t)": lambda d: F.huber_loss(d.x, d.t),
    "huber(x, t, delta = 0.5)": lambda d: F.huber_loss(d.x, d.t, delta=0.5),
    "smooth_l1(x, t, beta = 0.5)": lambda d: F.smooth_l1_loss(d.x, d.t, beta=0.5),
    "log_cosh(x, t)": lambda d: torch.log(torch.cosh(d.x - d.t)).mean(),
    "cross_entropy(x, k)": lambda d: F.cross_entropy(d.x, d.k),
    "cross_entropy(reshape(x[:6], [2, 3, 5]), reshape(k[:6], [2, 3]))": lambda d: F.cross_entropy(d.x[:6], d.k[:6]),
    "sum(cross_entropy(x, k, reduce = false) * b)": lambda d: (F.cross_entropy(d.x, d.k, reduction="none") * d.b).sum(),
    "soft_cross_entropy(x, softmax(t, axis = 1))": lambda d: F.cross_entropy(d.x, F.softmax(d.t, 1)),
    "smoothed_cross_entropy(x, k)": lambda d: F.cross_entropy(d.x, d.k, label_smoothing=0.1),
    "nll(x, k)": lambda d: F.nll_loss(d.x, d.k),
    "binary_cross_entropy(x, yes)": lambda d: F.binary_cross_entropy_with_logits(d.x, d.yes),
    "focal(x, yes, gamma = 1.5)": focal,
    "hinge(x, 2 * yes - 1)": lambda d: F.relu(1 - (2 * d.yes - 1) * d.x).mean(),
    "squared_hinge(x, 2 * yes - 1)": lambda d: (F.relu(1 - (2 * d.yes - 1) * d.x) ** 2).mean(),
    "multi_margin(x, k)": lambda d: F.multi_margin_loss(d.x, d.k),
    "multi_margin(x, k, margin = 0.5)": lambda d: F.multi_margin_loss(d.x, d.k, margin=0.5),
    "kl(log_softmax(x, axis = 1), softmax(t, axis = 1))": lambda d: F.kl_div(F.log_softmax(d.x, 1), F.softmax(d.t, 1), reduction="batchmean"),
    "kl(log_softmax(x, axis = 1), one_hot(k, 5))": lambda d: F.kl_div(F.log_softmax(d.x, 1), F.one_hot(d.k, 5).double(), reduction="batchmean"),
    "poisson(x, t)": lambda d: F.poisson_nll_loss(d.x, d.t),
    "gaussian(x, exp(u), t)": lambda d: F.gaussian_nll_loss(d.x, d.t, torch.exp(d.u)),
    "triplet(x, t, u)": lambda d: F.triplet_margin_loss(d.x, d.t, d.u, eps=0),
    "margin_ranking(x, t, 2 * yes - 1, margin = 0.5)": lambda d: F.margin_ranking_loss(d.x, d.t, 2 * d.yes - 1, margin=0.5),
    "contrastive(x, t, b)": contrastive,
    "info_nce(x, t)": lambda d: F.cross_entropy(F.normalize(d.x) @ F.normalize(d.t).T / 0.1, torch.arange(7)),
}  # fmt: skip

METRICS = {
    "accuracy(x, k)": lambda d: sk.accuracy_score(d.k, d.x.argmax(1)),
    "error_rate(x, k)": lambda d: sk.zero_one_loss(d.k, d.x.argmax(1)),
    "top_k_accuracy(x, k, top = 2)": lambda d: sk.top_k_accuracy_score(d.k, d.x, k=2, labels=range(5)),
    "binary_accuracy(x[:, 0], b)": lambda d: sk.accuracy_score(d.b, d.x[:, 0] > 0),
    "precision(x[:, 0], b)": lambda d: sk.precision_score(d.b, d.x[:, 0] > 0),
    "recall(x[:, 0], b)": lambda d: sk.recall_score(d.b, d.x[:, 0] > 0),
    "f1(x[:, 0], b)": lambda d: sk.f1_score(d.b, d.x[:, 0] > 0),
    "confusion(x, k)": lambda d: sk.confusion_matrix(d.k, d.x.argmax(1), labels=range(5)),
    "adjusted_rand(argmax(x, axis = 1), k)": lambda d: sk.adjusted_rand_score(d.k, d.x.argmax(1)),
    "rmse(x, t)": lambda d: sk.root_mean_squared_error(d.t.ravel(), d.x.ravel()),
    "mean_absolute_error(x, t)": lambda d: sk.mean_absolute_error(d.t.ravel(), d.x.ravel()),
    "r2(x, t)": lambda d: sk.r2_score(d.t.ravel(), d.x.ravel()),
    "perplexity(x, k)": lambda d: np.exp(
        sk.log_loss(d.k, np.exp(d.x) / np.exp(d.x).sum(1, keepdims=True), labels=range(5))
    ),
}


def spec_of(module: str, cases) -> Spec:
    names = sorted({text.removeprefix("sum(").split("(")[0] for text in cases})
    examples = "".join(f"\nexample e{i}:{INPUTS}    return {text}\n" for i, text in enumerate(cases))
    return Spec(f"from std.{module} import {', '.join(names)}\n{examples}")


LOSS_SPEC, METRIC_SPEC = spec_of("losses", LOSSES), spec_of("metrics", METRICS)


@pytest.mark.parametrize("number", range(len(LOSSES)), ids=list(LOSSES))
def test_loss(number: int) -> None:
    LOSS_SPEC.hold(f"e{number}", list(LOSSES.values())[number])


class Arrays(dict):
    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("number", range(len(METRICS)), ids=list(METRICS))
@pytest.mark.parametrize("column", ["numpy", "torch"])
def test_metric(number: int, column: str) -> None:
    draws = Arrays(METRIC_SPEC.draws(f"e{number}"))
    given = METRIC_SPEC.results(f"e{number}", column=column)["value"]
    agree(list(METRICS)[number], given, list(METRICS.values())[number](draws))


EXTREME = {  # rows far out, in float32: the value and its slope stay finite
    "cross_entropy(x, k)": (1e4, 1.0),
    "nll(log_softmax(x, axis = 1), k)": (1e4, 1.0),
}


@pytest.mark.parametrize("text", EXTREME)
def test_far_out(text: str) -> None:
    from leec.proof.interpret import run

    spec = Spec(
        f"from std.losses import cross_entropy, nll\ndef f(x: [n, d], k: int[n]):\n    e = {text}\n    return e, grad(e, x)\n"
    )
    x, k = np.array([[0.0, 1e4]]), np.array([0])
    value, slope = EXTREME[text]
    for column in ("numpy", "torch"):
        found = list(run(spec.program(1), "f", {"x": x, "k": k}, column=column, float_dtype="f32").values())
        agree("value", found[0], value, 1e-6)
        agree("slope", found[1], [[-slope, slope]], 1e-6)
