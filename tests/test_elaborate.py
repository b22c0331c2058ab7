"""What the language means, rule by rule: small defs against loops written out in Python, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import leec
from leec import driver
from leec.diagnostics import Source
from leec.passes.differentiate import differentiate
from leec.proof.interpret import run
from leec.runtime.faults import RuntimeFault

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))
W = RNG.normal(size=(4, 5))
V = RNG.normal(size=4)
K = RNG.integers(0, 4, 3)
LENGTHS = np.array([0, 2, 4])
IMAGE = RNG.normal(size=(2, 3, 6, 5))
KERNEL = RNG.normal(size=(4, 3, 2, 2))


@dataclass(frozen=True)
class Case:
    rule: str
    spec: str
    arguments: dict
    expected: Callable


def table(*indices: int, of: Callable) -> np.ndarray:
    """The array whose entry at every setting of the indices is what a function of them gives."""
    return np.array([of(*i) for i in np.ndindex(*indices)]).reshape(indices)


CASES = (
    Case("a product of matrices", "def f(x: [n, d], w: [d, k]):\n    y[i, j] = sum[a](x[i, a] * w[a, j])\n    return y",
         {"x": X, "w": W}, lambda: X @ W),
    Case("R1: bound names are positions", "def f(x: [n, d]):\n    i = 1\n    y[j] = x[i, j] * 2\n    return y",
         {"x": X}, lambda: X[1] * 2),
    Case("R2: a window solves its index", "def f(x: [n, d]):\n    y[b, i] = sum[u in 2](x[b, 2*i + u])\n    return y",
         {"x": X}, lambda: X.reshape(3, 2, 2).sum(2)),
    Case("R2: convolution", "def f(x: [n, c, h, w], k: [o, c, a, b]):\n    y[n, o, i, j] = sum[c, u, v](x[n, c, 2*i + u, j + v] * k[o, c, u, v])\n    return y",
         {"x": IMAGE, "k": KERNEL},
         lambda: table(2, 4, 3, 4, of=lambda n, o, i, j: (IMAGE[n, :, 2 * i : 2 * i + 2, j : j + 2] * KERNEL[o]).sum())),
    Case("R3: a guard keeps subscripts inside", "def f(x: [n, d]):\n    y[i, c in d] = where(c > 0, x[i, c - 1], 7.0)\n    return y",
         {"x": X}, lambda: np.concatenate([np.full((3, 1), 7.0), X[:, :-1]], 1)),
    Case("R4: a range that depends on another index", "def f(x: [n, d], lengths: int[n]):\n    y[i] = sum[t in lengths[i]](x[i, t])\n    return y",
         {"x": X, "lengths": LENGTHS}, lambda: table(3, of=lambda i: X[i, : LENGTHS[i]].sum())),
    Case("R4: max ignores what lies outside", "def f(x: [n, d], lengths: int[n]):\n    y[i] = max[t in lengths[i]](x[i, t])\n    return y",
         {"x": X, "lengths": LENGTHS}, lambda: table(3, of=lambda i: X[i, : LENGTHS[i]].max(initial=-math.inf))),
    Case("R4: mean divides by the length", "def f(x: [n, d], lengths: int[n]):\n    y[i] = mean[t in lengths[i]](x[i, t])\n    return y",
         {"x": X, "lengths": LENGTHS + 1 - (LENGTHS == 4)}, lambda: table(3, of=lambda i: X[i, : [1, 3, 4][i]].mean())),
    Case("a gather", "def f(x: [n, d], k: int[n]):\n    y[i] = x[i, k[i]]\n    return y",
         {"x": X, "k": K}, lambda: X[np.arange(3), K]),
    Case("a gather of rows", "def f(w: [d, k], i: int[n]):\n    return w[i]",
         {"w": W, "i": K}, lambda: W[K]),
    Case("R2: an explicit range may be a part of an axis", "def f(x: [n, d], s: [k]):\n    y[i, j in k] = x[i, j] * s[j]\n    return y",
         {"x": X, "s": V[:2]}, lambda: X[:, :2] * V[:2]),
    Case("a comparison of indices", "def f(x: [n, n]):\n    y[i, j] = where(j <= i, x[i, j], 0.0)\n    return y",
         {"x": X[:, :3]}, lambda: np.tril(X[:, :3])),
    Case("a one-hot table", "def f(k: int[n], x: [n, d]):\n    y[i, c in d] = float(k[i] == c)\n    return y",
         {"k": K, "x": X}, lambda: np.eye(4)[K]),
    Case("decision 9: scatter by +=", "def f(x: [n, d]):\n    y: [n, 2*d + 1] = 0\n    y[i, 2*j + u] += x[i, j] * ones([2])[u]\n    return y",
         {"x": X}, lambda: table(3, 9, of=lambda i, p: sum(X[i, j] for j in range(4) for u in range(2) if 2 * j + u == p))),
    Case("a diagonal", "def f(x: [n, n]):\n    y[i] = x[i, i]\n    return y", {"x": X[:, :3]}, lambda: np.diag(X[:, :3])),
    Case("an index that nothing else holds counts", "def f(x: [n, d]):\n    return sum[i in n, j in d](1.0)", {"x": X}, lambda: 12.0),
    Case("R17: int with float", "def f(x: [n, d], k: int[n]):\n    return sum(x, axis = 1) * k / 2", {"x": X, "k": K}, lambda: X.sum(1) * K / 2),
    Case("R17: the mean of a comparison", "def f(x: [n, d]):\n    return mean(x > 0)", {"x": X}, lambda: (X > 0).mean()),
    Case("R17: floor division", "def f(k: int[n]):\n    return k // 2, k % 2, -k // 2", {"k": K}, lambda: (K // 2, K % 2, -K // 2)),
    Case("R18: chains", "def f(x: [n, d]):\n    return float(0 < x < 1 or not x > -1)", {"x": X}, lambda: (((X > 0) & (X < 1)) | (X <= -1)) * 1.0),
    Case("R23: a def applied entry by entry has names of its own",
         "def g(x, u):\n    i = u + 1\n    return x * i\n\ndef f(x: [n, d]):\n    y[i, v in 2] = sum[u](g(x[i, u], v)) + g(x[i, 0], i)\n    return y",
         {"x": X}, lambda: table(3, 2, of=lambda i, v: X[i].sum() * (v + 1) + X[i, 0] * (i + 1))),
    Case("concat and stack along an axis", "def f(x: [n, d], v: [d]):\n    w = v + 1\n    return concat(x, x + 1, axis = -1), concat(v, w), stack(v, w, axis = 1), stack((v, w))",
         {"x": X, "v": V}, lambda: (np.concatenate([X, X + 1], 1), np.concatenate([V, V + 1]), np.stack([V, V + 1], 1), np.stack([V, V + 1]))),
    Case("R20: by axis, name, and with kept dims", "def f(x: [n, d]):\n    return sum(x, axis = 0), mean(x, over = d), max(x, axis = 1, keepdims = true)",
         {"x": X}, lambda: (X.sum(0), X.mean(1), X.max(1, keepdims=True))),
    Case("a pack is any leading dims", "def g(x: [.., d], v: [d]) -> [..]:\n    return x @ v\n\ndef f(x: [n, c, d], v: [d]):\n    return g(x, v)",
         {"x": RNG.normal(size=(2, 3, 4)), "v": V}, None),
    Case("decision 46: a pack in entries", "def g(x: [n, c, ..], s: [c]) -> [n, c, ..]:\n    y[n, c, ..] = x[n, c, ..] * s[c]\n    return y\n\ndef f(x: [n, c, h, w], s: [c]):\n    return g(x, s)",
         {"x": IMAGE, "s": V[:3]}, lambda: IMAGE * V[:3, None, None]),
    Case("decision 7: a def that calls itself", "def g(x, depth):\n    if depth == 0:\n        return x\n    return g(x, depth - 1) + g(2 * x, depth - 1)\n\ndef f(x: [n]):\n    return g(x, 3)",
         {"x": V}, lambda: 27 * V),
    Case("a nested def captures", "def f(x: [n, d], v: [d]):\n    s = 2.0\n    def g(y):\n        return y @ v * s + n\n    v = v + 1\n    return g(x)",
         {"x": X, "v": V}, lambda: X @ V * 2 + 3),
    Case("a def is returned with what it captured", "def line(w, b):\n    def at(x):\n        return x @ w + b\n    return at\n\ndef f(x: [n, d], v: [d]):\n    first, second = line(v, 1.0), line(2 * v, 0.0)\n    return first(x) * second(x)",
         {"x": X, "v": V}, lambda: (X @ V + 1) * 2 * (X @ V)),
    Case("a def is passed on with what it captured", "def twice(g, x):\n    return g(g(x))\n\ndef f(x: [n, d], v: [d]):\n    def g(y):\n        return y * v\n    return twice(g, x) + grad(sum(twice(g, x)), v)",
         {"x": X, "v": V}, lambda: X * V**2 + 2 * V * X.sum(0)),
    Case("a nested def in a loop", "def f(x: [n, d], v: [d]):\n    def g(y, t):\n        return tanh(y * v) + t\n    for t in n:\n        x = g(x, t)\n    return x",
         {"x": X, "v": V}, lambda: np.tanh((np.tanh((np.tanh(X * V)) * V) + 1) * V) + 2),
    Case("structural if", "def g(x: [n], twice = false):\n    if twice:\n        return 2 * x\n    return x\n\ndef f(x: [n]):\n    return g(x, twice = true) - g(x)",
         {"x": V}, lambda: V),
    Case("None is a value", "def g(x: [n], mask = None):\n    if mask is None:\n        return x\n    return where(mask, x, 0)\n\ndef f(x: [n]):\n    return g(x) + g(x, x > 0)",
         {"x": V}, lambda: V + np.where(V > 0, V, 0)),
    Case("a run-time scalar selects", "def f(x: [n]):\n    if sum(x) > 0:\n        y = x\n    else:\n        y = -x\n    return y", {"x": V}, lambda: V * np.sign(V.sum())),
    Case("a loop over a tuple is unrolled", "def f(x: [n]):\n    for a in (1.0, 2.0, 3.0):\n        x = x * a\n    return x", {"x": V}, lambda: 6 * V),
    Case("R6: the current version", "def f(x: [n]):\n    y = sum(x ** 3)\n    return grad(y, x)", {"x": V}, lambda: 3 * V**2),
    Case("the Jacobian at a point that is written out", "def f(s: []):\n    x = tensor([1.0, 3.0])\n    return jacobian(s * x ** 2, x)",
         {"s": np.float64(2.0)}, lambda: np.diag([4.0, 12.0])),
    Case("R6: twice", "def f(x: [n]):\n    g = grad(sum(x ** 3), x)\n    return grad(sum(g ** 2), x)", {"x": V}, lambda: 36 * V**3),
    Case("R6: fresh bindings of parameters", "def g(x: [n], y: [n]):\n    return grad(sum(x * y), x)\n\ndef f(z: [n]):\n    return g(z, z)", {"z": V}, lambda: V),
    Case("R7: graft", "def f(x: [n]):\n    return grad(sum(graft(x ** 2, 5 * x)), x)", {"x": V}, lambda: np.full(4, 5.0)),
    Case("R3: the branch not taken has gradient 0", "def f(x: [n]):\n    y = where(x > 0, x * log(x), 0)\n    return grad(sum(y), x)",
         {"x": np.array([2.0, 0.0, -1.0])}, lambda: np.array([math.log(2) + 1, 0, 0])),
    Case("slices and None", "def f(x: [n, d]):\n    return x[:, 1:] - x[:, :-1], x[0][None, :], x[.., -1]", {"x": X}, lambda: (np.diff(X), X[:1], X[:, -1])),
    Case("functional update", "def f(x: [n, d]):\n    x[:, 0] = 5.0\n    return x", {"x": X}, lambda: np.concatenate([np.full((3, 1), 5.0), X[:, 1:]], 1)),
    Case("two names for one part of a tuple", "def f(x: [n, d]):\n    t = (x + 1, x)\n    a = t[0]\n    b = t[0]\n    return a * b", {"x": X}, lambda: (X + 1) ** 2),
    Case("a def entry by entry", "def g(a, b = 2.0):\n    return a * b + 1\n\ndef f(x: [n, d]):\n    y[j, i] = g(x[i, j])\n    return y", {"x": X}, lambda: 2 * X.T + 1),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.rule)
@pytest.mark.parametrize("column", ["numpy", "torch"])
def test_rule(case: Case, column: str) -> None:
    module, diagnostics = driver.elaborate(Source("rule.lee", case.spec + "\n"))
    assert not driver.has_errors(diagnostics), diagnostics
    arguments = {n: as_array(v, column) for n, v in case.arguments.items()}
    found = list(run(differentiate(module.functions), "f", arguments, column=column).values())
    wanted = case.expected() if case.expected else case.arguments["x"] @ case.arguments["v"]
    for a, b in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-12, atol=1e-12)


def as_array(value: np.ndarray, column: str) -> object:
    if column == "numpy":
        return value
    return pytest.importorskip("torch").as_tensor(value)


# ---- sizes in procedures

RUNS = """
from std.data import batches, iris
from std.optim import SGD

model Line(d):
    param w: [d] = 0.5

    def forward(x: [n, d]) -> [n]:
        return x @ w

train noisy(size = 32):
    data = iris()
    net = Line(4)
    opt = SGD(lr = 0.01)
    for x, y in batches(data.train, size):
        noise: [x.dims[0], 4] ~ normal(0, 1)
        minimize mean(net(x + noise) ** 2) over net with opt
    return net

train crossed(size = 4):
    data = iris()
    net = Line(4)
    opt = SGD(lr = 0.01)
    for x, y in batches(data.train, size):
        minimize mean((net(x) + net.w) ** 2) over net with opt
    return net
"""


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_procedure_draws_as_many_as_a_batch_has_rows(backend: str) -> None:
    spec = leec.load(RUNS)
    net = spec.fit("noisy", backend=backend)
    assert spec.weights(net)["w"].shape == (4,)


def test_sizes_that_agree_by_chance_in_a_procedure_are_checked_at_entry() -> None:
    spec = leec.load(RUNS)
    spec.fit("crossed")  # 120 rows in batches of 4
    with pytest.raises(RuntimeFault, match="batches_n = 5 must equal 4"):
        spec.fit("crossed", size=5)


REACH = """
def part(x: [n, d], s: [k]) -> [n, k]:
    y[i, j in k] = x[i, j + 1] * s[j]
    return y
"""


def test_a_range_that_may_leave_an_axis_is_checked_at_entry() -> None:
    spec = leec.load(REACH)
    assert spec.numpy.part(X, V[:3]).shape == (3, 3)
    with pytest.raises(ValueError, match=r":3: j \+ 1 < d must hold: d = 4, k = 4"):
        spec.numpy.part(X, V)
    required = leec.load(REACH.replace("    y[", "    require k + 1 <= d\n    y["))
    assert required.text("numpy").count("must hold") == leec.load(REACH).text("numpy").count("must hold")


COUNTED = """
from std.data import iris
from std.optim import SGD


model Line(d):
    param w: [d] ~ normal(0, 1)


train fit(few = 20):
    data = iris()
    net = Line(4)
    opt = SGD(lr = 0.01)
    rest = len(data.train.y) - few
    for step in 1..3:
        noise: [rest, 4] ~ normal(0, 1)
        minimize mean((noise @ net.w) ** 2) over net with opt
    report rest
    return net
"""


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_what_counts_the_rows_of_data_is_a_size_in_the_loops_of_a_procedure(backend: str) -> None:
    assert leec.load(COUNTED).run("fit", backend=backend)[1][-1]["rest"] == 100
