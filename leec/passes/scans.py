"""What passes over loops share: a `scan` and the function of its round with inputs, carries or rows added or dropped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Parameter, Program, Result, Value
from leec.ir.loops import CARRY, ROW, STATE, Recurrence, with_axis
from leec.ir.symbols import readable, symbols_of
from leec.passes.dce import live

START = Dim.of(0)


@dataclass(frozen=True)
class Input:
    """A value of the round and what stands outside for it; `is_part`: computed there, as a part of something may be."""

    inner: Value
    outer: Value
    role: str
    axis: int = 0
    start: Dim = START
    is_part: bool = False


@dataclass(frozen=True)
class Row:
    """A value of the round to collect, the array that has it, and the axis that counts the rounds."""

    inner: Value
    array: Value
    axis: int


def over_scans(program: Program, change: Callable[[Program, Equation, Function, Builder], tuple | None]) -> Program:
    """The program after `change` of every loop over positions: what comes before it, the loop, what follows, its round.

    `change` is given the loop, its round, and the names taken around the loop. Rounds that several loops share stay.
    """
    users = [e.params["callee"] for f in program.functions.values() for e in f.body if e.op == "scan"]
    functions = dict(program.functions)
    for name in program.functions:
        body, names = [], None
        for equation in functions[name].body:
            callee = equation.params.get("callee")
            made = None
            if equation.op == "scan" and equation.params["length"] is not None and users.count(callee) == 1:
                names = names or Builder(v.name for v in functions[name].values())
                made = change(program, equation, functions[callee], names)
            if made is None:
                body.append(equation)
                continue
            before, scan, after, functions[callee] = made
            body += [*before, scan, *after]
        if len(body) != len(functions[name].body):
            functions[name] = functions[name].with_body(tuple(body))
    return Program(functions)


def edited(
    scan: Equation,
    f: Function,
    body: Sequence[Equation],
    added: Sequence[Input] = (),
    dropped: Collection[int] = (),
    rows: Sequence[Row] = (),
) -> tuple[Equation, Function]:
    """With inputs `added`, carries at the slots `dropped`, and `rows` collected too. What nobody reads any more goes."""
    loop = Recurrence(scan)
    ends = f.outputs[: len(loop.carries)]
    kept = [k for k in range(len(ends)) if k not in dropped]
    arrays, axes = [v for v, _ in loop.collected], scan.params["out_axes"]
    first = len(arrays) - f.saves  # what is saved stays last
    own = [r for r in map(partial(without, goes={ends[k] for k in dropped}), f.results) if r.values]
    more = [Result(r.inner.name, (r.inner,)) for r in rows]
    results = (*own[: len(own) - f.saves], *more, *own[len(own) - f.saves :])
    f = live(replace(f, body=tuple(body), results=results))
    inputs = [*inputs_of(scan, f, loop), *added]
    used = {a for e in f.body for a in e.args}.union(f.outputs)
    goes = {i.inner for i in inputs if i.role not in (CARRY, STATE) and i.inner not in used}
    goes |= {f.inputs[loop.carries[k]] for k in dropped}
    parameters = [*remaining(f.parameters, goes), *(Parameter(i.inner.name, (i.inner,)) for i in added)]
    unknown = symbols_of((f.body, f.outputs)) - readable(parameters)
    parameters += [Parameter(s, static=s) for s in sorted(unknown)]
    f = replace(f, parameters=tuple(parameters))
    by_value = {i.inner: i for i in inputs}
    order = [by_value[v] for v in f.inputs]
    binding = dict(scan.params["dims"])
    symbols = sorted(symbols_of(f) - {scan.params["counter"]})
    arrays = [*arrays[:first], *(r.array for r in rows), *arrays[first:]]
    out = [*(scan.results[k] for k in kept), *arrays, *loop.new_states]
    params = {
        **scan.params, "dims": tuple((s, binding.get(s, Dim.of(s))) for s in symbols), "roles": tuple(i.role for i in order),
        "axes": tuple(i.axis for i in order if i.role == ROW), "starts": tuple(i.start for i in order if i.role == ROW),
        "out_axes": (*axes[:first], *(r.axis for r in rows), *axes[first:]), "results": tuple(v.type for v in out),
    }  # fmt: skip
    return replace(scan, args=tuple(i.outer for i in order), params=params, results=tuple(out)), f


def inputs_of(scan: Equation, f: Function, loop: Recurrence) -> Iterable[Input]:
    for i, (inner, outer) in enumerate(zip(f.inputs, scan.args, strict=True)):
        yield Input(inner, outer, loop.roles[i], *loop.rows.get(i, ()))


def remaining(parameters: Iterable[Parameter], goes: Collection[Value]) -> Iterable[Parameter]:
    """The parameters without some of their values."""
    for p in parameters:
        left = without(p, goes)
        if left.values or not p.values:
            yield left


def without(part: Parameter | Result, goes: Collection[Value]) -> Parameter | Result:
    kept = [i for i, v in enumerate(part.values) if v not in goes]
    if len(kept) == len(part.values):
        return part
    paths = tuple(part.paths[i] for i in kept) if part.paths else ()
    return replace(part, values=tuple(part.values[i] for i in kept), paths=paths)


def array_of(inner: Value, axis: int, length: Dim, name: str) -> Value:
    """The array of a row over all rounds."""
    return replace(inner, name=name, type=with_axis(inner.type, axis, length), named=False)
