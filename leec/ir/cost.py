"""What a function costs: floating-point operations, counted from the rows for given sizes, and bytes.

A row says how many an entry takes, of its largest operand or result; a contraction takes its row's number, 2, for
every point of its index space. Equations on host numbers count nothing, calls what their callee counts,
loops over positions that as often as they go round, and `while` once.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from leec.dims import Dim
from leec.ir.graph import Equation, Function, Program
from leec.ops import TABLE
from leec.ops.contract import Contraction

Sizes = Mapping[str, int]


def count_flops(f: Function, sizes: Sizes, program: Program | None = None) -> float:
    """For sizes of all symbols of the function; `program` holds its callees. Raises KeyError for what is missing."""
    known: dict[tuple, float] = {}

    def of_function(g: Function, sizes: Sizes) -> float:
        key = (g.name, *sorted(sizes.items()))
        if key not in known:
            known[key] = sum(of_equation(e, sizes) for e in g.body)
        return known[key]

    def of_equation(e: Equation, sizes: Sizes) -> float:
        if "callee" in e.params:
            inner = {name: dim.evaluate(sizes) for name, dim in e.params["dims"]}
            rounds = e.params["length"].evaluate(sizes) if e.op == "scan" and e.params["length"] is not None else 1
            inner |= {e.params["counter"]: 0} if e.op == "scan" else {}
            return rounds * of_function((program or Program()).functions[e.params["callee"]], inner)
        return flops(e, sizes)

    return of_function(f, sizes)


def flops(e: Equation, sizes: Sizes) -> float:
    """Those of one equation that calls nothing."""
    if all(r.type.host for r in e.results):
        return 0
    entries = max(evaluated(v.type.dims, sizes) for v in (*e.args, *e.results))
    for param in e.params.values():
        if isinstance(param, Contraction):
            entries = evaluated(tuple(param.range.values()), sizes)
    return TABLE[e.op].flops * entries


def evaluated(dims: tuple[Dim, ...], sizes: Sizes) -> int:
    return prod(d.evaluate(sizes) for d in dims)


def count_bytes(f: Function, binding: Mapping[str, Dim]) -> int | None:
    """Of all arrays that a function computes or is given, in float32; None where only a run knows the sizes."""
    arrays = [[d.substitute(binding).constant for d in v.type.dims] for v in f.values() if not v.type.host]
    return None if any(None in sizes for sizes in arrays) else 4 * sum(map(prod, arrays))
