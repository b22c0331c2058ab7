"""The rows of the op table: each is tested from what it says of itself, in either column, at every dtype.

`check(name)` runs a row on its examples: types against what the libraries give, NumPy against torch, the gradient
rule against finite differences and against autograd, second derivatives. A new row needs no test of its own here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import scipy.special
import torch

import leec
from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Parameter, Program, Result, Value
from leec.ir.text import parse_program
from leec.ir.verify import verify_program
from leec.ops import TABLE, Op, support_numpy
from leec.ops.random import site_word
from leec.ops.table import Example, declare, example, operand_kinds, unary
from leec.passes.differentiate import differentiate
from leec.proof.interpret import Interpreter
from leec.runtime import draws_numpy
from leec.types import ShapeMismatch, TensorType, tensor

SIZES = {"a": 2, "b": 3, "c": 4}
STEP = 1e-5
STRUCTURED = {name for name, row in TABLE.items() if row.type.__module__ == "leec.ops.control"}
ROWS = [name for name in TABLE if name not in STRUCTURED]

# ---- examples

FLOAT_PAIRS = (
    ("float[a, b]", "float[a, b]"),
    ("float[a, b]", "float[b]"),
    ("float[a, 1]", "float[a, b]"),
    ("float[]", "float[a]"),
    ("float[a, b]", "host float"),
    ("host float", "float[a]"),
    ("host float", "host float"),
)
INT_PAIRS = (
    ("int[a, b]", "int[b]"),
    ("int[a]", "host int"),
    ("host int", "int[a]"),
    ("host int", "host int"),
    ("int[]", "int[]"),
)
MIXED_PAIRS = (
    ("int[a]", "float[a]"),
    ("int[a]", "host float"),
    ("float[a]", "host int"),
    ("float[a]", "int[]"),
    ("host int", "host float"),
    ("host float", "host int"),
)
BOOL_PAIRS = (("bool[a, b]", "bool[b]"), ("bool[]", "bool[a]"), ("host bool", "host bool"))
PAIRS = {
    "float": (*FLOAT_PAIRS, *MIXED_PAIRS),
    "number": (*FLOAT_PAIRS, *INT_PAIRS, *MIXED_PAIRS),
    "same": (*FLOAT_PAIRS, *INT_PAIRS, *MIXED_PAIRS, *BOOL_PAIRS),
    "int": INT_PAIRS,
    "bool": BOOL_PAIRS,
}
SINGLES = {
    "float": ("float[a, b]", "float[]", "host float", "int[a]"),
    "number": ("float[a, b]", "float[]", "host float", "int[a]", "host int"),
    "int": ("int[a]", "int[]", "host int"),
    "bool": ("bool[a, b]", "bool[]", "host bool"),
}


def examples(row: Op) -> tuple[Example, ...]:
    """Those of the row, and of an elementwise row what its kinds of operands allow."""
    if row.examples or not row.elementwise or row.params:
        return row.examples
    made = PAIRS[row.operands] if len(row.args) == 2 else tuple((t,) for t in SINGLES[row.operands])
    return tuple(example(*types) for types in made if row.host or any(not t.startswith("host") for t in types))


@dataclass
class Case:
    """One example of a row with its arguments drawn."""

    row: Op
    example: Example
    seed: int = 0

    def __post_init__(self) -> None:
        symbols = {s for t in self.example.types for d in t.dims for s in d.symbols}
        self.sizes = {s: SIZES.get(s, n) for n, s in enumerate(sorted(symbols | SIZES.keys()), 2)}
        rng = np.random.default_rng(crc32(repr((self.row.name, self.example.arguments, self.seed)).encode()))
        self.types, self.params = self.example.types, self.example.params
        self.values = [self.drawn(rng, t, self.domain(i)) for i, t in enumerate(self.types)]
        self.inputs = tuple(Value(f"arg{i}", t, named=True) for i, t in enumerate(self.types))

    def name(self, position: int) -> str:
        names = self.row.args
        return names[min(position, len(names) - 1)].lstrip("*")

    def domain(self, position: int) -> tuple[float, float] | list:
        return self.example.within.get(self.name(position), self.row.domain)

    @property
    def varied(self) -> list[bool]:
        """Which arguments a derivative is asked by."""
        fixed = [self.name(i) in self.example.fixed for i in range(len(self.types))]
        return [t.is_float and not t.host and not f for t, f in zip(self.types, fixed, strict=True)]

    def drawn(self, rng: np.random.Generator, t: TensorType, domain: tuple[float, float] | list) -> object:
        shape = tuple(d.evaluate(self.sizes) for d in t.dims)
        if t.dtype == "key":
            return (0x1234567, 0x89ABCDE)
        if isinstance(domain, list):
            return np.array(domain)
        low, high = domain
        draw = {
            "int": lambda: rng.integers(math.ceil(low), math.floor(high) + 1, shape),
            "bool": lambda: rng.integers(0, 2, shape).astype(bool),
        }.get(t.dtype, lambda: rng.uniform(low, high, shape))()
        return draw.item() if t.host else draw


# ---- running


def function(inputs: tuple[Value, ...], build) -> Function:
    """A function of some inputs with the values that `build(b, *inputs)` gives as results r0, r1, .."""
    b = Builder(v.name for v in inputs)
    found = build(b, *inputs)
    results = tuple(Result(f"r{i}", (v,)) for i, v in enumerate(found) if v is not None)
    parameters = tuple(Parameter(v.name, (v,)) for v in inputs)
    return Function("f", parameters, tuple(b.equations), results)


def results_of(found: Value | tuple[Value, ...]) -> tuple[Value, ...]:
    return found if isinstance(found, tuple) else (found,)


def evaluated(f: Function, values: list, sizes: Mapping[str, int], column: str, dtype: str = "f64") -> list:
    return prepared(f, sizes, column, dtype)(values)


def prepared(f: Function, sizes: Mapping[str, int], column: str, dtype: str = "f64") -> Callable[[list], list]:
    program = Program({"f": f})
    verify_program(program)
    ready, names = Interpreter(program, column, dtype), [p.name for p in f.parameters]
    return lambda values: list(ready.run("f", dict(zip(names, values, strict=True)) | sizes).values())


def array(x: object) -> np.ndarray:
    return x.detach().double().numpy() if isinstance(x, torch.Tensor) else np.asarray(x, float)


def close(found: object, wanted: object, tolerance: float) -> None:
    """Equal within a tolerance of the largest entry; NaN and infinities in the same places."""
    found, wanted = array(found), array(wanted)
    assert found.shape == wanted.shape, f"shapes {found.shape} and {wanted.shape}"
    finite = np.isfinite(wanted)
    assert np.array_equal(found[~finite], wanted[~finite], equal_nan=True), f"{found} is not {wanted}"
    scale = max(1.0, np.abs(wanted[finite]).max(initial=0.0))
    worst = np.abs(found[finite] - wanted[finite]).max(initial=0.0)
    assert worst <= tolerance * scale, f"{found} is not {wanted}: off by {worst:.3g}"


# ---- what is checked


def check(name: str) -> None:
    """Raises AssertionError that names the row and the example."""
    row = TABLE[name]
    assert examples(row), f"row {name} has no examples"
    for e in examples(row):
        try:
            check_case(Case(row, e))
        except Exception as error:
            raise AssertionError(f"row {name}, {', '.join(e.arguments)} {dict(e.written)}: {error}") from error


def check_case(case: Case) -> None:
    check_values(case)
    reference = REFERENCES.get(case.row.name)
    if reference:
        assert primal(case, "numpy") == [reference(case)]
    floats = case.varied
    results = [r.type for r in results_of(emitted(case))]
    if case.row.vjp is not None and any(floats) and any(r.is_float for r in results):
        check_gradient(case, floats)


def emitted(case: Case) -> Value | tuple[Value, ...]:
    return Builder().emit(case.row.name, case.inputs, case.params)


def the_op(case: Case) -> Function:
    emit = lambda b, *args: results_of(b.emit(case.row.name, args, case.params))  # noqa: E731
    return function(case.inputs, emit)


def primal(case: Case, column: str, dtype: str = "f64", values: list | None = None) -> list:
    return evaluated(the_op(case), case.values if values is None else values, case.sizes, column, dtype)


def check_values(case: Case) -> None:
    """Every column gives the same; the interpreter compares shapes and dtypes with the types."""
    wanted = primal(case, "numpy")
    for column, dtype in product(("numpy", "torch", "torch_step"), ("f64", "f32")):
        for x, y in zip(primal(case, column, dtype), wanted, strict=True):
            close(x, y, {"f64": 1e-12, "f32": 2e-5}[dtype])
    if case.types and all(t.host and t.dtype != "key" for t in case.types) and case.row.elementwise:
        check_host(case)


def check_host(case: Case) -> None:
    """Python numbers against arrays of rank 0, for more draws, as there is one entry in each."""
    arrays = replace(case.example, arguments=tuple(f"{t.dtype}[]" for t in case.types))
    for seed in range(8):
        values = Case(case.row, case.example, seed).values
        for x, y in zip(
            primal(case, "numpy", values=values), primal(Case(case.row, arrays), "numpy", values=values), strict=True
        ):
            close(x, y, 1e-14)


REFERENCES = {  # for rows that have one column alone
    "size": lambda case: case.params["dim"].evaluate(case.sizes),
    "const": lambda case: pytest.approx(np.array(case.params["value"]), abs=0),
    "fold_key": lambda case: draws_numpy.fold(case.values[0], site_word(case.params["site"])),
    "fold_count": lambda case: draws_numpy.fold(*case.values),
}


def check_gradient(case: Case, floats: list[bool]) -> None:
    rng = np.random.default_rng(5)
    outs = [r.type for r in results_of(emitted(case))]
    weights = [rng.uniform(0.5, 1.5, tuple(d.evaluate(case.sizes) for d in t.dims)) for t in outs]
    by_rule = cotangents(case, weights)
    expected = case.row.facts.get("cotangents")
    if expected:
        wanted = [
            0 if c is None else summed_to(c, np.shape(x))
            for c, x in zip(expected(weights[0], *case.values), case.values, strict=True)
        ]
    else:
        wanted = [slopes(case, weights, i) if f else 0 for i, f in enumerate(floats)]
    auto = autograd(case, weights, floats)
    narrow = any(t.dtype == "f32" for t in (*case.types, *outs))
    for i, is_float in enumerate(floats):
        if not is_float:
            assert by_rule[i] is None or case.name(i) in case.example.fixed, f"a cotangent of argument {i}"
            continue
        found = np.zeros(case.values[i].shape) if by_rule[i] is None else by_rule[i]
        close(found, np.broadcast_to(auto[i], found.shape), 1e-6 if narrow else 2e-9)
        if not narrow:
            close(found, np.broadcast_to(wanted[i], found.shape), 1e-7)
    if not expected and not narrow:
        check_second(case, floats)


def summed_to(c: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The sum over the axes along which an array of the given shape was broadcast."""
    c = c.sum(axis=tuple(range(c.ndim - len(shape))))
    return c.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1 != c.shape[i]), keepdims=True)


def cotangents(case: Case, weights: list[np.ndarray]) -> list:
    """What the row's own rule gives for cotangents `weights` of the results; None where it gives none."""
    outs = [r.type for r in results_of(emitted(case))]
    given = tuple(Value(f"g{i}", t, named=True) for i, t in enumerate(outs))
    there: list[bool] = []

    def build(b: Builder, *inputs: Value):
        args, g = inputs[: len(case.inputs)], inputs[len(case.inputs) :]
        out = b.emit(case.row.name, args, case.params)
        equation: Equation = b.equations[-1]
        many = isinstance(out, tuple)
        found = case.row.vjp(b, g if many else g[0], out, *equation.args, **equation.params)
        found = [c if v.type.is_float else None for c, v in zip(found, args, strict=True)]  # not of what was cast
        there.extend(c is not None for c in found)
        return found

    found = evaluated(function((*case.inputs, *given), build), [*case.values, *weights], case.sizes, "numpy")
    return [found.pop(0) if t else None for t in there]


def slopes(case: Case, weights: list[np.ndarray], position: int) -> np.ndarray:
    """Central differences of the weighted sum of the finite results, entry by entry of an argument."""
    x, apply = case.values[position], prepared(the_op(case), case.sizes, "numpy")
    found = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[index] += sign * STEP
            outs = apply([*case.values[:position], moved, *case.values[position + 1 :]])
            ends.append(
                sum(float((np.asarray(y) * w)[np.isfinite(y)].sum()) for y, w in zip(outs, weights, strict=True))
            )
        found[index] = (ends[0] - ends[1]) / (2 * STEP)
    return found


def autograd(case: Case, weights: list[np.ndarray], floats: list[bool]) -> list:
    """What torch says through its own column."""
    values = [torch.tensor(v, requires_grad=True) if f else v for v, f in zip(case.values, floats, strict=True)]
    found = evaluated(the_op(case), values, case.sizes, "torch")
    total = sum((y * torch.tensor(w)).sum() for y, w in zip(found, weights, strict=True))
    wanted = [v for v, f in zip(values, floats, strict=True) if f]
    if not total.requires_grad:
        return [0 if f else None for f in floats]
    grads = list(torch.autograd.grad(total, wanted, allow_unused=True))
    return [(0 if (g := grads.pop(0)) is None else g.numpy()) if f else None for f in floats]


def check_second(case: Case, floats: list[bool]) -> None:
    """The derivative of a weighted sum of the gradient, by differentiating twice, against differences of the gradient."""
    x = next(v for v, f in zip(case.inputs, floats, strict=True) if f)
    position = case.inputs.index(x)
    rng = np.random.default_rng(7)
    direction = rng.uniform(0.5, 1.5, case.values[position].shape)
    u = Value("u", x.type, named=True)

    def build(b: Builder, *inputs: Value):
        args, u = inputs[:-1], inputs[-1]
        outs = results_of(b.emit(case.row.name, args, case.params))
        total = b.lift(0.0)
        for y in outs:
            total = b.add(total, b.sum(b.sin(y), axes=tuple(range(y.type.rank))))
        (first,) = b.grad(total, args[position])
        dot = b.sum(b.mul(first, u), axes=tuple(range(first.type.rank)))
        (second,) = b.grad(dot, args[position])
        return first, second

    program = differentiate(Program({"f": function((*case.inputs, u), build)}))
    apply = prepared(program.functions["f"], case.sizes, "numpy")
    both = lambda value: apply([*case.values[:position], value, *case.values[position + 1 :], direction])  # noqa: E731
    base = case.values[position]
    ends = [both(base + sign * STEP * direction)[0] for sign in (1, -1)]
    close(both(base)[1], (ends[0] - ends[1]) / (2 * STEP), 1e-6)


# ---- every row


@pytest.mark.parametrize("name", ROWS)
def test_row(name: str) -> None:
    check(name)


def test_every_row_says_what_it_is() -> None:
    for name, row in TABLE.items():
        assert row.doc and not row.doc.endswith("."), name
        assert not row.elementwise or row.equation or row.name in ("cast", "graft", "guard", "stop"), name
        assert row.flops >= 0 and row.domain[0] < row.domain[1], name


def test_every_row_is_reached() -> None:
    """By a name in lee, or by what elaboration, a pass, a law or another row builds."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (Path(leec.__file__).parent).rglob("*.py"))
    built = set(re.findall(r"\.(\w+)\(|\"(\w+)\"", re.sub(r"(declare\(Op|unary|binary)\(\s*\"\w+\"", "", sources)))
    words = {word for pair in built for word in pair if word}
    families = {name for name in TABLE if name.startswith(("scatter_", "logical_"))}  # `scatter(mode = ..)`, `and`
    assert not [n for n, row in TABLE.items() if not row.surface and n not in words | families]


# ---- kinds of operands (R17)


def test_bools_do_not_calculate() -> None:
    flag, number, count = (Value("v", t) for t in (tensor("bool", "n"), tensor("float", "n"), tensor("int", "n")))
    for op, *args in (("add", flag, number), ("mul", flag, flag), ("exp", flag), ("mean", flag), ("lt", flag, flag)):
        with pytest.raises(ShapeMismatch, match=f"an operand of {op} is bool"):
            Builder().emit(op, tuple(args), {"axes": (0,)} if op == "mean" else {})
    with pytest.raises(ShapeMismatch, match="an operand of logical_and is float, not bool"):
        Builder().logical_and(number, flag)
    with pytest.raises(ShapeMismatch, match="an operand of gather is float, not int"):
        Builder().gather(number, number, axes=(0,))
    assert Builder().sum(flag, axes=(0,)).type == tensor("int")
    assert Builder().eq(flag, flag).type == tensor("bool", "n")
    assert Builder().mean(count, axes=(0,)).type == tensor("float")


def test_integers_among_floats_are_cast_where_one_sees_it() -> None:
    b = Builder()
    x, i = Value("x", tensor("f32", "n")), Value("i", tensor("int", "n"))
    assert b.mul(x, i).type == tensor("f32", "n") and b.div(i, i).type == tensor("float", "n")
    assert b.add(i, 2).type == tensor("int", "n") and b.add(i, 0.5).type == tensor("float", "n")
    assert [e.op for e in b.equations if e.args] == ["cast", "mul", "cast", "cast", "div", "add", "cast", "add"]


# ---- borders and delicate points (R25, R34, R35, decision 54)


def as_argument(x: object, kind: str) -> np.ndarray:
    found = np.array(x)
    return found.astype(bool) if kind == "bool" else found


def border_case(row: Op, arguments: tuple, params: Mapping[str, object]) -> Case:
    values = [as_argument(x, kind) for x, kind in zip(arguments, operand_kinds(row, len(arguments)), strict=True)]
    words = {"f": "float", "i": "int", "b": "bool"}
    types = [f"{words[v.dtype.kind]}[{', '.join(map(str, v.shape))}]" for v in values]
    case = Case(row, example(*types, **params))
    case.values = values
    return case


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name, row in TABLE.items() for n in range(len(row.borders))]
)
def test_border(name: str, number: int, dtype: str) -> None:
    border = TABLE[name].borders[number]
    case = border_case(TABLE[name], border.arguments, border.params)
    tolerance = {"f64": 1e-14, "f32": 1e-6}[dtype]
    for column in ("numpy", "torch", "torch_step"):
        (found,) = primal(case, column, dtype)
        close(found, border.value, tolerance)
    if border.gradients is None:
        return
    weights = [np.ones(np.shape(border.value))]
    floats = [g is not None for g in border.gradients]
    for found in (cotangents(case, weights), autograd(case, weights, floats)):
        for g, wanted in zip(found, border.gradients, strict=True):
            if wanted is not None:
                close(np.zeros(np.shape(wanted)) if g is None else g, wanted, 1e-12)


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if "delicate" in row.facts])
def test_delicate(name: str, dtype: str) -> None:
    """Composites where their primitive form overflows, or is not defined."""
    row = TABLE[name]
    arguments, value, gradients = row.facts["delicate"]
    case = border_case(row, arguments, {"axes": (0,)} if "axes" in row.params else {})
    for column in ("numpy", "torch"):
        (found,) = primal(case, column, dtype)
        close(found, value, {"f64": 1e-14, "f32": 1e-6}[dtype])
    weights = [np.ones(np.shape(value))]
    for found in (cotangents(case, weights), autograd(case, weights, [True] * len(arguments))):
        for g, wanted in zip(found, gradients, strict=True):
            close(g, wanted, 1e-12)


@pytest.mark.parametrize(
    ("name", "reference", "relative"),
    [
        ("erf", math.erf, 1e-15),
        ("erfc", math.erfc, 1e-15),
        ("lgamma", math.lgamma, 0),
        ("digamma", scipy.special.psi, 0),
    ],
)
def test_special_functions_to_the_last_digits(name: str, reference: Callable, relative: float) -> None:
    x = np.concatenate([np.linspace(-9.97, 26, 4001), 10.0 ** np.arange(-300, 2, 10)])
    wanted = np.array([reference(v) for v in x])
    found = getattr(support_numpy, name)(x)
    if relative:
        np.testing.assert_allclose(found, wanted, rtol=relative)
    else:  # near a zero only absolute digits exist, and near a pole of digamma its reflection loses what tan loses
        assert (np.abs(found - wanted) <= 1e-13 * np.maximum(np.abs(wanted), 1)).mean() > 0.99
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


def test_polygamma_to_the_last_digits() -> None:
    x = np.concatenate([np.linspace(0.01, 40, 2001), [1e3, 1e6]])
    for n in (1, 2, 3, 5):
        np.testing.assert_allclose(support_numpy.polygamma(n, x), scipy.special.polygamma(n, x), rtol=2e-14)


# ---- a row more


@pytest.fixture
def bent():
    """A new op, as a user of the table would declare it: x / (1 + |x|)."""
    unary("bent", "x bent towards 1 and -1", lambda b, g, out, x: b.div(g, b.power(b.add(b.abs(x), 1.0), 2.0)),
          "x / (1 + np.abs(x))", "torch.nn.functional.softsign(x)", "x / (1 + abs(x))",
          equation=r"\frac{x}{1 + \lvert x \rvert}")  # fmt: skip
    yield "bent"
    del TABLE["bent"]


def test_a_new_row_is_one_declaration(bent: str) -> None:
    check(bent)
    program = parse_program("""
fn f(x: float[n], h: host float) {
  y: float[n] = bent(x)
  k: host float = bent(h)
  z: float[n] = mul(y, k)
  let e: float[] = sum(z, axes=(0,), keepdims=false)
  d_x: float[n] = grad(e, x)
  return e, d_x
}""")
    verify_program(program)
    x = np.array([-3.0, 0.0, 0.5])
    for column in ("numpy", "torch"):
        found = Interpreter(differentiate(program), column).run("f", {"x": x, "h": 1.0})
        close(found["e"], 0.5 * (x / (1 + np.abs(x))).sum(), 1e-15)
        close(found["d_x"], 0.5 / (1 + np.abs(x)) ** 2, 1e-15)


def test_a_name_is_declared_once() -> None:
    with pytest.raises(ValueError, match="'add' is declared twice"):
        declare(TABLE["add"])


# ---- other sizes: a row has no favourite ones


@pytest.mark.parametrize("name", ROWS)
def test_row_at_size_one(name: str, monkeypatch) -> None:
    monkeypatch.setitem(globals(), "SIZES", dict.fromkeys(SIZES, 1))
    for e in examples(TABLE[name]):
        check_values(Case(TABLE[name], e))


@pytest.mark.parametrize("column", ["torch", "torch_step"])
@pytest.mark.parametrize("name", ROWS)
def test_row_stays_on_its_device(name: str, column: str) -> None:
    """On the device `meta`, which has no entries: nothing is made elsewhere, nothing waits for a number."""
    for e in examples(TABLE[name]):
        case = Case(TABLE[name], e)
        program = Program({"f": the_op(case)})
        ready = Interpreter(program, column, device="meta")
        arguments = dict(zip((v.name for v in case.inputs), case.values, strict=True))
        for found in ready.run("f", arguments | case.sizes).values():
            assert not isinstance(found, torch.Tensor) or found.device.type == "meta"


# ---- what the tests of a row see


def broken_column(entry, column: str, kinds: tuple[str, ...]):
    """The same expression, a thousandth, one or a bit off."""
    change = {"int": "({}) + 1", "bool": "({}) ^ True", "key": "({})[::-1]"}.get(kinds[0], "({}) * 1.001")

    def find(types, params):
        found = entry(types, params) if callable(entry) else entry
        text, more = found if isinstance(found, tuple) else (found, {})
        return (f"tuple(v * 1.001 for v in {text})" if len(kinds) > 1 else change.format(text)), more

    return find


def broken_rule(vjp):
    def rule(b, g, out, *args, **params):
        found = list(vjp(b, g, out, *args, **params))
        for i, c in enumerate(found):
            if c is not None:
                found[i] = b.mul(c, 1.001)
                return tuple(found)
        return tuple(g if x.type.is_float and not x.type.host and x.type.dims == g.type.dims else None for x in args)

    return rule


def mutants() -> list[tuple[str, str]]:
    parts = ("numpy", "torch", "torch_step", "host", "vjp")
    return [(name, part) for name in ROWS for part in parts if getattr(TABLE[name], part)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "part"), mutants())
def test_a_broken_row_is_seen_and_named(name: str, part: str, monkeypatch) -> None:
    row = TABLE[name]
    entry = getattr(row, part)
    if part == "vjp":
        changed = broken_rule(entry)
    else:
        case = Case(row, next(e for e in examples(row) if part != "host" or all(t.host for t in e.types)))
        changed = broken_column(entry, part, tuple(v.type.dtype for v in results_of(emitted(case))))
    monkeypatch.setitem(TABLE, name, replace(row, **{part: changed}))
    with pytest.raises(AssertionError, match=f"^row {name},"):
        check(name)
