"""Data sources by name: scikit-learn's bundled sets, CSV and NPZ files, arrays, and curves and clusters from a seed.

Each gives arrays; `prepare` then divides, standardises and shapes them the same way for all. texts.py has the sources
that are text. Nothing here needs a network.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from leec.runtime import faults, texts
from leec.runtime.data import Source, Split
from leec.runtime.domains import DOMAINS
from leec.runtime.draws_numpy import normal, permutation, uniform
from leec.runtime.pairs import pairs
from leec.runtime.philox import site_key
from leec.runtime.preparation import Arrays, Preparation, finish, prepare
from leec.runtime.tables import read_fields, read_table

# ---- scikit-learn's bundled sets


def bundled(name: str, floats: bool = False, change: Callable = lambda x: x) -> Callable[..., Source]:
    """A source that scikit-learn brings along, a fifth of it for testing; `floats` where y is a number to predict."""

    def source(test: float = 0.2, **given: Any) -> Source:
        try:
            from sklearn import datasets
        except ImportError:
            raise faults.missing_package("scikit-learn", "data", f"`{name}`") from None
        bunch = getattr(datasets, f"load_{name}")()
        options = Preparation(test, **given)
        x, y = change(np.asarray(bunch.data, np.float64)), np.asarray(bunch.target)
        if floats:
            return prepare(name, {"x": x, "y": y.astype(np.float64)}, options)
        labels = tuple(str(label) for label in bunch.target_names)
        extras = {"classes": len(labels), "labels": labels}
        return prepare(name, {"x": x, "y": y.astype(np.int64)}, options, extras)

    return source


def digits(domain: str = "plain", **options: Any) -> Source:
    """x: [1797, 64], 8 x 8 grey values, in [0, 1] but for noise; y: int[1797]."""
    if domain not in DOMAINS:
        raise faults.wrong_option("digits", f"there is no domain `{domain}`", faults.nearest(domain, DOMAINS))
    return bundled("digits", change=lambda x: DOMAINS[domain](x / 16, options.get("seed", 0)))(**options)


# ---- files and arrays


def csv(
    path: str,
    target: str | tuple[str, ...] | None = None,
    columns: tuple[str, ...] | None = None,
    delimiter: str = ",",
    **options: Any,
) -> Source:
    """Columns of numbers as x: [n, d]; `target` as y: int[n] for words or whole numbers, [n] or [n, k] for others.

    The first line names the columns; `columns` selects and orders those of x. Raises LEE708 with the line for a cell
    that is empty or no number.
    """
    arrays, extras = read_table(find(path), target, columns, delimiter)
    return prepare(Path(path).name, arrays, Preparation(**options), extras)


def npz(path: str, **given: Any) -> Source:
    """The arrays of a file by name; `x_train`, `x_test` and the like are taken as splits. Never unpickles."""
    try:
        with np.load(find(path), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError) as error:
        raise faults.bad_file(path, f"cannot be read as NPZ: {error}") from None
    splits: dict[str, Arrays] = {}
    for name, array in arrays.items():
        field, _, part = name.rpartition("_")
        if part in ("train", "test", "valid"):
            splits.setdefault(part, {})[field] = array
    if not splits:
        return prepare(Path(path).name, arrays, Preparation(**given))
    if sum(len(part) for part in splits.values()) != len(arrays) or "train" not in splits:
        raise faults.bad_file(path, f"holds some arrays with a split in their name and some without: {sorted(arrays)}")
    options = Preparation(**given)
    if options.test or options.valid:
        raise faults.wrong_option(Path(path).name, "it is divided already", "leave out `test` and `valid`")
    parts = {part: Split(fields, f"{Path(path).name}.{part}") for part, fields in splits.items()}
    return finish(Path(path).name, parts, options, {})


def arrays(
    test: float = 0.0,
    valid: float = 0.0,
    seed: int = 0,
    standardize: bool = False,
    standardize_target: bool = False,
    shape: tuple[int, ...] | None = None,
    **given: Any,
) -> Source:
    """Arrays from Python by field name, in this order: arrays(x = images, y = labels, test = 0.2)."""
    options = Preparation(test, valid, seed, standardize, standardize_target, shape)
    return prepare("arrays", {field: np.asarray(array) for field, array in given.items()}, options)


def named(name: str, place: str, fields: tuple[str, ...]) -> Source:
    """What a name stands for where data is asked for: a CSV or NPZ file, or a bundled source.

    Columns of a CSV file go to the fields of their name, all other columns to the one field without a column.
    Raises LEE713 for a name that is neither.
    """
    if place in BUNDLED:
        return load(place)
    match Path(place).suffix.lower():
        case ".npz":
            return npz(place)
        case ".csv":
            arrays, extras = read_fields(find(place), fields)
            return prepare(Path(place).name, arrays, Preparation(), extras)
    raise faults.no_data(name, place, fields, BUNDLED)


def find(path: str) -> Path:
    if not Path(path).is_file():
        raise faults.absent_file(path)
    return Path(path)


# ---- drawn from a seed


def two_moons(n: int = 400, noise: float = 0.1, labelled: int = 0, seed: int = 0, **options: Any) -> Source:
    """Two half circles that interlock, x: [n, 2], y: int[n]; `marked`: rows of the training part with known labels."""
    y = permutation(site_key(seed, "class"), n) % 2
    angle = np.pi * uniform(site_key(seed, "angle"), (n,), np.float64)
    upper = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    x = np.where(y[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
    x = x + noise * normal(site_key(seed, "noise"), (n, 2), np.float64)
    source = prepare("two_moons", {"x": x, "y": y}, Preparation(seed=seed, **options), {"classes": 2})
    source.extras["marked"] = marked_rows(source.train.y, labelled, seed)
    return source


def marked_rows(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` rows at random, the classes taking turns, in ascending order."""
    if not 0 <= count <= len(y):
        raise faults.wrong_option("two_moons", f"cannot mark {count} of {len(y)} rows")
    order = permutation(site_key(seed, "marked"), len(y))
    turn = np.empty(len(y), np.int64)
    for label in np.unique(y):
        own = order[y[order] == label]
        turn[own] = np.arange(len(own))
    return np.sort(order[np.argsort(turn[order], kind="stable")][:count])


def swiss_roll(n: int = 800, noise: float = 0.0, seed: int = 0, **options: Any) -> Source:
    """A rolled-up sheet in space, x: [n, 3]; y: [n] says how far along the roll, 1.5 pi to 4.5 pi."""
    along = 1.5 * np.pi * (1 + 2 * uniform(site_key(seed, "along"), (n,), np.float64))
    across = 21 * uniform(site_key(seed, "across"), (n,), np.float64)
    x = np.stack((along * np.cos(along), across, along * np.sin(along)), axis=1)
    x = x + noise * normal(site_key(seed, "noise"), (n, 3), np.float64)
    return prepare("swiss_roll", {"x": x, "y": along}, Preparation(seed=seed, **options))


def sine(n: int = 200, noise: float = 0.1, periods: float = 1.0, seed: int = 0, **options: Any) -> Source:
    """A noisy sine, x: [n, 1] uniform in [-1, 1), y = sin(pi * periods * x) + noise: [n]."""
    x = 2 * uniform(site_key(seed, "x"), (n, 1), np.float64) - 1
    y = np.sin(np.pi * periods * x[:, 0]) + noise * normal(site_key(seed, "noise"), (n,), np.float64)
    return prepare("sine", {"x": x, "y": y}, Preparation(seed=seed, **options))


def blobs(
    n: int = 300, classes: int = 3, features: int = 2, spread: float = 1.0, seed: int = 0, **options: Any
) -> Source:
    """Normal clusters of a deviation around centers uniform in [-10, 10), x: [n, features], y: int[n]."""
    center = 20 * uniform(site_key(seed, "center"), (classes, features), np.float64) - 10
    y = permutation(site_key(seed, "class"), n) % classes
    x = center[y] + spread * normal(site_key(seed, "noise"), (n, features), np.float64)
    return prepare("blobs", {"x": x, "y": y}, Preparation(seed=seed, **options), {"classes": classes})


# ---- by name

SOURCES: dict[str, Callable[..., Source]] = {
    "digits": digits,
    "iris": bundled("iris"),  # x: [150, 4]; y: int[150], 3 classes
    "wine": bundled("wine"),  # x: [178, 13]; y: int[178], 3 classes
    "breast_cancer": bundled("breast_cancer"),  # x: [569, 30]; y: int[569], 2 classes
    "diabetes": bundled("diabetes", floats=True),  # x: [442, 10], columns of norm 1; y: [442], 25 to 346
    "linnerud": bundled("linnerud", floats=True),  # x: [20, 3]; y: [20, 3]
    "csv": csv,
    "npz": npz,
    "arrays": arrays,
    "two_moons": two_moons,
    "swiss_roll": swiss_roll,
    "sine": sine,
    "blobs": blobs,
    "text": texts.text,
    "text_pairs": texts.text_pairs,
    "next_sentences": texts.next_sentences,
    "sentences": texts.sentences,
    "questions": texts.questions,
    "pairs": pairs,
}
BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes", "linnerud")  # come without an option


def load(name: str, *place: Any, **options: Any) -> Source:
    """A source by name with its options. Raises LEE701 and LEE702 for a name or an option there is not."""
    if name not in SOURCES:
        raise faults.unknown_source(name, SOURCES)
    source = SOURCES[name]
    own = {p.name for p in inspect.signature(source).parameters.values() if p.kind is not p.VAR_KEYWORD}
    known = own | {field.name for field in fields(Preparation)}
    if name != "arrays" and (strange := [option for option in options if option not in known]):
        raise faults.wrong_option(name, f"there is no option `{strange[0]}`", faults.nearest(strange[0], known))
    return source(*place, **options)
