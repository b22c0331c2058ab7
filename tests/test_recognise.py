"""Composites get their names back: which spellings are one and which nearly are, and that nothing changes but the names.

A convolution is found by its subscripts alone, in any layout; what is no convolution stays a contraction. Every
spelling runs with recognition and without, in both columns, with its first and second derivatives, against torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from contractions import SIZES, arguments_of, by_definition, program_of

from leec.ir.graph import Program
from leec.ir.text import parse_program, print_program
from leec.ir.verify import verify_program
from leec.ops.contract import parse_contraction
from leec.passes.differentiate import differentiate
from leec.passes.recognise import expand, recognise
from leec.passes.simplify import simplify
from leec.proof.interpret import run

FILES = Path(__file__).parent / "passes" / "recognise"

# ---- convolutions: a contraction and the dims of its operands

FORWARD = {
    "NCHW": ("[n_, c_, i + u, j + v] [o_, c_, u, v] -> [n_, o_, i, j] of [n, o, h - k + 1, w - k + 1] for n_ in n, o_ in o, "
             "i in h - k + 1, j in w - k + 1, c_ in c, u in k, v in k", "n,c,h,w o,c,k,k"),
    "NHWC": ("[b, i + u, j + v, p] [u, v, p, r] -> [b, i, j, r] of [n, h - k + 1, w - k + 1, o] for b in n, i in h - k + 1, "
             "j in w - k + 1, r in o, u in k, v in k, p in c", "n,h,w,c k,k,c,o"),
    "one dimension, other names": ("[zeta, b2, t + tau] [q9, b2, tau] -> [zeta, q9, t] of [n, o, h - k + 1] for zeta in n, q9 in o, "
                                   "t in h - k + 1, b2 in c, tau in k", "n,c,h o,c,k"),
    "three dimensions": ("[b, p, i + u, j + v, l + t] [r, p, u, v, t] -> [b, r, i, j, l] of [2, o, 4, 3, 3] for b in 2, r in o, "
                         "i in 4, j in 3, l in 3, p in c, u in 2, v in 2, t in 2", "2,c,5,4,4 o,c,2,2,2"),
    "symbolic stride": ("[b, p, s * i + u] [r, p, u] -> [b, r, i] of [n, o, (h - k) // s + 1] for b in n, r in o, "
                        "i in (h - k) // s + 1, p in c, u in k", "n,c,h o,c,k"),
    "stride and dilation": ("[b, p, 2 * i + 3 * u] [r, p, u] -> [b, r, i] of [n, o, (h - 4) // 2 + 1] for b in n, r in o, "
                            "i in (h - 4) // 2 + 1, p in c, u in 2", "n,c,h o,c,2"),
    "depthwise": ("[b, p, i + u, j + v] [p, u, v] -> [b, p, i, j] of [n, c, h - k + 1, w - k + 1] for b in n, p in c, "
                  "i in h - k + 1, j in w - k + 1, u in k, v in k", "n,c,h,w c,k,k"),
    "groups on an axis": ("[b, g, p, i + u] [g, r, p, u] -> [b, g, r, i] of [n, q, o, h - k + 1] for b in n, g in q, r in o, "
                          "i in h - k + 1, p in c, u in k", "n,q,c,h q,o,c,k"),
    "groups counted through": ("[b, c * g + p, i + u] [o * g + r, p, u] -> [b, o * g + r, i] of [n, o * q, h - k + 1] for b in n, "
                               "g in q, r in o, i in h - k + 1, p in c, u in k", "n,c*q,h o*q,c,k"),
    "kernel first": ("[r, p, u] [b, p, i + u] -> [b, r, i] of [n, o, h - k + 1] for b in n, r in o, i in h - k + 1, p in c, u in k",
                     "o,c,k n,c,h"),
    "no batch": ("[p, i + u] [r, p, u] -> [r, i] of [o, h - k + 1] for r in o, i in h - k + 1, p in c, u in k", "c,h o,c,k"),
    "two batch axes": ("[b, t, p, i + u] [r, p, u] -> [b, i, t, r] of [n, h - k + 1, 2, o] for b in n, i in h - k + 1, t in 2, "
                       "r in o, p in c, u in k", "n,2,c,h o,c,k"),
    "nothing but a window": ("[i + u] [u] -> [i] of [h - k + 1] for i in h - k + 1, u in k", "h k"),
    "patches": ("[b, p, k * i + u, k * j + v] [r, p, u, v] -> [b, i, j, r] of [n, 2, 3, o] for b in n, i in 2, j in 3, r in o, "
                "p in c, u in k, v in k", "n,c,2*k,3*k o,c,k,k"),
    "only inside": ("[b, p, i + u + 2] [r, p, u] -> [b, r, i] of [n, o, h - k - 2] for b in n, r in o, i in h - k - 2, p in c, u in k",
                    "n,c,h o,c,k"),
    "two indices of channels": ("[b, p, t, i + u] [r, t, p, u] -> [b, r, i] of [n, o, h - k + 1] for b in n, r in o, i in h - k + 1, "
                                "p in c, t in 2, u in k", "n,c,2,h o,2,c,k"),
}  # fmt: skip

BY_KERNEL = {
    "NCHW": ("[b, p, i + u, j + v] [b, r, i, j] -> [r, p, u, v] of [o, c, k, k] for r in o, p in c, u in k, v in k, b in n, "
             "i in h - k + 1, j in w - k + 1", "n,c,h,w n,o,h-k+1,w-k+1"),
    "NHWC": ("[b, i + u, j + v, p] [b, i, j, r] -> [u, v, p, r] of [k, k, c, o] for u in k, v in k, p in c, r in o, b in n, "
             "i in h - k + 1, j in w - k + 1", "n,h,w,c n,h-k+1,w-k+1,o"),
    "one dimension, other names": ("[b, a, alpha + x] [b, m, alpha] -> [m, a, x] of [o, c, k] for m in o, a in c, x in k, b in n, "
                                   "alpha in h - k + 1", "n,c,h n,o,h-k+1"),
    "symbolic stride": ("[b, p, s * i + u] [b, r, i] -> [r, p, u] of [o, c, k] for r in o, p in c, u in k, b in n, "
                        "i in (h - k) // s + 1", "n,c,h n,o,(h-k)//s+1"),
    "dilation": ("[b, p, i + 3 * u] [b, r, i] -> [r, p, u] of [o, c, 2] for r in o, p in c, u in 2, b in n, i in h - 3", "n,c,h n,o,h-3"),
    "depthwise": ("[b, p, i + u] [b, p, i] -> [p, u] of [c, k] for p in c, u in k, b in n, i in h - k + 1", "n,c,h n,c,h-k+1"),
    "groups counted through": ("[b, c * g + p, i + u] [b, o * g + r, i] -> [o * g + r, p, u] of [o * q, c, k] for g in q, r in o, "
                               "p in c, u in k, b in n, i in h - k + 1", "n,c*q,h n,o*q,h-k+1"),
    "gradient first": ("[b, r, i] [b, p, i + u] -> [r, p, u] of [o, c, k] for r in o, p in c, u in k, b in n, i in h - k + 1",
                       "n,o,h-k+1 n,c,h"),
    "no batch": ("[p, i + u] [r, i] -> [r, p, u] of [o, c, k] for r in o, p in c, u in k, i in h - k + 1", "c,h o,h-k+1"),
    "kernel turned around": ("[b, p, i + u] [b, r, i] -> [u, r, p] of [k, o, c] for u in k, r in o, p in c, b in n, i in h - k + 1",
                             "n,c,h n,o,h-k+1"),
}  # fmt: skip

TRANSPOSED = {
    "NCHW": ("[b, r, i, j] [r, p, u, v] -> [b, p, 2 * i + u, 2 * j + v] of [n, c, 2 * h + k - 2, 2 * w + k - 2] for b in n, p in c, "
             "i in h, u in k, j in w, v in k, r in o", "n,o,h,w o,c,k,k"),
    "NHWC": ("[b, i, j, r] [u, v, p, r] -> [b, i + u, j + v, p] of [n, h + k - 1, w + k - 1, c] for b in n, i in h, u in k, j in w, "
             "v in k, p in c, r in o", "n,h,w,o k,k,c,o"),
    "one dimension, other names": ("[y, e, a] [e, f, z] -> [y, f, a + z] of [n, c, h + k - 1] for y in n, f in c, a in h, z in k, e in o",
                                   "n,o,h o,c,k"),
    "symbolic stride": ("[b, r, i] [r, p, u] -> [b, p, s * i + u] of [n, c, s * (h - 1) + k] for b in n, p in c, i in h, u in k, r in o",
                        "n,o,h o,c,k"),
    "gradient by the input": ("[b, r, i] [r, p, u] -> [b, p, s * i + u] of [n, c, h] for b in n, p in c, i in (h - k) // s + 1, "
                              "u in k, r in o", "n,o,(h-k)//s+1 o,c,k"),
    "dilation": ("[b, r, i] [r, p, u] -> [b, p, i + 2 * u] of [n, c, h + 2 * k - 2] for b in n, p in c, i in h, u in k, r in o", "n,o,h o,c,k"),
    "depthwise": ("[b, p, i] [p, u] -> [b, p, 2 * i + u] of [n, c, 2 * h + k - 2] for b in n, p in c, i in h, u in k", "n,c,h c,k"),
    "groups counted through": ("[b, o * g + r, i] [o * g + r, p, u] -> [b, c * g + p, i + u] of [n, c * q, h + k - 1] for b in n, "
                               "g in q, p in c, i in h, u in k, r in o", "n,o*q,h o*q,c,k"),
    "kernel first": ("[r, p, u] [b, r, i] -> [b, p, i + u] of [n, c, h + k - 1] for b in n, p in c, i in h, u in k, r in o", "o,c,k n,o,h"),
    "within zeros": ("[b, r, i] [r, p, u] -> [b, p, i + u + 1] of [n, c, h + k + 3] for b in n, p in c, i in h, u in k, r in o", "n,o,h o,c,k"),
}  # fmt: skip

NEARLY = {
    "the kernel runs backwards": ("[b, p, i - u + k - 1] [r, p, u] -> [b, r, i] of [n, o, h] for b in n, r in o, i in h, p in c, u in k",
                                  "n,c,h+k-1 o,c,k"),
    "one offset for two axes": ("[b, p, i + u, j + u] [r, p, u] -> [b, r, i, j] of [n, o, h - k + 1, w - k + 1] for b in n, r in o, "
                                "i in h - k + 1, j in w - k + 1, p in c, u in k", "n,c,h,w o,c,k"),
    "a stride on the kernel": ("[b, p, i + u] [r, p, 2 * u] -> [b, r, i] of [n, o, h - k + 1] for b in n, r in o, i in h - k + 1, "
                               "p in c, u in k", "n,c,h o,c,2*k-1"),
    "a diagonal of places": ("[b, p, i + u, i + v] [r, p, u, v] -> [b, r, i] of [n, o, 6] for b in n, r in o, i in 6, p in c, u in k, v in k",
                             "n,c,h,w o,c,k,k"),
    "a kernel for every place": ("[b, p, i + u] [r, p, i, u] -> [b, r, i] of [n, o, h - k + 1] for b in n, r in o, i in h - k + 1, "
                                 "p in c, u in k", "n,c,h o,c,h-k+1,k"),
    "a kernel for every example": ("[b, p, i + u] [b, r, p, u] -> [b, r, i] of [n, o, h - k + 1] for b in n, r in o, i in h - k + 1, "
                                   "p in c, u in k, z in 2", "n,c,h n,o,c,k"),
    "windows not summed": ("[b, p, i + u] [r, p, u] -> [b, r, i, u] of [n, o, h - k + 1, k] for b in n, r in o, i in h - k + 1, u in k, p in c",
                           "n,c,h o,c,k"),
    "a mask on it": ("[b, p, i + u] [r, p, u] [b, i] -> [b, r, i] of [n, o, h - k + 1] for b in n, r in o, i in h - k + 1, p in c, u in k",
                     "n,c,h o,c,k n,h-k+1"),
    "three steps": ("[b, p, i + u + v] [r, p, u, v] -> [b, r, i] of [n, o, 5] for b in n, r in o, i in 5, p in c, u in k, v in k", "n,c,h o,c,k,k"),
    "every other place of the result": ("[b, p, i + u] [r, p, u] -> [b, r, 2 * i] of [n, o, 2 * h] for b in n, r in o, i in h - k + 1, "
                                        "p in c, u in k", "n,c,h o,c,k"),
    "part of the channels": ("[b, p, i + u] [r, p, u] -> [b, r, i] of [n, o, h - k + 1] for b in n, r in o, i in h - k + 1, p in c, u in k",
                             "n,c+1,h o,c,k"),
    "channels not summed": ("[b, p, i + u] [r, u] -> [b, r, i] of [n, o, h - k + 1] for b in n, r in o, i in h - k + 1, p in c, u in k",
                            "n,c,h o,k"),
}  # fmt: skip

MATCHING = {("conv", k): v for k, v in FORWARD.items()} | {("conv_kernel", k): v for k, v in BY_KERNEL.items()}
MATCHING |= {("conv_transpose", k): v for k, v in TRANSPOSED.items()}


def ops_of(program: Program) -> list[str]:
    return [e.op for f in program.functions.values() for e in f.body]


def arguments(program: Program, dtype: str = "float") -> dict[str, object]:
    return {f"x{i}": x for i, x in enumerate(arguments_of(program, dtype))} | SIZES


def results(program: Program, given: Mapping[str, object], column: str) -> dict[str, np.ndarray]:
    return {k: np.asarray(v) for k, v in run(program, "f", given, column).items()}


@pytest.mark.parametrize(("op", "name"), MATCHING)
def test_spellings_of_convolution(op: str, name: str) -> None:
    text, dims = MATCHING[op, name]
    spec = parse_contraction(text)
    program = program_of(spec, dims)
    found = recognise(program)
    verify_program(found, "recognise")
    assert op in ops_of(found) and "contract" not in ops_of(found)
    wanted = by_definition(spec, arguments_of(program))
    for column in ("numpy", "torch"):
        verify_program(expand(found, column), "expand")
        np.testing.assert_allclose(results(found, arguments(program), column)["y"], wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NEARLY)
def test_what_is_nearly_a_convolution_stays(name: str) -> None:
    text, dims = NEARLY[name]
    program = program_of(parse_contraction(text), dims)
    assert print_program(recognise(program)) == print_program(program)


def test_integers_have_no_library() -> None:
    text, dims = FORWARD["NCHW"]
    program = program_of(parse_contraction(text), dims, "int")
    assert ops_of(recognise(program)) == ["contract"]


# ---- derivatives

DERIVED = """
fn f(x0: float[{x0}], x1: float[{x1}], weight: float[{y}]{statics}) {{
  y: float[{y}] = contract(x0, x1, spec={{{spec}}})
  square: float[{y}] = mul(y, y)
  weighted: float[{y}] = mul(square, weight)
  e: float[] = sum(weighted, axes={axes})
  d_x0: float[{x0}], d_x1: float[{x1}] = grad(e, x0, x1)
  square0: float[{x0}] = mul(d_x0, d_x0)
  square1: float[{x1}] = mul(d_x1, d_x1)
  sum0: float[] = sum(square0, axes={axes0})
  sum1: float[] = sum(square1, axes={axes1})
  both: float[] = add(sum0, sum1)
  dd_x0: float[{x0}], dd_x1: float[{x1}] = grad(both, x0, x1)
  return y, d_x0, d_x1, dd_x0, dd_x1
}}"""


def derived(text: str, dims: str) -> Program:
    """A contraction with its first derivatives and, of these squared, the second."""
    spec, (x0, x1) = parse_contraction(text), dims.split()
    texts = {"x0": x0, "x1": x1, "y": ", ".join(map(str, spec.dims)), "spec": str(spec).rstrip()}
    ranks = {"axes": len(spec.dims), "axes0": x0.count(",") + 1, "axes1": x1.count(",") + 1}
    statics = "".join(f", {s}: static" for s in SIZES)
    axes = {k: repr(tuple(range(n))) for k, n in ranks.items()}
    program = parse_program(DERIVED.format(**texts, **axes, statics=statics))
    verify_program(program)
    return program


def optimised(program: Program, recognises: bool) -> Program:
    program = simplify(program)
    program = differentiate(recognise(program) if recognises else program)
    program = simplify(program)
    return recognise(program) if recognises else program


@pytest.mark.parametrize(("op", "name"), MATCHING)
def test_derivatives_are_those_of_the_sum(op: str, name: str) -> None:
    program = derived(*MATCHING[op, name])
    rng = np.random.default_rng(1)
    inputs = program.functions["f"].inputs
    given = {v.name: rng.standard_normal(tuple(d.evaluate(SIZES) for d in v.type.dims)) for v in inputs} | SIZES
    composite = optimised(program, True)
    verify_program(composite, "recognise")
    assert "contract" not in ops_of(composite), "a derivative is no composite"
    wanted, auto = results(optimised(program, False), given, "numpy"), by_autograd(*MATCHING[op, name], given)
    for column in ("numpy", "torch"):
        found = results(composite, given, column)
        for key, value in wanted.items():
            tolerance = {"rtol": 1e-11, "atol": 1e-11 * np.abs(value).max()}
            np.testing.assert_allclose(found[key], value, **tolerance, err_msg=f"{column} {key}")
            np.testing.assert_allclose(found[key], auto[key], **tolerance, err_msg=f"{column} {key} against autograd")


def by_autograd(text: str, dims: str, given: Mapping[str, object]) -> dict[str, np.ndarray]:
    """What torch says, going backwards through views and products and not through any rule of ours."""
    x, w = (torch.tensor(given[k], requires_grad=True) for k in ("x0", "x1"))
    y = run(program_of(parse_contraction(text), dims), "f", {"x0": x, "x1": w, **SIZES}, "torch")["y"]
    d_x, d_w = torch.autograd.grad((y * y * torch.tensor(given["weight"])).sum(), (x, w), create_graph=True)
    dd_x, dd_w = torch.autograd.grad((d_x**2).sum() + (d_w**2).sum(), (x, w))
    found = {"y": y, "d_x0": d_x, "d_x1": d_w, "dd_x0": dd_x, "dd_x1": dd_w}
    return {k: v.detach().numpy() for k, v in found.items()}


# ---- texts


CASES = sorted(FILES.glob("*.ir"))


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_recognition_on_text(path: Path, golden: Callable[[Path, str], None]) -> None:
    text = path.read_text("utf-8").split("\n---\n")[0]
    title, before = text.split("\n")[0], parse_program(text)
    verify_program(before)
    after = recognise(before)
    verify_program(after, "recognise")
    golden(path, f"{title}\n\n{print_program(before)}\n---\n\n{print_program(after)}")
    assert print_program(recognise(after)) == print_program(after)
    if title.startswith("# Negative"):
        assert print_program(after) == print_program(before)


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_recognition_keeps_values(path: Path) -> None:
    before = parse_program(path.read_text("utf-8").split("\n---\n")[0])
    ((name, f),) = before.functions.items()
    sizes = {
        s: n for s, n in {"n": 2, "c": 2, "h": 7, "w": 6, "o": 4, "k": 3, "g": 2, "stride": 2, "padding": 1}.items()
    }
    rng = np.random.default_rng(0)
    given = {p.name: sizes[p.name] for p in f.parameters if p.static}
    given |= {v.name: rng.standard_normal(tuple(d.evaluate(sizes) for d in v.type.dims)) for v in f.inputs}
    bare = {d.symbol for v in f.inputs for d in v.type.dims}
    symbols = {s for v in f.values() for d in v.type.dims for s in d.symbols}
    given |= {s: sizes[s] for s in symbols - bare - given.keys()}
    for column in ("numpy", "torch"):
        pairs = zip(
            run(before, name, given, column).values(), run(recognise(before), name, given, column).values(), strict=True
        )
        for wanted, found in pairs:
            np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-12, atol=1e-12)
