"""The program that a library's autograd follows: gradients are altered where the spec alters them, and states are kept.

Code with its gradients written out has no more use for `graft`, `stop` and `guard` once they were derived; a module that
somebody trains with the library's own autograd has. And what such a module computes with may not be written over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Value, callees, rename
from leec.ir.loops import STATE
from leec.ops import TABLE
from leec.passes.dce import live, reachable
from leec.passes.differentiate.activity import active_values, carries
from leec.passes.differentiate.calls import Derivatives


def followed(before: Program, after: Program, plain: Collection[str]) -> Program:
    """`after`, with those of the `plain` functions that alter gradients as they were `before` the release.

    So are those into which a function that alters gradients was inlined. They come with what they call and nothing in
    `after` does.
    """
    free = {n: live(with_states_free(before.functions[n])) for n in plain}
    altering = frozenset(n for n, f in free.items() if any(map(alters, f.body)))
    there, still = reached(before, altering), reached(after, altering)
    taken = [n for n in free if n in after.functions and (n in altering or there[n] - still[n])]
    needed = after.functions.keys() | reachable(before, taken).functions.keys()
    forms = {**before.functions, **after.functions, **{n: free[n] for n in {*taken, *altering}}}
    program = Program({n: forms[n] for n in before.functions if n in needed})
    derivatives = Derivatives(())
    derivatives.functions.update(before.functions)
    kept = {n: with_states_kept(f, derivatives) for n, f in program.functions.items() if n in plain and f.state}
    return Program({**program.functions, **kept})


def reached(program: Program, wanted: frozenset[str]) -> dict[str, frozenset[str]]:
    """By function those of the wanted ones that it is or calls, through others too."""
    found: dict[str, frozenset[str]] = {}
    for name, f in program.functions.items():  # callees stand before callers
        found[name] = (wanted & {name}).union(*(found.get(c, frozenset()) for c in callees(f)))
    return found


def alters(equation: Equation) -> bool:
    return "alters" in TABLE[equation.op].facts


def with_states_free(f: Function) -> Function:
    """Without what keeps gradients from a new state that is read nowhere else: it is stored without one anyway (R9)."""
    source = {e.result: e for e in f.body if alters(e)}
    readers = Counter(a for e in f.body for a in e.args) + Counter(f.outputs)

    def stored(value: Value) -> Value:
        return source[value].args[0] if value in source and readers[value] == 1 else value

    return replace(f, state=tuple((old, stored(new)) for old, new in f.state))


def with_states_kept(f: Function, derivatives: Derivatives) -> Function:
    """With copies for what computes gradients from a state that the function then writes over."""
    changed = {old for old, new in f.state if old is not new}
    ends = [v for r in f.results for v in r.values]
    active = active_values(f.body, ends, [v for v in f.inputs if carries(v) and v not in changed], derivatives.ways)
    views = set(changed)
    for e in f.body:
        views.update(e.results if "moves" in TABLE[e.op].facts and views.intersection(e.args) else ())
    reading = [e for e in f.body if not active.isdisjoint(e.results) and reads(e, derivatives) & views]
    if any(reads(e, derivatives) & (views - changed) for e in reading):
        reading += [e for e in f.body if not views.isdisjoint(e.results)]
    b = Builder(v.name for v in f.values())
    copies = {v: b.keep(v, hint=v.name) for v in dict.fromkeys(a for e in reading for a in e.args) if v in changed}
    return f.with_body((*b.equations, *(rename(e, copies) if e in reading else e for e in f.body))) if copies else f


def reads(equation: Equation, derivatives: Derivatives) -> set[Value]:
    """The arguments, but for those that a callee writes over: it keeps them itself."""
    if equation.op == "scan":
        return {a for a, role in zip(equation.args, equation.params["roles"], strict=True) if role != STATE}
    if equation.op != "call":
        return set(equation.args)
    callee = derivatives.functions[equation.params["callee"]]
    own = {old for old, _ in callee.state}
    return {a for a, i in zip(equation.args, callee.inputs, strict=True) if i not in own}
