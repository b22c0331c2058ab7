"""Classifiers that know how each class spreads (inventory R1 to R4, R9): Bayes' rule on Gaussians.

Made from specs/classification/generative.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/classification/generative.lee
"""

from __future__ import annotations

import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


def centre(x):
    """The most likely mean is the mean.

    x [n, d] -> [d]
    """
    return x.mean(dim=0)  # [d]  generative.lee:6


def covariance(x):
    """The most likely covariance is the mean of the squares, over n and not n - 1.

    x [n, d] -> [d, d]
    """
    n = x.shape[0]
    sub = x - centre(x)  # [n, d]  generative.lee:11
    return sub.T @ sub / n  # [d, d]


def log_density(x, mu, sigma):
    """log of the Gaussian (2π)^(-d/2) |Σ|^(-1/2) exp(-½ (x - μ)ᵀ Σ⁻¹ (x - μ)).

    x [n, d], mu [d], sigma [d, d] -> [n]
    """
    d = x.shape[1]
    z = x - mu  # [n, d]  generative.lee:16
    spread = (z * torch.linalg.solve(sigma, z.T).T).sum(dim=1)  # [n]  generative.lee:17
    add = spread + torch.linalg.slogdet(sigma)[1]  # [n]  generative.lee:18
    return -0.5 * (add + d * 1.8378770664093453)  # [n]


def posterior(x, first, second):
    """P(c₁|x) = P(c₁) P(x|c₁) / Σ P(c) P(x|c), each class with a mean and covariance of its own.

    x [n, d], first [a, d], second [b, d] -> [n]
    """
    a = first.shape[0]
    b = second.shape[0]
    p = math.log(a / (a + b)) + log_density(x, centre(first), covariance(first))  # [n]  generative.lee:23
    q = math.log(b / (a + b)) + log_density(x, centre(second), covariance(second))  # [n]  generative.lee:24
    return torch.sigmoid(p - q)  # [n]  generative.lee:25


def is_first(p):
    """The first class where its probability is over one half.

    p [n] -> bool[n]
    """
    return p > 0.5  # bool[n]  generative.lee:30


def is_firstAsPrinted(p):
    """One set of notes asks for more than 0, which every x has.

    p [n] -> bool[n]
    """
    return p > 0  # bool[n]  generative.lee:35


def naive_posterior(x, first, second):
    """Dimensions taken for independent: the covariance is a diagonal.

    x [n, d], first [a, d], second [b, d] -> [n]
    """
    a = first.shape[0]
    b = second.shape[0]
    div_2 = var(first)  # [d]  generative.lee:40
    sub = x - centre(first)  # [n, d]  generative.lee:47
    add = sub * sub / div_2 + torch.log(6.283185307179586 * div_2)  # [n, d]
    p = math.log(a / (a + b)) + -0.5 * add.sum(dim=1)  # [n]  generative.lee:40
    div_4 = var(second)  # [d]  generative.lee:41
    sub_2 = x - centre(second)  # [n, d]  generative.lee:47
    add_2 = sub_2 * sub_2 / div_4 + torch.log(6.283185307179586 * div_4)  # [n, d]
    q = math.log(b / (a + b)) + -0.5 * add_2.sum(dim=1)  # [n]  generative.lee:41
    return torch.sigmoid(p - q)  # [n]  generative.lee:42


def independent(x, mu, variance):
    """The sum of the log densities of d numbers.

    x [n, d], mu [d], variance [d] -> [n]
    """
    sub = x - mu  # [n, d]  generative.lee:47
    log = torch.log(6.283185307179586 * variance)  # [d]
    return -0.5 * (sub * sub / variance + log).sum(dim=1)  # [n]


def shared_line(first, second):
    """With one covariance for both classes P(c₁|x) = σ(w · x + b), where w = Σ⁻¹ (μ₁ - μ₂).

    first [a, d], second [b, d] -> [d], []
    """
    a = first.shape[0]
    b = second.shape[0]
    sigma = (a * covariance(first) + b * covariance(second)) / (a + b)  # [d, d]  generative.lee:52
    mu = centre(first)  # [d]  generative.lee:53
    nu = centre(second)  # [d]  generative.lee:54
    w = torch.linalg.solve(sigma, (mu - nu)[Ellipsis, None])[Ellipsis, 0]  # [d]  generative.lee:55
    bias = math.log(a / b) - 0.5 * (mu + nu) @ w  # generative.lee:56
    return w, bias


def matrix_root(sigma):
    """R with R R = Σ, by the iteration of Denman and Beavers.

    sigma [d, d] -> [d, d]
    """
    d = sigma.shape[0]
    inverse = eye(d)  # [d, d]  generative.lee:63
    next_ = 0.5 * (sigma + torch.linalg.inv(inverse))  # [d, d]  generative.lee:65
    inverse_2 = 0.5 * (inverse + torch.linalg.inv(sigma))  # [d, d]  generative.lee:66
    next_2 = 0.5 * (next_ + torch.linalg.inv(inverse_2))  # [d, d]  generative.lee:65
    inverse_3 = 0.5 * (inverse_2 + torch.linalg.inv(next_))  # [d, d]  generative.lee:66
    next_3 = 0.5 * (next_2 + torch.linalg.inv(inverse_3))  # [d, d]  generative.lee:65
    inverse_4 = 0.5 * (inverse_3 + torch.linalg.inv(next_2))  # [d, d]  generative.lee:66
    next_4 = 0.5 * (next_3 + torch.linalg.inv(inverse_4))  # [d, d]  generative.lee:65
    inverse_5 = 0.5 * (inverse_4 + torch.linalg.inv(next_3))  # [d, d]  generative.lee:66
    next_5 = 0.5 * (next_4 + torch.linalg.inv(inverse_5))  # [d, d]  generative.lee:65
    inverse_6 = 0.5 * (inverse_5 + torch.linalg.inv(next_4))  # [d, d]  generative.lee:66
    next_6 = 0.5 * (next_5 + torch.linalg.inv(inverse_6))  # [d, d]  generative.lee:65
    inverse_7 = 0.5 * (inverse_6 + torch.linalg.inv(next_5))  # [d, d]  generative.lee:66
    next_7 = 0.5 * (next_6 + torch.linalg.inv(inverse_7))  # [d, d]  generative.lee:65
    inverse_8 = 0.5 * (inverse_7 + torch.linalg.inv(next_6))  # [d, d]  generative.lee:66
    next_8 = 0.5 * (next_7 + torch.linalg.inv(inverse_8))  # [d, d]  generative.lee:65
    inverse_9 = 0.5 * (inverse_8 + torch.linalg.inv(next_7))  # [d, d]  generative.lee:66
    next_9 = 0.5 * (next_8 + torch.linalg.inv(inverse_9))  # [d, d]  generative.lee:65
    inverse_10 = 0.5 * (inverse_9 + torch.linalg.inv(next_8))  # [d, d]  generative.lee:66
    next_10 = 0.5 * (next_9 + torch.linalg.inv(inverse_10))  # [d, d]  generative.lee:65
    inverse_11 = 0.5 * (inverse_10 + torch.linalg.inv(next_9))  # [d, d]  generative.lee:66
    next_11 = 0.5 * (next_10 + torch.linalg.inv(inverse_11))  # [d, d]  generative.lee:65
    inverse_12 = 0.5 * (inverse_11 + torch.linalg.inv(next_10))  # [d, d]  generative.lee:66
    next_12 = 0.5 * (next_11 + torch.linalg.inv(inverse_12))  # [d, d]  generative.lee:65
    inverse_13 = 0.5 * (inverse_12 + torch.linalg.inv(next_11))  # [d, d]  generative.lee:66
    next_13 = 0.5 * (next_12 + torch.linalg.inv(inverse_13))  # [d, d]  generative.lee:65
    inverse_14 = 0.5 * (inverse_13 + torch.linalg.inv(next_12))  # [d, d]  generative.lee:66
    next_14 = 0.5 * (next_13 + torch.linalg.inv(inverse_14))  # [d, d]  generative.lee:65
    inverse_15 = 0.5 * (inverse_14 + torch.linalg.inv(next_13))  # [d, d]  generative.lee:66
    next_15 = 0.5 * (next_14 + torch.linalg.inv(inverse_15))  # [d, d]  generative.lee:65
    inverse_16 = 0.5 * (inverse_15 + torch.linalg.inv(next_14))  # [d, d]  generative.lee:66
    next_16 = 0.5 * (next_15 + torch.linalg.inv(inverse_16))  # [d, d]  generative.lee:65
    inverse_17 = 0.5 * (inverse_16 + torch.linalg.inv(next_15))  # [d, d]  generative.lee:66
    next_17 = 0.5 * (next_16 + torch.linalg.inv(inverse_17))  # [d, d]  generative.lee:65
    inverse_18 = 0.5 * (inverse_17 + torch.linalg.inv(next_16))  # [d, d]  generative.lee:66
    next_18 = 0.5 * (next_17 + torch.linalg.inv(inverse_18))  # [d, d]  generative.lee:65
    inverse_19 = 0.5 * (inverse_18 + torch.linalg.inv(next_17))  # [d, d]  generative.lee:66
    next_19 = 0.5 * (next_18 + torch.linalg.inv(inverse_19))  # [d, d]  generative.lee:65
    inverse_20 = 0.5 * (inverse_19 + torch.linalg.inv(next_18))  # [d, d]  generative.lee:66
    next_20 = 0.5 * (next_19 + torch.linalg.inv(inverse_20))  # [d, d]  generative.lee:65
    return next_20  # [d, d]


def sampled(known, count, key):
    """New examples from the Gaussian that fits what is known: μ + Σ^½ e.

    known [n, d] -> [count, d]
    """
    d = known.shape[1]
    e = normal(fold(key, SITES["e"]), (count, d), FLOAT, known.device)  # [count, d]  generative.lee:73
    next_20 = matrix_root(covariance(known))  # [d, d]  generative.lee:74
    return torch.addmm(centre(known), e, next_20)  # [count, d]


def example_drawn_anew(key):
    known = 0.3 + normal(fold(key, SITES["known"]), (20, 3), FLOAT) * 2  # [20, 3]  generative.lee:78
    return sampled(known, 50, fold(key, SITES["sampled"]))  # [50, 3]  generative.lee:79


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis.

    x [x_0, x_1] -> [x_1]
    """
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0, x_1]  prelude.lee:166
    total = (sub * sub).sum(dim=0)  # [x_1]
    return total / (x_0 - ddof)  # [x_1]  prelude.lee:167


def eye(n):
    """The unit matrix."""
    eq = torch.arange(n)[:, None] == torch.arange(n)  # bool[n, n]  prelude.lee:203
    matrix = torch.where(eq, torch.full((), 1.0, dtype=FLOAT), 0.0)  # [n, n]
    return matrix  # [n, n]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "e": 0x4F1D2FB024A5D810,
    "known": 0x64655861A3D40AB2,
    "sampled": 0xEBEE0A7850B326B4,
}


MASK = 0xFFFFFFFF


Key = tuple[int, int] | torch.Tensor


Device = torch.device | str | None


def philox(key, counter):
    """Four random words for a counter of four words: ten rounds of products that swap their halves.

    The words are Python integers or int64 tensors below 2**32.
    """
    k0, k1 = key
    x0, x1, x2, x3 = counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1 = (p1 >> 32 & MASK) ^ x1 ^ k0, p1 & MASK
        x2, x3 = (p0 >> 32 & MASK) ^ x3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return x0, x1, x2, x3


def fold(key, word):
    """The key that belongs to a word of 64 bits (a site, a round of a loop) under a key.

    It is the first half of the block that starts with the word; the last word of its counter, 0xF01D, is 0 in
    every block that `bits` reads, so folding and drawing never meet.
    """
    return philox(key, (word & MASK, word >> 32 & MASK, 0, 0xF01D))[:2]


def bits(key: Key, n: int, device: Device = None) -> torch.Tensor:
    """n random words, int64[n], all four words of a block used; at most 2**34 from one key."""
    blocks = torch.arange(-(-n // 4), dtype=torch.int64, device=device)
    return torch.stack(philox(key, (blocks, 0, 0, 0)), dim=1).reshape(-1)[:n]


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)
