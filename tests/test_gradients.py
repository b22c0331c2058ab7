"""Differentiation: text in and text out, and numbers against finite differences and against autograd of torch.

A case is a program whose function `f` gives `e` first and then gradients `d_x` of it. Its random arguments are drawn
for given sizes; every gradient must agree with the slope of `e` along a random direction, and with what torch's
autograd says of the same equations.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import reduce
from operator import mul
from pathlib import Path

import numpy as np
import pytest
import torch
from against import Spec

from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.cost import count_flops
from leec.ir.graph import Function, Parameter, Program, Result, Value
from leec.ir.text import parse_program, print_program
from leec.ir.verify import verify_program
from leec.ops import TABLE
from leec.ops.contract import parse_contraction
from leec.ops.shape import Slices
from leec.ops.table import REQUIRED, Op
from leec.passes.cse import cse
from leec.passes.differentiate import differentiate
from leec.proof.interpret import run
from leec.types import TensorType

CASES = sorted((Path(__file__).parent / "passes" / "differentiate").glob("*.ir"))


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_text(case: Path, golden) -> None:
    given, _, _ = case.read_text(encoding="utf-8").partition("\n---\n")
    program = parse_program(given)
    verify_program(program)
    made = differentiate(program)
    verify_program(made, after="differentiate")
    golden(case, f"{given}\n---\n\n{print_program(made)}")


# ---- numbers


def differentiated(text: str) -> Program:
    program = parse_program(text)
    verify_program(program)
    made = differentiate(program)
    verify_program(made, after="differentiate")
    assert not any(e.op == "grad" for f in made.functions.values() for e in f.body)
    return made


def drawn(f: Function, sizes: Mapping[str, int], seed: int = 0) -> dict[str, object]:
    """Random arguments by parameter name; models as dicts by path, integers below 2."""
    rng = np.random.default_rng(seed)

    def value(v):
        shape = tuple(d.evaluate(sizes) for d in v.type.dims)
        if v.type.host:
            return float(rng.uniform(0.5, 1.5))
        return rng.uniform(-1.5, 1.5, shape) if v.type.is_float else rng.integers(0, 2, shape)

    def argument(p: Parameter):
        if p.static:
            return sizes[p.static]
        return dict(zip(p.paths, map(value, p.values), strict=True)) if p.paths else value(p.values[0])

    return {p.name: argument(p) for p in f.parameters}


def leaves(arguments: Mapping[str, object]) -> Iterator[tuple[str, np.ndarray]]:
    """The float arrays among arguments or results, by name and path."""
    for name, part in arguments.items():
        for path, x in part.items() if isinstance(part, dict) else [("", part)]:
            if not isinstance(x, float) and np.asarray(x).dtype == np.float64:
                yield f"{name}.{path}" if path else name, x


def replaced(arguments: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    return {
        name: (
            {path: new.get(f"{name}.{path}", x) for path, x in part.items()}
            if isinstance(part, dict)
            else new.get(name, part)
        )
        for name, part in arguments.items()
    }


def gradients(program: Program, arguments: Mapping[str, object]) -> tuple[float, dict[str, np.ndarray]]:
    found = run(program, "f", arguments)
    return float(found["e"]), {name[2:]: x for name, x in leaves(found) if name.startswith("d_")}


def assert_slopes(
    program: Program, arguments: Mapping[str, object], tolerance: float = 2e-7, step: float = 1e-3
) -> None:
    """Central differences of `e` along a random direction of each argument, with one step of extrapolation."""
    _, found = gradients(program, arguments)
    assert found
    rng = np.random.default_rng(1)
    given = dict(leaves(arguments))
    for name, gradient in found.items():
        v = rng.normal(size=np.shape(given[name]))

        def slope(h: float, name: str = name, v: np.ndarray = v) -> float:
            ahead, behind = (
                float(run(program, "f", replaced(arguments, {name: given[name] + s * v}))["e"]) for s in (h, -h)
            )
            return (ahead - behind) / (2 * h)

        expected = (4 * slope(step) - slope(2 * step)) / 3
        assert np.sum(gradient * v) == pytest.approx(expected, rel=tolerance, abs=tolerance), name


def assert_autograd(program: Program, arguments: Mapping[str, object]) -> None:
    """The same equations run by torch; autograd through `e`, which may itself hold gradients, gives the gradients."""
    _, found = gradients(program, arguments)
    tracked = {name: torch.tensor(x, requires_grad=name in found) for name, x in leaves(arguments)}
    e = run(program, "f", replaced(arguments, tracked), column="torch")["e"]
    expected = torch.autograd.grad(e, [tracked[name] for name in found], materialize_grads=True)
    for (name, mine), theirs in zip(found.items(), expected, strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-9, atol=1e-11, err_msg=name)


def check(text: str, sizes: Mapping[str, int], tolerance: float = 2e-7) -> Program:
    """Both comparisons; gives the program."""
    made = differentiated(text)
    arguments = drawn(made.functions["f"], sizes)
    assert_slopes(made, arguments, tolerance)
    assert_autograd(made, arguments)
    return made


LINEAR = """
fn Linear.forward(self: Linear{w: float[a, b], bias: float[b]}, x: float[n, a]) of Linear {
  t: float[n, b] = contract(x, w, spec={[i, j] [j, k] -> [i, k] of [n, b] for i in n, j in a, k in b})
  let y: float[n, b] = add(t, bias)
  return y
}

fn mse(y: float[n, m], t: float[n, m]) {
  let r: float[n, m] = sub(y, t)
  s: float[n, m] = mul(r, r)
  let e: float[] = mean(s, axes=(0, 1), keepdims=false)
  return e
}
"""

LAYERS = ((1, "a", "h"), (2, "h", "h"), (3, "h", "h"), (4, "h", "c"))
NET = ", ".join(f"w{i} = {i}.w: float[{a}, {b}], b{i} = {i}.bias: float[{b}]" for i, a, b in LAYERS)
WEIGHTS = ", ".join(f"w{i}, b{i}" for i, _, _ in LAYERS)
D_WEIGHTS = ", ".join(f"d_w{i}: float[{a}, {b}], d_b{i}: float[{b}]" for i, a, b in LAYERS)
D_NET = ", ".join(f"{i}.w = d_w{i}, {i}.bias = d_b{i}" for i, _, _ in LAYERS)
MLP = f"""{LINEAR}
fn Net.forward(self: Net{{{NET}}}, x: float[n, a]) of Net {{
  let z1: float[n, h] = call(w1, b1, x, callee="Linear.forward", dims={{n: n, a: a, b: h}})
  let h1: float[n, h] = tanh(z1)
  let z2: float[n, h] = call(w2, b2, h1, callee="Linear.forward", dims={{n: n, a: h, b: h}})
  let h2: float[n, h] = tanh(z2)
  let z3: float[n, h] = call(w3, b3, h2, callee="Linear.forward", dims={{n: n, a: h, b: h}})
  let h3: float[n, h] = tanh(z3)
  let y: float[n, c] = call(w4, b4, h3, callee="Linear.forward", dims={{n: n, a: h, b: c}})
  return y
}}

fn f(net: Net{{{NET}}}, x: float[n, a], t: float[n, c]) {{
  let y: float[n, c] = call({WEIGHTS}, x, callee="Net.forward", dims={{n: n, a: a, h: h, c: c}})
  let e: float[] = call(y, t, callee="mse", dims={{n: n, m: c}})
  {D_WEIGHTS} = grad(e, {WEIGHTS})
  return e, d_net: Net{{{D_NET}}}
}}
"""
SIZES = {"n": 5, "a": 3, "h": 4, "c": 2}


def test_a_net_of_calls() -> None:
    check(MLP, SIZES)


def test_the_backward_of_a_net_costs_little_and_computes_nothing_twice() -> None:
    made = cse(differentiated(MLP))
    sizes = {"n": 64, "a": 100, "h": 100, "c": 10}
    whole = count_flops(made.functions["f"], sizes, made)
    forward = count_flops(made.functions["Net.forward"], sizes, made)
    assert 1.5 * forward <= whole - forward <= 2.5 * forward  # 7 products after 4, and what is elementwise
    for f in made.functions.values():
        equations = [(e.op, tuple(map(id, e.args)), repr(e.params)) for e in f.body]
        assert len(set(equations)) == len(equations), f.name


def test_flops_count_the_index_space_of_a_contraction_and_the_operands_of_a_reduction() -> None:
    (f,) = parse_program("""
fn f(x: float[n, c, h + 2], k: float[o, c, 3]) {
  y: float[n, o, h] = contract(x, k, spec={[i, j, p + u] [q, j, u] -> [i, q, p] of [n, o, h]
      for i in n, j in c, p in h, u in 3, q in o})
  two: host float = const(value=2.0)
  z: float[n, o, h] = mul(y, two)
  s: float[] = sum(z, axes=(0, 1, 2), keepdims=false)
  return s
}""").functions.values()
    n, c, o, h = 2, 3, 5, 7
    assert count_flops(f, {"n": n, "c": c, "o": o, "h": h}) == 2 * n * c * h * 3 * o + 2 * n * o * h


# ---- calls


def test_a_submodel_called_twice() -> None:
    check(
        LINEAR + """
fn f(net: Net{w = l.w: float[a, a], b = l.bias: float[a]}, x: float[n, a], t: float[n, a]) {
  let u: float[n, a] = call(w, b, x, callee="Linear.forward", dims={n: n, a: a, b: a})
  let h: float[n, a] = sin(u)
  let y: float[n, a] = call(w, b, h, callee="Linear.forward", dims={n: n, a: a, b: a})
  let e: float[] = call(y, t, callee="mse", dims={n: n, m: a})
  d_w: float[a, a], d_b: float[a], d_x: float[n, a] = grad(e, w, b, x)
  return e, d_net: Net{l.w = d_w, l.bias = d_b}, d_x
}
""",
        {"n": 3, "a": 4},
    )


SUBSETS = LINEAR + """
fn pair(x: float[n], y: float[n]) {
  let p: float[n] = mul(x, y)
  let q: float[n] = exp(x)
  return p, q
}

fn f(l1: Linear{w: float[a, a], b = bias: float[a]}, x: float[n, a], v: float[a]) {
  let u: float[n, a] = call(w, b, x, callee="Linear.forward", dims={n: n, a: a, b: a})
  let h: float[n, a] = tanh(u)
  let y: float[n, a] = call(w, v, h, callee="Linear.forward", dims={n: n, a: a, b: a})
  let s: float[a] = mean(y, axes=(0,), keepdims=false)
  let p: float[a], let q: float[a] = call(s, v, callee="pair", dims={n: a})
  let p2: float[a], let q2: float[a] = call(q, p, callee="pair", dims={n: a})
  let e: float[] = sum(q2, axes=(0,), keepdims=false)
  WANTED
  return e, GIVEN
}
"""


@pytest.mark.parametrize(
    ("wanted", "given", "functions"),
    [
        ("d_v: float[a] = grad(e, v)", "d_v", {"Linear.forward_backward_parameters"}),
        ("d_x: float[n, a] = grad(e, x)", "d_x", {"Linear.forward_backward_input"}),
        (
            "d_b: float[a] = grad(e, b)",
            "d_l1: Linear{bias = d_b}",
            {"Linear.forward_backward_parameters", "Linear.forward_backward_input"},
        ),
        (
            "d_b: float[a], d_x: float[n, a] = grad(e, b, x)",
            "d_l1: Linear{bias = d_b}, d_x",
            {"Linear.forward_backward", "Linear.forward_backward_input"},
        ),
        (
            "d_w: float[a, a], d_x: float[n, a], d_v: float[a] = grad(e, w, x, v)",
            "d_l1: Linear{w = d_w}, d_x, d_v",
            {"Linear.forward_backward", "Linear.forward_backward_2"},
        ),
    ],
)
def test_only_the_active_inputs_get_cotangents(wanted: str, given: str, functions: set[str]) -> None:
    made = check(SUBSETS.replace("WANTED", wanted).replace("GIVEN", given), {"n": 3, "a": 2})
    assert {name for name in made.functions if name.startswith("Linear.forward_")} == functions


def test_several_callers_share_what_was_derived() -> None:
    made = differentiated(
        LINEAR
        + """
fn g(x: float[n, m], t: float[n, m]) {
  let e: float[] = call(x, t, callee="mse", dims={n: n, m: m})
  d_x: float[n, m] = grad(e, x)
  return e, d_x
}
"""
        + "".join(f"""
fn g{i}(x: float[n, m], t: float[n, m]) {{
  let e: float[] = call(x, t, callee="mse", dims={{n: n, m: m}})
  d_x: float[n, m] = grad(e, x)
  return e, d_x
}}
""" for i in range(3))
    )
    assert [n for n in made.functions if "mse" in n] == ["mse", "mse_saved", "mse_backward"]


def test_results_that_are_one_value_or_an_argument_and_requests_that_repeat() -> None:
    made = check(
        """
fn same(x: float[n], y: float[n]) {
  let z: float[n] = mul(x, y)
  return a = z, b = z, x
}

fn constant(x: float[n]) {
  one: host float = const(value=1.0)
  let z: float[n] = fill(one, dims=[n], dtype="float")
  return z
}

fn f(x: float[n], y: float[n]) {
  let a: float[n], let b: float[n], let c: float[n] = call(x, y, callee="same", dims={n: n})
  let k: float[n] = call(c, callee="constant", dims={n: n})
  p: float[n] = mul(a, b)
  q: float[n] = mul(p, c)
  r: float[n] = mul(q, k)
  let e: float[] = sum(r, axes=(0,), keepdims=false)
  one: float[], d_x: float[n], twice: float[n], d_y: float[n] = grad(e, e, x, x, y)
  return e, d_x, d_y, one, twice
}
""",
        {"n": 3},
    )
    found = run(made, "f", drawn(made.functions["f"], {"n": 3}))
    assert found["one"] == 1 and np.array_equal(found["twice"], found["d_x"])
    assert "constant_backward" not in made.functions


NESTED = """
fn inner(w: float[a], x: float[n, a]) {
  let z: float[n] = contract(x, w, spec={[i, j] [j] -> [i] of [n] for i in n, j in a})
  let h: float[n] = tanh(z)
  let e: float[] = sum(h, axes=(0,), keepdims=false)
  let g: float[a] = grad(e, w)
  return g, e
}

fn middle(w: float[a], x: float[n, a]) {
  let g: float[a], let e: float[] = call(w, x, callee="inner", dims={n: n, a: a})
  s: float[a] = mul(g, e)
  let w2: float[a] = sub(w, s)
  let g2: float[a], let e2: float[] = call(w2, x, callee="inner", dims={n: n, a: a})
  let d: float[a] = mul(g2, w2)
  return d
}

fn outer(w: float[a], x: float[n, a]) {
  let d: float[a] = call(w, x, callee="middle", dims={n: n, a: a})
  s: float[a] = sin(d)
  let y: float[] = sum(s, axes=(0,), keepdims=false)
  return y
}

fn f(w: float[a], x: float[n, a]) {
  let e: float[] = call(w, x, callee="outer", dims={n: n, a: a})
  d_w: float[a], d_x: float[n, a] = grad(e, w, x)
  return e, d_w, d_x
}
"""


def test_calls_three_deep_with_a_gradient_in_the_callee() -> None:
    check(NESTED, {"n": 3, "a": 2})


# ---- higher orders


def test_a_gradient_penalty_through_calls() -> None:
    check(
        LINEAR + """
fn critic(self: Critic{w = l1.w: float[a, h], b = l1.bias: float[h], u = l2.w: float[h, 1], c = l2.bias: float[1]}, x: float[n, a]) of Critic {
  let z: float[n, h] = call(w, b, x, callee="Linear.forward", dims={n: n, a: a, b: h})
  let h: float[n, h] = tanh(z)
  let y: float[n, 1] = call(u, c, h, callee="Linear.forward", dims={n: n, a: h, b: 1})
  return y
}

fn f(net: Critic{w = l1.w: float[a, h], b = l1.bias: float[h], u = l2.w: float[h, 1], c = l2.bias: float[1]}, real: float[n, a], fake: float[n, a]) {
  mixed: float[n, a] = add(real, fake)
  let s_mixed: float[n, 1] = call(w, b, u, c, mixed, callee="critic", dims={n: n, a: a, h: h})
  total: float[] = sum(s_mixed, axes=(0, 1), keepdims=false)
  let g: float[n, a] = grad(total, mixed)
  g2: float[n, a] = mul(g, g)
  let square: float[n] = sum(g2, axes=(1,), keepdims=false)
  let norm: float[n] = sqrt(square)
  one: host float = const(value=1.0)
  off: float[n] = sub(norm, one)
  off2: float[n] = mul(off, off)
  let penalty: float[] = mean(off2, axes=(0,), keepdims=false)
  let s_real: float[n, 1] = call(w, b, u, c, real, callee="critic", dims={n: n, a: a, h: h})
  let s_fake: float[n, 1] = call(w, b, u, c, fake, callee="critic", dims={n: n, a: a, h: h})
  difference: float[n, 1] = sub(s_fake, s_real)
  let wasserstein: float[] = mean(difference, axes=(0, 1), keepdims=false)
  let e: float[] = add(wasserstein, penalty)
  d_w: float[a, h], d_b: float[h], d_u: float[h, 1], d_c: float[1], d_real: float[n, a] = grad(e, w, b, u, c, real)
  return e, d_net: Critic{l1.w = d_w, l1.bias = d_b, l2.w = d_u, l2.bias = d_c}, d_real
}
""",
        {"n": 4, "a": 3, "h": 3},
    )


HESSIAN = """
fn loss(w: float[a, h], u: float[h], x: float[n, a]) {
  z: float[n, h] = contract(x, w, spec={[i, j] [j, k] -> [i, k] of [n, h] for i in n, j in a, k in h})
  let h: float[n, h] = tanh(z)
  let y: float[n] = contract(h, u, spec={[i, k] [k] -> [i] of [n] for i in n, k in h})
  s: float[n] = mul(y, y)
  let e: float[] = mean(s, axes=(0,), keepdims=false)
  return e
}

fn f(w: float[a, h], u: float[h], x: float[n, a], v: float[a, h]) {
  let l: float[] = call(w, u, x, callee="loss", dims={n: n, a: a, h: h})
  let g: float[a, h] = grad(l, w)
  let e: float[] = contract(g, v, spec={[i, j] [i, j] -> [] of [] for i in a, j in h})
  d_w: float[a, h], d_u: float[h], d_v: float[a, h] = grad(e, w, u, v)
  return e, g, d_w, d_u, d_v
}
"""


def test_hessian_vector_products() -> None:
    """d_w is the Hessian times v: symmetric over all pairs of directions, and the slope of the gradient along v."""
    made = check(HESSIAN, {"n": 4, "a": 2, "h": 3})
    arguments = drawn(made.functions["f"], {"n": 4, "a": 2, "h": 3})
    w, v = arguments["w"], arguments["v"]
    ahead, behind = (run(made, "f", {**arguments, "w": w + s * v})["g"] for s in (1e-5, -1e-5))
    np.testing.assert_allclose(run(made, "f", arguments)["d_w"], (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-8)
    basis = np.eye(6).reshape(6, 2, 3)
    hessian = np.array([run(made, "f", {**arguments, "v": b})["d_w"].ravel() for b in basis])
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-14)
    assert abs(hessian).max() > 0.01


THIRD = """
fn wave(x: float[n], k: host float) {
  p: float[n] = mul(x, k)
  s: float[n] = sin(p)
  t: float[n] = exp(x)
  let y: float[n] = mul(s, t)
  return y
}

fn f(x: float[n], k: host float) {
  y: float[n] = call(x, k, callee="wave", dims={n: n})
  s0: float[] = sum(y, axes=(0,), keepdims=false)
  let y1: float[n] = grad(s0, x)
  s1: float[] = sum(y1, axes=(0,), keepdims=false)
  let y2: float[n] = grad(s1, x)
  let e: float[] = sum(y2, axes=(0,), keepdims=false)
  let d_x: float[n] = grad(e, x)
  return e, y1, y2, d_x
}
"""


def test_the_third_derivative_through_a_call() -> None:
    """sin(kx) exp(x) is the imaginary part of exp((1 + ik) x): derivatives multiply by 1 + ik."""
    made = check(THIRD, {"n": 4})
    arguments = drawn(made.functions["f"], {"n": 4})
    factor = 1 + 1j * arguments["k"]
    found = run(made, "f", arguments)
    for order, name in enumerate(("y1", "y2", "d_x"), 1):
        expected = (factor**order * np.exp(factor * arguments["x"])).imag
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)


CONV = """
fn conv(x: float[n, c, 2 * h + 2, 2 * w + 2], k: float[o, c, 3, 3]) {
  let y: float[n, o, h, w] = contract(x, k, spec={[i, j, 2 * p + u, 2 * q + v] [r, j, u, v] -> [i, r, p, q] of [n, o, h, w]
      for i in n, j in c, p in h, q in w, u in 3, v in 3, r in o})
  return y
}

fn f(x: float[n, c, 2 * h + 2, 2 * w + 2], k: float[o, c, 3, 3], h: static, w: static) {
  let y: float[n, o, h, w] = call(x, k, callee="conv", dims={n: n, c: c, h: h, w: w, o: o})
  let t: float[n, o, h, w] = tanh(y)
  let s: float[] = sum(t, axes=(0, 1, 2, 3), keepdims=false)
  LOSS
  d_x: float[n, c, 2 * h + 2, 2 * w + 2], d_k: float[o, c, 3, 3] = grad(e, x, k)
  return e, d_x, d_k
}
"""


def by_definition(library: str):
    """A column of `contract` that says what it means: the products at all points of the index space, added up."""

    def column(types, params):
        spec, first = params["spec"], torch.as_tensor if library == "torch" else np.asarray

        def contracted(ranges, dims, *operands):
            at = dict(zip(spec.range, map(first, np.indices(ranges)), strict=True))
            places = lambda subscripts: tuple(d.evaluate(at) for d in subscripts)  # noqa: E731
            points = reduce(mul, (x[places(s)] for x, s in zip(operands, spec.operands, strict=True)))
            if library == "torch":
                return torch.zeros(dims, dtype=points.dtype).index_put(places(spec.result), points, accumulate=True)
            found = np.zeros(dims)
            np.add.at(found, places(spec.result), points)
            return found

        more = {"ranges": tuple(spec.range.values()), "sizes": spec.dims, "contracted": contracted}
        return "contracted(ranges, sizes, x, *more)", more

    return column


@pytest.mark.parametrize(
    "loss",
    [
        "let e: float[] = mul(s, s)",
        """let g: float[n, c, 2 * h + 2, 2 * w + 2], let m: float[o, c, 3, 3] = grad(s, x, k)
  g2: float[n, c, 2 * h + 2, 2 * w + 2] = mul(g, g)
  m2: float[o, c, 3, 3] = sin(m)
  a: float[] = sum(g2, axes=(0, 1, 2, 3), keepdims=false)
  b: float[] = sum(m2, axes=(0, 1, 2, 3), keepdims=false)
  let e: float[] = add(a, b)""",
    ],
    ids=["first", "second"],
)
def test_contractions_with_windows(loss: str, monkeypatch) -> None:
    columns = {"numpy": by_definition("numpy"), "torch": by_definition("torch")}
    monkeypatch.setitem(TABLE, "contract", replace(TABLE["contract"], **columns))
    check(CONV.replace("LOSS", loss), {"n": 2, "c": 2, "h": 2, "w": 3, "o": 2}, tolerance=1e-6)


# ---- altered gradients and branches


def test_graft_is_exact_in_every_order() -> None:
    made = differentiated("""
fn f(x: float[n], k: host float) {
  zero: host float = const(value=0.0)
  zeros: float[n] = fill(zero, dims=[n], dtype="float")
  let stopped: float[n] = graft(x, zeros)
  let a: float[n] = mul(stopped, x)
  q: float[n] = round(x)
  let straight: float[n] = graft(q, x)
  let b: float[n] = mul(straight, straight)
  m: float[n] = mul(x, k)
  r: float[n] = neg(m)
  let reversed: float[n] = graft(x, r)
  let c: float[n] = sin(reversed)
  ab: float[n] = add(a, b)
  abc: float[n] = add(ab, c)
  let e: float[] = sum(abc, axes=(0,), keepdims=false)
  d_x: float[n] = grad(e, x)
  s: float[] = sum(d_x, axes=(0,), keepdims=false)
  dd_x: float[n] = grad(s, x)
  return e, d_x, dd_x
}
""")
    x, k = np.array([0.3, -1.7, 2.6]), 0.7
    found = run(made, "f", {"x": x, "k": k})
    np.testing.assert_allclose(found["d_x"], x + 2 * np.round(x) - k * np.cos(x), rtol=1e-15)
    np.testing.assert_allclose(found["dd_x"], 0 + 2 - k * k * np.sin(x), rtol=1e-15)


BRANCHES = """
fn soft(x: float[n]) {
  let t: float[n] = exp(x)
  let y: float[n] = log1p(t)
  return y
}

fn f(x: float[n], s: float[], big: float[n]) {
  zero: host float = const(value=0.0)
  limit: host float = const(value=20.0)
  positive: bool[n] = gt(x, zero)
  let l: float[n] = log(x)
  let r: float[n] = sqrt(x)
  lr: float[n] = mul(l, r)
  scaled: float[n] = mul(lr, s)
  let a: float[n] = select(positive, scaled, zero)
  large: bool[n] = gt(big, limit)
  let y: float[n] = call(big, callee="soft", dims={n: n})
  let b: float[n] = select(large, big, y)
  c: float[n] = mul(a, b)
  let e: float[] = sum(c, axes=(0,), keepdims=false)
  d_x: float[n], d_s: float[], d_big: float[n] = grad(e, x, s, big)
  square: float[n] = mul(d_x, d_x)
  total: float[] = sum(square, axes=(0,), keepdims=false)
  dd_x: float[n], dd_s: float[], dd_big: float[n] = grad(total, x, s, big)
  return e, d_x, d_s, d_big, total, dd_x, dd_s, dd_big
}
"""


def test_the_branch_not_taken_gives_nothing_though_its_derivative_is_no_number() -> None:
    """Entries at x = 0 and x < 0, and at big = 1000, are as if they were not there; the others as without branches."""
    made = differentiated(BRANCHES)
    x, big, s = np.array([0.5, 0.0, -1.0, 2.0]), np.array([1000.0, 1.0, 1000.0, -2.0]), np.array(0.7)
    found = run(made, "f", {"x": x, "s": s, "big": big})
    at = [0, 3]
    tx, ts, tb = (torch.tensor(v, requires_grad=True) for v in (x[at], s, big[at]))
    e = (tx.log() * tx.sqrt() * ts * torch.nn.functional.softplus(tb)).sum()
    first = torch.autograd.grad(e, (tx, ts, tb), create_graph=True)
    second = torch.autograd.grad((first[0] ** 2).sum(), (tx, ts, tb))
    for names, expected in (("d_x d_s d_big", first), ("dd_x dd_s dd_big", second)):
        for name, theirs in zip(names.split(), expected, strict=True):
            mine = found[name]
            if mine.shape:
                assert not mine[[1, 2]].any(), name
                mine = mine[at]
            np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-12, atol=1e-15, err_msg=name)


def test_what_is_not_reached_is_zero_of_its_shape() -> None:
    made = differentiated(given_text("unreached"))
    found = run(made, "f", {"x": np.ones(3), "w": np.ones((2, 3)), "k": 2.0, "i": np.ones(3, int)})
    assert found["d_x"].shape == (3,) and found["d_w"].shape == (2, 3)
    assert not found["d_x"].any() and not found["d_w"].any()


def given_text(stem: str) -> str:
    (path,) = (p for p in CASES if p.stem == stem)
    return path.read_text(encoding="utf-8").partition("\n---\n")[0]


# ---- ops with several results, and structured ones


def test_an_op_with_several_results_gets_zeros_for_those_without_a_cotangent(monkeypatch) -> None:
    def gradient(b, g, out, x):
        return (b.sub(b.mul(g[0], out[1]), b.mul(g[1], out[0])),)

    row = Op(
        "sin_cos", ("x",), "", lambda x: (x, x), gradient, "(np.sin(x), np.cos(x))", "(torch.sin(x), torch.cos(x))"
    )
    monkeypatch.setitem(TABLE, "sin_cos", row)
    check(
        """
fn wave(x: float[n]) {
  let s: float[n], let c: float[n] = sin_cos(x)
  p: float[n] = mul(s, c)
  return s, p
}

fn f(x: float[n]) {
  let s: float[n], let c: float[n] = sin_cos(x)
  let s2: float[n], let p2: float[n] = call(s, callee="wave", dims={n: n})
  let s3: float[n], let p3: float[n] = call(s2, callee="wave", dims={n: n})
  let e: float[] = sum(p3, axes=(0,), keepdims=false)
  d_x: float[n] = grad(e, x)
  return e, d_x
}
""",
        {"n": 3},
    )


def test_a_structured_row_brings_its_own_differentiation(monkeypatch) -> None:
    """x ** (2 ** times), by squaring as often as the row says; its primal comes to give the last square but one."""

    def type_of(x, times, previous):
        return (x, x) if previous else x

    def through(sweep, equation, cotangents):
        (x,), params = equation.args, equation.params
        last = Value(sweep.scope.names.unique("last"), x.type)
        sweep.replace(replace(equation, params={**params, "previous": True}, results=(*equation.results, last)))
        g = cotangents[0]
        for back in range(params["times"]):
            y = sweep.builder.squares(x, times=params["times"] - 1 - back, previous=False) if back else last
            g = sweep.builder.mul(g, sweep.builder.mul(2.0, y))
        return (g,)

    facts = {"differentiate": through, "ways": lambda equation: ((0,),) * len(equation.results)}
    column = lambda types, params: (  # noqa: E731
        f"(x ** {2 ** params['times']}, x ** {2 ** (params['times'] - 1)})"
        if params["previous"]
        else f"x ** {2 ** params['times']}"
    )
    params = {"times": REQUIRED, "previous": False}
    row = Op("squares", ("x",), "", type_of, None, column, column, params=params, facts=facts)
    monkeypatch.setitem(TABLE, "squares", row)
    made = check(
        """
fn power(x: float[n]) {
  let y: float[n] = squares(x, times=3, previous=false)
  return y
}

fn f(x: float[n]) {
  y: float[n] = call(x, callee="power", dims={n: n})
  let e: float[] = sum(y, axes=(0,), keepdims=false)
  d_x: float[n] = grad(e, x)
  return e, d_x
}
""",
        {"n": 3},
        tolerance=1e-6,
    )
    assert [e.op for e in made.functions["power"].body] == ["squares"]
    assert [r.name for r in made.functions["power_saved"].results] == ["y", "last"]


# ---- random programs


def dims(*names: str) -> tuple[Dim, ...]:
    return tuple(map(Dim.of, names))


VECTOR, MATRIX, SCALAR = dims("n"), dims("n", "m"), ()
PRODUCT = parse_contraction("[i, j] [k, j] -> [i, k] of [n, n] for i in n, j in m, k in n")
BACK = parse_contraction("[i, k] [k, j] -> [i, j] of [n, m] for i in n, k in n, j in m")


class RandomFunction:
    """A function of x: [n], y: [n, m], s: [] made of random equations, some of them calls, some gradients."""

    def __init__(self, rng: random.Random, name: str, callees: list[Function], kinks: bool) -> None:
        self.rng, self.name, self.callees = rng, name, callees
        self.inputs = [
            Value(n, TensorType("float", d), named=True) for n, d in zip("xys", (VECTOR, MATRIX, SCALAR), strict=True)
        ]
        self.b = Builder("xys")
        self.pool = list(self.inputs)
        self.steps = [self.unary, self.binary, self.reduction, self.product, self.movement, self.request]
        self.steps += [self.call] * (2 if callees else 0) + [self.kink] * kinks

    def pick(self, shape: tuple[Dim, ...] | None = None) -> Value:
        return self.rng.choice([v for v in self.pool if shape is None or v.type.dims == shape])

    def unary(self) -> Value:
        x, b = self.pick(), self.b
        return self.rng.choice([b.tanh, b.sin, lambda x: b.exp(b.neg(b.mul(x, x))), lambda x: b.mul(x, 0.5)])(x)

    def binary(self) -> Value:
        x, b = self.pick(), self.b
        y = self.rng.choice([self.pick(x.type.dims), self.pick(SCALAR)])
        below = lambda x, y: b.div(x, b.add(b.mul(y, y), 1.5))  # noqa: E731
        return self.rng.choice([b.add, b.sub, b.mul, below])(*self.rng.sample([x, y], 2))

    def reduction(self) -> Value:
        y = self.pick(MATRIX)
        op = self.rng.choice([self.b.mean, self.b.logsumexp, self.b.sum])
        return op(y, axes=self.rng.choice([(1,), (0, 1)]), keepdims=False)

    def product(self) -> Value:
        return self.b.contract(
            self.b.contract(self.pick(MATRIX), self.pick(MATRIX), spec=PRODUCT), self.pick(MATRIX), spec=BACK
        )

    def movement(self) -> Value:
        b, x, y = self.b, self.pick(VECTOR), self.pick(MATRIX)
        column = b.broadcast(b.reshape(x, dims=(*VECTOR, Dim.of(1))), dims=MATRIX)
        both = b.concat(b.transpose(y, perm=(1, 0)), b.transpose(column, perm=(1, 0)), axis=0)
        first = b.slice(both, slices=Slices.whole(both.type.dims).at(0, Dim.of(1), Dim.of("m") + 1))
        return b.transpose(first, perm=(1, 0))

    def kink(self) -> Value:
        x, b = self.pick(), self.b
        y = self.pick(x.type.dims)
        return self.rng.choice([b.maximum(x, y), b.select(b.gt(x, 0.1), b.log(x), y), b.abs(x)])

    def call(self) -> Value:
        f = self.rng.choice(self.callees)
        args = [self.pick(v.type.dims) for v in f.inputs]
        results = tuple(v.type for v in f.outputs)
        found = self.b.call(*args, callee=f.name, dims=(("n", Dim.of("n")), ("m", Dim.of("m"))), results=results)
        self.pool += found[1:]
        return found[0]

    def request(self) -> Value:
        """A gradient by one of the inputs, of all that there is."""
        (found,) = self.b.grad(self.total(), self.rng.choice(self.inputs))
        return found

    def total(self) -> Value:
        b = self.b
        whole = [b.sum(b.tanh(v), axes=tuple(range(v.type.rank)), keepdims=False) for v in self.pool[-4:]]
        return reduce(b.add, whole)

    def function(self, steps: int) -> Function:
        for _ in range(steps):
            self.pool.append(self.rng.choice(self.steps)())
        parameters = tuple(Parameter(v.name, (v,)) for v in self.inputs)
        if self.name != "f":
            given = [self.pool[-1], self.pick(MATRIX), self.pool[-2]]
            return Function(self.name, parameters, tuple(self.b.equations), self.named(given))
        e = self.total()
        found = self.b.grad(e, *self.inputs)
        results = (Result("e", (e,)), *(Result(f"d_{v.name}", (g,)) for v, g in zip(self.inputs, found, strict=True)))
        return Function("f", parameters, tuple(self.b.equations), results)

    def named(self, values: list[Value]) -> tuple[Result, ...]:
        return tuple(Result(f"r{i}", (v,)) for i, v in enumerate(values))


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    """Calls within calls and gradients of gradients; with kinks in every other, where differences would not do."""
    rng, functions = random.Random(seed), []
    for name in ("g", "h", "f"):
        functions.append(RandomFunction(rng, name, list(functions), kinks=seed % 2 == 1).function(7))
    program = Program({f.name: f for f in functions})
    verify_program(program)
    made = differentiate(program)
    verify_program(made, after="differentiate")
    arguments = drawn(made.functions["f"], {"n": 3, "m": 2}, seed)
    assert_autograd(made, arguments)
    if seed % 2 == 0:
        assert_slopes(made, arguments, tolerance=1e-4, step=1e-5)


SCALED = """
loss net(w: [6], x: [n, 2], y: [n]):
    return mean((tanh(x @ reshape(w[:4], [2, 2])) @ w[4:] - y) ** 2)


def curvature(w: [6], along: [6], x: [n, 2], y: [n]) -> [6]:
    slope = grad(net(w, x, y), w)
    return 3 * grad(sum(slope * along), w)


example third:
    w: [6] ~ normal(0, 1)
    along: [6] ~ normal(0, 1)
    x: [5, 2] ~ normal(0, 1)
    y: [5] ~ normal(0, 1)
    return sum(curvature(w, along, x, y) ** 2)
"""


def test_cotangents_and_values_saved_later_have_names_apart() -> None:
    """The third derivative saves a `d_mul` of the second, whose own result has one coming in."""

    def reference(d):
        def cost(w):
            return ((torch.tanh(d.x @ w[:4].reshape(2, 2)) @ w[4:] - d.y) ** 2).mean()

        return ((3 * torch.autograd.functional.vhp(cost, d.w, d.along, create_graph=True)[1]) ** 2).sum()

    Spec(SCALED).hold("third", reference)
