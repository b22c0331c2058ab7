"""Group H, generation, against torch's distributions, Jacobians and loops, SciPy's square roots and integrals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import scipy.integrate
import scipy.spatial
import scipy.special
import scipy.stats
import torch
import torch.nn.functional as F
from against import Draws, Spec, agree
from lectures import Row, every, example
from trainings import Weights, begin, descent, held_back, perceptron, rounds, tells, trains

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(0)
NORMAL = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


def drawn(spec: Spec, name: str) -> Draws:
    return Draws({k: torch.as_tensor(v) for k, v in spec.draws(name).items() if isinstance(v, np.ndarray | np.generic)})


# ---- pixel by pixel


def state(p, h, pixel):
    return torch.tanh(h @ p["inner.w"] + p["inner.b"] + p["embed"][pixel])


def scores(p, x):
    h, found = torch.zeros(len(x), p["inner.w"].shape[0], dtype=torch.float64), []
    for pixel in x.T:
        h = state(p, h, pixel)
        found.append(h @ p["out.w"] + p["out.b"])
    return torch.stack(found, 1)


def following(p, x):
    return F.cross_entropy(scores(p, x)[:, :-1].flatten(0, 1), x[:, 1:].flatten())


def painted(spec: Spec) -> None:
    """The pixel between whose sums of probabilities the number lies, one after the other."""
    d = drawn(spec, "sampled")
    h, pixel, image = torch.zeros(3, 6, dtype=torch.float64), d.first, []
    for t in range(7):
        image.append(pixel)
        h = state(d.net, h, pixel)
        p = torch.softmax(h @ d.net["out.w"] + d.net["out.b"], 1).numpy()
        pixel = torch.tensor([np.searchsorted(np.cumsum(row), u) for row, u in zip(p, d.luck[:, t])])
    for column in BOTH:
        agree(column, spec.results("sampled", column=column)["value"], torch.stack(image, 1))


PIXELS = descent(
    "PixelRNN", {"levels": 17, "hidden": 32}, lambda p, x, y: following(p, (16 * x).round().long()),
    lambda w: torch.optim.Adam(w, 5e-3), "digits", 64, 3, shape=(64,), test=0.3,
)  # fmt: skip


def by_pixel(run, models, net: Weights) -> dict[str, float]:
    x, _ = held_back(run)
    return {"test": following(net, (16 * x).round().long())}


# ---- codes


def encoded(p, x):
    h = F.relu(x @ p["encoder.w"] + p["encoder.b"])
    return h @ p["mean_.w"] + p["mean_.b"], h @ p["spread.w"] + p["spread.b"]


def elbo(p, x, e):
    m, s = encoded(p, x)
    q = torch.distributions.Normal(m, (s / 2).exp())
    away = torch.distributions.kl_divergence(q, NORMAL).sum(1)
    y = perceptron(p, m + (s / 2).exp() * e, at="decoder.")
    return (((y - x) ** 2).sum(1) + away).mean()


def as_printed(d):
    m, s = encoded(d.net, d.x)
    y = perceptron(d.net, m + s.exp() * d.e, at="decoder.")
    return (((y - d.x) ** 2).sum(1) + (s.exp() - 1 - s + m**2).sum(1)).mean()


def swept(d):
    total = 0
    for a in range(4):
        for b in range(4):
            code = torch.stack([d.steps[a], d.code[1], d.steps[b]])
            total = total + (d.c[a, b] * perceptron(d.net, code[None], at="decoder.")[0]).sum()
    return total


def vaes(run, models) -> Iterator[Weights]:
    net = begin(run, models, "VAE", d=64, hidden=64, latent=6)
    rule = torch.optim.Adam(list(net.values()), 3e-3)
    for x, _ in rounds(run, run.data("digits", shape=(64,), test=0.3).train, 64, 10):
        e = torch.tensor(models.normal(models.fold(run.key("fit"), models.SITES["e"]), (len(x), 6), np.float64))
        rule.zero_grad()
        elbo(net, x, e).backward()
        rule.step()
        yield net


def of_codes(run, models, net: Weights) -> dict[str, float]:
    x, _ = held_back(run)
    for _ in run.loop("epoch", 1, 1):
        key = models.fold(run.key("fit"), models.SITES["e#2"])
    e = torch.tensor(models.normal(key, (len(x), 6), np.float64))
    return {
        "test": elbo(net, x, e),
        "error": ((perceptron(net, encoded(net, x)[0], at="decoder.") - x) ** 2).sum(1).mean(),
    }


def bounded(spec: Spec) -> None:
    """SciPy's integral over codes; the bound lies below, and touches it with the right q."""
    x, mu, sigma, z = np.array([0.2, -0.7]), np.array([0.1, -0.5]), np.array([0.5, 0.6]), np.linspace(-8, 8, 801)
    normal = scipy.stats.norm

    def density(z, x):
        return normal.pdf(z) * normal.pdf(x, np.tanh(1.3 * z), 0.4)

    def inside(z, x, m, s):
        return normal.pdf(z, m, s) * normal.logpdf(x, np.tanh(1.3 * z), 0.4)

    evidence = [np.log(scipy.integrate.quad(density, -9, 9, args=(v,))[0]) for v in x]
    parts = [scipy.integrate.quad(inside, -9, 9, args=a)[0] for a in zip(x, mu, sigma)]
    lower = np.array(parts) - 0.5 * (sigma**2 + mu**2 - 1 - 2 * np.log(sigma))
    for column in BOTH:
        agree("log P", spec.value("evidence", column, x=x, slope=1.3, noise=0.4, z=z), evidence, 1e-6)
        found = spec.value("bound", column, x=x, mu=mu, sigma=sigma, slope=1.3, noise=0.4, z=z)
        agree("bound", found, lower, 1e-6)
        assert (np.asarray(found) < np.array(evidence)).all()


# ---- invertible maps


def coupled(p, x, name, flip, back=False):
    first, second = (x[:, 2:], x[:, :2]) if flip else (x[:, :2], x[:, 2:])
    s = torch.tanh(perceptron(p, first, at=f"{name}.scale."))
    t = perceptron(p, first, at=f"{name}.shift.")
    second = (second - t) * (-s).exp() if back else second * s.exp() + t
    return torch.cat([second, first] if flip else [first, second], 1)


LAYERS = (("one", False), ("two", True), ("three", False), ("four", True))


def flow(p, x):
    for name, flip in LAYERS:
        x = coupled(p, x, name, flip)
    return x


def unflow(p, z):
    for name, flip in reversed(LAYERS):
        z = coupled(p, z, name, flip, back=True)
    return z


def volumes(p, x):
    """log |det| of torch's Jacobians, row by row."""
    jacobians = [torch.autograd.functional.jacobian(lambda r: flow(p, r[None])[0], row, create_graph=True) for row in x]
    return torch.linalg.slogdet(torch.stack(jacobians)).logabsdet


def surprise(d):
    return -(NORMAL.log_prob(flow(d.net, d.x)).sum(1) + volumes(d.net, d.x)).mean()


def stretched(d):
    j = torch.autograd.functional.jacobian(lambda r: flow(d.net, r[None])[0], d.x, create_graph=True)
    return torch.linalg.det(j) + j.sum()


def there_and_back(spec: Spec) -> None:
    """The inverse undoes the map, and its Jacobian has the inverse determinant."""
    d = drawn(spec, "there_and_back")
    agree("back", unflow(d.net, flow(d.net, d.x)), d.x, 1e-12)
    forth = torch.linalg.det(torch.autograd.functional.jacobian(lambda r: flow(d.net, r[None])[0], d.x[0]))
    at = flow(d.net, d.x)[0]
    back = torch.linalg.det(torch.autograd.functional.jacobian(lambda r: unflow(d.net, r[None])[0], at))
    agree("1 / det", back, 1 / forth)


def glow(p, x, back=False):
    shift, scale = p["norm1.shift"][:, None, None], p["norm1.log_scale"].exp()[:, None, None]
    if not back:
        x = torch.einsum("oc,bcij->boij", p["mix.w"], (x + shift) * scale)
    h = F.relu(F.conv2d(x[:, :2], p["couple.inner.kernel"], p["couple.inner.bias"], padding=1))
    h = F.conv2d(h, p["couple.outer.kernel"], p["couple.outer.bias"], padding=1)
    s, t = torch.tanh(h[:, :2]), h[:, 2:]
    x = torch.cat([x[:, :2], (x[:, 2:] - t) * (-s).exp() if back else x[:, 2:] * s.exp() + t], 1)
    return torch.einsum("oc,bcij->boij", torch.linalg.inv(p["mix.w"]), x) / scale - shift if back else x


def surprise_by_jacobian(codes, x):
    """-log p for each number of an image, by the determinant of the whole Jacobian."""

    def volume(image):
        j = torch.autograd.functional.jacobian(
            lambda v: codes(v.reshape(1, *image.shape)).flatten(), image.flatten(), create_graph=True
        )
        return torch.linalg.slogdet(j).logabsdet

    prior = NORMAL.log_prob(codes(x)).sum((1, 2, 3))
    return -(prior + torch.stack([volume(i) for i in x])).mean() / x[0].numel()


def glowing(d):
    return surprise_by_jacobian(lambda x: glow(d.net, x), d.x) + (d.c * glow(d.net, d.x, back=True)).sum()


def wave(p, x, spectrum, back=False):
    around = F.pad(x[:, 0], (1, 1)).unfold(1, 3, 1) @ p["heard"].T
    z = torch.tanh(around + spectrum @ p["condition.w"] + p["condition.b"]) @ p["out.w"] + p["out.b"]
    s, t = torch.tanh(z[..., 0]), z[..., 1]
    return torch.stack([x[:, 0], (x[:, 1] - t) * (-s).exp() if back else x[:, 1] * s.exp() + t], 1)


def spoken(d):
    x = torch.stack([d.x[:, ::2], d.x[:, 1::2]], 1)

    def volume(k):
        j = torch.autograd.functional.jacobian(
            lambda v: wave(d.net, v.reshape(1, 2, 6), d.spectrum[k][None]).flatten(), x[k].flatten(), create_graph=True
        )
        return torch.linalg.slogdet(j).logabsdet

    z = wave(d.net, x, d.spectrum)
    prior = NORMAL.log_prob(z).sum((1, 2))
    return -(prior + torch.stack([volume(k) for k in range(2)])).mean() + (d.c * wave(d.net, x, d.spectrum, True)).sum()


def checkered(d):
    mask = (torch.arange(3)[:, None] + torch.arange(4)) % 2
    return ((d.image * (1 - mask)) ** 2).sum() + ((d.image * mask) ** 3).sum()


# ---- two players


def bce(z, label: float):
    return F.binary_cross_entropy_with_logits(z, torch.full_like(z, label))


def told(p, real, fake):
    return bce(perceptron(p, real), 1.0) + bce(perceptron(p, fake), 0.0)


def fooling(d):
    z = perceptron(d.judge, perceptron(d.generator, d.z))
    return bce(z, 1.0) - 2 * bce(z, 0.0)


def theory(d):
    p, q = d.p / d.p.sum(), d.q / d.q.sum()
    m = (p + q) / 2
    divergence = (F.kl_div(m.log(), p, reduction="sum") + F.kl_div(m.log(), q, reduction="sum")) / 2
    return -2 * np.log(2) + 2 * divergence + 3 * divergence


def apart(spec: Spec) -> None:
    """log 2 for distributions that do not meet; no other D does better than the best one."""
    p, q = np.array([0.5, 0.5, 0, 0]), np.array([0, 0, 0.3, 0.7])
    agree("log 2", spec.value("jensen_shannon", p=p, q=q), np.log(2))
    p, q = RNG.dirichlet(np.ones(5)), RNG.dirichlet(np.ones(5))
    best = spec.value("best_judge", p=p, q=q)
    agree("best", best, p / (p + q))
    value = spec.value("value_of_game", p=p, q=q, d=best)
    assert all(spec.value("value_of_game", p=p, q=q, d=np.clip(best + e, 0.01, 0.99)) < value for e in (0.05, -0.05))


def slope(cost, x):
    x = x if x.requires_grad else (x * 1.0).requires_grad_()
    return torch.autograd.grad(cost(x), x, create_graph=True)[0]


def alone(d):
    x = d.start * 1.0
    for _ in range(5):
        x = x + 0.1 * slope(lambda x: perceptron(d.judge, x).sum(), x)
    return told(d.judge, d.real, x.detach()) + (d.c * x).sum()


def penalty(p, real, fake, mix, critic=perceptron):
    between = mix[:, None] * real + (1 - mix[:, None]) * fake
    return ((slope(lambda x: critic(p, x).sum(), between).norm(dim=1) - 1) ** 2).mean()


def earth(p, real, fake):
    return perceptron(p, fake).mean() - perceptron(p, real).mean()


def spectral_critic(w, x):
    """torch's spectral norm: every evaluation takes one step of power iteration, and `right` goes on from there."""

    def layer(name, x):
        weight, fixed = w[f"{name}.w"], w[f"{name}.w"].detach()
        left = F.normalize(fixed @ w[f"{name}.right"].detach(), dim=0)
        w[f"{name}.right"] = right = F.normalize(left @ fixed, dim=0)
        left = F.normalize(fixed @ right, dim=0)
        return x @ (weight / (left @ weight @ right)) + w[f"{name}.b"]

    return layer("second", F.leaky_relu(layer("first", x), 0.2))


def margins(w, real, fake):
    return F.relu(1 - spectral_critic(w, real)).mean() + F.relu(1 + spectral_critic(w, fake)).mean()


def spectral(d):
    return margins({k: d.critic[k] for k in d.critic}, d.real, d.fake)


def to_order(d):
    made = perceptron(d.generator, torch.cat([d.generator.word[d.c], d.z], 1), at="net.")

    def judge(x, c):
        return perceptron(d.judge, torch.cat([x, d.judge.word[c]], 1), at="net.")

    return bce(judge(d.x, d.c), 1.0) + bce(judge(made, d.c), 0.0) + bce(judge(d.x, d.other), 0.0)


def with_pairs(d):
    made = perceptron(d.net, d.source)
    return bce(perceptron(d.judge, torch.cat([d.source, made], 1)), 1.0) + 10 * F.l1_loss(made, d.target)


def squared(p, x, label: float):
    z = perceptron(p, x)
    return F.mse_loss(z, torch.full_like(z, label))


def cycled(ab, ba, judge_a, judge_b, a, b):
    fake_b, fake_a = perceptron(ab, a), perceptron(ba, b)
    back = F.l1_loss(perceptron(ba, fake_b), a) + F.l1_loss(perceptron(ab, fake_a), b)
    return squared(judge_b, fake_b, 1.0) + squared(judge_a, fake_a, 1.0) + 10 * back


def judged(p, real, fake):
    return (squared(p, real, 1.0) + squared(p, fake, 0.0)) / 2


def without_pairs(d):
    made = perceptron(d.ba, d.b)
    return cycled(d.ab, d.ba, d.judge_a, d.judge_b, d.a, d.b) + judged(d.judge_a, d.a, made)


def step(rule, cost) -> None:
    rule.zero_grad()
    cost.backward()
    rule.step()


def drawn_at(run, models, procedure: str, site: str, *shape: int, how: str = "normal") -> torch.Tensor:
    return torch.tensor(getattr(models, how)(models.fold(run.key(procedure), models.SITES[site]), shape, np.float64))


DAMPED = partial(torch.optim.Adam, betas=(0.5, 0.999))


def two_players(run, models, judge: str, latent: int, hidden: int, rule=DAMPED):
    """Generator and judge with their optimizers, and shuffled batches of digits."""
    nets = [begin(run, models, "MLP", "generator", sizes=(latent, hidden, 64))]
    nets.append(begin(run, models, "MLP", judge, sizes=(64, hidden, 1)))
    rules = [rule(list(w.values()), 1e-3) for w in nets]
    return *nets, *rules, rounds(run, run.data("digits", shape=(64,), test=0).train, 64, 5)


def in_turn(run, models) -> Iterator[Weights]:
    maker, judge, makes, judges, batches = two_players(run, models, "judge", 16, 128)
    for x, _ in batches:
        z = drawn_at(run, models, "gan", "z", len(x), 16)
        step(judges, told(judge, x, perceptron(maker, z).detach()))
        step(makes, bce(perceptron(judge, perceptron(maker, z)), 1.0))
        yield maker


def clipped_critic(run, models) -> Iterator[Weights]:
    maker, critic, makes, judges, batches = two_players(run, models, "critic", 16, 128, torch.optim.RMSprop)
    for x, _ in batches:
        for _ in run.loop("turn", 1, 5):
            step(judges, earth(critic, x, perceptron(maker, drawn_at(run, models, "wgan", "z", len(x), 16)).detach()))
            for w in critic.values():
                w.data.clamp_(-0.05, 0.05)
        z = drawn_at(run, models, "wgan", "z#2", len(x), 16)
        step(makes, -perceptron(critic, perceptron(maker, z)).mean())
        yield maker


def without_stretching(run, models) -> Iterator[Weights]:
    maker = begin(run, models, "MLP", "generator", sizes=(16, 128, 64))
    critic = begin(run, models, "SpectralCritic", "critic", d=64, hidden=128)
    moved = [w for path, w in critic.items() if not path.endswith("right")]
    makes, judges = DAMPED(list(maker.values()), 3e-4), DAMPED(moved, 1e-2)
    for x, _ in rounds(run, run.data("digits", shape=(64,), test=0).train, 64, 5):
        for _ in run.loop("turn", 1, 5):
            step(
                judges, margins(critic, x, perceptron(maker, drawn_at(run, models, "sngan", "z", len(x), 16)).detach())
            )
        z = drawn_at(run, models, "sngan", "z#2", len(x), 16)
        step(makes, -spectral_critic(critic, perceptron(maker, z)).mean())
        yield maker


def ahead(run, models) -> Iterator[Weights]:
    """Five steps of the critic for one of the generator."""
    maker, critic, makes, judges, batches = two_players(run, models, "critic", 16, 128)
    for x, _ in batches:
        for _ in run.loop("turn", 1, 5):
            fake = perceptron(maker, drawn_at(run, models, "wgan_gp", "z", len(x), 16)).detach()
            mix = drawn_at(run, models, "wgan_gp", "mix", len(x), how="uniform")
            step(judges, earth(critic, x, fake) + 10 * penalty(critic, x, fake, mix))
        z = drawn_at(run, models, "wgan_gp", "z#2", len(x), 16)
        step(makes, -perceptron(critic, perceptron(maker, z)).mean())
        yield maker


def distance_to_digits(procedure: str, site: str):
    """The Fréchet distance that is reported at the end, by NumPy's covariances."""

    def told(run, models, maker, *_) -> dict[str, float]:
        x = run.data("digits", shape=(64,), test=0).train.x
        for _ in run.loop("epoch", 1, 1):
            pass
        made = perceptron(maker, drawn_at(run, models, procedure, site, len(x), 16)).numpy()
        return {"apart": frechet(x, made)}

    return told


def translators(run, models) -> Iterator[Weights]:
    ab, ba = (begin(run, models, "MLP", name, sizes=(64, 64, 64)) for name in ("ab", "ba"))
    judges = [begin(run, models, "MLP", name, sizes=(64, 32, 1)) for name in ("judge_a", "judge_b")]
    groups = ([*ab.values(), *ba.values()], *(list(j.values()) for j in judges))
    rules = [torch.optim.Adam(group, 1e-3, betas=(0.5, 0.999)) for group in groups]
    for x, _ in rounds(run, run.data("digits", shape=(64,), test=0).train, 64, 4):
        a, b = x[: len(x) // 2], 1 - x[len(x) // 2 :]
        step(rules[0], cycled(ab, ba, *judges, a, b))
        step(rules[1], judged(judges[0], a, perceptron(ba, b).detach()))
        step(rules[2], judged(judges[1], b, perceptron(ab, a).detach()))
        yield ab


# ---- is it good?


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The trace of the root is the sum of the roots of the eigenvalues."""
    first, second = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.linalg.eigvals(first @ second).real.clip(0))
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * roots.sum()


def good(spec: Spec) -> None:
    """FID by eigenvalues, the score by its relative entropies, neighbours by its distances."""
    a, b = RNG.normal(size=(30, 3)), RNG.normal(1, 2, size=(40, 3))
    wanted = frechet(a, b)
    z = RNG.normal(size=(30, 4)) * 2
    p = scipy.special.softmax(z, axis=1)
    score = np.exp(np.mean([scipy.stats.entropy(row, p.mean(0)) for row in p]))
    away = scipy.spatial.distance.cdist(a, b).min(1)
    for column in BOTH:
        agree("FID", spec.value("frechet", column, a=a, b=b), wanted, 1e-8)
        agree("score", spec.value("inception_score", column, z=z), score)
        agree("memory", spec.value("memory", column, made=a, known=b), away)


def collapsed(spec: Spec) -> None:
    """Eight clusters on a ring, samples in five of them."""
    angle = 2 * np.pi * np.arange(8) / 8
    centres = np.stack([np.cos(angle), np.sin(angle)], 1)
    made = np.repeat(centres[:5], 20, axis=0) + 0.05 * RNG.normal(size=(100, 2))
    for column in BOTH:
        assert spec.value("covered_modes", column, made=made, centres=centres, reach=0.3) == 5


def tokens(d):
    """The sampler of torch's relaxed categorical distribution, with its uniform numbers given."""
    gumbel = torch.distributions.Gumbel(torch.zeros_like(d.z), torch.ones_like(d.z)).icdf(d.luck.detach())
    luck = -torch.log(-torch.log(d.luck))
    assert torch.allclose(gumbel, luck)
    return (d.c * ((d.z + luck) / 0.5).softmax(1)).sum()


def enumerated(spec: Spec) -> None:
    """The expected estimate is the slope of the mean reward, by autograd and by all tokens."""
    z, reward = RNG.normal(size=5), RNG.normal(size=5)
    wanted = slope(lambda z: (z.softmax(0) * torch.tensor(reward)).sum(), torch.tensor(z)).detach()
    for column in BOTH:
        agree(column, spec.value("reinforced", column, z=z, reward=reward), wanted)


LIKELY, GAMES = "generative/likelihood.lee", "generative/adversarial.lee"
FLOW = every(
    example("coupled", surprise), example("there_and_back", lambda d: (d.c * unflow(d.net, d.x)).sum()), there_and_back
)
MOVED = example("moved", lambda d: earth(d.critic, d.real, d.fake) + 10 * penalty(d.critic, d.real, d.fake, d.mix))
BENT = example("bent", lambda d: penalty(d.bend, d.real, d.fake, d.mix, lambda p, x: torch.tanh(x @ p["w"])))
SMOOTH = """

model Smooth(d):
    param w: [d] ~ normal(0, 1)

    def forward(x: [n, d]) -> [n]:
        return tanh(x @ w)


example bent:
    bend = Smooth(5)
    real: [7, 5] ~ normal(0, 1)
    fake: [7, 5] ~ normal(0, 1)
    mix: [7] ~ uniform(0, 1)
    return gradient_penalty(bend, real, fake, mix)
"""
ROWS = (
    Row("H1", LIKELY, "PixelRNN", example("following", lambda d: following(d.net, d.x))),
    Row("H1", LIKELY, "next_pixel", example("following", lambda d: following(d.net, d.x))),
    Row("H1", LIKELY, "painted", painted),
    Row("H1", LIKELY, "pixels", every(trains("pixels", PIXELS, 2), tells("pixels", by_pixel, epochs=1, batch=2000))),
    Row("H2", LIKELY, "from_codes", example("with_codes", lambda d: ((perceptron(d.decoder, d.code) - d.x) ** 2).sum(1).mean())),
    Row("H3", LIKELY, "elbo", example("coded", lambda d: elbo(d.net, d.x, d.e))),
    Row("H3", LIKELY, "elboAsPrinted", example("coded_as_printed", as_printed)),
    Row("H3", LIKELY, "fit", every(trains("fit", vaes), tells("fit", of_codes, epochs=1, batch=2000))),
    Row("H4", LIKELY, "controlled", example("swept", swept)),
    Row("H5", LIKELY, "evidence", bounded),
    Row("H5", LIKELY, "bound", bounded),
    Row("H6", LIKELY, "surprise", FLOW),
    Row("H7", LIKELY, "volume", every(example("stretched", stretched), there_and_back)),
    Row("H8", LIKELY, "Coupling", FLOW),
    Row("H8", LIKELY, "checkerboard", example("of_pixels", checkered)),
    Row("H9", LIKELY, "Mixing", example("glowing", glowing)),
    Row("H9", LIKELY, "ByChannels", example("glowing", glowing)),
    Row("H9", LIKELY, "GlowStep", example("glowing", glowing)),
    Row("H9", LIKELY, "of_images", example("glowing", glowing)),
    Row("H10", LIKELY, "WaveGlow", example("spoken", spoken)),
    Row("H10", LIKELY, "of_sound", example("spoken", spoken)),
    Row("H11", GAMES, "discriminates", example("judged_both", lambda d: told(d.judge, d.real, d.fake))),
    Row("H11", GAMES, "saturating", example("fooling", fooling)),
    Row("H11", GAMES, "gan", every(trains("gan", in_turn, 2, "generator", players=2), tells("gan", distance_to_digits("gan", "z#2"), 1e-5, epochs=1, batch=600))),
    Row("H12", GAMES, "non_saturating", example("fooling", fooling)),
    Row("H13", GAMES, "value_of_game", every(example("theory", theory), apart)),
    Row("H13", GAMES, "jensen_shannon", every(example("theory", theory), apart)),
    Row("H14", GAMES, "negatives", example("alone", alone)),
    Row("H14", GAMES, "against_own", example("alone", alone)),
    Row("H15", GAMES, "wasserstein", MOVED),
    Row("H15", GAMES, "clipped", example("cut", lambda d: (perceptron({k: d.critic[k].clamp(-0.2, 0.2) for k in d.critic}, d.x) ** 2).sum())),
    Row("H15", GAMES, "wgan", every(trains("wgan", clipped_critic, 2, "generator", players=6), tells("wgan", distance_to_digits("wgan", "z#3"), 1e-5, epochs=1, batch=600))),
    Row("H16", GAMES, "gradient_penalty", every(MOVED, BENT), SMOOTH),
    Row("H16", GAMES, "wgan_gp", every(trains("wgan_gp", ahead, 2, "generator", players=6), tells("wgan_gp", distance_to_digits("wgan_gp", "z#3"), 1e-5, epochs=1, batch=600))),
    Row("H17", GAMES, "SpectralLinear", example("normalised", spectral)),
    Row("H17", GAMES, "hinge", example("normalised", spectral)),
    Row("H17", GAMES, "sngan", every(trains("sngan", without_stretching, 2, "generator", players=6), tells("sngan", distance_to_digits("sngan", "z#3"), 1e-5, epochs=1, batch=600))),
    Row("H18", GAMES, "gumbel_softmax", example("of_tokens", tokens)),
    Row("H18", GAMES, "reinforced", enumerated),
    Row("H19", GAMES, "frechet", good),
    Row("H19", GAMES, "inception_score", good),
    Row("H19", GAMES, "memory", good),
    Row("H20", GAMES, "covered_modes", collapsed),
    Row("H21", GAMES, "judges_pairs", example("to_order", to_order)),
    Row("H21", GAMES, "Conditional", example("to_order", to_order)),
    Row("H22", GAMES, "paired", example("with_pairs", with_pairs)),
    Row("H23", GAMES, "cycle", example("without_pairs", without_pairs)),
    Row("H23", GAMES, "judged", example("without_pairs", without_pairs)),
    Row("H23", GAMES, "cycle_gan", trains("cycle_gan", translators, 4, "ab", players=3)),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.id}-{r.declaration}")
def test_row(row: Row) -> None:
    row.check(row.spec)
