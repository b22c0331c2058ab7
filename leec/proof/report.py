"""What verification found, as data: sections of quantities, and for a disagreement the first operation that parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from leec.diagnostics import Span
from leec.ir.graph import Equation
from leec.proof.agreement import Row, excess

NUMPY, TORCH, MODULE, WRITTEN = "NumPy file", "torch step", "torch autograd", "spec as written"


@dataclass(frozen=True)
class Finding:
    """What is to blame for a disagreement.

    `kind` is operation, gradient rule, pass, emitter, update rule, procedure or requirement; `name` says which one;
    `sides` are the statistics of the two values that part.
    """

    kind: str
    name: str
    message: str
    function: str = ""
    equation: str = ""
    span: Span | None = None
    sides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    operation: Equation | None = None  # for a repro, with its arguments
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Section:
    """One example or procedure at one width and seed."""

    kind: str  # "example" or "train"
    name: str
    dtype: str
    seed: int
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    finding: Finding | None = None
    steps: int = 0
    call: Any = None  # the recorded step at which the programs part
    by_steps: bool = False  # every step agrees from the same inputs, and only rounding has grown from step to step

    @property
    def agrees(self) -> bool:
        unmet = self.finding is not None and self.finding.kind == "requirement"
        return not unmet and (self.by_steps or all(row.agrees for row in self.rows))

    @property
    def failures(self) -> list[Row]:
        return [row for row in self.rows if not row.agrees]


@dataclass
class Report:
    """All sections of a spec."""

    path: str
    sections: list[Section] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(section.agrees for section in self.sections)

    @property
    def findings(self) -> list[Finding]:
        return [s.finding for s in self.sections if s.finding]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {"path": self.path, "ok": self.ok, "sections": [section_dict(s) for s in self.sections]}


def section_dict(s: Section) -> dict[str, Any]:
    facts = {
        "kind": s.kind,
        "name": s.name,
        "dtype": s.dtype,
        "seed": s.seed,
        "steps": s.steps,
        "agrees": s.agrees,
        "by_steps": s.by_steps,
    }
    rows = [
        {
            "quantity": r.quantity, "shape": list(r.shape), "error": number(r.error), "bound": number(r.bound),
            "between": list(r.between), "exempt": r.exempt, "agrees": r.agrees,
        }
        for r in s.rows
    ]  # fmt: skip
    return {**facts, "rows": rows, "notes": s.notes, "finding": finding_dict(s.finding) if s.finding else None}


def finding_dict(f: Finding) -> dict[str, Any]:
    place = {"file": f.span.source.path, "line": f.span.line} if f.span else {}
    facts = {"kind": f.kind, "name": f.name, "message": f.message, "function": f.function, "equation": f.equation}
    return {**facts, **place, "sides": {k: {n: number(v) for n, v in side.items()} for k, side in f.sides.items()}}


def number(value: Any) -> Any:
    """A number that JSON has; infinities and NaN as words."""
    if isinstance(value, float) and not (value - value == 0):
        return repr(value)
    return value


class Worst:
    """Of every quantity the row that takes most of its bound, in the order in which the quantities came."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def add(self, row: Row) -> None:
        known = self.rows.get(row.quantity)
        if known is None or excess(row) > excess(known):
            self.rows[row.quantity] = row

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())
