"""The IR as text: printing and parsing are inverses. The verifier and the interpreter on small functions."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from leec import driver
from leec.diagnostics import InternalError, Source
from leec.ir.graph import Parameter, Program, Value
from leec.ir.text import parse_function, parse_program, print_function, print_program
from leec.ir.verify import verify_function, verify_program
from leec.ops import TABLE
from leec.proof.interpret import run

LINEAR = """\
private fn Linear.forward(self: Linear{w: float[a, b], self.bias = bias: float[b]}, x: float[n, a]) of Linear "x W" {
  let t: float[n, b] = contract(x, w, spec={[i, j] [j, k] -> [i, k] of [n, b] for i in n, j in a, k in b})
  let y: float[n, b] = add(t, self.bias)
  return y, d_self: Linear{w = w, bias = self.bias}
}"""

FORMS = """\
fn forms(
    state: float[check, n**2],
    k: static m = 3,
    eps: host float = 1e-05,
    flag: host bool = true,
    none: Empty{},
) {
  require n % (2 * m) == 1
  require a + 1 == b
  check n == -(a // 2) "\\"quoted\\" and 中文"
  let let: host float = const(value=-inf)
  nan: host float = const(value=+nan)
  s: host int = size(dim={3})
  z: float[n // 2, n - 2] = slice(state, slices=[0:n:2, 1:n - 1])
  p: float[check + 2, n**2] = pad(state, widths=([1, 1], [0, 0]), value=0.0)
  let q: float[n], r: int[n] = call(p, callee="g", dims={n: n, k: (a + 1) // 2})
  w: float[] = unknown(q, body=fn inner(x: float[]) {
    return x
  }, numbers=(0, 1), one=(0,), nothing=(), whole=[:], types=(float[n], host key), off=false, no=None)
  effect(w, seed=-2)
  state state -> p
  return loss = w, pair: {0 = q, 1.r = r}, none: Empty{}
}"""


def test_text_of_every_form_survives_parsing_and_printing() -> None:
    for text in (LINEAR, FORMS):
        assert print_function(parse_function(text)) == text


def same(a: object, b: object, seen: dict) -> bool:
    """Equal in every field but spans; values correspond one to one. That an input is the user's is not written."""
    match a, b:
        case Value(), Value():
            known = a in seen
            return seen.setdefault(a, b) is b and (a.name, a.type) == (b.name, b.type) and (known or a.named == b.named)
        case Parameter(), Parameter():
            seen |= dict(zip(a.values, b.values, strict=True))
            return same_fields(a, b, seen)
        case str(), str():
            return a == b
        case dict(), dict():
            return list(a) == list(b) and all(same(a[k], b[k], seen) for k in a)
        case tuple(), tuple():
            return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b, [seen] * len(a)))
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        return same_fields(a, b, seen)
    return type(a) is type(b) and str(a) == str(b)


def same_fields(a: object, b: object, seen: dict) -> bool:
    names = (f.name for f in dataclasses.fields(a) if f.name != "span")
    return all(same(getattr(a, name), getattr(b, name), seen) for name in names)


def test_parsing_gives_back_every_field() -> None:
    for text in (LINEAR, FORMS):
        f = parse_function(text)
        assert same(f, parse_function(print_function(f)), {})


def test_programs_keep_their_order() -> None:
    program = parse_program(f"{LINEAR}\n{FORMS}")
    assert list(program.functions) == ["Linear.forward", "forms"]
    assert list(parse_program(print_program(program)).functions) == ["Linear.forward", "forms"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fn f(x: float[]) {\n  return y\n}", "y has no value here"),
        ("fn f(x: float[]) {\n  y: float[] = exp(x, )\n  return y\n}", "line 2, column 23"),
        ("fn f(x: guest float) {\n  return x\n}", "not a type: guest float"),
    ],
)
def test_other_text_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_function(text)


ROOT = Path(__file__).parents[1]
SPECS = sorted((*(ROOT / "specs").rglob("*.lee"), *(ROOT / "tests" / "samples").glob("*.lee")))


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_every_function_that_specs_produce_reads_back(spec: Path) -> None:
    """As elaborated, and with gradients and composites, groups and all, after the last pass."""
    module, _ = driver.elaborate(Source(spec.name, spec.read_text(encoding="utf-8")))
    stages = [module.functions, driver.optimise(module, driver.Options(level=2)).functions]
    assert stages[0].functions, f"{spec} gives no function"
    for program in stages:
        text = print_program(program)
        again = parse_program(text)
        assert print_program(again) == without_places(text)
        for name, f in program.functions.items():
            assert same(f, again.functions[name], {}), name


def without_places(text: str) -> str:
    return re.sub(r"   # \S+:\d+$", "", text, flags=re.MULTILINE)


# ---- the verifier

SQUARE = """
fn square(x: float[n, m], k: static) {
  let y: float[n, m] = mul(x, x)
  return y
}
"""
GOOD = """
fn good(x: float[a, 3], mean: float[a]) {
  require a % 2 == 0
  check a == b "a is not b"
  y: float[a, 3] = call(x, callee="square", dims={n: 2 * (a // 2), m: 3, k: 7})
  z: float[b, 3] = add(y, x)
  s: float[a] = sum(z, axes=(1,), keepdims=false)
  state mean -> s
  return z, pair: {0 = s, 1 = z}
}
"""


def test_a_good_program_passes() -> None:
    verify_program(parse_program(SQUARE + GOOD))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("  state", "  y: float[a] = exp(s)\n  state", r"y is bound twice\n  in  y: float\[a\] = exp\(s\)"),
        ("mean: float[a])", "mean: float[a], x = w: float[])", "x is bound twice"),
        ("z: float[b, 3]", "z: float[c, 3]", r"result 0 is float\[c, 3\], not float\[a, 3\]"),
        ("z: float[b, 3]", "z: int[b, 3]", r"result 0 is int\[b, 3\], not float\[a, 3\]"),
        ("z: float[b, 3]", "z: float[b, 3], w: float[a, 3]", "it has 2 results, not 1"),
        ("add(y, x)", "add(y, x, x)", "it has 3 arguments, not x, y"),
        ("add(y, x)", "add(y, mean)", "its type rule refuses: 3 is not a"),
        ("add(y, x)", "plus(y, x)", "there is no op plus"),
        ('"square"', '"cube"', "there is no function cube before this one"),
        ("call(x,", "call(mean,", r"argument 0 is float\[a\], not float\[2 \* \(a // 2\), 3\]"),
        ("call(x,", "call(x, x,", "it has 2 arguments, not 1"),
        ("m: 3", "m: 4", r"argument 0 is float\[a, 3\], not float\[2 \* \(a // 2\), 4\]"),
        ("mean -> s", "mean -> z", r"the state mean is float\[a\] and becomes float\[b, 3\]"),
        ("mean -> s", "y -> y", "the state y is not an input"),
    ],
)
def test_the_verifier_names_function_equation_and_fault(old: str, new: str, fault: str) -> None:
    assert GOOD.count(old) == 1
    program = parse_program(SQUARE + GOOD.replace(old, new))
    with pytest.raises(InternalError, match=f"^good after fold: {fault}"):
        verify_program(program, after="fold")


def test_the_verifier_sees_what_text_cannot_say() -> None:
    f = parse_function(SQUARE)
    (equation,) = f.body
    stranger = Value("stranger", equation.result.type)
    broken = {
        "stranger is read before it is computed": f.with_body(
            (dataclasses.replace(equation, args=(stranger, stranger)),)
        ),
        "the output y is never computed": f.with_body(()),
        "its params are ['axis'], not []": f.with_body((dataclasses.replace(equation, params={"axis": 1}),)),
    }
    for fault, function in broken.items():
        with pytest.raises(InternalError) as caught:
            verify_function(function, Program())
        assert fault in str(caught.value)


# ---- the interpreter

LINE = """
fn line(m: Line{w: float[a, b], c: float[b]}, x: float[n, a], k: static, s: host float = 0.5) {
  require a % 2 == 0
  check a == k * 2 "the model has another width"
  t: float[n, b] = contract(x, w, spec={[i, j] [j, o] -> [i, o] of [n, b] for i in n, j in a, o in b})
  u: float[n, b] = mul(t, s)
  h: host int = size(dim=k + n)
  let y: float[n, b] = add(u, c)
  state c -> c
  return y, h, same: Line{w = w, c = c}
}

fn twice(m: Line{w: float[d, d], c: float[d]}, x: float[r, d], s: host float) {
  k: float[r, d], h: host int, w2: float[d, d], c2: float[d], after: float[d] = call(w, c, x, s, callee="line", dims={a: d, b: d, n: r, k: d // 2})
  return k
}
"""


@pytest.fixture
def line() -> Program:
    program = parse_program(LINE)
    verify_program(program)
    return program


ARGUMENTS = {"m": {"w": np.eye(4), "c": np.arange(4.0)}, "x": np.ones((3, 4)), "k": 2}


@pytest.mark.parametrize("column", ["numpy", "torch", "torch_step"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_program_runs(line: Program, column: str, dtype: str) -> None:
    found = run(line, "line", ARGUMENTS, column, dtype)
    assert list(found) == ["y", "h", "same", "c"] and list(found["same"]) == ["w", "c"] and found["h"] == 5
    assert str(found["y"].dtype).removeprefix("torch.") == {"f32": "float32", "f64": "float64"}[dtype]
    np.testing.assert_array_equal(np.asarray(found["y"]), 0.5 + np.arange(4.0) + np.zeros((3, 1)))
    below = run(line, "twice", {"m": ARGUMENTS["m"], "x": np.ones((3, 4)), "s": 2.0}, column, dtype)
    np.testing.assert_array_equal(np.asarray(below["k"]), 2 + np.arange(4.0) + np.zeros((3, 1)))


def test_an_observer_sees_every_equation_also_of_callees(line: Program) -> None:
    seen = []
    observer = lambda f, e, values: seen.append((f.name, e.results[0].name, np.shape(values[0])))  # noqa: E731
    run(line, "twice", {"m": ARGUMENTS["m"], "x": np.ones((3, 4)), "s": 2.0}, observer=observer)
    assert [(f, name) for f, name, _ in seen] == [*(("line", v) for v in ("t", "u", "h", "y")), ("twice", "k")]
    assert seen[3][2] == (3, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.ones((3, 5))}, "line: x has 5 where float\\[n, a\\] has a = 4"),
        ({"x": np.ones(3)}, r"line: x has shape \(3,\), not float\[n, a\]"),
        ({"k": 3}, "line: the model has another width"),
        ({"k": None}, "line needs k"),
        ({"z": np.ones(3)}, "line has no parameter z"),
    ],
)
def test_arguments_that_do_not_fit(line: Program, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(line, "line", ARGUMENTS | changes)


def test_a_size_that_no_shape_tells_is_given_by_name() -> None:
    program = parse_program("""
fn f(x: float[2 * n + p]) {
  y: float[n + p] = slice(x, slices=[0:n + p])
  return y
}""")
    np.testing.assert_array_equal(run(program, "f", {"x": np.arange(7.0), "n": 2, "p": 3})["y"], np.arange(5.0))
    with pytest.raises(ValueError, match=r"x has 7 where float\[2 \* n \+ p\] has 2 \* n \+ p = 8"):
        run(program, "f", {"x": np.arange(7.0), "n": 2, "p": 4})


def test_a_column_that_breaks_its_type_is_caught(monkeypatch) -> None:
    program = parse_program("fn f(x: float[n]) {\n  y: float[n] = exp(x)\n  return y\n}")
    for text, shown in (("np.exp(x)[:-1]", r"float32\[2\]"), ("np.exp(x).astype(np.float64)", r"float64\[3\]")):
        monkeypatch.setitem(TABLE, "exp", dataclasses.replace(TABLE["exp"], numpy=text))
        with pytest.raises(InternalError, match=f"f: numpy gives {shown} in  y: float\\[n\\] = exp"):
            run(program, "f", {"x": np.ones(3)}, float_dtype="f32")
