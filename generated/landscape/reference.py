"""What a loss looks like near a point (inventory S1 to S5): slopes, curvature, and where they lead.

Made from specs/analysis/landscape.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/analysis/landscape.lee
"""

from __future__ import annotations

import math

import numpy as np

FLOAT = np.float32


def small_net(θ, x, y):
    """A net of two neurons, all its numbers side by side in one vector.

    θ [13], x [n, 4], y [n] -> []
    """
    w = θ[:8].reshape(4, 2)  # [4, 2]  landscape.lee:8
    a = np.tanh(x @ w + θ[8:10])  # [n, 2]  landscape.lee:9
    return mse(a @ θ[10:12] + θ[12], y)  # landscape.lee:10


def small_net_saved(θ, x, y):
    """As small_net, and what its gradient needs."""
    w = θ[:8].reshape(4, 2)  # [4, 2]  landscape.lee:8
    a = np.tanh(x @ w + θ[8:10])  # [n, 2]  landscape.lee:9
    mean, saved_mse = mse_saved(a @ θ[10:12] + θ[12], y)  # landscape.lee:10
    return mean, (a, saved_mse)


def small_net_backward(θ, x, saved, d_out):
    """From d_out to the gradient by θ."""
    a, saved_mse = saved
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_add_2 = mse_backward(saved_mse, d_out)  # [n]
    d_a = d_add_2[:, None] * θ[10:12]  # [n, 2]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_add = d_a * (1 - a**2)  # [n, 2]
    d_w = x.T @ d_add  # [4, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_slice_4 = d_add_2.sum(axis=0, keepdims=True)  # [1]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_slice_2 = d_add.sum(axis=0)  # [2]
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_θ = np.concatenate((d_w.reshape(8), d_slice_2, d_add_2 @ a, d_slice_4), axis=0)  # [13]
    return d_θ  # [13]


def small_net_backward_saved(θ, x, saved, d_out):
    """From d_out to the gradients by θ, add_2, mul and a."""
    a, saved_mse = saved
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_add_2, saved_mse_backward = mse_backward_saved(saved_mse, d_out)
    d_a = d_add_2[:, None] * θ[10:12]  # [n, 2]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    sub_2 = 1 - a**2  # [n, 2]
    d_add = d_a * sub_2  # [n, 2]
    d_w = x.T @ d_add  # [4, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_slice_4 = d_add_2.sum(axis=0, keepdims=True)  # [1]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_slice_2 = d_add.sum(axis=0)  # [2]
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_θ = np.concatenate((d_w.reshape(8), d_slice_2, d_add_2 @ a, d_slice_4), axis=0)  # [13]
    return d_θ, (d_add_2, saved_mse_backward, d_a, sub_2)


def small_net_backward_backward(θ, x, a, saved, d_d_θ):
    """From d_add_2, d_mul, d_a and d_d_θ to the gradients by θ, a and sub."""
    d_add_2, saved_mse_backward, d_a, sub_2 = saved
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_d_w = d_d_θ[:8].reshape(4, 2)  # [4, 2]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_d_add = x @ d_d_w + d_d_θ[8:10]  # [n, 2]
    d_d_a = d_d_add * sub_2  # [n, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_d_slice_3 = d_d_θ[10:12]  # [2]
    d_d_add_2 = a @ d_d_slice_3 + d_d_a @ θ[10:12] + d_d_θ[12:]  # [n]
    d_θ = unslice(d_add_2 @ d_d_a, (13,), (slice(10, 12),))  # [13]
    d_a_2 = -2 * (a * (d_d_add * d_a)) + d_add_2[:, None] * d_d_slice_3  # [n, 2]
    return d_θ, d_a_2, mse_backward_backward(saved_mse_backward, d_d_add_2)


def small_net_backward_backward_saved(θ, x, a, saved, d_d_θ):
    """From d_add_2, d_mul, d_a and d_d_θ to the gradients by θ, a, sub, d_add, d_a and mul_2."""
    d_add_2, saved_mse_backward, d_a, sub_2 = saved
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_d_w = d_d_θ[:8].reshape(4, 2)  # [4, 2]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_d_add = x @ d_d_w + d_d_θ[8:10]  # [n, 2]
    d_d_a = d_d_add * sub_2  # [n, 2]
    d_mul_2 = -(d_d_add * d_a)  # [n, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_d_slice_3 = d_d_θ[10:12]  # [2]
    d_d_add_2 = a @ d_d_slice_3 + d_d_a @ θ[10:12] + d_d_θ[12:]  # [n]
    d_θ = unslice(d_add_2 @ d_d_a, (13,), (slice(10, 12),))  # [13]
    d_a_2 = 2 * (d_mul_2 * a) + d_add_2[:, None] * d_d_slice_3  # [n, 2]
    return d_θ, d_a_2, mse_backward_backward(saved_mse_backward, d_d_add_2), (d_d_add, d_d_a, d_mul_2)


def small_net_backward_backward_backward(θ, x, a, d_add_2, d_mul, d_a, sub_2, d_d_θ, saved, d_d_θ_2, d_d_a_2, d_y):
    """From d_add_2, d_mul, d_a, d_d_θ, d_d_add, d_d_a, d_mul_2, d_d_θ_2, d_d_a_2 and d_y to the gradients by θ, x, a, d_add_2, d_a, sub_2 and d_d_θ."""
    d_d_add, d_d_a, d_mul_2 = saved
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_d_w = d_d_θ[:8].reshape(4, 2)  # [4, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_d_slice_3 = d_d_θ[10:12]  # [2]
    d_d_slice_3_2 = d_d_θ_2[10:12]  # [2]
    d_d_d_add_2 = mse_backward_backward_backward(d_mul, d_y)  # [n]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_a_4 = d_d_a_2 * d_mul_2  # [n, 2]
    d_d_sub_2 = -2 * (d_d_a_2 * a)  # [n, 2]
    d_d_a_3 = d_d_sub_2 * d_d_add  # [n, 2]
    d_d_d_a = d_add_2[:, None] * d_d_slice_3_2 + d_d_d_add_2[:, None] * θ[10:12]  # [n, 2]
    d_d_d_add = d_d_sub_2 * d_a + d_d_d_a * sub_2  # [n, 2]
    d_x = d_d_d_add @ d_d_w.T  # [n, 4]
    d_d_d_w = x.T @ d_d_d_add  # [4, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_θ = unslice(d_d_d_add_2 @ d_d_a, (13,), (slice(10, 12),))  # [13]
    d_a_2 = d_d_d_add_2[:, None] * d_d_slice_3 + d_a_4 + d_a_4  # [n, 2]
    d_reshape_2 = d_d_d_add_2.sum(axis=0, keepdims=True)  # [1]
    d_d_d_slice_3 = d_d_d_add_2 @ a + d_add_2 @ d_d_a_2  # [2]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_d_d_slice_2 = d_d_d_add.sum(axis=0)  # [2]
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_d_d_slice = d_d_d_w.reshape(8)  # [8]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_d_d_θ = np.concatenate((d_d_d_slice, d_d_d_slice_2, d_d_d_slice_3, d_reshape_2), axis=0)  # [13]
    return d_θ, d_x, d_a_2, d_d_a @ d_d_slice_3_2 + d_d_a_2 @ d_d_slice_3, d_d_a_3, d_d_d_a * d_d_add, d_d_d_θ


def small_net_backward_saved_backward(θ, a, saved, d_d_add_2, d_d_a, d_sub_2):
    """From d_add_2, d_mul, d_d_add_2, d_d_a and d_sub_2 to the gradients by θ, a and sub."""
    d_add_2, saved_mse_backward, _, _ = saved
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_sub = mse_backward_backward(saved_mse_backward, d_d_add_2 + d_d_a @ θ[10:12])  # [n]
    d_θ = unslice(d_add_2 @ d_d_a, (13,), (slice(10, 12),))  # [13]
    d_a = -2 * (a * d_sub_2)  # [n, 2]
    return d_θ, d_a, d_sub


def small_net_saved_backward(θ, x, saved, d_a, d_sub):
    """From d_a and d_sub to the gradient by θ."""
    a, _ = saved
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_add_2 = mse_saved_backward(d_sub)  # [n]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_a_2 = d_a + d_add_2[:, None] * θ[10:12]  # [n, 2]
    d_add = d_a_2 * (1 - a**2)  # [n, 2]
    d_w = x.T @ d_add  # [4, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_slice_4 = d_add_2.sum(axis=0, keepdims=True)  # [1]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_slice_2 = d_add.sum(axis=0)  # [2]
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_θ = np.concatenate((d_w.reshape(8), d_slice_2, d_add_2 @ a, d_slice_4), axis=0)  # [13]
    return d_θ  # [13]


def small_net_saved_backward_saved(θ, x, saved, d_a, d_sub):
    """From d_a and d_sub to the gradients by θ, add_2, a_2 and add."""
    a, _ = saved
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_add_2 = mse_saved_backward(d_sub)  # [n]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_a_2 = d_a + d_add_2[:, None] * θ[10:12]  # [n, 2]
    sub = 1 - a**2  # [n, 2]
    d_add = d_a_2 * sub  # [n, 2]
    d_w = x.T @ d_add  # [4, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_slice_4 = d_add_2.sum(axis=0, keepdims=True)  # [1]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_slice_2 = d_add.sum(axis=0)  # [2]
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_θ = np.concatenate((d_w.reshape(8), d_slice_2, d_add_2 @ a, d_slice_4), axis=0)  # [13]
    return d_θ, (d_add_2, d_a_2, sub, d_add)


def small_net_saved_backward_backward(θ, x, a, saved, d_d_θ):
    """From d_add_2, d_a_2, d_add and d_d_θ to the gradients by θ, x, a, d_a and d_sub."""
    d_add_2, d_a_2, sub, d_add = saved
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_d_w = d_d_θ[:8].reshape(4, 2)  # [4, 2]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_x = d_add @ d_d_w.T  # [n, 4]
    d_d_add = x @ d_d_w + d_d_θ[8:10]  # [n, 2]
    d_d_a_2 = d_d_add * sub  # [n, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_d_slice_3 = d_d_θ[10:12]  # [2]
    d_d_add_2 = a @ d_d_slice_3 + d_d_a_2 @ θ[10:12] + d_d_θ[12:]  # [n]
    d_d_sub = mse_saved_backward_backward(d_d_add_2)  # [n]
    d_θ = unslice(d_add_2 @ d_d_a_2, (13,), (slice(10, 12),))  # [13]
    d_a = -2 * (a * (d_d_add * d_a_2)) + d_add_2[:, None] * d_d_slice_3  # [n, 2]
    return d_θ, d_x, d_a, d_d_a_2, d_d_sub


def small_net_saved_backward_2(θ, x, saved, d_a, d_sub):
    """From d_a and d_sub to the gradients by θ, x and y."""
    a, _ = saved
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    w = θ[:8].reshape(4, 2)  # [4, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_add_2, d_y = mse_saved_backward_2(d_sub)
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_a_2 = d_a + d_add_2[:, None] * θ[10:12]  # [n, 2]
    d_add = d_a_2 * (1 - a**2)  # [n, 2]
    d_x = d_add @ w.T  # [n, 4]
    d_w = x.T @ d_add  # [4, 2]
    # gradient of return mse(a @ θ[10:12] + θ[12], y)   landscape.lee:10
    d_slice_4 = d_add_2.sum(axis=0, keepdims=True)  # [1]
    # gradient of a = tanh(x @ w + θ[8:10])   landscape.lee:9
    d_slice_2 = d_add.sum(axis=0)  # [2]
    # gradient of w = reshape(θ[:8], [4, 2])   landscape.lee:8
    d_θ = np.concatenate((d_w.reshape(8), d_slice_2, d_add_2 @ a, d_slice_4), axis=0)  # [13]
    return d_θ, d_x, d_y


def toy(θ, x, y):
    """y = w₁ w₂ x: the origin is a saddle.

    θ [2], x [n], y [n] -> []
    """
    sub = y - θ[0] * θ[1] * x  # [n]  landscape.lee:15
    return (sub**2).sum()


def toy_saved(θ, x, y):
    """As toy, and what its gradient needs."""
    sub = y - θ[0] * θ[1] * x  # [n]  landscape.lee:15
    return (sub**2).sum(), sub


def toy_backward_saved(θ, x, sub, d_out):
    """From d_out to the gradients by θ and mul."""
    # gradient of return sum((y - θ[0] * θ[1] * x) ** 2)   landscape.lee:15
    d_mul = (-2 * d_out * sub * x).sum()
    d_θ = np.stack((d_mul * θ[1], d_mul * θ[0]))  # [2]
    return d_θ, d_mul


def toy_backward_backward(θ, x, d_sum, d_mul, d_d_θ):
    """From d_sum, d_mul and d_d_θ to the gradients by θ and sub."""
    # gradient of return sum((y - θ[0] * θ[1] * x) ** 2)   landscape.lee:15
    d_θ = np.stack((d_d_θ[1] * d_mul, d_d_θ[0] * d_mul))  # [2]
    return d_θ, -2 * (d_sum * ((d_d_θ[1] * θ[0] + d_d_θ[0] * θ[1]) * x))


def toy_backward_backward_backward(x, d_sum, d_d_θ, d_d_θ_2, d_d_sub_2):
    """From d_sum, d_d_θ, d_d_θ_2 and d_d_sub_2 to the gradients by θ and d_mul."""
    # gradient of return sum((y - θ[0] * θ[1] * x) ** 2)   landscape.lee:15
    d_d_d_mul = (-2 * d_sum * d_d_sub_2 * x).sum()
    d_θ = np.stack((d_d_d_mul * d_d_θ[1], d_d_d_mul * d_d_θ[0]))  # [2]
    return d_θ, d_d_θ_2[1] * d_d_θ[0] + d_d_θ_2[0] * d_d_θ[1]


def toy_backward_saved_backward(x, d_sum, d_y):
    """From d_sum and d_y to the gradient by sub."""
    # gradient of return sum((y - θ[0] * θ[1] * x) ** 2)   landscape.lee:15
    return -2 * (d_sum * (d_y * x))  # [n]


def toy_saved_backward(θ, x, d_sub):
    """From d_sub to the gradient by θ."""
    # gradient of return sum((y - θ[0] * θ[1] * x) ** 2)   landscape.lee:15
    d_mul = -(x * d_sub).sum()
    d_θ = np.stack((d_mul * θ[1], d_mul * θ[0]))  # [2]
    return d_θ  # [2]


def toy_saved_backward_saved(θ, x, d_sub):
    """From d_sub to the gradients by θ and mul."""
    # gradient of return sum((y - θ[0] * θ[1] * x) ** 2)   landscape.lee:15
    d_mul = -(x * d_sub).sum()
    d_θ = np.stack((d_mul * θ[1], d_mul * θ[0]))  # [2]
    return d_θ, d_mul


def toy_saved_backward_backward(θ, x, d_mul, d_d_θ):
    """From d_mul and d_d_θ to the gradients by θ and d_sub."""
    # gradient of return sum((y - θ[0] * θ[1] * x) ** 2)   landscape.lee:15
    d_d_sub = -((d_d_θ[1] * θ[0] + d_d_θ[0] * θ[1]) * x)  # [n]
    d_θ = np.stack((d_d_θ[1] * d_mul, d_d_θ[0] * d_mul))  # [2]
    return d_θ, d_d_sub


def curvature(θ, along, x, y):
    """H v, as the gradient of the slope along v.

    θ [13], along [13], x [x_0, 4], y [x_0] -> [13]
    """
    _, saved_small_net = small_net_saved(θ, x, y)  # landscape.lee:23
    _, saved_small_net_backward = small_net_backward_saved(θ, x, saved_small_net, FLOAT(1.0))
    d_θ_2, d_a_2, d_sub = small_net_backward_backward(θ, x, saved_small_net[0], saved_small_net_backward, along)
    d_θ_3 = small_net_saved_backward(θ, x, saved_small_net, d_a_2, d_sub)  # [13]
    return d_θ_2 + d_θ_3  # [13]


def curvature_saved(θ, along, x, y):
    """As curvature, and what its gradient needs."""
    _, saved_small_net = small_net_saved(θ, x, y)  # landscape.lee:23
    _, saved_small_net_backward = small_net_backward_saved(θ, x, saved_small_net, FLOAT(1.0))
    d_θ_2, d_a_2, d_sub, saved_small_net_backward_backward = small_net_backward_backward_saved(
        θ, x, saved_small_net[0], saved_small_net_backward, along
    )
    d_θ_3, saved_small_net_saved_backward = small_net_saved_backward_saved(θ, x, saved_small_net, d_a_2, d_sub)
    saved = (
        saved_small_net,
        saved_small_net_backward,
        along,
        saved_small_net_backward_backward,
        saved_small_net_saved_backward,
    )
    return d_θ_2 + d_θ_3, saved


def curvature_backward(θ, x, saved, d_out):
    """From d_add_2, d_mul, d_a, d_slope, d_d_add, d_d_a, d_mul_2_2, d_add_2_2, d_a_2_2, d_add and d_out to the gradients by θ, along, x and y."""
    saved_small_net, saved_small_net_backward, along, saved_small_net_backward_backward, saved_small_net_saved_backward = saved
    # gradient of slope = grad(cost(θ, x, y), θ)   landscape.lee:23
    d_θ_2, d_x_2, d_a_3, d_d_a_2, d_d_sub = small_net_saved_backward_backward(
        θ, x, saved_small_net[0], saved_small_net_saved_backward, d_out
    )
    d_θ_3, d_x_3, d_a_4, d_d_add_2, d_d_a_3, d_sub_2, d_d_slope = small_net_backward_backward_backward(
        θ,
        x,
        saved_small_net[0],
        saved_small_net_backward[0],
        saved_small_net_backward[1],
        saved_small_net_backward[2],
        saved_small_net_backward[3],
        along,
        saved_small_net_backward_backward,
        d_out,
        d_d_a_2,
        d_d_sub,
    )
    d_θ_4, d_a_5, d_sub = small_net_backward_saved_backward(
        θ, saved_small_net[0], saved_small_net_backward, d_d_add_2, d_d_a_3, d_sub_2
    )
    d_a_2 = d_a_3 + d_a_4 + d_a_5  # [x_0, 2]
    d_θ_5, d_x_4, d_y = small_net_saved_backward_2(θ, x, saved_small_net, d_a_2, d_sub)
    d_θ = d_θ_2 + d_θ_3 + d_θ_4 + d_θ_5  # [13]
    d_x = d_x_2 + d_x_3 + d_x_4  # [x_0, 4]
    return d_θ, d_d_slope, d_x, d_y


def curvature_2(θ, along, x, y):
    """H v, as the gradient of the slope along v.

    θ [2], along [2], x [x_0], y [x_0] -> [2]
    """
    _, saved_toy = toy_saved(θ, x, y)  # landscape.lee:23
    _, saved_toy_backward = toy_backward_saved(θ, x, saved_toy, FLOAT(1.0))
    d_θ_2, d_sub = toy_backward_backward(θ, x, FLOAT(1.0), saved_toy_backward, along)
    return d_θ_2 + toy_saved_backward(θ, x, d_sub)  # [2]


def curvature_2_saved(θ, along, x, y):
    """As curvature_2, and what its gradient needs."""
    _, saved_toy = toy_saved(θ, x, y)  # landscape.lee:23
    _, saved_toy_backward = toy_backward_saved(θ, x, saved_toy, FLOAT(1.0))
    d_θ_2, d_sub = toy_backward_backward(θ, x, FLOAT(1.0), saved_toy_backward, along)
    d_θ_3, saved_toy_saved_backward = toy_saved_backward_saved(θ, x, d_sub)
    return d_θ_2 + d_θ_3, (along, saved_toy_saved_backward)


def curvature_2_backward(θ, x, saved, d_out):
    """From d_slope, d_mul_3 and d_out to the gradient by θ."""
    along, saved_toy_saved_backward = saved
    # gradient of slope = grad(cost(θ, x, y), θ)   landscape.lee:23
    d_θ_2, d_d_sub = toy_saved_backward_backward(θ, x, saved_toy_saved_backward, d_out)
    d_θ_3, d_d_mul = toy_backward_backward_backward(x, FLOAT(1.0), along, d_out, d_d_sub)
    d_sub = toy_backward_saved_backward(x, FLOAT(1.0), d_d_mul)  # [x_0]
    d_θ = d_θ_2 + d_θ_3 + toy_saved_backward(θ, x, d_sub)  # [2]
    return d_θ  # [2]


def hessian(θ, x, y):
    """Its rows, one after the other: H eᵢ.

    θ [2], x [x_0], y [x_0] -> [2, 2]
    """
    unit = eye(2)  # [2, 2]  landscape.lee:29
    d_θ = curvature_2(θ, unit[0], x, y)  # [2]  landscape.lee:32
    return np.stack((d_θ, curvature_2(θ, unit[1], x, y)))  # [2, 2]  landscape.lee:33


def hessian_saved(θ, x, y):
    """As hessian, and what its gradient needs."""
    unit = eye(2)  # [2, 2]  landscape.lee:29
    d_θ, saved_curvature_2 = curvature_2_saved(θ, unit[0], x, y)  # landscape.lee:32
    d_θ_2, saved_curvature_2_ = curvature_2_saved(θ, unit[1], x, y)
    return np.stack((d_θ, d_θ_2)), (saved_curvature_2, saved_curvature_2_)  # landscape.lee:33


def hessian_backward(θ, x, saved, d_out):
    """From d_slope_2, d_mul_3_2, d_slope, d_mul_3 and d_out to the gradient by θ."""
    saved_curvature_2, saved_curvature_2_ = saved
    # gradient of rows = rows + (curvature(θ, unit[i], x, y, cost),)   landscape.lee:32
    d_θ_2 = curvature_2_backward(θ, x, saved_curvature_2_, d_out[1])  # [2]
    d_θ = d_θ_2 + curvature_2_backward(θ, x, saved_curvature_2, d_out[0])  # [2]
    return d_θ  # [2]


def hessian_2(θ, x, y):
    """Its rows, one after the other: H eᵢ.

    θ [13], x [x_0, 4], y [x_0] -> [13, 13]
    """
    unit = eye(13)  # [13, 13]  landscape.lee:29
    d_θ_11 = curvature(θ, unit[10], x, y)  # [13]  landscape.lee:32
    d_θ_12 = curvature(θ, unit[11], x, y)  # [13]
    d_θ_13 = curvature(θ, unit[12], x, y)  # [13]
    d_θ = curvature(θ, unit[0], x, y)  # [13]
    d_θ_2 = curvature(θ, unit[1], x, y)  # [13]
    d_θ_3 = curvature(θ, unit[2], x, y)  # [13]
    d_θ_4 = curvature(θ, unit[3], x, y)  # [13]
    d_θ_5 = curvature(θ, unit[4], x, y)  # [13]
    d_θ_6 = curvature(θ, unit[5], x, y)  # [13]
    d_θ_7 = curvature(θ, unit[6], x, y)  # [13]
    d_θ_8 = curvature(θ, unit[7], x, y)  # [13]
    d_θ_9 = curvature(θ, unit[8], x, y)  # [13]
    d_θ_10 = curvature(θ, unit[9], x, y)  # [13]
    # [13, 13]  landscape.lee:33
    out = np.stack((d_θ, d_θ_2, d_θ_3, d_θ_4, d_θ_5, d_θ_6, d_θ_7, d_θ_8, d_θ_9, d_θ_10, d_θ_11, d_θ_12, d_θ_13))
    return out  # [13, 13]


def extremes(h, rounds):
    """The largest and the smallest eigenvalue of a symmetric matrix, each with its vector, by power iteration.

    h [p, p] -> [], [p], [], [p]
    """
    p = h.shape[0]
    bound = np.sqrt((h**2).sum())  # landscape.lee:38
    mul_2 = bound * eye(p)  # [p, p]  landscape.lee:39
    high, up = leading(h + mul_2, rounds)
    low, down = leading(mul_2 - h, rounds)  # landscape.lee:40
    return high - bound, up, bound - low, down  # landscape.lee:41


def leading(h, rounds):
    """The eigenvalue of largest size, and its vector: the matrix squared again and again.

    h [p, p] -> [], [p]
    """
    p = h.shape[0]
    power = h  # landscape.lee:47
    for k in range(rounds):
        power = leading_step(power)
    v = power @ (np.arange(p).astype(FLOAT) + 1)  # [p]  landscape.lee:49
    u = v / norm(v)  # [p]  landscape.lee:50
    return u @ h @ u, u  # landscape.lee:51


def leading_step(power):
    """power [p, p] -> [p, p]"""
    contract = power @ power  # [p, p]  landscape.lee:48
    power_3 = contract / np.sqrt((contract**2).sum())  # [p, p]
    return power_3  # [p, p]


def kind_of_point(h):
    """1 for a minimum, where every eigenvalue is above 0; -1 for a maximum; 0 for a saddle.

    h [p, p] -> []
    """
    high, _, low, _ = extremes(h, 30)  # landscape.lee:56
    return np.where(low > 0, 1, np.where(high < 0, -1, 0))  # landscape.lee:57


def second_order(θ, at, x, y):
    """L(θ) ≈ L(θ') + (θ - θ')ᵀ g + ½ (θ - θ')ᵀ H (θ - θ').

    θ [13], at [13], x [x_0, 4], y [x_0] -> []
    """
    value, saved_small_net = small_net_saved(at, x, y)  # landscape.lee:65
    slope = small_net_backward(at, x, saved_small_net, FLOAT(1.0))  # [13]
    d = θ - at  # [13]  landscape.lee:67
    return value + d @ slope + 0.5 * d @ curvature(at, d, x, y)  # landscape.lee:68


def lowest_nearby(θ, radius, x, y):
    """In a ball so small that the loss is a plane, the lowest point lies at its border, along -g.

    θ [13], x [x_0, 4], y [x_0] -> [13]
    """
    _, saved_small_net = small_net_saved(θ, x, y)  # landscape.lee:73
    slope = small_net_backward(θ, x, saved_small_net, FLOAT(1.0))  # [13]
    return θ - radius * slope / norm(slope)  # [13]  landscape.lee:74


def escaped(θ, reach, x, y):
    """At a saddle the slope is 0, but along the eigenvector of an eigenvalue below 0 the loss falls.

    θ [2], x [x_0], y [x_0] -> [2]
    """
    _, _, low, down_2 = extremes(hessian(θ, x, y), 30)  # landscape.lee:79
    return np.where(low < 0, θ + reach * down_2, θ)  # [2]  landscape.lee:80


def surface(first, second, x, y):
    """The loss of y = w₁ x₁ + w₂ x₂ over a grid of both weights: contour lines are drawn from it.

    first [a], second [b], x [n, 2], y [n] -> [a, b]
    """
    reshape_3 = (first[:, None] * x[:, 0])[:, None]  # [a, 1, n]  landscape.lee:85
    sub = reshape_3 + second[:, None] * x[:, 1] - y  # [a, b, n]
    height = (sub**2).mean(axis=2)  # [a, b]
    return height  # [a, b]


def surface_saved(first, second, x, y):
    """As surface, and what its gradient needs."""
    contract = x[:, 0]  # [n]  landscape.lee:85
    contract_2 = x[:, 1]  # [n]
    reshape_3 = (first[:, None] * contract)[:, None]  # [a, 1, n]
    sub = reshape_3 + second[:, None] * contract_2 - y  # [a, b, n]
    height = (sub**2).mean(axis=2)  # [a, b]
    return height, (contract, contract_2, sub)


def surface_backward(first, second, saved, d_height):
    """From d_height to the gradients by first, second, x and y."""
    contract, contract_2, sub = saved
    n = contract.shape[0]
    # gradient of height[i, j] = mean[r]((first[i] * x[r, 0] + second[j] * x[r, 1] - y[r]) ** 2)   landscape.lee:85
    d_sub_2 = (d_height / n)[:, :, None] * sub  # [a, b, n]
    d_sub = 2 * d_sub_2  # [a, b, n]
    d_y = (-2 * d_sub_2).sum(axis=(0, 1))  # [n]
    d_mul_2 = d_sub.sum(axis=0)  # [b, n]
    d_mul = d_sub.sum(axis=1)  # [a, n]
    reshape_4 = (d_mul_2 * second[:, None]).sum(axis=0)[:, None]  # [n, 1]
    d_second = (d_mul_2 * contract_2).sum(axis=1)  # [b]
    reshape_5 = (d_mul * first[:, None]).sum(axis=0)[:, None]  # [n, 1]
    d_first = (d_mul * contract).sum(axis=1)  # [a]
    d_x_2 = unslice(reshape_4, (n, 2), (slice(0, n), slice(1, 2)))  # [n, 2]
    d_x = d_x_2 + unslice(reshape_5, (n, 2), (slice(0, n), slice(0, 1)))  # [n, 2]
    return d_first, d_second, d_x, d_y


def toy_hessian(θ, x, y):
    """θ [2], x [n], y [n] -> [2, 2]"""
    return hessian(θ, x, y)  # [2, 2]  landscape.lee:93


def toy_hessian_saved(θ, x, y):
    """As toy_hessian, and what its gradient needs."""
    concat, saved_hessian = hessian_saved(θ, x, y)  # landscape.lee:93
    return concat, saved_hessian


def toy_hessian_backward(θ, x, saved_hessian, d_out):
    """From d_slope_2, d_mul_3_2, d_slope, d_mul_3 and d_out to the gradient by θ."""
    # gradient of return hessian(θ, x, y, toy, 2)   landscape.lee:93
    d_θ = hessian_backward(θ, x, saved_hessian, d_out)  # [2]
    return d_θ  # [2]


def net_hessian(θ, x, y):
    """θ [13], x [n, 4], y [n] -> [13, 13]"""
    return hessian_2(θ, x, y)  # [13, 13]  landscape.lee:97


def net_extremes(θ, x, y):
    """θ [13], x [n, 4], y [n] -> [], [13], [], [13]"""
    sub_2, up, sub_3, down = extremes(hessian_2(θ, x, y), 30)  # landscape.lee:101
    return sub_2, up, sub_3, down


def net_model(θ, at, x, y):
    """θ [13], at [13], x [n, 4], y [n] -> []"""
    return second_order(θ, at, x, y)  # landscape.lee:105


def net_lowest(θ, radius, x, y):
    """θ [13], x [n, 4], y [n] -> [13]"""
    return lowest_nearby(θ, radius, x, y)  # [13]  landscape.lee:109


def toy_escaped(θ, reach, x, y):
    """θ [2], x [n], y [n] -> [2]"""
    return escaped(θ, reach, x, y)  # [2]  landscape.lee:113


def example_bent(key):
    θ = 0.5 * normal(fold(key, SITES["θ"]), (13,), FLOAT)  # [13]  landscape.lee:117
    v = normal(fold(key, SITES["v"]), (13,), FLOAT)  # [13]  landscape.lee:118
    x = normal(fold(key, SITES["x"]), (6, 4), FLOAT)  # [6, 4]  landscape.lee:119
    y = normal(fold(key, SITES["y"]), (6,), FLOAT)  # [6]  landscape.lee:120
    d_θ, saved_curvature = curvature_saved(θ, v, x, y)  # landscape.lee:121
    d_θ_2, d_v, d_x, d_y = curvature_backward(θ, x, saved_curvature, 2 * d_θ)
    return (d_θ**2).sum(), d_θ_2, d_v, d_x, d_y


def example_saddle(key):
    θ = 0.1 * normal(fold(key, SITES["θ"]), (2,), FLOAT)  # [2]  landscape.lee:125
    x = np.ones(1, dtype=FLOAT)  # [1]  landscape.lee:126
    concat, saved_toy_hessian = toy_hessian_saved(θ, x, x)  # landscape.lee:128
    return (concat**2).sum(), toy_hessian_backward(θ, x, saved_toy_hessian, 2 * concat)


def example_contour(key):
    first = normal(fold(key, SITES["first"]), (3,), FLOAT)  # [3]  landscape.lee:132
    second = normal(fold(key, SITES["second"]), (4,), FLOAT)  # [4]  landscape.lee:133
    x = normal(fold(key, SITES["x"]), (6, 2), FLOAT)  # [6, 2]  landscape.lee:134
    y = normal(fold(key, SITES["y"]), (6,), FLOAT)  # [6]  landscape.lee:135
    height, saved_surface = surface_saved(first, second, x, y)  # landscape.lee:136
    d_first, d_second, d_x, d_y = surface_backward(first, second, saved_surface, 2 * height)
    return (height**2).sum(), d_first, d_second, d_x, d_y


def example_nearby(key):
    θ = 0.5 * normal(fold(key, SITES["θ"]), (13,), FLOAT)  # [13]  landscape.lee:140
    x = normal(fold(key, SITES["x"]), (6, 4), FLOAT)  # [6, 4]  landscape.lee:141
    y = normal(fold(key, SITES["y"]), (6,), FLOAT)  # [6]  landscape.lee:142
    fill = np.zeros(2, dtype=FLOAT)  # [2]  landscape.lee:144
    value_2 = toy_escaped(fill, 0.1, np.ones(1, dtype=FLOAT), np.ones(1, dtype=FLOAT))  # [2]  landscape.lee:143
    return small_net(net_lowest(θ, 0.01, x, y), x, y), net_model(θ + 0.1, θ, x, y), value_2


def mse(y, target):
    """mean (y - target)²

    y [y_0], target [y_0] -> []
    """
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub**2)


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [y_0]  losses.lee:13
    return reduced(sub**2), sub


def mse_backward(sub, d_out):
    """From d_out to the gradient by y."""
    y_0 = sub.shape[0]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_y = 2 * (reduced_backward(y_0, d_out) * sub)  # [y_0]
    return d_y  # [y_0]


def mse_backward_saved(sub, d_out):
    """From d_out to the gradients by y and mul."""
    y_0 = sub.shape[0]
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_mul = reduced_backward(y_0, d_out)  # [y_0]
    d_y = 2 * (d_mul * sub)  # [y_0]
    return d_y, d_mul


def mse_backward_backward(d_mul, d_d_y):
    """From d_mul and d_d_y to the gradient by sub."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    return 2 * (d_d_y * d_mul)  # [y_0]


def mse_backward_backward_backward(d_mul, d_y):
    """From d_mul and d_y to the gradient by d_d_y."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_d_d_y = 2 * (d_y * d_mul)  # [y_0]
    return d_d_d_y  # [y_0]


def mse_saved_backward(d_sub):
    """From d_sub to the gradient by y."""
    return d_sub  # [y_0]


def mse_saved_backward_backward(d_d_y):
    """From d_d_y to the gradient by d_sub."""
    return d_d_y  # [y_0]


def mse_saved_backward_2(d_sub):
    """From d_sub to the gradients by y and target."""
    # gradient of return reduced((y - target) ** 2, reduce)   losses.lee:13
    d_target = -d_sub  # [y_0]
    return d_sub, d_target


def reduced(each):
    """The mean of all, or each by itself.

    each [each_0] -> []
    """
    return each.mean()  # losses.lee:148


def reduced_backward(each_0, d_y):
    """From d_y to the gradient by each."""
    # gradient of return mean(each)   losses.lee:148
    d_each = np.broadcast_to(d_y / each_0, (each_0,))  # [each_0]
    return d_each  # [each_0]


def norm(x):
    """√(Σ xᵢ²); at 0 the gradient is 0.

    x [x_0] -> []
    """
    return np.sqrt((x**2).sum())  # prelude.lee:163


def eye(n):
    """The unit matrix."""
    matrix = np.where(np.arange(n)[:, None] == np.arange(n), FLOAT(1.0), 0.0)  # [n, n]  prelude.lee:247
    return matrix  # [n, n]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "first": 0xA31DFC4F51C2A8A2,
    "second": 0xF4C52D43B87F6485,
    "v": 0x9DF7DC769517EBA3,
    "x": 0x4F586EF96743DF4A,
    "y": 0x5FA69583C58CA30F,
    "θ": 0x543291B86F539084,
}


def unslice(x, dims, slices):
    """Zeros of the given dims with x in the place of a slice."""
    whole = np.zeros(dims, x.dtype)
    whole[slices] = x
    return whole


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
