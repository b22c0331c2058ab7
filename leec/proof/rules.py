"""The first operation whose gradient rule parts from autograd through its torch column, judged by finite differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Parameter, Program, Result, Value
from leec.ir.text import print_equation
from leec.passes.differentiate import differentiate
from leec.proof.agreement import compare
from leec.proof.autograd import Written
from leec.proof.emitted import to_array
from leec.proof.interpret import Interpreter
from leec.proof.report import Finding
from leec.proof.walk import Walk, statistics

TOLERANCE = 1e-8  # of one rule on its own, in float64
STEP, SLOPE = 1e-5, 1e-4  # of finite differences, and how closely they must agree to decide


def parting_rule(
    program: Program, f: Function, values: Sequence[Any], sizes: Mapping[str, int], rules: frozenset[str]
) -> Finding | None:
    """Walk through a function before differentiation; None where every rule agrees."""
    return Walk(program, rules=rules, visit=visit).find(program.functions[f.name], values, sizes)


def visit(walk: Walk, f: Function, e: Equation, args: Sequence[Any], sizes: Mapping[str, int]) -> Finding | None:
    wanted = [v for v in dict.fromkeys(e.args) if v.type.is_float and not v.type.host]
    outputs = [r for r in e.results if r.type.is_float and not r.type.host]
    if not wanted or not outputs:
        return None
    given = dict(zip(e.args, (x.detach() if hasattr(x, "detach") else x for x in args), strict=True))
    random = np.random.default_rng(0)
    cotangents = [random.normal(size=tuple(d.evaluate(sizes) for d in r.type.dims)) for r in outputs]
    probe = weighted(e, wanted, outputs)
    inputs = [*given.values(), *cotangents]
    by_rule = gradients(Interpreter(differentiate(probe), "torch"), inputs, sizes)
    by_library = gradients(Written(probe), inputs, sizes)
    for v, a, b in zip(wanted, by_rule, by_library, strict=True):
        row = compare(v.name, {"rule": a, "autograd": b}, float(np.abs(b).max(initial=0.0)), TOLERANCE)
        if not row.agrees:
            return judged(f, e, v, (a, b), slopes(probe, inputs, v, sizes, (a, b)))
    return None


def weighted(e: Equation, wanted: Sequence[Value], outputs: Sequence[Value]) -> Program:
    """`alone(args, g..) -> the gradients of the sum of g * results`."""
    arguments = list(dict.fromkeys(e.args))
    b = Builder(v.name for v in (*arguments, *e.results))
    weights = [b.value(f"g_{r.name}", r.type) for r in outputs]
    b.equations.append(e)
    terms = [b.sum(b.mul(r, g), axes=tuple(range(r.type.rank))) for r, g in zip(outputs, weights, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = b.add(total, term)
    found = b.grad(total, *wanted)
    parameters = tuple(Parameter(f"x{i}", (v,)) for i, v in enumerate((*arguments, *weights)))
    results = (Result("total", (total,)), *(Result(f"d_{i}", (g,)) for i, g in enumerate(found)))
    return Program({"alone": Function("alone", parameters, tuple(b.equations), results)})


def gradients(machine: Interpreter, inputs: Sequence[Any], sizes: Mapping[str, int]) -> list[np.ndarray]:
    return [to_array(x) for x in total_and_gradients(machine, inputs, sizes)[1:]]


def total_and_gradients(machine: Interpreter, inputs: Sequence[Any], sizes: Mapping[str, int]) -> list[Any]:
    f = machine.program.functions["alone"]
    return machine.call(f, [machine.array(x, v.type) for x, v in zip(inputs, f.inputs, strict=True)], sizes)


def slopes(
    probe: Program, inputs: Sequence[Any], v: Value, sizes: Mapping[str, int], claims: Sequence[np.ndarray]
) -> list[bool]:
    """For each claim whether finite differences along a random direction confirm it."""
    machine = Written(probe)
    place = list(machine.program.functions["alone"].inputs).index(v)
    x = to_array(inputs[place])
    direction = np.random.default_rng(1).normal(size=x.shape)

    def total(h: float) -> float:
        moved = [*inputs[:place], x + h * direction, *inputs[place + 1 :]]
        return float(to_array(total_and_gradients(machine, moved, sizes)[0]))

    slope = (total(STEP) - total(-STEP)) / (2 * STEP)
    limit = SLOPE * max(abs(slope), float(np.abs(direction).sum()) * SLOPE)
    return [abs(float((claim * direction).sum()) - slope) <= limit for claim in claims]


def judged(f: Function, e: Equation, v: Value, claims: tuple[np.ndarray, np.ndarray], right: list[bool]) -> Finding:
    """Who of both is wrong; the rule, unless finite differences take its side alone."""
    text = print_equation(e).partition("   #")[0]
    sides = {"gradient rule": statistics(claims[0]), "autograd": statistics(claims[1])}
    if right == [True, False]:
        message = (
            f"autograd through the torch column of `{e.op}` gives another gradient by {v.name} than finite differences"
        )
        return Finding("operation", e.op, message, f.name, text, e.span, sides)
    verdict = ", and finite differences agree with autograd" if right == [False, True] else ""
    message = f"the gradient rule of `{e.op}` and autograd part on the gradient by {v.name}{verdict}"
    return Finding("gradient rule", e.op, message, f.name, text, e.span, sides)
