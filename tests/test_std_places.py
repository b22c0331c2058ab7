"""Primitives and prelude functions that sort, pick, move and count entries, against NumPy."""

from __future__ import annotations

import numpy as np
from against import Spec, agree

BOTH = ("numpy", "torch")
RNG = np.random.default_rng(3)
SPEC = Spec("""
from std.nn import MLP

def borders(x: [n, m]):
    reflected = pad(x, (2, (1, 3)), mode = "reflect")
    repeated = pad(x, (2, (1, 3)), mode = "edge")
    around = pad(x, (0, 9), mode = "wrap")
    return reflected, repeated, around, pad(x, (0, (9, 4)), mode = "reflect"), pad(x, (1, 0), value = 7)

def shares(x: [n, m]):
    return quantile(x, 0.3), quantile(x, 0.25, axis = 0), median(x, axis = 1), median(x), quantile(x, 1, axis = 0)

def moved(x: [n, m]):
    kept, many = compact(x, x > 0, axis = 1, fill = -9)
    return kept, many, take_along(x, argsort(x, axis = 0), axis = 0)

def picked(i: int[k], x: [n, m]):
    return take(x, i, axis = 1), take(x, i, axis = 0)

def highest(x: [n, m]):
    row, column = argmax[i, j](x[i, j])
    return row, column

def ordered(x: [n, m]):
    down, at = top_k(x, 2, axis = 1, smallest = true)
    before = cumsum(x, axis = 1, reverse = true, exclusive = true)
    return before, cumprod(x, axis = 0, exclusive = true), sort(x, axis = 0, descending = true), down, at

def lasts(x: int[n, m]):
    return argmax(x, axis = 1, last = true), argmin(x, axis = 1)

def bits(a: int[n], b: int[n]):
    return bit_and(a, b), bit_or(a, b), bit_xor(a, b), bit_not(a), shift_left(a, b), shift_right(a, b), rem(-a, b + 1)

def point(net: MLP):
    v = flatten(net)
    twice = unflatten(2 * v, like = net)
    return v, quantile(abs(net), 0.5), max(net), mean(net), flatten(twice), sum(net > 0)

def together(x: [n]):
    return logaddexp(x, 2 * x, -inf, 0.5)

def corners(a: [n, n]):
    return tril(a), triu(a, k = 1), diag(a), diag(diag(a))

example e:
    x: [4, 5] ~ normal(0, 1)
    net = MLP((3, 2))
    i = tensor([0, 1])
    return borders(x), shares(x), moved(x), picked(i, x), highest(x), ordered(x), lasts(argsort(x, axis = 0)), bits(i, i), point(net), together(x[0]), corners(x[:4, :4])
""")
X = RNG.normal(size=(4, 5))


def held(name: str, wanted: list, **arguments: object) -> None:
    for column in BOTH:
        found = list(SPEC.call(name, column, **arguments).values())
        assert len(found) == len(wanted)
        for given, right in zip(found, wanted, strict=True):
            agree(f"{name} in {column}", given, right)


def test_borders() -> None:
    wanted = [np.pad(X, ((2, 2), (1, 3)), mode=m) for m in ("reflect", "edge")]
    wanted += [np.pad(X, ((0, 0), (9, 9)), mode="wrap"), np.pad(X, ((0, 0), (9, 4)), mode="reflect")]
    held("borders", [*wanted, np.pad(X, ((1, 1), (0, 0)), constant_values=7)], x=X)


def test_shares() -> None:
    wanted = [np.quantile(X, 0.3), np.quantile(X, 0.25, axis=0), np.median(X, axis=1), np.median(X), X.max(axis=0)]
    held("shares", wanted, x=X)


def test_moved() -> None:
    kept = [[*row[row > 0], *[-9] * (row <= 0).sum()] for row in X]
    held("moved", [kept, (X > 0).sum(1), np.sort(X, 0)], x=X)
    i = np.array([3, 0, 0])
    held("picked", [X[:, i], X[i]], i=i, x=X)
    held("highest", list(np.unravel_index(X.argmax(), X.shape)), x=X)


def test_ordered() -> None:
    behind = np.flip(np.cumsum(np.flip(X, 1), 1), 1) - X
    before = np.cumprod(np.vstack([np.ones(5), X[:-1]]), 0)
    places = X.argsort(1)[:, :2]
    held("ordered", [behind, before, -np.sort(-X, 0), np.sort(X, 1)[:, :2], places], x=X)
    ties = np.array([[1, 3, 3, 0], [2, 2, 2, 2]])
    held("lasts", [[2, 3], [3, 0]], x=ties)


def test_bits() -> None:
    a, b = np.array([12, 7, 1]), np.array([5, 2, 3])
    held("bits", [a & b, a | b, a ^ b, ~a, a << b, a >> b, np.fmod(-a, b + 1)], a=a, b=b)


def test_points_are_vectors() -> None:
    w, c = RNG.normal(size=(3, 2)), RNG.normal(size=2)
    flat = np.concatenate([w.ravel(), c])
    wanted = [flat, np.median(np.abs(flat)), flat.max(), flat.mean(), 2 * flat, (flat > 0).sum()]
    held("point", wanted, net={"layers.0.w": w, "layers.0.b": c})


def test_corners() -> None:
    a = X[:, :4]
    held("corners", [np.tril(a), np.triu(a, 1), np.diag(a), np.diag(np.diag(a))], a=a)


def test_logarithms_of_sums() -> None:
    x = np.array([-1e4, 0.0, 3.0, 1e4])
    held("together", [np.logaddexp.reduce([x, 2 * x, np.full(4, 0.5)])], x=x)
