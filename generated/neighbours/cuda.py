"""Maps that keep neighbours (inventory Q14, Q15): locally linear embedding and Laplacian eigenmaps.

Made from specs/unsupervised/neighbours.lee by leec 0.1.0. Change that file, not this one, and run: leec compile specs/unsupervised/neighbours.lee
"""

from __future__ import annotations

import math
import sys

if __name__ == "cuda" and "torch" in sys.modules and not hasattr(sys.modules["torch"], "nn"):
    raise ImportError("torch, which looks for a package named cuda, has found this file beside the script")

import torch  # noqa: E402

FLOAT = torch.float32


def squares(x):
    """|xᵢ - xⱼ|², and ∞ of an example from itself: nobody is their own neighbour.

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    i = torch.arange(n, device=x.device)  # int[n]  neighbours.lee:11
    eq = i[:, None] == i  # bool[n, n]
    sub = x[:, None] - x  # [n, n, d]
    guard = torch.where((~eq)[:, :, None], sub, sub.detach())  # [n, n, d]
    square = torch.where(eq, torch.inf, (guard**2).sum(dim=2))  # [n, n]
    return square  # [n, n]


def nearest(x, k):
    """The k neighbours of each example, the closest first.

    x [n, d] -> int[n, k]
    """
    return torch.argsort(squares(x), dim=1, stable=True)[:, :k]  # int[n, k]  neighbours.lee:17


def shares(x, near, ridge=1e-3):
    """How each example is best mixed of its neighbours, Σⱼ wᵢⱼ = 1 (Roweis & Saul 2000).

    x [n, d], near int[n, m] -> [n, m]
    """
    n, m = near.shape
    gap = x[:, None] - x[near]  # [n, m, d]  neighbours.lee:25
    gram = gap @ gap.mT  # [n, m, m]  neighbours.lee:26
    a = torch.arange(m, device=x.device)  # int[m]  neighbours.lee:27
    reshape_3 = torch.einsum("icc->ic", gram).sum(dim=1)[:, None, None]  # [n, 1, 1]
    wide = gram + (a[:, None] == a).to(FLOAT) * ridge * reshape_3  # [n, m, m]
    fill = torch.ones((n, m), dtype=FLOAT, device=x.device)  # [n, m]  neighbours.lee:28
    raw = torch.linalg.solve(wide, fill[Ellipsis, None])[Ellipsis, 0]  # [n, m]
    w = raw / raw.sum(dim=1, keepdim=True)  # [n, m]  neighbours.lee:29
    return w  # [n, m]


def unmixed(x, k):
    """1 - W: what is left of each row when its mixture is taken away.

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    near = nearest(x, k)  # int[n, k]  neighbours.lee:35
    w_2 = shares(x, near)  # [n, k]  neighbours.lee:36
    i = torch.arange(n, device=x.device)  # int[n]  neighbours.lee:37
    reshape = i[:, None]  # int[n, 1]
    select = torch.where(near[:, None] == reshape, w_2[:, None], 0)  # [n, n, k]
    rest = (reshape == i).to(FLOAT) - select.sum(dim=2)  # [n, n]
    return rest  # [n, n]


def lle(x, neighbours, k):
    """The z that the same mixtures leave least of: eigenvectors of (1 - W)ᵀ(1 - W) but the first, which is constant.

    They are the right singular vectors of 1 - W, whose values are not squared and so not lost in float32.

    x [n, d] -> [n, k]
    """
    _, _, v = svd(unmixed(x, neighbours))  # neighbours.lee:46
    return torch.flip(v, (1,))[:, 1 : k + 1]  # [n, k]  neighbours.lee:47


def links(x, k):
    """1 where one is among the k neighbours of the other and the other of the one, ½ where in one way only.

    x [n, d] -> [n, n]
    """
    n = x.shape[0]
    near = nearest(x, k)  # int[n, k]  neighbours.lee:55
    eq = near[:, None] == torch.arange(n, device=x.device)[:, None]  # bool[n, n, k]  neighbours.lee:56
    linked = eq.to(FLOAT).sum(dim=2)  # [n, n]
    return (linked + linked.T) / 2  # [n, n]  neighbours.lee:57


def eigenmap(w, k):
    """min Σ wᵢⱼ (zᵢ - zⱼ)² with zᵀ D z = 1, else all z would be 0: L z = λ D z by L' = D^-½ L D^-½.

    w [n, n] -> [n, k]
    """
    w_sum = w.sum(dim=1)  # [n]  neighbours.lee:62
    root = sqrt(w_sum)  # [n]
    laplacian = diag(w_sum) - w  # [n, n]  neighbours.lee:63
    reshape = root[:, None]  # [n, 1]  neighbours.lee:64
    _, vectors = eigh(laplacian / reshape / root)
    return vectors[:, 1 : k + 1] / reshape  # [n, k]  neighbours.lee:65


def explained(z, y):
    """The share of the variance of y that is linear in z.

    z [n, k], y [n] -> []
    """
    centred = z - z.mean(dim=0)  # [n, k]  neighbours.lee:70
    rest = y - y.mean()  # [n]  neighbours.lee:71
    contract = centred.T @ centred  # [k, k]  neighbours.lee:72
    w = torch.linalg.solve(contract, (rest @ centred)[Ellipsis, None])[Ellipsis, 0]  # [k]
    sub = rest - centred @ w  # [n]  neighbours.lee:73
    return 1 - (sub**2).sum() / (rest**2).sum()


@torch.no_grad()
def unrolled(neighbours=8, *, run=None):
    """How much of the way along the roll the maps tell; in space its places lie over each other."""
    from leec.runtime.run import Run

    run = run or Run("unrolled", backend="torch")
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
    i = torch.arange(x_0, device=x.device)  # int[x_0]  prelude.lee:230
    matrix = torch.where(i[:, None] == i, x[:, None], 0)  # [x_0, x_0]
    return matrix  # [x_0, x_0]


# ---- what the code above uses


# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.
SITES = {
    "x": 0x4F586EF96743DF4A,
}


def sqrt(x):
    """Square root, whose gradient at 0 is 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def reciprocal_or_zero(x, scale):
    """1 / x, and 0 where x is no more than the rounding errors of numbers as large as `scale`."""
    far = x.abs() > 100 * torch.finfo(x.dtype).eps * scale
    return torch.where(far, 1 / torch.where(far, x, 1.0), 0.0)


def symmetric_part(a):
    """The symmetric part of matrices."""
    return (a + a.mT) / 2


def signs_of_columns(vectors):
    """1 or -1 for every column, that its largest entry becomes positive; of nearly equal sizes the first counts."""
    size = vectors.abs()
    near = size >= 0.999 * size.amax(dim=-2, keepdim=True)
    largest = torch.take_along_dim(vectors, near.int().argmax(dim=-2, keepdim=True), -2)
    return torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)


def inverse_gaps(values):
    """1 / (values[j] - values[i]), and 0 where both are equal up to rounding."""
    scale = values.abs().amax(dim=-1)[..., None, None]
    return reciprocal_or_zero(values[..., None, :] - values[..., :, None], scale)


class Eigh(torch.autograd.Function):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""

    @staticmethod
    def forward(ctx, a):
        values, vectors = torch.linalg.eigh(symmetric_part(a))
        vectors = vectors * signs_of_columns(vectors)
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx, d_values, d_vectors):
        values, vectors = ctx.saved_tensors
        inner = inverse_gaps(values) * (vectors.mT @ d_vectors)
        return symmetric_part((vectors * d_values[..., None, :] + vectors @ inner) @ vectors.mT)


def eigh(a):
    """Eigenvalues of the symmetric part, ascending, and the unit vectors as columns."""
    return Eigh.apply(a)


class Svd(torch.autograd.Function):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""

    @staticmethod
    def forward(ctx, a):
        u, s, vt = torch.linalg.svd(a, full_matrices=False)
        sign = signs_of_columns(u)
        u, v = u * sign, vt.mT * sign
        ctx.save_for_backward(u, s, v)
        return u, s, v

    @staticmethod
    def backward(ctx, d_u, d_s, d_v):
        u, s, v = ctx.saved_tensors
        scale = s.amax(dim=-1)[..., None, None]
        gaps = inverse_gaps(s) * reciprocal_or_zero(s[..., None, :] + s[..., :, None], scale)
        turn_u, turn_v = u.mT @ d_u, v.mT @ d_v
        inner = gaps * (turn_u - turn_u.mT) * s[..., None, :] + s[..., :, None] * gaps * (turn_v - turn_v.mT)
        inverse = reciprocal_or_zero(s[..., None, :], scale)
        left = u @ inner + u * d_s[..., None, :] + (d_u - u @ turn_u) * inverse
        return left @ v.mT + u * inverse @ (d_v - v @ turn_v).mT


def svd(a):
    """u, s, v with orthonormal columns and a = u @ diag(s) @ v.mT, the largest of s first."""
    return Svd.apply(a)


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
