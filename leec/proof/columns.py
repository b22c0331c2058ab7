"""The first operation whose columns part: NumPy's and torch's, from the same arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from leec.ir.graph import Equation, Function, Program
from leec.ir.text import print_equation
from leec.ops import TABLE
from leec.proof.agreement import TOLERANCES, compare
from leec.proof.emitted import to_array
from leec.proof.report import Finding
from leec.proof.walk import Walk, statistics

WORDS = {"numpy": "NumPy column", "torch": "torch column", "torch_step": "torch column of steps"}


def parting_columns(
    program: Program, f: Function, values: Sequence[Any], sizes: Mapping[str, int], rules: frozenset[str], dtype: str
) -> Finding | None:
    """Walk through a function; None where the columns agree everywhere."""
    return Walk(program, float_dtype=dtype, rules=rules, visit=visit).find(program.functions[f.name], values, sizes)


def visit(walk: Walk, f: Function, e: Equation, args: Sequence[Any], sizes: Mapping[str, int]) -> Finding | None:
    if all(r.type.host for r in e.results):
        return None
    columns = [c for c in WORDS if c != "torch_step" or TABLE[e.op].torch_step]
    detached = [x.detach() if hasattr(x, "detach") else x for x in args]
    found = {column: [to_array(x) for x in walk.alone(e, detached, sizes, column)] for column in columns}
    scale = size_of_terms(walk, e, detached, sizes)
    for i, r in enumerate(e.results):
        row = compare(r.name, {c: found[c][i] for c in columns}, scale, TOLERANCES[walk.float_dtype])
        if not row.agrees:
            return parted(f, e, row.between, {c: found[c][i] for c in columns}, row.error, detached)
    return None


def size_of_terms(walk: Walk, e: Equation, args: Sequence[Any], sizes: Mapping[str, int]) -> float:
    """The largest result from absolute arguments: of a sum, the sum of its absolute terms."""
    if TABLE[e.op].elementwise or not any(v.type.is_float and not v.type.host for v in e.args):
        return 0.0
    absolute = [
        np.abs(to_array(x)) if v.type.is_float and not v.type.host else x for x, v in zip(args, e.args, strict=True)
    ]
    try:
        found = [to_array(x) for x in walk.alone(e, absolute, sizes, "numpy")]
    except np.linalg.LinAlgError:
        return 0.0
    numbers = [x[np.isfinite(x)] for x in found if x.dtype.kind == "f"]
    return max((float(np.abs(x).max(initial=0.0)) for x in numbers), default=0.0)


def parted(
    f: Function,
    e: Equation,
    between: tuple[str, str],
    found: Mapping[str, np.ndarray],
    error: float,
    args: Sequence[Any],
) -> Finding:
    sides = {WORDS[c]: statistics(found[c]) for c in between}
    message = (
        f"the {WORDS[between[0]]} and the {WORDS[between[1]]} of `{e.op}` differ by {error:.3g} on the same arguments"
    )
    unique = dict(zip(e.args, args, strict=True))
    inputs = {f"x{i}": x if v.type.host else to_array(x) for i, (v, x) in enumerate(unique.items())}
    return Finding("operation", e.op, message, f.name, print_equation(e).partition("   #")[0], e.span, sides, e, inputs)
