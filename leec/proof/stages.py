"""The first pass after which a function gives something else than before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from leec import passes
from leec.ir.graph import Equation, Function, Program, Value
from leec.ir.text import print_equation
from leec.ops import TABLE
from leec.proof.agreement import TOLERANCES, compare
from leec.proof.autograd import Written
from leec.proof.emitted import Spec, to_array
from leec.proof.report import Finding
from leec.proof.rules import parting_rule
from leec.proof.walk import statistics

Values = Sequence[Any]
Sizes = Mapping[str, int]


def parting_stage(
    spec: Spec, f: Function, values: Values, sizes: Sizes, rules: frozenset[str], scales: Sequence[float]
) -> Finding | None:
    """Evaluate the function after every pass; None where all give the same."""
    before = spec.module.functions
    stages: list[tuple[str, Program]] = []
    passes.run(
        before,
        spec.options.level,
        lambda name, program: stages.append((name, program)),
        recognise=spec.options.recognise,
        recompute=spec.options.recompute,
    )
    known = outputs(before, f, values, sizes, rules)
    for name, program in stages:
        found = outputs(program, f, values, sizes, rules)
        if not same(known, found, scales):
            return finding(name, before, program, f, values, sizes, rules)
        before, known = program, found
    return None


def outputs(program: Program, f: Function, values: Values, sizes: Sizes, rules: frozenset[str]) -> list[np.ndarray]:
    found = Written(program, rules=rules).evaluate(program.functions[f.name], values, sizes)
    return [to_array(x) for x in found]


def same(a: Sequence[np.ndarray], b: Sequence[np.ndarray], scales: Sequence[float]) -> bool:
    pairs = zip(a, b, scales, strict=True)
    return all(compare("", {"before": x, "after": y}, s, TOLERANCES["f64"]).agrees for x, y, s in pairs)


def finding(
    stage: str, before: Program, after: Program, f: Function, values: Values, sizes: Sizes, rules: frozenset[str]
) -> Finding:
    """The gradient rule to blame where there is one, else the pass, with the first value that it changed."""
    if any(e.op == "grad" for e in before.functions[f.name].body) and not requests(after):
        rule = parting_rule(before, f, values, sizes, rules)
        if rule is not None:
            return rule
    message = f"the pass `{stage}` changes what `{f.name}` gives"
    changed = first_changed(before, after, f, values, sizes, rules)
    if changed is None:
        return Finding("pass", stage, message, f.name, span=f.span)
    function, e, old, new = changed
    sides = {f"before {stage}": statistics(old), f"after {stage}": statistics(new)}
    return Finding("pass", stage, message, function.name, print_equation(e).partition("   #")[0], e.span, sides)


def requests(program: Program) -> bool:
    return any(e.op == "grad" for f in program.functions.values() for e in f.body)


class Trace(Written):
    """Every call with its arguments and the values of its equations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.calls: list[tuple[Function, list[Any], dict[str, int]]] = []
        self.seen: list[tuple[Function, Equation, Value, Any]] = []
        self.observer = self.observe

    def observe(self, f: Function, e: Equation, results: tuple) -> None:
        self.seen += [(f, e, v, to_array(x)) for v, x in zip(e.results, results, strict=True) if not v.type.host]

    def equation(self, e: Equation, args: list[Any], sizes: Sizes) -> tuple:
        results = super().equation(e, args, sizes)
        if "callee" in TABLE[e.op].params:  # after what it calls itself: innermost first
            inner = {symbol: dim.evaluate(sizes) for symbol, dim in e.params["dims"]}
            given = [x.detach() if hasattr(x, "detach") else x for x in args]
            self.calls.append((self.program.functions[e.params["callee"]], given, inner))
        return results


def first_changed(
    before: Program, after: Program, f: Function, values: Values, sizes: Sizes, rules: frozenset[str]
) -> tuple[Function, Equation, Any, Any] | None:
    """In the innermost function that changed, the first equation whose result has another value than under its name before."""
    trace = Trace(before, rules=rules)
    trace.evaluate(before.functions[f.name], values, sizes)
    for g, given, inner in [*trace.calls, (f, list(values), dict(sizes))]:
        if g.name in after.functions and len(after.functions[g.name].inputs) == len(given):
            found = changed_in(before, after, g, given, inner, rules)
            if found is not None:
                return found
    return None


def changed_in(
    before: Program, after: Program, g: Function, given: Values, sizes: Sizes, rules: frozenset[str]
) -> tuple[Function, Equation, Any, Any] | None:
    old, new = Trace(before, rules=rules), Trace(after, rules=rules)
    results = [
        trace.evaluate(program.functions[g.name], given, sizes) for trace, program in ((old, before), (new, after))
    ]
    size = largest(given)
    pairs = list(zip(*([to_array(x) for x in r] for r in results), strict=False))
    if len(results[0]) == len(results[1]) and all(same([x], [y], [size]) for x, y in pairs):
        return None
    known = {v.name: x for h, _, v, x in old.seen if h.name == g.name}
    for h, e, v, x in new.seen:
        if (
            h.name == g.name
            and v.name in known
            and known[v.name].shape == x.shape
            and not same([known[v.name]], [x], [size])
        ):
            return h, e, known[v.name], x
    return None


def largest(values: Values) -> float:
    """The largest finite number among arrays: a scale where nothing better is known."""
    arrays = [to_array(x) for x in values]
    finite = [np.abs(x[np.isfinite(x)]).max(initial=0.0) for x in arrays if x.dtype.kind == "f"]
    return float(max(finite, default=0.0))
