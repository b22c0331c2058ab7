"""What every data source does with its rows: divide them, standardise them by the training part, shape them.

Options are those of Preparation: `test`, `valid`, `seed`, `standardize`, `standardize_target`, `shape`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from leec.runtime import faults
from leec.runtime.data import Source, Split, kind_of, portion
from leec.runtime.draws_numpy import permutation
from leec.runtime.philox import site_key

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Preparation:
    """The options every source takes.

    test, valid          the parts of the rows kept apart, by an order drawn from `seed`; 0 keeps nothing apart
    standardize          floats of x by mean and deviation of the training rows (a deviation of 0 counts as 1)
    standardize_target   the same for a float y
    shape                of one example, such as (1, 8, 8)
    """

    test: float = 0.0
    valid: float = 0.0
    seed: int = 0
    standardize: bool = False
    standardize_target: bool = False
    shape: tuple[int, ...] | None = None


def prepare(name: str, arrays: Arrays, options: Preparation, extras: Mapping[str, Any] | None = None) -> Source:
    """Rows as a Source: divided, then standardised by what the training rows say, then shaped."""
    return finish(name, divided(Split(arrays, name), options), options, extras or {})


def finish(name: str, parts: dict[str, Split], options: Preparation, extras: Mapping[str, Any]) -> Source:
    """Splits as a Source: standardised and shaped where asked for."""
    scales: Arrays = {}
    for field, wanted in (("x", options.standardize), ("y", options.standardize_target)):
        if wanted:
            parts, scale = standardized(name, field, parts)
            scales |= scale
    if options.shape is not None:
        parts = {part: shaped(rows, options.shape) for part, rows in parts.items()}
    return Source(parts, {**extras, **scales}, name)


def divided(whole: Split, options: Preparation) -> dict[str, Split]:
    """`train`, and `test` and `valid` where asked for; the rows keep their order where neither is."""
    n = len(whole)
    sizes = {part: portion(whole.name, part, getattr(options, part), n) for part in ("test", "valid")}
    for part, size in sizes.items():
        if getattr(options, part) and not size:
            raise faults.wrong_option(whole.name, f"`{part} = {getattr(options, part)}` of {n} rows is none")
    if sum(sizes.values()) >= n:
        raise faults.wrong_option(whole.name, f"of {n} rows none is left to train with")
    if not any(sizes.values()):
        return {"train": whole}
    order = permutation(site_key(options.seed, "split"), n)
    test, valid, train = np.split(order, [sizes["test"], sizes["test"] + sizes["valid"]])
    return {part: whole.rows(rows) for part, rows in (("train", train), ("valid", valid), ("test", test)) if len(rows)}


def standardized(name: str, field: str, parts: dict[str, Split]) -> tuple[dict[str, Split], dict[str, np.ndarray]]:
    """(x - mean) / deviation, column by column, in float64; mean and deviation stay known as `x_mean`, `x_std`."""
    values = parts["train"].fields.get(field)
    if values is None or kind_of(values) != "float":
        option = "standardize" if field == "x" else "standardize_target"
        raise faults.wrong_option(name, f"`{option}` needs a field `{field}` of floats")
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation = np.where(deviation == 0, 1.0, deviation)

    def change(f: str, array: np.ndarray) -> np.ndarray:
        return (array - mean) / deviation if f == field else array

    return {part: rows.map(change) for part, rows in parts.items()}, {f"{field}_mean": mean, f"{field}_std": deviation}


def shaped(rows: Split, shape: tuple[int, ...]) -> Split:
    """The split with every x of this shape, which must hold as many numbers."""

    def change(field: str, array: np.ndarray) -> np.ndarray:
        if field != "x":
            return array
        try:
            return array.reshape(len(array), *shape)
        except ValueError:
            have = " x ".join(map(str, array.shape[1:]))
            message = f"`shape = {tuple(shape)}` does not fit an example of {have} numbers"
            raise faults.wrong_option(rows.name, message) from None

    return rows.map(change)
