"""Every `train` of every spec takes its first three steps in both generated files, and both come to the same place.

The files are those of the golden record, so nothing is compiled here; `leec verify` looks much closer (test_agree.py).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from leec.execution import execute
from leec.runtime.backend import is_array, to_numpy
from leec.runtime.run import Run

GENERATED = Path(__file__).parents[1] / "generated"
FOLDERS = sorted(path.parent for path in GENERATED.glob("*/reference.py"))
FILES = {"numpy": "reference.py", "torch": "cuda.py"}
STEPS = 3
COUNTERS = ("epochs", "episodes", "moves", "rounds")  # a loop without `minimize` makes no step that could be counted
DATA = {"x": np.random.default_rng(0).normal(size=(48, 5)), "y": np.arange(48) % 2}
CLOSE = 1e-3  # of float32 after three steps


@dataclass
class Heard:
    """The losses of the steps that were made, what was reported, and what became of models and values, by name."""

    losses: list[float] = field(default_factory=list)
    reports: list[float] = field(default_factory=list)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def compared(self) -> dict[str, np.ndarray]:
        """Losses alone if there are any: a parameter whose gradient is rounding is moved by Adam all the same."""
        losses = {f"loss {k}": np.asarray(loss) for k, loss in enumerate(self.losses, 1)}
        return losses or self.values | {"reports": np.asarray(self.reports)}


@cache
def module(folder: Path, backend: str) -> ModuleType:
    file = folder / FILES[backend]
    return execute(file.read_text(encoding="utf-8"), f"{folder.name}.{file.stem}")


def procedures(folder: Path) -> dict[str, Mapping[str, inspect.Parameter]]:
    """The parameters of each procedure of a file."""
    functions = inspect.getmembers(module(folder, "numpy"), inspect.isfunction)
    found = {name: inspect.signature(f).parameters for name, f in functions if not name.startswith("_")}
    return {name: parameters for name, parameters in found.items() if "run" in parameters}


def options(parameters: Mapping[str, inspect.Parameter]) -> dict[str, object] | None:
    """Data that is asked for, and three rounds of loops that might have no steps; None if it asks for more than data."""
    needed = {p.name for p in parameters.values() if p.default is p.empty}
    few = {name: min(STEPS, parameters[name].default) for name in COUNTERS if name in parameters and name not in needed}
    return few | {name: DATA for name in needed} if needed <= {"data"} else None


def first_steps(folder: Path, name: str, backend: str, given: dict[str, object]) -> Heard:
    heard = Heard()
    with Run(name, backend=backend, max_steps=STEPS, progress="none") as run:
        step = run.session.watch.step

        def listened(label: str, loss: object) -> None:
            heard.losses.append(float(loss))
            step(label, loss)

        run.session.watch.step = listened
        returned = getattr(module(folder, backend), name)(**given, run=run)
        heard.values = dict(numbers(returned))
    heard.values |= dict(numbers(run.session.cut or {}))
    heard.reports = [x for row in run.history for x in row.values() if isinstance(x, float)]
    return heard


def numbers(value: object, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Arrays inside of models, optimizers, tuples and tables, by path."""
    if hasattr(value, "tensors"):
        value = value.tensors()
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from numbers(item, f"{path}.{key}")
    elif isinstance(value, (tuple, list)):
        for position, item in enumerate(value):
            yield from numbers(item, f"{path}.{position}")
    elif is_array(value):
        yield path, np.asarray(to_numpy(value), np.float64)


CASES = [pytest.param(f, name, id=f"{f.name}:{name}") for f in FOLDERS for name in procedures(f)]


@pytest.mark.parametrize("folder, name", CASES)
def test_both_files_take_the_same_steps(folder: Path, name: str) -> None:
    given = options(procedures(folder)[name])
    if given is None:
        source = (folder / FILES["numpy"]).read_text(encoding="utf-8")
        assert re.search(rf"(?<!def )\b{name}\(", source), f"nothing calls `{name}`, and nobody knows its arguments"
        return
    reference, fast = (first_steps(folder, name, backend, given) for backend in FILES)
    wanted, found = reference.compared(), fast.compared()
    assert sum(x.size for x in wanted.values()) and wanted.keys() == found.keys()
    for path, right in wanted.items():
        assert np.isfinite(right).all() and np.isfinite(found[path]).all(), path
        gap = np.abs(found[path] - right).mean() if right.size else 0.0
        assert gap <= CLOSE * (1 + np.abs(right).mean()), f"{path} is off by {gap:.1e} on average"
