"""Procedures as Python: what a lecturer would write around the mathematics, over `leec.runtime.Run`.

The run is the only thing imported from leec, inside the function. Loops tell it what they change: objects that change
in place by name, names that are bound anew through `restore` before and `keep` at the end of the body.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from leec.emit import hostloops
from leec.emit.comments import place
from leec.emit.docs import docstring
from leec.emit.expressions import dim_tree
from leec.emit.functions import INDENT, definition
from leec.emit.hostblocks import Simple, Step, readings, rebound, steps_in
from leec.emit.hostcode import HostCode
from leec.emit.layout import WIDTH, quoted, text
from leec.emit.names import Names
from leec.emit.ownership import stored_into, to_copy
from leec.emit.splitting import fit
from leec.emit.unit import Unit
from leec.ir import host
from leec.ir.graph import Function
from leec.types import TensorType


@dataclass
class ProcedureEmitter:
    """Writes one procedure."""

    unit: Unit
    procedure: host.Procedure
    simple: Mapping[str, Simple] = field(default_factory=dict)  # functions that are written out where they are called
    steps: Mapping[str, Step] = field(default_factory=dict)  # functions that are classes
    depth: int = 1

    def __post_init__(self) -> None:
        self.names = Names({*self.unit.names.taken, "Run"})
        self.names.of("run", "run")
        self.code = HostCode(self.unit, self.procedure, self.names)
        self.bound_names = {name for name, _ in self.procedure.parameters}
        self.readings = Counter(readings(self.procedure.body))
        self.stored = stored_into(self.procedure.body)
        self.made: dict[tuple[str, tuple[str, ...]], str] = {}  # step objects by function and what they move

    def text(self) -> str:
        p = self.procedure
        parameters = [self.code.name(n) + ("" if d is None else f"={text(self.code.tree(d))}") for n, d in p.parameters]
        backend = ', backend="torch"' if self.unit.dialect.modules else ""
        opening = ["from leec.runtime.run import Run", "", f"run = run or Run({quoted(p.name)}{backend})"]
        body = [*docstring(self.words()), *opening, *self.block(p.body)]
        above = ["@torch.no_grad()"] if self.unit.dialect.modules else []
        return definition(self.unit.function_name(p.name), [*parameters, "*", "run=None"], body, above=above)

    def words(self) -> str:
        """The spec's own, and for which arguments the code was made."""
        chosen = ", ".join(f"{n} = {v!r}" for n, v in self.procedure.structural.items())
        made = f"Made for {chosen}: with other values it is another program." if chosen else ""
        return "\n\n".join(filter(None, [self.procedure.doc.strip(), made]))

    # ---- statements

    def block(self, statements: Sequence[host.Statement]) -> list[str]:
        lines: list[str] = []
        todo = list(statements)
        while todo:
            statement = todo.pop(0)
            if isinstance(statement, host.Compute) and todo and self.is_reported(statement, todo[0]):
                self.code.inline(statement.targets[0], self.call(statement))
                continue
            lines += WRITE[type(statement)](self, statement)
            lines += self.make_steps(statement, todo)
        return lines or ["pass"]

    def make_steps(self, statement: host.Statement, todo: Sequence[host.Statement]) -> list[str]:
        """Step objects are made as soon as what they move is there, and again when that was bound anew."""
        new = rebound([statement]) if not isinstance(statement, host.Count | host.Batches | host.Each) else set()
        self.bound_names |= new
        due = [key for key in self.made if new & set(key[1])]
        for compute in steps_in(todo) if self.steps else ():
            key = self.step_key(compute)
            if key not in self.made and set(key[1]) <= self.bound_names:
                self.made[key] = self.names.fresh("step")
                due.append(key)
        return [self.step_line(key) for key in due if not self.waits(key, todo)]

    def waits(self, key: tuple[str, tuple[str, ...]], todo: Sequence[host.Statement]) -> bool:
        """Is what a step moves bound anew before the step is taken?"""
        for statement in todo:
            if not set(key[1]).isdisjoint(hostloops.kept(self, statement)):
                return True
            if key in map(self.step_key, steps_in([statement])):
                return False
            if not set(key[1]).isdisjoint(rebound([statement])):
                return True
        return False

    def steps_of(self, names: Collection[str]) -> list[str]:
        """The lines that make the steps again which move one of these."""
        return [self.step_line(key) for key in self.made if not set(key[1]).isdisjoint(names)]

    def step_key(self, s: host.Compute) -> tuple[str, tuple[str, ...]]:
        f = self.function(s)
        given = dict(zip((p.name for p in f.parameters if p.name != "key"), s.arguments, strict=True))
        return s.function, tuple(given[o].name for o in self.steps[s.function].objects)

    def step_line(self, key: tuple[str, tuple[str, ...]]) -> str:
        function, objects = key
        return f"{self.made[key]} = {self.steps[function].name}({', '.join(map(self.code.name, objects))})"

    def indented(self, statements: Sequence[host.Statement], more: Iterable[str] = ()) -> list[str]:
        self.depth += 1
        lines = self.block(statements)
        self.depth -= 1
        more = list(more)
        lines = [*(lines if lines != ["pass"] or not more else []), *more]
        return [INDENT + line if line else "" for line in lines]

    def line(self, code: str, statement: host.Statement | None = None) -> list[str]:
        tail = f"  # {place(statement.span)}" if statement and statement.span else ""
        room = WIDTH - len(INDENT) * self.depth
        return [code + tail] if len(code + tail) <= room else fit(code, len(INDENT) * self.depth).splitlines()

    def is_reported(self, statement: host.Compute, following: host.Statement) -> bool:
        """One number that only the report that comes next reads needs no name."""
        if len(statement.targets) != 1 or not isinstance(following, host.Report) or statement.is_step:
            return False
        (target,) = statement.targets
        return self.readings[target] == 1 and any(value == host.Ref(target) for _, _, value in following.items)

    def assign(self, s: host.Assign) -> list[str]:
        tree = self.code.tree(s.value)
        value = f"{text(tree)}.copy()" if s.snapshot else text(tree)
        return self.line(f"{self.code.name(s.target)} = {value}", s)

    def compute(self, s: host.Compute) -> list[str]:
        call = text(self.call(s))
        losses = [t for t in s.targets if t and s.is_step and t.partition("_")[0] == "loss"]
        if losses and len(s.targets) == 1:
            return self.line(f"run.step({call})", s)
        targets = ", ".join(self.code.name(t) if t else "_" for t in s.targets)
        lines = self.line(f"{targets} = {call}" if targets else call, s)
        own = map(self.code.name, to_copy(self.function(s), s, self.stored) if self.stored else ())
        lines += [f"{name} = run.copy({name})" for name in own]
        return lines + [self.told(loss) for loss in losses]

    def told(self, loss: str) -> str:
        label = f", {quoted(loss)}" if loss != "loss" else ""
        return f"run.step({self.code.name(loss)}{label})"

    def call(self, s: host.Compute) -> ast.expr:
        """The function on its arguments; its models and optimizers are the objects themselves."""
        f = self.function(s)
        given = dict(
            zip((p.name for p in f.parameters if p.name != "key"), map(self.code.tree, s.arguments), strict=True)
        )
        if s.function in self.simple:
            return self.simple[s.function].on([given[p.name] for p in f.parameters])
        shown = [p for p in self.unit.ordered(f) if p.name in given and not self.unit.holder(f, p.static or "")]
        key = [ast.keyword("key", self.code.key(s.site))] if s.site else []
        function = ast.Name(self.unit.function_name(self.unit.public_name(f)[0]))
        if s.function in self.steps:
            step = self.steps[s.function]
            function = ast.Name(self.made.get(self.step_key(s), self.step_line(self.step_key(s)).partition(" = ")[2]))
            batch = [given[p.name] for p in shown if p.name not in step.objects]
            return ast.Call(
                function, [*batch, *(k.value for k in key)], []
            )  # the key is the last of what a graph takes
        return ast.Call(function, [given[p.name] for p in shown], key)

    def function(self, s: host.Compute) -> Function:
        """A step that is a class has its function in there."""
        return self.steps[s.function].function if s.function in self.steps else self.unit.functions[s.function]

    def construct(self, s: host.Construct) -> list[str]:
        known = self.unit.module.models if s.kind == "model" else self.unit.module.optimizers
        models = {h.name for h in known[s.name].hypers if h.kind == "model"}
        trees = {n: self.code.tree(v) for n, v in s.arguments}
        trees |= {
            n: ast.Call(ast.Attribute(trees[n], "copy"), [], []) for n in models & trees.keys()
        }  # no aliases (R8)
        given = [ast.keyword(self.unit.argument_name(n), tree) for n, tree in trees.items()]
        call = ast.Call(ast.Name(self.unit.class_name(s.name)), [], given)
        if s.kind == "model" and self.unit.draws(s.name):
            call.keywords.append(ast.keyword("key", self.code.key(s.site)))
        place_on = ".to(run.session.place.device)" if s.kind == "model" and self.unit.dialect.modules else ""
        return self.line(f"{self.code.name(s.target)} = {text(call)}{place_on}", s)

    def load(self, s: host.Load) -> list[str]:
        options = [ast.keyword(n, self.code.tree(v)) for n, v in s.options]
        known = self.code.known - {*s.sizes}
        fields = ast.Dict([ast.Constant(n) for n, _ in s.fields], [self.field(t, known) for _, t in s.fields])
        call = ast.Call(ast.Name("run.data"), [ast.Constant(s.source)], [*options, ast.keyword("fields", fields)])
        return self.line(f"{self.code.name(s.target)} = {text(call)}", s)

    def accept(self, s: host.Accept) -> list[str]:
        fields = ast.Dict([ast.Constant(n) for n, _ in s.fields], [self.field(t, known=()) for _, t in s.fields])
        given = [ast.Constant(s.target), ast.Name(self.code.name(s.target))]
        call = ast.Call(ast.Name("run.accept"), given, [ast.keyword("fields", fields)])
        return self.line(f"{self.code.name(s.target)} = {text(call)}", s)

    def field(self, type: TensorType, known: Collection[str] | None = None) -> ast.expr:
        """`("float", ("n", 10))`; sizes that are not known here are compared among each other."""
        known = self.code.known if known is None else known
        dims = [
            ast.Constant(d.symbol) if d.symbol and d.symbol not in known else dim_tree(d, self.code.size)
            for d in type.dims
        ]
        return ast.Tuple([ast.Constant(type.dtype), ast.Tuple(dims)])

    def call_procedure(self, s: host.CallProcedure) -> list[str]:
        given = [ast.keyword(n, self.code.tree(v)) for n, v in s.arguments]
        run = ast.keyword("run", ast.Call(ast.Name("run.call"), [ast.Constant(s.site)], []))
        call = text(ast.Call(ast.Name(self.unit.function_name(s.procedure)), [], [*given, run]))
        return self.bound(s.targets, call, s)

    def runtime(self, s: host.Runtime) -> list[str]:
        site = [ast.Constant(s.site)] if s.site else []
        options = [ast.keyword(n, self.code.tree(v)) for n, v in s.options]
        call = ast.Call(ast.Name(f"run.{s.function}"), [*site, *map(self.code.tree, s.arguments)], options)
        return self.bound(s.targets, text(call), s)

    def bound(self, targets: Sequence[str | None], call: str, s: host.Statement) -> list[str]:
        names = ", ".join(self.code.name(t) if t else "_" for t in targets)
        return self.line(f"{names} = {call}" if any(targets) else call, s)

    # ---- the rest

    def if_(self, s: host.If) -> list[str]:
        lines = [f"if {text(self.code.tree(s.condition))}:", *self.indented(s.then)]
        return lines + (["else:", *self.indented(s.otherwise)] if s.otherwise else [])

    def return_(self, s: host.Return) -> list[str]:
        if s.value is None:
            return ["return"]
        tree = self.code.tree(s.value)
        inner = ", ".join(map(text, tree.elts)) if isinstance(tree, ast.Tuple) and len(tree.elts) > 1 else text(tree)
        return [f"return {inner}"]

    def report(self, s: host.Report) -> list[str]:
        plain = [f"{label}={text(self.code.tree(value))}" for label, key, value in s.items if key is None]
        keyed = [
            f'f"{label}[{{{text(self.code.tree(key))}}}]": {text(self.code.tree(v))}'
            for label, key, v in s.items
            if key
        ]
        return self.line(f"run.report({', '.join([*([f'{{{chr(44).join(keyed)}}}'] if keyed else []), *plain])})", s)

    def append(self, s: host.Append) -> list[str]:
        return self.line(f"{self.code.name(s.list)}.append({text(self.code.tree(s.value))})", s)

    def put(self, s: host.Put) -> list[str]:
        index = [self.code.tree(i) for i in s.index]
        place = ast.Subscript(ast.Name(self.code.name(s.target)), index[0] if len(index) == 1 else ast.Tuple(index))
        return self.line(f"{text(place)} = {text(self.code.tree(s.value))}", s)

    def environment(self, s: host.Environment) -> list[str]:
        """Opened once in a run, and compared with what is declared."""
        given = [ast.Constant(s.place)]
        fields = [ast.keyword(n, declared(self.field(t), bounds)) for n, t, bounds in s.fields]
        return self.line(
            f"{self.code.name(s.target)} = {text(ast.Call(ast.Name('run.environment'), given, fields))}", s
        )

    def method(self, s: host.Method) -> list[str]:
        given = [*map(self.code.tree, s.arguments), *([self.code.key(s.site)] if s.site else [])]
        call = ast.Call(ast.Attribute(ast.Name(self.code.name(s.owner)), s.method), given, [])
        return self.bound(s.targets, text(call), s)


def declared(type: ast.expr, bounds: tuple[int, int] | None) -> ast.expr:
    """`("int", (), 0, 1)`: a type with its range."""
    return ast.Tuple([*type.elts, *map(ast.Constant, bounds)]) if bounds else type


WRITE = {
    host.Assign: ProcedureEmitter.assign,
    host.Compute: ProcedureEmitter.compute,
    host.Construct: ProcedureEmitter.construct,
    host.Load: ProcedureEmitter.load,
    host.Accept: ProcedureEmitter.accept,
    host.CallProcedure: ProcedureEmitter.call_procedure,
    host.Runtime: ProcedureEmitter.runtime,
    host.Environment: ProcedureEmitter.environment,
    host.Method: ProcedureEmitter.method,
    host.Count: hostloops.count,
    host.Batches: hostloops.batches,
    host.Each: hostloops.each,
    host.While: hostloops.while_,
    host.If: ProcedureEmitter.if_,
    host.Break: lambda self, s: ["break"],
    host.Return: ProcedureEmitter.return_,
    host.Report: ProcedureEmitter.report,
    host.Append: ProcedureEmitter.append,
    host.Put: ProcedureEmitter.put,
}
