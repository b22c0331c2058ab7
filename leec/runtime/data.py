"""Data of a run: a Source has splits (`train`, `test`, `valid`), a Split has fields, a field is an array of rows.

Order is decided on the host by keys, so both back ends see the same rows in the same batches. Field order is
declaration order: batches, samples and unpacking follow it, and one field alone comes as the array itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from leec.runtime import faults
from leec.runtime.backend import Array, NumpyBackend, TorchBackend, beside, take
from leec.runtime.draws_numpy import Key, fold, permutation, randint
from leec.runtime.records import Record

Fields = Mapping[str, Array]
Declared = Mapping[str, tuple[str, tuple[int | str, ...]]]  # field -> (kind, dims), a dim a size or a name


class Split:
    """Rows with named fields: `part.x`, `len(part)`, `part.sample(n, key)`. Raises LEE707 if lengths differ."""

    def __init__(self, fields: Fields, name: str = "data"):
        lengths = {field: len(array) for field, array in fields.items()}
        if len(set(lengths.values())) != 1:
            raise faults.wrong_rows(f"the fields of `{name}` need equally many rows, they have {lengths}")
        if taken := [field for field in fields if field in ("fields", "name") or hasattr(Split, field)]:
            raise faults.wrong_option(name, f"a field cannot be called `{taken[0]}`")
        self.fields, self.name = dict(fields), name

    def __getattr__(self, field: str) -> Array:
        if field.startswith("__") or "fields" not in self.__dict__:  # copying asks before there are fields
            raise AttributeError(field)
        if field not in self.fields:
            raise faults.missing_field(self.name, field, self.fields)
        return self.fields[field]

    def __len__(self) -> int:
        return len(next(iter(self.fields.values())))

    def __repr__(self) -> str:
        fields = ", ".join(f"{field}: {describe(array)}" for field, array in self.fields.items())
        return f"Split({self.name}: {fields})"

    def map(self, change: Callable[[str, Array], Array]) -> Split:
        """The split with every array changed: change(field, array)."""
        return Split({field: change(field, array) for field, array in self.fields.items()}, self.name)

    def rows(self, order: np.ndarray) -> Split:
        """The split with some of its rows, in this order."""
        return Split({field: take(array, order) for field, array in self.fields.items()}, self.name)

    def sample(self, batch: int, key: Key) -> Any:
        """Different rows at random: a record of arrays in field order, or the array itself where there is one field."""
        chosen = distinct(key, len(self), batch, self.name)
        drawn = {field: take(array, chosen) for field, array in self.fields.items()}
        return Record(**drawn) if len(drawn) > 1 else next(iter(drawn.values()))


class Source:
    """Named splits and what belongs to all of them: `data.train.x`, `data.test`, `data.classes`.

    A source that was not divided (no test, no valid) gives its fields directly too: `data.x`.
    """

    def __init__(self, splits: Mapping[str, Split], extras: Mapping[str, Any] | None = None, name: str = "data"):
        self.splits, self.extras, self.name = dict(splits), dict(extras or {}), name

    def __getattr__(self, part: str) -> Any:
        if part.startswith("__") or "splits" not in self.__dict__:
            raise AttributeError(part)
        for known in (self.splits, self.extras, self.splits["train"].fields if len(self.splits) == 1 else {}):
            if part in known:
                return known[part]
        if part in self.splits["train"].fields:
            raise faults.wrong_option(
                self.name, f"it is divided, so `{part}` is ambiguous", f"write `train.{part}` or `test.{part}`"
            )
        raise faults.missing_part(self.name, part, [*self.splits, *self.extras])

    def __repr__(self) -> str:
        return f"Source({self.name}: {', '.join(f'{name}: {len(part)} rows' for name, part in self.splits.items())})"

    def map(self, change: Callable[[str, Array], Array]) -> Source:
        """The source with every array of every split, and every array among the extras, changed."""
        extras = {name: change(name, v) if isinstance(v, np.ndarray) else v for name, v in self.extras.items()}
        return Source({name: part.map(change) for name, part in self.splits.items()}, extras, self.name)


def unpacked(arrays: list[Array]) -> Any:
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def distinct(key: Key, n: int, count: int, name: str = "data") -> np.ndarray:
    """`count` different numbers below n, int64: an order's start, or draws without repetition where few are wanted."""
    if not 0 <= count <= n:
        raise faults.wrong_rows(f"cannot choose {count} different rows of the {n} of `{name}`")
    if 4 * count >= n:
        return permutation(key, n)[:count]
    chosen: dict[int, None] = {}  # in the order they come
    attempt = 0
    while len(chosen) < count:
        chosen.update(dict.fromkeys(randint(fold(key, attempt), (count,), 0, n).tolist()))
        attempt += 1
    return np.array(list(chosen)[:count], np.int64)


@dataclass(frozen=True)
class Batches:
    """Rows in batches, in the order of `order` or as they stand, `rows` of them in all; the last may be shorter."""

    arrays: list[Array]
    size: int
    rows: int
    order: Array | None = None  # int64, where the arrays live

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.rows, self.size):
            stretch = slice(start, min(start + self.size, self.rows))
            rows = stretch if self.order is None else self.order[stretch]
            yield unpacked([array[rows] for array in self.arrays])


def batches(
    part: Split | tuple[Array, ...], size: int, shuffle: bool = False, drop_last: bool = False, key: Key | None = None
) -> Batches:
    """The rows in batches: a tuple of arrays in field order, or the array itself where there is one field.

    `part` is a Split or a tuple of arrays of equal length. The last batch may be shorter, unless `drop_last`.
    `shuffle` needs a key. Raises LEE702 and LEE707 for a size below 1 and for lengths that differ.
    """
    whole = part if isinstance(part, Split) else Split({f"field {i}": array for i, array in enumerate(part)}, "batches")
    if size < 1:
        raise faults.wrong_option("batches", f"a batch needs at least one row, not {size}")
    arrays = list(whole.fields.values())
    rows = len(whole) // size * size if drop_last else len(whole)
    if not shuffle:
        return Batches(arrays, size, rows)
    if key is None:
        raise TypeError("shuffled batches need a key")
    return Batches(arrays, size, rows, beside(permutation(key, len(whole)), arrays[0]))


def split(part: Split, fraction: float, key: Key) -> tuple[Split, Split]:
    """Two splits at random, the second with this fraction of the rows. Raises LEE702 if either would be empty."""
    order, second = permutation(key, len(part)), portion(part.name, "fraction", fraction, len(part))
    if not 0 < second < len(part):
        raise faults.wrong_option("split", f"{fraction} of {len(part)} rows leaves one part empty")
    return part.rows(order[second:]), part.rows(order[:second])


def folds(part: Split, k: int, shuffle: bool = False, key: Key | None = None) -> list[tuple[Split, Split]]:
    """k pairs (train, valid): each row is in `valid` once; the first parts are one row longer if k does not divide."""
    if not 2 <= k <= len(part):
        raise faults.wrong_option("folds", f"cannot make {k} parts of {len(part)} rows")
    if shuffle and key is None:
        raise TypeError("shuffled folds need a key")
    order = permutation(key, len(part)) if shuffle and key else np.arange(len(part))
    parts = np.array_split(order, k)
    return [(part.rows(np.concatenate(parts[:i] + parts[i + 1 :])), part.rows(parts[i])) for i in range(k)]


def portion(source: str, option: str, fraction: float, n: int) -> int:
    """A fraction of n rows, to the nearest. Raises LEE702 unless 0 <= fraction < 1."""
    if not 0 <= fraction < 1:
        raise faults.wrong_option(source, f"`{option}` is a part of 1, not {fraction}", f"`{option} = 0.2` is a fifth")
    return int(n * fraction + 0.5)


# ---- declared types


def describe(array: Array) -> str:
    """The type of an array as the language writes it: "int[n]" with sizes, floats without a word."""
    kind = kind_of(array)
    return ("" if kind == "float" else kind) + f"[{', '.join(map(str, array.shape))}]"


def kind_of(array: Array) -> str:
    """ "float", "int" or "bool" for every width of each; "text" and the like for what no program computes with."""
    name = str(array.dtype)
    return next((k for k in ("float", "int", "bool") if k in name), "text" if "U" in name else name)


def check_fields(source: Source, declared: Declared) -> Source:
    """The source with its fields as declared, in that order. Raises LEE705 and LEE706 where it cannot be.

    A name stands for the same size throughout a split; sizes after the first also from split to split. Whole numbers
    serve where floats are declared (`place` converts them); nothing else does. What belongs to all splits is no field
    of one.
    """
    sizes: dict[str, int] = {}
    splits = {}
    in_rows = {field: kind for field, kind in declared.items() if field not in source.extras}
    for field in declared.keys() - in_rows.keys():
        check_field(source.name, field, source.extras[field], declared[field], sizes)
    for part, rows in source.splits.items():
        own = dict(sizes)  # the number of rows differs from split to split
        label = f"{source.name}.{part}"
        if lost := [field for field in in_rows if field not in rows.fields]:
            raise faults.missing_field(label, lost[0], rows.fields)
        for field, kind_and_dims in in_rows.items():
            check_field(label, field, rows.fields[field], kind_and_dims, own)
        splits[part] = Split({field: rows.fields[field] for field in in_rows}, label)
        rest = {dim for _, dims in in_rows.values() for dim in dims[1:]}
        sizes |= {dim: own[dim] for dim in rest & own.keys() if isinstance(dim, str)}
    return Source(splits, source.extras, source.name)


def check_field(
    source: str, field: str, array: Array, declared: tuple[str, tuple[int | str, ...]], sizes: dict[str, int]
) -> None:
    """One field against its declaration; names of dims not met before are bound in `sizes`."""
    kind, dims = declared
    wanted = ("" if kind == "float" else kind) + f"[{', '.join(map(str, dims))}]"
    actual = kind_of(array)
    if actual != kind and not (kind[0] == "f" and actual in ("int", "float")):
        raise faults.field_mismatch(source, field, wanted, describe(array), cast_help(kind, actual))
    if len(dims) != array.ndim:
        raise faults.field_mismatch(source, field, wanted, describe(array), f"it needs rank {len(dims)}")
    for dim, size in zip(dims, array.shape, strict=True):
        bound = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
        if bound != size:
            origin = f"`{dim}` is {bound} elsewhere in `{source}`" if isinstance(dim, str) else ""
            raise faults.field_mismatch(source, field, wanted, describe(array), origin)


def cast_help(kind: str, actual: str) -> str:
    if kind == "int" and actual == "float":
        return "class numbers are whole; if these are values to predict, declare the field as float"
    return f"convert it to {kind} before"


def place(source: Source, backend: NumpyBackend | TorchBackend, declared: Declared) -> Source:
    """The source with its arrays on a back end: floats in the width of the run, or in the width declared.

    Whole numbers become floats where floats are declared. Raises LEE705 for what is not made of numbers.
    """

    def placed(field: str, array: Array) -> Array:
        kind = declared[field][0] if field in declared else kind_of(array)
        if kind not in backend.kinds:
            raise faults.field_mismatch(source.name, field, "a number", describe(array), "encode it as numbers")
        return backend.asarray(array, kind)

    return source.map(placed)
