"""Steps that a careful person writes by hand in NumPy: straightforward, and with everything planned.

Straightforward is the derivation written down, array by array. Planned keeps all parameters in one vector, computes
into arrays that exist, and updates in blocks that stay in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import singledispatch

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from benchmarks.workloads import LeNet, Mlp, Step, Tensors, Vae, Workload

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
BLOCK = 1 << 15  # entries of an update that stay in the cache


# ---- straightforward


@singledispatch
def straightforward(workload: Workload, tensors: Tensors, *batch: np.ndarray) -> Step:
    raise NotImplementedError(workload)


class Descent:
    """Adam, or plain gradient descent, tensor by tensor."""

    def __init__(self, workload: Workload, tensors: Iterable[np.ndarray]):
        self.tensors = [t.copy() for t in tensors]
        self.adam, self.rate, self.t = workload.optimizer == "Adam", workload.rate, 0
        self.m = [np.zeros_like(t) for t in self.tensors]
        self.v = [np.zeros_like(t) for t in self.tensors]

    def move(self, gradients: Iterable[np.ndarray]) -> None:
        self.t += 1
        for i, (p, g) in enumerate(zip(self.tensors, gradients, strict=True)):
            if not self.adam:
                p -= self.rate * g
                continue
            self.m[i] = BETA1 * self.m[i] + (1 - BETA1) * g
            self.v[i] = BETA2 * self.v[i] + (1 - BETA2) * g * g
            m_hat, v_hat = self.m[i] / (1 - BETA1**self.t), self.v[i] / (1 - BETA2**self.t)
            p -= self.rate * m_hat / (np.sqrt(v_hat) + EPS)


def activated(name: str, z: np.ndarray) -> np.ndarray:
    return {"relu": lambda: np.maximum(z, 0), "tanh": lambda: np.tanh(z), "sigmoid": lambda: 1 / (1 + np.exp(-z))}[
        name
    ]()


def slope(name: str, a: np.ndarray) -> np.ndarray:
    """The derivative of an activation by its value."""
    return {"relu": lambda: a > 0, "tanh": lambda: 1 - a * a, "sigmoid": lambda: a * (1 - a)}[name]()


def cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    rows = np.arange(len(y))
    z = z - z.max(axis=1, keepdims=True)
    e = np.exp(z)
    total = e.sum(axis=1, keepdims=True)
    d_z = e / total
    d_z[rows, y] -= 1
    return float((np.log(total[:, 0]) - z[rows, y]).mean()), d_z / np.float32(len(y))


def mean_squared(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    e = z - y
    return float((e * e).mean()), e * np.float32(2 / e.size)


LOSSES = {"cross_entropy": cross_entropy, "mse": mean_squared}


@straightforward.register
def _(workload: Mlp, tensors: Tensors, x: np.ndarray, y: np.ndarray) -> Step:
    descent = Descent(workload, tensors.values())
    pairs = list(zip(descent.tensors[::2], descent.tensors[1::2], strict=True))

    def step() -> float:
        inputs, a = [], x
        for w, b in pairs:
            inputs.append(a)
            z = a @ w + b
            a = activated(workload.activation, z)
        loss, d = LOSSES[workload.loss](z, y)
        gradients: list[np.ndarray] = []
        for (w, _), a in zip(reversed(pairs), reversed(inputs), strict=True):
            gradients = [a.T @ d, d.sum(axis=0), *gradients]
            if a is not x:
                d = d @ w.T * slope(workload.activation, a)
        descent.move(gradients)
        return loss

    return step


def columns(x: np.ndarray, k: int) -> np.ndarray:
    """Windows of images as rows: [n, c, h, w] -> [n, oh, ow, c k k]."""
    windows = sliding_window_view(x, (k, k), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    return windows.reshape(*windows.shape[:3], -1)


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cols = columns(x, kernel.shape[2])
    return (cols @ kernel.reshape(len(kernel), -1).T + bias).transpose(0, 3, 1, 2), cols


def convolution_gradients(d: np.ndarray, cols: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = d.transpose(0, 2, 3, 1).reshape(-1, len(kernel))
    return (rows.T @ cols.reshape(len(rows), -1)).reshape(kernel.shape), rows.sum(axis=0)


def spread_back(d: np.ndarray, kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of a convolution by its input."""
    n, o, h, w = d.shape
    k = kernel.shape[2]
    d_cols = (d.transpose(0, 2, 3, 1) @ kernel.reshape(o, -1)).reshape(n, h, w, -1, k, k)
    d_x = np.zeros(shape, d.dtype)
    for u in range(k):
        for v in range(k):
            d_x[:, :, u : u + h, v : v + w] += d_cols[:, :, :, :, u, v].transpose(0, 3, 1, 2)
    return d_x


def pooled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each 2 x 2 square, and where it is."""
    n, c, h, w = x.shape
    squares = x.reshape(n, c, h // 2, 2, w // 2, 2)
    y = squares.max(axis=(3, 5))
    return y, squares == y[:, :, :, None, :, None]


def unpooled(d: np.ndarray, where: np.ndarray) -> np.ndarray:
    n, c, h, _, w, _ = where.shape
    return (d[:, :, :, None, :, None] * where).reshape(n, c, 2 * h, 2 * w)


@straightforward.register
def _(workload: LeNet, tensors: Tensors, x: np.ndarray, y: np.ndarray) -> Step:
    descent = Descent(workload, tensors.values())
    k1, b1, k2, b2, w3, b3, w4, b4, w5, b5 = descent.tensors
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))

    def step() -> float:
        z1, cols1 = convolved(padded, k1, b1)
        a1 = np.maximum(z1, 0)
        h1, where1 = pooled(a1)
        z2, cols2 = convolved(h1, k2, b2)
        a2 = np.maximum(z2, 0)
        h2, where2 = pooled(a2)
        flat = h2.reshape(len(x), -1)
        a3 = np.maximum(flat @ w3 + b3, 0)
        a4 = np.maximum(a3 @ w4 + b4, 0)
        loss, d5 = cross_entropy(a4 @ w5 + b5, y)
        d4 = d5 @ w5.T * (a4 > 0)
        d3 = d4 @ w4.T * (a3 > 0)
        d_z2 = unpooled((d3 @ w3.T).reshape(h2.shape), where2) * (a2 > 0)
        d_z1 = unpooled(spread_back(d_z2, k2, h1.shape), where1) * (a1 > 0)
        convolutions = (*convolution_gradients(d_z1, cols1, k1), *convolution_gradients(d_z2, cols2, k2))
        linear = (flat.T @ d3, d3.sum(axis=0), a3.T @ d4, d4.sum(axis=0), a4.T @ d5, d5.sum(axis=0))
        descent.move((*convolutions, *linear))
        return loss

    return step


@straightforward.register
def _(workload: Vae, tensors: Tensors, x: np.ndarray, noise: np.ndarray) -> Step:
    descent = Descent(workload, tensors.values())
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5 = descent.tensors
    n = np.float32(len(x))

    def step() -> float:
        h = np.maximum(x @ w1 + b1, 0)
        mu, s = h @ w2 + b2, h @ w3 + b3
        deviation = np.exp(0.5 * s)
        z = mu + deviation * noise
        g = np.maximum(z @ w4 + b4, 0)
        o = g @ w5 + b5
        seen = (np.maximum(o, 0) - o * x + np.log1p(np.exp(-np.abs(o)))).sum() / n
        loss = seen - 0.5 * (1 + s - mu * mu - np.exp(s)).sum() / n
        d_o = (1 / (1 + np.exp(-o)) - x) / n
        d_g = d_o @ w5.T * (g > 0)
        d_z = d_g @ w4.T
        d_mu = d_z + mu / n
        d_s = d_z * noise * deviation * np.float32(0.5) - 0.5 * (1 - np.exp(s)) / n
        d_h = (d_mu @ w2.T + d_s @ w3.T) * (h > 0)
        sides = ((x, d_h), (h, d_mu), (h, d_s), (z, d_g), (g, d_o))
        descent.move(part for a, d in sides for part in (a.T @ d, d.sum(axis=0)))
        return float(loss)

    return step


# ---- planned


def planned(workload: Mlp, tensors: Tensors, x: np.ndarray, y: np.ndarray) -> Step:
    """The step of a multilayer perceptron without an array made in it."""
    vector = np.concatenate([t.ravel() for t in tensors.values()])
    gradient = np.zeros_like(vector)
    pairs = list(paired(cut(vector, tensors)))
    d_pairs = list(paired(cut(gradient, tensors)))
    inputs = [x, *(np.empty((len(x), size), np.float32) for size in workload.sizes[1:])]
    deltas = [np.empty_like(a) for a in inputs]
    masks = [np.empty(a.shape, bool) for a in inputs]
    ones, last = np.ones(len(x), np.float32), len(pairs)
    update = planned_update(workload, vector, gradient)
    score = planned_loss(workload, inputs[-1], y, deltas[-1])

    def step() -> float:
        for i, (w, b) in enumerate(pairs):
            a = np.dot(inputs[i], w, inputs[i + 1])
            np.add(a, b, a)
            if i < last - 1:
                activate(workload.activation, a)
        loss = score()
        for i in range(last - 1, -1, -1):
            d = deltas[i + 1]
            np.dot(inputs[i].T, d, d_pairs[i][0])
            np.dot(ones, d, d_pairs[i][1])
            if i:
                np.dot(d, pairs[i][0].T, deltas[i])
                flatten_slope(workload.activation, inputs[i], deltas[i], masks[i])
        update()
        return loss

    return step


def cut(vector: np.ndarray, tensors: Tensors) -> Iterator[np.ndarray]:
    """Views of a vector in the shapes of the tensors."""
    start = 0
    for t in tensors.values():
        yield vector[start : start + t.size].reshape(t.shape)
        start += t.size


def paired(views: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return zip(views, views, strict=True)


def activate(name: str, a: np.ndarray) -> None:
    if name == "relu":
        np.maximum(a, 0, out=a)
    elif name == "tanh":
        np.tanh(a, a)
    else:
        np.tanh(np.multiply(a, 0.5, a), a)
        np.add(np.multiply(a, 0.5, a), 0.5, a)


def flatten_slope(name: str, a: np.ndarray, d: np.ndarray, mask: np.ndarray) -> None:
    """d times the derivative of the activation, given its value a; a is used up."""
    if name == "relu":
        np.multiply(d, np.greater(a, 0, mask), d)
    elif name == "tanh":
        np.multiply(a, a, a)
        np.multiply(d, np.subtract(1, a, a), d)
    else:
        np.multiply(d, a, d)
        np.multiply(d, np.subtract(1, a, a), d)


def planned_loss(workload: Mlp, z: np.ndarray, y: np.ndarray, d: np.ndarray) -> Step:
    """The loss, its gradient written into d."""
    n, rows, ones = len(z), np.arange(len(z)), np.ones(z.shape[1], np.float32)
    scale = np.float32(2 / z.size)

    def mean_squared() -> float:
        np.subtract(z, y, d)
        flat = d.ravel()
        loss = float(np.dot(flat, flat)) / d.size
        np.multiply(d, scale, d)
        return loss

    def cross_entropy() -> float:
        z_t = z - z.max(axis=1, keepdims=True)
        np.exp(z_t, d)
        total = np.dot(d, ones)
        loss = (np.log(total).sum() - z_t[rows, y].sum()) / n
        np.multiply(d, (1 / (n * total))[:, None], d)
        d[rows, y] -= np.float32(1 / n)
        return float(loss)

    return mean_squared if workload.loss == "mse" else cross_entropy


def planned_update(workload: Mlp, vector: np.ndarray, gradient: np.ndarray) -> Step:
    """Blocks of the vector: m and v are kept over their bias factors 1 - β, so that each takes one addition."""
    if workload.optimizer != "Adam":
        rate, scratch = np.float32(workload.rate), np.empty_like(vector)
        return lambda: np.subtract(vector, np.multiply(gradient, rate, scratch), vector)
    size, t = min(BLOCK, vector.size), 0
    m, v = np.zeros_like(vector), np.zeros_like(vector)
    s = np.empty(size, np.float32)
    starts = range(0, vector.size, size)
    blocks = [(*(a[i : i + size] for a in (vector, gradient, m, v)), s[: vector.size - i]) for i in starts]

    def update() -> float:
        nonlocal t
        t += 1
        root = math.sqrt((1 - BETA2) / (1 - BETA2**t))
        rate = np.float32(-workload.rate * (1 - BETA1) / (1 - BETA1**t) / root)
        eps = np.float32(EPS / root)
        for p, g, m, v, s in blocks:
            np.add(np.multiply(m, np.float32(BETA1), m), g, m)
            np.multiply(v, np.float32(BETA2), v)
            np.add(v, np.multiply(g, g, s), v)
            np.add(np.sqrt(v, s), eps, s)
            np.divide(m, s, s)
            np.add(p, np.multiply(s, rate, s), p)
        return 0.0

    return update
