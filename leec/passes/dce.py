"""Dead code: what no output needs goes; effects stay, and with `keep` the functions that those names never reach go too."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from leec.ir.graph import Equation, Function, Program, callees
from leec.ops import TABLE


def dce(program: Program, keep: Iterable[str] | None = None) -> Program:
    """Without unused equations; and without functions that nobody in `keep` calls, where it is given."""
    acting = acting_functions(program)
    program = program.map(lambda f: live(f, acting))
    return program if keep is None else reachable(program, keep)


def acting_functions(program: Program) -> set[str]:
    """The functions with an effect, their own or that of one they call."""
    acting: set[str] = set()
    for f in program.functions.values():
        if any(acts(e, acting) for e in f.body):
            acting.add(f.name)
    return acting


def live(f: Function, acting: Collection[str] | None = None) -> Function:
    """The function without unused equations; where `acting` is not known, every call may have an effect."""
    needed, body = set(f.outputs), []
    for equation in reversed(f.body):
        if acts(equation, acting) or not needed.isdisjoint(equation.results):
            body.append(equation)
            needed.update(equation.args)
    return f if len(body) == len(f.body) else f.with_body(tuple(reversed(body)))


def acts(equation: Equation, acting: Collection[str] | None) -> bool:
    """Whether the equation does more than give values: by its row, or as a call of one of the `acting` functions."""
    callee = equation.params.get("callee")
    bodies = (p for p in equation.params.values() if isinstance(p, Function))
    calls = callee is not None and (acting is None or callee in acting)
    return bool(TABLE[equation.op].effect) or calls or any(acts(e, acting) for body in bodies for e in body.body)


def reachable(program: Program, roots: Iterable[str]) -> Program:
    """The program of the roots and what they call, in the order of the program."""
    needed = set(roots)
    for f in reversed(program.functions.values()):
        if f.name in needed:
            needed.update(callees(f))
    return Program({name: f for name, f in program.functions.items() if name in needed})
