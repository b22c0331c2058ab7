"""Loops whose gradient computes again: stretches of √T rounds, of which only what they start from is kept.

Of T rounds the backward then needs the carries at √T places and, one stretch after the other, what √T rounds save
(Griewank 1992; Chen, Xu, Zhang and Guestrin 2016, "Training deep nets with sublinear memory cost"), for one more forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from math import isqrt

from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.cost import count_bytes
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
                loop = Divided(e, callee, names.unique(f"{callee.name}_segment"))
                functions[loop.name] = loop.stretch
                loop.write(b)
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
    kept = count_bytes(f, dict(e.params["dims"]))  # by a round, at most
    return recompute == "always" or None not in (kept, length.constant) and kept * length.constant > LARGE


def rounds(length: Dim) -> Dim:
    """Of one stretch: so many that least is kept at a time, if a round keeps two values as large as its carries."""

    def kept(size: int) -> int:
        return length.constant // size + 2 * size + 2 * (length.constant % size)

    return Dim.of(UNKNOWN if length.constant is None else min(range(2, isqrt(length.constant) + 2), key=kept))


class Divided:
    """A loop as stretches of `size` rounds, and one by one the rounds that fill none."""

    def __init__(self, e: Equation, f: Function, name: str):
        self.loop, self.f, self.name, self.params = Recurrence(e), f, name, e.params
        self.size = rounds(self.loop.length)
        self.count = self.loop.length // self.size
        own = Builder([*(v.name for v in f.values()), *symbols_of(f), *dict(e.params["dims"]), e.params["counter"]])
        self.counter, self.begin = own.unique("segment"), own.unique("begin")  # symbols of the stretch

    # ---- the stretch as a function

    @cached_property
    def stretch(self) -> Function:
        """A function of the arguments of a round, rows now being stretches of rows; its body is the loop over rounds."""
        f, loop, params = self.f, self.loop, self.params
        inside = {v: self.stretched(v, loop.rows[i][0]) if i in loop.rows else v for i, v in enumerate(f.inputs)}
        own = Builder(v.name for v in inside.values())
        rows = (
            with_axis(v.type, axis, self.size) for v, (_, axis) in zip(f.outputs[len(loop.carries) :], loop.collected)
        )
        types = (*(v.type for v in f.outputs[: len(loop.carries)]), *rows)
        results = tuple(Value(own.unique(v.name), t) for v, t in zip(f.outputs, types, strict=True))
        first = params["first"] if params["first"].constant is not None else Dim.of(self.begin)
        inner = {
            **params, "dims": tuple((s, Dim.of(s)) for s, _ in params["dims"]), "length": self.size, "results": types,
            "first": first + Dim.of(self.counter) * self.size, "starts": tuple(START for _ in params["starts"]),
        }  # fmt: skip
        body = (Equation("scan", tuple(inside[v] for v in f.inputs), inner, results, loop.equation.span),)
        after = iter(results)  # by position: what is carried may be collected, too
        named = tuple(replace(r, values=tuple(islice(after, len(r.values)))) for r in f.results)
        parameters = [replace(p, values=tuple(inside[v] for v in p.values)) for p in f.parameters if p.values]
        unknown = symbols_of((body, *inside.values())) - readable(parameters) - {params["counter"]}
        parameters += [Parameter(s, static=s) for s in sorted(unknown)]
        return replace(f, name=self.name, parameters=tuple(parameters), body=body, results=named, doc="", again=True)

    def stretched(self, row: Value, axis: int) -> Value:
        return replace(row, type=with_axis(row.type, axis, self.size))

    # ---- the loop over stretches, and over the rounds that are left

    def write(self, b: Builder) -> None:
        """The equations in the place of the loop."""
        b.span = self.loop.equation.span
        carries = {i: self.loop.equation.args[i] for i in self.loop.carries}
        backwards, parts = self.params["reverse"], []
        over = [self.over_stretches, self.over_rest] if self.loop.length % self.size != 0 else [self.over_stretches]
        for part in reversed(over) if backwards else over:
            found = part(b, carries)
            carries = dict(zip(self.loop.carries, found))
            parts.append(found[len(carries) :])
        known = {carries[i]: v for i, v in zip(self.loop.carries, self.loop.finals)}
        for pieces, (array, axis) in zip(zip(*(reversed(parts) if backwards else parts)), self.loop.collected):
            known[b.concat(*pieces, axis=axis) if len(pieces) > 1 else pieces[0]] = array
        b.equations[:] = [replace(e, results=tuple(known.get(r, r) for r in e.results)) for e in b.equations]

    def over_stretches(self, b: Builder, carries: Mapping[int, Value]) -> Sequence[Value]:
        """The final carries, and the rows of all stretches."""
        args, length = list(self.loop.equation.args), self.count * self.size
        for i, (axis, start) in self.loop.rows.items():
            dims = args[i].type.dims
            part = b.slice(args[i], slices=Slices.whole(dims).at(axis, start, start + length))
            args[i] = b.reshape(part, dims=(*dims[:axis], self.count, self.size, *dims[axis + 1 :]))
        binding = {**dict(self.params["dims"]), self.begin: self.params["first"]}
        symbols = sorted(symbols_of(self.stretch) - {self.counter})
        changes = {
            "callee": self.name, "dims": tuple((s, binding[s]) for s in symbols), "length": self.count, "first": START,
            "counter": self.counter, "starts": tuple(START for _ in self.params["starts"]),
        }  # fmt: skip
        found = self.repeated(b, args, carries, (self.count, self.size), changes)
        rows = zip(found[len(carries) :], (axis for _, axis in self.loop.collected))
        merged = (b.reshape(v, dims=(*v.type.dims[:a], length, *v.type.dims[a + 2 :])) for v, a in rows)
        return *found[: len(carries)], *merged

    def over_rest(self, b: Builder, carries: Mapping[int, Value]) -> Sequence[Value]:
        left, done = self.loop.length % self.size, self.count * self.size
        starts = tuple(s + done for s in self.params["starts"])
        changes = {"length": left, "first": self.params["first"] + done, "starts": starts}
        return self.repeated(b, self.loop.equation.args, carries, (left,), changes)

    def repeated(self, b: Builder, args, carries, counted: tuple[Dim, ...], changes) -> tuple[Value, ...]:
        """The results of the loop with changes, its rounds counted by these axes."""
        rows = (
            replace(v, type=v.type.with_dims(*v.type.dims[:axis], *counted, *v.type.dims[axis + 1 :]))
            for v, axis in self.loop.collected
        )
        results = tuple(replace(v, name=b.unique(v.name)) for v in (*self.loop.finals, *rows))
        params = {**self.params, **changes, "results": tuple(v.type for v in results)}
        args = tuple(carries.get(i, a) for i, a in enumerate(args))
        b.equations.append(Equation("scan", args, params, results, b.span))
        return results
