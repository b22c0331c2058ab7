"""Names: a value that goes by its op is called after that and its operand, as `exp_z`, `x_mean`, `h_flat`.

Of facts alone: entrywise functions of one value, reductions, and rows whose fact `called` says how. What has a name of
its own keeps it; values of functions that nothing is known of keep their op's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from leec.ir.build import Builder
from leec.ir.graph import Equation, Function, Program, Value
from leec.ops import TABLE
from leec.passes.rewrite import goes_by, settled

LONGEST = 16  # of names


def name_values(program: Program) -> Program:
    methods = {f.name for f in program.functions.values() if f.owner and [len(r.values) for r in f.results] == [1]}
    return program.map(lambda f: renamed(f, methods))


def renamed(f: Function, methods: Collection[str]) -> Function:
    """The function with names that say what is in them; results keep theirs, which callers know."""
    b, shown = Builder(v.name for v in f.values()), set(f.outputs)
    known = {v for v in f.values() if v.named or v in f.inputs}
    now: dict[Value, Value] = {}
    for e in f.body:
        value = e.results[0]
        if value.named or value in shown or not e.args:
            continue
        x, name = now.get(e.args[0], e.args[0]), None
        if e.params.get("callee") in methods:
            name = member(e)
            known |= {value} if name else set()
        elif goes_by(value.name, e.op) and len(e.results) == 1 and e.args[0] in known:
            name = called(e, x)
        if name:
            now[value] = replace(value, name=b.unique(name))
    return settled(f, f.body, now)


def member(e: Equation) -> str:
    """What a submodel gives is called after it: `conv1_out`."""
    path = next((a.name.rpartition(".")[0] for a in e.args if "." in a.name), "")
    return f"{path}_out" if path.isidentifier() else ""


def called(e: Equation, x: Value) -> str | None:
    """The name for a result, where there is a short one."""
    row = TABLE[e.op]
    if "called" in row.facts:
        form = row.facts["called"](x.type, e.result.type)
    elif "reduces" in row.facts:
        form = f"{{}}_{e.op}"
    else:
        form = f"{e.op}_{{}}" if row.elementwise and len(e.args) == 1 and not x.type.host else None
    name = form.format(x.name) if form and "." not in x.name and not x.name[-1].isdigit() else ""
    return name if 0 < len(name) <= LONGEST else None
