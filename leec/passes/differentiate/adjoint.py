"""Reverse mode on one list of equations: a Sweep walks it backwards once and writes the equations of the cotangents.

They read the primal values as they stand and carry the span of the equation they come from. Their names are
provisional; leec/passes/differentiate/names.py gives the final ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leec.diagnostics import InternalError
from leec.dims import Dim
from leec.ir.build import Builder
from leec.ir.graph import Equation, Value
from leec.ops import TABLE
from leec.passes.differentiate.activity import active_values, apply_rule, carries
from leec.types import TensorType

if TYPE_CHECKING:
    from leec.passes.differentiate.calls import Derivatives

Conditions = tuple[tuple[Value, bool], ...]  # innermost first; True: the gradient passes where the condition holds
Cotangents = Sequence[Value | None]


class AdjointBuilder(Builder):
    """A Builder in which a zero that a choice put stays a zero.

    0 * inf is NaN, so masking the cotangent at the choice is not enough: `where(x > 0, log(x), 0)` would give NaN at 0.
    What was masked is therefore computed from the unmasked cotangent and masked again after every elementwise step
    (decision 10); the selects in between are then read by nothing and dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conditions: Conditions = ()  # of what is being computed
        self.masked: dict[Value, tuple[Value, Conditions]] = {}  # with the value before masking
        self.choices: dict[tuple, Value] = {}
        self.constants: dict[str, Value] = {}

    def unique(self, hint: str) -> str:
        return hint

    def lift(self, value: Value | Dim | int | float | bool) -> Value:
        """As ever, and one constant for equal numbers."""
        if isinstance(value, Value | Dim):
            return super().lift(value)
        if repr(value) not in self.constants:
            self.constants[repr(value)] = super().lift(value)
        return self.constants[repr(value)]

    def emit(self, op: str, args: tuple[Value, ...], params: dict | None = None, hint: str | None = None):
        if "selects" not in TABLE[op].facts:
            return super().emit(op, args, params, hint)
        if (op, args) not in self.choices:
            self.choices[op, args] = self.note_choice(super().emit(op, args, params, hint), *args)
        return self.choices[op, args]

    def note_choice(self, result: Value, condition: Value, x: Value, y: Value) -> Value:
        """Remember of a choice between a value and 0 what it masks."""
        zero = self.constants.get("0.0")
        for kept, other, holds in ((x, y, True), (y, x, False)):
            if other is zero:
                raw, inner = self.masked.get(kept, (kept, ()))
                self.masked[result] = raw, (*inner, (condition, holds))
        return result

    def mask(self, g: Value, conditions: Conditions) -> Value:
        """g with zeros where the conditions say, unless they are there already."""
        _, have = self.masked.get(g, (g, ()))
        if have[len(have) - len(conditions) :] == conditions:
            return g
        for c, holds in conditions:
            g = self.select(c, g, 0.0) if holds else self.select(c, 0.0, g)
        return g

    def sum_to(self, g: Value, dims: tuple[Dim, ...]) -> Value:
        return super().sum_to(self.mask(g, self.conditions), dims)

    def zeros(self, type: TensorType, hint: str | None = None) -> Value:
        return self.lift(0.0) if type.host else self.fill(0.0, dims=type.dims, dtype=type.dtype, hint=hint)


@dataclass
class Scope:
    """The equations of a function while differentiation adds to them, and the names that are taken there."""

    body: list[Equation]
    names: Builder


class Sweep:
    """One walk backwards over a scope, from the cotangents in `seeds` to those of `wrt`.

    It is also what a structured row works with. Its fact `differentiate` is called with the sweep, the equation and
    the cotangents of the results (None where there is none), and gives a cotangent or None for every argument; it
    writes with `builder`, asks `active`, may `replace` its equation by one with more results, and finds derivatives
    of functions in `derivatives`. Its fact `ways` says, as in activity.py, which arguments each result reaches.
    """

    def __init__(
        self,
        derivatives: Derivatives,
        scope: Scope,
        seeds: Iterable[tuple[Value, Value]],
        wrt: Sequence[Value],
        builder: AdjointBuilder | None = None,
    ) -> None:
        self.derivatives, self.scope, self.wrt = derivatives, scope, wrt
        self.builder = builder or AdjointBuilder()
        self.parts: dict[Value, list[Value]] = {}  # contributions, and the sums of the first of them
        self.totals: dict[Value, Value] = {}
        for value, seed in seeds:
            self.parts.setdefault(value, []).append(seed)
        self.seeds = {seed for parts in self.parts.values() for seed in parts}
        self.active = active_values(scope.body, self.parts, wrt, derivatives.ways)

    def run(self) -> tuple[Value, ...]:
        """The cotangents of `wrt`, zeros for one that nothing reaches."""
        for position, equation in reversed(list(enumerate(self.scope.body))):
            self.position = position
            if not (self.active.isdisjoint(equation.results) or self.active.isdisjoint(equation.args)):
                self.builder.span = equation.span
                self.through(equation)
        for value in self.wrt:
            if self.total(value) is None:
                self.totals[value] = self.builder.zeros(value.type)
        return tuple(self.totals[v] for v in self.wrt)

    def replace(self, equation: Equation) -> None:
        """Another equation in the place of the one that is being differentiated."""
        self.scope.body[self.position] = equation

    def through(self, equation: Equation) -> None:
        """Hand the cotangents of the results on to the arguments."""
        from leec.passes.differentiate.recurrences import through_scan  # which works with sweeps

        cotangents = [self.total(r) if r in self.active else None for r in equation.results]
        raw, conditions = self.unmasked(equation, cotangents)
        if hook := TABLE[equation.op].facts.get("differentiate"):
            parts = hook(self, equation, cotangents)
        elif equation.op == "call":
            parts = self.derivatives.through_call(self, equation, cotangents)
        elif equation.op == "scan":
            parts = through_scan(self, equation, cotangents)
        else:
            parts = self.by_rule(equation, raw, conditions)
        for arg, part in zip(equation.args, parts, strict=True):
            if part is not None and arg in self.active:
                entrywise = part.type.dims == equation.results[0].type.dims
                self.give(arg, self.builder.mask(part, conditions) if entrywise else part)

    def unmasked(self, equation: Equation, cotangents: Cotangents) -> tuple[Cotangents, Conditions]:
        """The cotangents before they were masked, and by what; of an elementwise equation with one of them only."""
        if len([c for c in cotangents if c]) > 1 or not self.derivatives.is_elementwise(equation):
            return cotangents, ()
        found = [(c, ()) if c is None else self.builder.masked.get(c, (c, ())) for c in cotangents]
        return [raw for raw, _ in found], next((conditions for _, conditions in found if conditions), ())

    def by_rule(self, equation: Equation, cotangents: Cotangents, conditions: Conditions) -> Cotangents:
        given = list(cotangents)
        if not TABLE[equation.op].facts.get("partial"):  # whose rules know what to do without some
            pairs = zip(cotangents, equation.results, strict=True)
            given = [self.builder.zeros(r.type) if g is None and carries(r) else g for g, r in pairs]
        self.builder.conditions = conditions
        parts = apply_rule(self.builder, equation, given)
        self.builder.conditions = ()
        return parts

    def give(self, value: Value, part: Value) -> None:
        """Add a contribution to a cotangent. Raises InternalError if a rule made one of another shape."""
        if part.type.dtype != value.type.dtype:
            part = self.builder.cast(part, dtype=value.type.dtype)
        if part.type != value.type:
            raise InternalError(f"the cotangent of {value.name}: {value.type} came out as {part.type}")
        self.parts.setdefault(value, []).append(part)

    def total(self, value: Value) -> Value | None:
        """The sum of the contributions, which are complete once the walk has reached the value's equation."""
        if value in self.parts and value not in self.totals:
            total, *others = self.parts[value]
            for part in others:
                total = self.builder.add(total, part)
                self.parts[value].append(total)
            self.totals[value] = total
        return self.totals.get(value)
