"""Losses: how bad a prediction is (inventory C9 to C18).

Distances for numbers, surprise for classes. What is reduced by a mean and what by a sum is said every time.

Made from specs/activations/losses.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/activations/losses.lee
"""

from __future__ import annotations

import math

import numpy as np

FLOAT = np.float32


def mae(y, target):
    """1/N Σ |y - ŷ|

    y [n], target [n] -> []
    """
    return np.abs(y - target).mean()  # losses.lee:12


def mae_saved(y, target):
    """As mae, and what its gradient needs."""
    sub = y - target  # [n]  losses.lee:12
    return np.abs(sub).mean(), sub


def mae_backward(sub, d_out):
    """From d_out to the gradients by y and target."""
    n = sub.shape[0]
    # gradient of return mean(abs(y - target))   losses.lee:12
    d_y = d_out / n * np.sign(sub)  # [n]
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
    return -(target * np.log(y)).sum(axis=1).mean()  # losses.lee:30


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
    called = y.argmax(axis=1)  # int[n]  losses.lee:35
    masked_ = masked(np.log(y), called[:, None] == np.arange(k))  # [n, k]  losses.lee:36
    return masked_.sum(axis=1).mean()


def cross_entropyAsPrinted_saved(y, target):
    """As cross_entropyAsPrinted, and what its gradient needs."""
    k = y.shape[1]
    called = y.argmax(axis=1)  # int[n]  losses.lee:35
    eq = called[:, None] == np.arange(k)  # bool[n, k]  losses.lee:36
    return masked(np.log(y), eq).sum(axis=1).mean(), eq


def cross_entropyAsPrinted_backward(y, eq, d_out):
    """From d_out to the gradient by y."""
    n = y.shape[0]
    # gradient of return mean[i](sum[c](where(called[i] == c, log(y[i, c]), 0)))   losses.lee:36
    d_y = masked(d_out / n / y, eq)  # [n, k]
    return d_y  # [n, k]


def binary_cross_entropy(f, target):
    """-Σ ŷ ln f + (1 - ŷ) ln (1 - f)

    f [n], target [n] -> []
    """
    return -(target * np.log(f) + (1 - target) * np.log(1 - f)).sum()  # losses.lee:41


def binary_cross_entropyAsPrinted(f, target):
    """(1 - ŷ)(1 - ln f) in place of (1 - ŷ) ln (1 - f): it has no lower bound.

    f [n], target [n] -> []
    """
    log_f = np.log(f)  # [n]  losses.lee:46
    return -(target * log_f + (1 - target) * (1 - log_f)).sum()


def cross_entropy_of_logits(z, label):
    """Softmax within the loss: ln Σⱼ e^zⱼ - z at the label.

    z [n, k], label int[n] -> []
    """
    n = z.shape[0]
    return (-log_softmax(z, (1,))[np.arange(n), inside(label)]).mean()  # losses.lee:51


def cross_entropy_of_logits_backward(z, label, d_y):
    """From d_y to the gradient by z."""
    n, k = z.shape
    # gradient of return mean[i](log(sum[j](exp(z[i, j]))) - z[i, label[i]])   losses.lee:51
    one_hot_ = (np.arange(k)[None, :] == label[:, None]).astype(FLOAT)  # [n, k]
    d_z = (softmax(z, (1,)) - one_hot_) * (d_y / n)  # [n, k]
    return d_z  # [n, k]


def classification_error(z, label):
    """The share of examples whose largest score is at a wrong class.

    z [n, k], label int[n] -> []
    """
    return (z.argmax(axis=1) != label).astype(FLOAT).mean()  # losses.lee:56


def one_hot(label, classes):
    """A 1 at the class, 0 elsewhere.

    label int[n] -> [n, classes]
    """
    target = np.where(label[:, None] == np.arange(classes), FLOAT(1.0), 0.0)  # [n, classes]  losses.lee:61
    return target  # [n, classes]


def kl_divergence(p, q):
    """Σ p ln(p / q), the mean over rows; 0 where p is 0.

    p [n, k], q [n, k] -> []
    """
    return masked(p * np.log(p / q), p > 0).sum(axis=1).mean()  # losses.lee:70


def kl_divergence_saved(p, q):
    """As kl_divergence, and what its gradient needs."""
    gt = p > 0  # bool[n, k]  losses.lee:70
    div = p / q  # [n, k]
    log = np.log(div)  # [n, k]
    return masked(p * log, gt).sum(axis=1).mean(), (gt, div, log)


def kl_divergence_backward(p, q, saved, d_y):
    """From d_y to the gradients by p and q."""
    gt, div, log = saved
    n = p.shape[0]
    # gradient of return mean[i](sum[c](where(p[i, c] > 0, p[i, c] * log(p[i, c] / q[i, c]), 0)))   losses.lee:70
    div_2 = d_y / n
    div_3 = div_2 * p / div  # [n, k]
    d_q = masked(-(div_3 * div / q), gt)  # [n, k]
    d_p = masked(masked(div_2 * log, gt) + masked(div_3 / q, gt), gt)  # [n, k]
    return d_p, d_q


def entropy(y):
    """-Σ y ln y: 0 for a certainty, ln k for shares that are all equal.

    y [n, k] -> [n]
    """
    spread = -masked(y * np.log(y), y > 0).sum(axis=1)  # [n]  losses.lee:75
    return spread  # [n]


def multi_label(z, target):
    """Every class is a question of its own: binary cross-entropy of each logit.

    z [n, k], target [n, k] -> []
    """
    log_sigmoid = np.minimum(-z, 0) - np.log1p(np.exp(-np.abs(-z)))  # [n, k]  losses.lee:84
    mul = target * (np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z))))  # [n, k]
    return -(mul + (1 - target) * log_sigmoid).mean()


def multi_label_saved(z, target):
    """As multi_label, and what its gradient needs."""
    log_sigmoid_z = np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))  # [n, k]  losses.lee:84
    sub = 1 - target  # [n, k]
    log_sigmoid_2 = np.minimum(-z, 0) - np.log1p(np.exp(-np.abs(-z)))  # [n, k]
    return -(target * log_sigmoid_z + sub * log_sigmoid_2).mean(), (-z, log_sigmoid_z, sub, log_sigmoid_2)


def multi_label_backward(z, target, saved, d_y):
    """From d_y to the gradients by z and target."""
    neg_z, log_sigmoid_z, sub, log_sigmoid_2 = saved
    n, k = z.shape
    # gradient of return -mean(target * log(sigmoid(z)) + (1 - target) * log(1 - sigmoid(z)))   losses.lee:84
    neg = -(d_y / (k * n))
    sigmoid = np.exp(np.minimum(-neg_z, 0)) / (1 + np.exp(-np.abs(-neg_z)))  # [n, k]
    sigmoid_2 = np.exp(np.minimum(-z, 0)) / (1 + np.exp(-np.abs(-z)))  # [n, k]
    # gradient of return 1 / (1 + exp(-x))   prelude.lee:36
    d_z = neg * target * sigmoid_2 - neg * sub * sigmoid  # [n, k]
    d_target = neg * log_sigmoid_z - neg * log_sigmoid_2  # [n, k]
    return d_z, d_target


def multi_labelAsPrinted(z, target):
    """The notes exchange the two names: several labels are said to allow one class only.

    z [n, k], target [n, k] -> []
    """
    k = z.shape[1]
    y = cross_entropy(softmax(z, (1,)), one_hot(target.argmax(axis=1), k))  # losses.lee:89
    return y


def multi_labelAsPrinted_saved(z, target):
    """As multi_labelAsPrinted, and what its gradient needs."""
    k = z.shape[1]
    softmax_ = softmax(z, (1,))  # [n, k]  prelude.lee:122
    target_2 = one_hot(target.argmax(axis=1), k)  # [n, k]  losses.lee:89
    return cross_entropy(softmax_, target_2), (softmax_, target_2)


def multi_labelAsPrinted_backward(saved, d_y):
    """From d_y to the gradient by z."""
    softmax_, target_2 = saved
    # gradient of return cross_entropy(softmax(z, axis = 1), one_hot(argmax(target, axis = 1), k))   losses.lee:89
    d_softmax = cross_entropy_backward(softmax_, target_2, d_y)  # [n, k]
    # gradient of return e / sum(e, axis = single_axis(x, axis), keepdims = true)   prelude.lee:122
    sum_ = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [n, 1]
    d_z = softmax_ * (d_softmax - sum_)  # [n, k]
    return d_z  # [n, k]


def example_distances(key):
    y = normal(fold(key, SITES["y"]), (20,), FLOAT)  # [20]  losses.lee:93
    target = normal(fold(key, SITES["target"]), (20,), FLOAT)  # [20]  losses.lee:94
    value, saved_mae = mae_saved(y, target)  # losses.lee:95
    d_y, d_target = mae_backward(saved_mae, FLOAT(1.0))
    return value, d_y, d_target


def example_squares(key):
    y = normal(fold(key, SITES["y"]), (20,), FLOAT)  # [20]  losses.lee:99
    target = normal(fold(key, SITES["target"]), (20,), FLOAT)  # [20]  losses.lee:100
    value, saved_mse = mse_saved(y, target)  # losses.lee:101
    d_y, d_target = mse_backward(saved_mse, FLOAT(1.0))
    return value, d_y, d_target


def example_squares_as_printed(key):
    y = normal(fold(key, SITES["y"]), (20,), FLOAT)  # [20]  losses.lee:105
    target = normal(fold(key, SITES["target"]), (20,), FLOAT)  # [20]  losses.lee:106
    value, saved_mseAsPrinted = mseAsPrinted_saved(y, target)  # losses.lee:107
    d_y, d_target = mseAsPrinted_backward(saved_mseAsPrinted, FLOAT(1.0))
    return value, d_y, d_target


def example_surprise(key):
    z = normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:111
    label = randint(fold(key, SITES["label"]), (12,), 0, 5)  # int[12]  losses.lee:112
    softmax_ = softmax(z, (1,))  # [12, 5]  prelude.lee:122
    target = one_hot(label, 5)  # [12, 5]  losses.lee:113
    d_softmax = cross_entropy_backward(softmax_, target, FLOAT(1.0))  # [12, 5]
    sum_ = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [12, 1]  prelude.lee:122
    return cross_entropy(softmax_, target), softmax_ * (d_softmax - sum_)


def example_surprise_as_printed(key):
    z = normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:117
    label = randint(fold(key, SITES["label"]), (12,), 0, 5)  # int[12]  losses.lee:118
    softmax_ = softmax(z, (1,))  # [12, 5]  prelude.lee:122
    value, saved_cross_entropyAsPrinted = cross_entropyAsPrinted_saved(softmax_, one_hot(label, 5))  # losses.lee:119
    d_value = FLOAT(1.0)
    d_softmax = cross_entropyAsPrinted_backward(softmax_, saved_cross_entropyAsPrinted, d_value)  # [12, 5]
    sum_ = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [12, 1]  prelude.lee:122
    return value, softmax_ * (d_softmax - sum_)


def example_yes_or_no(key):
    normal_ = normal(fold(key, SITES["z"]), (12,), FLOAT)  # [12]  losses.lee:123
    z = 2 * normal_  # [12]
    target = (uniform(fold(key, SITES["target"]), (12,), FLOAT) < 0.5).astype(FLOAT)  # [12]  losses.lee:124
    neg_z = -2 * normal_  # [12]  prelude.lee:36
    log_sigmoid_z = np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))  # [12]  losses.lee:41
    log_sigmoid = np.minimum(neg_z, 0) - np.log1p(np.exp(-np.abs(neg_z)))  # [12]
    sigmoid = np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))  # [12]
    sigmoid_2 = np.exp(np.minimum(neg_z, 0)) / (1 + np.exp(-np.abs(neg_z)))  # [12]
    # prelude.lee:36
    return (
        -(target * log_sigmoid_z + (1 - target) * log_sigmoid).sum(),
        -(sigmoid_2 * target + (target - 1) * sigmoid),
        log_sigmoid - log_sigmoid_z,
    )


def example_yes_or_no_as_printed(key):
    normal_ = normal(fold(key, SITES["z"]), (12,), FLOAT)  # [12]  losses.lee:129
    z = 2 * normal_  # [12]
    target = (uniform(fold(key, SITES["target"]), (12,), FLOAT) < 0.5).astype(FLOAT)  # [12]  losses.lee:130
    log_sigmoid_z = np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))  # [12]  losses.lee:46
    sub = 1 - target  # [12]
    sub_2 = 1 - log_sigmoid_z  # [12]
    mul_2 = -2 * normal_  # [12]
    sigmoid = np.exp(np.minimum(mul_2, 0)) / (1 + np.exp(-np.abs(mul_2)))  # [12]
    return -(target * log_sigmoid_z + sub * sub_2).sum(), (sub - target) * sigmoid, sub_2 - log_sigmoid_z


def example_logits(key):
    z = 3 * normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:135
    label = randint(fold(key, SITES["label"]), (12,), 0, 5)  # int[12]  losses.lee:136
    return cross_entropy_of_logits(z, label), cross_entropy_of_logits_backward(z, label, FLOAT(1.0))  # losses.lee:137


def example_divergence(key):
    a = normal(fold(key, SITES["a"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:141
    b = normal(fold(key, SITES["b"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:142
    softmax_ = softmax(a, (1,))  # [12, 5]  prelude.lee:122
    softmax_2 = softmax(b, (1,))  # [12, 5]
    value, saved_kl_divergence = kl_divergence_saved(softmax_, softmax_2)  # losses.lee:143
    d_softmax, d_softmax_2 = kl_divergence_backward(softmax_, softmax_2, saved_kl_divergence, FLOAT(1.0))
    sum_ = (d_softmax_2 * softmax_2).sum(axis=1, keepdims=True)  # [12, 1]  prelude.lee:122
    sum_2 = (d_softmax * softmax_).sum(axis=1, keepdims=True)  # [12, 1]
    return value, softmax_ * (d_softmax - sum_2), softmax_2 * (d_softmax_2 - sum_)


def example_concentration(key):
    a = 2 * normal(fold(key, SITES["a"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:147
    c = normal(fold(key, SITES["c"]), (12,), FLOAT)  # [12]  losses.lee:148
    softmax_ = softmax(a, (1,))  # [12, 5]  prelude.lee:122
    gt = softmax_ > 0  # bool[12, 5]  losses.lee:75
    log_softmax_ = log_softmax(a, (1,))  # [12, 5]
    sum_2 = masked(softmax_ * log_softmax_, gt).sum(axis=1)  # [12]
    reshape = (-c)[:, None]  # [12, 1]
    d_guard = masked(reshape * log_softmax_, gt)  # [12, 5]
    d_guard_2 = masked(reshape * softmax_, gt)  # [12, 5]
    mul_5 = np.exp(log_softmax_) * d_guard_2.sum(axis=1, keepdims=True)  # [12, 5]
    sub = d_guard - (d_guard * softmax_).sum(axis=1, keepdims=True)  # [12, 5]  prelude.lee:122
    return -(c * sum_2).sum(), d_guard_2 - mul_5 + softmax_ * sub, -sum_2


def example_labels(key):
    z = 2 * normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:153
    target = (uniform(fold(key, SITES["target"]), (12, 5), FLOAT) < 0.4).astype(FLOAT)  # [12, 5]  losses.lee:154
    value, saved_multi_label = multi_label_saved(z, target)  # losses.lee:155
    d_z, d_target = multi_label_backward(z, target, saved_multi_label, FLOAT(1.0))
    return value, d_z, d_target


def example_labels_as_printed(key):
    z = 2 * normal(fold(key, SITES["z"]), (12, 5), FLOAT)  # [12, 5]  losses.lee:159
    target = (uniform(fold(key, SITES["target"]), (12, 5), FLOAT) < 0.4).astype(FLOAT)  # [12, 5]  losses.lee:160
    value, saved_multi_labelAsPrinted = multi_labelAsPrinted_saved(z, target)  # losses.lee:161
    d_z = multi_labelAsPrinted_backward(saved_multi_labelAsPrinted, FLOAT(1.0))  # [12, 5]
    return value, d_z, np.zeros((12, 5), dtype=FLOAT)


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


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def log_softmax(x, axes):
    """log(softmax(x)), shifted by the maximum; where x is -inf all along, it stays so."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    shifted = x - np.where(np.isneginf(top), 0, top)
    total = np.exp(shifted).sum(axis=axes, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


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


def randint(key: Key, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Integers in [low, high), int64, by the high half of word * (high - low); the range is at most 2**32."""
    words = bits(key, math.prod(shape)).reshape(shape).astype(np.uint64)
    return (words * np.uint64(high - low) >> 32).astype(np.int64) + low
