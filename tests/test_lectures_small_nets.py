"""Group O, compression: few bits, teachers, small layers and dynamic computation, against torch, scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from scipy.stats import entropy
from sklearn.cluster import KMeans
from trainings import BACKENDS, Weights, begin, ends, perceptron, rounds, trains

RNG = np.random.default_rng(5)


def digits(run, **options):
    return run.data("digits", shape=options.get("shape", (64,)), test=0.3).train


def adam(*nets, rate: float = 3e-3):
    return torch.optim.Adam([w for net in nets for w in net.values()], rate)


def step(rule, cost) -> None:
    rule.zero_grad()
    cost.backward()
    rule.step()


def two_layers(p, x, change=lambda w: w):
    return F.relu(x @ change(p["up.w"]) + p["up.b"]) @ change(p["down.w"]) + p["down.b"]


def classifier(run, net: Weights, score, rate: float = 3e-3) -> None:
    """An epoch with Adam."""
    rule = adam(net, rate=rate)
    for x, y in rounds(run, digits(run), 32, 1):
        step(rule, F.cross_entropy(score(net, x), y))


class Through(torch.autograd.Function):
    """The first value with the gradient of the second."""

    @staticmethod
    def forward(ctx, hard, soft):
        return hard.clone()

    @staticmethod
    def backward(ctx, g):
        return None, g


# ---- few bits


def fake(w, bits: int):
    levels = 2 ** (bits - 1) - 1
    return torch.fake_quantize_per_tensor_affine(w, float(w.detach().abs().max()) / levels, 0, -levels, levels)


def on_grid(w, bits: int):
    """As torch's `fake_quantize`, whose scale has the width of float32."""
    scale = w.detach().abs().max() / (2 ** (bits - 1) - 1)
    return Through.apply(scale * torch.round(w.detach() / scale), w)


def used_rounded(d):
    return F.cross_entropy(two_layers(d.net, d.x, lambda w: fake(w, 3)), d.y)


def few_bits(run, models) -> Iterator[Weights]:
    net = begin(run, models, "Rounded", d=64, hidden=64, classes=10)
    classifier(run, net, lambda p, x: two_layers(p, x, lambda w: on_grid(w, 16)))
    rule = adam(net)
    for x, y in rounds(run, digits(run), 32, 1, "_2"):
        step(rule, F.cross_entropy(two_layers(net, x, lambda w: on_grid(w, 2)), y))
    yield net


# ---- a table of means


def means(w: np.ndarray, k: int, steps: int) -> KMeans:
    start = np.linspace(w.min(), w.max(), k)[:, None]
    return KMeans(k, init=start, n_init=1, max_iter=steps, tol=0).fit(w[:, None])


def tables(spec: Spec) -> None:
    """After one round and after many, one of the clusters being a single number."""
    w = np.concatenate([np.linspace(-2, 5, 60) ** 3 / 25, [7.5]])
    for steps in (1, 30):
        found = means(w, 5, steps)
        for column in BACKENDS:
            table, index = spec.call("clustered", column, w=w, k=5, rounds=steps).values()
            agree("table", table, found.cluster_centers_[:, 0])
            agree("index", index, found.labels_)


def replaced(w):
    """Every weight by the mean of its cluster, which moves with its members."""
    labels = torch.as_tensor(means(w.detach().numpy().ravel(), 4, 30).labels_).long()
    shares = F.one_hot(labels, 4).double()
    return (shares @ ((shares.T @ w.reshape(-1)) / shares.sum(0))).reshape(w.shape)


def lengths(spec: Spec) -> None:
    index = np.array([0, 0, 0, 1, 1, 3, 3, 3, 3, 3])
    for column in BACKENDS:
        agree("bits", spec.value("code_length", column, index=index, k=4), entropy([0.3, 0.2, 0, 0.5], base=2))


def by_table(run, models) -> Iterator[Weights]:
    net = begin(run, models, "Net", d=64, hidden=64, classes=10)
    classifier(run, net, two_layers)
    for path in ("up.w", "down.w"):
        w = net[path].detach().numpy()
        found = means(w.ravel(), 8, 30)
        net[path] = torch.tensor(found.cluster_centers_[found.labels_, 0].reshape(w.shape))
    yield net


# ---- the sign alone


def signs_of(w):
    return Through.apply(torch.where(w >= 0, 1.0, -1.0).double(), w)


def binary(p, x):
    (d, hidden), sign = p["up"].shape, signs_of
    return F.relu(x @ sign(p["up"]) / d**0.5 + p["a"]) @ sign(p["down"]) / hidden**0.5 + p["b"]


def signs(run, models) -> Iterator[Weights]:
    net = begin(run, models, "Binary", d=64, hidden=128, classes=10)
    rule = torch.optim.SGD(list(net.values()), 2.0)
    for x, y in rounds(run, digits(run), 32, 25):
        step(rule, F.cross_entropy(binary(net, x), y))
        for w in net.values():
            w.data.clamp_(-1, 1)
        yield net


def kept(spec: Spec) -> None:
    start, slopes = RNG.uniform(-1, 1, size=12), RNG.normal(size=(4, 12)) * 5
    place = start.copy()
    for given, g in zip(spec.path("Kept", start, slopes), slopes, strict=True):
        place = np.clip(place - 0.1 * g, -1, 1)
        agree("place", given, place)


# ---- teachers


def hints(z, share, temperature: float):
    return temperature**2 * F.kl_div((z / temperature).log_softmax(1), share, reduction="batchmean")


def distilled(z, teacher, y, temperature: float = 4.0):
    share = (teacher / temperature).softmax(1).detach()
    return 0.7 * hints(z, share, temperature) + (1 - 0.7) * F.cross_entropy(z, y)


def taught(d):
    z, teacher = perceptron(d.student, d.x), perceptron(d.teacher, d.x)
    return distilled(z, teacher.detach(), d.y)


def softened(spec: Spec) -> None:
    z = RNG.normal(size=(6, 4))
    for column in BACKENDS:
        agree("shares", spec.value("softened", column, z=z, temperature=2.5), torch.tensor(z / 2.5).softmax(1))


def averaged(d):
    return hints(d.z, (d.teachers / 4).softmax(2).mean(0), 4.0)


def distillation(shown: str):
    def loop(run, models) -> Iterator[Weights]:
        teacher = begin(run, models, "MLP", "teacher", sizes=(64, 128, 10))
        classifier(run, teacher, perceptron)
        student = begin(run, models, "MLP", "student", sizes=(64, 24, 10))
        alone = {path: w.detach().clone().requires_grad_() for path, w in student.items()}
        part = digits(run)
        x, y = torch.tensor(part.x[:150]), torch.tensor(part.y[:150])
        answers, rules = perceptron(teacher, x).detach(), (adam(student), adam(alone))
        for _ in range(20):
            step(rules[0], distilled(perceptron(student, x), answers, y))
            step(rules[1], F.cross_entropy(perceptron(alone, x), y))
        yield {"student": student, "alone": alone}[shown]

    return loop


def ensemble(run, models) -> Iterator[Weights]:
    teachers = [begin(run, models, "MLP", name, sizes=(64, 64, 10)) for name in ("one", "two", "three")]
    rule = adam(*teachers)
    for x, y in rounds(run, digits(run), 32, 1):
        step(rule, sum(F.cross_entropy(perceptron(p, x), y) for p in teachers))
    student = begin(run, models, "MLP", "student", sizes=(64, 24, 10))
    own = adam(student)
    for x, _ in rounds(run, digits(run), 32, 1, "_2"):
        share = torch.stack([(perceptron(p, x) / 4).softmax(1) for p in teachers]).mean(0).detach()
        step(own, hints(perceptron(student, x), share, 4.0))
    yield student


# ---- small layers


def factored(w, k: int):
    """The leading singular vectors, signed so that the largest entry on the left is positive."""
    u, s, v = torch.linalg.svd(w, full_matrices=False)
    sign = torch.sign(u.gather(0, u.abs().argmax(0, keepdim=True)))
    return (u * sign * s)[:, :k], (v * sign.T)[:k]


def nearest(spec: Spec) -> None:
    w = RNG.normal(size=(7, 5))
    u, s, v = np.linalg.svd(w)
    for column in BACKENDS:
        found = list(spec.call("factors", column, w=w, k=2).values())
        assert [f.shape for f in found] == [(7, 2), (2, 5)]
        agree("product", np.asarray(found[0]) @ np.asarray(found[1]), u[:, :2] * s[:2] @ v[:2])


def cut_down(d):
    u, v = factored(d.net["up.w"], 3)
    return (d.c * (F.relu(d.x @ u @ v + d.net["up.b"]) @ d.net["down.w"] + d.net["down.b"])).sum()


def narrow(p, x):
    return F.relu(x @ p["u"] @ p["v"] + p["b"]) @ p["down.w"] + p["down.b"]


def low_rank(run, models) -> Iterator[Weights]:
    net = begin(run, models, "Wide", d=64, hidden=64, classes=10)
    classifier(run, net, two_layers)
    u, v = factored(net["up.w"].detach(), 6)
    parts = {"u": u, "v": v, "b": net["up.b"], "down.w": net["down.w"], "down.b": net["down.b"]}
    small = {path: w.detach().clone().requires_grad_() for path, w in parts.items()}
    rule = adam(small)
    for x, y in rounds(run, digits(run), 32, 1, "_2"):
        step(rule, F.cross_entropy(narrow(small, x), y))
    yield small


def separable(p, x, at: str = ""):
    kernel, weight = p[f"{at}kernel"], p[f"{at}weight"]
    y = F.conv2d(x, kernel[:, None], padding="same", groups=len(kernel))
    return F.conv2d(y, weight.T[:, :, None, None], p[f"{at}bias"])


def image_net(run, models) -> Iterator[Weights]:
    net = begin(run, models, "Classifier")
    rule = adam(net, rate=5e-3)
    for x, y in rounds(run, digits(run, shape=(1, 8, 8)), 32, 8):
        h = F.relu(F.max_pool2d(separable(net, x, "conv1."), 2))
        h = F.relu(F.max_pool2d(separable(net, h, "conv2."), 2))
        step(rule, F.cross_entropy(h.flatten(1) @ net["head.w"] + net["head.b"], y))
        yield net


# ---- depth and width


def at_exits(p, x):
    found, h = [], x
    for k in (1, 2, 3):
        h = F.relu(h @ p[f"layer{k}.w"] + p[f"layer{k}.b"])
        found.append(h @ p[f"exit{k}.w"] + p[f"exit{k}.b"])
    return torch.stack(found)


def first_sure(z, threshold: float) -> list[int]:
    """One example after the other leaves where it is sure enough."""
    shares = z.softmax(2)
    return [next((e for e in range(len(z)) if shares[e, i].max() >= threshold), len(z) - 1) for i in range(z.shape[1])]


def left_early(d):
    z = at_exits(d.net, d.x)
    chosen = z[first_sure(z, 0.4), range(9)]
    return sum(F.cross_entropy(exit, d.y) for exit in z) + (chosen**2).sum()


def exits(run, models) -> Iterator[Weights]:
    net = begin(run, models, "Exits", d=64, hidden=32, classes=10)
    rule = adam(net)
    for x, y in rounds(run, digits(run), 32, 10):
        step(rule, sum(F.cross_entropy(z, y) for z in at_exits(net, x)))
        yield net


def depth_reported(spec: Spec) -> None:
    """How many layers were needed, and what the answers at these exits are worth."""
    net, rows = spec.loaded.run("exits", epochs=2)
    part = digits_of_tests()
    z = at_exits({path: torch.tensor(w) for path, w in spec.loaded.weights(net).items()}, torch.tensor(part.x))
    exit = first_sure(z, 0.9)
    agree("layers", rows[-1]["layers"], 1 + np.mean(exit))
    agree("early", rows[-1]["early"], (z[exit, range(len(exit))].argmax(1).numpy() == part.y).mean())


def digits_of_tests():
    from trainings import quiet

    return quiet("tests").data("digits", shape=(64,), test=0.3).test


def slim(p, x, width: int):
    return F.relu(x @ p["up.w"][:, :width] + p["up.b"][:width]) @ p["down.w"][:width] + p["down.b"]


def at_widths(p, x, y, sizes):
    return sum(F.cross_entropy(slim(p, x, width), y) for width in sizes)


def as_needed(narrow, wide, threshold: float):
    return torch.where((narrow.softmax(1).amax(1) >= threshold)[:, None], narrow, wide)


def slimmed(d):
    mixed = as_needed(slim(d.net, d.x, 2), slim(d.net, d.x, 7), 0.5)
    return at_widths(d.net, d.x, d.y, (2, 4, 7)) + (d.c * mixed).sum()


def widths(run, models) -> Iterator[Weights]:
    net = begin(run, models, "Slimmable", d=64, hidden=64, classes=10)
    rule = adam(net)
    for x, y in rounds(run, digits(run), 32, 10):
        step(rule, at_widths(net, x, y, (8, 24, 64)))
        yield net


def width_reported(spec: Spec) -> None:
    net, rows = spec.loaded.run("widths", epochs=4, rate=1e-2)
    part = digits_of_tests()
    p, x = {path: torch.tensor(w) for path, w in spec.loaded.weights(net).items()}, torch.tensor(part.x)
    mixed = as_needed(slim(p, x, 8), slim(p, x, 64), 0.9)
    agree("mixed", rows[-1]["mixed"], (mixed.argmax(1).numpy() == part.y).mean())
    agree("easy", rows[-1]["easy"], (slim(p, x, 8).softmax(1).amax(1) >= 0.9).double().mean())


BITS, TEACHERS = "compression/quantisation.lee", "compression/distillation.lee"
SMALL, DYNAMIC = "compression/architecture.lee", "compression/dynamic.lee"
ROWS = (
    Row("O4", TEACHERS, "distilled", example("taught", taught)),
    Row("O4", TEACHERS, "by_scores", example("scored", lambda d: F.mse_loss(d.z, d.teacher) * 3 / 2)),
    Row("O4", TEACHERS, "distillation", ends("distillation", distillation("student"), epochs=1, steps=20)),
    Row("O5", TEACHERS, "softened", softened),
    Row("O5", TEACHERS, "of_many", example("averaged", averaged)),
    Row("O5", TEACHERS, "from_many", example("averaged", averaged)),
    Row("O5", TEACHERS, "ensemble", ends("ensemble", ensemble, epochs=1)),
    Row("O6", BITS, "on_grid", example("rounded", lambda d: (d.c * fake(d.w, 3) ** 2).sum(), 1e-6)),
    Row("O6", BITS, "Rounded", example("used_rounded", used_rounded, 1e-6)),
    Row("O6", BITS, "few_bits", ends("few_bits", few_bits, epochs=1, more=1)),
    Row("O7", BITS, "nearest", tables),
    Row("O7", BITS, "clustered", tables),
    Row("O7", BITS, "from_tables", example("tabled", lambda d: (two_layers(d.net, d.x, replaced) ** 2).sum())),
    Row("O7", BITS, "code_length", lengths),
    Row("O7", BITS, "by_table", ends("by_table", by_table, epochs=1)),
    Row("O8", BITS, "binary", example("signed", lambda d: F.cross_entropy(binary(d.net, d.x), d.y))),
    Row("O8", BITS, "Kept", kept),
    Row("O8", BITS, "signs", trains("signs", signs)),
    Row("O9", SMALL, "factors", nearest),
    Row("O9", SMALL, "narrowed", example("cut_down", cut_down)),
    Row("O9", SMALL, "Narrow", example("narrow", lambda d: F.cross_entropy(narrow(d.net, d.x), d.y))),
    Row("O9", SMALL, "low_rank", ends("low_rank", low_rank, epochs=1, more=1)),
    Row("O10", SMALL, "depthwise", example("separated", lambda d: (d.c * separable(d.net, d.x)).sum())),
    Row("O10", SMALL, "pointwise", example("separated", lambda d: (d.c * separable(d.net, d.x)).sum())),
    Row("O10", SMALL, "separable", trains("separable", image_net)),
    Row("O11", DYNAMIC, "at_every_exit", example("left_early", left_early)),
    Row("O11", DYNAMIC, "first_sure", example("left_early", left_early)),
    Row("O11", DYNAMIC, "answered", example("left_early", left_early)),
    Row("O11", DYNAMIC, "exits", every(trains("exits", exits), depth_reported)),
    Row("O12", DYNAMIC, "at_every_width", example("slim", slimmed)),
    Row("O12", DYNAMIC, "is_sure", example("slim", slimmed)),
    Row("O12", DYNAMIC, "as_needed", example("slim", slimmed)),
    Row("O12", DYNAMIC, "widths", every(trains("widths", widths), width_reported)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
