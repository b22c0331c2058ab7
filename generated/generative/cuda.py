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


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis.

    x [x_0, x_1] -> [x_1]
    """
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0, x_1]  prelude.lee:166
    total = (sub * sub).sum(dim=0)  # [x_1]
    return total / (x_0 - ddof)  # [x_1]  prelude.lee:167
