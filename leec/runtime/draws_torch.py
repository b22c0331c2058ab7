"""Random numbers from a counter, in PyTorch: the numbers of draws_numpy.py, word for word.

PyTorch has no unsigned arithmetic to speak of, so words live in int64: a product of two words wraps, which keeps
all its bits, and the shift is masked. A key is a pair of integers or an int64[2] tensor on the device, which a
captured graph can read; nothing here waits for the device. Every function stands on torch alone.
"""

import math

import torch

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


def permutation(key: Key, n: int, device: Device = None) -> torch.Tensor:
    """The numbers 0 to n - 1 in random order, int64[n]: the order of n words, the first of equals first."""
    return torch.argsort(bits(key, n, device), stable=True)
