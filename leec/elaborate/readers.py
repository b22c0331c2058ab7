"""A data source inside a run: the fields that are read become parameters of the outlined function."""

from __future__ import annotations

from leec.elaborate import hostvalues as hv
from leec.ir import host
from leec.types import TensorType


class Reader:
    """A data source inside a run: its fields become parameters when they are read."""

    def __init__(self, run, name: str, outer: hv.HostData | hv.HostSplit):
        self.run, self.name, self.outer = run, name, outer
        self.made: dict[str, object] = {}

    def member(self, name: str) -> tuple[object] | None:
        table = self.outer.splits if isinstance(self.outer, hv.HostData) else self.outer.fields
        if name not in table:
            return None
        if name not in self.made:
            full = f"{self.name}_{name}"
            inner = table[name]
            if isinstance(inner, TensorType):
                expr = host.Ref(self.outer.expr.name, (*self.outer.expr.fields, name))
                self.made[name] = self.run.enter(full, inner, expr)
            else:
                self.made[name] = Reader(self.run, full, inner)
        return (self.made[name],)

    def names(self) -> list[str]:
        return list(self.outer.splits if isinstance(self.outer, hv.HostData) else self.outer.fields)
