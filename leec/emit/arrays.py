"""Which array a value of a function is computed in: arrays are given to values, and again to others after their last reader.

A slot is one array. What lives from call to call is planned: its slots have names from the start, and what leaves the
function never gets one. Elsewhere the first value that a slot is given to makes it.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from leec.emit.names import Names
from leec.ir.graph import Equation, Function, Value
from leec.ops import TABLE
from leec.types import TensorType


@dataclass(eq=False)
class Slot:
    """`name` is the variable that holds the array; none before there is one.

    What is computed entry by entry has the layout of its operands, which a caller may have transposed: only of other
    arrays it is known that their `rows` lie one after the other.
    """

    type: TensorType
    name: str | None = None
    rows: bool = False
    number: int = field(default_factory=count().__next__)  # in order of making, which sets do not keep


NONE: frozenset[Slot] = frozenset()


@dataclass
class Arrays:
    """The slots of one function; `planned` ones exist before it begins."""

    names: Names
    planned: bool
    prefix: str = "s"
    slots: list[Slot] = field(default_factory=list)
    free: list[Slot] = field(default_factory=list)
    held: dict[Value, frozenset[Slot]] = field(default_factory=dict)  # where a value, or what it is a view of, lies
    variables: dict[str, frozenset[Slot]] = field(default_factory=dict)  # the same by variable
    unread: Counter[Value] = field(default_factory=Counter)  # readers to come, of values
    waiting: Counter[Slot] = field(default_factory=Counter)  # and of slots
    mentions: Counter[Slot] = field(default_factory=Counter)  # in statements to come, of slots that are free after them

    def take(self, type: TensorType) -> Slot:
        """A free slot for a value, that which was given back last, or a new one."""
        for slot in reversed(self.free):
            if slot.type == type:
                self.free.remove(slot)
                return slot
        name = self.names.fresh(f"{self.prefix}{len(self.slots)}") if self.planned else None
        self.slots.append(Slot(type, name, rows=self.planned))
        return self.slots[-1]

    def hold(self, value: Value, slots: frozenset[Slot], variable: str | None = None) -> None:
        """The value lies in slots, or is a view of them."""
        self.held[value] = slots
        self.waiting.update(dict.fromkeys(slots, self.unread[value]))
        if variable:
            self.variables[variable] = slots

    def of(self, values: Iterable[Value]) -> frozenset[Slot]:
        return NONE.union(*(self.held.get(v, NONE) for v in values))

    def begin(self, args: Iterable[Value], trees: Iterable[ast.expr]) -> None:
        """An equation reads these values, in statements that compute these expressions."""
        for value in args:
            self.unread[value] -= 1
            self.waiting.subtract(self.held.get(value, NONE))
        ending = [s for s in sorted(self.of(args), key=lambda s: s.number) if self.waiting[s] <= 0]
        self.mentions = Counter(dict.fromkeys(ending, 0))
        for tree in trees:
            self.mentions.update(s for s in self.mentioned(tree) if s in ending)

    def end(self) -> None:
        """The equation is written; what its result is a view of is not free."""
        self.free += (s for s in self.mentions if self.waiting[s] <= 0)
        self.mentions.clear()

    def mentioned(self, tree: ast.expr) -> Iterable[Slot]:
        """The slots of the variables in an expression, once for each time."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                yield from self.variables.get(node.id, NONE)

    def release(self, trees: Iterable[ast.expr]) -> None:
        """A statement has read these expressions."""
        for tree in trees:
            for slot in self.mentioned(tree):
                if slot in self.mentions:
                    self.mentions[slot] -= 1
        for slot in [s for s, n in self.mentions.items() if n <= 0]:
            del self.mentions[slot]
            self.free.append(slot)

    def passing(self, tree: ast.expr) -> list[Slot]:
        """The slots that an expression mentions and that are free after this equation."""
        return list(dict.fromkeys(s for s in self.mentioned(tree) if s in self.mentions))

    def keep(self, name: str, slot: Slot, times: int = 1) -> None:
        """Statements to come read an array so many times by this name, which may be a view of several."""
        self.variables[name] = self.variables.get(name, NONE) | {slot}
        self.mentions[slot] += times


def leaving(f: Function) -> set[Value]:
    """The values that a caller gets, and those that they may be views of."""
    found = {v for r in f.results for v in r.values}
    for e in reversed(f.body):
        if found.intersection(e.results) and not makes_own(e):
            found.update(e.args)
    return found


def seen_through(f: Function, values: Iterable[Value]) -> set[Value]:
    """Some values, and what may be a view of them."""
    found = set(values)
    for e in f.body:
        if found.intersection(e.args) and not makes_own(e):
            found.update(e.results)
    return found


def makes_own(e: Equation) -> bool:
    """Whether the result of an equation is no view of an argument, whatever the back end makes of it."""
    row = TABLE[e.op]
    entrywise = row.elementwise and "cotangents" not in row.facts
    product = "spec" in row.params and len(e.args) > 1
    reduced = bool(row.facts.get("reduces") and e.params["axes"])
    return e.op == "fused" or entrywise or product or reduced
