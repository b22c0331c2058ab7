"""Values in memory of their own, as states are written over (R9): copies of what is read after that, or handed out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Value, rename
from leec.ir.module import Module
from leec.ops import TABLE
from leec.passes.dce import dce
from leec.passes.recognise import expand

PASSING = {"moves", "alters"}  # facts of ops whose result may lie where their argument does


def lowered(module: Module, column: str) -> Program:
    """The functions as the library of a column runs them, with copies of states that are taken where each is still whole."""
    functions: dict[str, Function] = {}
    for name, f in dce(expand(module.functions, column)).functions.items():  # callees stand before callers
        functions[name] = owning(apart(f, functions), tuple(states(f, module)), functions)
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


# ---- what is read after a state was written over


def apart(f: Function, functions: Mapping[str, Function]) -> Function:
    """The function with copies of states for what it reads of them after they changed."""
    b, body, results = Builder(v.name for v in f.values()), [[e] for e in f.body], {}
    for place, state, is_called in changes(f, functions):
        read = {a for e in f.body[place + 1 :] for a in e.args} | {v for r in f.results for v in r.values}
        early = [
            i for i, e in enumerate(f.body[:place]) if state in e.args and passes(e) and read & passed(f, e, functions)
        ]
        late = [i for i, e in enumerate(f.body) if i > place and state in e.args] if is_called else []
        if early or late or (is_called and state in read):
            copy = b.keep(state, hint=state.name)
            for i in (*early, *late):
                body[i][-1] = rename(body[i][-1], {state: copy})
            body[min((*early, place))].insert(0, b.equations.pop())
            results |= {state: copy} if is_called else {}
    named = tuple(replace(r, values=tuple(results.get(v, v) for v in r.values)) for r in f.results)
    return replace(f, body=tuple(e for part in body for e in part), results=named)


def changes(f: Function, functions: Mapping[str, Function]) -> Iterator[tuple[int, Value, bool]]:
    """States and the equations that change them, by place: calls and loops at once, the function itself not before."""
    made = {v: i for i, e in enumerate(f.body) for v in e.results}
    kept = {v for e in f.body for v in e.args} | set(f.outputs)
    for i, e in enumerate(f.body):
        callee = functions.get(e.params.get("callee", ""))
        if callee is not None and kept.intersection(e.results[len(e.results) - len(callee.state) :]):
            before = {old for old, _ in callee.state}
            yield from ((i, a, True) for a, v in zip(e.args, callee.inputs, strict=True) if v in before)
    yield from ((made[new], old, False) for old, new in f.state if new in made)


def passed(f: Function, e: Equation, functions: Mapping[str, Function]) -> set[Value]:
    return views(f, tuple(e.results), functions)


# ---- what is handed out


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
