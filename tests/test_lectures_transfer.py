"""Group L, transfer, several tasks and domains, against torch and scikit-learn; procedures against loops in torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import NearestNeighbors
from trainings import Weights, begin, descent, held_back, perceptron, rounds, share, tells, trains

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(0)


def adam(weights, rate: float = 3e-3):
    return torch.optim.Adam(list(weights.values()), rate)


def digits(run):
    return run.data("digits", shape=(64,), test=0.3).train


def step(rule, cost) -> None:
    rule.zero_grad()
    cost.backward()
    rule.step()


# ---- the same net goes on


def some(z, y, first: int, last: int):
    """Cross-entropy of the rows whose class lies in a range."""
    chosen = (first <= y) & (y <= last)
    return F.cross_entropy(z[chosen], y[chosen])


def classes(spec: Spec) -> None:
    """Loss and accuracy of the chosen rows alone."""
    z, y = RNG.normal(size=(12, 5)), np.arange(12) % 5
    chosen = (y >= 1) & (y <= 3)
    for column in BOTH:
        given = {"z": z, "y": y, "chosen": chosen}
        agree("loss", spec.value("among", column, **given), some(*map(torch.tensor, (z, y)), 1, 3))
        agree("accuracy", spec.value("accuracy_among", column, **given), (z.argmax(1) == y)[chosen].mean())


def tuned(weight: float):
    """An epoch on 0 to 4, then steps of SGD on 5 to 9, held near where they began."""

    def loop(run, models) -> Iterator[Weights]:
        net = begin(run, models, "MLP", sizes=(64, 32, 10))
        first = adam(net)
        for x, y in rounds(run, digits(run), 32, 1):
            step(first, some(perceptron(net, x), y, 0, 4))
            yield net
        source = {k: v.detach().clone() for k, v in net.items()}
        own = torch.optim.SGD(list(net.values()), 0.05)
        for x, y in rounds(run, digits(run), 32, 1, "_2"):
            far = sum(((net[k] - source[k]) ** 2).sum() for k in net)
            step(own, some(perceptron(net, x), y, 5, 9) + weight * far)
            yield net

    return loop


def of_both_halves(score, **names: bool):
    """What is reported of the digits from 5 on, or of those below, by names."""

    def told(run, models, net: Weights) -> dict[str, float]:
        x, y = held_back(run)
        return {
            name: share(
                score(
                    net,
                    x[later],
                ),
                y[later],
            )
            for name, later in ((n, (y >= 5) == v) for n, v in names.items())
        }

    return told


def near_source(d):
    far = sum(((d.net[k] - d.source[k]) ** 2).sum() for k in d.net)
    return F.cross_entropy(perceptron(d.net, d.x), d.y) + 0.01 * far


def like_source(d):
    z = perceptron(d.net, d.x)
    answers = perceptron(d.source, d.x).detach().softmax(1)
    return F.cross_entropy(z, d.y) + 0.5 * F.kl_div(z.log_softmax(1), answers, reduction="batchmean")


def in_parts(p, x):
    return F.relu(x @ p["features.w"] + p["features.b"]) @ p["head.w"] + p["head.b"]


def copied(run, models) -> Iterator[Weights]:
    """An epoch of the source, one of the head on its features, and some steps of the whole."""
    source, net = begin(run, models, "Parts", "source"), begin(run, models, "Parts")
    first = adam(source)
    for x, y in rounds(run, digits(run), 32, 1):
        step(first, some(in_parts(source, x), y, 0, 4))
        yield net
    for k in ("features.w", "features.b"):
        net[k].data[:] = source[k].data
    phases = [adam({k: v for k, v in net.items() if k.startswith("head")}), adam(net)]
    for name, rule in zip(("_2", "_3"), phases, strict=True):
        for x, y in rounds(run, digits(run), 32, 1, name):
            step(rule, some(in_parts(net, x), y, 5, 9))
            yield net


# ---- several tasks


def tasks(p, x, y):
    h = F.relu(x @ p["trunk.w"] + p["trunk.b"])
    odd = F.cross_entropy(h @ p["parity.w"] + p["parity.b"], y % 2)
    return F.cross_entropy(h @ p["kind.w"] + p["kind.b"], y) + 0.5 * odd


MULTI_TASK = descent(
    "MultiTask", {"d": 64, "hidden": 32, "classes": 10}, tasks, lambda w: torch.optim.Adam(w, 3e-3), "digits", 32, 10,
    shape=(64,), test=0.3,
)  # fmt: skip


# ---- classes that training never saw


def unseen(spec: Spec) -> None:
    """Attributes by scikit-learn's one-vs-rest, the nearest row of the table by its neighbours."""
    z, table = RNG.normal(size=(20, 5)) * 2, RNG.integers(0, 2, size=(4, 5)).astype(float)
    nearest = NearestNeighbors(n_neighbors=1).fit(table).kneighbors(1 / (1 + np.exp(-z)))[1][:, 0]
    x, y = RNG.normal(size=(40, 3)), RNG.integers(0, 2, size=(40, 5))
    found = OneVsRestClassifier(LogisticRegression(C=1e6)).fit(x, y)
    scores, rows = found.decision_function(x), np.arange(40)
    surprise = -np.log(np.where(y == 1, found.predict_proba(x), 1 - found.predict_proba(x))).sum(1).mean()
    for column in BOTH:
        agree("class", spec.value("by_attributes", column, z=z, table=table), nearest)
        agree("loss", spec.value("of_attributes", column, z=scores, y=rows, table=y.astype(float)), surprise)


def described(d):
    return F.binary_cross_entropy_with_logits(d.z, d.table[d.y].double(), reduction="none").sum(1).mean()


def in_one_space(d):
    """torch's multi-margin loss sums over all other classes: of the most violating one alone it is this."""
    z = d.f @ d.g.T
    right = z.gather(1, d.y[:, None])
    wrong = z.masked_fill(F.one_hot(d.y, 4).bool(), -torch.inf).amax(1, keepdim=True)
    return F.multi_margin_loss(torch.cat([right, wrong], 1), torch.zeros(9, dtype=torch.long), margin=0.5) * 2


def conse(spec: Spec) -> None:
    z, words, other = RNG.normal(size=(12, 4)), RNG.normal(size=(4, 5)), RNG.normal(size=(6, 5))
    p, best = torch.tensor(z).softmax(1).topk(2)
    mix = (p[:, :, None] * torch.tensor(words)[best]).sum(1)
    wanted = F.cosine_similarity(mix[:, None], torch.tensor(other)[None], dim=2).argmax(1)
    for column in BOTH:
        agree("unseen", spec.value("mixed_two", column, z=z, words=words, unseen=other), wanted)


TWO = """

def mixed_two(z: [n, k], words: [k, d], unseen: [m, d]):
    return convex_mix(z, words, unseen)


example probe:
    z: [12, 4] ~ normal(0, 1)
    words: [4, 5] ~ normal(0, 1)
    unseen: [6, 5] ~ normal(0, 1)
    return mixed_two(z, words, unseen)
"""


def coded(run, models) -> Iterator[Weights]:
    """An epoch of the auto-encoder, then steps of a head on the codes of a hundred digits."""
    encoder = begin(run, models, "Linear", "encoder", inputs=64, outputs=24)
    decoder = begin(run, models, "Linear", "decoder", inputs=24, outputs=64)
    head = begin(run, models, "Linear", "head", inputs=24, outputs=10)
    first = torch.optim.Adam([*encoder.values(), *decoder.values()], 3e-3)
    code = lambda x: F.relu(x @ encoder["w"] + encoder["b"])  # noqa: E731
    for x, _ in rounds(run, digits(run), 32, 1):
        step(first, F.mse_loss(code(x) @ decoder["w"] + decoder["b"], x))
        yield head
    data, own = digits(run), adam(head)
    h, y = code(torch.tensor(data.x[:100])).detach(), torch.tensor(data.y[:100])
    while True:
        step(own, F.cross_entropy(h @ head["w"] + head["b"], y))
        yield head


# ---- domains


def feature(p, x):
    return F.relu(x @ p["features.w"] + p["features.b"])


def label(p, h):
    return h @ p["label.w"] + p["label.b"]


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return -ctx.strength * g, None


def apart(p, x, target):
    """The domain classifier's loss on features of both domains."""
    source, other = (perceptron(p, h, at="domain.") for h in (x, target))
    zero, one = (torch.full((len(h),), k) for k, h in enumerate((x, target)))
    return F.cross_entropy(source, zero) + F.cross_entropy(other, one)


def adversarial(p, x, y, target, strength):
    back = lambda x: Reversed.apply(feature(p, x), strength)  # noqa: E731
    return F.cross_entropy(label(p, feature(p, x)), y) + apart(p, back(x), back(target))


def aligned(d):
    a, b = feature(d.net, d.x), feature(d.net, d.target)
    return F.cross_entropy(label(d.net, a), d.y) + 0.3 * ((a.mean(0) - b.mean(0)) ** 2).sum()


def by_hand(d):
    a = feature(d.net, d.x)
    return F.cross_entropy(label(d.net, a), d.y) - apart(d.net, a, feature(d.net, d.target))


def noise(run, models, name: str, shape):
    return torch.tensor(models.normal(models.fold(run.key(name), models.SITES["noise"]), shape, np.float64))


def domains(run, models) -> Iterator[Weights]:
    net = begin(run, models, "Adaptive", d=64, hidden=64, classes=10)
    rule = adam(net, 2e-3)
    for t, (x, y) in enumerate(rounds(run, digits(run), 64, 30)):
        other = 0.4 + 0.6 * x + 0.1 * noise(run, models, "domain_adversarial", x.shape)
        step(rule, adversarial(net, x, y, other, 0.2 / (1 + np.exp(-10 * t / 600)) - 0.1))
        yield net


ALONE = descent(
    "Adaptive", {"d": 64, "hidden": 64, "classes": 10}, lambda p, x, y: F.cross_entropy(label(p, feature(p, x)), y),
    lambda w: torch.optim.Adam(w, 2e-3), "digits", 64, 30, shape=(64,), test=0.3,
)  # fmt: skip


def of_both_domains(procedure: str, score=lambda p, x: label(p, feature(p, x))):
    """Accuracy on digits as they are and as the other domain has them, and the loss there."""

    def told(run, models, *nets: Weights) -> dict[str, float]:
        x, y = held_back(run)
        key = models.fold(run.key(procedure), models.SITES["other"])
        z = score(*nets, 0.4 + 0.6 * x + 0.1 * torch.tensor(models.normal(key, x.shape, np.float64)))
        return {"source": share(score(*nets, x), y)} | {"target": share(z, y), "lost": F.cross_entropy(z, y)}

    return told


def by_first_head(features, one, x):
    return F.relu(x @ features["w"] + features["b"]) @ one["w"] + one["b"]


def two_heads(run, models) -> Iterator[Weights]:
    features, one, two = (
        begin(run, models, "Linear", name, inputs=64, outputs=width)
        for name, width in (("features", 64), ("one", 10), ("two", 10))
    )
    groups = ([*features.values(), *one.values(), *two.values()], [*one.values(), *two.values()], [*features.values()])
    rules = [torch.optim.Adam(group, rate) for group, rate in zip(groups, (2e-3, 2e-3, 2e-4), strict=True)]
    for x, y in rounds(run, digits(run), 64, 12):
        other = 0.4 + 0.6 * x + 0.1 * noise(run, models, "max_discrepancy", x.shape)
        for k, rule in enumerate(rules):
            h, g = (F.relu(v @ features["w"] + features["b"]) for v in (x, other))
            right = sum(F.cross_entropy(h @ p["w"] + p["b"], y) for p in (one, two))
            gap = ((g @ one["w"] + one["b"]).softmax(1) - (g @ two["w"] + two["b"]).softmax(1)).abs().mean()
            step(rule, (right, right - gap, gap)[k])
        yield features


# ---- boundaries and weights


def unsure(d):
    return torch.distributions.Categorical(logits=d.a).entropy().mean() + (d.a.softmax(1) - d.b.softmax(1)).abs().mean()


def shared(d):
    def weight(domain, z):
        entropy = torch.distributions.Categorical(logits=z).entropy() / np.log(3)
        return (entropy - domain.softmax(1)[:, 0]).detach()

    source = weight(d.domain_x, d.z_x) * d.domain_x.log_softmax(1)[:, 0]
    target = -weight(d.domain_t, d.z_t) * d.domain_t.log_softmax(1)[:, 1]
    return -source.mean() - target.mean()


def turned(d):
    def turning(p):
        views = [torch.rot90(d.image, k, (1, 2)).flatten(1) for k in range(4)]
        scores = [F.relu(v @ p["features.w"] + p["features.b"]) @ p["turn.w"] + p["turn.b"] for v in views]
        return sum(F.cross_entropy(s, torch.full((5,), k)) for k, s in enumerate(scores)) / 4

    p = {k: d.net[k] for k in d.net}
    for _ in range(3):
        slopes = torch.autograd.grad(turning(p), list(p.values()), create_graph=True, allow_unused=True)
        p = {k: v if g is None else v - 0.1 * g for (k, v), g in zip(p.items(), slopes, strict=True)}
    return (d.c * label(p, feature(p, d.image.flatten(1)))).sum() + turning({k: d.net[k] for k in d.net})


def several(d):
    each = torch.stack([F.cross_entropy(perceptron(d.net, x), y) for x, y in zip(d.x, d.y, strict=True)])
    return ((5 * each).softmax(0).detach() * each).sum()


def quarters(spec: Spec) -> None:
    image = RNG.normal(size=(3, 4, 4))
    agree("turned", spec.value("quarter", image=image), np.rot90(image, axes=(1, 2)))


TRANSFER, DOMAINS = "transfer/transfer.lee", "transfer/domains.lee"
ROWS = (
    Row("L1", TRANSFER, "among", classes),
    Row("L1", TRANSFER, "accuracy_among", classes),
    Row("L1", TRANSFER, "fine_tuned", every(trains("fine_tuned", tuned(0.0), 43, epochs=1), tells("fine_tuned", of_both_halves(perceptron, own=True), epochs=1, more=1))),
    Row("L2", TRANSFER, "near_source", example("kept_near", near_source)),
    Row("L2", TRANSFER, "like_source", example("kept_alike", like_source)),
    Row("L2", TRANSFER, "conservative", every(trains("conservative", tuned(0.1), 43, epochs=1), *(tells("conservative", of_both_halves(perceptron, own=True, kept=False), epochs=1, more=k) for k in (0, 1)))),
    Row("L3", TRANSFER, "layer_transfer", every(trains("layer_transfer", copied, 82, epochs=1), tells("layer_transfer", of_both_halves(in_parts, copied=True, tuned=True), epochs=0))),
    Row("L4", TRANSFER, "both_tasks", example("two_tasks", lambda d: tasks(d.net, d.x, d.y))),
    Row("L4", TRANSFER, "multi_task", trains("multi_task", MULTI_TASK)),
    Row("L5", TRANSFER, "of_attributes", every(unseen, example("described", described))),
    Row("L5", TRANSFER, "by_attributes", unseen),
    Row("L6", TRANSFER, "in_one_space", example("embedded", in_one_space)),
    Row("L6", TRANSFER, "in_one_spaceAsPrinted", example("embedded_as_printed", lambda d: ((d.f - d.g[d.y]) ** 2).sum(1).mean())),
    Row("L6", TRANSFER, "convex_mix", conse, TWO),
    Row("L7", DOMAINS, "mean_gap", example("means", aligned)),
    Row("L7", DOMAINS, "aligned", example("means", aligned)),
    Row("L8", DOMAINS, "adversarial", example("reversed_gradient", lambda d: adversarial(d.net, d.x, d.y, d.target, 0.7))),
    Row("L8", DOMAINS, "told_apart", example("by_hand", by_hand)),
    Row("L8", DOMAINS, "of_features", example("by_hand", by_hand)),
    Row("L8", DOMAINS, "domain_adversarial", every(trains("domain_adversarial", domains), tells("domain_adversarial", of_both_domains("domain_adversarial"), epochs=1))),
    Row("L8", DOMAINS, "source_only", every(trains("source_only", ALONE), tells("source_only", of_both_domains("source_only"), epochs=1))),
    Row("L8", DOMAINS, "other_domain", example("seen_differently", lambda d: ((0.4 + 0.6 * d.x + 0.1 * d.noise) ** 2).sum())),
    Row("L9", DOMAINS, "uncertainty", example("unsure", unsure)),
    Row("L9", DOMAINS, "discrepancy", example("unsure", unsure)),
    Row("L9", DOMAINS, "max_discrepancy", every(trains("max_discrepancy", two_heads, 2, "features", players=3), tells("max_discrepancy", of_both_domains("max_discrepancy", by_first_head), epochs=1))),
    Row("L10", DOMAINS, "universal", example("some_shared", shared)),
    Row("L11", DOMAINS, "quarter", quarters),
    Row("L11", DOMAINS, "turning", example("turned", turned)),
    Row("L11", DOMAINS, "at_test_time", example("turned", turned)),
    Row("L11", DOMAINS, "worst_domain", example("several", several)),
    Row("L12", TRANSFER, "self_taught", trains("self_taught", coded, 43, "head", epochs=1)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
