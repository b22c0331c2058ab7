"""Loops of procedures as Python: they count their rounds for the draws inside, and say what a resumed run has to fill.

A loop lists what it changes if a run can go on at its head: if it is outermost, or if it takes steps itself.
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leec.emit.hostblocks import leaves_by_break, rebound, stepped, steps_in
from leec.emit.layout import quoted, text
from leec.ir import host

if TYPE_CHECKING:
    from leec.emit.procedures import ProcedureEmitter


def count(self: ProcedureEmitter, s: host.Count) -> list[str]:
    bounds = [self.code.tree(s.first), self.code.tree(s.last)]
    return loop(self, s, self.code.name(s.variable), "loop", bounds)


def batches(self: ProcedureEmitter, s: host.Batches) -> list[str]:
    fields = ", ".join(map(self.code.name, s.fields))
    call = self.code.rows("run.batches", s.label, s.part, s.options)
    return [*self.line(f"for {fields} in {text(call)}:"), *self.indented(s.body)]


def each(self: ProcedureEmitter, s: host.Each) -> list[str]:
    variables = ", ".join(pattern(self, v) for v in s.variables)
    return loop(self, s, variables, "each", [self.code.tree(s.iterable)])


def pattern(self: ProcedureEmitter, variable: str | tuple) -> str:
    """Names, in parentheses where they are unpacked together."""
    if isinstance(variable, str):
        return variable if variable == "_" else self.code.name(variable)
    return f"({', '.join(pattern(self, v) for v in variable)})"


def loop(
    self: ProcedureEmitter, s: host.Count | host.Each, variables: str, function: str, arguments: list[ast.expr]
) -> list[str]:
    """`for .. in run.loop(..)`, telling it what the body changes."""
    is_mark, anew, values = self.depth == 1 or any(steps_in(s.body)), rebound(s.body), kept(self, s)
    carried = (*s.carried, *sorted(stepped(s.body))) if is_mark else ()
    objects = [ast.keyword(called(self, n), ast.Name(self.code.name(n))) for n in carried if n not in anew]
    call = ast.Call(ast.Name(f"run.{function}"), [ast.Constant(s.label), *arguments], objects)
    opening = restored(self, s.label, values) if is_mark and (values or not objects) else []
    opening += self.steps_of(values)
    closing = self.line(f"run.keep({quoted(s.label)}, {named(self, values)})") if values else []
    return [*opening, *self.line(f"for {variables} in {text(call)}:"), *self.indented(s.body, closing)]


def kept(self: ProcedureEmitter, s: host.Statement) -> list[str]:
    """What a loop binds anew and a run that goes on at its head has to know."""
    if not isinstance(s, host.Count | host.Each) or not (self.depth == 1 or any(steps_in(s.body))):
        return []
    anew = rebound(s.body)
    return [n for n in s.carried if n in anew]


def restored(self: ProcedureEmitter, label: str, values: Sequence[str]) -> list[str]:
    targets = ", ".join(map(self.code.name, values)) + ("," if len(values) == 1 else "")
    targets = f"({targets})" if len(values) == 1 else targets
    call = f"run.restore({quoted(label)}{', ' if values else ''}{named(self, values)})"
    return self.line(f"{targets} = {call}" if values else call)


def named(self: ProcedureEmitter, values: Sequence[str]) -> str:
    return ", ".join(f"{called(self, n)}={self.code.name(n)}" for n in values)


def called(self: ProcedureEmitter, name: str) -> str:
    """A variable as an argument: by its own name wherever Python lets it be one."""
    return self.code.name(name) if keyword.iskeyword(name) else name


def while_(self: ProcedureEmitter, s: host.While) -> list[str]:
    """`while run.again("while", not done):`; a condition that needs tensors is computed at the head of every round."""
    site = quoted(s.label)
    if s.test:
        test = [*s.test, host.If(host.Operation("not", (s.condition,)), (host.Break(),), ())]
        lines = [f"while run.again({site}):", *self.indented((*test, *s.body))]
    else:
        lines = self.line(f"while run.again({site}, {text(self.code.tree(s.condition))}):") + self.indented(s.body)
    return lines + ([f"run.leave({site})"] if s.test or leaves_by_break(s.body) else [])
