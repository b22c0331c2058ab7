"""Passes on texts: every file of tests/passes holds a program, `---`, and the program after the pass of its folder.

The files show what a pass does; here it is also run: before and after must give the same numbers. Random programs
must keep their values under every pass, finite ones finite.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from leec.diagnostics import InternalError
from leec.ir.build import Builder
from leec.ir.graph import Function, Parameter, Program, Result, Value
from leec.ir.text import parse_program, print_program
from leec.ir.verify import verify_program
from leec.ops import TABLE
from leec.ops.laws import LAWS, RELEASE, Law
from leec.ops.stable import STABLE
from leec.passes import PIPELINE, run
from leec.passes.cse import cse
from leec.passes.dce import dce
from leec.passes.differentiate import differentiate
from leec.passes.fold import fold
from leec.passes.fuse import fuse, fuse_through, ungroup
from leec.passes.inline import inline_all, inline_small
from leec.passes.patterns import compiled
from leec.passes.recognise import expand
from leec.passes.simplify import release, simplify
from leec.passes.stabilise import stabilise
from leec.proof.interpret import run as interpret
from leec.types import tensor

Pass = Callable[[Program], Program]
FILES = Path(__file__).parent / "passes"
PASSES: dict[str, Pass] = {
    "fold": fold,
    "cse": cse,
    "simplify": simplify,
    "stabilise": lambda p: stabilise(simplify(cse(p))),  # the form in which it meets a program
    "inline": inline_small,
    "inline_all": inline_all,
    "release": release,
    "fuse": fuse,
    "fuse_through": fuse_through,
    "dce": dce,
}
CASES = [path for name in PASSES for path in sorted((FILES / name).glob("*.ir"))]


# ---- texts


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pass_on_text(path: Path, golden: Callable[[Path, str], None]) -> None:
    title, before = parts(path)
    after = PASSES[path.parent.name](before)
    verify_program(after, path.parent.name)
    golden(path, f"# {title}\n\n{print_program(before)}\n---\n\n{print_program(after)}")
    if path.parent.name != "inline_all":  # what nobody calls any more is a step itself the next time
        assert print_program(PASSES[path.parent.name](after)) == print_program(after), "its result is not its fixed point"


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pass_on_text_keeps_values(path: Path) -> None:
    _, before = parts(path)
    after = PASSES[path.parent.name](before)
    for name, f in before.functions.items():
        if all(e.op != "grad" for e in f.body):
            assert_same(before, after, name, inputs_of(f))
        else:
            assert_same(differentiate(before), differentiate(after), name, inputs_of(f))


def test_every_pass_has_cases_where_it_does_nothing() -> None:
    for name in PASSES:
        files = [p for p in CASES if p.parent.name == name]
        negative = [p for p in files if p.read_text("utf-8").startswith("# Negative")]
        assert len(files) >= 6 and negative, f"{name} has {len(files)} cases, {len(negative)} of them negative"


def parts(path: Path) -> tuple[str, Program]:
    text = path.read_text("utf-8").split("\n---\n")[0]
    program = parse_program(text)
    verify_program(program)
    return text.split("\n")[0].removeprefix("# "), program


# ---- values

SIZES = (4, 3, 2, 5, 6)


def sizes_of(f: Function) -> dict[str, int]:
    """A number for every symbol; none is 1, so that nothing broadcasts by chance."""
    symbols = sorted({s for v in f.values() for d in v.type.dims for s in d.symbols})
    return {s: SIZES[i % len(SIZES)] for i, s in enumerate(symbols)}


def inputs_of(f: Function, low: float = 0.2, high: float = 1.7) -> dict[str, object]:
    """Arguments by parameter: numbers for which most functions are defined."""
    rng, sizes = np.random.default_rng(0), sizes_of(f)
    found = {p.name: argument(p, sizes, rng, low, high) for p in f.parameters}
    bare = {d.symbol for v in f.inputs for d in v.type.dims}
    return found | {s: n for s, n in sizes.items() if s not in bare and s not in {p.static for p in f.parameters}}


def argument(p: Parameter, sizes: dict[str, int], rng: np.random.Generator, low: float, high: float) -> object:
    if p.static:
        return sizes.get(p.static, 2)
    values = [array(v, sizes, rng, low, high) for v in p.values]
    return dict(zip(p.paths, values, strict=True)) if p.paths or p.model is not None else values[0]


def array(v: Value, sizes: dict[str, int], rng: np.random.Generator, low: float, high: float) -> object:
    shape = tuple(d.evaluate(sizes) for d in v.type.dims)
    match v.type.dtype:
        case "key":
            return 7, 11
        case "bool":
            found = rng.random(shape) < 0.5
        case "int":
            found = rng.integers(0, 2, shape)
        case _:
            found = rng.uniform(low, high, shape)
    return np.asarray(found).item() if v.type.host else found


def outcome(program: Program, name: str, inputs: dict[str, object]) -> list[np.ndarray] | type[Exception]:
    """The numbers of a run, or how it fails."""
    try:
        return values(interpret(expand(program, "numpy"), name, inputs))
    except (ArithmeticError, ValueError) as error:
        return type(error)


def assert_same(before: Program, after: Program, name: str, inputs: dict[str, object]) -> None:
    """Equal within rounding, and nothing that was finite is not finite any more (R39)."""
    old, new = outcome(before, name, inputs), outcome(after, name, inputs)
    if isinstance(old, type):
        assert new is old
        return
    for x, y in zip(old, new, strict=True):
        finite = np.isfinite(x)
        np.testing.assert_allclose(y[finite], x[finite], rtol=1e-9, atol=1e-11)


def values(results: dict[str, object]) -> list[np.ndarray]:
    flat = (v for r in results.values() for v in (r.values() if isinstance(r, dict) else (r,)))
    return [np.asarray(v, dtype=np.float64) for v in flat]
