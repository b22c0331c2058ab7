"""Group C, activations and losses, against torch, scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
import sklearn.preprocessing
import torch
import torch.nn.functional as F
from against import agree
from lectures import Row, every, example

RNG = np.random.default_rng(0)
Z, LABEL = RNG.normal(size=(40, 5)) * 3, RNG.integers(0, 5, 40)


def softmax_of_two(spec) -> None:
    """With two classes the first share is σ(z₀ - z₁)."""
    given = spec.value("softmax", z=Z[:, :2])
    agree("softmax of two", given[:, 0], scipy.special.expit(Z[:, 0] - Z[:, 1]))
    agree("far out", spec.value("softmax", z=np.array([[1e4, 0.0]])), [[1.0, 0.0]])


def two_ramps(d):
    """The hard step by its corners."""
    step = 5 * ((d.x + 1) / 3).clamp(0, 1)
    return (d.c * F.relu6(d.x + 3) / 6).sum() + (d.c**2 * step).sum()


def learned_slope(d):
    return (F.prelu(d.x, d.net.alpha) ** 2).sum()


def maxout(d):
    z = F.linear(d.x, d.net.w.reshape(12, 5), d.net.b.reshape(12))
    return (z.reshape(9, 3, 4).amax(2) ** 2).sum()


def maxout_contains_relu(spec) -> None:
    w, b = RNG.normal(size=(3, 2, 5)), RNG.normal(size=(3, 2))
    w[:, 1], b[:, 1] = 0, 0
    x = RNG.normal(size=(9, 5))
    given = spec.value("Maxout.forward", self={"w": w, "b": b}, x=x)
    agree("a piece of 0", given, np.maximum(x @ w[:, 0].T + b[:, 0], 0))


def as_printed_is_constant(spec) -> None:
    agree("1 / k", spec.value("softmaxAsPrinted", z=Z), np.full((40, 5), 0.2))


def metric(function: str, expected):
    """The check of a def on scores and labels, in both back ends."""

    def check(spec) -> None:
        for column in ("numpy", "torch"):
            found = spec.value(function, column, z=Z, label=LABEL)
            agree(function, found, expected)

    return check


def hot(spec) -> None:
    encoder = sklearn.preprocessing.OneHotEncoder(categories=[range(5)], sparse_output=False)
    for column in ("numpy", "torch"):
        given = spec.value("one_hot", column, label=LABEL, classes=5)
        agree("one-hot", given, encoder.fit_transform(LABEL[:, None]))


def printed_cross_entropy(d):
    y = F.softmax(d.z, 1)
    return torch.log(y[torch.arange(12), y.argmax(1)]).mean()


def printed_binary(d):
    f = torch.sigmoid(d.z)
    return -(d.target * torch.log(f) + (1 - d.target) * (1 - torch.log(f))).sum()


def printed_binary_is_unbounded(spec) -> None:
    """At f = 1e-9 and a target of 0 the notes' form gives -21.7, the right one 0."""
    given = spec.value("binary_cross_entropyAsPrinted", f=np.array([1e-9]), target=np.array([0.0]))
    agree("unbounded", given, -(1 - np.log(1e-9)))


def far_out(spec) -> None:
    z, label = np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]]), np.array([2, 1])
    given = spec.value("cross_entropy_of_logits", z=z, label=label)
    agree("far out", given, (scipy.special.logsumexp(z, axis=1) - z[[0, 1], label]).mean())


def kl(d):
    return F.kl_div(F.log_softmax(d.b, 1), F.softmax(d.a, 1), reduction="batchmean")


def kl_by_scipy(spec) -> None:
    p, q = scipy.special.softmax(Z[:20], 1), scipy.special.softmax(Z[20:], 1)
    p[0] = [1, 0, 0, 0, 0]
    given = spec.value("kl_divergence", p=p, q=q)
    agree("Σ p ln (p / q)", given, scipy.special.rel_entr(p, q).sum(1).mean())


def entropy_by_scipy(spec) -> None:
    y = scipy.special.softmax(Z, 1)
    y[0] = [1, 0, 0, 0, 0]
    agree("-Σ y ln y", spec.value("entropy", y=y), scipy.stats.entropy(y, axis=1))


ACTIVATIONS, LOSSES = "activations/activations.lee", "activations/losses.lee"
ROWS = (
    Row("C1", ACTIVATIONS, "sigmoid", example("steps", lambda d: (d.c * torch.sigmoid(d.x)).sum() + (d.c**2 * 3 * torch.sigmoid(1 + 2 * d.x)).sum())),
    Row("C1", ACTIVATIONS, "soft_step", example("steps", lambda d: (d.c * torch.sigmoid(d.x)).sum() + (d.c**2 * 3 * torch.sigmoid(1 + 2 * d.x)).sum())),
    Row("C2", ACTIVATIONS, "hard_sigmoid", example("ramps", two_ramps)),
    Row("C2", ACTIVATIONS, "hard_step", example("ramps", two_ramps)),
    Row("C3", ACTIVATIONS, "relu", example("rectified", lambda d: (d.c * torch.relu(d.x)).sum())),
    Row("C4", ACTIVATIONS, "leaky_relu", example("leaky", lambda d: (d.c * F.leaky_relu(d.x, 0.01)).sum())),
    Row("C5", ACTIVATIONS, "ParametricReLU", every(example("learned_slope", learned_slope), lambda spec: agree("α", spec.draws("learned_slope")["net.alpha"], [0.25] * 4))),
    Row("C6", ACTIVATIONS, "Maxout", every(example("largest_piece", maxout), maxout_contains_relu)),
    Row("C7", ACTIVATIONS, "softmax", every(example("shares", lambda d: (d.c * torch.softmax(d.z, 1)).sum()), softmax_of_two)),
    Row("C7", ACTIVATIONS, "softmaxAsPrinted", every(example("shares_as_printed", lambda d: (d.c / 5 + 0 * d.z).sum()), as_printed_is_constant)),
    Row("C8", ACTIVATIONS, "tanh", example("hyperbolic", lambda d: (d.c * torch.tanh(d.x)).sum())),
    Row("C9", LOSSES, "mae", example("distances", lambda d: F.l1_loss(d.y, d.target))),
    Row("C10", LOSSES, "mse", example("squares", lambda d: F.mse_loss(d.y, d.target))),
    Row("C10", LOSSES, "mseAsPrinted", example("squares_as_printed", lambda d: F.mse_loss(d.y, d.target, reduction="sum"))),
    Row("C11", LOSSES, "cross_entropy", example("surprise", lambda d: F.cross_entropy(d.z, d.label))),
    Row("C11", LOSSES, "cross_entropyAsPrinted", example("surprise_as_printed", printed_cross_entropy)),
    Row("C12", LOSSES, "binary_cross_entropy", example("yes_or_no", lambda d: F.binary_cross_entropy_with_logits(d.z, d.target, reduction="sum"))),
    Row("C12", LOSSES, "binary_cross_entropyAsPrinted", every(example("yes_or_no_as_printed", printed_binary), printed_binary_is_unbounded)),
    Row("C13", LOSSES, "cross_entropy_of_logits", every(example("logits", lambda d: F.cross_entropy(d.z, d.label)), far_out)),
    Row("C14", LOSSES, "classification_error", metric("classification_error", sklearn.metrics.zero_one_loss(LABEL, Z.argmax(1)))),
    Row("C15", LOSSES, "one_hot", hot),
    Row("C16", LOSSES, "kl_divergence", every(example("divergence", kl), kl_by_scipy)),
    Row("C17", LOSSES, "entropy", every(example("concentration", lambda d: (d.c * torch.distributions.Categorical(logits=d.a).entropy()).sum()), entropy_by_scipy)),
    Row("C18", LOSSES, "multi_label", example("labels", lambda d: F.binary_cross_entropy_with_logits(d.z, d.target))),
    Row("C18", LOSSES, "multi_labelAsPrinted", example("labels_as_printed", lambda d: F.cross_entropy(d.z, d.target.argmax(1)))),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
