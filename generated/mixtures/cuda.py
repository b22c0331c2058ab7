"""A mixture of Gaussians by EM (inventory Q1); labels, where known, fix the responsibilities.

Made from specs/unsupervised/mixtures.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/mixtures.lee
"""

from __future__ import annotations

import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


def log_density(x, mu, cov):
    """log N(x; μ, Σ) under each of k Gaussians, from Σ = L Lᵀ.

    x [n, d], mu [k, d], cov [k, d, d] -> [n, k]
    """
    d = x.shape[1]
    factor = torch.linalg.cholesky(symmetric_part(cov))  # [k, d, d]  mixtures.lee:8
    centred = x.T - mu[:, :, None]  # [k, d, n]  mixtures.lee:9
    white = torch.linalg.solve_triangular(factor, centred, upper=False)  # [k, d, n]  mixtures.lee:10
    half = torch.log(torch.einsum("caa->ca", factor)).sum(dim=1)  # [k]  mixtures.lee:11
    transpose = white.permute(2, 0, 1)  # [n, k, d]  mixtures.lee:12
    out = -0.5 * (transpose**2).sum(dim=2) - half - 0.5 * d * 1.8378770664093453  # [n, k]
    return out  # [n, k]


def log_density_saved(x, mu, cov):
    """As log_density, and what its gradient needs."""
    d = x.shape[1]
    factor = torch.linalg.cholesky(symmetric_part(cov))  # [k, d, d]  mixtures.lee:8
    centred = x.T - mu[:, :, None]  # [k, d, n]  mixtures.lee:9
    white = torch.linalg.solve_triangular(factor, centred, upper=False)  # [k, d, n]  mixtures.lee:10
    contract = torch.einsum("caa->ca", factor)  # [k, d]  mixtures.lee:11
    half = torch.log(contract).sum(dim=1)  # [k]
    transpose = white.permute(2, 0, 1)  # [n, k, d]  mixtures.lee:12
    out = -0.5 * (transpose**2).sum(dim=2) - half - 0.5 * d * 1.8378770664093453  # [n, k]
    return out, (factor, white, contract)


def log_density_backward(saved, d_out):
    """From d_out to the gradients by x, mu and cov."""
    factor, white, contract = saved
    k, d, _ = factor.shape
    # gradient of out[i, c] = -0.5 * sum[a](white[c, a, i] ** 2) - half[c] - 0.5 * d * log(2 * pi)   mixtures.lee:12
    d_half = -d_out.sum(dim=0)  # [k]
    d_white = (2 * ((d_out * -0.5)[:, :, None] * white.permute(2, 0, 1))).permute(1, 2, 0)  # [k, d, n]
    # gradient of half[c] = sum[a](log(factor[c, a, a]))   mixtures.lee:11
    iota = torch.arange(d, device=factor.device)[None, :, None]  # int[1, d, 1]
    eq = iota == torch.arange(d, device=factor.device)[None, None, :]  # bool[1, d, d]
    # gradient of white = solve_triangular(factor, centred, lower = true)   mixtures.lee:10
    d_centred = torch.linalg.solve_triangular(factor.mT, d_white, upper=True)  # [k, d, n]
    # gradient of centred[c, a, i] = x[i, a] - mu[c, a]   mixtures.lee:9
    d_mu = (-d_centred.sum(dim=2, keepdim=True)).reshape(k, d)  # [k, d]
    d_x = d_centred.sum(dim=0).T  # [n, d]
    # gradient of half[c] = sum[a](log(factor[c, a, a]))   mixtures.lee:11
    d_factor_2 = torch.where(eq, (d_half[:, None] / contract)[:, :, None], 0)  # [k, d, d]
    # gradient of factor = cholesky(cov)   mixtures.lee:8
    d_factor = d_factor_2 + torch.tril(-(d_centred @ white.mT))  # [k, d, d]
    contract_3 = factor.mT @ d_factor  # [k, d, d]
    mul = (torch.tril(contract_3) + torch.tril(contract_3, -1)) * 0.5  # [k, d, d]
    transpose_3 = torch.linalg.solve_triangular(factor.mT, mul, upper=True).mT  # [k, d, d]
    solve_triangular_2 = torch.linalg.solve_triangular(factor.mT, transpose_3, upper=True)  # [k, d, d]
    d_cov = (solve_triangular_2.mT + solve_triangular_2) * 0.5  # [k, d, d]
    return d_x, d_mu, d_cov


def responsibilities(x, label, weight, mu, cov):
    """P(c|x), which is 1 or 0 where the label is known and not -1; and the mean logarithm of how likely the examples are.

    x [n, d], label int[n], weight [k], mu [k, d], cov [k, d, d] -> [n, k], []
    """
    n = x.shape[0]
    k = weight.shape[0]
    joint = torch.log(weight) + log_density(x, mu, cov)  # [n, k]  mixtures.lee:18
    evidence = logsumexp(joint, 1, False)  # [n]  mixtures.lee:19
    ge = label >= 0  # bool[n]  mixtures.lee:20
    eq = label[:, None] == torch.arange(k, device=x.device)  # bool[n, k]
    sub = joint - evidence[:, None]  # [n, k]
    exp = torch.exp(torch.where((~ge)[:, None], sub, sub.detach()))  # [n, k]
    r = torch.where(ge[:, None], eq.to(FLOAT), exp)  # [n, k]
    maximum_2 = torch.arange(n, device=x.device).clamp(min=0)  # int[n]  mixtures.lee:21
    minimum = label.clamp(min=0).clamp(max=k - 1)  # int[n]
    known = torch.where(ge, joint[maximum_2.clamp(max=n - 1), minimum], evidence)  # [n]
    return r, known.mean()  # mixtures.lee:22


def responsibilities_saved(x, label, weight, mu, cov):
    """As responsibilities, and what its gradient needs."""
    n = x.shape[0]
    k = weight.shape[0]
    out, saved_log_density = log_density_saved(x, mu, cov)  # mixtures.lee:18
    joint = torch.log(weight) + out  # [n, k]
    evidence = logsumexp(joint, 1, False)  # [n]  mixtures.lee:19
    ge = label >= 0  # bool[n]  mixtures.lee:20
    eq = label[:, None] == torch.arange(k, device=x.device)  # bool[n, k]
    exp = torch.exp(joint - evidence[:, None])  # [n, k]
    r = torch.where(ge[:, None], eq.to(FLOAT), exp)  # [n, k]
    minimum = label.clamp(min=0).clamp(max=k - 1)  # int[n]  mixtures.lee:21
    minimum_2 = torch.arange(n, device=x.device).clamp(min=0).clamp(max=n - 1)  # int[n]
    known = torch.where(ge, joint[minimum_2, minimum], evidence)  # [n]
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
    # gradient of known[i] = where(label[i] >= 0, joint[i, label[i]], evidence[i])   mixtures.lee:21
    d_gather = torch.where(ge, div, 0)  # [n]
    # gradient of r[i, c] = where(label[i] >= 0, float(label[i] == c), exp(joint[i, c] - eviden..   mixtures.lee:20
    mul = d_r * exp  # [n, k]
    select_3 = torch.where(reshape_2, 0, torch.where(reshape, -mul, 0))  # [n, k]
    # gradient of evidence[i] = logsumexp[c](joint[i, c])   mixtures.lee:19
    d_evidence = torch.where(ge, 0, div) + select_3.sum(dim=1)  # [n]
    # gradient of r[i, c] = where(label[i] >= 0, float(label[i] == c), exp(joint[i, c] - eviden..   mixtures.lee:20
    d_sub = torch.where(reshape_2, 0, torch.where(reshape, mul, 0))  # [n, k]
    # gradient of joint = log(weight) + log_density(x, mu, cov)   mixtures.lee:18
    d_joint_4 = scatter_add(d_gather, (minimum_2, minimum), (n, k)) + d_sub  # [n, k]
    d_joint = d_joint_4 + d_evidence[:, None] * softmax(joint, (1,))  # [n, k]
    d_x, d_mu, d_cov = log_density_backward(saved_log_density, d_joint)
    return d_x, d_mu, d_cov


def most_likely(x, r, ridge=1e-6):
    """Weights, means and covariances where each example counts for a Gaussian as much as it is responsible for it.

    x [n, d], r [n, k] -> [k], [k, d], [k, d, d]
    """
    d = x.shape[1]
    total = r.sum(dim=0)  # [k]  mixtures.lee:27
    mu = r.T @ x / total[:, None]  # [k, d]  mixtures.lee:28
    sub = x.T - mu[:, :, None]  # [k, d, n]  mixtures.lee:29
    transpose_2 = (r[:, :, None] * sub.permute(2, 0, 1)).permute(1, 2, 0)  # [k, d, n]
    a = torch.arange(d, device=x.device)  # int[d]
    div = transpose_2 @ sub.mT / total[:, None, None]  # [k, d, d]
    cov = div + ridge * (a[:, None] == a).to(FLOAT)  # [k, d, d]
    return total / total.sum(), mu, cov  # mixtures.lee:30


def em(x, label, weight, mu, cov, tolerance):
    """Both steps in turn until the examples become hardly more likely; they never become less so.

    x [n, d], label int[n], weight [k], mu [k, d], cov [k, d, d] -> [k], [k, d], [k, d, d], []
    """
    gt = torch.inf > tolerance  # mixtures.lee:37
    before = torch.full((), -torch.inf, dtype=FLOAT, device=x.device)
    gain = torch.full((), torch.inf, dtype=FLOAT, device=x.device)
    going = torch.full((), gt, dtype=torch.bool, device=x.device)
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
    unknown = torch.full((n,), -1, dtype=torch.int64, device=x.device)  # int[n]  mixtures.lee:47
    a = torch.arange(d, device=x.device)  # int[d]  mixtures.lee:48
    cov = (a[:, None] == a).to(FLOAT).expand(k, d, d)  # [k, d, d]
    fill = torch.full((k,), 1.0 / k, dtype=FLOAT, device=x.device)  # [k]  mixtures.lee:49
    weight_4, mu_5, cov_5, before_2 = em(x, unknown, fill, x[pick], cov, tolerance)
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
    r = (label[:, None] == torch.arange(k, device=label.device)).to(FLOAT)  # [n, k]  mixtures.lee:60
    return r  # [n, k]


def first_known(y, known):
    """The labels of the first examples, -1 for the others.

    y int[n] -> int[n]
    """
    n = y.shape[0]
    label = torch.where(torch.arange(n, device=y.device) < known, y, -1)  # int[n]  mixtures.lee:66
    return label  # int[n]


def hits(x, y, weight, mu, cov):
    """The share of examples whose most probable class is theirs.

    x [n, d], y int[n], weight [k], mu [k, d], cov [k, d, d] -> []
    """
    argmax = (torch.log(weight) + log_density(x, mu, cov)).argmax(dim=1)  # int[n]  mixtures.lee:72
    return (argmax == y).to(FLOAT).mean()


@torch.no_grad()
def of_wine(known=30, wide=1.0, tolerance=1e-5, *, run=None):
    """Wine with some labels: the other bottles say better where the classes lie.

    So few say little about 13 dimensions; what they are taken to spread is wider by one deviation.
    """
    from leec.runtime.run import Run

    run = run or Run("of_wine", backend="torch")
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
    pick = torch.argsort(uniform_, dim=0, stable=True)[:3]  # int[3]
    value, value_1, value_2, value_3 = without_labels(x, pick, 1e-4)  # mixtures.lee:98
    return value, value_1, value_2, value_3


def example_one_round(key):
    x = normal(fold(key, SITES["x"]), (9, 2), FLOAT)  # [9, 2]  mixtures.lee:102
    label = randint(fold(key, SITES["label"]), (9,), -1, 2)  # int[9]  mixtures.lee:103
    a = normal(fold(key, SITES["a"]), (2, 2, 2), FLOAT)  # [2, 2, 2]  mixtures.lee:104
    mu = normal(fold(key, SITES["mu"]), (2, 2), FLOAT)  # [2, 2]  mixtures.lee:105
    c = normal(fold(key, SITES["c"]), (9, 2), FLOAT)  # [9, 2]  mixtures.lee:106
    cov = a @ a.mT + (torch.arange(2)[:, None] == torch.arange(2)).to(FLOAT)  # [2, 2, 2]  mixtures.lee:107
    const_3 = torch.tensor((0.3, 0.7), dtype=FLOAT)  # [2]  mixtures.lee:108
    r_2, likely, saved_responsibilities = responsibilities_saved(x, label, const_3, mu, cov)
    d_likely = torch.ones((), dtype=FLOAT)  # mixtures.lee:109
    d_x, d_mu, d_cov = responsibilities_backward(saved_responsibilities, c, d_likely)  # mixtures.lee:108
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
    """log(sum(exp(x))); where x is -inf all along, it is so too and the gradient is 0."""
    empty = torch.isneginf(x).all(axes, keepdim=True)
    return torch.logsumexp(torch.where(empty, x.detach(), x), axes, keepdim=keepdims)


def softmax(x, axes):
    """exp(x) over its sum, shifted by the maximum; where x is -inf all along, it is 0 and so is its gradient."""
    top = x.detach().amax(dim=axes, keepdim=True)
    empty = torch.isneginf(top)
    e = torch.exp(x - torch.where(empty, 0.0, top))
    return e / torch.where(empty, 1.0, e.sum(dim=axes, keepdim=True))


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


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
