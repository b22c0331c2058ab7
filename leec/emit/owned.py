"""Results in memory of their own: no function hands out a state or a view of one, as the next call writes over it (R9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Value
from leec.ir.module import Module
from leec.ops import TABLE
from leec.passes.dce import dce
from leec.passes.recognise import expand

PASSING = {"moves", "alters"}  # facts of ops whose result may lie where their argument does


def lowered(module: Module, column: str) -> Program:
    """The functions as the library of a column runs them; they return copies of states, taken where each is still whole."""
    functions: dict[str, Function] = {}
    for name, f in dce(expand(module.functions, column)).functions.items():  # callees stand before callers
        functions[name] = owning(f, tuple(states(f, module)), functions)
    return Program(functions)


def is_taken(f: Function, equation: Equation) -> bool:
    """Whether this is a copy that must be made before the function writes over a state."""
    news = [after for _, after in f.state]
    return "copies" in TABLE[equation.op].facts and bool(news) and equation.args[0] not in news


def states(f: Function, module: Module) -> Iterator[Value]:
    """The tensors of its models and optimizers that calls write over, as they were and as they become."""
    for p in f.parameters:
        if p.model is not None:
            leaves = module.models[p.model].leaves if p.model in module.models else ()
            trained = {leaf.path for leaf in leaves if leaf.kind == "param"}
            yield from (v for v, path in zip(p.values, p.paths, strict=True) if path not in trained)
    yield from (after for _, after in f.state)


def views(f: Function, shared: tuple[Value, ...], functions: Mapping[str, Function]) -> set[Value]:
    """Some values, and what passes their memory on: what only moves entries or alters gradients, and calls of such."""
    seen = set(shared)
    for e in f.body:
        if e.op == "call":
            callee = functions[e.params["callee"]]
            entering = tuple(i for i, a in zip(callee.inputs, e.args, strict=True) if a in seen)
            inside = views(callee, entering, functions) if entering else set()
            seen.update(r for r, o in zip(e.results, callee.outputs, strict=True) if o in inside)
        elif seen.intersection(e.args) and passes(e):
            seen.update(e.results)
    return seen


def passes(e: Equation) -> bool:
    """Whether a result may lie where an argument does; a diagonal is a contraction of one."""
    return bool(PASSING & TABLE[e.op].facts.keys()) or ("spec" in e.params and len(e.args) == 1)


def owning(f: Function, shared: tuple[Value, ...], functions: Mapping[str, Function]) -> Function:
    """The function with copies of those results that are shared tensors or views of them."""
    seen = views(f, shared, functions)
    given = dict.fromkeys(v for r in f.results if r.model is None for v in r.values if v in seen)
    b = Builder(v.name for v in f.values())
    source = {v: e.span for e in f.body for v in e.results}
    own = {v: b.keep(v, hint=v.name) for v in given}
    if not own:
        return f
    made = {v: replace(e, span=source.get(v)) for v, e in zip(own, b.equations, strict=True)}

    def body() -> Iterator[Equation]:
        yield from (made[v] for v in f.inputs if v in made)
        for e in f.body:
            yield e
            yield from (made[v] for v in e.results if v in made)

    results = tuple(
        replace(r, values=tuple(own.get(v, v) for v in r.values)) if r.model is None else r for r in f.results
    )
    return replace(f, body=tuple(body()), results=results)
