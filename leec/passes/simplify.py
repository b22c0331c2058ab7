"""Simplification: the laws of leec/ops/laws.py, and what follows for every op from the facts of its row.

The result has the same value up to rounding; what was finite is never NaN (R39). User-named values keep their names.
"""

from __future__ import annotations

from functools import cache
from math import isfinite

from leec.ir.graph import Equation, Function, Program, Value
from leec.ops import TABLE, Op
from leec.ops.laws import LAWS, RELEASE
from leec.ops.laws_shape import SHAPE_LAWS
from leec.ops.stable import UNMASKED
from leec.passes.fold import folded
from leec.passes.patterns import rules
from leec.passes.rewrite import Rewriter, Rules, rewrite
from leec.types import ShapeMismatch, TensorType

# ---- what follows from facts


def unit(b: Rewriter, e: Equation) -> Value | None:
    """x op identity is x; identity op x is too, where the op is commutative."""
    row = TABLE[e.op]
    if row.identity is None or len(e.args) != 2:
        return None
    x, y = e.args
    if x.type == e.result.type and b.constant(y) == row.identity:
        return x
    return y if row.commutative and y.type == e.result.type and b.constant(x) == row.identity else None


def absorbed(b: Rewriter, e: Equation) -> Value | None:
    """x op absorbing is absorbing where x is certainly finite: 0 times infinity would be NaN, and stays it."""
    row, out = TABLE[e.op], e.result.type
    if row.absorbing is None or len(e.args) != 2 or out.host:
        return None
    x, y = e.args
    zero = y if b.constant(y) == row.absorbing else x if b.constant(x) == row.absorbing else None
    if zero is None or not is_finite(b, y if zero is x else x):
        return None
    number = float(row.absorbing) if out.is_float else int(row.absorbing)
    return b.fill(number, dims=out.dims, dtype=out.dtype)


def is_finite(b: Rewriter, value: Value, depth: int = 8) -> bool:
    """Known never to be infinite or NaN: integers, bools, numbers, and entries of such."""
    if not value.type.is_float:
        return True
    number = b.constant(value)
    if number is not None:
        return isfinite(number)
    equation = b.producer(value)
    if equation is None or not depth or not equation.args:
        return False
    row = TABLE[equation.op]
    entries = equation.args[row.facts["selects"] :] if "selects" in row.facts else equation.args[:1]
    carries = "selects" in row.facts or row.facts.get("moves") or row.facts.get("uniform")
    return bool(carries) and all(is_finite(b, x, depth - 1) for x in entries)


def unspread(b: Rewriter, e: Equation) -> Value | None:
    """Elementwise operations broadcast by themselves: operands as they are before they repeat, all or one by one.

    Where all repeat, the operation is done once an entry and its result repeats.
    """
    row, out = TABLE[e.op], e.result.type
    narrow = [narrower(b, a) for a in e.args] if row.elementwise else []
    changed = [n for n, x in enumerate(narrow) if x is not None]
    for positions in ([changed] if changed else []) + [[n] for n in changed if len(changed) > 1]:
        args = tuple(narrow[n] if n in positions else a for n, a in enumerate(e.args))
        found = _type(row, args, e.params)
        has_width = not out.is_float or any(a.type.is_float and not a.type.host for a in args)
        if found == out and has_width:
            return b.emit(e.op, args, dict(e.params))
        if found and found.dtype == out.dtype and any(_repeats(b, e.args[n]) for n in positions):
            if found.host and not out.host:
                return b.fill(b.emit(e.op, args, dict(e.params)), dims=out.dims, dtype=out.dtype)
            if found.dims != out.dims:
                return b.broadcast(b.emit(e.op, args, dict(e.params)), dims=out.dims)
    return None


def _type(row: Op, args: tuple[Value, ...], params) -> TensorType | None:
    try:
        return row.type(*(a.type for a in args), **params)
    except ShapeMismatch:  # an op that wants equal shapes
        return None


def _repeats(b: Rewriter, value: Value) -> bool:
    equation = b.producer(value)
    return equation is not None and bool(TABLE[equation.op].facts.get("repeats"))


def narrower(b: Rewriter, value: Value) -> Value | None:
    """The value before a broadcast, a fill or a reshape that only adds leading axes of size 1."""
    equation = b.producer(value)
    if equation is None or len(equation.args) != 1 or "dims" not in equation.params:
        return None
    (x,), dims = equation.args, equation.params["dims"]
    ones = len(dims) - x.type.rank
    leads = ones > 0 and dims[ones:] == x.type.dims and all(d == 1 for d in dims[:ones])
    return x if _repeats(b, value) or (TABLE[equation.op].facts.get("moves") and leads) else None


def refilled(b: Rewriter, e: Equation) -> Value | None:
    """Entries that are all one scalar are it wherever they are moved."""
    out, x = e.result.type, e.args[0] if e.args else None
    before = b.producer(x) if x is not None and TABLE[e.op].facts.get("moves") else None
    if before is None or x.type.host or not _repeats(b, x) or before.args[0].type.rank:
        return None
    return b.emit(before.op, before.args, {**before.params, "dims": out.dims})


GENERIC = (folded, unit, absorbed, unspread, refilled)


@cache
def laws() -> Rules:
    return rules((*LAWS, *SHAPE_LAWS, UNMASKED), GENERIC)


# ---- the passes


def simplify(program: Program) -> Program:
    return program.map(simplified)


def simplified(f: Function) -> Function:
    return rewrite(f, laws())


def release(program: Program) -> Program:
    """Altered gradients have served: what was grafted is its value alone (R7)."""
    return program.map(lambda f: rewrite(f, rules(RELEASE)))
