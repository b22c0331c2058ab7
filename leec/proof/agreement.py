"""Agreement of programs on a quantity: |a - b| <= tolerance * max(largest |b|, scale), and both sides are shown.

`scale` is the largest sum of absolute terms of the last reduction (leec/proof/scale.py), so that a gradient that is
zero up to rounding agrees with another one that is. Integers and truths must be equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

# float32 is about 5e8 times coarser than float64; after steps, what was rounded differently has grown.
TOLERANCES = {"f64": 1e-10, "f32": 1e-4}
AFTER_STEPS = {"f64": 1e-10, "f32": 1e-3}


@dataclass(frozen=True)
class Row:
    """One quantity: the largest difference of any two programs, what is allowed, and who differs so.

    `exempt` counts entries that are left out, because a rule has blown up a gradient that is zero up to rounding.
    """

    quantity: str
    shape: tuple[int, ...]
    error: float
    bound: float
    between: tuple[str, str]
    exempt: int = 0

    @property
    def agrees(self) -> bool:
        return self.error <= self.bound


def compare(
    quantity: str,
    values: Mapping[str, object],
    scale: float,
    tolerance: float,
    exempt: np.ndarray | None = None,
) -> Row:
    """The worst pair of programs, by how much of its bound the difference takes."""
    arrays = {program: np.asarray(value) for program, value in values.items()}
    rows = [
        pair_row(quantity, p, q, arrays[p], arrays[q], scale, tolerance, exempt) for p, q in combinations(arrays, 2)
    ]
    return max(rows, key=excess)


def pair_row(
    quantity: str,
    p: str,
    q: str,
    a: np.ndarray,
    b: np.ndarray,
    scale: float,
    tolerance: float,
    exempt: np.ndarray | None,
) -> Row:
    if a.shape != b.shape:
        return Row(quantity, a.shape, math.inf, 0.0, (p, q))
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        return Row(quantity, a.shape, float(np.count_nonzero(a != b)), 0.0, (p, q))
    difference = distance(a, b)
    left_out = 0
    if exempt is not None:
        left_out = int(np.count_nonzero(exempt & (difference > tolerance * size(b, scale))))
        difference = np.where(exempt, 0.0, difference)
    error = float(difference.max(initial=0.0))
    return Row(quantity, a.shape, error, tolerance * size(b, scale), (p, q), left_out)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a - b| in float64; 0 where both are the same infinity or both NaN, infinite where only one is."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(difference), np.inf, difference))


def size(b: np.ndarray, scale: float) -> float:
    """max(largest |b|, scale), of what is finite."""
    finite = np.abs(b[np.isfinite(b)]).astype(np.float64)
    return max(float(finite.max(initial=0.0)), scale)


def excess(row: Row) -> float:
    """The difference in units of the bound; of two that are 0, the one with the larger bound says less."""
    if row.error == 0:
        return 0.0
    return row.error / row.bound if row.bound else math.inf
