"""Constant folding: arithmetic of host numbers and sizes that the program itself determines.

Numbers are computed by the host column of the row, in Python as the program would; sizes by the algebra of dims.
Nothing of the chosen float width is folded: its rounding is the run's.
"""

from __future__ import annotations

import ast
import math
from functools import lru_cache
from types import CodeType

from leec.dims import Dim
from leec.ir.graph import Equation, Program, Value
from leec.ops import TABLE
from leec.ops.columns import bind_arguments, expression
from leec.passes.rewrite import Rewriter, Rules, rewrite

NUMBERS = {"float": float, "int": int, "bool": bool}


def fold(program: Program) -> Program:
    return program.map(lambda f: rewrite(f, Rules(generic=(folded,))))


def folded(b: Rewriter, e: Equation) -> Value | None:
    """The number or size that a host equation over known numbers and sizes gives."""
    row, out = TABLE[e.op], e.result.type
    if not out.host or not e.args or not row.host or out.dtype not in NUMBERS:
        return None
    known = [_known(b, a) for a in e.args]
    sized = any(isinstance(k, Dim) for k in known)
    if any(k is None or (sized and not isinstance(k, Dim | int)) for k in known):
        return None
    tree, params = expression(row, "host", tuple(a.type for a in e.args), e.params)
    try:
        value = eval(_code(ast.unparse(tree)), {"math": math}, {**params, **bind_arguments(row, tuple(known))})
    except (ArithmeticError, ValueError, TypeError):  # the run fails so too; or these are sizes, which have no order
        return None
    if isinstance(value, Dim):
        return b.size(value) if value.constant is None else b.lift(value.constant)
    if sized:
        return None  # whether two sizes are equal is for the run to say
    number = NUMBERS[out.dtype](value)
    return b.lift(number) if not isinstance(number, float) or math.isfinite(number) else None


def _known(b: Rewriter, value: Value) -> bool | int | float | Dim | None:
    equation = b.producer(value)
    size = equation.params.get("dim") if equation and not equation.args else None
    return size if isinstance(size, Dim) else b.constant(value)


@lru_cache(maxsize=1024)
def _code(text: str) -> CodeType:
    return compile(text, "row", "eval")
