"""Sums over the rounds of a gradient's loop: what every round adds to is summed up after the loop instead.

A product of two values of the round becomes one product of all of them (all weight gradients of a recurrent net), a
sum, a number or a vector one sum; anything larger stays where it is.
"""

from __future__ import annotations

from dataclasses import replace

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Value
from leec.ir.loops import CONST, ROW, Recurrence
from leec.ops import TABLE
from leec.ops.contract import Contraction
from leec.passes.hoist import over_rounds
from leec.passes.scans import START, Input, Row, array_of, edited, inputs_of, over_scans


def sums(program: Program) -> Program:
    return over_scans(program, summed)


def summed(program: Program, scan: Equation, f: Function, names: Builder) -> tuple | None:
    """The loop without the carries that only add up; loops of the spec stay as they are written."""
    if f.backward_of is None:
        return None
    work = Work(program, scan, f, names)
    for slot in range(len(work.loop.carries)):
        work.take(slot)
    if not work.dropped:
        return None
    scan, f = edited(scan, f, f.body, (), work.dropped, list(work.rows.values()))
    return [], scan, work.after.equations, f


class Work:
    """What is found in one loop: the carries to drop, the rows to collect for them, and what follows."""

    def __init__(self, program: Program, scan: Equation, f: Function, names: Builder):
        self.scan, self.f, self.names, self.loop = scan, f, names, Recurrence(scan)
        self.made = {r: e for e in f.body for r in e.results}
        self.inputs = {i.inner: i for i in inputs_of(scan, f, self.loop)}
        self.listed = saved_names(program, f)
        self.plain = len(f.outputs) - len(f.state) - f.saves  # outputs that generated code has as arrays
        self.lean = any(f.again for f in program.functions.values())  # memory counts more than additions
        self.dropped: set[int] = set()
        self.rows: dict[Value, Row] = {}
        self.after = Builder()
        self.after.names = names.names
        self.axis = max(
            [i.axis for i in self.inputs.values() if i.role == ROW and i.inner.name not in self.listed], default=0
        )

    def take(self, slot: int) -> None:
        """Drop a carry that every round adds to."""
        head, end = self.f.inputs[self.loop.carries[slot]], self.f.outputs[slot]
        part = self.addend(head, end)
        if part is None:
            return
        producer = self.made.get(part)
        b = self.after
        b.span = self.scan.span
        if producer is not None and isinstance(producer.params.get("spec"), Contraction):
            total = self.product(producer)
        elif part.type.rank <= (not self.lean) or (producer is not None and "reduces" in TABLE[producer.op].facts):
            array, axis, _ = self.array(part, 0)
            total = b.sum(array, axes=(axis,))
        else:
            return
        self.dropped.add(slot)
        start, final = self.scan.args[self.loop.carries[slot]], self.loop.finals[slot]
        b.add(start, total)
        b.equations[-1] = replace(b.equations[-1], results=(final,))

    def addend(self, head: Value, end: Value) -> Value | None:
        """What a round adds, if it does nothing else with the carry."""
        e = self.made.get(end)
        readers = [x for x in self.f.body if head in x.args or end in x.args]
        outputs = self.f.outputs
        if e is None or not is_addition(e) or readers != [e] or head in outputs or outputs.count(end) > 1:
            return None
        others = [a for a in e.args if a is not head]
        return others[0] if len(others) == 1 and others[0].type == head.type else None

    def product(self, e: Equation) -> Value:
        values, places = [], []
        for a in e.args:
            if a in self.inputs and self.inputs[a].role == CONST:
                values.append(self.inputs[a].outer)
                places.append(None)
            else:
                array, axis, start = self.array(a, self.axis)
                values.append(array)
                places.append((axis, start))
        spec = over_rounds(e.params["spec"], places, self.scan.params["length"])
        return self.after.contract(*values, spec=spec)

    def array(self, value: Value, axis: int) -> tuple:
        """All rows of a value of the round: the array that they are read from, or one that is collected."""
        known: Input | None = self.inputs.get(value)
        if known is not None and known.role == ROW and value.name not in self.listed:
            return known.outer, known.axis, known.start
        for output, (array, axis) in zip(self.f.outputs[len(self.loop.carries) : self.plain], self.loop.collected):
            if output is value:
                return array, axis, START
        if value not in self.rows:
            axis = min(axis, value.type.rank)
            array = array_of(value, axis, self.scan.params["length"], self.names.unique(f"{value.name}_rows"))
            self.rows[value] = Row(value, array, axis)
        row = self.rows[value]
        return row.array, row.axis, START


def is_addition(e: Equation) -> bool:
    row = TABLE[e.op]
    return row.elementwise and row.commutative and row.identity == 0 and not e.results[0].type.dtype == "bool"


def saved_names(program: Program, f: Function) -> set[str]:
    """What a backward gets from its forward: generated code has it round by round, not as one array."""
    forward = program.forward_of(f)
    return {r.name for r in forward.results[len(forward.results) - forward.saves :]} if forward else set()
