"""Hierarchical agglomerative clustering (inventory Q9): a tree by merging what is nearest, and cuts through it.

Made from specs/unsupervised/hac.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/hac.lee
"""

from __future__ import annotations

import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


def tree(x):
    """n - 1 times the two clusters with the smallest mean distance become one, under the smaller of their numbers.

    The distance of a merged cluster is the mean by size of what its parts were away (Lance & Williams 1967).

    x [n, d] -> int[n - 1], int[n - 1], [n - 1]
    """
    n = x.shape[0]
    i = torch.arange(n, device=x.device)  # int[n]  hac.lee:12
    eq = i[:, None] == i  # bool[n, n]
    sub = x[:, None] - x  # [n, n, d]
    guard = torch.where((~eq)[:, :, None], sub, sub.detach())  # [n, n, d]
    sum_ = (guard**2).sum(dim=2)  # [n, n]
    distance = torch.where(eq, torch.inf, sqrt(torch.where(~eq, sum_, sum_.detach())))  # [n, n]
    size = torch.ones(n, dtype=torch.int64, device=x.device)  # int[n]  hac.lee:13
    kept = [None] * (n - 1)  # hac.lee:14
    dropped = [None] * (n - 1)
    height = [None] * (n - 1)
    for s in range(n - 1):
        distance, size, kept[s], dropped[s], height[s] = tree_step(distance, size)
    kept = torch.stack(kept, 0) if kept else torch.zeros((n - 1,), dtype=torch.int64, device=x.device)
    dropped = torch.stack(dropped, 0) if dropped else torch.zeros((n - 1,), dtype=torch.int64, device=x.device)
    height = torch.stack(height, 0) if height else torch.zeros((n - 1,), dtype=FLOAT, device=x.device)
    return kept, dropped, height


def tree_step(distance, size):
    """distance [n, n], size int[n] -> [n, n], int[n], [], [], []"""
    n = distance.shape[0]
    place = distance.reshape(n**2).argmin(dim=0)  # hac.lee:15
    floordiv = place // n  # hac.lee:16
    mod = place % n
    keep = floordiv.clamp(max=mod)
    drop = floordiv.clamp(min=mod)  # hac.lee:17
    gather_2 = size[keep]  # hac.lee:21
    gather_3 = size[drop]
    total = gather_2 + gather_3
    mul = gather_2.to(FLOAT) * distance[keep]  # [n]  hac.lee:22
    merged = (mul + gather_3.to(FLOAT) * distance[drop]) / total.to(FLOAT)  # [n]
    fill = torch.full((), torch.inf, dtype=FLOAT, device=distance.device)
    merged_2 = merged.index_put((keep,), fill)  # [n]
    distance_3 = distance.index_put((keep,), merged_2)  # [n, n]
    distance_4 = distance_3.permute((1, 0)).index_put((keep,), merged_2).permute(1, 0)  # [n, n]
    fill_2 = torch.full((n,), torch.inf, dtype=FLOAT, device=distance.device)  # [n]
    distance_5 = distance_4.index_put((drop,), fill_2)  # [n, n]
    distance_6 = distance_5.permute((1, 0)).index_put((drop,), fill_2).permute(1, 0)  # [n, n]
    size_7 = size.index_put((keep,), total)  # int[n]
    return distance_6, size_7, keep, drop, distance[keep, drop]


def cut(kept, dropped, height, threshold):
    """The clusters that lie apart by more than a threshold, each called after its first example.

    kept int[m], dropped int[m], height [m] -> int[m + 1]
    """
    m = kept.shape[0]
    label = torch.arange(m + 1, device=kept.device)  # int[m + 1]  hac.lee:34
    # hac.lee:35
    for s in range(m):
        label = cut_step(label, height[s], dropped[s], kept[s], threshold, m)
    return label  # int[m + 1]


def cut_2(kept, dropped, height, threshold):
    """The clusters that lie apart by more than a threshold, each called after its first example.

    kept int[m], dropped int[m], height [m] -> int[m + 1]
    """
    m = kept.shape[0]
    label = torch.arange(m + 1, device=kept.device)  # int[m + 1]  hac.lee:34
    # hac.lee:35
    for s in range(m):
        label = cut_step_2(label, height[s], dropped[s], kept[s], threshold, m)
    return label  # int[m + 1]


def cut_step(label, height_s, dropped_s, kept_s, threshold, m):
    """label int[m + 1] -> int[m + 1]"""
    label_3 = torch.where((height_s <= threshold) & (label == dropped_s), kept_s, label)  # int[m + 1]  hac.lee:36
    return label_3  # int[m + 1]


def cut_step_2(label, height_s, dropped_s, kept_s, threshold, m):
    """label int[m + 1] -> int[m + 1]"""
    label_3 = torch.where((height_s <= threshold) & (label == dropped_s), kept_s, label)  # int[m + 1]  hac.lee:36
    return label_3  # int[m + 1]


def agglomerated(x, clusters):
    """Cut so that a number of clusters is left; merges come the lower the earlier.

    x [n, d] -> int[n]
    """
    n = x.shape[0]
    kept_2, dropped_2, height_2 = tree(x)  # hac.lee:42
    y = cut_2(kept_2, dropped_2, height_2, height_2[n - clusters - 1])  # int[n]  hac.lee:43
    return y  # int[n]


@torch.no_grad()
def fit(clusters=3, *, run=None):
    """Iris, without its labels; the report holds the clusters against them."""
    from leec.runtime.run import Run

    run = run or Run("fit", backend="torch")
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
    return kept_2, dropped_2, height_2, cut(kept_2, dropped_2, height_2, 1.2), agglomerated(x, 4)  # hac.lee:56


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
    "x": 0x4F586EF96743DF4A,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def largest(x, axes, keepdims=False):
    """The largest entry, -inf of nothing; the gradient goes to the first of equals."""
    for axis in reversed(axes):
        some = x.shape[axis] > 0
        x = x.max(axis, keepdim=keepdims).values if some else x.sum(axis, keepdim=keepdims) - math.inf
    return x


def smallest(x, axes, keepdims=False):
    """The smallest entry, inf of nothing; the gradient goes to the first of equals."""
    return -largest(-x, axes, keepdims)


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


def normal(key: Key, shape: tuple[int, ...], dtype: torch.dtype, device: Device = None) -> torch.Tensor:
    """Standard normal numbers (Box and Muller 1958): two words give two, in float64, rounded once at the end."""
    n = math.prod(shape)
    words = (bits(key, n + n % 2, device) >> 8).reshape(-1, 2).to(torch.float64)
    radius = torch.sqrt(-2.0 * torch.log((words[:, 0] + 0.5) * 2.0**-24))
    angle = words[:, 1] * (2.0 * math.pi * 2.0**-24)
    pairs = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pairs.reshape(-1)[:n].reshape(shape).to(dtype)
