"""A CSV file as arrays: columns of numbers as x, a target column as y; a bad cell is reported with its line."""

from __future__ import annotations

import csv
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from leec.runtime import faults

Rows = list[tuple[int, list[str]]]  # line number and cells


def read_table(
    path: Path, target: str | tuple[str, ...] | None, columns: tuple[str, ...] | None, delimiter: str
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The fields x and, with a target, y; and for class labels that are words, `classes` and `labels`.

    Raises LEE708 for a file without rows, a column that is not there, a short row, or a cell that is not a number.
    """
    names, rows = read_rows(path, delimiter)
    targets = (target,) if isinstance(target, str) else tuple(target or ())
    chosen = tuple(columns) if columns else tuple(name for name in names if name not in targets)
    if lost := [name for name in (*chosen, *targets) if name not in names]:
        raise faults.bad_file(path, f"there is no column `{lost[0]}`", faults.nearest(lost[0], names), line=1)
    x = np.stack([numbers(path, name, rows, names.index(name)) for name in chosen], axis=1)
    if not targets:
        return {"x": x}, {}
    if isinstance(target, str):
        y, extras = labels(path, target, rows, names.index(target))
        return {"x": x, "y": y}, extras
    return {"x": x, "y": np.stack([numbers(path, name, rows, names.index(name)) for name in targets], axis=1)}, {}


def read_fields(path: Path, fields: tuple[str, ...]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Columns under the names of fields, and all others side by side as the field that no column is called after.

    Raises LEE708 as read_table does, and where more than one field is without a column.
    """
    names, rows = read_rows(path, ",")
    others = [field for field in fields if field not in names]
    rest = [name for name in names if name not in fields]
    if len(others) != bool(rest):
        lost = " and ".join(f"`{field}`" for field in others[1:] or others)
        message = f"no column is left for {lost}" if others else f"no field is left for the column `{rest[0]}`"
        help = f"its columns are {', '.join(names)}; a field takes the column of its name, and one field all the others"
        raise faults.bad_file(path, message, help, line=1)
    found: dict[str, np.ndarray] = {}
    extras: dict[str, Any] = {}
    for field in fields:
        if field in names:
            found[field], more = labels(path, field, rows, names.index(field))
            extras |= more
        else:
            found[field] = np.stack([numbers(path, name, rows, names.index(name)) for name in rest], axis=1)
    return found, extras


def read_rows(path: Path, delimiter: str) -> tuple[list[str], Rows]:
    """The names in the first line, and the other lines that are not empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise faults.bad_file(path, f"cannot be read as UTF-8 CSV: {error}") from None
    if len(rows) < 2:
        raise faults.bad_file(path, "needs a line of column names and at least one row")
    names = [name.strip() for name in rows[0][1]]
    if len(set(names)) != len(names):
        raise faults.bad_file(path, "two columns have the same name", line=1)
    for line, cells in rows:
        if len(cells) != len(names):
            raise faults.bad_file(path, f"has {len(cells)} cells, the first line {len(names)}", line=line)
    return names, rows[1:]


def numbers(path: Path, name: str, rows: Rows, column: int) -> np.ndarray:
    """A column as float64[n]."""
    values = np.empty(len(rows))
    for i, (line, cells) in enumerate(rows):
        try:
            values[i] = finite(cells[column])
        except ValueError:
            what = f"`{cells[column].strip()}` is not a number" if cells[column].strip() else "a cell is empty"
            raise faults.bad_file(path, f"{what} (column `{name}`)", line=line) from None
    return values


def labels(path: Path, name: str, rows: Rows, column: int) -> tuple[np.ndarray, dict[str, Any]]:
    """A target column: words become class numbers in alphabetical order, whole numbers int64, others float64."""
    cells = [row[column].strip() for _, row in rows]
    if not any(is_number(cell) for cell in cells) and all(cells):
        words = sorted(set(cells))
        number = {word: i for i, word in enumerate(words)}
        return np.array([number[cell] for cell in cells]), {"classes": len(words), "labels": tuple(words)}
    values = numbers(path, name, rows, column)
    if all(cell.lstrip("+-").isdecimal() for cell in cells):
        return values.astype(np.int64), {}
    return values, {}


def finite(text: str) -> float:
    """The number a cell holds. Raises ValueError for a text that is none, "nan" and "inf" among them."""
    if not isfinite(value := float(text)):
        raise ValueError(text)
    return value


def is_number(text: str) -> bool:
    try:
        return finite(text) is not None
    except ValueError:
        return False
