"""A walk through a program, operation by operation, each in any column, from the same arguments.

The walk itself goes through torch, so that it also passes a `grad`; it stops at the first operation that a visitor
says something about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from leec.ir.graph import Equation, Function, Parameter, Program, Result
from leec.ops import TABLE
from leec.proof.autograd import Written
from leec.proof.emitted import to_array
from leec.proof.interpret import Interpreter
from leec.proof.report import Finding

Visitor = Callable[["Walk", Function, Equation, Sequence[Any], Mapping[str, int]], Finding | None]


class Stop(Exception):
    """The walk has come to what it was for."""

    def __init__(self, finding: Finding):
        super().__init__(finding.message)
        self.finding = finding


@dataclass
class Walk(Written):
    """Runs functions as they stand, composites in one piece; `visit` sees every operation before its result is used."""

    visit: Visitor = field(kw_only=True)
    within: list[Function] = field(default_factory=list)
    single: dict[tuple[int, str], Interpreter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = self.program
        super().__post_init__()
        self.program = whole  # not expanded: what is looked at are the operations that people know

    def find(self, f: Function, values: Sequence[Any], sizes: Mapping[str, int]) -> Finding | None:
        """What the visitor says of the first operation of which it says anything."""
        try:
            self.evaluate(f, values, sizes)
        except Stop as stop:
            return stop.finding
        return None

    def call(self, f: Function, args: Sequence[Any], sizes: Mapping[str, int]) -> list[Any]:
        self.within.append(f)
        results = super().call(f, args, sizes)
        self.within.pop()
        return results

    def equation(self, e: Equation, args: list[Any], sizes: Mapping[str, int]) -> tuple:
        if e.op == "grad" or "callee" in TABLE[e.op].params or isinstance(e.params.get("body"), Function):
            return super().equation(e, args, sizes)
        finding = self.visit(self, self.within[-1], e, args, sizes)
        if finding is not None:
            raise Stop(finding)
        return tuple(self.alone(e, args, sizes, self.column))

    def alone(self, e: Equation, args: Sequence[Any], sizes: Mapping[str, int], column: str) -> list[Any]:
        """The results of one operation in a column, from arguments of either library."""
        key = (id(e), column)
        if key not in self.single:
            self.single[key] = Interpreter(Program({"alone": alone(e)}), column, self.float_dtype)
        machine = self.single[key]
        f = machine.program.functions["alone"]
        given = dict(zip(e.args, args, strict=True))
        return machine.call(f, [convert(machine, given[v], v.type.host) for v in dict.fromkeys(e.args)], sizes)


def alone(e: Equation) -> Function:
    """A function that is one operation."""
    parameters = tuple(Parameter(f"x{i}", (v,)) for i, v in enumerate(dict.fromkeys(e.args)))
    results = tuple(Result(f"y{i}", (r,)) for i, r in enumerate(e.results))
    return Function("alone", parameters, (e,), results)


def convert(machine: Interpreter, x: Any, is_host: bool) -> Any:
    """An array as one of the library that the interpreter computes with."""
    if is_host or (machine.library == "torch") == hasattr(x, "detach"):
        return x
    return to_array(x) if machine.library == "numpy" else machine.torch.as_tensor(x)


def statistics(x: Any) -> dict[str, Any]:
    """What of an array helps to understand it, without its entries."""
    array = to_array(x)
    if array.dtype.kind not in "fiub":
        return {"value": str(x)}
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    facts: dict[str, Any] = {"shape": "x".join(map(str, array.shape)) or "scalar", "dtype": str(array.dtype)}
    if finite.size:
        facts |= {"min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.mean())}
    if array.dtype.kind == "f":
        counts = {"NaN": np.isnan(array).sum(), "inf": np.isinf(array).sum(), "zeros": (array == 0).sum()}
        facts |= {word: int(n) for word, n in counts.items() if n}
    return facts
