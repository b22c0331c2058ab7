"""Maps that keep neighbours (inventory Q14, Q15): locally linear embedding and Laplacian eigenmaps.

Made from specs/unsupervised/neighbours.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/neighbours.lee
"""

from __future__ import annotations

import math

import numpy as np

FLOAT = np.float32


def squares(x):
    """|xᵢ - xⱼ|², and ∞ of an example from itself: nobody is their own neighbour.

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    sub = x[:, None] - x  # [n, n, d]  neighbours.lee:11
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]
    square = np.where(eq, np.inf, (sub**2).sum(axis=2))  # [n, n]
    return square  # [n, n]


def nearest(x, k):
    """The k neighbours of each example, the closest first.

    x [n, d] -> int[n, k]
    """
    return np.argsort(squares(x), axis=1, kind="stable")[:, :k]  # int[n, k]  neighbours.lee:17


def shares(x, near, ridge=1e-3):
    """How each example is best mixed of its neighbours, Σⱼ wᵢⱼ = 1 (Roweis & Saul 2000).

    x [n, d], near int[n, m] -> [n, m]
    """
    n, m = near.shape
    gap = x[:, None] - x[inside(near)]  # [n, m, d]  neighbours.lee:25
    gram = gap @ gap.mT  # [n, m, m]  neighbours.lee:26
    cast = (np.arange(m)[:, None] == np.arange(m)).astype(FLOAT)  # [m, m]  neighbours.lee:27
    reshape_3 = np.einsum("icc->ic", gram).sum(axis=1)[:, None, None]  # [n, 1, 1]
    wide = gram + cast * ridge * reshape_3  # [n, m, m]
    fill = np.ones((n, m), dtype=FLOAT)  # [n, m]  neighbours.lee:28
    raw = np.linalg.solve(wide, fill[Ellipsis, None])[Ellipsis, 0]  # [n, m]
    w = raw / raw.sum(axis=1, keepdims=True)  # [n, m]  neighbours.lee:29
    return w  # [n, m]


def unmixed(x, k):
    """1 - W: what is left of each row when its mixture is taken away.

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    near = nearest(x, k)  # int[n, k]  neighbours.lee:35
    w_2 = shares(x, near)  # [n, k]  neighbours.lee:36
    reshape = np.arange(n)[:, None]  # int[n, 1]  neighbours.lee:37
    sum_ = masked(w_2[:, None], near[:, None] == reshape).sum(axis=2)  # [n, n]
    rest = (reshape == np.arange(n)).astype(FLOAT) - sum_  # [n, n]
    return rest  # [n, n]


def lle(x, neighbours, k):
    """The z that the same mixtures leave least of: eigenvectors of (1 - W)ᵀ(1 - W) but the first, which is constant.

    They are the right singular vectors of 1 - W, whose values are not squared and so not lost in float32.

    x [n, d] -> [n, k]
    """
    _, _, v = svd(unmixed(x, neighbours))  # neighbours.lee:46
    return np.flip(v, (1,))[:, 1 : k + 1]  # [n, k]  neighbours.lee:47


def links(x, k):
    """1 where one is among the k neighbours of the other and the other of the one, ½ where in one way only.

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    near = nearest(x, k)  # int[n, k]  neighbours.lee:55
    linked = (near[:, None] == np.arange(n)[:, None]).astype(FLOAT).sum(axis=2)  # [n, n]  neighbours.lee:56
    return (linked + linked.T) / 2  # [n, n]  neighbours.lee:57


def eigenmap(w, k):
    """min Σ wᵢⱼ (zᵢ - zⱼ)² with zᵀ D z = 1, else all z would be 0: L z = λ D z by L' = D^-½ L D^-½.

    w [n, n] -> [n, k]
    """
    w_sum = w.sum(axis=1)  # [n]  neighbours.lee:62
    root = np.sqrt(w_sum)  # [n]
    laplacian = diag(w_sum) - w  # [n, n]  neighbours.lee:63
    reshape = root[:, None]  # [n, 1]  neighbours.lee:64
    _, vectors = eigh(laplacian / reshape / root)
    return vectors[:, 1 : k + 1] / reshape  # [n, k]  neighbours.lee:65


def explained(z, y):
    """The share of the variance of y that is linear in z.

    z [n, k], y [n] -> []
    """
    centred = z - z.mean(axis=0)  # [n, k]  neighbours.lee:70
    rest = y - y.mean()  # [n]  neighbours.lee:71
    w = np.linalg.solve(centred.T @ centred, rest @ centred)  # [k]  neighbours.lee:72
    sub = rest - centred @ w  # [n]  neighbours.lee:73
    return 1 - (sub**2).sum() / (rest**2).sum()


def unrolled(neighbours=8, *, run=None):
    """How much of the way along the roll the maps tell; in space its places lie over each other."""
    from leec.runtime.run import Run

    run = run or Run("unrolled")
    data = run.data(
        "swiss_roll",
        n=600,
        noise=0.0,
        seed=0,
        standardize=False,
        test=0.0,
        fields={"x": ("float", ("n", 3)), "y": ("float", ("n",))},
    )
    mixtures, smooth = unrolled_mixtures_smooth(data.x, data.y, neighbours)  # neighbours.lee:79
    run.report(space=explained(data.x, data.y), mixtures=mixtures, smooth=smooth)  # neighbours.lee:81


def unrolled_mixtures_smooth(data_x, data_y, neighbours):
    """data_x [data_train_n, 3], data_y [data_train_n] -> [], []"""
    mixtures = explained(lle(data_x, neighbours, 2), data_y)  # neighbours.lee:79
    smooth = explained(eigenmap(links(data_x, neighbours), 2), data_y)  # neighbours.lee:80
    return mixtures, smooth


def example_mixed(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  neighbours.lee:85
    return lle(x, 4, 2), eigenmap(links(x, 4), 2)  # neighbours.lee:86


def diag(x):
    """The matrix with the vector x on its diagonal and 0 elsewhere; of a matrix its diagonal.

    x [x_0] -> [x_0, x_0]
    """
    x_0 = x.shape[0]
    matrix = masked(x[:, None], np.arange(x_0)[:, None] == np.arange(x_0))  # [x_0, x_0]  prelude.lee:230
    return matrix  # [x_0, x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "x": 0x4F586EF96743DF4A,
}


def inside(i):
    """Positions that never wrap. Raises IndexError for a negative one; NumPy itself does for one too large."""
    if np.min(i, initial=0) < 0:
        raise IndexError(f"position {np.min(i)} lies before the first entry")
    return i


def masked(x, c, out=None):
    """x where c holds, else 0: its bits times 1 or 0. No branch is taken, and what is infinite is masked too."""
    word = np.dtype(f"i{x.itemsize}")
    return np.multiply(x.view(word), c, out=None if out is None else out.view(word)).view(x.dtype)


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
