"""One backward function: the sweep over a function's equations, and a signature that says what it reads and gives.

Parameters: those of the function that are read (models first), then intermediate values under their own names, sizes
that no shape tells, and the cotangents `d_y`. Results: the gradient of each model (`d_self`, by paths) and `d_x`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Parameter, Result, Value
from leec.ir.symbols import readable, symbols_of
from leec.ops import TABLE
from leec.passes.differentiate.activity import carries
from leec.passes.differentiate.adjoint import Sweep
from leec.passes.differentiate.names import final_names, needed, renamed

if TYPE_CHECKING:
    from leec.passes.differentiate.calls import Derivation


@dataclass(frozen=True)
class Backward:
    """The function, and which values of the primal one its first arguments are; the cotangents follow them."""

    function: Function
    reads: tuple[Value, ...]


def make_backward(derivation: Derivation, active: Sequence[int], slots: Sequence[int]) -> Backward:
    """The backward from the cotangents of `slots` to those of the inputs at `active`. Saves what it has to read."""
    f, seeds = derivation.function, seeds_of(derivation, slots)
    sweep = Sweep(
        derivation.derivatives,
        derivation.scope,
        [(derivation.slots[i], seed) for i, seed in seeds.items()],
        [f.inputs[i] for i in active],
    )
    cotangents = sweep.run()
    region = needed(sweep.builder.equations, cotangents)
    made = {r for e in region for r in e.results}
    foreign = {v for e in region for v in e.args}.union(cotangents) - made - set(seeds.values())
    kept = {v: derivation.kept(v) for v in sorted(foreign & derivation.changed, key=f.inputs.index)}
    reads, again = fetch(derivation, {kept.get(v, v) for v in foreign})
    read_names = {v.name for v in (*reads, *seeds.values(), *(r for e in again for r in e.results))}
    new = {**final_names(region, sweep, Builder(read_names), {}), **kept}
    gradients = {v: new.get(c, c) for v, c in zip(sweep.wrt, cotangents, strict=True)}
    results = tuple(results_of(f, gradients))
    body = (*again, *renamed(region, new))
    given = tuple(cotangent_parameters(derivation, seeds))
    taken = tuple(read_parameters(derivation, reads))
    shown = [p for p in taken if derivation.derivatives.listed.isdisjoint(p.values)]
    unknown = symbols_of((body, tuple(gradients.values()))) - readable((*shown, *given))
    sizes = tuple(Parameter(name, static=name) for name in sorted(unknown))
    made_function = Function(
        backward_name(derivation, active, slots),
        (*taken, *sizes, *given),
        body,
        results,
        facts=f.facts,
        doc=f.doc,
        span=f.span,
        owner=f.owner,
        public=False,
        backward_of=primal_name(derivation, slots),
    )
    return Backward(made_function, tuple(v for p in taken for v in p.values))


def backward_name(derivation: Derivation, active: Sequence[int], slots: Sequence[int]) -> str:
    """`f_backward` as a rule; by `_input` or `_parameters` if only these are active of a function that has both.

    Another set of active inputs under the same words gets a number.
    """
    f = derivation.function
    base = primal_name(derivation, slots)
    of_models = {v for p in f.parameters if p.model is not None for v in p.values if carries(v)}
    others = set(filter(carries, f.inputs)) - of_models
    chosen = {f.inputs[i] for i in active}
    kind = ""
    if of_models and others and not (of_models & chosen and others & chosen):
        kind = "_parameters" if of_models & chosen else "_input"
    return derivation.derivatives.names.unique(f"{base}_backward{kind}")


def primal_name(derivation: Derivation, slots: Sequence[int]) -> str:
    """The function whose results the cotangents of the slots belong to: the saving one if something saved has any."""
    return derivation.saved_name if any(i >= len(derivation.results) for i in slots) else derivation.function.name


def seeds_of(derivation: Derivation, slots: Sequence[int]) -> dict[int, Value]:
    """The cotangents that come in, by slot; each is named after the result that it belongs to.

    Their names stay taken, since a sweep may make more values to save; other backwards may have the same ones.
    """
    names = Builder(derivation.scope.names.names - derivation.seed_names)
    hints = [r.name if len(r.values) == 1 else v.name for r in derivation.function.results for v in r.values]
    hints += [v.name for v in derivation.saved]
    values = derivation.slots
    seeds = {i: Value(names.unique(f"d_{hints[i]}"), values[i].type, values[i].span, named=True) for i in slots}
    derivation.seed_names |= {v.name for v in seeds.values()} - derivation.scope.names.names
    derivation.scope.names.names |= derivation.seed_names
    return seeds


# ---- what a backward reads


def fetch(derivation: Derivation, foreign: set[Value]) -> tuple[set[Value], list[Equation]]:
    """How the backward comes by primal values: which it reads, and which equations it repeats because they cost nothing.

    Whatever is neither an argument that stays as it is, a result, saved already nor free to repeat is saved from now on.
    All is free where the function is one to be done `again`.
    """
    function = derivation.function
    again: dict[Equation, None] = {}
    reads: set[Value] = set()
    at_hand = {*function.inputs, *(() if function.again else derivation.slots)} - derivation.changed
    source = {r: e for e in derivation.scope.body for r in e.results}

    def is_free(value: Value) -> bool:
        return value in at_hand or (
            value in source
            and (function.again or costs_nothing(source[value]))
            and all(map(is_free, source[value].args))
        )

    def take(value: Value) -> None:
        if value in at_hand or not is_free(value):
            reads.add(value)
            if value not in at_hand:
                derivation.save(value)
                at_hand.add(value)
        elif source[value] not in again:
            for arg in source[value].args:
                take(arg)
            again[source[value]] = None

    for value in [v for e in derivation.scope.body for v in e.results if v in foreign]:
        take(value)
    return reads | (foreign & set(function.inputs)), list(again)


def costs_nothing(equation: Equation) -> bool:
    """Views of arrays, what only alters gradients, opposites, host arithmetic, and tensors of host numbers alone."""
    row = TABLE[equation.op]
    if row.effect or equation.op == "call":
        return False
    hosted = all(a.type.host for a in equation.args)
    opposite = len(equation.args) == 1 and all(v.type.dtype == "bool" for v in (*equation.args, *equation.results))
    return (
        opposite
        or not row.facts.keys().isdisjoint(("moves", "alters"))
        or (hosted and (row.flops == 0 or all(r.type.host for r in equation.results)))
    )


# ---- the signature


def read_parameters(derivation: Derivation, reads: set[Value]) -> Iterator[Parameter]:
    f = derivation.function
    for p in sorted(f.parameters, key=lambda p: p.model is None):
        values, paths = chosen_values(p, reads)
        if values:
            yield replace(p, values=values, paths=paths, default=None)
    inputs = set(f.inputs)
    for equation in derivation.scope.body:
        yield from (Parameter(v.name, (v,)) for v in equation.results if v in reads and v not in inputs)


def chosen_values(part: Parameter, wanted: Container[Value]) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    """The wanted values of a parameter, and their paths where it has any."""
    kept = [i for i, v in enumerate(part.values) if v in wanted]
    return tuple(part.values[i] for i in kept), tuple(part.paths[i] for i in kept if part.paths)


def cotangent_parameters(derivation: Derivation, seeds: Mapping[int, Value]) -> Iterator[Parameter]:
    """One for every result of which some slot has a cotangent, then one for every saved value."""
    first = 0
    for r in derivation.function.results:
        held = [(seeds[first + i], i) for i in range(len(r.values)) if first + i in seeds]
        first += len(r.values)
        if held and r.paths:
            yield Parameter(f"d_{r.name}", tuple(v for v, _ in held), r.model, tuple(r.paths[i] for _, i in held))
        elif held:
            yield from (Parameter(v.name, (v,)) for v, _ in held)
    yield from (Parameter(v.name, (v,)) for i, v in seeds.items() if i >= first)


def results_of(f: Function, gradients: Mapping[Value, Value]) -> Iterator[Result]:
    for p in f.parameters:
        values, paths = chosen_values(p, gradients)
        if values:
            yield Result(f"d_{p.name}", tuple(gradients[v] for v in values), p.model, paths)
