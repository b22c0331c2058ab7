"""Group B, data before a net sees them, against scikit-learn's scaler, torch's loader and its samplers of images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import sklearn.datasets
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset
from trainings import Weights, begin, trains

from leec.runtime.data import Split

BOTH = ("numpy", "torch")


# ---- scales


def as_scaler(spec: Spec) -> None:
    """scikit-learn's scaler, fitted to the training part alone; the same as data that come standardized."""
    x = sklearn.datasets.load_wine().data
    known, unknown = x[40:], x[:40]
    scaler = StandardScaler().fit(known)
    for column in BOTH:
        agree("known", spec.value("standardized", column, x=known, known=known), scaler.transform(known))
        agree("unknown", spec.value("standardized", column, x=unknown, known=known), scaler.transform(unknown))


def scaled(d, sign: int):
    return (d.c * (d.x + sign * d.known.mean(0)) / d.known.std(0, correction=0)).sum()


# ---- sizes


def photographs() -> np.ndarray:
    """Two photographs in part: 60 rows, 70 columns, 3 channels."""
    images = sklearn.datasets.load_sample_images().images
    return np.stack([image[200:260, 300:370] / 255.0 for image in images]).transpose(0, 3, 1, 2)


def as_interpolated(spec: Spec) -> None:
    """Photographs in one size, smaller or larger, by torch."""
    x = photographs()
    for name, size in (("to_16_16", (16, 16)), ("to_75_81", (75, 81))):
        wanted = F.interpolate(torch.tensor(x), size, mode="bilinear", align_corners=False)
        for column in BOTH:
            agree(f"{name} in {column}", spec.value(name, column, image=x), wanted)


def interpolated(*size: int):
    return lambda d: (d.c * F.interpolate(d.image, size, mode="bilinear", align_corners=False)).sum()


def in_a_line(spec: Spec) -> None:
    """As NumPy flattens a photograph, whose last axis holds the channels."""
    x = photographs()
    agree("vector", spec.value("as_vector", image=x), [image.transpose(1, 2, 0).ravel() for image in x])


PROBE = """

def to_16_16(image: [n, c, h, w]):
    return resized(image, 16, 16)


def to_75_81(image: [n, c, h, w]):
    return resized(image, 75, 81)
"""


# ---- more examples


def seen(image: torch.Tensor, angle: torch.Tensor, zoom: torch.Tensor) -> torch.Tensor:
    """Turned and zoomed by torch's own sampler."""
    cos, sin, nothing = torch.cos(angle) / zoom, torch.sin(angle) / zoom, torch.zeros_like(angle)
    theta = torch.stack([torch.stack([cos, -sin, nothing], 1), torch.stack([sin, cos, nothing], 1)], 1)
    return F.grid_sample(image, F.affine_grid(theta, list(image.shape), align_corners=False), align_corners=False)


def digits_turned(spec: Spec) -> None:
    x = sklearn.datasets.load_digits().images[:20, None] / 16
    angle, zoom = np.linspace(-1, 1, 20), np.linspace(0.6, 1.5, 20)
    wanted = seen(*map(torch.tensor, (x, angle, zoom)))
    for column in BOTH:
        agree(f"turned in {column}", spec.value("turned", column, image=x, angle=angle, zoom=zoom), wanted)
    agree(
        "a quarter",
        spec.value("turned", image=x, angle=np.full(20, np.pi / 2), zoom=np.ones(20)),
        np.rot90(x, 1, (2, 3)),
    )


def patches(d):
    cut = [x[:, t : t + 4, s : s + 4] for x, t, s in zip(d.image, d.top, d.left, strict=True)]
    return (d.c * torch.stack(cut)).sum()


def hard_ones(d):
    def loss(x):
        h = F.relu(x @ d["net.layers.0.w"] + d["net.layers.0.b"])
        return F.cross_entropy(h @ d["net.layers.1.w"] + d["net.layers.1.b"], d.y)

    (slope,) = torch.autograd.grad(loss(d.x), d.x, create_graph=True)
    return loss(d.x + 0.1 * slope.sign())


# ---- batches


def loaded(batch: int, epochs: int):
    """torch's loader over a fixed permutation an epoch, and torch's descent."""

    def loop(run, models) -> Iterator[Weights]:
        part = run.data("digits", shape=(64,), test=0.2).train
        assert len(part) == 1438
        rows = Split({"row": np.arange(len(part))})
        weights = begin(run, models, "Linear", inputs=64, outputs=10)
        optimizer, before = torch.optim.SGD(list(weights.values()), 0.5), None
        for _ in run.loop("epoch", 1, epochs):
            order = np.concatenate(list(run.batches("batches", rows, batch, shuffle=True)))
            assert sorted(order) == list(range(len(part))) and not np.array_equal(order, before), "every row once, anew"
            before = order
            for x, y in DataLoader(
                TensorDataset(torch.tensor(part.x), torch.tensor(part.y)), batch, sampler=order.tolist()
            ):
                optimizer.zero_grad()
                F.cross_entropy(x @ weights["w"] + weights["b"], y).backward()
                optimizer.step()
                yield weights

    return loop


def updates_an_epoch(spec: Spec) -> None:
    """23 batches of 64, the last one short; one of all; at least as many rounds as epochs by default."""
    assert len(spec.reports("in_batches")) == 3


FILE = "generalisation/preparation.lee"
ROWS = (
    Row("B9", FILE, "standardized", every(as_scaler, example("scaled", lambda d: scaled(d, -1)))),
    Row("B9", FILE, "standardizedAsPrinted", example("scaled_as_printed", lambda d: scaled(d, 1))),
    Row("B10", FILE, "in_batches", every(trains("in_batches", loaded(64, 3), 23 * 3 - 1), trains("in_batches", loaded(1438, 4), 3, batch=1438, epochs=4), trains("in_batches", loaded(1, 1), 5, batch=1), updates_an_epoch)),
    Row("B13", FILE, "cut", example("patches", patches)),
    Row("B13", FILE, "turned", every(digits_turned, example("views", lambda d: (d.c * seen(d.image, d.angle, d.zoom)).sum()))),
    Row("B13", FILE, "bilinear", every(digits_turned, example("views", lambda d: (d.c * seen(d.image, d.angle, d.zoom)).sum()))),
    Row("B13", FILE, "near", every(digits_turned, example("views", lambda d: (d.c * seen(d.image, d.angle, d.zoom)).sum()))),
    Row("B13", FILE, "adversarial", example("hard_ones", hard_ones)),
    Row("B15", FILE, "resized", every(as_interpolated, example("smaller", interpolated(4, 5)), example("larger", interpolated(8, 9))), PROBE),
    Row("B15", FILE, "as_vector", every(in_a_line, example("in_a_line", lambda d: (d.c * d.image.permute(0, 2, 3, 1).flatten(1)).sum()))),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
