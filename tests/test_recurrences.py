"""Recurrences (R14, R15): every kind of loop against the loop written in torch, value and gradients, in both programs."""

from __future__ import annotations

import tracemalloc
from functools import cache

import numpy as np
import pytest
import torch
from against import Draws, Spec

import leec

TEXT = """
model LSTM(inputs, hidden):
    param wx: [4, inputs, hidden] ~ uniform(-0.5, 0.5)
    param wh: [4, hidden, hidden] ~ uniform(-0.5, 0.5)
    param b: [4, hidden] ~ normal(0, 1)

    def forward(x: [n, time, inputs]) -> [n, time, hidden]:
        h = zeros([n, hidden])
        c = zeros([n, hidden])
        for t in time:
            z[g, n, j] = sum[i](x[n, t, i] * wx[g, i, j]) + sum[k](h[n, k] * wh[g, k, j]) + b[g, j]
            c = sigmoid(z[1]) * c + sigmoid(z[0]) * tanh(z[2])
            h = sigmoid(z[3]) * tanh(c)
            out[:, t] = h
        return out

example lstm:
    net = LSTM(3, 4)
    x: [2, 5, 3] ~ normal(0, 1)
    return mean(net(x) ** 2)

example reads_backwards:
    net = LSTM(3, 4)
    x: [2, 5, 3] ~ normal(0, 1)
    return mean(reverse(net(reverse(x, axis = 1)), axis = 1)[:, 0] ** 2)

def discounted(reward: [time], rate) -> [time]:
    g = 0
    for t in reversed(time):
        g = reward[t] + rate * g
        out[t] = g
    return out

example returns:
    r: [6] ~ normal(0, 1)
    return sum(discounted(r, 0.9) ** 2)

example one_round:
    r: [1] ~ normal(0, 1)
    return sum(discounted(r, 0.9) ** 2)

def nested(x: [n, m]) -> [n, m]:
    s = 0
    for i in n:
        for j in m:
            s = 0.5 * s + sin(x[i, j])
            out[i, j] = s
    return out

example two_loops:
    x: [3, 4] ~ normal(0, 1)
    return mean(nested(x) ** 2)

def neighbours(x: [n]) -> []:
    total = 0
    for i in 1..n - 1:
        total = total + x[i] * x[i - 1] * i
    return total

example from_one:
    x: [6] ~ normal(0, 1)
    return neighbours(x)

def until(x: [n], limit) -> []:
    total = 0
    for i in n:
        if total > limit:
            break
        total = total + x[i] ** 2
    return total

example breaks_off:
    x: [9] ~ normal(0, 1)
    return until(x, 2.0)

def powers(a: [d, d], x: [d], steps) -> [d]:
    for s in steps:
        x = a @ x
    return x

example slope_of_slope:
    a: [3, 3] ~ normal(0, 1)
    x: [3] ~ normal(0, 1)
    y = sum(powers(a, x, 9) ** 2)
    return sum(grad(y, x) ** 2)

model Twice(d):
    state count: [] = 0
    param w: [d] ~ normal(0, 1)

    def forward(x: [n, d]) -> [n]:
        return x @ w

example model_in_a_loop:
    net = Twice(3)
    x: [4, 2, 3] ~ normal(0, 1)
    total = 0
    for t in 4:
        total = total + net(x[t])
        out[t] = total
    return mean(out ** 2)

def adapted(net, x: [n, d], y: [n], steps, rate):
    for s in steps:
        net = net - rate * grad(mean((net(x) - y) ** 2), net)
    return net

model Curve(d, k):
    param u: [d, k] ~ normal(0, 1)
    param v: [k] ~ normal(0, 1)

    def forward(x: [n, d]) -> [n]:
        return tanh(x @ u) @ v

example meta_gradient:
    net = Curve(3, 4)
    x: [5, 3] ~ normal(0, 1)
    y: [5] ~ normal(0, 1)
    z: [6, 3] ~ normal(0, 1)
    return mean(adapted(net, x, y, 9, 0.1)(z) ** 2)

model Norm(d, rounds):
    param w: [d, d] ~ normal(0, 1)
    state v: [d] ~ normal(0, 1)
    state calls: [] = 0

    def forward(x: [n, d]) -> [n, d]:
        for i in rounds:
            v <- (stop(w) @ v) / norm(stop(w) @ v)
            calls <- calls + 1
        return calls * x @ (w / norm(w @ v))

def applied(net, x: [time, n, d]) -> []:
    total = 0
    for t in time:
        total = total + mean(net(x[t]) ** 2)
    return total

example states_in_loops:
    net = Norm(3, 2)
    x: [9, 4, 3] ~ normal(0, 1)
    return applied(net, x)

def collatz(n: int[]) -> int[]:
    steps = 0
    while n != 1:
        n = where(n % 2 == 0, n // 2, 3 * n + 1)
        steps = steps + 1
    return steps

example goes_on:
    return collatz(int(27))

def halves(limit) -> []:
    more = true
    s = 0
    while more:
        s = s + 0.5
        more = s < limit
    return s

example widens:
    return halves(2.75)

def doubled(key_of: [n], limit) -> ([], int[]):
    s = sum(abs(key_of))
    rounds = 0
    while s < limit and rounds < 50:
        e: [n] ~ uniform(0, 1)
        s = s + sum(e)
        rounds += 1
    return s, rounds

example draws_while:
    x: [3] ~ normal(0, 1)
    s, rounds = doubled(x, 40.0)
    return float(rounds)

def mean_inside(x: [n, time], lengths: int[n]) -> ([], []):
    return sum[r, t in lengths[r]](x[r, t]) / sum(lengths), mean[r, t in lengths[r]](x[r, t] ** 2)

example ranges_of_ranges:
    x: [3, 5] ~ normal(0, 1)
    lengths: int[3] ~ randint(1, 6)
    a, b = mean_inside(x, lengths)
    return a ** 2 + b

example never:
    x: [0, 3] ~ normal(0, 1)
    h = ones([3])
    for t in 0:
        h = h * x[t]
        out[t] = h
    return sum(h) + sum(out)
"""


@cache
def spec() -> Spec:
    return Spec(TEXT)


def lstm(net: Draws, x: torch.Tensor) -> torch.Tensor:
    h = c = torch.zeros(len(x), net.b.shape[1], dtype=x.dtype)
    rows = []
    for t in range(x.shape[1]):
        i, f, g, o = (
            torch.einsum("ni,gij->gnj", x[:, t], net.wx) + torch.einsum("nk,gkj->gnj", h, net.wh) + net.b[:, None]
        )
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        rows.append(h)
    return torch.stack(rows, 1)


def discounted(r: torch.Tensor) -> torch.Tensor:
    g, rows = torch.zeros((), dtype=r.dtype), []
    for x in r.flip(0):
        g = x + 0.9 * g
        rows.append(g)
    return torch.stack(rows)


def two_loops(d: Draws) -> torch.Tensor:
    s, rows = 0, []
    for x in d.x.reshape(-1):
        s = 0.5 * s + x.sin()
        rows.append(s)
    return torch.stack(rows).square().mean()


def breaks_off(d: Draws) -> torch.Tensor:
    total = torch.zeros((), dtype=d.x.dtype)
    for x in d.x:
        if total > 2.0:
            break
        total = total + x**2
    return total


def meta_gradient(d: Draws) -> torch.Tensor:
    u, v = d.net.u, d.net.v
    for _ in range(9):
        loss = ((d.x @ u).tanh() @ v - d.y).square().mean()
        du, dv = torch.autograd.grad(loss, (u, v), create_graph=True)
        u, v = u - 0.1 * du, v - 0.1 * dv
    return ((d.z @ u).tanh() @ v).square().mean()


def states_in_loops(d: Draws) -> torch.Tensor:
    w, v, total = d.net.w, d.net.v.detach(), 0
    for t, x in enumerate(d.x, 1):
        for _ in range(2):
            v = (w @ v / (w @ v).norm()).detach()
        total = total + (2 * t * x @ (w / (w @ v).norm())).square().mean()
    return total


def slope_of_slope(d: Draws) -> torch.Tensor:
    y = (torch.linalg.matrix_power(d.a, 9) @ d.x).square().sum()
    return torch.autograd.grad(y, d.x, create_graph=True)[0].square().sum()


def ranges_of_ranges(d: Draws) -> torch.Tensor:
    inside = torch.cat([row[:n] for row, n in zip(d.x, d.lengths, strict=True)])
    return inside.mean() ** 2 + inside.square().mean()


REFERENCES = {
    "lstm": lambda d: lstm(d.net, d.x).square().mean(),
    "reads_backwards": lambda d: lstm(d.net, d.x.flip(1))[:, -1].square().mean(),
    "returns": lambda d: discounted(d.r).square().sum(),
    "one_round": lambda d: d.r.square().sum(),
    "two_loops": two_loops,
    "from_one": lambda d: (d.x[1:] * d.x[:-1] * torch.arange(1, 6)).sum(),
    "breaks_off": breaks_off,
    "slope_of_slope": slope_of_slope,
    "model_in_a_loop": lambda d: (d.x @ d.net.w).cumsum(0).square().mean(),
    "meta_gradient": meta_gradient,
    "states_in_loops": states_in_loops,
    "goes_on": lambda d: torch.tensor(111),
    "widens": lambda d: torch.tensor(3.0),
    "ranges_of_ranges": ranges_of_ranges,
    "never": lambda d: torch.tensor(3.0, dtype=torch.float64) + 0 * d.x.sum(),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_as_the_loop_in_torch(name: str) -> None:
    spec().hold(name, REFERENCES[name])


def test_the_emitted_programs_agree() -> None:
    report = leec.verify(TEXT, dtypes=("f64",))
    assert report.ok, report


def test_the_loop_is_written_once() -> None:
    """A loop over a size is a loop in generated code, however long."""
    files = leec.compile(TEXT).files
    for text in files.values():
        assert "for t in range(time):" in text and "for t in reversed(range(time)):" in text


# ---- gradients that compute their rounds again


@cache
def recomputing() -> Spec:
    return Spec(TEXT, recompute="always")


@pytest.mark.parametrize("name", REFERENCES)
def test_recomputed_as_the_loop_in_torch(name: str) -> None:
    recomputing().hold(name, REFERENCES[name])


def test_the_emitted_programs_agree_where_rounds_are_computed_again() -> None:
    report = leec.verify(TEXT, recompute="always", dtypes=("f64",))
    assert report.ok, report


CHAIN = """
def chain(x: [d], w: [d]) -> []:
    h = x
    for t in 1..{rounds}:
        h = tanh(h * w)
    return sum(h)

def slope(x: [d], w: [d]) -> [d]:
    return grad(chain(x, w), w)
"""


@pytest.mark.parametrize("rounds", [400, 401, 1000])
def test_recomputing_keeps_a_few_roots_of_the_carries(rounds: int) -> None:
    """At most 3 √T carries at a time, temporaries included, where keeping all takes T; the gradient is the same."""
    x, w = np.random.default_rng(0).uniform(0.5, 1.5, (2, 20_000))
    peaks, slopes = {}, {}
    for recompute in ("never", "always"):
        slope = leec.load(CHAIN.format(rounds=rounds), dtype="f64", recompute=recompute).numpy.slope
        tracemalloc.start()
        slopes[recompute] = slope(x, w)
        peaks[recompute] = tracemalloc.get_traced_memory()[1] / x.nbytes
        tracemalloc.stop()
    np.testing.assert_allclose(slopes["always"], slopes["never"], rtol=1e-12)
    assert peaks["always"] <= 3 * rounds**0.5 < rounds <= peaks["never"]


NAMES = """
def named(x: [begin], w: [begin], segment: [begin]) -> []:
    h = x
    for t in 1..12:
        h = tanh(h * w + segment)
    return sum(h)

example names_of_the_spec:
    x: [5] ~ normal(0, 1)
    w: [5] ~ normal(0, 1)
    s: [5] ~ normal(0, 1)
    return named(x, w, s)
"""


def test_stretches_take_no_name_of_the_spec() -> None:
    report = leec.verify(NAMES, recompute="always", dtypes=("f64",))
    assert report.ok, report


def test_loops_that_keep_little_are_left_alone() -> None:
    """`auto` divides a loop only where its rounds are known to keep more than a gigabyte."""
    small, large = (CHAIN.replace("[d]", f"[{d}]").format(rounds=200) for d in (1000, 10**7))
    assert "segment" not in leec.compile(small).files["reference.py"]
    assert "segment" in leec.compile(large).files["reference.py"]
    assert "segment" not in leec.compile(large, recompute="never").files["reference.py"]
