"""A mixture of Gaussians by EM (inventory Q1); labels, where known, fix the responsibilities.

Made from specs/unsupervised/mixtures.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/mixtures.lee
"""

from __future__ import annotations

import math

import numpy as np

FLOAT = np.float32


def log_density(x, mu, cov):
    """log N(x; μ, Σ) under each of k Gaussians, from Σ = L Lᵀ.

    x [n, d], mu [k, d], cov [k, d, d] -> [n, k]
    """
    d = x.shape[1]
    factor = np.linalg.cholesky(symmetric_part(cov))  # [k, d, d]  mixtures.lee:8
    centred = x.T - mu[:, :, None]  # [k, d, n]  mixtures.lee:9
    white = np.linalg.solve(np.tril(factor), centred)  # [k, d, n]  mixtures.lee:10
    half = np.log(np.einsum("caa->ca", factor)).sum(axis=1)  # [k]  mixtures.lee:11
    transpose = white.transpose(2, 0, 1)  # [n, k, d]  mixtures.lee:12
    out = -0.5 * (transpose**2).sum(axis=2) - half - 0.5 * d * 1.8378770664093453  # [n, k]
    return out  # [n, k]


def log_density_saved(x, mu, cov):
    """As log_density, and what its gradient needs."""
    d = x.shape[1]
    factor = np.linalg.cholesky(symmetric_part(cov))  # [k, d, d]  mixtures.lee:8
    centred = x.T - mu[:, :, None]  # [k, d, n]  mixtures.lee:9
    white = np.linalg.solve(np.tril(factor), centred)  # [k, d, n]  mixtures.lee:10
    contract = np.einsum("caa->ca", factor)  # [k, d]  mixtures.lee:11
    half = np.log(contract).sum(axis=1)  # [k]
    transpose = white.transpose(2, 0, 1)  # [n, k, d]  mixtures.lee:12
    out = -0.5 * (transpose**2).sum(axis=2) - half - 0.5 * d * 1.8378770664093453  # [n, k]
    return out, (factor, white, contract)


def log_density_backward(saved, d_out):
    """From d_out to the gradients by x, mu and cov."""
    factor, white, contract = saved
    k, d, _ = factor.shape
    # gradient of out[i, c] = -0.5 * sum[a](white[c, a, i] ** 2) - half[c] - 0.5 * d * log(2 * pi)   mixtures.lee:12
    d_half = -d_out.sum(axis=0)  # [k]
    d_transpose_2 = 2 * ((d_out * -0.5)[:, :, None] * white.transpose(2, 0, 1))  # [n, k, d]
    d_white = d_transpose_2.transpose(1, 2, 0)  # [k, d, n]
    # gradient of half[c] = sum[a](log(factor[c, a, a]))   mixtures.lee:11
    eq = np.arange(d)[None, :, None] == np.arange(d)[None, None, :]  # bool[1, d, d]
    # gradient of white = solve_triangular(factor, centred, lower = true)   mixtures.lee:10
    d_centred = np.linalg.solve(np.triu(factor.mT), d_white)  # [k, d, n]
    # gradient of centred[c, a, i] = x[i, a] - mu[c, a]   mixtures.lee:9
    d_mu = (-d_centred.sum(axis=2, keepdims=True)).reshape(k, d)  # [k, d]
    d_x = d_centred.sum(axis=0).T  # [n, d]
    # gradient of half[c] = sum[a](log(factor[c, a, a]))   mixtures.lee:11
    d_factor_2 = masked((d_half[:, None] / contract)[:, :, None], eq)  # [k, d, d]
    # gradient of factor = cholesky(cov)   mixtures.lee:8
    d_factor = d_factor_2 + np.tril(-(d_centred @ white.mT))  # [k, d, d]
    contract_3 = factor.mT @ d_factor  # [k, d, d]
    mul = (np.tril(contract_3) + np.tril(contract_3, -1)) * 0.5  # [k, d, d]
    transpose_3 = np.linalg.solve(np.triu(factor.mT), mul).mT  # [k, d, d]
    solve_triangular_2 = np.linalg.solve(np.triu(factor.mT), transpose_3)  # [k, d, d]
    d_cov = (solve_triangular_2.mT + solve_triangular_2) * 0.5  # [k, d, d]
    return d_x, d_mu, d_cov


def responsibilities(x, label, weight, mu, cov):
    """P(c|x), which is 1 or 0 where the label is known and not -1; and the mean logarithm of how likely the examples are.

    x [n, d], label int[n], weight [k], mu [k, d], cov [k, d, d] -> [n, k], []
    """
    n = x.shape[0]
    k = weight.shape[0]
    joint = np.log(weight) + log_density(x, mu, cov)  # [n, k]  mixtures.lee:18
    evidence = logsumexp(joint, 1)  # [n]  mixtures.lee:19
    ge = label >= 0  # bool[n]  mixtures.lee:20
    cast = (label[:, None] == np.arange(k)).astype(FLOAT)  # [n, k]
    r = np.where(ge[:, None], cast, np.exp(joint - evidence[:, None]))  # [n, k]
    minimum_2 = np.minimum(np.maximum(np.arange(n), 0), n - 1)  # int[n]  mixtures.lee:21
    gather = joint[minimum_2, np.minimum(np.maximum(label, 0), k - 1)]  # [n]
    known = np.where(ge, gather, evidence)  # [n]
    return r, known.mean()  # mixtures.lee:22


def responsibilities_saved(x, label, weight, mu, cov):
    """As responsibilities, and what its gradient needs."""
    n = x.shape[0]
    k = weight.shape[0]
    out, saved_log_density = log_density_saved(x, mu, cov)  # mixtures.lee:18
    joint = np.log(weight) + out  # [n, k]
    evidence = logsumexp(joint, 1)  # [n]  mixtures.lee:19
    ge = label >= 0  # bool[n]  mixtures.lee:20
    exp = np.exp(joint - evidence[:, None])  # [n, k]
    r = np.where(ge[:, None], (label[:, None] == np.arange(k)).astype(FLOAT), exp)  # [n, k]
    minimum = np.minimum(np.maximum(label, 0), k - 1)  # int[n]  mixtures.lee:21
    minimum_2 = np.minimum(np.maximum(np.arange(n), 0), n - 1)  # int[n]
    known = np.where(ge, joint[minimum_2, minimum], evidence)  # [n]
    return r, known.mean(), (saved_log_density, joint, ge, exp, minimum, minimum_2)  # mixtures.lee:22


def responsibilities_backward(saved, d_r, d_y):
    """From d_r and d_y to the gradients by x, mu and cov."""
    saved_log_density, joint, ge, exp, minimum, minimum_2 = saved
    n, k = joint.shape
    # gradient of r[i, c] = where(label[i] >= 0, float(label[i] == c), exp(joint[i, c] - eviden..   mixtures.lee:20
    reshape = (~ge)[:, None]  # bool[n, 1]
    reshape_2 = ge[:, None]  # bool[n, 1]
    # gradient of return r, mean(known)   mixtures.lee:22
    div = d_y / n
    # gradient of r[i, c] = where(label[i] >= 0, float(label[i] == c), exp(joint[i, c] - eviden..   mixtures.lee:20
    mul = d_r * exp  # [n, k]
    d_evidence_3 = np.where(reshape_2, 0, masked(-mul, reshape)).sum(axis=1)  # [n]
    # gradient of evidence[i] = logsumexp[c](joint[i, c])   mixtures.lee:19
    d_evidence = np.where(ge, 0, div) + d_evidence_3  # [n]
    # gradient of known[i] = where(label[i] >= 0, joint[i, label[i]], evidence[i])   mixtures.lee:21
    d_joint_2 = scatter_add(masked(div, ge), (minimum_2, minimum), (n, k))  # [n, k]
    # gradient of joint = log(weight) + log_density(x, mu, cov)   mixtures.lee:18
    d_joint_4 = d_joint_2 + np.where(reshape_2, 0, masked(mul, reshape))  # [n, k]
    d_joint = d_joint_4 + d_evidence[:, None] * softmax(joint, (1,))  # [n, k]
    d_x, d_mu, d_cov = log_density_backward(saved_log_density, d_joint)
    return d_x, d_mu, d_cov


def most_likely(x, r, ridge=1e-6):
    """Weights, means and covariances where each example counts for a Gaussian as much as it is responsible for it.

    x [n, d], r [n, k] -> [k], [k, d], [k, d, d]
    """
    d = x.shape[1]
    total = r.sum(axis=0)  # [k]  mixtures.lee:27
    mu = r.T @ x / total[:, None]  # [k, d]  mixtures.lee:28
    sub = x.T - mu[:, :, None]  # [k, d, n]  mixtures.lee:29
    transpose_2 = (r[:, :, None] * sub.transpose(2, 0, 1)).transpose(1, 2, 0)  # [k, d, n]
    cast = (np.arange(d)[:, None] == np.arange(d)).astype(FLOAT)  # [d, d]
    cov = transpose_2 @ sub.mT / total[:, None, None] + ridge * cast  # [k, d, d]
    return total / total.sum(), mu, cov  # mixtures.lee:30


def em(x, label, weight, mu, cov, tolerance):
    """Both steps in turn until the examples become hardly more likely; they never become less so.

    x [n, d], label int[n], weight [k], mu [k, d], cov [k, d, d] -> [k], [k, d], [k, d, d], []
    """
    before = FLOAT(-np.inf)  # mixtures.lee:37
    gain = FLOAT(np.inf)
    going = np.bool_(np.inf > tolerance)
    while going:
        before, cov, gain, mu, weight, going = em_step(before, cov, gain, mu, weight, going, x, label, tolerance)
    return weight, mu, cov, before


def em_step(before, cov, gain, mu, weight, going, x, label, tolerance):
    """cov [k, d, d], mu [k, d], weight [k], x [n, d], label int[n] -> [], [k, d, d], [], [k, d], [k], []"""
    r_2, evidence = responsibilities(x, label, weight, mu, cov)  # mixtures.lee:38
    weight_3, mu_4, cov_4 = most_likely(x, r_2)  # mixtures.lee:39
    gain_2 = evidence - before  # mixtures.lee:40
    return evidence, cov_4, gain_2, mu_4, weight_3, gain_2 > tolerance  # mixtures.lee:37


def without_labels(x, pick, tolerance):
    """From some examples as means and the unit matrix as every covariance.

    x [n, d], pick int[k] -> [k], [k, d], [k, d, d], []
    """
    n, d = x.shape
    k = pick.shape[0]
    unknown = np.full(n, -1, dtype=np.int64)  # int[n]  mixtures.lee:47
    cast = (np.arange(d)[:, None] == np.arange(d)).astype(FLOAT)  # [d, d]  mixtures.lee:48
    cov = np.broadcast_to(cast, (k, d, d))  # [k, d, d]
    fill = np.full(k, 1.0 / k, dtype=FLOAT)  # [k]  mixtures.lee:49
    weight_4, mu_5, cov_5, before_2 = em(x, unknown, fill, x[inside(pick)], cov, tolerance)
    return weight_4, mu_5, cov_5, before_2


def with_some_labels(x, label, k, tolerance):
    """From the Gaussians of the examples whose labels are known; each class has to have some.

    x [n, d], label int[n] -> [k], [k, d], [k, d, d], []
    """
    weight, mu_2, cov_2 = most_likely(x, certain(label, k))  # mixtures.lee:54
    weight_4, mu_5, cov_5, before_2 = em(x, label, weight, mu_2, cov_2, tolerance)  # mixtures.lee:55
    return weight_4, mu_5, cov_5, before_2


def certain(label, k):
    """1 for the Gaussian of a known label; an example whose label is not known counts for none.

    label int[n] -> [n, k]
    """
    r = (label[:, None] == np.arange(k)).astype(FLOAT)  # [n, k]  mixtures.lee:60
    return r  # [n, k]


def first_known(y, known):
    """The labels of the first examples, -1 for the others.

    y int[n] -> int[n]
    """
    n = y.shape[0]
    label = np.where(np.arange(n) < known, y, -1)  # int[n]  mixtures.lee:66
    return label  # int[n]


def hits(x, y, weight, mu, cov):
    """The share of examples whose most probable class is theirs.

    x [n, d], y int[n], weight [k], mu [k, d], cov [k, d, d] -> []
    """
    argmax = (np.log(weight) + log_density(x, mu, cov)).argmax(axis=1)  # int[n]  mixtures.lee:72
    return (argmax == y).astype(FLOAT).mean()


def of_wine(known=30, wide=1.0, tolerance=1e-5, *, run=None):
    """Wine with some labels: the other bottles say better where the classes lie.

    So few say little about 13 dimensions; what they are taken to spread is wider by one deviation.
    """
    from leec.runtime.run import Run

    run = run or Run("of_wine")
    data = run.data("wine", standardize=True, test=0.4, fields={"x": ("float", ("n", 13)), "y": ("int", ("n",))})
    label, cov, mu, weight = of_wine_label_cov_mu_weight(data.train.y, data.train.x, wide, known)  # mixtures.lee:81
    run.report(alone=hits(data.test.x, data.test.y, weight, mu, cov))  # mixtures.lee:83
    cov, likely, mu, weight = of_wine_cov_likely_mu_weight(data.train.x, label, weight, mu, cov, tolerance)
    run.report(likely=likely, accuracy=hits(data.test.x, data.test.y, weight, mu, cov))  # mixtures.lee:85
    return mu


def of_wine_label_cov_mu_weight(data_train_y, data_train_x, wide, known):
    """data_train_y int[data_train_n], data_train_x [data_train_n, 13] -> int[data_train_n], [3, 13, 13], [3, 13],
    [3]
    """
    label_2 = first_known(data_train_y, known)  # int[data_train_n]  mixtures.lee:81
    weight, mu_2, cov_2 = most_likely(data_train_x, certain(label_2, 3), ridge=wide)  # mixtures.lee:82
    return label_2, cov_2, mu_2, weight


def of_wine_cov_likely_mu_weight(data_train_x, label, weight, mu, cov, tolerance):
    """data_train_x [data_train_n, 13], label int[data_train_n], weight [3], mu [3, 13], cov [3, 13, 13] -> [3, 13,
    13], [], [3, 13], [3]
    """
    weight_2, mu_2, cov_2, likely = em(data_train_x, label, weight, mu, cov, tolerance)  # mixtures.lee:84
    return cov_2, likely, mu_2, weight_2


def example_in_turn(key):
    x = normal(fold(key, SITES["x"]), (40, 2), FLOAT)  # [40, 2]  mixtures.lee:90
    label = randint(fold(key, SITES["label"]), (40,), -1, 2)  # int[40]  mixtures.lee:91
    value, value_1, value_2, value_3 = with_some_labels(x, label, 2, 1e-4)  # mixtures.lee:92
    return value, value_1, value_2, value_3


def example_alone(key):
    x = normal(fold(key, SITES["x"]), (40, 2), FLOAT)  # [40, 2]  mixtures.lee:96
    uniform_ = uniform(fold(key, SITES["pick"]), (40,), FLOAT)  # [40]  mixtures.lee:97
    pick = np.argsort(uniform_, axis=0, kind="stable")[:3]  # int[3]
    value, value_1, value_2, value_3 = without_labels(x, pick, 1e-4)  # mixtures.lee:98
    return value, value_1, value_2, value_3


def example_one_round(key):
    x = normal(fold(key, SITES["x"]), (9, 2), FLOAT)  # [9, 2]  mixtures.lee:102
    label = randint(fold(key, SITES["label"]), (9,), -1, 2)  # int[9]  mixtures.lee:103
    a = normal(fold(key, SITES["a"]), (2, 2, 2), FLOAT)  # [2, 2, 2]  mixtures.lee:104
    mu = normal(fold(key, SITES["mu"]), (2, 2), FLOAT)  # [2, 2]  mixtures.lee:105
    c = normal(fold(key, SITES["c"]), (9, 2), FLOAT)  # [9, 2]  mixtures.lee:106
    cov = a @ a.mT + (np.arange(2)[:, None] == np.arange(2)).astype(FLOAT)  # [2, 2, 2]  mixtures.lee:107
    # mixtures.lee:108
    r_2, likely, saved_responsibilities = responsibilities_saved(x, label, np.array((0.3, 0.7), FLOAT), mu, cov)
    d_x, d_mu, d_cov = responsibilities_backward(saved_responsibilities, c, FLOAT(1.0))
    return (c * r_2).sum() + likely, d_x, d_cov @ a + d_cov.mT @ a, d_mu, r_2  # mixtures.lee:107


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "a": 0x2F42665B399EF840,
    "c": 0x1B2C07CD64633F37,
    "label": 0x97BB9DAEC28EDB5C,
    "mu": 0xFEC63872DC35BD31,
    "pick": 0x35CADA6132A6B8E7,
    "x": 0x4F586EF96743DF4A,
}


def logsumexp(x, axes, keepdims=False):
    """log(sum(exp(x))), shifted by the maximum; of nothing, or of -inf alone, it is -inf."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top
    return total if keepdims else total.squeeze(axes)


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0."""
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    e = np.exp(x - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=axes, keepdims=True)
    return e / np.where(total == 0, 1, total)


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def fronted(x, axes=None):
    """A view of x with some axes in front (None: as they are)."""
    return x if axes is None else np.moveaxis(x, axes, range(len(axes)))


def scatter(combine, x, v, index, axes=None):
    """A copy of x with v combined (by np.maximum, say) into positions of some axes (the first ones), one after another."""
    whole = x.copy()
    combine.at(fronted(whole, axes), index, v)
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    return scatter(np.add, np.zeros(dims, v.dtype), v, index, axes)


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


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
