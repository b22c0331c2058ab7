"""What lectures ask of matrices: densities, systems, spectra, roots, determinants; single ones and stacks of them.

Made from specs/linear_algebra/matrices.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/linear_algebra/matrices.lee
"""

from __future__ import annotations

import math

import numpy as np

FLOAT = np.float32


def log_density(x, mu, cov):
    """log N(x; μ, Σ) under every one of k Gaussians, from Σ = L Lᵀ.

    x [n, d], mu [k, d], cov [k, d, d] -> [n, k]
    """
    d = x.shape[1]
    factor = np.linalg.cholesky(symmetric_part(cov))  # [k, d, d]  matrices.lee:9
    centred = x.T - mu[:, :, None]  # [k, d, n]  matrices.lee:10
    white = np.linalg.solve(np.tril(factor), centred)  # [k, d, n]  matrices.lee:11
    half = np.log(np.einsum("caa->ca", factor)).sum(axis=1)  # [k]  matrices.lee:12
    transpose = white.transpose(2, 0, 1)  # [n, k, d]  matrices.lee:13
    out = -0.5 * (transpose**2).sum(axis=2) - half - 0.5 * d * 1.8378770664093453  # [n, k]
    return out  # [n, k]


def log_density_saved(x, mu, cov):
    """As log_density, and what its gradient needs."""
    d = x.shape[1]
    factor = np.linalg.cholesky(symmetric_part(cov))  # [k, d, d]  matrices.lee:9
    centred = x.T - mu[:, :, None]  # [k, d, n]  matrices.lee:10
    white = np.linalg.solve(np.tril(factor), centred)  # [k, d, n]  matrices.lee:11
    contract = np.einsum("caa->ca", factor)  # [k, d]  matrices.lee:12
    half = np.log(contract).sum(axis=1)  # [k]
    transpose = white.transpose(2, 0, 1)  # [n, k, d]  matrices.lee:13
    out = -0.5 * (transpose**2).sum(axis=2) - half - 0.5 * d * 1.8378770664093453  # [n, k]
    return out, (factor, white, contract)


def log_density_backward(saved, d_out):
    """From d_out to the gradients by x, mu and cov."""
    factor, white, contract = saved
    k, d, _ = factor.shape
    # gradient of out[i, c] = -0.5 * sum[a](white[c, a, i] ** 2) - half[c] - 0.5 * d * log(2 * pi)   matrices.lee:13
    d_half = -d_out.sum(axis=0)  # [k]
    d_transpose_2 = 2 * ((d_out * -0.5)[:, :, None] * white.transpose(2, 0, 1))  # [n, k, d]
    d_white = d_transpose_2.transpose(1, 2, 0)  # [k, d, n]
    # gradient of half[c] = sum[a](log(factor[c, a, a]))   matrices.lee:12
    eq = np.arange(d)[None, :, None] == np.arange(d)[None, None, :]  # bool[1, d, d]
    # gradient of white = solve_triangular(factor, centred, lower = true)   matrices.lee:11
    d_centred = np.linalg.solve(np.triu(factor.mT), d_white)  # [k, d, n]
    # gradient of centred[c, a, i] = x[i, a] - mu[c, a]   matrices.lee:10
    d_mu = (-d_centred.sum(axis=2, keepdims=True)).reshape(k, d)  # [k, d]
    d_x = d_centred.sum(axis=0).T  # [n, d]
    # gradient of half[c] = sum[a](log(factor[c, a, a]))   matrices.lee:12
    d_factor_2 = masked((d_half[:, None] / contract)[:, :, None], eq)  # [k, d, d]
    # gradient of factor = cholesky(cov)   matrices.lee:9
    d_factor = d_factor_2 + np.tril(-(d_centred @ white.mT))  # [k, d, d]
    contract_3 = factor.mT @ d_factor  # [k, d, d]
    mul = (np.tril(contract_3) + np.tril(contract_3, -1)) * 0.5  # [k, d, d]
    transpose_3 = np.linalg.solve(np.triu(factor.mT), mul).mT  # [k, d, d]
    solve_triangular_2 = np.linalg.solve(np.triu(factor.mT), transpose_3)  # [k, d, d]
    d_cov = (solve_triangular_2.mT + solve_triangular_2) * 0.5  # [k, d, d]
    return d_x, d_mu, d_cov


def frechet(mu, cov, nu, other):
    """The distance between two Gaussians: |μ - ν|² + tr(A + B - 2 (A^½ B A^½)^½).

    mu [d], cov [d, d], nu [d], other [d, d] -> []
    """
    root = matrix_sqrt(cov)  # [d, d]  matrices.lee:19
    sub = mu - nu  # [d]  matrices.lee:20
    sum_2 = trace(cov + other - 2 * matrix_sqrt(root @ other @ root))
    return (sub**2).sum() + sum_2


def frechet_saved(mu, cov, nu, other):
    """As frechet, and what its gradient needs."""
    root = matrix_sqrt(cov)  # [d, d]  matrices.lee:19
    sub = mu - nu  # [d]  matrices.lee:20
    contract = root @ other  # [d, d]
    matrix_sqrt_ = matrix_sqrt(contract @ root)  # [d, d]
    return (sub**2).sum() + trace(cov + other - 2 * matrix_sqrt_), (root, sub, contract, matrix_sqrt_)


def frechet_backward(other, saved, d_y):
    """From d_y to the gradients by mu, cov, nu and other."""
    root, sub, contract, matrix_sqrt_ = saved
    d = other.shape[0]
    # gradient of return sum((mu - nu) ** 2) + trace(cov + other - 2 * matrix_sqrt(root @ other..   matrices.lee:20
    d_sub_2 = trace_backward(d, d_y)  # [d, d]
    d_matrix_sqrt = -2 * d_sub_2  # [d, d]
    d_contract_2 = lyapunov(matrix_sqrt_, (d_matrix_sqrt + d_matrix_sqrt.T) * 0.5)  # [d, d]
    d_contract = d_contract_2 @ root.T  # [d, d]
    d_mu = 2 * d_y * sub  # [d]
    d_nu = -d_mu  # [d]
    # gradient of root = matrix_sqrt(cov)   matrices.lee:19
    d_root = contract.T @ d_contract_2 + d_contract @ other.T  # [d, d]
    d_cov = d_sub_2 + lyapunov(root, (d_root + d_root.T) * 0.5)  # [d, d]
    d_other = root.T @ d_contract + d_sub_2  # [d, d]
    return d_mu, d_cov, d_nu, d_other


def whitened(x):
    """x with mean 0 and covariance 1, turned as little as possible: x Σ^-½.

    x [n, d] -> [n, d]
    """
    n = x.shape[0]
    centred = x - x.mean(axis=0)  # [n, d]  matrices.lee:25
    inv = np.linalg.inv(matrix_sqrt(centred.T @ centred / n))  # [d, d]  matrices.lee:26
    return centred @ inv  # [n, d]


def whitened_saved(x):
    """As whitened, and what its gradient needs."""
    n = x.shape[0]
    centred = x - x.mean(axis=0)  # [n, d]  matrices.lee:25
    matrix_sqrt_ = matrix_sqrt(centred.T @ centred / n)  # [d, d]  matrices.lee:26
    inv = np.linalg.inv(matrix_sqrt_)  # [d, d]
    return centred @ inv, (centred, matrix_sqrt_, inv)


def whitened_backward(saved, d_y):
    """From d_y to the gradient by x."""
    centred, matrix_sqrt_, inv = saved
    n = centred.shape[0]
    # gradient of return centred @ inv(matrix_sqrt(centred.T @ centred / n))   matrices.lee:26
    contract_2 = inv.T @ (centred.T @ d_y) @ inv.T  # [d, d]
    d_contract = lyapunov(matrix_sqrt_, ((-contract_2).T - contract_2) * 0.5) / n  # [d, d]
    # gradient of centred = x - mean(x, axis = 0)   matrices.lee:25
    d_centred = d_y @ inv.T + centred @ d_contract.T + centred @ d_contract  # [n, d]
    d_x = d_centred + -d_centred.sum(axis=0) / n  # [n, d]
    return d_x  # [n, d]


def least_squares(x, y):
    """The weights that come closest to y = x w, from x = q r.

    x [n, d], y [n] -> [d]
    """
    q, r = qr(no_wider(x))  # matrices.lee:34
    return np.linalg.solve(np.triu(r), y @ q)  # [d]  matrices.lee:35


def least_squares_saved(x, y):
    """As least_squares, and what its gradient needs."""
    q, r = qr(no_wider(x))  # matrices.lee:34
    return np.linalg.solve(np.triu(r), y @ q), (q, r)  # matrices.lee:35


def least_squares_backward(y, saved, solve_triangular, d_out):
    """From d_out to the gradients by x and y."""
    q, r = saved
    # gradient of return solve_triangular(r, q.T @ y, lower = false)   matrices.lee:35
    d_contract = np.linalg.solve(np.tril(r.T), d_out)  # [d]
    d_r = np.triu(-(d_contract[:, None] @ solve_triangular[:, None].T))  # [d, d]
    d_q = y[:, None] * d_contract  # [n, d]
    d_y = q @ d_contract  # [n]
    # gradient of q, r = qr(x)   matrices.lee:34
    sub = r @ d_r.T - d_q.T @ q  # [d, d]
    transpose_3 = (d_q + q @ (np.tril(sub) + np.tril(sub, -1).T)).T  # [d, n]
    d_x = np.linalg.solve(np.triu(r), transpose_3).T  # [n, d]
    return d_x, d_y


def eliminated(a, y):
    """The solution of a x = y by Gauss's elimination: a = (lower @ upper)[order].

    a [n, n], y [n] -> [n]
    """
    lu_, lu_2, lu_3 = lu(a)  # matrices.lee:40
    rows = np.argsort(lu_, axis=0, kind="stable")  # int[n]  matrices.lee:41
    solve_triangular = np.linalg.solve(np.tril(lu_2), y[inside(rows)])  # [n]  matrices.lee:42
    return np.linalg.solve(np.triu(lu_3), solve_triangular)  # [n]


def kalman_gain(p, h, r):
    """P Hᵀ (H P Hᵀ + R)⁻¹, for a batch of filters.

    p [b, d, d], h [b, m, d], r [b, m, m] -> [b, d, m]
    """
    return p @ h.mT @ np.linalg.inv(h @ p @ h.mT + r)  # [b, d, m]  matrices.lee:48


def kalman_gain_saved(p, h, r):
    """As kalman_gain, and what its gradient needs."""
    contract = p @ h.mT  # [b, d, m]  matrices.lee:48
    contract_2 = h @ p  # [b, m, d]
    inv = np.linalg.inv(contract_2 @ h.mT + r)  # [b, m, m]
    return contract @ inv, (contract, contract_2, inv)


def kalman_gain_backward(p, h, saved, d_y):
    """From d_y to the gradients by p and h."""
    contract, contract_2, inv = saved
    # gradient of return p @ turned @ inv(h @ p @ turned + r)   matrices.lee:48
    d_contract = d_y @ inv.mT  # [b, d, m]
    d_add = -(inv.mT @ (contract.mT @ d_y) @ inv.mT)  # [b, m, m]
    d_contract_2 = d_add @ h  # [b, m, d]
    d_p = h.mT @ d_contract_2 + d_contract @ h  # [b, d, d]
    d_h = d_add.mT @ contract_2 + d_contract_2 @ p.mT + d_contract.mT @ p  # [b, m, d]
    return d_p, d_h


def principal_saved(x, k):
    """As principal, and what its gradient needs."""
    centre = x.mean(axis=0)  # [d]  matrices.lee:56
    u, s, v = svd(no_wider(x - centre))  # matrices.lee:57
    mul = u[:, :k] * s[:k]  # [n, k]  matrices.lee:58
    return centre + mul @ v[:, :k].T, (u, s, v, mul)


def principal_backward(saved, d_add):
    """From d_add to the gradient by x."""
    u, s, v, mul = saved
    n, d = u.shape
    k = mul.shape[1]
    # gradient of return centre + (u[:, :k] * s[:k]) @ v[:, :k].T   matrices.lee:58
    d_mul = d_add @ v[:, :k]  # [n, k]
    d_v = unslice(d_add.T @ mul, (d, d), (slice(0, d), slice(0, k)))  # [d, d]
    d_s = unslice((d_mul * u[:, :k]).sum(axis=0), (d,), (slice(0, k),))  # [d]
    d_u = unslice(d_mul * s[:k], (n, d), (slice(0, n), slice(0, k)))  # [n, d]
    # gradient of u, s, v = svd(x - centre)   matrices.lee:57
    reshape = s[:, None]  # [d, 1]
    contract = u.T @ d_u  # [d, d]
    max_ = np.abs(s).max(initial=-np.inf)
    reciprocal_2 = reciprocal_or_zero(s - reshape, max_)  # [d, d]
    mul_4 = reciprocal_2 * reciprocal_or_zero(s + reshape, max_)  # [d, d]
    reciprocal_3 = reciprocal_or_zero(s, max_[None, None])  # [1, d]
    contract_3 = v.T @ d_v  # [d, d]
    mul_9 = reshape * (mul_4 * (contract_3 - contract_3.T))  # [d, d]
    contract_4 = u @ (mul_4 * (contract - contract.T) * s + mul_9)  # [n, d]
    d_sub = (u * d_s + (d_u - u @ contract) * reciprocal_3 + contract_4) @ v.T  # [n, d]
    # gradient of centre = mean(x, axis = 0)   matrices.lee:56
    d_centre = d_add.sum(axis=0) - d_sub.sum(axis=0)  # [d]
    d_x = d_sub + d_centre / n  # [n, d]
    return d_x  # [n, d]


def shares(x):
    """The share of the variance along each principal direction, the largest first.

    x [n, d] -> [d]
    """
    n = x.shape[0]
    centred = x - x.mean(axis=0)  # [n, d]  matrices.lee:63
    values, _ = eigh(centred.T @ centred / n)  # matrices.lee:64
    return np.flip(values, (0,)) / values.sum()  # [d]  matrices.lee:65


def shares_saved(x):
    """As shares, and what its gradient needs."""
    n = x.shape[0]
    centred = x - x.mean(axis=0)  # [n, d]  matrices.lee:63
    values, vectors = eigh(centred.T @ centred / n)  # matrices.lee:64
    values_sum = values.sum()  # matrices.lee:65
    return np.flip(values, (0,)) / values_sum, (centred, vectors, values_sum)


def shares_backward(saved, div_2, d_y):
    """From d_y to the gradient by x."""
    centred, vectors, values_sum = saved
    n = centred.shape[0]
    # gradient of values, vectors = eigh(centred.T @ centred / n)   matrices.lee:64
    d_values = np.flip(d_y / values_sum, (0,)) - (d_y * div_2 / values_sum).sum()  # [d]
    contract = vectors * d_values @ vectors.T  # [d, d]
    d_contract = (contract + contract.T) * 0.5 / n  # [d, d]
    # gradient of centred = x - mean(x, axis = 0)   matrices.lee:63
    d_centred = centred @ d_contract.T + centred @ d_contract  # [n, d]
    d_x = d_centred + -d_centred.sum(axis=0) / n  # [n, d]
    return d_x  # [n, d]


def embedding_saved(weights, k):
    """As embedding, and what its gradient needs."""
    matrix, saved_diag = diag_saved(weights.sum(axis=1))  # matrices.lee:70
    laplacian = matrix - weights  # [n, n]
    values, vectors = eigh(laplacian)  # matrices.lee:71
    return vectors[:, 1 : k + 1], (saved_diag, values, vectors)  # matrices.lee:72


def embedding_backward(saved, d_slice):
    """From d_slice to the gradient by weights."""
    saved_diag, values, vectors = saved
    n = values.shape[0]
    k = d_slice.shape[1]
    # gradient of return vectors[:, 1 : k + 1]   matrices.lee:72
    d_vectors = unslice(d_slice, (n, n), (slice(0, n), slice(1, k + 1)))  # [n, n]
    # gradient of values, vectors = eigh(laplacian)   matrices.lee:71
    max_ = np.abs(values).max(initial=-np.inf)
    reciprocal = reciprocal_or_zero(values - values[:, None], max_)  # [n, n]
    contract_3 = vectors @ (reciprocal * (vectors.T @ d_vectors)) @ vectors.T  # [n, n]
    d_laplacian = (contract_3 + contract_3.T) * 0.5  # [n, n]
    # gradient of laplacian = diag(sum(weights, axis = 1)) - weights   matrices.lee:70
    d_weights = diag_backward(saved_diag, d_laplacian)[:, None] - d_laplacian  # [n, n]
    return d_weights  # [n, n]


def nuclear(a):
    """The sum of the singular values, which is small for matrices of low rank.

    a [n, d] -> []
    """
    _, s, _ = svd(no_wider(a))  # matrices.lee:77
    return s.sum()  # matrices.lee:78


def nuclear_saved(a):
    """As nuclear, and what its gradient needs."""
    u, s, v = svd(no_wider(a))  # matrices.lee:77
    return s.sum(), (u, v)  # matrices.lee:78


def nuclear_backward(saved, d_y):
    """From d_y to the gradient by a."""
    u, v = saved
    # gradient of u, s, v = svd(a)   matrices.lee:77
    d_a = u * d_y @ v.T  # [n, d]
    return d_a  # [n, d]


def evenness(a):
    """The spread of the eigenvalues about their mean; where they are all equal it and its gradient are 0.

    a [n, n] -> []
    """
    values, _ = eigh(a)  # matrices.lee:83
    sub = values - values.mean()  # [n]  matrices.lee:84
    return (sub**2).sum()


def evenness_saved(a):
    """As evenness, and what its gradient needs."""
    values, vectors = eigh(a)  # matrices.lee:83
    sub = values - values.mean()  # [n]  matrices.lee:84
    return (sub**2).sum(), (vectors, sub)


def evenness_backward(saved, d_y):
    """From d_y to the gradient by a."""
    vectors, sub = saved
    n = vectors.shape[0]
    # gradient of return sum((values - mean(values)) ** 2)   matrices.lee:84
    d_sub = 2 * d_y * sub  # [n]
    # gradient of values, vectors = eigh(a)   matrices.lee:83
    d_values = d_sub - d_sub.sum() / n  # [n]
    contract = vectors * d_values @ vectors.T  # [n, n]
    d_a = (contract + contract.T) * 0.5  # [n, n]
    return d_a  # [n, n]


def volume(a):
    """det a, whose gradient are the cofactors, also where a is singular.

    a [n, n] -> []
    """
    return np.linalg.det(a)  # matrices.lee:92


def volume_backward(a, d_y):
    """From d_y to the gradient by a."""
    # gradient of return det(a)   matrices.lee:92
    d_a = d_y * cofactor(a)  # [n, n]
    return d_a  # [n, n]


def change_of_variables(z, weight):
    """log p(x) of x = W⁻¹ z, z standard normal: the flow's log |det W| comes on top.

    z [n, d], weight [d, d] -> [n]
    """
    d = z.shape[1]
    _, log_abs = np.linalg.slogdet(weight)  # matrices.lee:97
    sub = -0.5 * (z**2).sum(axis=1) - 0.5 * d * 1.8378770664093453  # [n]  matrices.lee:98
    return sub + log_abs  # [n]


def change_of_variables_backward(z, weight, d_y):
    """From d_y to the gradients by z and weight."""
    # gradient of return -0.5 * sum(z ** 2, axis = 1) - 0.5 * d * log(2 * pi) + log_abs   matrices.lee:98
    d_log_abs = d_y.sum()
    # gradient of direction, log_abs = slogdet(weight)   matrices.lee:97
    d_weight = d_log_abs * np.linalg.inv(weight).T  # [d, d]
    d_z = 2 * ((d_y * -0.5)[:, None] * z)  # [n, d]
    return d_z, d_weight


def orthogonal_penalty(a):
    """What lies above the diagonal of aᵀa, squared: 0 for orthogonal columns.

    a [n, n] -> []
    """
    triu = np.triu(a.T @ a, 1)  # [n, n]  matrices.lee:103
    return (triu**2).sum()


def orthogonal_penalty_saved(a):
    """As orthogonal_penalty, and what its gradient needs."""
    triu = np.triu(a.T @ a, 1)  # [n, n]  matrices.lee:103
    return (triu**2).sum(), triu


def orthogonal_penalty_backward(a, triu, d_y):
    """From d_y to the gradient by a."""
    # gradient of return sum(triu(a.T @ a, k = 1) ** 2)   matrices.lee:103
    d_contract = np.triu(2 * d_y * triu, 1)  # [n, n]
    d_a = a @ d_contract.T + a @ d_contract  # [n, n]
    return d_a  # [n, n]


def example_densities(key):
    x = normal(fold(key, SITES["x"]), (5, 3), FLOAT)  # [5, 3]  matrices.lee:110
    mu = normal(fold(key, SITES["mu"]), (2, 3), FLOAT)  # [2, 3]  matrices.lee:111
    a = normal(fold(key, SITES["a"]), (2, 3, 3), FLOAT)  # [2, 3, 3]  matrices.lee:112
    cov = a @ a.mT + (np.arange(3)[:, None] == np.arange(3)).astype(FLOAT)  # [2, 3, 3]  matrices.lee:113
    out, saved_log_density = log_density_saved(x, mu, cov)  # matrices.lee:114
    d_x, d_mu, d_cov = log_density_backward(saved_log_density, np.ones((5, 2), dtype=FLOAT))
    return out.sum(), d_x, d_mu, d_cov @ a + d_cov.mT @ a  # matrices.lee:113


def example_distance(key):
    mu = normal(fold(key, SITES["mu"]), (3,), FLOAT)  # [3]  matrices.lee:118
    nu = normal(fold(key, SITES["nu"]), (3,), FLOAT)  # [3]  matrices.lee:119
    a = normal(fold(key, SITES["a"]), (3, 3), FLOAT)  # [3, 3]  matrices.lee:120
    b = normal(fold(key, SITES["b"]), (3, 3), FLOAT)  # [3, 3]  matrices.lee:121
    add_2 = b @ b.T + eye(3)  # [3, 3]  matrices.lee:122
    value, saved_frechet = frechet_saved(mu, a @ a.T + eye(3), nu, add_2)
    d_mu, d_add, d_nu, d_add_2 = frechet_backward(add_2, saved_frechet, FLOAT(1.0))
    return value, d_mu, d_nu, d_add @ a + d_add.T @ a, d_add_2 @ b + d_add_2.T @ b


def example_whitening(key):
    x = normal(fold(key, SITES["x"]), (7, 3), FLOAT)  # [7, 3]  matrices.lee:126
    u = normal(fold(key, SITES["u"]), (7, 3), FLOAT)  # [7, 3]  matrices.lee:127
    d_u, saved_whitened = whitened_saved(x)  # matrices.lee:128
    return (d_u * u).sum(), whitened_backward(saved_whitened, u), d_u


def example_fit(key):
    x = normal(fold(key, SITES["x"]), (7, 3), FLOAT)  # [7, 3]  matrices.lee:132
    y = normal(fold(key, SITES["y"]), (7,), FLOAT)  # [7]  matrices.lee:133
    u = normal(fold(key, SITES["u"]), (3,), FLOAT)  # [3]  matrices.lee:134
    d_u, saved_least_squares = least_squares_saved(x, y)  # matrices.lee:135
    d_x, d_y = least_squares_backward(y, saved_least_squares, d_u, u)
    return (d_u * u).sum(), d_x, d_y, d_u


def example_elimination(key):
    a = normal(fold(key, SITES["a"]), (4, 4), FLOAT)  # [4, 4]  matrices.lee:139
    y = normal(fold(key, SITES["y"]), (4,), FLOAT)  # [4]  matrices.lee:140
    return eliminated(a, y)  # [4]  matrices.lee:141


def example_gains(key):
    a = normal(fold(key, SITES["a"]), (2, 3, 3), FLOAT)  # [2, 3, 3]  matrices.lee:145
    h = normal(fold(key, SITES["h"]), (2, 2, 3), FLOAT)  # [2, 2, 3]  matrices.lee:146
    p = a @ a.mT + (np.arange(3)[:, None] == np.arange(3)).astype(FLOAT)  # [2, 3, 3]  matrices.lee:147
    cast_2 = (np.arange(2)[:, None] == np.arange(2)).astype(FLOAT)  # [2, 2]  matrices.lee:148
    r = np.broadcast_to(cast_2, (2, 2, 2))  # [2, 2, 2]
    contract_4, saved_kalman_gain = kalman_gain_saved(p, h, r)  # matrices.lee:149
    d_contract_4 = np.ones((2, 3, 2), dtype=FLOAT)  # [2, 3, 2]
    d_p, d_h = kalman_gain_backward(p, h, saved_kalman_gain, d_contract_4)
    return contract_4.sum(), d_p @ a + d_p.mT @ a, d_h  # matrices.lee:147


def example_components(key):
    x = normal(fold(key, SITES["x"]), (7, 3), FLOAT)  # [7, 3]  matrices.lee:153
    add, saved_principal = principal_saved(x, 2)  # matrices.lee:154
    mul = add**2  # [7, 3]
    return (mul * add).sum(), principal_backward(saved_principal, 2 * mul + mul)


def example_variance(key):
    x = normal(fold(key, SITES["x"]), (7, 3), FLOAT)  # [7, 3]  matrices.lee:158
    div_2, saved_shares = shares_saved(x)  # matrices.lee:159
    return (div_2**2).sum(), shares_backward(saved_shares, div_2, 2 * div_2)


def example_map(key):
    a = 0.1 + 0.9 * uniform(fold(key, SITES["a"]), (5, 5), FLOAT)  # [5, 5]  matrices.lee:163
    u = normal(fold(key, SITES["u"]), (5, 2), FLOAT)  # [5, 2]  matrices.lee:164
    d_u, saved_embedding = embedding_saved(a + a.T, 2)  # matrices.lee:165
    d_add = embedding_backward(saved_embedding, u)  # [5, 5]
    return (d_u * u).sum(), d_add + d_add.T, d_u


def example_low_rank(key):
    a = normal(fold(key, SITES["a"]), (4, 3), FLOAT)  # [4, 3]  matrices.lee:169
    value, saved_nuclear = nuclear_saved(a)  # matrices.lee:170
    return value, nuclear_backward(saved_nuclear, FLOAT(1.0))


def example_even(key):
    a = normal(fold(key, SITES["a"]), (3, 3), FLOAT)  # [3, 3]  matrices.lee:174
    sum_, saved_evenness = evenness_saved(a)  # matrices.lee:175
    return sum_ + evenness(eye(3)), evenness_backward(saved_evenness, FLOAT(1.0))


def example_flat(key):
    a = normal(fold(key, SITES["a"]), (3, 2), FLOAT)  # [3, 2]  matrices.lee:179
    b = normal(fold(key, SITES["b"]), (2, 3), FLOAT)  # [2, 3]  matrices.lee:180
    contract = a @ b  # [3, 3]  matrices.lee:181
    d_contract = volume_backward(contract, FLOAT(1.0))  # [3, 3]
    return volume(contract), d_contract @ b.T, a.T @ d_contract


def example_flow(key):
    z = normal(fold(key, SITES["z"]), (4, 3), FLOAT)  # [4, 3]  matrices.lee:185
    weight = normal(fold(key, SITES["weight"]), (3, 3), FLOAT)  # [3, 3]  matrices.lee:186
    contract = z @ weight  # [4, 3]  matrices.lee:187
    sum_2, saved_orthogonal_penalty = orthogonal_penalty_saved(weight)
    d_weight_2 = orthogonal_penalty_backward(weight, saved_orthogonal_penalty, FLOAT(1.0))  # [3, 3]
    d_contract, d_weight_3 = change_of_variables_backward(contract, weight, np.ones(4, dtype=FLOAT))
    return (
        change_of_variables(contract, weight).sum() + sum_2,
        d_contract @ weight.T,
        d_weight_2 + d_weight_3 + z.T @ d_contract,
    )


def diag_saved(x):
    """As diag, and what its gradient needs."""
    x_0 = x.shape[0]
    eq = np.arange(x_0)[:, None] == np.arange(x_0)  # bool[x_0, x_0]  prelude.lee:230
    matrix = masked(x[:, None], eq)  # [x_0, x_0]
    return matrix, eq


def diag_backward(eq, d_matrix):
    """From d_matrix to the gradient by x."""
    # gradient of matrix[i in size(x), j in size(x)] = where(i == j, x[i], 0)   prelude.lee:230
    d_x = masked(d_matrix, eq).sum(axis=1)  # [x_0]
    return d_x  # [x_0]


def trace(x):
    """Σ xᵢᵢ

    x [n, n] -> []
    """
    return np.einsum("ii->i", x).sum()  # prelude.lee:242


def trace_backward(n, d_y):
    """From d_y to the gradient by x."""
    # gradient of return sum[i](x[i, i])   prelude.lee:242
    eq = np.arange(n)[:, None] == np.arange(n)[None, :]  # bool[n, n]
    d_x = masked(np.broadcast_to(d_y, (n,))[:, None], eq)  # [n, n]
    return d_x  # [n, n]


def eye(n):
    """The unit matrix."""
    matrix = np.where(np.arange(n)[:, None] == np.arange(n), FLOAT(1.0), 0.0)  # [n, n]  prelude.lee:247
    return matrix  # [n, n]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "h": 0x30335FE014629146,
    "mu": 0xFEC63872DC35BD31,
    "nu": 0xFD19F691BD422A05,
    "u": 0x08D267E10C593806,
    "weight": 0x84E02E3EDC717246,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
}


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = np.abs(x) > 100 * np.finfo(x.dtype).eps * scale
    return np.where(far, 1 / np.where(far, x, 1), 0)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = np.abs(vectors)
    first = np.argmax(size >= 0.999 * size.max(axis=-2, keepdims=True), axis=-2)
    largest = np.take_along_axis(vectors, first[..., None, :], axis=-2)
    return np.where(largest < 0, -1, 1).astype(vectors.dtype)


def eigh(a):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    return values, vectors * signs_of_columns(vectors)


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    u, s, vt = np.linalg.svd(a, full_matrices=False)
    sign = signs_of_columns(u)
    return u * sign, s, vt.mT * sign


def no_wider(a):
    """a itself. Raises ValueError where it has more columns than rows."""
    if a.shape[-2] < a.shape[-1]:
        raise ValueError(f"a matrix of {a.shape[-2]} rows and {a.shape[-1]} columns: factorise its transpose")
    return a


def qr(a):
    """q with orthonormal columns and r, upper triangular, with a = q @ r; the diagonal of r is never negative."""
    q, r = np.linalg.qr(a)
    sign = np.where(np.diagonal(r, axis1=-2, axis2=-1) < 0, -1, 1).astype(a.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def lu(a):
    """order, lower, upper with a = (lower @ upper)[order]: elimination, of every column the largest entry is the pivot."""
    a = a.copy()
    n = a.shape[-1]
    rows = np.broadcast_to(np.arange(n), a.shape[:-1]).copy()
    for k in range(n):
        pivot = k + np.abs(a[..., k:, k]).argmax(axis=-1)
        swap = np.broadcast_to(np.arange(n), rows.shape).copy()
        np.put_along_axis(swap, pivot[..., None], k, axis=-1)
        swap[..., k] = pivot
        a = np.take_along_axis(a, swap[..., None], axis=-2)
        rows = np.take_along_axis(rows, swap, axis=-1)
        top = a[..., k, k]
        a[..., k + 1 :, k] /= np.where(top == 0, 1, top)[..., None]
        a[..., k + 1 :, k + 1 :] -= a[..., k + 1 :, k, None] * a[..., k, None, k + 1 :]
    return rows.argsort(axis=-1), np.tril(a, -1) + np.eye(n, dtype=a.dtype), np.triu(a)


def cofactor(a):
    """The derivative of det(a) by a, also where a is singular: from its singular values, all but one multiplied."""
    u, s, vt = np.linalg.svd(a)
    others = np.where(np.eye(s.shape[-1], dtype=bool), 1, s[..., None, :]).prod(axis=-1)
    sign = np.sign(np.linalg.det(u @ vt))[..., None, None]
    return sign * (u * others[..., None, :]) @ vt


def matrix_sqrt(a):
    """The root of the symmetric part, which has no negative eigenvalues but for rounding."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    return vectors * np.sqrt(np.maximum(values, 0))[..., None, :] @ vectors.mT


def lyapunov(a, y):
    """x with a @ x + x @ a = y, where a is the symmetric part; where eigenvalues of a cancel, x has no share."""
    values, vectors = np.linalg.eigh(symmetric_part(a))
    sums = values[..., :, None] + values[..., None, :]
    scale = np.abs(values).max(axis=-1)[..., None, None]
    return vectors @ (vectors.mT @ y @ vectors * reciprocal_or_zero(sums, scale)) @ vectors.mT


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


def uniform(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape)) >> 8).reshape(shape).astype(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2) >> 8).reshape(-1, 2).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1)
    return pairs.ravel()[:n].reshape(shape).astype(dtype)
