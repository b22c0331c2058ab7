"""What emission knows of the values of a function before it writes the first: better names, and plain numbers."""

from __future__ import annotations

from leec.ir.graph import Equation, Function, Value
from leec.ops import TABLE


def better_names(f: Function) -> dict[str, str]:
    """For results that the spec gives no name: `loss` where the result is called so, else y; and d_y for d_add_2."""
    taken = {v.name for v in f.values()} | {p.name for p in f.parameters}
    names: dict[str, str] = {}
    single = len(f.results) == 1
    for r in f.results:
        value = r.values[0] if len(r.values) == 1 else None
        if value is None or value.named or value in f.inputs or r.name.startswith("d_"):
            continue
        wanted = [r.name] if r.name != value.name else ["y", "out"] if single else []
        better = next((w for w in wanted if w not in taken), None)
        if better:
            taken.add(better)
            names |= {value.name: better, f"d_{value.name}": f"d_{better}"}
    return names


def fills(equation: Equation) -> bool:
    """Whether an equation makes a tensor of which every entry is a number of the host."""
    one = len(equation.args) == 1 and equation.args[0].type.host
    return one and "uniform" in TABLE[equation.op].facts and not equation.results[0].type.host


def among_floats(equation: Equation, plain: set[Value]) -> bool:
    """Whether an equation computes entry by entry with arrays of floats, so that the kind of a number changes nothing."""
    arrays = [a for a in equation.args if not a.type.host and a not in plain]
    return TABLE[equation.op].elementwise and any(a.type.is_float for a in arrays)


def plain_numbers(f: Function) -> set[Value]:
    """Scalars that are arithmetic on numbers of the host and meet only arithmetic: Python computes them."""
    found: set[Value] = set()
    for e in f.body:
        known = all(a.type.host or a in found for a in e.args) and any(a in found for a in e.args)
        entrywise = known and TABLE[e.op].elementwise and isinstance(TABLE[e.op].host, str)
        if len(e.results) == 1 and not e.result.type.rank and (fills(e) or entrywise):
            found.add(e.result)
    found -= set(f.outputs)
    while bad := {v for v in found for e in f.body if v in e.args and not meets(e, found)}:
        found -= bad
    return found


def meets(e: Equation, plain: set[Value]) -> bool:
    """Whether an equation may read a Python number where it reads a scalar: an operand among arrays of its dtype.

    Of a choice between two numbers a library would make an array of a width of its own.
    """
    arithmetic = TABLE[e.op].elementwise and len(e.args) > 1
    numbers = {a.type.dtype for a in e.args if a in plain}
    return arithmetic and (
        e.result in plain or numbers <= {a.type.dtype for a in e.args if not a.type.host and a not in plain}
    )
