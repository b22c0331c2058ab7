"""Loops whose gradient computes again: stretches of √T rounds, of which only what they start from is kept.

Of T rounds the backward then needs the carries at √T places and, one stretch after the other, what √T rounds save
(Griewank 1992; Chen, Xu, Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost"), for one more forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import isqrt, prod

from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Parameter, Program, Value, callees
from leec.ir.loops import Recurrence, with_axis
from leec.ir.symbols import readable, symbols_of
from leec.ops.shape import Slices

UNKNOWN = 32  # rounds of a stretch where only a run knows how many there are
LARGE = 1 << 30  # bytes
START = Dim.of(0)


def segments(program: Program, recompute: str = "auto") -> Program:
    """`recompute` is always, never, or auto: where the rounds are known to keep more than `LARGE` bytes."""
    if recompute == "never" or not any(e.op == "scan" for f in program.functions.values() for e in f.body):
        return program
    names, functions = Builder(program.functions), dict[str, Function]()
    differentiated, done = reached_by_gradients(program), stretches(program)
    for name, f in program.functions.items():
        b = Builder(v.name for v in f.values())
        for e in f.body:
            callee = program.functions.get(e.params.get("callee", ""))
            whole = callee is not None and callee.name not in done
            if name in differentiated and whole and divides(e, callee, recompute):
                stretch = stretch_of(Recurrence(e), callee, names.unique(f"{callee.name}_segment"))
                functions[stretch.name] = stretch
                divided(b, Recurrence(e), stretch)
            else:
                b.equations.append(e)
        functions[name] = f.with_body(tuple(b.equations)) if b.equations != list(f.body) else f
    return Program(functions)


def reached_by_gradients(program: Program) -> set[str]:
    """The functions in which gradients are asked for, and what those call."""
    found: set[str] = set()
    for f in reversed(program.functions.values()):
        if f.name in found or any(e.op == "grad" for e in f.body):
            found |= {f.name, *callees(f)}
    return found


def stretches(program: Program) -> set[str]:
    """What loops that are divided already repeat: the stretches, and their rounds."""
    again = [f for f in program.functions.values() if f.again]
    return {name for f in again for name in (f.name, *callees(f))}


def divides(e: Equation, f: Function, recompute: str) -> bool:
    """A loop of rounds that are surely not fewer than none: of a number of them, or of a size."""
    length = e.params["length"] if e.op == "scan" else None
    if length is None or f.state or not (length.symbol or (length.constant or 0) >= 4):
        return False
    known = kept_bytes(e, f)
    return recompute == "always" or (known is not None and known > LARGE)


def kept_bytes(e: Equation, f: Function) -> int | None:
    """At most what all rounds together keep for the gradient, in float32; None where only a run knows the sizes."""
    binding = dict(e.params["dims"])
    sizes = [d.substitute(binding).constant for v in f.values() if not v.type.host for d in v.type.dims]
    if e.params["length"].constant is None or None in sizes:
        return None
    entries = (prod(d.substitute(binding).constant for d in v.type.dims) for v in f.values() if not v.type.host)
    return 4 * e.params["length"].constant * sum(entries)


def counter_of(loop: Recurrence) -> str:
    """The symbol for the number of a stretch."""
    taken = {s for s, _ in loop.equation.params["dims"]} | {loop.equation.params["counter"]}
    return next(s for s in ("segment", *(f"segment_{i}" for i in range(2, 99))) if s not in taken)


def rounds(length: Dim) -> Dim:
    """Of one stretch: so many that least is kept at a time, if a round keeps two values as large as its carries."""

    def kept(size: int) -> int:
        return length.constant // size + 2 * size + 2 * (length.constant % size)

    return Dim.of(UNKNOWN if length.constant is None else min(range(2, isqrt(length.constant) + 2), key=kept))


# ---- the stretch as a function


def stretch_of(loop: Recurrence, f: Function, name: str) -> Function:
    """A function of the same arguments, rows now being stretches of rows, whose body is the loop over its rounds."""
    size, params = rounds(loop.length), loop.equation.params
    begin = Dim.of("begin") if params["first"].constant is None else params["first"]
    inside = dict(stretched(loop, f, size))
    results = [
        Value(v.name, v.type if k < len(loop.carries) else with_axis(v.type, loop.collected[k - len(loop.carries)][1], size))
        for k, v in enumerate(f.outputs)
    ]  # fmt: skip
    own = Builder(v.name for v in inside.values())
    results = [replace(v, name=own.unique(v.name)) for v in results]
    starts = tuple(START for _ in params["starts"])
    inner = {
        **params, "dims": tuple((s, Dim.of(s)) for s, _ in params["dims"]), "length": size, "starts": starts,
        "first": begin + Dim.of(counter_of(loop)) * size, "results": tuple(v.type for v in results),
    }  # fmt: skip
    body = (Equation("scan", tuple(inside[v] for v in f.inputs), inner, tuple(results), loop.equation.span),)
    after = iter(results)  # by position: what is carried may be collected, too
    parameters = [replace(p, values=tuple(inside[v] for v in p.values)) for p in f.parameters if p.values]
    named = tuple(replace(r, values=tuple(islice(after, len(r.values)))) for r in f.results)
    unknown = (symbols_of(body) | symbols_of(tuple(inside.values()))) - readable(parameters) - {params["counter"]}
    parameters += [Parameter(s, static=s) for s in sorted(unknown)]
    return Function(
        name, tuple(parameters), body, named, facts=f.facts, span=f.span, owner=f.owner, public=False, again=True
    )


def stretched(loop: Recurrence, f: Function, size: Dim) -> Iterator[tuple[Value, Value]]:
    for i, v in enumerate(f.inputs):
        yield v, replace(v, type=with_axis(v.type, loop.rows[i][0], size)) if i in loop.rows else v


# ---- the loop over stretches, and over the rounds that are left


def divided(b: Builder, loop: Recurrence, stretch: Function) -> None:
    """The equations in the place of the loop: all stretches, and one by one the rounds that fill none."""
    size, b.span = rounds(loop.length), loop.equation.span
    done = loop.length // size * size
    carries = {i: loop.equation.args[i] for i in loop.carries}
    parts: list[Sequence[Value]] = []
    over = [over_stretches, over_rest] if done != loop.length else [over_stretches]
    for part in reversed(over) if loop.equation.params["reverse"] else over:
        found = part(b, loop, stretch, carries)
        carries = dict(zip(loop.carries, found))
        parts.append(found[len(loop.carries) :])
    if loop.equation.params["reverse"]:
        parts.reverse()
    known = {carries[i]: v for i, v in zip(loop.carries, loop.finals)}
    for k, (array, axis) in enumerate(loop.collected):
        pieces = [p[k] for p in parts]
        known[b.concat(*pieces, axis=axis) if len(pieces) > 1 else pieces[0]] = array
    b.equations[:] = [replace(e, results=tuple(known.get(r, r) for r in e.results)) for e in b.equations]


def over_stretches(b: Builder, loop: Recurrence, stretch: Function, carries: Mapping[int, Value]) -> Sequence[Value]:
    """The final carries, and the rows of all stretches."""
    params, size = loop.equation.params, rounds(loop.length)
    count, args = loop.length // size, list(loop.equation.args)
    for i, (axis, start) in loop.rows.items():
        dims = args[i].type.dims
        part = b.slice(args[i], slices=Slices.whole(dims).at(axis, start, start + count * size))
        args[i] = b.reshape(part, dims=(*dims[:axis], count, size, *dims[axis + 1 :]))
    binding = {**dict(params["dims"]), "begin": params["first"]}
    symbols = sorted(symbols_of(stretch) - {counter_of(loop)})
    changes = {
        "callee": stretch.name, "dims": tuple((s, binding[s]) for s in symbols), "length": count, "first": START,
        "counter": counter_of(loop), "starts": tuple(START for _ in params["starts"]),
    }  # fmt: skip
    found = repeated(b, loop, args, carries, (count, size), changes)
    rows = zip(found[len(loop.carries) :], (axis for _, axis in loop.collected))
    merged = (
        b.reshape(v, dims=(*v.type.dims[:axis], count * size, *v.type.dims[axis + 2 :])) for v, axis in rows
    )  # one axis for both
    return *found[: len(loop.carries)], *merged


def over_rest(b: Builder, loop: Recurrence, _: Function, carries: Mapping[int, Value]) -> Sequence[Value]:
    params = loop.equation.params
    left = loop.length % rounds(loop.length)
    done = loop.length - left
    changes = {"length": left, "first": params["first"] + done, "starts": tuple(s + done for s in params["starts"])}
    return repeated(b, loop, loop.equation.args, carries, (left,), changes)


def repeated(
    b: Builder,
    loop: Recurrence,
    args: Sequence[Value],
    carries: Mapping[int, Value],
    counted: tuple[Dim, ...],
    changes: Mapping[str, object],
) -> Sequence[Value]:
    """The loop with changes, its rounds counted by these axes."""
    rows = (
        replace(v, type=v.type.with_dims(*v.type.dims[:axis], *counted, *v.type.dims[axis + 1 :]))
        for v, axis in loop.collected
    )
    results = tuple(replace(v, name=b.unique(v.name)) for v in (*loop.finals, *rows))
    params = {**loop.equation.params, **changes, "results": tuple(v.type for v in results)}
    args = tuple(carries.get(i, a) for i, a in enumerate(args))
    b.equations.append(Equation("scan", args, params, results, b.span))
    return results
