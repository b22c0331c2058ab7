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


def centre_backward(n, d_y):
    """From d_y to the gradient by x."""
    d = d_y.shape[0]
    # gradient of return mean(x, axis = 0)   generative.lee:6
    d_x = (d_y / n).expand(n, d)  # [n, d]
    return d_x  # [n, d]


def covariance(x):
    """The most likely covariance is the mean of the squares, over n and not n - 1.

    x [n, d] -> [d, d]
    """
    n = x.shape[0]
    sub = x - centre(x)  # [n, d]  generative.lee:11
    return sub.T @ sub / n  # [d, d]


def covariance_saved(x):
    """As covariance, and what its gradient needs."""
    n = x.shape[0]
    sub = x - centre(x)  # [n, d]  generative.lee:11
    return sub.T @ sub / n, sub


def covariance_backward(sub, d_y):
    """From d_y to the gradient by x."""
    n = sub.shape[0]
    # gradient of return (x - centre(x)).T @ (x - centre(x)) / n   generative.lee:11
    d_contract = d_y / n  # [d, d]
    d_sub = sub @ d_contract.T + sub @ d_contract  # [n, d]
    d_x = d_sub + centre_backward(n, -d_sub.sum(dim=0))  # [n, d]
    return d_x  # [n, d]


def log_density(x, mu, sigma):
    """log of the Gaussian (2π)^(-d/2) |Σ|^(-1/2) exp(-½ (x - μ)ᵀ Σ⁻¹ (x - μ)).

    x [n, d], mu [d], sigma [d, d] -> [n]
    """
    d = x.shape[1]
    z = x - mu  # [n, d]  generative.lee:16
    spread = (z * torch.linalg.solve(sigma, z.T).T).sum(dim=1)  # [n]  generative.lee:17
    add = spread + torch.linalg.slogdet(sigma)[1]  # [n]  generative.lee:18
    return -0.5 * (add + d * 1.8378770664093453)  # [n]


def log_density_saved(x, mu, sigma):
    """As log_density, and what its gradient needs."""
    d = x.shape[1]
    z = x - mu  # [n, d]  generative.lee:16
    solve = torch.linalg.solve(sigma, z.T)  # [d, n]  generative.lee:17
    spread = (z * solve.T).sum(dim=1)  # [n]
    add = spread + torch.linalg.slogdet(sigma)[1]  # [n]  generative.lee:18
    return -0.5 * (add + d * 1.8378770664093453), (z, solve)


def log_density_backward(sigma, saved, d_y):
    """From d_y to the gradients by x, mu and sigma."""
    z, solve = saved
    # gradient of return -0.5 * (spread + logabsdet(sigma) + d * log(2 * pi))   generative.lee:18
    d_spread = d_y * -0.5  # [n]
    # gradient of spread = sum(z * solve(sigma, z.T).T, axis = 1)   generative.lee:17
    reshape = d_spread[:, None]  # [n, 1]
    d_z_T = torch.linalg.solve(sigma.T, (reshape * z).T)  # [d, n]
    # gradient of z = x - mu   generative.lee:16
    d_z = reshape * solve.T + d_z_T.T  # [n, d]
    d_mu = -d_z.sum(dim=0)  # [d]
    d_sigma = d_spread.sum() * torch.linalg.inv(sigma).T - d_z_T @ solve.T  # [d, d]
    return d_z, d_mu, d_sigma


def posterior(x, first, second):
    """P(c₁|x) = P(c₁) P(x|c₁) / Σ P(c) P(x|c), each class with a mean and covariance of its own.

    x [n, d], first [a, d], second [b, d] -> [n]
    """
    a = first.shape[0]
    b = second.shape[0]
    p = math.log(a / (a + b)) + log_density(x, centre(first), covariance(first))  # [n]  generative.lee:23
    q = math.log(b / (a + b)) + log_density(x, centre(second), covariance(second))  # [n]  generative.lee:24
    return torch.sigmoid(p - q)  # [n]  generative.lee:25


def posterior_saved(x, first, second):
    """As posterior, and what its gradient needs."""
    a = first.shape[0]
    b = second.shape[0]
    div_2, saved_covariance = covariance_saved(first)  # generative.lee:23
    mul_3, saved_log_density = log_density_saved(x, centre(first), div_2)
    p = math.log(a / (a + b)) + mul_3  # [n]
    div_4, saved_covariance_ = covariance_saved(second)  # generative.lee:24
    mul_3_2, saved_log_density_ = log_density_saved(x, centre(second), div_4)
    q = math.log(b / (a + b)) + mul_3_2  # [n]
    saved = div_2, saved_covariance, saved_log_density, div_4, saved_covariance_, saved_log_density_
    return torch.sigmoid(p - q), saved  # generative.lee:25


def posterior_backward(saved, div_5, d_y):
    """From d_y to the gradients by x, first and second."""
    div_2, saved_covariance, saved_log_density, div_4, saved_covariance_, saved_log_density_ = saved
    a = saved_covariance.shape[0]
    b = saved_covariance_.shape[0]
    # gradient of return exp(p) / (exp(p) + exp(q))   generative.lee:25
    d_p = d_y * (div_5 * (1 - div_5))  # [n]
    d_q = -d_p  # [n]
    # gradient of q = log(b / (a + b)) + log_density(x, centre(second), covariance(second))   generative.lee:24
    d_x_2, d_mean_2, d_div_4 = log_density_backward(div_4, saved_log_density_, d_q)
    # gradient of p = log(a / (a + b)) + log_density(x, centre(first), covariance(first))   generative.lee:23
    d_x_3, d_mean, d_div_2 = log_density_backward(div_2, saved_log_density, d_p)
    d_x = d_x_2 + d_x_3  # [n, d]
    d_first = covariance_backward(saved_covariance, d_div_2) + centre_backward(a, d_mean)  # [a, d]
    # gradient of q = log(b / (a + b)) + log_density(x, centre(second), covariance(second))   generative.lee:24
    d_second_2 = covariance_backward(saved_covariance_, d_div_4)  # [b, d]
    # gradient of p = log(a / (a + b)) + log_density(x, centre(first), covariance(first))   generative.lee:23
    d_second = d_second_2 + centre_backward(b, d_mean_2)  # [b, d]
    return d_x, d_first, d_second


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
    add = sub**2 / div_2 + torch.log(6.283185307179586 * div_2)  # [n, d]
    p = math.log(a / (a + b)) + -0.5 * add.sum(dim=1)  # [n]  generative.lee:40
    div_4 = var(second)  # [d]  generative.lee:41
    sub_2 = x - centre(second)  # [n, d]  generative.lee:47
    add_2 = sub_2**2 / div_4 + torch.log(6.283185307179586 * div_4)  # [n, d]
    q = math.log(b / (a + b)) + -0.5 * add_2.sum(dim=1)  # [n]  generative.lee:41
    return torch.sigmoid(p - q)  # [n]  generative.lee:42


def naive_posterior_saved(x, first, second):
    """As naive_posterior, and what its gradient needs."""
    a = first.shape[0]
    b = second.shape[0]
    div_2, saved_var = var_saved(first)  # generative.lee:40
    sub = x - centre(first)  # [n, d]  generative.lee:47
    div_3 = sub**2 / div_2  # [n, d]
    mul_2 = 6.283185307179586 * div_2  # [d]
    p = math.log(a / (a + b)) + -0.5 * (div_3 + torch.log(mul_2)).sum(dim=1)  # [n]  generative.lee:40
    div_4, saved_var_ = var_saved(second)  # generative.lee:41
    sub_2 = x - centre(second)  # [n, d]  generative.lee:47
    div_7 = sub_2**2 / div_4  # [n, d]
    mul_5 = 6.283185307179586 * div_4  # [d]
    q = math.log(b / (a + b)) + -0.5 * (div_7 + torch.log(mul_5)).sum(dim=1)  # [n]  generative.lee:41
    saved = div_2, saved_var, sub, div_3, mul_2, div_4, saved_var_, sub_2, div_7, mul_5
    return torch.sigmoid(p - q), saved  # generative.lee:42


def naive_posterior_backward(saved, div_5, d_y):
    """From d_y to the gradients by x, first and second."""
    div_2, saved_var, sub, div_3, mul_2, div_4, saved_var_, sub_2, div_7, mul_5 = saved
    a = saved_var.shape[0]
    b = saved_var_.shape[0]
    # gradient of return exp(p) / (exp(p) + exp(q))   generative.lee:42
    d_p = d_y * (div_5 * (1 - div_5))  # [n]
    d_q = -d_p  # [n]
    # gradient of return -0.5 * sum((x - mu) ** 2 / variance + log(2 * pi * variance), axis = 1)   generative.lee:47
    reshape = (d_q * -0.5)[:, None]  # [n, 1]
    d_sub_2_2 = reshape / div_4 * sub_2  # [n, d]
    d_div_4_2 = reshape.sum(dim=0) / mul_5 * 6.283185307179586  # [d]
    # gradient of q = log(b / (a + b)) + independent(x, centre(second), var(second, axis = 0))   generative.lee:41
    d_div_4 = d_div_4_2 - (reshape * div_7 / div_4).sum(dim=0)  # [d]
    # gradient of return -0.5 * sum((x - mu) ** 2 / variance + log(2 * pi * variance), axis = 1)   generative.lee:47
    reshape_2 = (d_p * -0.5)[:, None]  # [n, 1]
    d_sub_3 = reshape_2 / div_2 * sub  # [n, d]
    d_div_2_2 = reshape_2.sum(dim=0) / mul_2 * 6.283185307179586  # [d]
    # gradient of p = log(a / (a + b)) + independent(x, centre(first), var(first, axis = 0))   generative.lee:40
    d_div_2 = d_div_2_2 - (reshape_2 * div_3 / div_2).sum(dim=0)  # [d]
    d_x = 2 * d_sub_2_2 + 2 * d_sub_3  # [n, d]
    d_first_3 = centre_backward(a, (-2 * d_sub_3).sum(dim=0))  # [a, d]
    d_first = var_backward(saved_var, 0, d_div_2) + d_first_3  # [a, d]
    # gradient of q = log(b / (a + b)) + independent(x, centre(second), var(second, axis = 0))   generative.lee:41
    d_second_3 = centre_backward(b, (-2 * d_sub_2_2).sum(dim=0))  # [b, d]
    # gradient of p = log(a / (a + b)) + independent(x, centre(first), var(first, axis = 0))   generative.lee:40
    d_second = var_backward(saved_var_, 0, d_div_4) + d_second_3  # [b, d]
    return d_x, d_first, d_second


def independent(x, mu, variance):
    """The sum of the log densities of d numbers.

    x [n, d], mu [d], variance [d] -> [n]
    """
    sub = x - mu  # [n, d]  generative.lee:47
    add = sub**2 / variance + torch.log(6.283185307179586 * variance)  # [n, d]
    return -0.5 * add.sum(dim=1)  # [n]


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


def shared_line_saved(first, second):
    """As shared_line, and what its gradient needs."""
    a = first.shape[0]
    b = second.shape[0]
    div, saved_covariance = covariance_saved(first)  # generative.lee:52
    div_2, saved_covariance_ = covariance_saved(second)
    sigma = (a * div + b * div_2) / (a + b)  # [d, d]
    mu = centre(first)  # [d]  generative.lee:53
    nu = centre(second)  # [d]  generative.lee:54
    w = torch.linalg.solve(sigma, (mu - nu)[Ellipsis, None])[Ellipsis, 0]  # [d]  generative.lee:55
    mul_3 = 0.5 * (mu + nu)  # [d]  generative.lee:56
    bias = math.log(a / b) - mul_3 @ w
    return w, bias, (saved_covariance, saved_covariance_, sigma, mul_3)


def shared_line_backward(saved, w, d_w, d_bias):
    """From d_w and d_bias to the gradients by first and second."""
    saved_covariance, saved_covariance_, sigma, mul_3 = saved
    a = saved_covariance.shape[0]
    b = saved_covariance_.shape[0]
    # gradient of bias = log(a / b) - 0.5 * (mu + nu) @ w   generative.lee:56
    d_add_2 = -d_bias * w * 0.5  # [d]
    # gradient of w = solve(sigma, mu - nu)   generative.lee:55
    d_w_2 = d_w + mul_3 * -d_bias  # [d]
    d_sub = torch.linalg.solve(sigma.T, d_w_2[Ellipsis, None])[Ellipsis, 0]  # [d]
    d_sigma = -(d_sub[:, None] @ w[:, None].T)  # [d, d]
    # gradient of nu = centre(second)   generative.lee:54
    d_nu = d_add_2 - d_sub  # [d]
    # gradient of mu = centre(first)   generative.lee:53
    d_mu = d_add_2 + d_sub  # [d]
    # gradient of sigma = (a * covariance(first) + b * covariance(second)) / (a + b)   generative.lee:52
    d_add = d_sigma / (a + b)  # [d, d]
    d_first = centre_backward(a, d_mu) + covariance_backward(saved_covariance, d_add * a)  # [a, d]
    d_second = centre_backward(b, d_nu) + covariance_backward(saved_covariance_, d_add * b)  # [b, d]
    return d_first, d_second


def matrix_root_saved(sigma, rounds):
    """As matrix_root, and what its gradient needs."""
    d = sigma.shape[0]
    inverse = eye(d)  # [d, d]  generative.lee:63
    saved_matrix_root_step = [None] * rounds  # generative.lee:64
    for k in range(rounds):
        inverse, sigma, saved_matrix_root_step[k] = matrix_root_step_saved(inverse, sigma)
    return sigma, saved_matrix_root_step


def matrix_root_backward(saved_matrix_root_step, rounds, d_root_2):
    """From d_root_2 to the gradient by sigma."""
    d = d_root_2.shape[0]
    # gradient of for k in rounds:   generative.lee:64
    d_inverse_3 = torch.zeros((d, d), dtype=FLOAT, device=d_root_2.device)  # [d, d]
    for k in reversed(range(rounds)):
        d_inverse_3, d_root_2 = matrix_root_step_backward(saved_matrix_root_step[k], d_inverse_3, d_root_2)
    return d_root_2  # [d, d]


def matrix_root_step_saved(inverse, root):
    """As matrix_root_step, and what its gradient needs."""
    inv = torch.linalg.inv(inverse)  # [d, d]  generative.lee:65
    next_ = 0.5 * (root + inv)  # [d, d]
    inv_2 = torch.linalg.inv(root)  # [d, d]  generative.lee:66
    inverse_3 = 0.5 * (inverse + inv_2)  # [d, d]
    return inverse_3, next_, (inv, inv_2)


def matrix_root_step_backward(saved, d_inverse_3, d_next):
    """From d_inverse_3 and d_next to the gradients by inverse and root."""
    inv, inv_2 = saved
    # gradient of inverse = 0.5 * (inverse + inv(root))   generative.lee:66
    d_add_2 = d_inverse_3 * 0.5  # [d, d]
    # gradient of next = 0.5 * (root + inv(inverse))   generative.lee:65
    d_add = d_next * 0.5  # [d, d]
    d_inverse = d_add_2 - inv.T @ d_add @ inv.T  # [d, d]
    d_root = d_add - inv_2.T @ d_add_2 @ inv_2.T  # [d, d]
    return d_inverse, d_root


def sampled_saved(known, count, key):
    """As sampled, and what its gradient needs."""
    d = known.shape[1]
    e = normal(fold(key, SITES["e"]), (count, d), FLOAT, known.device)  # [count, d]  generative.lee:73
    div, saved_covariance = covariance_saved(known)  # generative.lee:74
    root_2, saved_matrix_root = matrix_root_saved(div, 20)
    return torch.addmm(centre(known), e, root_2), (e, saved_covariance, saved_matrix_root)


def sampled_backward(saved, d_add):
    """From d_add to the gradient by known."""
    e, saved_covariance, saved_matrix_root = saved
    n = saved_covariance.shape[0]
    # gradient of return centre(known) + e @ matrix_root(covariance(known), 20)   generative.lee:74
    d_div = matrix_root_backward(saved_matrix_root, 20, e.T @ d_add)  # [d, d]
    d_known_2 = covariance_backward(saved_covariance, d_div)  # [n, d]
    d_known = d_known_2 + centre_backward(n, d_add.sum(dim=0))  # [n, d]
    return d_known  # [n, d]


def example_likely(key):
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  generative.lee:78
    known = 0.3 + 2 * normal(fold(key, SITES["known"]), (20, 3), FLOAT)  # [20, 3]  generative.lee:79
    div, saved_covariance = covariance_saved(known)  # generative.lee:80
    mul_3, saved_log_density = log_density_saved(x, centre(known), div)
    d_x, d_mean, d_div = log_density_backward(div, saved_log_density, torch.ones(5, dtype=FLOAT))
    d_known_2 = covariance_backward(saved_covariance, d_div)  # [20, 3]
    return mul_3.sum(), d_x, d_known_2 + centre_backward(20, d_mean)


def example_by_bayes(key):
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  generative.lee:84
    first = 0.3 + 2 * normal(fold(key, SITES["first"]), (20, 3), FLOAT)  # [20, 3]  generative.lee:85
    second = -0.5 + normal(fold(key, SITES["second"]), (15, 3), FLOAT)  # [15, 3]  generative.lee:86
    div_5, saved_posterior = posterior_saved(x, first, second)  # generative.lee:87
    div_5_2, saved_naive_posterior = naive_posterior_saved(x, first, second)
    d_x_2, d_first_2, d_second_2 = naive_posterior_backward(saved_naive_posterior, div_5_2, 2 * div_5_2)
    d_x_3, d_first_3, d_second_3 = posterior_backward(saved_posterior, div_5, 2 * div_5)
    return (div_5**2).sum() + (div_5_2**2).sum(), d_x_2 + d_x_3, d_first_2 + d_first_3, d_second_2 + d_second_3


def example_by_a_line(key):
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  generative.lee:91
    first = 0.3 + normal(fold(key, SITES["first"]), (20, 3), FLOAT)  # [20, 3]  generative.lee:92
    second = -0.5 + normal(fold(key, SITES["second"]), (15, 3), FLOAT)  # [15, 3]  generative.lee:93
    w_2, bias_2, saved_shared_line = shared_line_saved(first, second)  # generative.lee:94
    sigmoid = torch.sigmoid(x @ w_2 + bias_2)  # [5]  prelude.lee:36
    d_add = 2 * sigmoid * (sigmoid * (1 - sigmoid))  # [5]
    d_bias_2 = d_add.sum()  # generative.lee:95
    d_w_2 = d_add @ x  # [3]
    d_first, d_second = shared_line_backward(saved_shared_line, w_2, d_w_2, d_bias_2)  # generative.lee:94
    return (sigmoid**2).sum(), d_add[:, None] * w_2, d_first, d_second


def example_drawn_anew(key):
    known = 0.3 + 2 * normal(fold(key, SITES["known"]), (20, 3), FLOAT)  # [20, 3]  generative.lee:99
    add, saved_sampled = sampled_saved(known, 50, fold(key, SITES["sampled"]))  # generative.lee:100
    return (add**2).mean(), sampled_backward(saved_sampled, 0.013333333333333334 * add)


def var(x, ddof=0):
    """Σ (x - mean)² / (n - ddof) over all entries, or along an axis or several.

    x [x_0, x_1] -> [x_1]
    """
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0, x_1]  prelude.lee:168
    total = (sub**2).sum(dim=0)  # [x_1]
    return total / (x_0 - ddof)  # [x_1]  prelude.lee:169


def var_saved(x, ddof=0):
    """As var, and what its gradient needs."""
    x_0 = x.shape[0]
    sub = x - x.mean(dim=0, keepdim=True)  # [x_0, x_1]  prelude.lee:168
    total = (sub**2).sum(dim=0)  # [x_1]
    return total / (x_0 - ddof), sub  # prelude.lee:169


def var_backward(sub, ddof, d_y):
    """From d_y to the gradient by x."""
    x_0 = sub.shape[0]
    # gradient of return total / (count(x) // count(total) - ddof)   prelude.lee:169
    d_total = d_y / (x_0 - ddof)  # [x_1]
    # gradient of total = sum((x - mean(x, axis = axis, keepdims = true)) ** 2, axis = axis, ke..   prelude.lee:168
    d_sub_2 = d_total * sub  # [x_0, x_1]
    d_x = 2 * d_sub_2 + (-2 * d_sub_2).sum(dim=0, keepdim=True) / x_0  # [x_0, x_1]
    return d_x  # [x_0, x_1]


def eye(n):
    """The unit matrix."""
    eq = torch.arange(n)[:, None] == torch.arange(n)  # bool[n, n]  prelude.lee:247
    matrix = torch.where(eq, torch.full((), 1.0, dtype=FLOAT), 0.0)  # [n, n]
    return matrix  # [n, n]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "e": 0x4F1D2FB024A5D810,
    "first": 0xA31DFC4F51C2A8A2,
    "known": 0x64655861A3D40AB2,
    "sampled": 0xEBEE0A7850B326B4,
    "second": 0xF4C52D43B87F6485,
    "x": 0x4F586EF96743DF4A,
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
