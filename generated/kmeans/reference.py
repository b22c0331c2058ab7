"""K-means (inventory Q8): every example to its nearest centre, every centre into the middle of its examples.

Made from specs/unsupervised/kmeans.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/kmeans.lee
"""

from __future__ import annotations

import math

import numpy as np

FLOAT = np.float32


def nearest(x, centre):
    """The number of the centre that is closest to each example.

    x [n, d], centre [k, d] -> int[n]
    """
    sub = x[:, None] - centre  # [n, k, d]  kmeans.lee:9
    square = (sub**2).sum(axis=2)  # [n, k]
    return square.argmin(axis=1)  # int[n]  kmeans.lee:10


def middles(x, label, centre):
    """The mean of the examples of each label; a centre without any stays where it is.

    x [n, d], label int[n], centre [k, d] -> [k, d]
    """
    k = centre.shape[0]
    cast = (label == np.arange(k)[:, None]).astype(FLOAT)  # [k, n]  kmeans.lee:15
    size = cast.sum(axis=1)  # [k]
    moved = np.where((size > 0)[:, None], cast @ x / size[:, None], centre)  # [k, d]  kmeans.lee:16
    return moved  # [k, d]


def inertia(x, label, centre):
    """What k-means makes small: the squared distances of the examples from their centres.

    x [n, d], label int[n], centre [k, d] -> []
    """
    sub = x - centre[inside(label)]  # [n, d]  kmeans.lee:22
    return (sub**2).sum()


def inertia_saved(x, label, centre):
    """As inertia, and what its gradient needs."""
    sub = x - centre[inside(label)]  # [n, d]  kmeans.lee:22
    return (sub**2).sum(), sub


def inertia_backward(label, sub, k, d_y):
    """From d_y to the gradients by x and centre."""
    d = sub.shape[1]
    # gradient of return sum[i, a]((x[i, a] - centre[label[i], a]) ** 2)   kmeans.lee:22
    d_x = 2 * d_y * sub  # [n, d]
    d_centre = scatter_add(-d_x, (label,), (k, d))  # [k, d]
    return d_x, d_centre


def kmeans(x, start):
    """Both steps in turn until no label changes: inertia falls in every round, so that none comes twice.

    x [n, d], start [k, d] -> [k, d], int[n]
    """
    label = nearest(x, start)  # int[n]  kmeans.lee:28
    fill = np.bool_(True)  # kmeans.lee:30
    centre = start
    changed = fill
    going = fill
    while going:
        centre, changed, label, going = kmeans_step(centre, changed, label, going, x)
    return centre, label


def kmeans_step(centre, changed, label, going, x):
    """centre [k, d], label int[n], x [n, d] -> [k, d], [], int[n], []"""
    centre_2 = middles(x, label, centre)  # [k, d]  kmeans.lee:31
    again = nearest(x, centre_2)  # int[n]  kmeans.lee:32
    changed_2 = (again != label).any()  # kmeans.lee:33
    return centre_2, changed_2, again, changed_2


def of_flowers(k=3, *, run=None):
    """Iris, without its labels; the report holds the clusters against them."""
    from leec.runtime.run import Run

    run = run or Run("of_flowers")
    data = run.data("iris", standardize=False, test=0.0, fields={"x": ("float", ("n", 4)), "y": ("int", ("n",))})
    x, centre, label = of_flowers_x_centre_label(data.x, k, key=run.key("of_flowers"))  # kmeans.lee:41
    reported_inertia, reported_agreement = of_flowers_inertia_agreement(x, label, centre, data.y)  # kmeans.lee:44
    run.report(inertia=reported_inertia, agreement=reported_agreement)  # kmeans.lee:44
    return centre


def of_flowers_x_centre_label(data_x, k, key):
    """data_x [data_train_n, 4] -> [data_train_n, 4], [k, 4], int[data_train_n]"""
    data_train_n = data_x.shape[0]
    uniform_ = uniform(fold(key, SITES["pick"]), (data_train_n,), FLOAT)  # [data_train_n]  kmeans.lee:42
    pick = np.argsort(uniform_, axis=0, kind="stable")[:k]  # int[k]
    centre, label = kmeans(data_x, data_x[inside(pick)])  # kmeans.lee:43
    return data_x, centre, label


def of_flowers_inertia_agreement(x, label, centre, data_y):
    """x [data_train_n, 4], label int[data_train_n], centre [k, 4], data_y int[data_train_n] -> [], []"""
    return inertia(x, label, centre), adjusted_rand(label, data_y)  # kmeans.lee:44


def of_digits(k=15, *, run=None):
    """Digits: more clusters than there are kinds, as some are written in more than one way."""
    from leec.runtime.run import Run

    run = run or Run("of_digits")
    data = run.data(
        "digits",
        domain="plain",
        shape=(64,),
        standardize=False,
        test=0.0,
        fields={"x": ("float", ("n", 64)), "y": ("int", ("n",))},
    )
    x, centre, label = of_digits_x_centre_label(data.x, k, key=run.key("of_digits"))  # kmeans.lee:51
    reported_inertia, reported_agreement = of_digits_inertia_agreement(x, label, centre, data.y)  # kmeans.lee:54
    run.report(inertia=reported_inertia, agreement=reported_agreement)  # kmeans.lee:54
    return centre


def of_digits_x_centre_label(data_x, k, key):
    """data_x [data_train_n, 64] -> [data_train_n, 64], [k, 64], int[data_train_n]"""
    data_train_n = data_x.shape[0]
    uniform_ = uniform(fold(key, SITES["pick"]), (data_train_n,), FLOAT)  # [data_train_n]  kmeans.lee:52
    pick = np.argsort(uniform_, axis=0, kind="stable")[:k]  # int[k]
    centre, label = kmeans(data_x, data_x[inside(pick)])  # kmeans.lee:53
    return data_x, centre, label


def of_digits_inertia_agreement(x, label, centre, data_y):
    """x [data_train_n, 64], label int[data_train_n], centre [k, 64], data_y int[data_train_n] -> [], []"""
    return inertia(x, label, centre), adjusted_rand(label, data_y)  # kmeans.lee:54


def example_clusters(key):
    x = normal(fold(key, SITES["x"]), (40, 2), FLOAT)  # [40, 2]  kmeans.lee:59
    start = normal(fold(key, SITES["start"]), (4, 2), FLOAT)  # [4, 2]  kmeans.lee:60
    centre, label = kmeans(x, start)  # kmeans.lee:61
    return centre, label


def example_near_centres(key):
    x = normal(fold(key, SITES["x"]), (12, 3), FLOAT)  # [12, 3]  kmeans.lee:66
    centre = normal(fold(key, SITES["centre"]), (3, 3), FLOAT)  # [3, 3]  kmeans.lee:67
    argmin = nearest(x, centre)  # int[12]  kmeans.lee:68
    value, saved_inertia = inertia_saved(x, argmin, centre)
    d_x, d_centre = inertia_backward(argmin, saved_inertia, 3, FLOAT(1.0))
    return value, d_x, d_centre


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
    "centre": 0xDF2337D81DEA60F0,
    "pick": 0x35CADA6132A6B8E7,
    "start": 0xF7091535421F26A0,
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


def scatter(combine, x, v, index, axes=None):
    """A copy of x with v combined (by np.maximum, say) into positions of some axes (the first ones), one after another."""
    whole = x.copy()
    combine.at(fronted(whole, axes), index, v)
    return whole


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    return scatter(np.add, np.zeros(dims, v.dtype), v, index, axes)


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
