"""K-means (inventory Q8): every example to its nearest centre, every centre into the middle of its examples.

Made from specs/unsupervised/kmeans.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/kmeans.lee
"""

from __future__ import annotations

import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


def nearest(x, centre):
    """The number of the centre that is closest to each example.

    x [n, d], centre [k, d] -> int[n]
    """
    sub = x[:, None] - centre  # [n, k, d]  kmeans.lee:9
    square = (sub**2).sum(dim=2)  # [n, k]
    return square.argmin(dim=1)  # int[n]  kmeans.lee:10


def middles(x, label, centre):
    """The mean of the examples of each label; a centre without any stays where it is.

    x [n, d], label int[n], centre [k, d] -> [k, d]
    """
    k, d = centre.shape
    cast = (label == torch.arange(k, device=x.device)[:, None]).to(FLOAT)  # [k, n]  kmeans.lee:15
    size = cast.sum(dim=1)  # [k]
    gt = size > 0  # bool[k]  kmeans.lee:16
    reshape_2 = gt[:, None]  # bool[k, 1]
    guard = torch.where(gt[:, None, None], x.T, x.T.detach())  # [k, d, n]
    reshape_5 = (guard @ cast[:, :, None]).reshape(k, d)  # [k, d]
    guard_2 = torch.where(reshape_2, reshape_5, reshape_5.detach())  # [k, d]
    div = guard_2 / torch.where(gt, size, size.detach())[:, None]  # [k, d]
    moved = torch.where(reshape_2, div, centre)  # [k, d]
    return moved  # [k, d]


def inertia(x, label, centre):
    """What k-means makes small: the squared distances of the examples from their centres.

    x [n, d], label int[n], centre [k, d] -> []
    """
    sub = x - centre[label]  # [n, d]  kmeans.lee:22
    return (sub**2).sum()


def inertia_saved(x, label, centre):
    """As inertia, and what its gradient needs."""
    sub = x - centre[label]  # [n, d]  kmeans.lee:22
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
    fill = torch.full((), True, dtype=torch.bool, device=x.device)  # kmeans.lee:30
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


@torch.no_grad()
def of_flowers(k=3, *, run=None):
    """Iris, without its labels; the report holds the clusters against them."""
    from leec.runtime.run import Run

    run = run or Run("of_flowers", backend="torch")
    data = run.data("iris", standardize=False, test=0.0, fields={"x": ("float", ("n", 4)), "y": ("int", ("n",))})
    x, centre, label = of_flowers_x_centre_label(data.x, k, key=run.key("of_flowers"))  # kmeans.lee:41
    reported_inertia, reported_agreement = of_flowers_inertia_agreement(x, label, centre, data.y)  # kmeans.lee:44
    run.report(inertia=reported_inertia, agreement=reported_agreement)  # kmeans.lee:44
    return centre


def of_flowers_x_centre_label(data_x, k, key):
    """data_x [data_train_n, 4] -> [data_train_n, 4], [k, 4], int[data_train_n]"""
    data_train_n = data_x.shape[0]
    key_2 = fold(key, SITES["pick"])  # kmeans.lee:42
    uniform_ = uniform(key_2, (data_train_n,), FLOAT, data_x.device)  # [data_train_n]
    pick = torch.argsort(uniform_, dim=0, stable=True)[:k]  # int[k]
    centre, label = kmeans(data_x, data_x[pick])  # kmeans.lee:43
    return data_x, centre, label


def of_flowers_inertia_agreement(x, label, centre, data_y):
    """x [data_train_n, 4], label int[data_train_n], centre [k, 4], data_y int[data_train_n] -> [], []"""
    return inertia(x, label, centre), adjusted_rand(label, data_y)  # kmeans.lee:44


@torch.no_grad()
def of_digits(k=15, *, run=None):
    """Digits: more clusters than there are kinds, as some are written in more than one way."""
    from leec.runtime.run import Run

    run = run or Run("of_digits", backend="torch")
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
    key_2 = fold(key, SITES["pick"])  # kmeans.lee:52
    uniform_ = uniform(key_2, (data_train_n,), FLOAT, data_x.device)  # [data_train_n]
    pick = torch.argsort(uniform_, dim=0, stable=True)[:k]  # int[k]
    centre, label = kmeans(data_x, data_x[pick])  # kmeans.lee:53
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
    d_x, d_centre = inertia_backward(argmin, saved_inertia, 3, torch.ones((), dtype=FLOAT))
    return value, d_x, d_centre


def adjusted_rand(label, y):
    """How far two partitions agree on which pairs belong together: 1 entirely, 0 as by chance (Hubert & Arabie 1985).

    The names of the clusters do not matter.

    label int[n], y int[n] -> []
    """
    n = label.shape[0]
    one = label[:, None] == label  # bool[n, n]  metrics.lee:59
    two = y[:, None] == y  # bool[n, n]  metrics.lee:60
    both = (one & two).to(FLOAT).mean()  # metrics.lee:61
    only_one = (one & ~two).to(FLOAT).mean()  # metrics.lee:62
    only_two = (two & ~one).to(FLOAT).mean()  # metrics.lee:63
    neither = (~one & ~two).to(FLOAT).mean()  # metrics.lee:64
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


def scatter_add(v, index, dims, axes=None):
    """Zeros of the given dims with v added at positions of some axes (the first ones)."""
    whole = v.new_zeros(dims)
    front = whole if axes is None else whole.movedim(axes, tuple(range(len(axes))))
    front.index_put_(index, v, accumulate=True)
    return whole


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
