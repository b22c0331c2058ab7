"""Contractions as views, one product and a fold: every form against its definition, in both columns.

Texts: tests/passes/windows/*.ir hold a program, `---`, and what a back end runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from contractions import SIZES, arguments_of, by_definition, program_of
from hypothesis import given, settings
from hypothesis import strategies as st

from leec.ir.graph import Program
from leec.ir.text import parse_program, print_program
from leec.ir.verify import verify_program
from leec.ops.contract import Contraction, matrix_form, parse_contraction
from leec.passes.recognise import expand
from leec.proof.interpret import run

FILES = Path(__file__).parent / "passes" / "windows"

CASES = {  # a contraction, and the dims of its operands
    "matrix product": ("[i, p] [p, j] -> [i, j] of [n, o] for i in n, j in o, p in c", "n,c c,o"),
    "stack with one matrix": ("[b, t, a] [e, a] -> [b, t, e] of [n, h, o] for b in n, t in h, e in o, a in c", "n,h,c o,c"),
    "scores": ("[b, i, m, a] [b, j, m, a] -> [b, m, i, j] of [n, c, h, w] for b in n, m in c, i in h, j in w, a in k", "n,h,c,k n,w,c,k"),
    "mix": ("[b, m, i, j] [b, j, m, a] -> [b, i, m, a] of [n, h, c, k] for b in n, i in h, m in c, a in k, j in w", "n,c,h,w n,w,c,k"),
    "two inner axes": ("[b, t, a] [b, t, e] -> [a, e] of [c, k] for a in c, e in k, b in n, t in h", "n,h,c n,h,k"),
    "two columns": ("[b, t, a] [e, f, a] -> [b, t, e, f] of [n, h, k, w] for b in n, t in h, e in k, f in w, a in c", "n,h,c k,w,c"),
    "stacked vectors": ("[b, m, p] [b, p] -> [b, m] of [n, h] for b in n, m in h, p in k", "n,h,k n,k"),
    "dots": ("[b, p] [b, p] -> [b] of [n] for b in n, p in k", "n,k n,k"),
    "dot": ("[i] [i] -> [] of [] for i in n", "n n"),
    "outer": ("[i] [j] -> [j, i] of [h, n] for j in h, i in n", "n h"),
    "sum first": ("[i, p] [p, j] -> [j] of [h] for j in h, i in n, p in k", "n,k k,h"),
    "three operands": ("[i, j] [i, j] [i, j] -> [j] of [h] for j in h, i in n", "n,h n,h n,h"),
    "chain": ("[i, j] [j, m] [m, l] [l] -> [i] of [n] for i in n, j in h, m in k, l in w", "n,h h,k k,w w"),
    "scalar": ("[i] [] -> [i] of [n] for i in n", "n -"),
    "transpose": ("[i, j] -> [j, i] of [h, n] for j in h, i in n", "n,h"),
    "total": ("[i, j] -> [] of [] for i in n, j in h", "n,h"),
    "repeated": ("[i] -> [i, j] of [n, h] for i in n, j in h", "n"),
    "diagonal": ("[i, i] -> [i] of [n] for i in n", "n,n"),
    "trace": ("[i, i] -> [] of [] for i in n", "n,n"),
    "diagonal with weights": ("[i, j, i] [j] -> [i] of [n] for i in n, j in h", "n,h,n h"),
    "onto the diagonal": ("[i] -> [i, i] of [n, n] for i in n", "n"),
    "onto diagonals": ("[i] -> [i, j, i] of [n, h, n] for i in n, j in h", "n"),
    "off the diagonal": ("[i, i + 1] -> [i] of [n] for i in n", "n,n+1"),
    "position": ("[i, 2] [j] -> [j, 1, i] of [h, 3, n] for i in n, j in h", "n,4 h"),
    "one entry": ("[0] -> [2] of [4] for ", "n"),
    "every other": ("[2 * i + 1] -> [i] of [n] for i in n", "2*n+1"),
    "part of an axis": ("[i, j] [j] -> [i] of [n] for i in n, j in k", "n,h h"),
    "backwards": ("[h - 1 - i] -> [i] of [h] for i in h", "h"),
    "backwards in the result": ("[i] -> [h - 1 - i] of [h] for i in h", "h"),
    "turned kernel": ("[i - u + k - 1] [u] -> [i] of [h] for i in h, u in k", "h+k-1 k"),
    "turned scatter": ("[i] [u] -> [i - u + k - 1] of [h + k - 1] for i in h, u in k", "h k"),
    "convolution": ("[n_, c_, i + u, j + v] [o_, c_, u, v] -> [n_, o_, i, j] of [n, o, h - k + 1, w - k + 1] "
                    "for n_ in n, o_ in o, i in h - k + 1, j in w - k + 1, c_ in c, u in k, v in k", "n,c,h,w o,c,k,k"),
    "stride and dilation": ("[a, b, s * i + 2 * u] [e, b, u] -> [a, e, i] of [n, o, (h - 2 * k + 1) // s + 1] "
                            "for a in n, e in o, i in (h - 2 * k + 1) // s + 1, b in c, u in k", "n,c,h o,c,k"),
    "gradient by the input": ("[a, e, i] [e, b, u] -> [a, b, s * i + u] of [n, c, h] for a in n, b in c, i in (h - k) // s + 1, "
                              "u in k, e in o", "n,o,(h-k)//s+1 o,c,k"),
    "gradient by the kernel": ("[a, b, s * i + u] [a, e, i] -> [e, b, u] of [o, c, k] for e in o, b in c, u in k, a in n, "
                               "i in (h - k) // s + 1", "n,c,h n,o,(h-k)//s+1"),
    "wider scatter": ("[a, b, i] [b, e, u] -> [a, e, 2 * i + u + 1] of [n, o, 2 * h + k + 3] for a in n, e in o, i in h, u in k, b in c", "n,c,h c,o,k"),
    "groups": ("[c * g + b, i + u] [o * g + e, b, u] -> [o * g + e, i] of [o * q, h - k + 1] for g in q, e in o, "
               "i in h - k + 1, b in c, u in k", "c*q,h o*q,c,k"),
    "patches": ("[k * i + u, k * j + v] -> [i, j, u, v] of [h, w, k, k] for i in h, j in w, u in k, v in k", "h*k,w*k"),
    "from patches": ("[i, j] -> [c * i + j] of [c * n] for i in n, j in c", "n,c"),
    "windows of windows": ("[i + 3 * j + 4 * m] [m] -> [j, i] of [n, 2] for j in n, i in 2, m in k", "3*n+4*k k"),
    "sums of positions": ("[i] [j] [m] -> [i + 2 * j + 3 * m] of [n + 2 * h + 3 * k] for i in n, j in h, m in k", "n h k"),
    "window and diagonal": ("[i + u, i] [u] -> [i] of [n] for i in n, u in k", "n+k-1,n k"),
}  # fmt: skip


def check(spec: Contraction, dims: str, dtype: str = "float") -> Program:
    """Both columns against the definition; gives what NumPy ran."""
    program = program_of(spec, dims, dtype)
    xs = arguments_of(program, dtype)
    wanted = by_definition(spec, xs)
    for column in ("numpy", "torch"):
        lowered = expand(program, column)
        verify_program(lowered, "expand")
        found = run(lowered, "f", {**{f"x{i}": x for i, x in enumerate(xs)}, **SIZES}, column)["y"]
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-12, atol=1e-12, err_msg=column)
    return expand(program, "numpy")


@pytest.mark.parametrize("name", CASES)
def test_every_form_is_its_definition(name: str) -> None:
    text, dims = CASES[name]
    check(parse_contraction(text), dims)


@pytest.mark.parametrize("name", ["matrix product", "convolution", "diagonal with weights", "gradient by the input"])
def test_integers_stay_integers(name: str) -> None:
    text, dims = CASES[name]
    check(parse_contraction(text), dims, "int")


# ---- what it costs


def ops_of(program: Program) -> list[str]:
    return [e.op for e in program.functions["f"].body]


@pytest.mark.parametrize(
    "name", ["convolution", "gradient by the input", "gradient by the kernel", "groups", "stride and dilation"]
)
def test_a_convolution_is_views_one_product_and_a_fold(name: str) -> None:
    text, dims = CASES[name]
    ops = ops_of(check(parse_contraction(text), dims))
    assert ops.count("contract") == 1
    assert set(ops) <= {"contract", "window", "unwindow", "reshape", "transpose", "sum"}


@pytest.mark.parametrize(
    "name", ["matrix product", "scores", "mix", "stack with one matrix", "convolution", "two inner axes"]
)
def test_products_are_written_with_at(name: str) -> None:
    text, dims = CASES[name]
    for equation in check(parse_contraction(text), dims).functions["f"].body:
        if "spec" in equation.params:
            assert "@" in matrix_form(equation.params["spec"])


def test_the_order_of_a_chain_is_the_cheap_one() -> None:
    """Vectors from the right: no product of two matrices."""
    text, dims = CASES["chain"]
    program = check(parse_contraction(text), dims)
    assert all(e.result.type.rank == 1 for e in program.functions["f"].body if e.op == "contract")


def test_kernels_run_inside_and_places_outside() -> None:
    """What the fold loops over is the kernel, also where stride and sizes are only names."""
    text, dims = CASES["wider scatter"]
    (fold,) = [e for e in check(parse_contraction(text), dims).functions["f"].body if e.op == "unwindow"]
    assert str(fold.args[0].type.dims[fold.params["axis"] + 1]) == "k"


# ---- random contractions


@st.composite
def contractions(draw: st.DrawFn) -> tuple[Contraction, str]:
    """Up to three operands whose subscripts are sums of up to two indices; numbers for all sizes."""
    names = "ijmp"[: draw(st.integers(1, 4))]
    sizes = {n: draw(st.integers(1, 4)) for n in names}

    def subscripts(rank: int) -> list[tuple[str, int]]:
        made = []
        for _ in range(rank):
            terms = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
            steps = [(n, draw(st.sampled_from([1, 1, 1, 2, 3, -1]))) for n in terms]
            start = draw(st.integers(0, 2)) + sum(-a * (sizes[n] - 1) for n, a in steps if a < 0)
            end = start + sum(a * (sizes[n] - 1) for n, a in steps if a > 0) + 1
            made.append(
                (
                    " + ".join((*(f"{a} * {n}" for n, a in steps), str(start))).replace("+ -", "- "),
                    end + draw(st.integers(0, 2)),
                )
            )
        return made

    operands = [subscripts(draw(st.integers(0, 3))) for _ in range(draw(st.integers(1, 3)))]
    result = subscripts(draw(st.integers(0, 3)))
    show = lambda part: f"[{', '.join(s for s, _ in part)}]"  # noqa: E731
    ranges = ", ".join(f"{n} in {sizes[n]}" for n in names)
    text = f"{' '.join(map(show, operands))} -> {show(result)} of [{', '.join(str(d) for _, d in result)}] for {ranges}"
    return parse_contraction(text.replace("* ", "*")), " ".join(",".join(str(d) for _, d in o) or "-" for o in operands)


@settings(max_examples=150, deadline=None)
@given(contractions())
def test_random_contractions_are_their_definition(case: tuple[Contraction, str]) -> None:
    check(*case)


# ---- texts


@pytest.mark.parametrize("path", sorted(FILES.glob("*.ir")), ids=lambda p: p.stem)
def test_windows_on_text(path: Path, golden: Callable[[Path, str], None]) -> None:
    text = path.read_text("utf-8").split("\n---\n")[0]
    title, before = text.split("\n")[0], parse_program(text)
    verify_program(before)
    after = expand(before, "numpy")
    verify_program(after, "expand")
    golden(path, f"{title}\n\n{print_program(before)}\n---\n\n{print_program(after)}")
    assert print_program(expand(after, "numpy")) == print_program(after)
