"""Keys of a run: every place that draws has a key made of the seed, its site and the rounds of its loops.

A site is a path such as "fit/net"; its word is a hash of the text, so a new statement elsewhere changes no other
draw (R24). The arithmetic is in draws_numpy.py; a back end draws from these keys with its own twin.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from leec.runtime.draws_numpy import MASK, Key, fold


def seed_key(seed: int) -> Key:
    """The two words of a seed; seeds that differ in their low 64 bits have different keys."""
    return seed & MASK, seed >> 32 & MASK


@lru_cache(maxsize=4096)
def site_word(path: str) -> int:
    """The 64-bit word of a site: BLAKE2b of its UTF-8 text, 8 bytes, little-endian; a compiler may bake it in."""
    return int.from_bytes(blake2b(path.encode(), digest_size=8).digest(), "little")


def site_key(seed: int, path: str) -> Key:
    """The key of a site outside of loops: fold(seed_key(seed), site_word(path))."""
    return fold(seed_key(seed), site_word(path))


def round_key(key: Key, loop: str, counter: int) -> Key:
    """The key of one round of a loop: the loop's own name, marked as a loop's, and its counter, folded in one by one."""
    return fold(fold(key, site_word(f"{loop}[]")), counter)
