"""Group K, explanations, against torch's gradients, scikit-learn's PCA and SciPy's integrals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.integrate
import sklearn.decomposition
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from sklearn.linear_model import Ridge
from trainings import Weights, begin, perceptron, rounds, trains

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(0)


def slope(cost, x):
    x = x if x.requires_grad else (x * 1.0).requires_grad_()
    return torch.autograd.grad(cost(x), x, create_graph=True)[0]


# ---- components


def occluded(d):
    """Square after square covered by hand."""
    rows, grey = torch.empty(3, 2, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    place = torch.zeros(6, 4, dtype=torch.float64)
    score = perceptron(d.net.inner, d.image.flatten()[None])[0, d.label]
    for a in range(3):
        for b in range(2):
            mask = place.clone()
            mask[2 * a : 2 * a + 2, 2 * b : 2 * b + 2] = 1
            made = (d.image * (1 - mask) + grey * mask).flatten()
            rows[a, b] = score - perceptron(d.net.inner, made[None])[0, d.label]
    return (d.c * rows).sum()


def ablated(d):
    def without(k):
        mask = F.one_hot(torch.tensor(k), 5)
        return perceptron(d.net, (d.x * (1 - mask) + d.base * mask)[None])[0, d.label]

    score = perceptron(d.net, d.x[None])[0, d.label]
    return sum(d.c[k] * (score - without(k)) for k in range(5))


# ---- slopes


def score(d, x):
    return perceptron(d.net, x)[torch.arange(len(x)), d.label].sum()


def slopes(d):
    of_loss = slope(lambda x: F.cross_entropy(perceptron(d.net, x), d.label, reduction="sum"), d.x)
    return (d.c * of_loss.abs() + d.c**2 * slope(lambda x: score(d, x), d.x).abs()).sum()


def noisy(d):
    return (d.c * torch.stack([slope(lambda x: score(d, x), d.x + e).abs() for e in d.noise]).mean(0)).sum()


def on_the_way(d, score=score):
    shares = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
    total = sum(slope(lambda x: score(d, x), d.base + a * (d.x - d.base)) for a in shares)
    return (d.c * (d.x - d.base) * total / 8).sum()


def smooth_score(d, x):
    """Of a net whose slope differs from place to place, as relu's hardly does."""
    z = torch.tanh(x @ d.net["into.w"] + d.net["into.b"]) @ d.net["out.w"] + d.net["out.b"]
    return chosen(z, d.label)


def complete(spec: Spec) -> None:
    """With many steps it is SciPy's integral of torch's slope, and its sum is the difference of the scores."""
    d = spec.draws("on_the_way")
    net = {k.removeprefix("net."): v for k, v in d.items() if k.startswith("net.")}
    found = spec.value("finely", net=net, x=d["x"], base=d["base"], label=d["label"])
    p = {k: torch.tensor(v) for k, v in net.items()}
    z = lambda x: perceptron(p, torch.tensor(np.atleast_2d(x)))[..., int(d["label"][0])].numpy()  # noqa: E731
    x, base = d["x"][0], d["base"]
    agree("sum", found[0].sum(), (z(x) - z(base))[0], 2e-2)

    def along(a):
        at = torch.tensor(base + a * (x - base))
        found = slope(lambda x: perceptron(p, x[None])[0, int(d["label"][0])], at)
        return found[2].item() * (x - base)[2]

    agree("integral", found[0, 2], scipy.integrate.quad(along, 0, 1, limit=200)[0], 2e-2)


FINELY = """

def finely(net: MLP, x: [n, d], base: [d], label: int[n]):
    return integrated(net, x, base, label, 400)


example probe:
    net = MLP((5, 6, 4))
    x: [7, 5] ~ normal(0, 1)
    base: [5] ~ normal(0, 1)
    label: int[7] ~ randint(0, 4)
    return sum(finely(net, x, base, label))


model Smooth(d, h, k):
    into = Linear(d, h)
    out = Linear(h, k)

    def forward(x: [n, d]) -> [n, k]:
        return out(tanh(into(x)))


example on_a_smooth_way:
    net = Smooth(5, 6, 4)
    x: [7, 5] ~ normal(0, 1)
    base: [5] ~ normal(0, 1)
    label: int[7] ~ randint(0, 4)
    c: [7, 5] ~ normal(0, 1)
    return sum(c * integrated(net, x, base, label))
"""


# ---- maps of features


def convolved(p, image):
    a = F.relu(F.conv2d(image, p["conv1.kernel"], p["conv1.bias"], padding=1))
    return F.relu(F.conv2d(a, p["conv2.kernel"], p["conv2.bias"], padding=1))


def pooled(p, a):
    return a.mean((2, 3)) @ p["head.w"] + p["head.b"]


def chosen(z, label):
    return z.gather(1, label[:, None]).sum()


def maps(d):
    a = convolved(d.net, d.image)
    seen = torch.einsum("nk,nkij->nij", d.net["head.w"].T[d.label], a)
    weight = slope(lambda a: chosen(pooled(d.net, a), d.label), a).mean((2, 3))
    return (d.c * seen + d.c**2 * F.relu(torch.einsum("nk,nkij->nij", weight, a))).sum()


def pixels(d):
    return (d.c * slope(lambda x: chosen(pooled(d.net, convolved(d.net, x)), d.label), d.image)).sum()


# ---- layers


def layers(p, x):
    a = F.relu(x @ p["first.w"] + p["first.b"])
    return a, F.relu(a @ p["second.w"] + p["second.b"])


def in_a_plane(d):
    left, size, _ = torch.linalg.svd(d.h - d.h.mean(0), full_matrices=False)
    return (d.c * (left * size)[:, :2] ** 2).sum()


def components(spec: Spec) -> None:
    """scikit-learn's PCA, up to signs."""
    h = RNG.normal(size=(20, 6)) * np.arange(1, 7)
    wanted = sklearn.decomposition.PCA(2).fit_transform(h)
    for column in BOTH:
        agree("plane", np.abs(np.asarray(spec.value("plane", column, h=h))), np.abs(wanted))


def probes(run, models) -> Iterator[Weights]:
    """An epoch of the net, then the probes of its layers, each updated once a batch."""
    net = begin(run, models, "Layered", d=64, hidden=32, classes=10)
    low, high = (begin(run, models, "Linear", name, inputs=32, outputs=10) for name in ("low", "high"))
    rules = [torch.optim.Adam(list(w.values()), 5e-3) for w in (net, low, high)]
    data = run.data("digits", shape=(64,), test=0.3).train
    for x, y in rounds(run, data, 32, 1):
        rules[0].zero_grad()
        F.cross_entropy(layers(net, x)[1] @ net["head.w"] + net["head.b"], y).backward()
        rules[0].step()
        yield high
    for x, y in rounds(run, data, 32, 1, "_2"):
        for rule, probe, h in zip(rules[1:], (low, high), layers(net, x), strict=True):
            rule.zero_grad()
            (F.cross_entropy(h.detach() @ probe["w"] + probe["b"], y) + 1e-3 * (probe["w"] ** 2).sum()).backward()
            rule.step()
            yield high


def read(d):
    a, _ = layers(d.net, d.x)
    return F.cross_entropy(a.detach() @ d.probe.w + d.probe.b, d.y) + 1e-3 * (d.probe.w**2).sum()


# ---- inputs that a net likes


def climb(cost, rate: float, steps: int, start):
    x = start if start.requires_grad else (start * 1.0).requires_grad_()
    for _ in range(steps):
        x = x + rate * slope(cost, x)
    return x


def like_image(x):
    return -0.2 * (x.diff(dim=1).abs().sum() + x.diff(dim=2).abs().sum()) - 0.1 * (x**2).sum()


def liked_as_image(d):
    cost = lambda x: chosen(perceptron(d.net, x.flatten(1)), d.label) + like_image(x)  # noqa: E731
    return (d.c * climb(cost, 0.3, 6, d.start)).sum()


def of_generator(d):
    cost = lambda z: chosen(perceptron(d.net, perceptron(d.generator, z)), d.label)  # noqa: E731
    return (d.c * perceptron(d.generator, climb(cost, 0.3, 6, d.start))).sum()


def dreamt(d):
    def cost(x):
        seen = convolved(d.net, x)
        return -0.5 * ((seen - (1.5 * seen).detach()) ** 2).sum()

    x = d.start * 1.0
    for _ in range(6):
        x = x + 0.1 * slope(cost, x)
    return (d.c * x).sum()


def gram(a):
    flat = a.flatten(2)
    return flat @ flat.mT / a[0].numel()


def both_layers(p, image):
    return F.relu(F.conv2d(image, p["conv1.kernel"], p["conv1.bias"], padding=1)), convolved(p, image)


def in_style(d):
    wanted = both_layers(d.net, d.content)[1]
    style = [gram(a) for a in both_layers(d.net, d.style)]

    def cost(x):
        own = both_layers(d.net, x)
        return -F.mse_loss(own[1], wanted) - 3 * sum(
            ((gram(a) - s) ** 2).sum() for a, s in zip(own, style, strict=True)
        )

    x = d.content * 1.0
    for _ in range(5):
        x = x + 0.5 * slope(cost, x)
    return (d.c * x).sum()


def by_ridge(spec: Spec) -> None:
    """scikit-learn's ridge regression of what the net says, on the features that were drawn."""
    for name in ("fitted_near", "fitted_by_many"):
        d, drawn = spec.draws(name), {}

        def observe(function, equation, values, drawn=drawn) -> None:
            if function.name == "lime":
                drawn.update(zip((v.name for v in equation.results), values))

        spec.results(name, level=0, observer=observe)
        p = {path.removeprefix("net."): torch.as_tensor(w) for path, w in d.items() if path.startswith("net.")}
        share = perceptron(p, torch.as_tensor(np.where(drawn["on"], d["x"], d["base"]))).softmax(1)
        label = int(perceptron(p, torch.as_tensor(d["x"])[None]).argmax())
        weight = np.exp(-((1 - drawn["on"].mean(1)) ** 2) / 0.25**2)
        wanted = Ridge(alpha=1e-2).fit(drawn["on"], share[:, label], sample_weight=weight).coef_
        assert np.array_equal(drawn["on"], drawn["uniform"] < 0.5)
        assert len(weight) == (40 if name == "fitted_near" else 500)
        for column in BOTH:
            agree(column, spec.results(name, column=column)["value"], wanted, 1e-8)


BY_MANY = """

example fitted_by_many:
    net = MLP((5, 6, 3))
    x: [5] ~ normal(0, 1)
    base: [5] ~ normal(0, 1)
    return lime(net, x, base)
"""
EXPLAIN, LIKED = "explain/explain.lee", "explain/maximisation.lee"
PLANE = every(components, example("flattened", in_a_plane, 1e-8))
ROWS = (
    Row("K1", EXPLAIN, "covered", example("hidden_squares", occluded)),
    Row("K1", EXPLAIN, "occlusion", example("hidden_squares", occluded)),
    Row("K1", EXPLAIN, "ablation", example("replaced", ablated)),
    Row("R11", EXPLAIN, "lime", by_ridge, BY_MANY),
    Row("K2", EXPLAIN, "saliency", example("slopes", slopes)),
    Row("K2", EXPLAIN, "saliency_of_score", example("slopes", slopes)),
    Row("K3", EXPLAIN, "cam", example("maps", maps)),
    Row("K3", EXPLAIN, "camAsPrinted", example("pixels", pixels)),
    Row("K3", EXPLAIN, "grad_cam", example("maps", maps)),
    Row("K4", EXPLAIN, "smooth_grad", example("of_noisy", noisy)),
    Row("K5", EXPLAIN, "integrated", every(example("on_the_way", on_the_way), example("on_a_smooth_way", lambda d: on_the_way(d, smooth_score)), complete), FINELY),
    Row("K6", EXPLAIN, "plane", PLANE),
    Row("K6", EXPLAIN, "probing", example("read", read)),
    Row("K6", EXPLAIN, "probed", trains("probed", probes, 44, "high", epochs=1)),
    Row("K7", LIKED, "liked", example("climbed", lambda d: (d.c * climb(lambda x: chosen(perceptron(d.net, x), d.label), 0.3, 6, d.start)).sum())),
    Row("K7", LIKED, "liked_by_filter", example("pattern", lambda d: (d.c * climb(lambda x: convolved(d.net, x)[:, 0].sum(), 0.05, 6, d.start)).sum())),
    Row("K8", LIKED, "like_an_image", example("climbed_as_image", liked_as_image)),
    Row("K8", LIKED, "liked_as_image", example("climbed_as_image", liked_as_image)),
    Row("K9", LIKED, "liked_by_generator", example("generated", of_generator)),
    Row("K10", LIKED, "dream", example("dreamt", dreamt)),
    Row("K11", LIKED, "gram", example("painted", in_style)),
    Row("K11", LIKED, "content_and_style", example("painted", in_style)),
    Row("K11", LIKED, "transferred", example("painted", in_style)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
