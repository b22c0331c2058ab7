"""Group I, codes and embeddings, against torch, scikit-learn's PCA and its measures; procedures against loops in torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats
import sklearn.decomposition
import sklearn.metrics
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from trainings import Weights, begin, descent, held_back, perceptron, rounds, tells, trains

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(0)


def rebuilt(p, x):
    return perceptron(p, perceptron(p, x, at="encoder."), at="decoder.")


def squares(a, b):
    return ((a - b) ** 2).sum(1).mean()


def both_ways(d):
    return squares(rebuilt(d.net, d.x), d.x) + 2 * squares(rebuilt(d.net, d.x + d.noise), d.x)


def as_components(spec: Spec) -> None:
    """With the axes of scikit-learn's PCA the loss is the error of PCA, and has no slope."""
    x = RNG.normal(size=(40, 5)) * np.arange(1, 6)
    x -= x.mean(0)
    found = sklearn.decomposition.PCA(2).fit(x)
    error = ((found.inverse_transform(found.transform(x)) - x) ** 2).sum(1).mean()
    for column in BOTH:
        value, slope = spec.call("at_axes", column, net={"w": found.components_.T.copy()}, x=x).values()
        agree("error", value, error)
        agree("slope", np.asarray(slope), np.zeros((5, 2)), 1e-8)


AXES = """

def at_axes(net: Tied, x: [n, d]):
    e = reconstruction(net, x)
    return e, grad(e, net.w)


example probe:
    net = Tied(5, 2)
    x: [7, 5] ~ normal(0, 1)
    return at_axes(net, x)
"""


def plain(epochs: int, cost):
    return descent(
        "AutoEncoder", {"d": 64, "hidden": 48, "code": 8}, cost, lambda w: torch.optim.Adam(w, 3e-3), "digits", 64,
        epochs, shape=(64,), test=0.3,
    )  # fmt: skip


def unpooled(d):
    y, place = F.max_pool2d(d.x, 2, return_indices=True)
    return (d.c * F.max_unpool2d(y, place, 2)).sum() + (d.c**2 * F.interpolate(y, scale_factor=2)).sum()


def step(rule, cost) -> None:
    rule.zero_grad()
    cost.backward()
    rule.step()


def linear(p, x):
    return x @ p["w"] + p["b"]


def stacked(run, models) -> Iterator[Weights]:
    sizes = {"one": (64, 32), "back": (32, 64), "two": (32, 16), "again": (16, 32), "head": (16, 10)}
    p = {name: begin(run, models, "Linear", name, inputs=a, outputs=b) for name, (a, b) in sizes.items()}
    data = run.data("digits", shape=(64,), test=0.3).train
    first, second, whole = (
        torch.optim.Adam([w for name in names for w in p[name].values()], 3e-3)
        for names in (("one", "back"), ("two", "again"), ("one", "two", "head"))
    )
    for x, _ in rounds(run, data, 64, 1):
        step(first, F.mse_loss(linear(p["back"], F.relu(linear(p["one"], x))), x))
        yield p["one"]
    for x, _ in rounds(run, data, 64, 1, "_2"):
        h = F.relu(linear(p["one"], x)).detach()
        step(second, F.mse_loss(linear(p["again"], F.relu(linear(p["two"], h))), h))
        yield p["one"]
    for x, y in rounds(run, data, 64, 1, "_3"):
        h = F.relu(linear(p["two"], F.relu(linear(p["one"], x))))
        step(whole, F.cross_entropy(linear(p["head"], h), y))
        yield p["one"]


def matched(d):
    z = d.x @ d.net["encoder.w"] + d.net["encoder.b"]
    right, wrong = (perceptron(d.net, torch.cat([x, z], 1), at="judge.") for x in (d.x, d.other))
    ones = torch.ones_like(right)
    return F.binary_cross_entropy_with_logits(right, ones) + F.binary_cross_entropy_with_logits(wrong, 0 * ones)


def in_parts(d):
    z = perceptron(d.content, d.x)
    style = perceptron(d.style, d.x)
    made = perceptron(d.decoder, torch.cat([F.instance_norm(z[:, None])[:, 0], style], 1))
    back = z.detach() * 1.5 - z * 0.5  # the value of z, half of its slope turned round
    return F.mse_loss(made, d.x) + F.cross_entropy(linear(d.speaker, back), d.who)


def in_bits(d):
    soft, sure = d.z.softmax(1), torch.sigmoid(d.z)
    hard = F.one_hot(d.z.argmax(1), 4) + soft - soft.detach()
    return (d.c * hard).sum() + (d.c**2 * ((d.z > 0) + sure - sure.detach())).sum()


def vq(p, x):
    z = perceptron(p, x, at="encoder.")
    e = p["book.code"][torch.cdist(z, p["book.code"]).argmin(1)]
    y = perceptron(p, z + (e - z).detach(), at="decoder.")
    return F.mse_loss(y, x) + F.mse_loss(e, z.detach()) + 0.25 * F.mse_loss(z, e.detach())


QUANTISED = descent(
    "VQVAE", {"d": 64, "hidden": 48, "latent": 4, "codes": 32}, lambda p, x, y: vq(p, x),
    lambda w: torch.optim.Adam(w, 3e-3), "digits", 64, 15, shape=(64,), test=0.3,
)  # fmt: skip


def in_use(run, models, net: Weights) -> dict[str, float]:
    x, _ = held_back(run)
    z = perceptron(net, x, at="encoder.")
    index = torch.cdist(z, net["book.code"]).argmin(1)
    entropy = scipy.stats.entropy(np.bincount(index, minlength=32))
    return {"error": squares(perceptron(net, net["book.code"][index], at="decoder."), x), "used": np.exp(entropy)}


def fours(run, models, net: Weights) -> dict[str, float]:
    x, y = held_back(run)
    odd = ((rebuilt(net, x) - x) ** 2).sum(1)
    return {"found": sklearn.metrics.roc_auc_score(y == 4, odd)}


def measures(spec: Spec) -> None:
    """scikit-learn's area under the curve, SciPy's entropy, and cosines by NumPy."""
    score, odd = np.round(RNG.normal(size=30), 1), RNG.random(30) < 0.4
    index = RNG.integers(0, 5, size=40)
    table = RNG.normal(size=(9, 4))
    wanted = table[1] - table[0] + table[2]
    near = sklearn.metrics.pairwise.cosine_similarity(table, wanted[None])[:, 0]
    near[:3] = -np.inf
    shares = np.bincount(index, minlength=7) / 40
    for column in BOTH:
        agree(
            "area",
            spec.value("area_under_curve", column, score=score, odd=odd),
            sklearn.metrics.roc_auc_score(odd, score),
        )
        agree("used", spec.value("in_use", column, index=index), np.exp(scipy.stats.entropy(shares)))
        agree("analogy", spec.value("analogy", column, table=table, a=0, b=1, c=2), near.argmax())
        agree("mean", spec.value("average_score", column, scores=score), score.mean())


SEVEN = """

def in_use(index: int[n]):
    return perplexity(index, 7)


example probe:
    index: int[8] ~ randint(0, 5)
    return in_use(index), 0.0
"""


def of_words(d):
    mean = F.embedding_bag(d.around, d.table, mode="mean")
    return F.cross_entropy(mean @ d.out.T, d.word) + 2 * F.cross_entropy(d.table[d.word] @ d.out.T, d.near)


def counted(d):
    count = d.draw.double() ** 3
    fit = d.v @ d.u.T + d.b[:, None] + d.e - count.clamp(min=1).log()
    return ((count > 0) * (count / 100).clamp(max=1) ** 0.75 * fit**2).sum()


def adapted(d):
    h = F.relu(linear(d.frozen, d.x)).detach()
    h = h + F.relu(h @ d.adapter["down.w"] + d.adapter["down.b"]) @ d.adapter["up"]
    return F.cross_entropy(linear(d.head, h), d.y)


CODING = "representation/coding.lee"
ODD = plain(12, lambda p, x, y: ((y != 4) * ((rebuilt(p, x) - x) ** 2).sum(1)).sum() / 64)
ROWS = (
    Row("I1", CODING, "continuous_bag", example("of_words", of_words)),
    Row("I1", CODING, "skip_gram", example("of_words", of_words)),
    Row("I1", CODING, "analogy", measures, SEVEN),
    Row("I2", CODING, "glove", example("counted", counted)),
    Row("I2", CODING, "gloveAsPrinted", example("counted_as_printed", lambda d: ((d.v @ d.u.T - d.count.log()) ** 2).sum())),
    Row("I11", CODING, "weighted_layers", example("mixed_layers", lambda d: (d.c * torch.tensordot(d.score.softmax(0), d.h, 1)).sum())),
    Row("I12", CODING, "Adapter", example("with_adapter", adapted)),
    Row("I12", CODING, "adapted", example("with_adapter", adapted)),
    Row("I13", CODING, "average_score", measures, SEVEN),
    Row("I16", CODING, "neighbours", example("in_order", lambda d: F.cross_entropy(d.a @ d.b.T, torch.arange(5)))),
    Row("I25", CODING, "AutoEncoder", example("rebuilt", both_ways)),
    Row("I25", CODING, "reconstruction", every(example("rebuilt", both_ways), as_components), AXES),
    Row("I26", CODING, "unpooled", example("back_in_place", unpooled)),
    Row("I27", CODING, "copied", example("back_in_place", unpooled)),
    Row("I28", CODING, "deconvolved", example("spread_out", lambda d: (F.conv_transpose2d(d.x, d.kernel) ** 2).sum())),
    Row("I29", CODING, "layer_wise", trains("layer_wise", stacked, 42, "one", epochs=1)),
    Row("I30", CODING, "denoising", example("rebuilt", both_ways)),
    Row("I31", CODING, "matched", example("belongs", matched)),
    Row("I33", CODING, "normalised", example("in_parts", in_parts)),
    Row("I33", CODING, "disentangled", example("in_parts", in_parts)),
    Row("I34", CODING, "one_of", example("in_bits", in_bits)),
    Row("I34", CODING, "binary", example("in_bits", in_bits)),
    Row("I35", CODING, "vq", example("quantised", lambda d: vq(d.net, d.x))),
    Row("I35", CODING, "perplexity", measures, SEVEN),
    Row("I35", CODING, "vector_quantised", every(trains("vector_quantised", QUANTISED), tells("vector_quantised", in_use, epochs=1))),
    Row("I37", CODING, "fit", trains("fit", plain(12, lambda p, x, y: squares(rebuilt(p, x), x)))),
    Row("I38", CODING, "area_under_curve", measures, SEVEN),
    Row("I38", CODING, "without_fours", every(trains("without_fours", ODD), tells("without_fours", fours, epochs=1))),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
