"""Hierarchical agglomerative clustering (inventory Q9): a tree by merging what is nearest, and cuts through it.

Made from specs/unsupervised/hac.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/hac.lee
"""

from __future__ import annotations

import math

import numpy as np

FLOAT = np.float32


def tree(x):
    """n - 1 times the two clusters with the smallest mean distance become one, under the smaller of their numbers.

    The distance of a merged cluster is the mean by size of what its parts were away (Lance & Williams 1967).

    x [n, d] -> int[n - 1], int[n - 1], [n - 1]
    """
    n = x.shape[0]
    sub = x[:, None] - x  # [n, n, d]  hac.lee:12
    eq = np.arange(n)[:, None] == np.arange(n)  # bool[n, n]
    distance = np.where(eq, np.inf, np.sqrt((sub**2).sum(axis=2)))  # [n, n]
    size = np.ones(n, dtype=np.int64)  # int[n]  hac.lee:13
    kept = np.empty((n - 1,), dtype=np.int64)  # int[n - 1]  hac.lee:14
    dropped = np.empty((n - 1,), dtype=np.int64)  # int[n - 1]
    height = np.empty((n - 1,), dtype=FLOAT)  # [n - 1]
    for s in range(n - 1):
        distance, size, kept[s], dropped[s], height[s] = tree_step(distance, size)
    return kept, dropped, height


def tree_step(distance, size):
    """distance [n, n], size int[n] -> [n, n], int[n], [], [], []"""
    n = distance.shape[0]
    place = distance.reshape(n**2).argmin(axis=0)  # hac.lee:15
    floordiv = place // n  # hac.lee:16
    mod = place % n
    keep = np.minimum(floordiv, mod)
    drop = np.maximum(floordiv, mod)  # hac.lee:17
    gather_2 = size[inside(keep)]  # hac.lee:21
    gather_3 = size[inside(drop)]
    total = gather_2 + gather_3
    mul = gather_2.astype(FLOAT) * distance[inside(keep)]  # [n]  hac.lee:22
    add = mul + gather_3.astype(FLOAT) * distance[inside(drop)]  # [n]
    merged = add / total.astype(FLOAT)  # [n]
    merged_2 = scatter_set(merged, FLOAT(np.inf), (keep,))  # [n]
    distance_3 = scatter_set(distance, merged_2, (keep,))  # [n, n]
    distance_4 = scatter_set(distance_3, merged_2, (keep,), (1,))  # [n, n]
    fill_2 = np.full(n, np.inf, dtype=FLOAT)  # [n]
    distance_5 = scatter_set(distance_4, fill_2, (drop,))  # [n, n]
    distance_6 = scatter_set(distance_5, fill_2, (drop,), (1,))  # [n, n]
    size_7 = scatter_set(size, total, (keep,))  # int[n]
    return distance_6, size_7, keep, drop, distance[inside(keep), inside(drop)]


def cut_(kept, dropped, height, threshold):
    """The clusters that lie apart by more than a threshold, each called after its first example.

    kept int[m], dropped int[m], height [m] -> int[m + 1]
    """
    m = kept.shape[0]
    label = np.arange(m + 1)  # int[m + 1]  hac.lee:34
    # hac.lee:35
    for s in range(m):
        label = cut_step(label, height[s], dropped[s], kept[s], threshold, m)
    return label  # int[m + 1]


def cut_2(kept, dropped, height, threshold):
    """The clusters that lie apart by more than a threshold, each called after its first example.

    kept int[m], dropped int[m], height [m] -> int[m + 1]
    """
    m = kept.shape[0]
    label = np.arange(m + 1)  # int[m + 1]  hac.lee:34
    # hac.lee:35
    for s in range(m):
        label = cut_step_2(label, height[s], dropped[s], kept[s], threshold, m)
    return label  # int[m + 1]


def cut_step(label, height_s, dropped_s, kept_s, threshold, m):
    """label int[m + 1] -> int[m + 1]"""
    label_3 = np.where((height_s <= threshold) & (label == dropped_s), kept_s, label)  # int[m + 1]  hac.lee:36
    return label_3  # int[m + 1]


def cut_step_2(label, height_s, dropped_s, kept_s, threshold, m):
    """label int[m + 1] -> int[m + 1]"""
    label_3 = np.where((height_s <= threshold) & (label == dropped_s), kept_s, label)  # int[m + 1]  hac.lee:36
    return label_3  # int[m + 1]


def agglomerated(x, clusters):
    """Cut so that a number of clusters is left; merges come the lower the earlier.

    x [n, d] -> int[n]
    """
    n = x.shape[0]
    kept_2, dropped_2, height_2 = tree(x)  # hac.lee:42
    y = cut_2(kept_2, dropped_2, height_2, height_2[n - clusters - 1])  # int[n]  hac.lee:43
    return y  # int[n]


def fit(clusters=3, *, run=None):
    """Iris, without its labels; the report holds the clusters against them."""
    from leec.runtime.run import Run

    run = run or Run("fit")
    data = run.data("iris", standardize=False, test=0.0, fields={"x": ("float", ("n", 4)), "y": ("int", ("n",))})
    label = fit_label(data.x, clusters)  # hac.lee:49
    run.report(agreement=adjusted_rand(label, data.y))  # hac.lee:50


def fit_label(data_x, clusters):
    """data_x [data_train_n, 4] -> int[data_train_n]"""
    label = agglomerated(data_x, clusters)  # int[data_train_n]  hac.lee:49
    return label  # int[data_train_n]


def example_small(key):
    x = normal(fold(key, SITES["x"]), (9, 2), FLOAT)  # [9, 2]  hac.lee:54
    kept_2, dropped_2, height_2 = tree(x)  # hac.lee:55
    return kept_2, dropped_2, height_2, cut_(kept_2, dropped_2, height_2, 1.2), agglomerated(x, 4)  # hac.lee:56


def adjusted_rand(label, y):
    """How far two partitions agree on which pairs belong together: 1 entirely, 0 as by chance (Hubert & Arabie 1985).

    The names of the clusters do not matter.

    label int[n], y int[n] -> []
    """
    n = label.shape[0]
    one = label[:, None] == label  # bool[n, n]  metrics.lee:59
    two = y[:, None] == y  # bool[n, n]  metrics.lee:60
    both = (one & two).astype(FLOAT).mean()  # metrics.lee:61
    only_one = (one & ~two).astype(FLOAT).mean()  # metrics.lee:62
    only_two = (two & ~one).astype(FLOAT).mean()  # metrics.lee:63
    neither = (~one & ~two).astype(FLOAT).mean()  # metrics.lee:64
    itself = 1 / n  # metrics.lee:65
    pairs = both - itself  # metrics.lee:66
    mul = (pairs + only_one) * (only_one + neither)  # metrics.lee:67
    chance = mul + (pairs + only_two) * (only_two + neither)
    return 2 * (pairs * neither - only_one * only_two) / chance  # metrics.lee:68


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


def fronted(x, axes=None):
    """A view of x with some axes in front (None: as they are)."""
    return x if axes is None else np.moveaxis(x, axes, range(len(axes)))


def scatter_set(x, v, index, axes=None):
    """A copy of x with v written at positions of some axes (the first ones)."""
    whole = x.copy()
    fronted(whole, axes)[index] = v
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
