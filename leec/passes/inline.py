"""Inlining: the equations of a callee in the place of its call, typed anew for the caller's sizes.

At -O1 only small functions that a later pass must see through, or that the user did not write; functions that stay
visible in generated code keep their calls. At -O2 everything, so that a step is one function. Callees stay in the
program. Names are those of the callee, spans too; the values of the call keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from leec.dims import Dim, Facts
from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Parameter, Program, Result, Value, callees, rename
from leec.ops import TABLE
from leec.ops.contract import Contraction
from leec.ops.table import complete
from leec.passes.rewrite import asked_about, settled
from leec.passes.stabilise import is_delicate
from leec.types import TensorType

SMALL = 12  # equations with arguments
SEEN_THROUGH = {
    "reduces",
    "moves",
    "uniform",
    "body",
}  # facts of what small functions are made of, beside entrywise ops

Binding = Mapping[str, Dim]


def inline_small(program: Program) -> Program:
    """Calls of small pure functions, where they are the library's or what they compute is delicate."""
    return inlined(program, is_small)


def inline_all(program: Program) -> Program:
    """Every call in the functions that nobody calls and that are no methods: steps, examples, what users call.

    Constructors stay: from the object that they make come the sizes of others like it.
    """
    called = {name for f in program.functions.values() for name in callees(f)}
    roots = {name for name, f in program.functions.items() if f.owner is None and name not in called}
    everything = inlined(program, lambda f: not is_rule(f) and not is_constructor(f))
    return Program({name: (everything if name in roots else program).functions[name] for name in program.functions})


def is_small(f: Function) -> bool:
    rows = [TABLE[e.op] for e in f.body if e.args]
    plain = not f.state and f.owner is None and not any(v.type.dtype == "key" for v in f.inputs)
    simple = all(row.elementwise or SEEN_THROUGH & row.facts.keys() for row in rows) and not any(r.effect for r in rows)
    return plain and simple and len(rows) <= SMALL and (not f.public or is_delicate(f))


def is_rule(f: Function) -> bool:
    """Moves tensors that are given by themselves, as the rule of an optimizer does: steps apply it to whole vectors."""
    alone = {v for p in f.parameters if p.model is None for v in p.values}
    return any(before in alone for before, _ in f.state)


def is_constructor(f: Function) -> bool:
    return any(f.name == f"{r.model}.init" for r in f.results)


def inlined(program: Program, chosen: Callable[[Function], bool]) -> Program:
    """The program with the chosen callees in the place of their calls, callees first."""
    done: dict[str, Function] = {}
    fitting: dict[str, bool] = {}
    for name, f in program.functions.items():
        done[name] = _with_bodies(f, done, fitting)
        fitting[name] = chosen(done[name])
    return Program(done)


def _with_bodies(f: Function, done: Mapping[str, Function], fitting: Mapping[str, bool]) -> Function:
    b, now, opaque = Builder(v.name for v in f.values()), {}, asked_about(f)
    facts, checks = f.facts, dict.fromkeys(f.checks)
    for equation in f.body:
        equation = rename(equation, now)
        callee = done.get(equation.params.get("callee"))
        if callee is None or not fitting[callee.name] or not _is_replaceable(equation, callee, opaque):
            b.equations.append(equation)
            continue
        now |= expand(b, equation, callee)
        binding = dict(equation.params["dims"])
        facts = _joined(facts, callee.facts.substitute(binding))
        taken = (c.substitute(binding) for c in callee.checks)
        checks |= dict.fromkeys(c for c in taken if not c.holds())
    return replace(settled(f, b.equations, now), facts=facts, checks=tuple(checks))


def _joined(a: Facts, b: Facts) -> Facts:
    """What is known in the caller or in what it took in."""
    return Facts(
        tuple(dict.fromkeys((*a.remainders, *b.remainders))), tuple(dict.fromkeys((*a.equal_pairs, *b.equal_pairs)))
    )


def _is_replaceable(call: Equation, callee: Function, opaque: frozenset[Value]) -> bool:
    """A call, and no derivative would be with respect to another value than before (R6)."""
    passed = {v for v in callee.outputs if v in callee.inputs or callee.outputs.count(v) > 1}
    asked = any(r in opaque and v in passed for r, v in zip(call.results, callee.outputs, strict=True))
    return call.op == "call" and not asked and not asked_about(callee)


def expand(b: Builder, call: Equation, callee: Function) -> dict[Value, Value]:
    """Append the callee's equations; gives what stands for those results of the call that are not among theirs."""
    binding: Binding = dict(call.params["dims"])
    inputs = zip(callee.inputs, call.args, strict=True)
    here = {v: fitted(b, a, v.type.substitute(binding)) for v, a in inputs}
    wanted: dict[Value, Value] = {}
    for inner, result in zip(callee.outputs, call.results, strict=True):
        if inner.type.substitute(binding) == result.type:
            wanted.setdefault(inner, result)
    for equation in callee.body:
        for old, new in zip(equation.results, _copied(b, equation, here, binding, wanted), strict=True):
            here[old] = new
    b.span = call.span
    given = [(r, fitted(b, here[v], r.type)) for v, r in zip(callee.outputs, call.results, strict=True)]
    return {result: value for result, value in given if result is not value}


def _copied(b: Builder, e: Equation, here, binding: Binding, wanted: Mapping[Value, Value]) -> tuple[Value, ...]:
    """One equation of a callee in the caller; its results are those of the call where it computes them."""
    row, args = TABLE[e.op], tuple(here[a] for a in e.args)
    params = complete(row, {k: substituted(p, binding) for k, p in e.params.items()})
    types = row.type(*(a.type for a in args), **params)
    results = []
    for old, type in zip(e.results, types if isinstance(types, tuple) else (types,), strict=True):
        keeps = old in wanted and wanted[old].type == type
        results.append(wanted[old] if keeps else Value(b.unique(old.name), type, old.span))
    b.equations.append(Equation(e.op, args, params, tuple(results), e.span))
    return tuple(results)


def fitted(b: Builder, value: Value, type: TensorType) -> Value:
    """The value under dims that are equal by the facts of the program."""
    return value if value.type.dims == type.dims else b.reshape(value, dims=type.dims)


def substituted(param: object, binding: Binding) -> object:
    """A param with the callee's sizes written as the caller's."""
    match param:
        case Dim() | TensorType() | Contraction():
            return param.substitute(binding)
        case Function():
            return _body_substituted(param, binding)
        case tuple():
            return type(param)(substituted(p, binding) for p in param)
    return param


def _body_substituted(f: Function, binding: Binding) -> Function:
    """A function among params has the sizes of the one it stands in."""
    new = {v: replace(v, type=v.type.substitute(binding)) for v in f.values()}
    change = lambda values: tuple(new[v] for v in values)  # noqa: E731

    def parts(these: tuple) -> Iterator[Parameter | Result]:
        return (replace(p, values=change(p.values)) for p in these)

    body = (
        Equation(
            e.op, change(e.args), {k: substituted(p, binding) for k, p in e.params.items()}, change(e.results), e.span
        )
        for e in f.body
    )
    return replace(f, parameters=tuple(parts(f.parameters)), body=tuple(body), results=tuple(parts(f.results)))
