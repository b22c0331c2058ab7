"""Group J, attacks and defences, against torch's gradients, SciPy's filters and its differential evolution."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.optimize
import torch
import torch.nn.functional as F
from against import Spec, agree
from lectures import Row, every, example
from trainings import Weights, begin, descent, held_back, perceptron, rounds, share, tells, trains

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(0)


def slope(cost, x):
    return torch.autograd.grad(cost(x), x, create_graph=True)[0]


def moving(x):
    """x as the start of an attack: its slope can be asked, and goes back to x."""
    return x * 1.0 if x.requires_grad else (x * 1.0).requires_grad_()


# ---- what is made small


def carlini(d, x, before):
    z, rows = perceptron(d.net, x), torch.arange(len(x))
    other = z.masked_fill(F.one_hot(d.target, z.shape[1]).bool(), -torch.inf).amax(1)
    return (((x - before) ** 2).sum(1) + 2 * (other - z[rows, d.target]).clamp(min=-0.1)).mean()


def towards(d, x, before):
    return F.cross_entropy(perceptron(d.net, before), d.target) - F.cross_entropy(perceptron(d.net, x), d.y)


def as_untargeted(spec: Spec) -> None:
    """What the notes print has the slope of the attack without a target."""
    run = spec.results("targeted_as_printed")
    d = spec.draws("targeted_as_printed")
    net = {k[4:]: torch.tensor(v) for k, v in d.items() if k.startswith("net.")}
    x = torch.tensor(d["x"]).requires_grad_()
    agree("slope", run["d_x"], slope(lambda x: -F.cross_entropy(perceptron(net, x), torch.tensor(d["y"])), x).detach())


# ---- how far


def far(d):
    gap = d.x - d.before
    return (
        torch.linalg.vector_norm(gap, dim=1) + 2 * torch.linalg.vector_norm(gap, torch.inf, dim=1) + 3 * (gap**2).sum(1)
    ).sum()


def norms(spec: Spec) -> None:
    x, before = RNG.normal(size=(2, 6, 5))
    for column in BOTH:
        agree("2", spec.value("distance", column, x=x, before=before), np.linalg.norm(x - before, axis=1))
        agree("max", spec.value("largest", column, x=x, before=before), np.linalg.norm(x - before, np.inf, axis=1))


def ball(x, before, reach):
    gap = x - before
    length = torch.linalg.vector_norm(gap, dim=1, keepdim=True)
    return before + torch.where(length > reach, gap * reach / length, gap)


def box(x, before, reach):
    return torch.minimum(torch.maximum(x, before - reach), before + reach)


def nearest(spec: Spec) -> None:
    """Both are the nearest allowed points, which SciPy's minimiser finds too; a gap of 1e-12 is no division by 0."""
    gap = 1e-12 * RNG.normal(size=(1, 3))
    shorter = gap * 1e-13 / (np.linalg.norm(gap) + 1e-12)
    agree("tiny", 1e13 * spec.value("into_ball", x=gap, before=0 * gap, reach=1e-13), 1e13 * shorter)
    x, before = RNG.normal(size=(2, 1, 3))
    limits = {
        "into_box": lambda z: 0.5 - np.abs(z - before[0]),
        "into_ball": lambda z: 0.5**2 - ((z - before[0]) ** 2).sum(),
    }
    for name, limit in limits.items():
        found = scipy.optimize.minimize(
            lambda z: ((z - x[0]) ** 2).sum(),
            before[0],
            constraints={"type": "ineq", "fun": limit},
            options={"ftol": 1e-14},
        )
        agree(name, spec.value(name, x=x, before=before, reach=0.5)[0], found.x, 1e-5)


# ---- how it goes


def iterated(cost, steps: int, move, repair):
    """An attack by torch: `steps` times a move along the slope, then the repair."""

    def reference(d):
        before = x = moving(d.x)
        for _ in range(steps):
            x = repair(move(x, slope(lambda x: cost(d, x, before), x)), before)
        return (d.c * x).sum()

    return reference


def away(d, x, _=None):
    return -F.cross_entropy(perceptron(d.net, x), d.y)


def pursued(d, x, _):
    return towards(d, x, x)


def along_signs(rate: float):
    return lambda x, g: x - rate * g.sign()


def of_one_length(x, g):
    return x - 0.1 * g / torch.linalg.vector_norm(g, dim=1, keepdim=True)


def of_pixels(d):
    before, w = d.x, torch.logit(moving(d.x))
    for _ in range(4):
        w = w - 0.1 * slope(lambda w: carlini(d, torch.sigmoid(w), before), w)
    return (d.c * torch.sigmoid(w)).sum()


def in_common(d):
    def cost(x):
        return sum(-F.cross_entropy(perceptron(d.crowd, x, at=f"nets.{k}."), d.y) for k in (0, 2)) / 2

    x = moving(d.x)
    return cost(x) + (d.c * (x - 0.1 * slope(cost, x).sign())).sum()


# ---- without the parameters


def one_pixel(spec: Spec) -> None:
    """The rule of differential evolution in NumPy; after many rounds no worse than SciPy's."""
    d = spec.draws("one_pixel")
    net = {k[4:]: v for k, v in d.items() if k.startswith("net.")}
    image, label = d["image"], int(d["label"])

    def left(pixel):
        made = np.where(np.floor(pixel[:, :1] * 12) == np.arange(12), pixel[:, 1:], image)
        z = np.maximum(made @ net["layers.0.w"] + net["layers.0.b"], 0) @ net["layers.1.w"] + net["layers.1.b"]
        return np.exp(z[:, label]) / np.exp(z).sum(1)

    def evolved(pixel, picks):
        score = left(pixel)
        for a, b, c in picks.transpose(0, 2, 1):
            child = np.clip(pixel[a] + 0.5 * (pixel[b] - pixel[c]), 0, 0.999)
            found = left(child)
            pixel, score = np.where((found < score)[:, None], child, pixel), np.minimum(found, score)
        return pixel, score

    pixel, score = evolved(d["start"], d["picks"])
    for column in BOTH:
        agree(column, spec.results("one_pixel", column=column)["value"], score.sum() + pixel.sum())
    agree(
        "as chosen", spec.value("painted", image=image, pixel=np.array([[0.999, 2.0]]))[0], np.append(image[:-1], 2.0)
    )
    rng = np.random.default_rng(1)
    start, picks = rng.uniform(size=(40, 2)), rng.integers(0, 40, size=(60, 40, 3))
    given = spec.call("evolution", net=net, image=image, label=label, start=start, picks=picks).values()
    for what, right in zip(given, evolved(start, picks), strict=True):
        agree("at last", what, right)
    members, best = given
    assert (np.asarray(members) == 0.999).any(), "some member reaches the border"
    bounds = [(0, 0.999), (0, 0.999)]
    wanted = scipy.optimize.differential_evolution(lambda p: left(p[None])[0], bounds, seed=0, tol=1e-10).fun
    assert abs(best.min() - wanted) < 1e-3 * wanted


EVOLUTION = """

def evolution(net: MLP, image: [d], label: int[], start: [p, 2], picks: int[60, p, 3]):
    return evolved(net, image, label, start, picks)


example probe:
    net = MLP((12, 6, 4))
    image: [12] ~ uniform(0, 1)
    label: int[] ~ randint(0, 4)
    start: [8, 2] ~ uniform(0, 1)
    picks: int[60, 8, 3] ~ randint(0, 8)
    pixel, score = evolution(net, image, label, start, picks)
    return sum(score)
"""


def for_all(d):
    """Four steps stay inside, eight reach the border."""

    def change(steps: int):
        found = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        for _ in range(steps):
            g = slope(lambda found: away(d, d.x + found), found)
            found = (found - 0.03 * g.sign()).clamp(-0.2, 0.2)
        return found

    return (d.c * change(4)).sum() + (d.c**2 * change(8)).sum()


def framed(d):
    seen = torch.tanh(d.frame) + F.pad(d.x, (1, 1, 1, 1))
    return F.cross_entropy(perceptron(d.net, seen.flatten(1)), d.y)


def backdoor(spec: Spec) -> None:
    x, y, chosen = RNG.uniform(size=(6, 4, 5)), RNG.integers(0, 4, 6), RNG.random(6) < 0.5
    bright, label = x.copy(), y.copy()
    bright[chosen, :2, :2], label[chosen] = 1, 3
    for column in BOTH:
        given = spec.call("poisoned", column, x=x, y=y, chosen=chosen, target=3)
        for what, right in zip(given, (bright, label), strict=True):
            agree(what, given[what], right)


def proxies(run, models) -> Iterator[Weights]:
    victim = begin(run, models, "MLP", "victim", sizes=(64, 32, 10))
    proxy = begin(run, models, "MLP_2", "proxy", sizes=(64, 24, 24, 10))
    rules = [torch.optim.Adam(list(w.values()), 3e-3) for w in (victim, proxy)]
    for x, y in rounds(run, run.data("digits", shape=(64,), test=0.3).train, 32, 8):
        for rule, w, depth in zip(rules, (victim, proxy), (2, 3), strict=True):
            rule.zero_grad()
            F.cross_entropy(perceptron(w, x, depth), y).backward()
            rule.step()
        yield proxy


def crowds(run, models) -> Iterator[Weights]:
    crowd = begin(run, models, "Crowd_2", "crowd", features=64, hidden=24, classes=10)
    rule = torch.optim.Adam(list(crowd.values()), 5e-3)
    for x, y in rounds(run, run.data("digits", shape=(64,), test=0.3).train, 32, 4):
        rule.zero_grad()
        sum(F.cross_entropy(perceptron(crowd, x, at=f"nets.{k}."), y) for k in range(5)).backward()
        rule.step()
        yield crowd


def transferred(run, models, victim: Weights, proxy: Weights) -> dict[str, float]:
    x, y = held_back(run)
    found = attack(lambda x: F.cross_entropy(perceptron(proxy, x, 3), y), x, 5, 0.05, 0.2)
    return {"clean": share(perceptron(victim, x), y), "transferred": share(perceptron(victim, found), y)}


def fooled(run, models, crowd: Weights) -> dict[str, float]:
    x, y = held_back(run)
    others = lambda x: sum(F.cross_entropy(perceptron(crowd, x, at=f"nets.{k}."), y) for k in range(1, 5))  # noqa: E731
    found = attack(others, x, 1, 0.2, 0.2)
    left_out = (perceptron(crowd, at, at="nets.0.") for at in (x, found))
    return dict(zip(("clean", "attacked"), (share(z, y) for z in left_out), strict=True))


# ---- defences


def blurred(spec: Spec) -> None:
    x = RNG.uniform(size=(3, 5, 6))
    wanted = scipy.ndimage.uniform_filter(x, (0, 3, 3), mode="nearest")
    for column in BOTH:
        agree(column, spec.value("filtered", column, x=x), wanted)


def moved(d):
    larger = F.interpolate(d.x[None], (8, 9), mode="bilinear", align_corners=False)[0]
    top, left = int(d.top), int(d.left)
    return (d.c * F.pad(larger, (left, 3 - left, top, 4 - top))).sum()


def somewhere(spec: Spec) -> None:
    """Each place is as likely, and what is there is torch's smaller image."""
    x = np.stack([RNG.uniform(size=(6, 6))] * 3)
    wanted = F.interpolate(torch.tensor(x[None]), (5, 5), mode="bilinear", align_corners=False)[0].numpy()
    places = np.zeros((4, 4))
    for k in range(150):
        made = spec.value("somewhere_in", "numpy", x=x, key=(k, 7))
        top, left = np.argwhere(made[0] > 0).min(0)
        agree("there", made[:, top : top + 5, left : left + 5], wanted)
        agree("else empty", made.sum(), wanted.sum())
        places[top, left] += 1
    assert (places > 2).all() and places.sum() == 150


def compressed(spec: Spec) -> None:
    x = RNG.uniform(size=(3, 6, 6))
    waves = scipy.fft.dctn(x, axes=(1, 2), norm="ortho")
    wanted = scipy.fft.idctn(np.round(waves / 0.3) * 0.3, axes=(1, 2), norm="ortho")
    for column in BOTH:
        agree("waves", spec.value("cosines", column, size=6), scipy.fft.dct(np.eye(6), axis=0, norm="ortho"))
        agree("compressed", spec.value("at_once", column, x=x), wanted)
        agree("levels", spec.value("in_levels", column, x=x), np.round(x * 3) / 3)


def filtered(x):
    return F.avg_pool2d(F.pad(x[:, None], (1, 1, 1, 1), "replicate"), 3, 1)[:, 0]


def through_filter(d):
    cost = lambda x: F.cross_entropy(perceptron(d.net, filtered(x).flatten(1)), d.y)  # noqa: E731
    before = x = moving(d.x)
    for _ in range(4):
        x = box(x + 0.05 * slope(cost, x).sign(), before, 0.15)
    return (d.c * slope(cost, before)).sum() + (d.c * x).sum()


HARM = iterated(away, 4, along_signs(0.04), lambda x, before: box(x, before, 0.1))


def attack(cost, x, steps: int, rate: float, reach: float):
    """Steps along the signs of the slope of a cost that is to grow, in a box."""
    found = x
    for _ in range(steps):
        found = box(found + rate * slope(cost, moving(found)).sign(), x, reach).detach()
    return found


def harmed(run, models, net: Weights) -> dict[str, float]:
    x, y = held_back(run)
    found = attack(lambda x: F.cross_entropy(perceptron(net, x), y), x, 4, 0.04, 0.1)
    return {"clean": share(perceptron(net, x), y), "attacked": share(perceptron(net, found), y)}


def hardening(run, models) -> Iterator[Weights]:
    net = begin(run, models, "MLP", sizes=(64, 64, 10))
    rule = torch.optim.Adam(list(net.values()), 3e-3)
    for x, y in rounds(run, run.data("digits", shape=(64,), test=0.3).train, 64, 15):
        found = moving(x)
        for _ in range(4):
            g = slope(lambda x, y=y: F.cross_entropy(perceptron(net, x), y), found)
            found = box(found + 0.04 * g.sign(), x, 0.1).detach().requires_grad_()
        rule.zero_grad()
        (F.cross_entropy(perceptron(net, x), y) + F.cross_entropy(perceptron(net, found.detach()), y)).backward()
        rule.step()
        yield net


PLAIN = descent(
    "MLP",
    {"sizes": (64, 64, 10)},
    lambda p, x, y: F.cross_entropy(perceptron(p, x), y),
    lambda w: torch.optim.Adam(w, 3e-3),
    "digits",
    64,
    15,
    shape=(64,),
    test=0.3,
)
SIMPLE = """

def filtered(x: [n, h, w]):
    return smoothed(x)


def at_once(x: [n, 6, 6]):
    return compressed(x)


def in_levels(x: [n, 6, 6]):
    return squeezed(x)


def somewhere_in(x: [n, 6, 6]):
    return at_random(x, 5, 8)


example probe:
    x: [2, 6, 6] ~ uniform(0, 1)
    return filtered(x), at_once(x), in_levels(x), somewhere_in(x), cosines(6)
"""


ATTACKS, DEFENCE = "adversarial/attacks.lee", "adversarial/defence.lee"
SIGNED = iterated(away, 5, along_signs(0.03), lambda x, before: box(x, before, 0.1))
IN_BALL = iterated(away, 4, of_one_length, lambda x, before: ball(x, before, 0.3))
PURSUIT = iterated(pursued, 4, along_signs(0.1), lambda x, before: box(x, before, 0.3))
DISTANCES = every(example("far", far), norms)
REPAIRS = every(
    example("repaired", lambda d: (d.c * box(d.x, d.before, 0.7) + d.c**2 * ball(d.x, d.before, 2.5)).sum()), nearest
)
ROWS = (
    Row("J1", ATTACKS, "away", example("untargeted", lambda d: away(d, d.x))),
    Row("J2", ATTACKS, "towards", example("targeted", lambda d: towards(d, d.x, d.x))),
    Row("J2", ATTACKS, "towardsAsPrinted", every(example("targeted_as_printed", lambda d: towards(d, d.x, d.before)), as_untargeted)),
    Row("J2", ATTACKS, "pgd_towards", example("to_target", PURSUIT)),
    Row("J2", ATTACKS, "margin", example("with_margin", lambda d: carlini(d, d.x, d.before))),
    Row("J2", ATTACKS, "carlini_wagner", example("by_margin", of_pixels)),
    Row("J3", ATTACKS, "distance", DISTANCES),
    Row("J3", ATTACKS, "distanceAsPrinted", DISTANCES),
    Row("J3", ATTACKS, "largest", DISTANCES),
    Row("J3", ATTACKS, "into_box", REPAIRS),
    Row("J3", ATTACKS, "into_ball", REPAIRS),
    Row("J4", ATTACKS, "pgd", example("by_signs", SIGNED)),
    Row("J4", ATTACKS, "pgd_in_ball", example("by_slope", IN_BALL)),
    Row("J5", ATTACKS, "fgsm", example("one_step", lambda d: (d.c * (d.x - 0.1 * slope(lambda x: away(d, x), d.x).sign())).sum())),
    Row("J6", ATTACKS, "by_proxy", every(trains("by_proxy", proxies, variable="proxy", players=2), tells("by_proxy", transferred, epochs=1))),
    Row("J7", ATTACKS, "away_from_others", example("in_common", in_common)),
    Row("J7", ATTACKS, "ensemble_attack", example("in_common", in_common)),
    Row("J7", ATTACKS, "by_ensemble", every(trains("by_ensemble", crowds, variable="crowd"), tells("by_ensemble", fooled, epochs=1))),
    Row("J8", ATTACKS, "painted", one_pixel, EVOLUTION),
    Row("J8", ATTACKS, "share_of", one_pixel, EVOLUTION),
    Row("J8", ATTACKS, "evolved", one_pixel, EVOLUTION),
    Row("J9", ATTACKS, "universal", example("one_for_all", for_all)),
    Row("J9", ATTACKS, "reprogrammed", example("framed", framed)),
    Row("J9", ATTACKS, "poisoned", backdoor),
    Row("J10", DEFENCE, "smoothed", every(blurred, example("blurred", lambda d: (d.c * filtered(d.x)).sum())), SIMPLE),
    Row("J11", DEFENCE, "resized", example("moved", moved)),
    Row("J11", DEFENCE, "placed", example("moved", moved)),
    Row("J11", DEFENCE, "at_random", somewhere, SIMPLE),
    Row("J12", DEFENCE, "cosines", compressed, SIMPLE),
    Row("J12", DEFENCE, "compressed", compressed, SIMPLE),
    Row("J12", DEFENCE, "squeezed", compressed, SIMPLE),
    Row("J12", DEFENCE, "rebuilt", example("restored", lambda d: F.cross_entropy(perceptron(d.net, perceptron(d.coder, d.x)), d.y))),
    Row("J13", DEFENCE, "slope_through", example("through_filter", through_filter)),
    Row("J13", DEFENCE, "adaptive", example("through_filter", through_filter)),
    Row("J14", DEFENCE, "attacked", example("harmed", HARM)),
    Row("J14", DEFENCE, "hardened", every(trains("hardened", hardening), tells("hardened", harmed, epochs=1))),
    Row("J14", DEFENCE, "unprotected", every(trains("unprotected", PLAIN), tells("unprotected", harmed, epochs=1))),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
