"""Stabilisation: exponentials and logarithms that would overflow or vanish become forms that do not.

It runs before differentiation, so gradients are stable too. The forms are rows of leec/ops/stable.py. Where a
probability is the result of a call, the callee gets a second form that gives its logarithm: `forward_log`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Result, Value
from leec.ops.logarithms import Log, log_of
from leec.ops.stable import LOGARITHMIC, STABLE
from leec.passes.patterns import rules
from leec.passes.rewrite import Rewriter, Rules, standing
from leec.passes.simplify import laws as simplifying

Wanted = tuple[tuple[int, ...], tuple[int, ...]]  # results of which the logarithm is given too, results that go


@cache
def laws() -> Rules:
    return simplifying() + rules(STABLE)


def stabilise(program: Program) -> Program:
    stable = Stable(program)
    for name, f in program.functions.items():
        stable.functions[name] = stable.run(f).finish()
    families = (n for name in program.functions for n in (name, *stable.forms.get(name, {}).values()))
    return Program({name: stable.functions[name] for name in families})


class Stable:
    """The functions that are done, and their forms that give logarithms."""

    def __init__(self, program: Program):
        self.functions: dict[str, Function] = {}
        self.forms: dict[str, dict[Wanted, str]] = {}
        self.logs: dict[tuple[str, int], Log | None] = {}
        self.names = Builder(program.functions)

    def run(self, f: Function) -> Stabiliser:
        b = Stabiliser(f, self)
        for equation in f.body:
            b.take(equation)
        return b

    def log_of_result(self, callee: str, position: int) -> Log | None:
        """The logarithm of a result within its function, if it gains there."""
        if (callee, position) not in self.logs:
            f = self.functions[callee]
            found = None
            if f.outputs[position] in plain_results(f):
                b = self.run(f)
                out = f.outputs[position]
                found = log_of(b, standing(out, b.now))
                found = found if found and found.gains() and found.value.type == out.type else None
            self.logs[callee, position] = found
        return self.logs[callee, position]

    def form(self, callee: str, wanted: Wanted) -> str:
        """The name of the function like `callee` with logarithms of some results, and without others."""
        forms = self.forms.setdefault(callee, {})
        if wanted not in forms:
            forms[wanted] = name = self.names.unique(f"{callee}_{'log' if wanted[1] else 'with_log'}")
            self.functions[name] = replace(self.make(callee, wanted), name=name, public=False)
        return forms[wanted]

    def make(self, callee: str, wanted: Wanted) -> Function:
        f = self.functions[callee]
        b = self.run(f)
        logs = []
        for position in wanted[0]:
            old = f.outputs[position]
            value = log_of(b, standing(old, b.now)).value
            logs.append(Result(f"log_{old.name}", (b.called(value, f"log_{old.name}"),)))
        kept = tuple(r for r in f.results if not (r.values and f.outputs.index(r.values[0]) in wanted[1]))
        b.function = replace(f, results=(*kept, *logs))
        return b.finish()


def is_delicate(f: Function) -> bool:
    """Would a caller gain by what is inside: a logarithm of an argument, or a result whose own logarithm is simpler?"""
    if any(e.op in LOGARITHMIC and not e.args[0].type.host for e in f.body):
        return True
    b = Stable(Program()).run(f)
    found = (log_of(b, standing(v, b.now)) for v in f.outputs)
    return any(x and x.gains() for x in found)


def plain_results(f: Function) -> set[Value]:
    """The results that are one tensor, each a value of its own."""
    return {r.values[0] for r in f.results if not r.paths and f.outputs.count(r.values[0]) == 1}


class Stabiliser(Rewriter):
    def __init__(self, f: Function, stable: Stable):
        super().__init__(f, laws())
        self.stable = stable

    def log_of_call(self, x: Value) -> Log | None:
        """The logarithm of a call's result as one more result of the same call."""
        call = self.producers[x]
        callee, position = self.stable.functions.get(call.params["callee"]), call.results.index(x)
        if call.op != "call" or callee is None or x in self.opaque:
            return None
        found = self.stable.log_of_result(callee.name, position)
        if found is None:
            return None
        log = self.value(f"log_{x.name}", x.type)
        params = {**call.params, "logs": (*call.params.get("logs", ()), position)}  # until `finish` settles them
        self.change(call, replace(call, params=params, results=(*call.results, log)))
        return Log(log, found.large, found.small)

    def change(self, old: Equation, new: Equation) -> None:
        place = next(i for i in range(len(self.equations) - 1, -1, -1) if self.equations[i] is old)
        self.equations[place] = new
        for value in new.results:
            self.producers[value] = new

    def called(self, value: Value, name: str) -> Value:
        """The value under a name that says what it is, where it has none of its own."""
        equation = self.producers.get(value)
        if equation is None or value.named or len(equation.results) > 1:
            return value
        new = replace(value, name=self.unique(name))
        self.now[value] = new
        return new

    def finish(self) -> Function:
        f = super().finish()
        read = {a for e in f.body for a in e.args} | set(f.outputs)
        return f.with_body(tuple(self.settled_call(e, read) if "logs" in e.params else e for e in f.body))

    def settled_call(self, e: Equation, read: set[Value]) -> Equation:
        """A call with the logarithms that are read, and without results that they made useless."""
        positions = e.params["logs"]
        own, logs = e.results[: -len(positions)], e.results[-len(positions) :]
        params = {name: p for name, p in e.params.items() if name != "logs"}
        wanted = {i: log for i, log in zip(positions, logs, strict=True) if log in read}
        if not wanted:
            return replace(e, params=params, results=own)
        callee = self.stable.functions[params["callee"]]
        gone = tuple(i for i in wanted if own[i] not in read)
        plain = len(own) - len(callee.state)
        results = (*(r for i, r in enumerate(own[:plain]) if i not in gone), *wanted.values(), *own[plain:])
        name = self.stable.form(callee.name, (tuple(wanted), gone))
        return replace(e, params={**params, "callee": name, "results": tuple(r.type for r in results)}, results=results)
