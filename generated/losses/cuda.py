"""Losses: how bad a prediction is (inventory C9 to C18).

Distances for numbers, surprise for classes. What is reduced by a mean and what by a sum is said every time.

Made from specs/activations/losses.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/activations/losses.lee
"""

from __future__ import annotations

import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


def mae(y, target):
    """1/N Σ |y - ŷ|

    y [n], target [n] -> []
    """
    return torch.abs(y - target).mean()  # losses.lee:12


def mae_saved(y, target):
    """As mae, and what its gradient needs."""
    sub = y - target  # [n]  losses.lee:12
    return torch.abs(sub).mean(), sub


def mae_backward(sub, d_out):
    """From d_out to the gradients by y and target."""
    n = sub.shape[0]
    # gradient of return mean(abs(y - target))   losses.lee:12
    d_y = d_out / n * torch.sign(sub)  # [n]
    d_target = -d_y  # [n]
    return d_y, d_target


def mse(y, target):
    """1/N Σ (y - ŷ)²

    y [n], target [n] -> []
    """
    sub = y - target  # [n]  losses.lee:17
    return (sub**2).mean()


def mse_saved(y, target):
    """As mse, and what its gradient needs."""
    sub = y - target  # [n]  losses.lee:17
    return (sub**2).mean(), sub


def mse_backward(sub, d_out):
    """From d_out to the gradients by y and target."""
    n = sub.shape[0]
    # gradient of return mean((y - target) ** 2)   losses.lee:17
    d_y = 2 * (d_out / n) * sub  # [n]
    d_target = -d_y  # [n]
    return d_y, d_target


def mseAsPrinted(y, target):
    """Some notes take the sum of the squares, which grows with the number of examples.

    y [n], target [n] -> []
    """
    sub = y - target  # [n]  losses.lee:22
    return (sub**2).sum()


def mseAsPrinted_saved(y, target):
    """As mseAsPrinted, and what its gradient needs."""
    sub = y - target  # [n]  losses.lee:22
    return (sub**2).sum(), sub


def mseAsPrinted_backward(sub, d_out):
    """From d_out to the gradients by y and target."""
    # gradient of return sum((y - target) ** 2)   losses.lee:22
    d_y = 2 * d_out * sub  # [n]
    d_target = -d_y  # [n]
    return d_y, d_target


def cross_entropy(y, target):
    """-Σᵢ ŷᵢ ln yᵢ of shares y, the mean over examples.

    y [n, k], target [n, k] -> []
    """
    return -(target * torch.log(y)).sum(dim=1).mean()  # losses.lee:30


def cross_entropy_backward(y, target, d_out):
    """From d_out to the gradient by y."""
    n = y.shape[0]
    # gradient of return -mean[i](sum[c](target[i, c] * log(y[i, c])))   losses.lee:30
    d_y = target * -(d_out / n) / y  # [n, k]
    return d_y  # [n, k]


def cross_entropyAsPrinted(y, target):
    """One set of notes drops the sign, and takes the class that was called for the one that is right.

    y [n, k], target [n, k] -> []
    """
    k = y.shape[1]
    called = y.argmax(dim=1)  # int[n]  losses.lee:35
    eq = called[:, None] == torch.arange(k, device=y.device)  # bool[n, k]  losses.lee:36
    log = torch.log(torch.where(eq, y, y.detach()))  # [n, k]
    return torch.where(eq, log, 0).sum(dim=1).mean()


def cross_entropyAsPrinted_saved(y, target):
    """As cross_entropyAsPrinted, and what its gradient needs."""
    k = y.shape[1]
    called = y.argmax(dim=1)  # int[n]  losses.lee:35
    eq = called[:, None] == torch.arange(k, device=y.device)  # bool[n, k]  losses.lee:36
    return torch.where(eq, torch.log(y), 0).sum(dim=1).mean(), eq


def cross_entropyAsPrinted_backward(y, eq, d_out):
    """From d_out to the gradient by y."""
    n = y.shape[0]
    # gradient of return mean[i](sum[c](where(called[i] == c, log(y[i, c]), 0)))   losses.lee:36
    d_y = torch.where(eq, d_out / n / y, 0)  # [n, k]
    return d_y  # [n, k]


def binary_cross_entropy(f, target):
    """-Σ ŷ ln f + (1 - ŷ) ln (1 - f)

    f [n], target [n] -> []
    """
    add = target * torch.log(f) + (1 - target) * torch.log(1 - f)  # [n]  losses.lee:41
    return -add.sum()


def binary_cross_entropyAsPrinted(f, target):
    """(1 - ŷ)(1 - ln f) in place of (1 - ŷ) ln (1 - f): it has no lower bound.

    f [n], target [n] -> []
    """
    log_f = torch.log(f)  # [n]  losses.lee:46
    return -(target * log_f + (1 - target) * (1 - log_f)).sum()


def cross_entropy_of_logits(z, label):
    """Softmax within the loss: ln Σⱼ e^zⱼ - z at the label.

    z [n, k], label int[n] -> []
    """
    cross_entropy_ = torch.nn.functional.cross_entropy(z, label, reduction="none")  # [n]  losses.lee:51
    return cross_entropy_.mean()


def cross_entropy_of_logits_backward(z, label, d_y):
    """From d_y to the gradient by z."""
    n, k = z.shape
    # gradient of return mean[i](log(sum[j](exp(z[i, j]))) - z[i, label[i]])   losses.lee:51
    eq = torch.arange(k, device=z.device)[None, :] == label[:, None]  # bool[n, k]
    d_z = (torch.softmax(z, dim=1) - eq.to(FLOAT)) * (d_y / n)  # [n, k]
    return d_z  # [n, k]


def classification_error(z, label):
    """The share of examples whose largest score is at a wrong class.

    z [n, k], label int[n] -> []
    """
    return (z.argmax(dim=1) != label).to(FLOAT).mean()  # losses.lee:56


def one_hot(label, classes):
    """A 1 at the class, 0 elsewhere.

    label int[n] -> [n, classes]
    """
    eq = label[:, None] == torch.arange(classes, device=label.device)  # bool[n, classes]  losses.lee:61
    target = torch.where(eq, torch.full((), 1.0, dtype=FLOAT, device=label.device), 0.0)  # [n, classes]
    return target  # [n, classes]


def kl_divergence(p, q):
    """Σ p ln(p / q), the mean over rows; 0 where p is 0.

    p [n, k], q [n, k] -> []
    """
    gt = p > 0  # bool[n, k]  losses.lee:70
    guard = torch.where(gt, p, p.detach())  # [n, k]
    mul = guard * torch.log(guard / torch.where(gt, q, q.detach()))  # [n, k]
    return torch.where(gt, mul, 0).sum(dim=1).mean()


def kl_divergence_saved(p, q):
    """As kl_divergence, and what its gradient needs."""
    gt = p > 0  # bool[n, k]  losses.lee:70
    div = p / q  # [n, k]
    log = torch.log(div)  # [n, k]
    return torch.where(gt, p * log, 0).sum(dim=1).mean(), (gt, div, log)


def kl_divergence_backward(p, q, saved, d_y):
    """From d_y to the gradients by p and q."""
    gt, div, log = saved
    n = p.shape[0]
    # gradient of return mean[i](sum[c](where(p[i, c] > 0, p[i, c] * log(p[i, c] / q[i, c]), 0)))   losses.lee:70
    div_2 = d_y / n
    div_3 = div_2 * p / div  # [n, k]
    d_q = torch.where(gt, -(div_3 * div / q), 0)  # [n, k]
    d_guard_2 = torch.where(gt, div_2 * log, 0)  # [n, k]
    d_p = torch.where(gt, d_guard_2 + torch.where(gt, div_3 / q, 0), 0)  # [n, k]
    return d_p, d_q


def entropy(y):
    """-Σ y ln y: 0 for a certainty, ln k for shares that are all equal.

    y [n, k] -> [n]
    """
    gt = y > 0  # bool[n, k]  losses.lee:75
    guard = torch.where(gt, y, y.detach())  # [n, k]
    spread = -torch.where(gt, guard * torch.log(guard), 0).sum(dim=1)  # [n]
    return spread  # [n]


def multi_label(z, target):
    """Every class is a question of its own: binary cross-entropy of each logit.

    z [n, k], target [n, k] -> []
    """
    mul_2 = (1 - target) * torch.nn.functional.logsigmoid(-z)  # [n, k]  losses.lee:84
    return -(target * torch.nn.functional.logsigmoid(z) + mul_2).mean()


def multi_label_saved(z, target):
    """As multi_label, and what its gradient needs."""
    log_sigmoid_z = torch.nn.functional.logsigmoid(z)  # [n, k]  losses.lee:84
    sub = 1 - target  # [n, k]
    log_sigmoid_2 = torch.nn.functional.logsigmoid(-z)  # [n, k]
    return -(target * log_sigmoid_z + sub * log_sigmoid_2).mean(), (-z, log_sigmoid_z, sub, log_sigmoid_2)


def multi_label_backward(z, target, saved, d_y):
    """From d_y to the gradients by z and target."""
    neg_z, log_sigmoid_z, sub, log_sigmoid_2 = saved
    n, k = z.shape
    # gradient of return -mean(target * log(sigmoid(z)) + (1 - target) * log(1 - sigmoid(z)))   losses.lee:84
    neg = -(d_y / (k * n))
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_z = neg * target * torch.sigmoid(-z) - neg * sub * torch.sigmoid(-neg_z)  # [n, k]
    d_target = neg * log_sigmoid_z - neg * log_sigmoid_2  # [n, k]
    return d_z, d_target


def multi_labelAsPrinted(z, target):
    """The notes exchange the two names: several labels are said to allow one class only.

    z [n, k], target [n, k] -> []
    """
    k = z.shape[1]
    y = cross_entropy(softmax(z, (1,)), one_hot(target.argmax(dim=1), k))  # losses.lee:89
    return y


def multi_labelAsPrinted_saved(z, target):
    """As multi_labelAsPrinted, and what its gradient needs."""
    k = z.shape[1]
    softmax_ = softmax(z, (1,))  # [n, k]  prelude.lee:122
    target_2 = one_hot(target.argmax(dim=1), k)  # [n, k]  losses.lee:89
    return cross_entropy(softmax_, target_2), (softmax_, target_2)


def multi_labelAsPrinted_backward(saved, d_y):
    """From d_y to the gradient by z."""
    softmax_, target_2 = saved
    # gradient of return cross_entropy(softmax(z, axis = 1), one_hot(argmax(target, axis = 1), k))   losses.lee:89
    d_softmax = cross_entropy_backward(softmax_, target_2, d_y)  # [n, k]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    d_z = softmax_ * (d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True))  # [n, k]
    return d_z  # [n, k]


def example_distances(key):
    y = normal(fold(key, SITES["y"]), (20,), FLOAT)  # [20]  losses.lee:93
    target = normal(fold(key, SITES["target"]), (20,), FLOAT)  # [20]  losses.lee:94
    value, saved_mae = mae_saved(y, target)  # losses.lee:95
    d_y, d_target = mae_backward(saved_mae, torch.ones((), dtype=FLOAT))
    return value, d_y, d_target


def example_squares(key):
    y = normal(fold(key, SITES["y"]), (20,), FLOAT)  # [20]  losses.lee:99
    target = normal(fold(key, SITES["target"]), (20,), FLOAT)  # [20]  losses.lee:100
    value, saved_mse = mse_saved(y, target)  # losses.lee:101
    d_y, d_target = mse_backward(saved_mse, torch.ones((), dtype=FLOAT))
    return value, d_y, d_target


def example_squares_as_printed(key):
    y = normal(fold(key, SITES["y"]), (20,), FLOAT)  # [20]  losses.lee:105
    target = normal(fold(key, SITES["target"]), (20,), FLOAT)  # [20]  losses.lee:106
    value, saved_mseAsPrinted = mseAsPrinted_saved(y, target)  # losses.lee:107
    d_y, d_target = mseAsPrinted_backward(saved_mseAsPrinted, torch.ones((), dtype=FLOAT))
    return value, d_y, d_target


def example_surprise(key):
    z = normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:111
    label = randint(fold(key, SITES["label"]), (12,), 0, 5)  # int[12]  losses.lee:112
    softmax_ = torch.softmax(z, dim=1)  # [12, 5]  prelude.lee:122
    target = one_hot(label, 5)  # [12, 5]  losses.lee:113
    d_softmax = cross_entropy_backward(softmax_, target, torch.ones((), dtype=FLOAT))  # [12, 5]
    sub = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [12, 5]  prelude.lee:122
    return cross_entropy(softmax_, target), softmax_ * sub


def example_surprise_as_printed(key):
    z = normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:117
    label = randint(fold(key, SITES["label"]), (12,), 0, 5)  # int[12]  losses.lee:118
    softmax_ = torch.softmax(z, dim=1)  # [12, 5]  prelude.lee:122
    value, saved_cross_entropyAsPrinted = cross_entropyAsPrinted_saved(softmax_, one_hot(label, 5))  # losses.lee:119
    d_value = torch.ones((), dtype=FLOAT)
    d_softmax = cross_entropyAsPrinted_backward(softmax_, saved_cross_entropyAsPrinted, d_value)  # [12, 5]
    sub = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [12, 5]  prelude.lee:122
    return value, softmax_ * sub


def example_yes_or_no(key):
    normal_ = normal(fold(key, SITES["z"]), (12,), FLOAT)  # [12]  losses.lee:123
    z = 2 * normal_  # [12]
    target = (uniform(fold(key, SITES["target"]), (12,), FLOAT) < 0.5).to(FLOAT)  # [12]  losses.lee:124
    neg_z = -2 * normal_  # [12]  prelude.lee:36
    log_sigmoid_z = torch.nn.functional.logsigmoid(z)  # [12]  losses.lee:41
    log_sigmoid = torch.nn.functional.logsigmoid(neg_z)  # [12]
    d_neg_z = (target - 1) * torch.sigmoid(z)  # [12]
    # prelude.lee:36
    return (
        -(target * log_sigmoid_z + (1 - target) * log_sigmoid).sum(),
        -(torch.sigmoid(neg_z) * target + d_neg_z),
        log_sigmoid - log_sigmoid_z,
    )


def example_yes_or_no_as_printed(key):
    normal_ = normal(fold(key, SITES["z"]), (12,), FLOAT)  # [12]  losses.lee:129
    z = 2 * normal_  # [12]
    target = (uniform(fold(key, SITES["target"]), (12,), FLOAT) < 0.5).to(FLOAT)  # [12]  losses.lee:130
    log_sigmoid_z = torch.nn.functional.logsigmoid(z)  # [12]  losses.lee:46
    sub = 1 - target  # [12]
    sub_2 = 1 - log_sigmoid_z  # [12]
    return (
        -(target * log_sigmoid_z + sub * sub_2).sum(),
        (sub - target) * torch.sigmoid(-2 * normal_),
        sub_2 - log_sigmoid_z,
    )


def example_logits(key):
    z = 3 * normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:135
    label = randint(fold(key, SITES["label"]), (12,), 0, 5)  # int[12]  losses.lee:136
    d_z = cross_entropy_of_logits_backward(z, label, torch.ones((), dtype=FLOAT))  # [12, 5]  losses.lee:137
    return cross_entropy_of_logits(z, label), d_z


def example_divergence(key):
    a = normal(fold(key, SITES["a"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:141
    b = normal(fold(key, SITES["b"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:142
    softmax_ = torch.softmax(a, dim=1)  # [12, 5]  prelude.lee:122
    softmax_2 = torch.softmax(b, dim=1)  # [12, 5]
    value, saved_kl_divergence = kl_divergence_saved(softmax_, softmax_2)  # losses.lee:143
    d_value = torch.ones((), dtype=FLOAT)
    d_softmax, d_softmax_2 = kl_divergence_backward(softmax_, softmax_2, saved_kl_divergence, d_value)
    sum_ = (d_softmax_2 * softmax_2).sum(dim=1, keepdim=True)  # [12, 1]  prelude.lee:122
    sub_2 = d_softmax - (d_softmax * softmax_).sum(dim=1, keepdim=True)  # [12, 5]
    return value, softmax_ * sub_2, softmax_2 * (d_softmax_2 - sum_)


def example_concentration(key):
    a = 2 * normal(fold(key, SITES["a"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:147
    c = normal(fold(key, SITES["c"]), (12,), FLOAT)  # [12]  losses.lee:148
    softmax_ = torch.softmax(a, dim=1)  # [12, 5]  prelude.lee:122
    gt = softmax_ > 0  # bool[12, 5]  losses.lee:75
    log_softmax_ = torch.log_softmax(a, dim=1)  # [12, 5]
    sum_2 = torch.where(gt, softmax_ * log_softmax_, 0).sum(dim=1)  # [12]
    reshape = (-c)[:, None]  # [12, 1]
    d_guard = torch.where(gt, reshape * log_softmax_, 0)  # [12, 5]
    d_guard_2 = torch.where(gt, reshape * softmax_, 0)  # [12, 5]
    mul_5 = torch.exp(log_softmax_) * d_guard_2.sum(dim=1, keepdim=True)  # [12, 5]
    sub = d_guard - (d_guard * softmax_).sum(dim=1, keepdim=True)  # [12, 5]  prelude.lee:122
    return -(c * sum_2).sum(), d_guard_2 - mul_5 + softmax_ * sub, -sum_2


def example_labels(key):
    z = 2 * normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:153
    target = (uniform(fold(key, SITES["target"]), (12, 5), FLOAT) < 0.4).to(FLOAT)  # [12, 5]  losses.lee:154
    value, saved_multi_label = multi_label_saved(z, target)  # losses.lee:155
    d_value = torch.ones((), dtype=FLOAT)
    d_z, d_target = multi_label_backward(z, target, saved_multi_label, d_value)
    return value, d_z, d_target


def example_labels_as_printed(key):
    z = 2 * normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:159
    target = (uniform(fold(key, SITES["target"]), (12, 5), FLOAT) < 0.4).to(FLOAT)  # [12, 5]  losses.lee:160
    value, saved_multi_labelAsPrinted = multi_labelAsPrinted_saved(z, target)  # losses.lee:161
    d_value = torch.ones((), dtype=FLOAT)
    d_z = multi_labelAsPrinted_backward(saved_multi_labelAsPrinted, d_value)  # [12, 5]
    return value, d_z, torch.zeros((12, 5), dtype=FLOAT)


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "b": 0x754F854DE3C27284,
    "c": 0x1B2C07CD64633F37,
    "label": 0x97BB9DAEC28EDB5C,
    "target": 0x41DEDA04111F843F,
    "y": 0x5FA69583C58CA30F,
    "z": 0x3041FD28A7B04184,
}


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    shifted = x - torch.where(empty, 0.0, top)
    return shifted - torch.log(torch.where(empty, 1.0, torch.exp(shifted).sum(dim=axes, keepdim=True)))


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


def uniform(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Uniform numbers in [0, 1): multiples of 2**-24, so that float32 and float64 hold the same ones."""
    return (bits(key, math.prod(shape), device) >> 8).reshape(shape).to(dtype) * 2.0**-24


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)


def randint(key: Key, shape: tuple[int, ...], low: int, high: int, device: Device = None) -> torch.Tensor:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape), device).reshape(shape)
    return (words * (high - low) >> 32 & MASK) + low
