"""A data source inside a run: the fields that are read become parameters of the outlined function."""

from __future__ import annotations

from collections.abc import Mapping

from leec.elaborate import hostvalues as hv
from leec.elaborate.descriptions import part_of
from leec.ir import host
from leec.syntax import nodes
from leec.types import TensorType


class Reader:
    """A data source inside a run: its fields become parameters when they are read."""

    said = "data"

    def __init__(self, run, name: str, outer: hv.HostData | hv.HostSplit):
        self.run, self.name, self.outer = run, name, outer
        self.made: dict[str, object] = {}

    def member(self, name: str) -> tuple[object] | None:
        table = self.table()
        if name not in table:
            return None
        if name not in self.made:
            full = f"{self.name}_{name}"
            inner = table[name]
            if isinstance(inner, TensorType):
                self.made[name] = self.run.enter(full, inner, part_of(self.outer.expr, name))
            else:
                self.made[name] = self.run.bring_in(full, inner)
        return (self.made[name],)

    def table(self) -> Mapping[str, object]:
        return self.outer.members if isinstance(self.outer, hv.HostData) else self.outer.fields

    def names(self) -> list[str]:
        return list(self.table())


class RecordReader:
    """A record inside a run: its fields become parameters when they are read."""

    said = "a record"

    def __init__(self, run, name: str, outer: hv.HostTuple):
        self.run, self.name, self.outer = run, name, outer
        self.made: dict[str, object] = {}

    def member(self, name: str) -> tuple[object] | None:
        if name not in self.outer.names:
            return None
        if name not in self.made:
            inner = self.outer.items[self.outer.names.index(name)]
            self.made[name] = self.run.bring_in(f"{self.name}_{name}", inner)
        return (self.made[name],)

    def names(self) -> list[str]:
        return list(self.outer.names)


class ListReader:
    """A list inside a run: stacked, counted, or read at a place, which then become parameters."""

    said = "a list"

    def __init__(self, run, name: str, outer: hv.HostList):
        self.run, self.name, self.outer = run, name, outer
        self.made: dict[object, object] = {}

    def stacked(self, node: nodes.Expr) -> object:
        """`stack(path)`"""
        from leec.elaborate.lists import known_element, stacked

        if "stacked" not in self.made:
            owner = self.run.owner
            element = known_element(owner, self.outer, node)
            whole = stacked(owner, node.span, element, host.Ask("stack", (self.outer.expr,)), self.name)
            self.made["stacked"] = self.run.bring_in(self.name, whole)
        return self.made["stacked"]

    def length(self) -> object:
        if "length" not in self.made:
            expr = host.Operation("len", (self.outer.expr,))
            self.made["length"] = self.run.bring_in(f"{self.name}_length", hv.HostNumber(expr, "int"))
        return self.made["length"]

    def at(self, node: nodes.Subscript) -> object:
        """`memory[k]`, for a number k of the host."""
        from leec.elaborate.lists import position, read_at

        index = position(self.run.owner, node)
        if index not in self.made:
            found = read_at(self.run.owner, self.outer, node)
            self.made[index] = self.run.bring_in(f"{self.name}_item", found)
        return self.made[index]
