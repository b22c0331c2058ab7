"""What a round need not compute goes before its loop: what no round changes once, products of rows all in one.

`x[:, t] @ w` in every round is one product of all of x (input projections); with it the gradient by w is one, too.
"""

from __future__ import annotations

from dataclasses import replace

from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Value, rename
from leec.ir.loops import CONST, ROW, Recurrence
from leec.ir.symbols import symbols_of
from leec.ops import TABLE
from leec.ops.contract import Contraction
from leec.passes.rewrite import asked_about
from leec.passes.scans import Input, edited, inputs_of, over_scans


def hoist(program: Program) -> Program:
    return over_scans(program, hoisted)


def hoisted(_: Program, scan: Equation, f: Function, names: Builder) -> tuple | None:
    """The loop with what can go before it."""
    inputs = {i.inner: i for i in inputs_of(scan, f, Recurrence(scan))}
    before: list[Equation] = []
    body, added = [], {}
    followed = set(asked_about(f))  # what a `grad` in the round follows stays in the round (R6)
    for e in f.body:
        if followed.intersection(e.args):
            followed.update(e.results)
            body.append(e)
            continue
        known = [inputs.get(a) or added.get(a) for a in e.args]
        made = outside(e, known, scan, names) if known and all(known) and e.results[0] not in f.outputs else None
        if made is None:
            body.append(e)
            continue
        equation, added[e.result] = made
        before.append(equation)
    if not before:
        return None
    own = Builder(v.name for v in f.values() if v not in added)
    inner = {v: replace(v, name=own.unique(inner_name(i, scan))) for v, i in added.items()}
    body = [rename(e, inner) for e in body]
    used = {a for e in body for a in e.args}
    entering = [replace(i, inner=inner.get(v, v)) for v, i in added.items()]
    scan, f = edited(scan, f, body, [i for i in entering if i.inner in used])
    return before, scan, (), f


def inner_name(i: Input, scan: Equation) -> str:
    """`projection_t`"""
    return i.inner.name if i.inner.named or i.role == CONST else f"{i.outer.name}_{scan.params['counter']}"


def outside(e: Equation, known: list[Input], scan: Equation, names: Builder) -> tuple[Equation, Input] | None:
    """The equation before the loop, and how its result comes into the round."""
    row = TABLE[e.op]
    if (
        len(e.results) > 1
        or row.effect
        or "callee" in row.params
        or e.result.type.host
        or scan.params["counter"] in symbols_of(e)
    ):
        return None
    roles = {i.role for i in known}
    if roles == {CONST} and not all(i.inner.type.host for i in known) and not is_mere_view(e, known):
        name = part_name(e, known) if "moves" in row.facts and not e.result.named else e.result.name
        value = Value(names.unique(name), e.result.type, e.result.span, e.result.named)
        inner = replace(e.result, name=value.name)
        equation = Equation(e.op, tuple(i.outer for i in known), e.params, (value,), e.span)
        return equation, Input(inner, value, CONST, is_part=True)
    if isinstance(e.params.get("spec"), Contraction) and roles == {CONST, ROW}:
        return product_of_rows(e, known, scan, names)
    return None


def is_mere_view(e: Equation, known: list[Input]) -> bool:
    """A transpose or another form of what the round has: it costs nothing there. A part of it does, in gradients."""
    whole = {i.inner.type.size for i in known if not i.inner.type.host} == {e.result.type.size}
    return "moves" in TABLE[e.op].facts and whole and not any(i.is_part for i in known)


def part_name(e: Equation, known: list[Input]) -> str:
    """`w_2` of `self.w[2]`, a slice and another form of it."""
    base = known[0].outer.name.rpartition(".")[2]
    if base.endswith("_part"):
        return base.removesuffix("_part")
    ones = [
        str(start) for start, stop, _ in e.params.get("slices", ()) if stop - start == 1 and start.constant is not None
    ]
    return "_".join([base, *ones, "part"])


def product_of_rows(e: Equation, known: list[Input], scan: Equation, names: Builder) -> tuple[Equation, Input] | None:
    """The contraction over all rounds at once; the round is one more index."""
    spec: Contraction = e.params["spec"]
    axis = min([i.axis for i in known if i.role == ROW] + [len(spec.result)])
    whole = over_rounds(
        spec, [(i.axis, i.start) if i.role == ROW else None for i in known], scan.params["length"], axis
    )
    kind = e.result.type.with_dims(*whole.dims)
    value = Value(names.unique(f"{e.result.name}_rows" if e.result.named else "projection"), kind, e.span)
    equation = Equation(e.op, tuple(i.outer for i in known), {"spec": whole}, (value,), e.span)
    return equation, Input(e.result, value, ROW, axis)


def over_rounds(
    spec: Contraction, places: list[tuple[int, Dim] | None], length: Dim, axis: int | None = None
) -> Contraction:
    """A contraction whose operands are rows of arrays, at these axes and first positions, for all rounds: into an axis
    of the result, or summed up where there is none."""
    taken = {s for subs in (*spec.operands, spec.result) for d in subs for s in d.symbols} | {
        s for d in spec.dims for s in d.symbols
    }
    taken |= {s for _, d in spec.ranges for s in d.symbols} | length.symbols
    name = next(n for n in ("t", "turn", "position", *(f"t_{i}" for i in range(99))) if n not in taken)
    index = Dim.of(name)
    operands = tuple(
        subs if place is None else (*subs[: place[0]], place[1] + index, *subs[place[0] :])
        for subs, place in zip(spec.operands, places, strict=True)
    )
    result, dims = spec.result, spec.dims
    if axis is not None:
        result, dims = (*result[:axis], index, *result[axis:]), (*dims[:axis], length, *dims[axis:])
    return Contraction(operands, result, (*spec.ranges, (name, length)), dims)
