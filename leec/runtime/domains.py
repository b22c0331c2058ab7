"""The same digits under other looks, row by row: what is learned in one domain is to hold in another.

Each is a function of x: [n, 64], 8 x 8 grey values between 0 and 1, and of a seed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leec.runtime.draws_numpy import normal
from leec.runtime.philox import site_key

DOMAINS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "plain": lambda x, seed: x,  # bright on dark
    "inverted": lambda x, seed: 1 - x,
    "rotated": lambda x, seed: np.rot90(x.reshape(-1, 8, 8), axes=(1, 2)).reshape(x.shape),  # a quarter to the left
    "noisy": lambda x, seed: 0.4 + 0.6 * x + 0.1 * normal(site_key(seed, "look"), x.shape, np.float64),  # and pale
}
