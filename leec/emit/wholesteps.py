"""Training steps as one function each: all calls but those of optimizers' rules written out, and what it is called with."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace

from leec.emit.groups import Group
from leec.emit.signatures import Signature
from leec.emit.unit import Unit
from leec.ir.graph import Equation, Parameter, Program
from leec.ops import TABLE
from leec.passes.dce import dce, reachable
from leec.passes.fuse import fuse_again
from leec.passes.inline import inlined
from leec.passes.recognise import expand

AFTERWARDS = ("simplify_gradients", "recognise_gradients", "cse_gradients", "dce")  # passes that see more once inlined


def whole_steps(unit: Unit, names: Sequence[str], column: str, groups: bool) -> Program:
    """The step functions with everything but the optimizers' rules written out, in terms of a back end, maybe in
    groups."""
    from leec import passes

    def is_rule(name: str) -> bool:
        return unit.owner(program.functions[name]) in unit.module.optimizers

    program = reachable(unit.module.functions, names)
    rules = [name for name in program.functions if is_rule(name)]
    program = inlined(program, lambda f: f.name not in rules)
    program = passes.run(reachable(program, [*names, *rules]), 2, only=AFTERWARDS)
    program = dce(expand(renamed_rounds(program), column))
    return fuse_again(program, names) if groups else program


def waits(program: Program, name: str) -> bool:
    """Whether the host looks at results on the way: `while` does, and so do routines that may not converge."""
    inside = (e for f in reachable(program, [name]).functions.values() for e in f.body)
    return any(e.params.get("going") is not None or TABLE[e.op].facts.get("waits") for e in inside)


def renamed_rounds(program: Program) -> Program:
    """What loops of steps call is not what autograd passes through: it gets a name of its own, and is no method."""

    def renamed(e: Equation) -> Equation:
        is_round = e.op == "scan"
        return replace(e, params={**e.params, "callee": in_step(e.params["callee"])}) if is_round else e

    rounds = rounds_in(program)
    made = {}
    for name, f in program.functions.items():
        own = in_step(name) if name in rounds else name
        made[own] = replace(f, name=own, body=tuple(map(renamed, f.body)), owner=None if name in rounds else f.owner)
    return Program(made)


def in_step(name: str) -> str:
    return f"{name.replace('.', '_')}_in_step"


def rounds_in(program: Program) -> dict[str, None]:
    """The functions of the rounds of loops."""
    loops = (e for f in program.functions.values() for e in f.body if e.op == "scan")
    return dict.fromkeys(e.params["callee"] for e in loops)


class StepSignature(Signature):
    """`step(self, x, y, ..)`: models and optimizers are attributes, their tensors are read at the start."""

    def __post_init__(self) -> None:
        self.parameters.append("self")
        self.objects: list[str] = []
        for p in self.unit.ordered(self.f):
            if p.model is None:
                getattr(self, f"enter_{self.unit.role(self.f, p)}")(p)
            else:
                self.enter_attribute(p)

    def enter_attribute(self, p: Parameter) -> None:
        name = self.unit.parameter_name(self.f, p)
        self.objects.append(name)
        self.enter_object(p, Group(ast.Name(f"self.{name}"), "model", len(p.values), p.model), f"{p.name}.")
