"""Data for procedures that take data as an argument: drawn, of the types that they declare."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from leec.ir import host
from leec.runtime.data import Source, Split
from leec.runtime.draws_numpy import normal, randint
from leec.runtime.philox import site_key

PARTS = ("train", "valid", "test")
ROWS, OTHER = 48, 5  # what a named size is: the first of a field, and any other
Declared = Mapping[str, tuple[str, tuple[int | str, ...]]]


def takes_data(procedure: host.Procedure) -> set[str]:
    """The parameters whose fields some size of the procedure is of."""
    arrays = (s.array for s in procedure.symbols.values() if isinstance(s, host.ShapeOf))
    shapes = [a for a in arrays if isinstance(a, host.Ref)]
    names = {name for name, default in procedure.parameters if default is None}
    return {a.name for a in shapes if a.name in names and a.fields and a.fields[0] in PARTS}


class StandIn:
    """In the place of data, until a run says what its fields are."""

    def __init__(self, seed: int):
        self.seed = seed

    def of(self, name: str, fields: Declared) -> Source:
        parts = {part: Split(self.arrays(f"{name}.{part}", fields), f"{name}.{part}") for part in PARTS}
        return Source(parts, name=name)

    def arrays(self, site: str, fields: Declared) -> dict[str, np.ndarray]:
        sizes: dict[str, int] = {}
        for _, dims in fields.values():
            for i, dim in enumerate(dims):
                if isinstance(dim, str):
                    sizes.setdefault(dim, OTHER if i else ROWS)
        made: dict[str, np.ndarray] = {}
        for field, (kind, dims) in fields.items():
            shape = tuple(sizes[d] if isinstance(d, str) else d for d in dims)
            made[field] = entries(kind, shape, site_key(self.seed, f"{site}.{field}"))
        return made


class Drawn(Source):
    """Its fields are those of the training part where no part is named."""

    def __getattr__(self, part: str) -> Any:
        fields = self.__dict__.get("splits", {}).get("train")
        if fields is not None and part in fields.fields:
            return fields.fields[part]
        return super().__getattr__(part)

    @staticmethod
    def of(source: Source) -> Drawn:
        return Drawn(source.splits, source.extras, source.name)


def entries(kind: str, shape: tuple[int, ...], key: Any) -> np.ndarray:
    """Normal numbers; whole numbers and truths are 0 or 1, which every index and class can be."""
    if kind in ("int", "bool"):
        return randint(key, shape, 0, 2).astype(bool if kind == "bool" else np.int64)
    return normal(key, (prod(shape),), np.float64).reshape(shape)
