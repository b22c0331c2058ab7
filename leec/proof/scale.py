"""Scales: how large the terms are that a value is the sum of, so that rounding can be told from a mistake.

Beside every value runs its scale, entry by entry. A sum of any kind (a reduction, a contraction, an overlapping
window) has the sum of its absolute terms; what moves entries moves scales; addition adds them, a factor takes them
along. Every other operation starts anew from the size of its result, and so does every sum from its terms: a scale
never grows from layer to layer, as a bound on all rounding would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from leec.ir.graph import Equation, Function
from leec.ops import TABLE
from leec.proof.interpret import Interpreter
from leec.types import TensorType


@dataclass(frozen=True)
class Measured:
    """A value and its scale; numbers of the host and integers have their size."""

    value: object
    scale: object


def measured(value: object) -> Measured:
    is_number = isinstance(value, int | float) or getattr(value, "dtype", np.dtype(object)).kind in "fiu"
    return Measured(value, np.abs(value) if is_number else value)


@dataclass
class Scales(Interpreter):
    """An interpreter in NumPy and float64 whose values are Measured; `watch` sees (function, equation, arguments).

    `rules` are the updates of optimizers: they begin anew from the size of what they are given, as what they divide
    by the size of a gradient would have the scale of its terms for all of a tensor.
    """

    rules: frozenset[str] = frozenset()
    watch: Callable[[Function, Equation, Sequence[Measured]], None] | None = None

    def measure(self, f: Function, values: Sequence[object], sizes: Mapping[str, int]) -> list[Measured]:
        """The outputs of a function of the program for its inputs."""
        f = self.program.functions[f.name]
        return self.call(f, [measured(self.array(x, v.type)) for x, v in zip(values, f.inputs, strict=True)], sizes)

    def call(self, f: Function, args: Sequence[Measured], sizes: Mapping[str, int]) -> list[Measured]:
        values = dict(zip(f.inputs, args, strict=True))
        for e in f.body:
            given = [values[a] for a in e.args]
            if self.watch is not None:
                self.watch(f, e, given)
            values |= zip(e.results, self.results(e, given, sizes), strict=True)
        return [values[v] for v in f.outputs]

    def results(self, e: Equation, args: list[Measured], sizes: Mapping[str, int]) -> Sequence[Measured]:
        if e.params.get("callee") in self.rules:
            args = [measured(a.value) for a in args]
        if "callee" in TABLE[e.op].params or isinstance(e.params.get("body"), Function):
            return self.equation(e, args, sizes)
        found = self.equation(e, [a.value for a in args], sizes)
        own = [measured(x) for x in found]
        terms = self.terms(e, args, sizes)
        if terms is None:
            return own
        return [Measured(m.value, larger(m.scale, t)) for m, t in zip(own, terms, strict=True)]

    def holds(self, x: Measured) -> bool:
        return bool(x.value)

    def row(self, x: Measured, axis: int, position: int) -> Measured:
        return Measured(*(super(Scales, self).row(part, axis, position) for part in (x.value, x.scale)))

    def stacked(self, rows: list[Measured], axis: int, type: TensorType, sizes: Mapping[str, int]) -> Measured:
        parts = [r.value for r in rows], [r.scale for r in rows]
        return Measured(*(super(Scales, self).stacked(part, axis, type, sizes) for part in parts))

    def terms(self, e: Equation, args: list[Measured], sizes: Mapping[str, int]) -> Sequence[object] | None:
        """The sizes of the terms, by the operation itself on sizes of its arguments; None for one that starts anew."""
        row, floats = TABLE[e.op], [v.type.is_float for v in e.args]
        if not any(floats) or not all(r.type.is_float and not r.type.host for r in e.results):
            return None
        if row.facts.get("linear"):
            return [sum(a.scale for a, is_float in zip(args, floats, strict=True) if is_float)]
        scales = [a.scale if is_float else a.value for a, is_float in zip(args, floats, strict=True)]
        if row.flops == 0 or "selects" in row.facts:  # entries only change places
            return self.attempt(e, scales, sizes)
        terms = [np.abs(a.value) if is_float else a.value for a, is_float in zip(args, floats, strict=True)]
        if not row.elementwise:
            return self.attempt(e, terms, sizes)
        if row.identity != 1:
            return None
        found = self.attempt(e, [scales[0], *terms[1:]], sizes)  # with a factor or a divisor
        return [np.fmax(*found, *self.attempt(e, [terms[0], *scales[1:]], sizes))] if row.commutative else found

    def attempt(self, e: Equation, sizes_of: list[object], sizes: Mapping[str, int]) -> Sequence[object] | None:
        """The operation where it is defined there: a factorisation of absolute values need not be."""
        try:
            return [np.abs(x) for x in self.equation(e, sizes_of, sizes)]
        except np.linalg.LinAlgError:
            return None


def larger(own: object, terms: object) -> object:
    """The larger of both; terms that are not finite say nothing."""
    return np.where(np.isfinite(terms), np.fmax(own, terms), own)
