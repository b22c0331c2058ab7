"""Distributions: what is known of them against torch.distributions, what is drawn against SciPy, gradients through draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.distributions as td
from against import Spec, agree
from scipy import special, stats

PARAMETERS = """
    m: [6] ~ normal(0, 1)
    n: [6] ~ normal(0, 1)
    s: [6] ~ uniform(0.5, 2)
    t: [6] ~ uniform(0.5, 2)
    u: [6] ~ uniform(0.1, 0.9)
    v: [6] ~ uniform(0.1, 0.9)
    z: [6, 4] ~ normal(0, 1)
    y: [6, 4] ~ normal(0, 1)
    c: [6, 4] ~ uniform(0.5, 3)
    e: [6, 4] ~ uniform(0.5, 3)
    f: [4, 4] ~ normal(0, 1)
    h: [6, 4, 4] ~ normal(0, 1)
    label: int[3, 6] ~ randint(0, 4)
    yes: [3, 6] ~ bernoulli(0.5)
    x: [3, 6] ~ normal(0, 1)
    w: [3, 6, 4] ~ normal(0, 1)
    weight: [6] ~ normal(0, 1)
"""

EYE = torch.eye(4, dtype=torch.float64)
# p, another of the family for kl, a value for log_prob; the first two in torch, and the value there
FAMILIES = {
    "normal": ("normal(m, s)", "normal(n, t)", "x", lambda d: (td.Normal(d.m, d.s), td.Normal(d.n, d.t), d.x)),
    "normal_of_numbers": ("normal(m, 2)", "normal(0, 1.5)", "x", lambda d: (td.Normal(d.m, 2), td.Normal(0, 1.5), d.x)),
    "uniform": ("uniform(m, m + s)", "uniform(m - t, m + s + t)", "m + s * yes * 0.5",
                lambda d: (td.Uniform(d.m, d.m + d.s), td.Uniform(d.m - d.t, d.m + d.s + d.t), d.m + d.s * d.yes * 0.5)),
    "bernoulli": ("bernoulli(u)", "bernoulli(v)", "yes", lambda d: (td.Bernoulli(d.u), td.Bernoulli(d.v), d.yes)),
    "categorical": ("categorical(z)", "categorical(y)", "label",
                    lambda d: (td.Categorical(logits=d.z), td.Categorical(logits=d.y), d.label)),
    "laplace": ("laplace(m, s)", "laplace(n, t)", "x", lambda d: (td.Laplace(d.m, d.s), td.Laplace(d.n, d.t), d.x)),
    "gumbel": ("gumbel(m, s)", "gumbel(n, t)", "x", lambda d: (td.Gumbel(d.m, d.s), td.Gumbel(d.n, d.t), d.x)),
    "gamma": ("gamma(s, t)", "gamma(t, s)", "exp(x)", lambda d: (td.Gamma(d.s, d.t), td.Gamma(d.t, d.s), d.x.exp())),
    "beta": ("beta(s, t)", "beta(t, s)", "sigmoid(x)", lambda d: (td.Beta(d.s, d.t), td.Beta(d.t, d.s), d.x.sigmoid())),
    "dirichlet": ("dirichlet(c)", "dirichlet(e)", "softmax(w, axis = -1)",
                  lambda d: (td.Dirichlet(d.c), td.Dirichlet(d.e), d.w.softmax(-1))),
    "multivariate_normal": ("multivariate_normal(z, f @ f.T + eye(4))", "multivariate_normal(y[0], eye(4))", "w",
                            lambda d: (td.MultivariateNormal(d.z, d.f @ d.f.T + EYE), td.MultivariateNormal(d.y[0], EYE), d.w)),
    "a_covariance_each": ("multivariate_normal(z, h @ transposed(h) + eye(4))", "multivariate_normal(y, f @ f.T + eye(4))", "w",
                          lambda d: (td.MultivariateNormal(d.z, d.h @ d.h.mT + EYE), td.MultivariateNormal(d.y, d.f @ d.f.T + EYE), d.w)),
}  # fmt: skip
ASKED = {
    "log_prob(p, {x})": lambda p, q, x: p.log_prob(x),
    "entropy(p)": lambda p, q, x: p.entropy(),
    "kl(p, q)": lambda p, q, x: td.kl_divergence(p, q),
    "mean(p)": lambda p, q, x: p.mean,
    "var(p)": lambda p, q, x: p.variance,
}
UNKNOWN = {("categorical", "mean(p)"), ("categorical", "var(p)"), ("dirichlet", "var(p)"), ("multivariate_normal", "var(p)"),
           ("a_covariance_each", "var(p)")}  # fmt: skip
CASES = [(family, asked) for family in FAMILIES for asked in ASKED if (family, asked) not in UNKNOWN]


def example(number: int, family: str, asked: str) -> str:
    p, q, x, _ = FAMILIES[family]
    vectors = asked == "mean(p)" and family in ("dirichlet", "multivariate_normal", "a_covariance_each")
    weight = "weight[:, None]" if vectors else "weight"
    lines = [f"p = {p}", f"q = {q}", f"return sum({asked.format(x=x)} * {weight})"]
    return f"\nexample e{number}:{PARAMETERS}" + "".join(f"    {line}\n" for line in lines)


KNOWN = Spec(
    "def transposed(h: [n, a, b]) -> [n, b, a]:\n    swapped[i, k, j] = h[i, j, k]\n    return swapped\n\n"
    + "".join(example(i, *case) for i, case in enumerate(CASES))
)


class Parameters:
    """What an example drew; of what it did not need, some."""

    def __init__(self, drawn):
        self.drawn = drawn

    def __getattr__(self, name: str) -> torch.Tensor:
        shape = {"label": (3, 6), "yes": (3, 6), "x": (3, 6), "w": (3, 6, 4), "f": (4, 4), "h": (6, 4, 4)}
        some = torch.full(shape.get(name, (6, 4) if name in "zyce" else (6,)), 0.5, dtype=torch.float64)
        return self.drawn[name] if name in self.drawn else some.softmax(-1) if name == "w" else some


@pytest.mark.parametrize("number", range(len(CASES)), ids=["-".join(c).partition("(")[0] for c in CASES])
def test_what_is_known(number: int) -> None:
    family, asked = CASES[number]

    def reference(drawn) -> torch.Tensor:
        d = Parameters(drawn)
        found = ASKED[asked](*FAMILIES[family][3](d))
        return (found * (d.weight[:, None] if found.shape[-1] == 4 else d.weight)).sum()

    KNOWN.hold(f"e{number}", reference, 1e-8)


# ---- truncated normal, which torch lacks

CUT = Spec("""
def known(x: [n], center: [n], scale: [n], low: [n], high: [n]):
    p = truncated_normal(center, scale, low, high)
    return log_prob(p, x), entropy(p), mean(p), var(p), kl(p, truncated_normal(0.1, 3, -9, 9)), kl(p, truncated_normal(center, scale, low + 0.1, high))
""")


@pytest.mark.parametrize("column", ["numpy", "torch"])
def test_truncated_normal(column: str) -> None:
    rng = np.random.default_rng(0)
    center, scale = rng.normal(size=5), rng.uniform(0.5, 2, 5)
    low, high = rng.uniform(-2, -0.5, 5), rng.uniform(0, 2, 5)
    x = center + scale * (low + high) / 2
    given = CUT.call("known", column, x=x, center=center, scale=scale, low=low, high=high).values()
    p = stats.truncnorm(low, high, center, scale)
    apart = [
        stats.truncnorm(a, b, c, s).expect(lambda v: stats.norm.logpdf(v, 0.1, 3))
        for a, b, c, s in zip(low, high, center, scale)
    ]
    q_inside = math.log(stats.norm.cdf(9) - stats.norm.cdf(-9))
    wanted = [p.logpdf(x), p.entropy(), p.mean(), p.var(), -p.entropy() - np.array(apart) + q_inside]
    for name, ours, theirs in zip(("log_prob", "entropy", "mean", "var", "kl"), given, wanted):
        agree(name, ours, theirs, 1e-8)
    *_, outside = CUT.call("known", column, x=x, center=center, scale=scale, low=low, high=high).values()
    assert np.isinf(np.asarray(outside)).all()


# ---- draws

COUNT = 20_000
DRAWN = {
    "normal(1, 2)": stats.norm(1, 2),
    "uniform(-1, 3)": stats.uniform(-1, 4),
    "laplace(1, 2)": stats.laplace(1, 2),
    "gumbel(1, 2)": stats.gumbel_r(1, 2),
    "truncated_normal(1, 2)": stats.truncnorm(-2, 2, 1, 2),
    "truncated_normal(0, 1, 0.5, 4)": stats.truncnorm(0.5, 4),
    "gamma(0.3, 2)": stats.gamma(0.3, scale=0.5),
    "gamma(1, 1)": stats.gamma(1),
    "gamma(7.5, 0.5)": stats.gamma(7.5, scale=2),
    "beta(0.5, 0.7)": stats.beta(0.5, 0.7),
    "beta(4, 2)": stats.beta(4, 2),
}
DRAWS = Spec(
    "".join(f"\nexample e{i}:\n    x: [{COUNT}] ~ {text}\n    return sum(x)\n" for i, text in enumerate(DRAWN))
)


@pytest.mark.parametrize("number", range(len(DRAWN)), ids=list(DRAWN))
def test_draws(number: int) -> None:
    """Kolmogorov and Smirnov find nothing, and mean and variance are within five standard errors."""
    x, law = DRAWS.draws(f"e{number}")["x"], list(DRAWN.values())[number]
    assert stats.kstest(x, law.cdf).pvalue > 0.001
    fourth = 3 + float(law.stats("k"))
    assert abs(x.mean() - law.mean()) < 5 * law.std() / math.sqrt(COUNT)
    assert abs(x.var() - law.var()) < 5 * law.var() * math.sqrt((fourth - 1) / COUNT)


CLASSES = Spec(f"""
example classes:
    logits = tensor([0.0, 1.0, -1.0, -inf, 2.0])
    label: int[{COUNT}] ~ categorical(logits)
    truth: bool[{COUNT}] ~ bernoulli(0.3)
    die: int[{COUNT}] ~ randint(1, 7)
    some: int[3] ~ choice(5, replace = false)
    shares: [{COUNT}, 3] ~ dirichlet(tensor([0.5, 1.0, 4.0]))
    factor = tensor([[2.0, 0.0], [1.0, 0.5]])
    pair: [{COUNT}, 2] ~ multivariate_normal(tensor([1.0, -1.0]), factor @ factor.T)
    tall: [5, 3] ~ orthogonal()
    wide: [3, 5] ~ orthogonal(2)
    return float(sum(label) + sum(int(truth)) + sum(die) + sum(some)) + sum(shares) + sum(pair) + sum(tall) + sum(wide)
""")


POINTS = Spec("""
from std.nn import MLP

example direction:
    net = MLP((30, 60, 20))
    v ~ normal_like(net)
    return sum(v * net)
""")


def test_draws_of_points() -> None:
    """A direction in the space of a net's parameters: one standard normal vector for all of them."""
    drawn = POINTS.results("direction")
    (slopes,) = (v for k, v in drawn.items() if k != "value")  # of v · net by net, which are v
    assert {k: v.shape for k, v in slopes.items()} == {
        "layers.0.w": (30, 60), "layers.0.b": (60,), "layers.1.w": (60, 20), "layers.1.b": (20,)
    }  # fmt: skip
    every = np.concatenate([v.ravel() for v in slopes.values()])
    assert stats.kstest(every, "norm").pvalue > 0.001 and len(set(every)) == len(every)


def test_draws_of_classes_and_vectors() -> None:
    d = CLASSES.draws("classes")
    p = special.softmax([0, 1, -1, -np.inf, 2])
    counts = np.bincount(d["label"], minlength=5)
    assert counts[3] == 0
    assert stats.chisquare(counts[p > 0], COUNT * p[p > 0]).pvalue > 0.001
    assert d["truth"].dtype == bool and stats.binomtest(int(d["truth"].sum()), COUNT, 0.3).pvalue > 0.001
    assert stats.chisquare(np.bincount(d["die"])[1:]).pvalue > 0.001
    assert len(set(d["some"])) == 3 and set(d["some"]) <= set(range(5))
    for k, a in enumerate((0.5, 1.0, 4.0)):
        assert stats.kstest(d["shares"][:, k], stats.beta(a, 5.5 - a).cdf).pvalue > 0.001
    agree("shares add up", d["shares"].sum(axis=1), np.ones(COUNT))
    white = np.linalg.solve([[2, 0], [1, 0.5]], (d["pair"] - [1, -1]).T)
    assert all(stats.kstest(row, "norm").pvalue > 0.001 for row in white) and abs(
        np.mean(white[0] * white[1])
    ) < 5 / math.sqrt(COUNT)
    agree("columns at right angles", d["tall"].T @ d["tall"], np.eye(3))
    agree("rows at right angles", d["wide"] @ d["wide"].T, 4 * np.eye(3))


@pytest.mark.parametrize("example", ["classes"])
def test_integers_are_equal_on_both_back_ends(example: str) -> None:
    found = {column: {} for column in ("numpy", "torch")}
    for column, kept in found.items():
        CLASSES.results(
            example, 0, column, lambda f, e, values, kept=kept: kept.update(zip((v.name for v in e.results), values))
        )
    for name in ("label", "truth", "die", "some"):
        assert np.array_equal(found["numpy"][name], np.asarray(found["torch"][name])), name


# ---- gradients through draws

MOVED = Spec("""
example drawn:
    m: [4] ~ normal(0, 1)
    s: [4] ~ uniform(0.5, 2)
    a ~ normal(m, s)
    b ~ laplace(m, s)
    c ~ gumbel(m, s)
    d ~ uniform(m, m + s)
    e ~ truncated_normal(m, s, -1, 2)
    return sum(a ** 2) + sum(b ** 2) + sum(c ** 2) + sum(d ** 2) + sum(e ** 2)

def sloped(x: [n], a: [n]) -> [n]:
    return gamma_slope(x, a)

example positive:
    a: [200] ~ uniform(0.05, 12)
    x ~ gamma(a, 2)
    return sum(x)
""".replace("example drawn", "from std.distributions import gamma_slope\n\nexample drawn", 1))


def test_draws_move_with_place_and_width() -> None:
    """A draw is m + s · noise, so its slope by m is 1 and by s the noise."""
    d, given = MOVED.draws("drawn"), MOVED.results("drawn")
    noise = {n: (d[n] - d["m"]) / d["s"] for n in "abcde"}
    agree("by m", given["d_m"], sum(2 * d[n] for n in "abcde"))
    agree("by s", given["d_s"], sum(2 * d[n] * noise[n] for n in "abcde"))


def test_gamma_draws_move_with_their_concentration() -> None:
    """The rank of a draw stays: the slope is that of the inverse of SciPy's incomplete gamma function."""
    d, given, step = MOVED.draws("positive"), MOVED.results("positive"), 1e-6
    a, x = d["a"], 2 * d["x"]
    rank = special.gammainc(a, x)
    slope = (special.gammaincinv(a * (1 + step), rank) - special.gammaincinv(a * (1 - step), rank)) / (2 * a * step)
    sure = (rank > 1e-4) & (rank < 1 - 1e-4)
    assert sure.sum() > 190
    agree("by the concentration", given["d_a"][sure], slope[sure] / 2, 1e-6)


@pytest.mark.parametrize("column", ["numpy", "torch"])
def test_slopes_of_large_and_small_concentrations(column: str) -> None:
    a = np.array([1e-3, 0.1, 1.0, 30.0, 1000.0, 1e4])
    x = np.array([1e-12, 0.05, 3.0, 20.0, 1080.0, 9.9e3])
    theirs = torch._standard_gamma_grad(torch.tensor(a), torch.tensor(x)).numpy()
    assert np.allclose(MOVED.value("sloped", column, 1, x=x, a=a), theirs, rtol=2e-3)


# ---- draws stay what they are when something else changes (R24)

EDITED = """
from std.nn import Dropout, Linear


def noisy(x: [n]) -> [n]:
    e: [n] ~ normal(0, 1)
    return x + e


def walked(x: [n], steps) -> [n]:
    for step in steps:
        e: [n] ~ normal(0, 1)
        x = x + e
    return x


model Net(d):
    first = Linear(d, 3)
    drop = Dropout(0.5)

    def forward(x: [n, d]) -> [n, 3]:
        return drop(first(x))


example drawn:
    net = Net(4)
    x: [5] ~ gamma(2, 1)
    label: int[5] ~ categorical(zeros([5, 3]))
    far = walked(noisy(x), 3)
    y = net(ones([2, 4]), training = true)
    return x, label, far, y, net.first.w, noisy(x)
"""
EDITS = {
    "another statement": ("    x: [5] ~ gamma", "    u: [7] ~ normal(0, 1)\n    v = noisy(u)\n    x: [5] ~ gamma"),
    "a new layer": ("    drop = Dropout(0.5)\n", "    second = Linear(d, d)\n    drop = Dropout(0.5)\n"),
    "a new loop": ("    far = ", "    for i in 4:\n        z: [2] ~ normal(0, 1)\n    far = "),
    "another rank elsewhere": (
        "    net = Net(4)",
        "    other = Dropout(0.1)(ones([2]), training = true)\n    net = Net(4)",
    ),
    "another name": ("label", "named"),
    "another use": ("example drawn", "example another:\n    return sum(noisy(arange(3)))\n\n\nexample drawn"),
    "a declaration before": (
        "model Net",
        "def Noise(x: [n]) -> [n]:\n    e: [n] ~ normal(0, 1)\n    return e\n\n\nmodel Net",
    ),
}


def drawn(text: str, level: int) -> list[np.ndarray]:
    return [np.asarray(v) for k, v in Spec(text).results("drawn", level).items() if not k.startswith("d_")]


@pytest.mark.parametrize("edit", EDITS)
def test_draws_survive_edits(edit: str) -> None:
    before, after = EDITS[edit]
    assert before in EDITED
    old, new = drawn(EDITED, 1), drawn(EDITED.replace(before, after), 1)
    assert len(old) == len(new) == 6
    different = [k for k, (a, b) in enumerate(zip(old, new)) if not np.array_equal(a, b)]
    assert different == ([1] if edit == "another name" else []), "what is renamed is drawn anew, and nothing else"


@pytest.mark.parametrize("level", (0, 2))
def test_draws_survive_levels(level: int) -> None:
    for ours, theirs in zip(drawn(EDITED, level), drawn(EDITED, 1), strict=True):
        assert (
            np.array_equal(ours, theirs) if ours.dtype.kind in "ib" else np.allclose(ours, theirs, rtol=1e-12, atol=0)
        )
