"""Optimizers of the lectures (inventory A5 to A10, A12), each as its update rule.

θ and g are all parameters and their gradient, t the number of the update, from 1. Where the notes print a rule that
differs from the standard one, it stands beside it with the suffix AsPrinted.

Made from specs/regression/optimizers.lee by leec 0.1.0. Change that file, not this one, and run: leec compile -O2 specs/regression/optimizers.lee
"""

from __future__ import annotations

import math

import numpy as np

FLOAT = np.float32


class Optimizer:
    """What every optimizer has: the number `t` of updates so far, and states like the parameters.

    `starts` says with what the entries of a state begin.
    """

    starts: dict[str, float] = {}
    t = 0
    rates: dict | None = None  # hyperparameters that are functions of the count

    def count(self):
        """Count an update; hyperparameters that are functions of the count get their values for it."""
        if self.rates is None:
            self.rates = {name: value for name, value in self.__dict__.items() if callable(value)}
        self.t += 1
        for name, rate in self.rates.items():
            setattr(self, name, rate(self.t))

    def begin(self, θ):
        """Count an update; the first one makes the states."""
        self.count()
        self.make_states(θ)

    def make_states(self, θ):
        """Raises ValueError for parameters of another size."""
        for name, start in self.starts.items():
            if not hasattr(self, name):
                setattr(self, name, np.full_like(θ, start))
            if getattr(self, name).shape != θ.shape:
                raise ValueError(f"{type(self).__name__} has moved {getattr(self, name).size} parameters, not {θ.size}")

    def tensors(self):
        """The count and the states that there are by now."""
        return {"t": self.t, **{name: getattr(self, name) for name in self.starts if hasattr(self, name)}}

    def load_tensors(self, arrays):
        """Go on from another's count and states."""
        self.t = int(arrays["t"])
        for name in self.starts.keys() & arrays.keys():
            setattr(self, name, np.array(arrays[name], FLOAT))

    def copy(self):
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.load_tensors(self.tensors())
        return twin


class Adagrad(Optimizer):
    """η decays as 1 / √t, and is divided by σ, the root mean square of all gradients so far."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, total in blocks(parameters, gradient, self.total):
            total += g**2  # [count]  optimizers.lee:15
            sigma = np.sqrt(total / self.t)  # [count]  optimizers.lee:16
            θ -= self.lr / math.sqrt(self.t) * masked(g / sigma, sigma > 0)  # [count]  optimizers.lee:17


class AdagradSum(Optimizer):
    """The same with both roots of t cancelled: η g / √(Σ g²)."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01, eps=1e-10):
        self.lr, self.eps = lr, eps

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, total in blocks(parameters, gradient, self.total):
            total += g**2  # [count]  optimizers.lee:25
            θ -= self.lr * g / (np.sqrt(total) + self.eps)  # [count]  optimizers.lee:26


class AdagradSumAsPrinted(Optimizer):
    """One set of notes keeps η constant over the root mean square: the rate no longer falls."""

    starts = {"total": 0.0}

    def __init__(self, lr=0.01, eps=1e-10):
        self.lr, self.eps = lr, eps

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, total in blocks(parameters, gradient, self.total):
            total += g**2  # [count]  optimizers.lee:34
            θ -= self.lr * g / (np.sqrt(total / self.t) + self.eps)  # [count]  optimizers.lee:35


class AdagradCompoundAsPrinted(Optimizer):
    """Another divides the rate of the update before, ηₜ = ηₜ₋₁ / σₜ with σ = √(Σ g²): it compounds."""

    starts = {"total": 0.0, "shrunk": 1.0}

    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, total, shrunk in blocks(parameters, gradient, self.total, self.shrunk):
            total += g**2  # [count]  optimizers.lee:44
            shrunk[...] = np.where(total > 0, shrunk / np.sqrt(total), shrunk)  # [count]  optimizers.lee:45
            θ -= self.lr * shrunk * g  # [count]  optimizers.lee:46


class Momentum(Optimizer):
    """m ← λ m - η g; θ ← θ + m: the last step goes on."""

    starts = {"m": 0.0}

    def __init__(self, lr=0.01, decay=0.9):
        self.lr, self.decay = lr, decay

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m in blocks(parameters, gradient, self.m):
            m[...] = self.decay * m - self.lr * g  # [count]  optimizers.lee:54
            θ += m  # [count]  optimizers.lee:55


class RMSProp(Optimizer):
    """σ² is an average that forgets, and starts at 0."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.99, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, v in blocks(parameters, gradient, self.v):
            v[...] = self.alpha * v + (1 - self.alpha) * g**2  # [count]  optimizers.lee:63
            θ -= self.lr * g / (np.sqrt(v) + self.eps)  # [count]  optimizers.lee:64


class RMSPropAsPrinted(Optimizer):
    """The notes start at the first gradient, σ⁰ = √(g⁰)²: the first step is 1 / √(1 - α) smaller."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.99, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, v in blocks(parameters, gradient, self.v):
            mul = g**2  # [count]  optimizers.lee:72
            v[...] = np.where(self.t == 1, mul, self.alpha * v + (1 - self.alpha) * mul)  # [count]
            θ -= self.lr * g / (np.sqrt(v) + self.eps)  # [count]  optimizers.lee:73


class Adam(Optimizer):
    """RMSProp with momentum, both averages over their bias."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m, v in blocks(parameters, gradient, self.m, self.v):
            m[...] = self.beta1 * m + (1 - self.beta1) * g  # [count]  optimizers.lee:82
            v[...] = self.beta2 * v + (1 - self.beta2) * g**2  # [count]  optimizers.lee:83
            m_hat = m / (1 - math.pow(self.beta1, self.t))  # [count]  optimizers.lee:84
            v_hat = v / (1 - math.pow(self.beta2, self.t))  # [count]  optimizers.lee:85
            θ -= self.lr * m_hat / (np.sqrt(v_hat) + self.eps)  # [count]  optimizers.lee:86


class AdamAsPrinted(Optimizer):
    """One set of notes says RMSProp with Adagrad: the average that forgets, under a rate that decays as 1 / √t."""

    starts = {"v": 0.0}

    def __init__(self, lr=1e-3, alpha=0.999, eps=1e-8):
        self.lr, self.alpha, self.eps = lr, alpha, eps

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, v in blocks(parameters, gradient, self.v):
            v[...] = self.alpha * v + (1 - self.alpha) * g**2  # [count]  optimizers.lee:94
            θ -= self.lr / math.sqrt(self.t) * g / (np.sqrt(v) + self.eps)  # [count]  optimizers.lee:95


class MomentumOverRMS(Optimizer):
    """θ ← θ - η / σ · m, m being a weighted sum of past gradients: Adam without its bias correction."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=0.01, decay=0.9, alpha=0.99, eps=1e-8):
        self.lr, self.decay, self.alpha, self.eps = lr, decay, alpha, eps

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m, v in blocks(parameters, gradient, self.m, self.v):
            m[...] = self.decay * m + (1 - self.decay) * g  # [count]  optimizers.lee:104
            v[...] = self.alpha * v + (1 - self.alpha) * g**2  # [count]  optimizers.lee:105
            θ -= self.lr * m / (np.sqrt(v) + self.eps)  # [count]  optimizers.lee:106


class MomentumOverRMSAsPrinted(Optimizer):
    """The same line with the notes' own m, which already points downhill: it climbs."""

    starts = {"m": 0.0, "v": 0.0}

    def __init__(self, lr=0.01, decay=0.9, alpha=0.99, eps=1e-8):
        self.lr, self.decay, self.alpha, self.eps = lr, decay, alpha, eps

    def update(self, parameters, gradient):
        """Move θ along its gradient, in place."""
        self.begin(parameters)
        for θ, g, m, v in blocks(parameters, gradient, self.m, self.v):
            m[...] = self.decay * m - self.lr * g  # [count]  optimizers.lee:115
            v[...] = self.alpha * v + (1 - self.alpha) * g**2  # [count]  optimizers.lee:116
            θ -= self.lr * m / (np.sqrt(v) + self.eps)  # [count]  optimizers.lee:117


def example_within_bounds(key):
    normal_ = normal(fold(key, SITES["g"]), (20,), FLOAT)  # [20]  optimizers.lee:139
    g = 2 * normal_  # [20]
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:140
    maximum = np.maximum(g, -1.5)  # [20]  optimizers.lee:125
    d_c = np.minimum(maximum, 1.5)  # [20]
    # value = (c * d_c).sum()
    s = c * d_c
    value = s.sum()  # optimizers.lee:141
    # d_g = masked(masked(c, g >= -1.5), maximum <= 1.5)
    s_ = g >= -1.5
    masked(c, s_, out=g)
    np.less_equal(maximum, 1.5, out=s_)
    d_g = masked(g, s_, out=g)  # [20]  optimizers.lee:125
    return value, d_g, d_c


def example_within_bounds_as_printed(key):
    normal_ = normal(fold(key, SITES["g"]), (20,), FLOAT)  # [20]  optimizers.lee:145
    g = 2 * normal_  # [20]
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:146
    d_c = np.minimum(g, 1.5)  # [20]  optimizers.lee:130
    # value = (c * d_c).sum()
    s = c * d_c
    value = s.sum()  # optimizers.lee:147
    # d_g = masked(c, g <= 1.5)
    s_ = g <= 1.5
    d_g = masked(c, s_, out=g)  # [20]  optimizers.lee:130
    return value, d_g, d_c


def example_shortened(key):
    normal_ = normal(fold(key, SITES["g"]), (20,), FLOAT)  # [20]  optimizers.lee:151
    g = 2 * normal_  # [20]
    c = normal(fold(key, SITES["c"]), (20,), FLOAT)  # [20]  optimizers.lee:152
    # sum_ = (g**2).sum()
    s = g**2
    sum_ = s.sum()  # prelude.lee:163
    sqrt = np.sqrt(sum_)
    add_2 = sqrt + 1e-6  # optimizers.lee:135
    div = 1.5 / add_2
    minimum = np.minimum(1, div)
    mul = np.multiply(g, minimum, out=s)  # [20]
    div_2 = 100 / add_2
    minimum_2 = np.minimum(1, div_2)
    mul_2 = g * minimum_2  # [20]
    # value = (c * mul).sum() + (c * mul_2).sum()
    s_ = c * mul
    s_2 = c * mul_2
    value = s_.sum() + s_2.sum()  # optimizers.lee:153
    # d_g = c * minimum_2 + 2 * (np.where(1 <= div_2, 0, -(d_minimum * div_2 / add_2)) * 0.5 / select) * g + (..
    np.multiply(c, g, out=s_2)
    d_minimum = s_2.sum()
    select = np.where(sum_ > 0, sqrt, np.inf)
    np.multiply(c, minimum_2, out=s_)
    s_3 = 2 * (np.where(1 <= div_2, 0, -(d_minimum * div_2 / add_2)) * 0.5 / select) * g
    s_3 += s_
    np.multiply(c, minimum, out=s_)
    np.multiply(2 * (np.where(1 <= div, 0, -(d_minimum * div / add_2)) * 0.5 / select), g, out=s_2)
    s_2 += s_
    d_g = np.add(s_3, s_2, out=s_2)  # [20]
    d_c = np.add(mul_2, mul, out=mul_2)  # [20]
    return value, d_g, d_c


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "c": 0x1B2C07CD64633F37,
    "g": 0xBC30DBAED87C766C,
}


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


MASK = 0xFFFFFFFF


Key = tuple[int, int]


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words of the counter are Python integers or uint64 arrays below 2**32, those of the key integers.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (p1 >> 32) ^ x1 ^ k0, p1 & MASK, (p0 >> 32) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key: Key, word: int) -> Key:
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    word = int(word)  # a NumPy integer would wrap
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int) -> np.ndarray:
    """n random words, uint32[n], all four words of a block used; at most 2**34 from one key."""
    words = np.empty((-(-n // 4), 4), np.uint32)
    for start in range(0, len(words), 8192):  # a stretch that stays in the cache
        part = words[start : start + 8192]
        blocks = np.arange(start, start + len(part), dtype=np.uint64)
        for column, word in enumerate(philox(key, (blocks, 0, 0, 0))):
            part[:, column] = word
    return words.ravel()[:n]


def normal(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2) >> 8).reshape(-1, 2).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.ravel()[:n].reshape(shape).astype(dtype)


def blocks(*vectors, size=1 << 14):
    """Pieces of vectors that stay in the cache together, from the first to the last."""
    for start in range(0, vectors[0].size, size):
        yield tuple(v[start : start + size] for v in vectors)
