"""Passes on texts: every file of tests/passes holds a program, `---`, and the program after the pass of its folder.

The files show what a pass does; here it is also run: before and after must give the same numbers. Random programs
must keep their values under every pass, finite ones finite.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from leec.diagnostics import InternalError
from leec.dims import Dim
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


# ---- stabilisation: naive spellings, finite and right where float32 is not

N, K = Dim.of(4), Dim.of(3)


def softmax(b: Builder, z: Value, axis: int = 1) -> Value:
    e = b.exp(z)
    return b.div(e, b.sum(e, axes=(axis,), keepdims=True))


def sigmoid(b: Builder, z: Value) -> Value:
    return b.div(1, b.add(1, b.exp(b.neg(z))))


def sinh_over_cosh(b: Builder, z: Value) -> Value:
    return b.div(b.sub(b.exp(z), b.exp(b.neg(z))), b.add(b.exp(z), b.exp(b.neg(z))))


def picked(b: Builder, p: Value) -> Value:
    return b.gather(p, b.iota(dims=(N,), axis=0), b.fill(1, dims=(N,), dtype="int"), axes=(0, 1))


def second(b: Builder, p: Value) -> Value:
    """The entries at place 2 by a one-hot mask."""
    mask = b.cast(b.eq(b.iota(dims=(Dim.of(1), K), axis=1), 2), dtype="float")
    return b.sum(b.mul(p, mask), axes=(1,))


def small(b: Builder, z: Value) -> Value:
    return b.le(z, 2.0)


def weighted_mean(b: Builder, z: Value) -> Value:
    e, place = b.exp(z), b.cast(b.iota(dims=(Dim.of(1), K), axis=1), dtype="float")
    return b.div(b.sum(b.mul(e, place), axes=(1,)), b.sum(e, axes=(1,)))


def same(b: Builder, p: Value) -> Value:
    return p


def cross_entropy(b: Builder, p: Value) -> Value:
    return b.add(b.mul(0.3, b.log(p)), b.mul(0.7, b.log(b.sub(1, p))))


LOG, SIGMOID = "torch.log_softmax(z, 1)", "torch.nn.functional.logsigmoid"
NAIVE: dict[str, tuple[Callable, Callable, str]] = {
    # what is written in one place, what is made of it in another, and what both are together, for torch
    "log_softmax": (softmax, lambda b, p: b.log(p), LOG),
    "other_axis": (lambda b, z: softmax(b, z, 0), lambda b, p: b.log(p), "torch.log_softmax(z, 0)"),
    "temperature": (lambda b, z: softmax(b, b.div(z, 3.0)), lambda b, p: b.log(p), "torch.log_softmax(z / 3, 1)"),
    "picked": (softmax, lambda b, p: b.log(picked(b, p)), f"{LOG}[:, 1]"),
    "picked_inside": (lambda b, z: picked(b, softmax(b, z)), lambda b, p: b.log(p), f"{LOG}[:, 1]"),
    "turned": (softmax, lambda b, p: b.log(b.transpose(p, perm=(1, 0))), f"{LOG}.T"),
    "one_hot": (softmax, lambda b, p: b.log(second(b, p)), f"{LOG}[:, 2]"),
    "chosen": (
        softmax,
        lambda b, p: b.log(b.select(b.gt(p, 0.1), p, 1)),
        f"torch.where(torch.softmax(z, 1) > 0.1, {LOG}, 0)",
    ),
    "masked": (
        lambda b, z: b.select(small(b, z), b.exp(z), 0.0),
        lambda b, e: b.log(b.sum(e, axes=(0,))),
        "torch.where(z <= 2, z, -math.inf).logsumexp(0)",
    ),
    "masked_softmax": (
        lambda b, z: b.mul(b.exp(z), b.cast(small(b, z), dtype="float")),
        lambda b, e: b.div(e, b.sum(e, axes=(0,))),
        "torch.softmax(torch.where(z <= 2, z, -math.inf), 0)",
    ),
    "softmax": (softmax, same, "torch.softmax(z, 1)"),
    "sigmoid": (sigmoid, same, "torch.sigmoid(z)"),
    "silu": (lambda b, z: b.div(z, b.add(1.0, b.exp(b.neg(z)))), same, "z * torch.sigmoid(z)"),
    "tanh": (sinh_over_cosh, same, "torch.tanh(z)"),
    "log_sigmoid": (sigmoid, lambda b, p: b.log(p), f"{SIGMOID}(z)"),
    "log_not": (sigmoid, lambda b, p: b.neg(b.log(b.sub(1, p))), f"-{SIGMOID}(-z)"),
    "log1p_not": (sigmoid, lambda b, p: b.log1p(b.neg(p)), f"{SIGMOID}(-z)"),
    "softplus": (lambda b, z: b.exp(z), lambda b, e: b.log(b.add(1, e)), f"-{SIGMOID}(-z)"),
    "softplus_log1p": (lambda b, z: b.exp(z), lambda b, e: b.log1p(e), f"-{SIGMOID}(-z)"),
    "logsumexp": (lambda b, z: b.exp(z), lambda b, e: b.log(b.sum(e, axes=(1,))), "torch.logsumexp(z, 1)"),
    "logmeanexp": (
        lambda b, z: b.mean(b.exp(z), axes=(0,)),
        lambda b, e: b.log(e),
        "torch.logsumexp(z, 0) - math.log(4)",
    ),
    "cross_entropy": (sigmoid, cross_entropy, f"0.3 * {SIGMOID}(z) + 0.7 * {SIGMOID}(-z)"),
    "entropy": (softmax, lambda b, p: b.mul(p, b.log(p)), f"torch.softmax(z, 1) * {LOG}"),
    "log_ratio": (
        lambda b, z: b.div(softmax(b, z), softmax(b, b.neg(z))),
        lambda b, r: b.log(r),
        f"{LOG} - torch.log_softmax(-z, 1)",
    ),
    "mixture": (
        lambda b, z: b.add(b.mul(0.25, b.exp(z)), b.mul(0.75, b.exp(b.mul(z, 0.5)))),
        lambda b, p: b.log(p),
        "torch.logaddexp(z + math.log(0.25), z / 2 + math.log(0.75))",
    ),
    "attention": (weighted_mean, same, "torch.softmax(z, 1) @ torch.arange(3, dtype=z.dtype)"),
    "density_of_tanh": (
        lambda b, z: b.tanh(z),
        lambda b, t: b.log(b.sub(1, b.power(t, 2))),
        f"2 * (math.log(2) - z + {SIGMOID}(2 * z))",
    ),
}
APART = set(NAIVE) - {"density_of_tanh", "log_not", "log1p_not", "cross_entropy", "masked_softmax"}
EXTREME = np.array([[1e4, -1e4, 3.0], [-1e4, -1e4, -1e4], [0.5, -0.5, 2.0], [9e3, 1e4, 1e4]])


def weighted(b: Builder, y: Value) -> Value:
    """A scalar in which every entry of y has a weight of its own."""
    weights = b.cast(b.add(b.iota(dims=(y.type.size,), axis=0), 1), dtype="float")
    return b.sum(b.mul(b.reshape(y, dims=(y.type.size,)), weights), axes=(0,))


def naive_loss(inner: Callable, outer: Callable, way: str) -> Program:
    """A scalar of outer(inner(z)) and its gradient; inner may be in a function of its own."""
    z, b = Value("z", tensor("float", 4, 3)), Builder(["z"])
    program = Program()
    if way == "here":
        p = inner(b, z)
    else:
        callee = function_of(inner, public=way != "private", lines=20 if way == "large" else 0)
        program = program.adding(callee)
        types = tuple(v.type for v in callee.outputs)
        p = b.emit("call", (z,), {"callee": "g", "dims": (), "results": types})[0]
    y = outer(b, p)
    e = weighted(b, y)
    (d_z,) = b.emit("grad", (e, z))
    results = (Result("y", (y,)), Result("d_z", (d_z,)))
    return program.adding(Function("f", (Parameter("z", (z,)),), tuple(b.equations), results))


def function_of(inner: Callable, public: bool, lines: int) -> Function:
    """z to inner(z), and with it something that takes some lines more."""
    z, b = Value("z", tensor("float", 4, 3)), Builder(["z"])
    out, rest = inner(b, z), z
    for _ in range(lines):
        rest = b.sin(rest)
    results = (Result("out", (out,)), *([Result("rest", (rest,))] if lines else []))
    return Function("g", (Parameter("z", (z,)),), tuple(b.equations), results, public=public)


def assert_right(spelling: str, way: str) -> None:
    import torch

    inner, outer, meaning = NAIVE[spelling]
    found = interpret(run(naive_loss(inner, outer, way), 1), "f", {"z": EXTREME}, float_dtype="f32")
    z = torch.tensor(EXTREME, dtype=torch.float64, requires_grad=True)
    y = eval(meaning, {"torch": torch, "math": math, "z": z})
    (y.reshape(-1) * torch.arange(1, y.numel() + 1)).sum().backward()
    for name, value in (("y", y.detach().numpy()), ("d_z", z.grad.numpy())):
        assert np.isfinite(found[name]).all(), f"{name} is {found[name]}"
        np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("way", ["here", "private", "public"])
@pytest.mark.parametrize("spelling", NAIVE)
def test_naive_spellings_are_stable(spelling: str, way: str) -> None:
    assert_right(spelling, way)


@pytest.mark.parametrize("spelling", sorted(APART))
def test_probabilities_of_large_functions_get_their_logarithms_from_there(spelling: str) -> None:
    assert_right(spelling, "large")
