"""Group S, experiments on training, against torch's second derivatives, NumPy's fits and loops in torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import sklearn.datasets
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from trainings import Weights, begin, descent, loaded, perceptron, quiet, rounds, trains

BOTH = ("numpy", "torch")


def on_digits(sizes: tuple[int, ...], batch: int, rate: float, epochs: int, test: float, model: str = "MLP"):
    """Descent of torch on digits."""
    cost = lambda p, x, y: F.cross_entropy(perceptron(p, x.flatten(1), len(sizes) - 1), y)  # noqa: E731
    return descent(
        model,
        {"sizes": sizes},
        cost,
        lambda w: torch.optim.SGD(w, rate),
        "digits",
        batch,
        epochs,
        shape=(64,),
        test=test,
    )


# ---- sharpness


def largest_eigenvalue(spec: Spec) -> None:
    """After many rounds it is the eigenvalue of torch's Hessian that is largest in size."""
    d = {k: torch.as_tensor(v) for k, v in spec.draws("sharp").items() if k == "x" or k == "y" or k.startswith("net.")}
    weights = {k.removeprefix("net."): v for k, v in d.items() if k.startswith("net.")}
    shapes, flat = [(k, w.shape) for k, w in weights.items()], torch.cat([w.flatten() for w in weights.values()])

    def loss(θ):
        parts = θ.split([s.numel() for _, s in shapes])
        p = {k: part.reshape(s) for (k, s), part in zip(shapes, parts, strict=True)}
        return F.cross_entropy(perceptron(p, d["x"]), d["y"])

    hessian, v = torch.func.hessian(loss)(flat), torch.func.grad(loss)(flat)
    spectrum = torch.linalg.eigvalsh(hessian)
    assert spectrum[-1] > 1.2 * -spectrum[0]
    for _ in range(3):
        v = v / v.norm()
        v, value = hessian @ v, v @ hessian @ v
    agree("three rounds", list(spec.results("sharp").values())[1], value)
    given = {k: v.numpy() for k, v in weights.items()}
    for column in BOTH:
        found = spec.value("sharpness_24", column, net=given, x=d["x"].numpy(), y=d["y"].numpy())
        agree(f"eigenvalue in {column}", found, spectrum[-1], 1e-6)


def flat_and_sharp(spec: Spec) -> None:
    """After as many updates, large batches have led to a sharper place."""
    small, large = (spec.reports("by_batch_size", batch=b, epochs=e)[-1] for b, e in ((16, 5), (400, 99)))
    assert large["sharpness"] > small["sharpness"] > 0


PROBE = """

def sharpness_24(net: MLP, x: [n, d], y: int[n]):
    return sharpness(net, x, y, 24)


example probe:
    net = MLP((4, 3, 3))
    x: [8, 4] ~ normal(0, 1)
    y: int[8] ~ randint(0, 3)
    return sharpness_24(net, x, y), 0.0
"""


# ---- bias and variance


def decomposed(spec: Spec) -> None:
    """Parabolas through 30 noisy data sets of diabetes by NumPy: their error at known places is bias plus variance."""
    rng = np.random.default_rng(0)
    x = sklearn.datasets.load_diabetes().data[:25, 2] * 10
    at, ideal = np.linspace(-0.5, 0.5, 9), lambda x: np.sin(4 * x)
    y = ideal(x) + rng.normal(size=(30, 25)) * 0.3
    fits = np.array([np.polyval(np.polyfit(x, one, 2), at) for one in y])
    bias, variance = np.mean((fits.mean(0) - ideal(at)) ** 2), np.mean(fits.var(0))
    for column in BOTH:
        given = np.asarray(spec.value("parabola", column, x=x, y=y, at=at))
        agree(f"fits in {column}", given, fits, 1e-9)
        agree(
            f"parts in {column}",
            list(spec.call("bias_and_variance", column, fits=given, ideal=ideal(at)).values()),
            [bias, variance],
        )
    agree("sum", np.mean((fits - ideal(at)) ** 2), bias + variance, 1e-12)


def spread(d):
    fits = torch.linalg.lstsq(d.x[:, None] ** torch.arange(3), d.y.T).solution.T @ (d.at[:, None] ** torch.arange(3)).T
    middle = fits.mean(0)
    return ((middle - d.ideal) ** 2).mean() + 2 * ((fits - middle) ** 2).mean()


# ---- depth


def as_many(spec: Spec) -> None:
    """The two nets differ in less than a hundredth of what torch counts."""
    counts = []
    for procedure, sizes in (("fat", (64, 32, 10)), ("thin", (64, 24, 18, 14, 10))):
        net = torch.nn.Sequential(*[torch.nn.Linear(a, b) for a, b in pairwise(sizes)])
        counts.append(sum(p.numel() for p in net.parameters()))
        found = spec.fit(procedure, epochs=0)
        agree(procedure, sum(v.size for v in found.values()), counts[-1])
    agree("counted", spec.results("counted")["value"], 4 * 3 + 3 + 3 * 3 + 3)
    assert abs(counts[0] - counts[1]) < 0.01 * counts[0]


def deeper_is_harder(spec: Spec) -> None:
    """After the same epochs the deep net's loss on its own training data is larger: no overfitting, but descent."""
    fat, thin = (spec.reports(name)[-1] for name in ("fat", "thin"))
    assert thin["train"] > 1.2 * fat["train"] and thin["test"] < fat["test"]


# ---- data from elsewhere


def mismatch(spec: Spec) -> None:
    """The accuracy on three test sets of the net that torch trains on the same batches."""
    run, models = quiet("mismatched"), loaded(spec.text).numpy
    *_, weights = elsewhere(run, models)
    test = run.data("digits", shape=(1, 8, 8), test=0.3).test
    noise = 0.3 * models.normal(models.fold(run.key("mismatched"), models.SITES["other"]), test.x.shape, np.float64)
    sets = (test.x, test.x + noise, test.x[..., ::-1].copy())
    wanted = [(perceptron(weights, torch.tensor(x).flatten(1)).argmax(1).numpy() == test.y).mean() for x in sets]
    for backend in BOTH:
        last = spec.reports("mismatched", backend)[-1]
        agree(f"accuracies in {backend}", [last[k] for k in ("same", "noisy", "mirrored")], wanted)
    assert wanted[0] > 0.93 and wanted[1] < wanted[0] - 0.05 and wanted[2] < 0.5


def elsewhere(run, models) -> Iterator[Weights]:
    weights = begin(run, models, "MLP", sizes=(64, 32, 10))
    optimizer = torch.optim.SGD(list(weights.values()), 0.3)
    for image, y in rounds(run, run.data("digits", shape=(1, 8, 8), test=0.3).train, 64, 10):
        optimizer.zero_grad()
        F.cross_entropy(perceptron(weights, image.flatten(1)), y).backward()
        optimizer.step()
        yield weights


FILE = "analysis/experiments.lee"
ROWS = (
    Row("S7", FILE, "sharpness", largest_eigenvalue, PROBE),
    Row("S7", FILE, "by_batch_size", every(trains("by_batch_size", on_digits((64, 12, 10), 16, 0.2, 5, 0.3)), flat_and_sharp)),
    Row("S9", FILE, "parabola", every(decomposed, example("spread", spread, 1e-8))),
    Row("S9", FILE, "bias_and_variance", every(decomposed, example("spread", spread, 1e-8))),
    Row("S12", FILE, "parameters", as_many),
    Row("S12", FILE, "fat", every(trains("fat", on_digits((64, 32, 10), 64, 0.3, 10, 0.2)), as_many)),
    Row("S12", FILE, "thin", every(trains("thin", on_digits((64, 24, 18, 14, 10), 64, 0.3, 10, 0.2, "MLP_2")), as_many)),
    Row("S13", FILE, "thin", every(trains("thin", on_digits((64, 24, 18, 14, 10), 64, 0.3, 10, 0.2, "MLP_2")), deeper_is_harder)),
    Row("S14", FILE, "mirrored", example("turned_round", lambda d: (d.c * d.image.flip(3)).sum())),
    Row("S14", FILE, "mismatched", every(trains("mismatched", elsewhere), mismatch)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
