"""Passes on texts: every file of tests/passes holds a program, `---`, and the program after the pass of its folder.

The files show what a pass does; here it is also run: before and after must give the same numbers. Random programs
must keep their values under every pass, finite ones finite.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from leec.diagnostics import InternalError
from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.graph import Function, Parameter, Program, Result, Value
from leec.ir.text import parse_program, print_program
from leec.ir.verify import verify_program
from leec.ops.contract import parse_contraction
from leec.ops.shape import Slices
from leec.passes import PIPELINE, run
from leec.passes.cse import cse
from leec.passes.dce import dce
from leec.passes.differentiate import differentiate
from leec.passes.fold import fold
from leec.passes.fuse import fuse, fuse_through, ungroup
from leec.passes.hoist import hoist
from leec.passes.inline import inline_all, inline_small
from leec.passes.recognise import expand
from leec.passes.segments import segments
from leec.passes.simplify import release, simplify
from leec.passes.stabilise import stabilise
from leec.passes.sums import sums
from leec.proof.interpret import run as interpret
from leec.types import ShapeMismatch, tensor

Pass = Callable[[Program], Program]
FILES = Path(__file__).parent / "passes"
PASSES: dict[str, Pass] = {
    "fold": fold,
    "cse": cse,
    "simplify": simplify,
    "stabilise": lambda p: stabilise(simplify(cse(p))),  # the form in which it meets a program
    "inline": inline_small,
    "inline_all": inline_all,
    "hoist": hoist,
    "sums": sums,
    "release": release,
    "segments": partial(segments, recompute="always"),
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
        assert print_program(PASSES[path.parent.name](after)) == print_program(
            after
        ), "its result is not its fixed point"


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pass_on_text_keeps_values(path: Path) -> None:
    _, before = parts(path)
    after = PASSES[path.parent.name](before)
    rounds = {e.params["callee"] for f in before.functions.values() for e in f.body if e.op == "scan"}
    for name, f in before.functions.items():
        if name in rounds:
            continue  # its loop says what it is given
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
        lambda b, z: b.sub(1, b.power(b.tanh(z), 2)),
        lambda b, p: b.log(p),
        f"2 * (math.log(2) - z + {SIGMOID}(2 * z))",
    ),
}
APART = set(NAIVE) - {"log_not", "log1p_not", "cross_entropy"}  # without those that need 1 - p of a function's p
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
    program = run(naive_loss(inner, outer, way), 1)
    z = torch.tensor(EXTREME, dtype=torch.float64, requires_grad=True)
    y = eval(meaning, {"torch": torch, "math": math, "z": z})
    (y.reshape(-1) * torch.arange(1, y.numel() + 1)).sum().backward()
    for column in ("numpy", "torch"):
        found = interpret(program, "f", {"z": EXTREME}, column, "f32")
        for name, value in (("y", y.detach()), ("d_z", z.grad)):
            assert np.isfinite(found[name]).all(), f"{column}: {name} is {found[name]}"
            np.testing.assert_allclose(found[name], value, rtol=2e-5, atol=1e-5, err_msg=f"{column}: {name}")


@pytest.mark.parametrize("way", ["here", "private", "public"])
@pytest.mark.parametrize("spelling", NAIVE)
def test_naive_spellings_are_stable(spelling: str, way: str) -> None:
    assert_right(spelling, way)


@pytest.mark.parametrize("spelling", sorted(APART))
def test_probabilities_of_large_functions_get_their_logarithms_from_there(spelling: str) -> None:
    assert_right(spelling, "large")


# ---- random programs

UNARY = "neg exp log tanh sqrt abs log1p sin sigmoid softplus"
BINARY = "add sub mul div maximum minimum logaddexp"
REDUCTIONS = "sum mean max min logsumexp"


class Writer:
    """Writes a random function: arithmetic, reductions, moves of entries, choices, and shapes that patterns look for."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        inputs = {"x": ("float", "n", "k"), "y": ("float", "n", "k"), "w": ("float", "k"), "s": ("float",)}
        inputs |= {"c": ("bool", "n", "k"), "i": ("int", "n", "k")}
        self.inputs = [Value(name, tensor(*type), named=True) for name, type in inputs.items()]
        self.b = Builder(inputs)
        self.pool = [v for v in self.inputs if v.type.is_float]

    def function(self, lines: int, last: int = 3) -> Function:
        """A function of some lines that gives its last results, among those that nothing reads."""
        for _ in range(lines):
            self.pool.append(getattr(self, self.rng.choice(self.KINDS))())
        read = {a for e in self.b.equations for a in e.args}
        free = [e.result for e in self.b.equations if e.result not in read and not e.result.type.host]
        results = tuple(Result(f"out_{i}", (v,)) for i, v in enumerate(free[-last:]))
        parameters = tuple(Parameter(v.name, (v,)) for v in self.inputs)
        return Function("f", parameters, tuple(self.b.equations), results)

    def any(self) -> Value:
        return self.rng.choice(self.pool[-6:] + self.pool[:3])

    def wide(self) -> Value:
        """Something of all entries."""
        x = self.any()
        return (
            x if x.type.rank == 2 and x.type.dims == self.inputs[0].type.dims else self.b.add(self.inputs[0], self.s())
        )

    def s(self) -> Value:
        return self.inputs[3]

    def number(self) -> Value:
        return self.b.lift(self.rng.choice([1, -1, 2, 1.0, 0.5, 2.0, -3.0]))

    def unary(self) -> Value:
        return self.b.emit(self.rng.choice(UNARY.split()), (self.any(),))

    def binary(self) -> Value:
        op, x = self.rng.choice(BINARY.split()), self.any()
        y = self.rng.choice([self.any, self.number])()
        try:
            return self.b.emit(op, self.rng.choice([(x, y), (y, x)]))
        except ShapeMismatch:
            return self.b.emit(op, (self.wide(), self.wide()))

    def power(self) -> Value:
        return self.b.power(self.any(), self.rng.choice([-1, 0.5, 1, 2, 3]))

    def reduction(self) -> Value:
        x = self.any()
        axes = tuple(a for a in range(x.type.rank) if self.rng.random() < 0.5)
        return self.b.emit(
            self.rng.choice(REDUCTIONS.split()), (x,), {"axes": axes, "keepdims": self.rng.random() < 0.5}
        )

    def move(self) -> Value:
        x = self.any()
        n, k = self.inputs[0].type.dims
        one = Dim.of(1)
        match self.rng.randrange(5):
            case 0:
                return self.b.transpose(x, perm=tuple(reversed(range(x.type.rank))))
            case 1:
                return self.b.reshape(
                    x,
                    dims=self.rng.choice(
                        [(x.type.size,), (one, *x.type.dims), tuple(d for d in x.type.dims if d != 1)]
                    ),
                )
            case 2 if x.type.dims in ((), (k,), (one, k), (n, one), (one, one)):
                return self.b.broadcast(x, dims=(n, k))
            case 3:
                return self.b.slice(x, slices=Slices.whole(x.type.dims))
        return self.b.concat(x, x, axis=0) if x.type.rank else x

    def choice(self) -> Value:
        c, x = self.inputs[4], self.wide()
        return self.b.select(
            self.rng.choice([c, self.b.logical_not(c)]), x, self.rng.choice([self.wide, self.number])()
        )

    def mask(self) -> Value:
        return self.b.mul(self.wide(), self.b.cast(self.inputs[4], dtype="float"))

    def count(self) -> Value:
        return self.b.mul(self.any(), self.b.div(1.0, self.inputs[0].type.dims[0]))

    def shares(self) -> Value:
        """Naive exponentials, sums and quotients."""
        z, axis = self.wide(), self.rng.randrange(2)
        e = self.b.exp(z)
        s = self.b.sum(e, axes=(axis,), keepdims=True)
        return self.rng.choice(
            [
                lambda: self.b.div(e, s),
                lambda: self.b.log(s),
                lambda: self.b.log(self.b.div(e, s)),
                lambda: self.b.log(self.b.add(1, e)),
            ]
        )()

    def product(self) -> Value:
        spec = self.rng.choice(["[i, j] [i, j] -> [i]", "[i, j] [l, j] -> [i, l]", "[i, j] [i, l] -> [j, l]"])
        n, k = self.inputs[0].type.dims
        sizes = {"i": n, "j": k, "l": n if "[l, j]" in spec else k}
        result = spec.split("-> ")[1].strip("[]").split(", ")
        of = ", ".join(str(sizes[r]) for r in result)
        text = f"{spec} of [{of}] for " + ", ".join(f"{name} in {d}" for name, d in sizes.items() if name in spec)
        return self.b.contract(self.wide(), self.wide(), spec=parse_contraction(text))

    KINDS = (
        ["unary"] * 3
        + ["binary"] * 5
        + ["power", "reduction", "reduction", "move", "move", "choice", "mask", "count", "shares", "product"]
    )


CHANGES = {name: change for name, change in PASSES.items() if not name.startswith("inline")}


def assert_pass_keeps(seed: int, name: str, lines: int = 14) -> None:
    before = Program({"f": Writer(seed).function(lines)})
    verify_program(before)
    after = CHANGES[name](before)
    verify_program(after, name)
    f = before.functions["f"]
    for low, high in ((0.3, 1.5), (-1.5, 1.5)):
        inputs = inputs_of(f, low, high)
        old, new = outcome(before, "f", inputs), outcome(after, "f", inputs)
        for x, y in zip(old, new, strict=True):
            calm = np.isfinite(x) & (np.abs(x) < 1e6)
            assert np.isfinite(y[np.isfinite(x)]).all(), f"seed {seed}: finite became infinite or NaN"
            np.testing.assert_allclose(y[calm], x[calm], rtol=1e-5, atol=1e-7, err_msg=f"seed {seed}")


@pytest.mark.parametrize("name", CHANGES)
def test_random_programs_keep_their_values(name: str) -> None:
    for seed in range(60):
        assert_pass_keeps(seed, name)


def with_gradient(f: Function) -> Program:
    """The sum of a function's results, and its derivatives by what is real."""
    b = Builder(v.name for v in f.values())
    total = b.lift(0.0)
    for out in f.outputs:
        total = b.add(total, b.sum(out, axes=tuple(range(out.type.rank))))
    wrt = [v for v in f.inputs if v.type.is_float]
    gradients = b.emit("grad", (total, *wrt))
    results = tuple(Result(f"d_{v.name}", (g,)) for v, g in zip(wrt, gradients, strict=True))
    return Program({"f": Function("f", f.parameters, f.body + tuple(b.equations), results)})


def assert_stages_keep_gradients(seed: int, lines: int = 14) -> None:
    before = with_gradient(Writer(seed).function(lines))
    plain, after = run(before, 0), run(before, 2)
    inputs = inputs_of(before.functions["f"], 0.3, 1.5)
    old, new = outcome(plain, "f", inputs), outcome(after, "f", inputs)
    for x, y in zip(old, new, strict=True):
        finite = np.isfinite(x)
        assert np.isfinite(y[finite]).all(), f"seed {seed}: finite became infinite or NaN"
        calm = finite & (np.abs(x) < 1e6)
        scale = max(1.0, np.abs(x[calm]).max(initial=0))
        np.testing.assert_allclose(y[calm] / scale, x[calm] / scale, rtol=1e-5, atol=1e-6, err_msg=f"seed {seed}")


def test_random_programs_keep_their_gradients() -> None:
    for seed in range(60):
        assert_stages_keep_gradients(seed)


# ---- the pipeline


def test_stages_have_names_of_their_own_and_levels_add_to_each_other() -> None:
    assert len({s.name for s in PIPELINE}) == len(PIPELINE)
    seen: dict[int, list[str]] = {}
    for level in (0, 1, 2):
        run(Program(), level, lambda name, _, level=level: seen.setdefault(level, []).append(name))
    assert seen[0] == ["differentiate", "dce"]
    assert set(seen[0]) < set(seen[1]) < set(seen[2]) == {s.name for s in PIPELINE}


def test_recognition_can_be_left_out() -> None:
    names: list[str] = []
    run(Program(), 2, lambda name, _: names.append(name), recognise=False)
    assert names == [s.name for s in PIPELINE if not s.recognises]


def test_a_pass_that_breaks_the_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(program: Program) -> Program:
        return program.map(lambda f: f.with_body(f.body[1:]))

    stages = tuple(replace(s, change=broken) if s.name == "fold" else s for s in PIPELINE)
    monkeypatch.setattr("leec.passes.PIPELINE", stages)
    with pytest.raises(InternalError, match=r"^Net\.forward after fold: h is read before it is computed"):
        run(naive_program(), 1)


def naive_program() -> Program:
    """A step: the cross-entropy of a small net, its gradient, and an update."""
    return parse_program(STEP)


STEP = """
fn Net.forward(self: Net{w: float[d, k], b: float[k]}, x: float[n, d]) of Net {
  h: float[n, k] = contract(x, w, spec={[i, j] [j, l] -> [i, l] of [n, k] for i in n, j in d, l in k})
  z: float[n, k] = add(h, b)
  e: float[n, k] = exp(z)
  s: float[n, 1] = sum(e, axes=(1,), keepdims=true)
  let p: float[n, k] = div(e, s)
  return p
}

fn loss(net: Net{w: float[d, k], b: float[k]}, x: float[n, d], y: float[n, k]) {
  let p: float[n, k] = call(w, b, x, callee="Net.forward", dims={n: n, d: d, k: k})
  l: float[n, k] = log(p)
  t: float[n, k] = mul(y, l)
  s: float[n] = sum(t, axes=(1,), keepdims=false)
  m: float[] = mean(s, axes=(0,), keepdims=false)
  let e: float[] = neg(m)
  return e
}

fn step(net: Net{w: float[d, k], b: float[k]}, x: float[n, d], y: float[n, k], lr: host float) {
  let e: float[] = call(w, b, x, y, callee="loss", dims={n: n, d: d, k: k})
  d_w: float[d, k], d_b: float[k] = grad(e, w, b)
  a: float[d, k] = mul(d_w, lr)
  let w_2: float[d, k] = sub(w, a)
  c: float[k] = mul(d_b, lr)
  let b_2: float[k] = sub(b, c)
  return e, w_2, b_2
}"""


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("recognise", [True, False])
def test_levels_give_the_same_step(level: int, recognise: bool) -> None:
    before, after = run(naive_program(), 0), run(naive_program(), level, recognise=recognise)
    assert_same(before, after, "step", inputs_of(before.functions["step"]))


def test_a_step_at_the_second_level_calls_nothing() -> None:
    step = run(naive_program(), 2).functions["step"]
    assert all("callee" not in e.params for e in step.body)
    assert any(e.op == "fused" for e in step.body)


def test_what_only_passes_made_goes_when_nothing_calls_it() -> None:
    made = {level: set(run(naive_program(), level).functions) - {"Net.forward", "loss", "step"} for level in (0, 1, 2)}
    assert len(made[0]) == 4, "saving forms and backwards of forward and loss"
    assert len(made[1]) == 4, "the saving form of forward gives its logarithm, which is all that its backward reads"
    assert not made[2], "the step holds them"


def test_groups_can_be_undone() -> None:
    program = run(naive_program(), 2)
    flat = ungroup(program)
    verify_program(flat)
    assert all(e.op != "fused" for f in flat.functions.values() for e in f.body)
    assert_same(program, flat, "step", inputs_of(program.functions["step"]))


@pytest.mark.slow  # times: only on a machine with nothing else to do
def test_passes_are_linear_in_equations() -> None:
    """5,000 equations in a few seconds, and twice as many in about twice the time."""

    def seconds(lines: int) -> float:
        program = Program({"f": Writer(1).function(lines, last=lines)})
        start = time.perf_counter()
        run(program, 2)
        return time.perf_counter() - start

    seconds(100)  # what is compiled once
    half, whole = seconds(1000), seconds(2000)
    assert whole < 6
    assert whole < 3.5 * half
