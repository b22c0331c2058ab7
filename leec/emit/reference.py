"""The NumPy file of a compiled spec: classes, functions and procedures in the order of the spec, support at the end."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Protocol

from leec import __version__
from leec.diagnostics import Span
from leec.emit.classes import Constructor, member_names
from leec.emit.dialect import NUMPY, NUMPY_IN_PLACE, Dialect
from leec.emit.docs import clean, docstring
from leec.emit.files import render
from leec.emit.functions import INDENT, Emitter, definition
from leec.emit.groups import attribute
from leec.emit.hostblocks import Simple, Step, called, steps_in
from leec.emit.layout import quoted, text
from leec.emit.names import BUILTINS, Names
from leec.emit.optimizers import optimizer_text
from leec.emit.owned import lowered
from leec.emit.plannedsteps import PlannedStep
from leec.emit.procedures import ProcedureEmitter
from leec.emit.steps import StepEmitter
from leec.emit.support import library, needed
from leec.emit.unit import EVAL, Unit
from leec.emit.wholesteps import rounds_in, whole_steps
from leec.ir.graph import Function
from leec.ir.module import ModelClass, Module
from leec.ops.random import site_word
from leec.passes.dce import reachable
from leec.passes.fuse import fuse_again


class Options(Protocol):
    """What of the compiler's options matters here: the width that FLOAT has, and how the file is made again."""

    @property
    def dtype(self) -> str: ...

    @property
    def level(self) -> int: ...

    @property
    def recompute(self) -> str: ...


@dataclass
class File:
    """One emitted file in the making."""

    module: Module
    options: Options
    dialect: Dialect = NUMPY

    def __post_init__(self) -> None:
        self.everything = self.module
        planned = self.dialect.modules or self.options.level >= 2
        self.steps = step_functions(self.module) if planned else ()  # functions that are emitted as classes
        functions = (self.dialect.autograd and self.module.followed) or self.module.functions
        self.module = with_reachable(replace(self.module, functions=functions), self.steps)
        self.module = replace(self.module, functions=lowered(self.module, self.dialect.column))
        if self.dialect is NUMPY and self.options.level >= 2:
            self.dialect = NUMPY_IN_PLACE
            self.module = replace(self.module, functions=fuse_again(self.module.functions, computing(self.module)))
        names = Names({*BUILTINS, *library(self.dialect.column)})
        self.unit = Unit(self.module, self.dialect, names, self.everything.functions.functions)
        self.unit.try_out = lambda unit, f: Emitter(unit, f, f.name).statements()
        for name in (*self.module.models, *self.module.optimizers):
            self.unit.class_name(name)
        for name in self.module.procedures:
            self.unit.function_name(name)
        for f in self.unit.functions.values():
            if self.unit.owner(f) is None:
                self.unit.function_name(self.unit.public_name(f)[0])


def emit_reference(module: Module, options: Options) -> str:
    """The text of reference.py."""
    file = File(module, options)
    simple = simple_functions(file)
    planned, made = step_blocks(file, PlannedStep)
    blocks = [*model_blocks(file), *optimizer_blocks(file), *function_blocks(file, simple), *planned]
    blocks = sorted([*blocks, *procedure_blocks(file, simple, made)], key=lambda b: b.order(module))
    body = "\n\n\n".join(b.text for b in blocks)
    support = needed("numpy", used_names(body, file))
    return render(
        "reference.py.j2",
        header=header(module, options),
        imports=[name for name in ("functools", "math") if any(name in d.uses for d in support) or f"{name}." in body],
        float=NUMPY.widths[file.options.dtype],
        blocks=[*(d.text for d in support if d.name in FIRST), *(b.text for b in blocks)],
        support=[*sites(body), *(d.text for d in support if d.name not in FIRST)],
    )


FIRST = ("packed", "one_kernel", "Model", "Optimizer", "ShapedOptimizer", "TrainStep")  # used while a file is read


def sites(body: str) -> list[str]:
    """The names of the places that draw, with their words; a dict under the support code."""
    found = sorted({ast.literal_eval(m) for m in re.findall(r"SITES\[((?:'|\").*?(?:'|\"))\]", body)})
    if not found:
        return []
    lines = [f"    {quoted(name)}: 0x{site_word(name):016X}," for name in found]
    return [
        "\n".join(
            [
                "# A word for every name under which something is drawn: BLAKE2b of the name, 8 bytes.",
                "SITES = {",
                *lines,
                "}",
            ]
        )
    ]


def used_names(body: str, file: File) -> set[str]:
    """The names of the library that the text mentions."""
    words = set(re.findall(r"[^\W\d]\w*", body))
    return {name for name in library(file.dialect.column) if name in words}


def with_reachable(module: Module, without: Collection[str]) -> Module:
    """The module without functions that nothing public needs."""
    each = {name for o in module.optimizers.values() for name in o.update_each.values()}
    functions = module.functions.functions.values()
    methods = {f.name for f in functions if f.public and f.owner and f.name not in each}
    wanted = {*module.public, *module.examples.values(), *methods, *computed(module)} - set(without)
    roots = [f.name for f in functions if f.name in wanted]
    used = reachable(module.functions, roots).functions
    roots += [
        n
        for o in module.optimizers.values()
        for n in o.update_each.values()
        if not used.keys() & set(o.update_each.values())
    ]
    return replace(module, functions=reachable(module.functions, roots))


def computing(module: Module) -> list[str]:
    """The functions that are neither constructors nor rules of optimizers."""
    owners = {name: name.rpartition(".")[0] for name in module.functions.functions}
    return [name for name, o in owners.items() if o not in module.optimizers and not name.endswith(".init")]


def computed(module: Module) -> set[str]:
    """The functions that procedures call."""
    return {name for p in module.procedures.values() for name in called(p.body)}


# ---- blocks


@dataclass(frozen=True)
class Block:
    """A class or function, with the place of the spec that it comes from."""

    text: str
    span: Span | None

    def order(self, module: Module) -> tuple:
        """The spec's own declarations first, then those of the library, in their order."""
        if self.span is None:
            return (2, "", 0)
        own = self.span.source is module.source
        return (0, "", self.span.start) if own else (1, self.span.source.path, self.span.start)


def model_blocks(file: File) -> Iterable[Block]:
    for model in file.module.models.values():
        yield Block(model_text(file, model), model.span)


def model_text(file: File, model: ModelClass) -> str:
    unit = file.unit
    lines = docstring(model.doc or f"{model.name}({', '.join(h.name for h in model.hypers)})")
    states = [leaf.path for leaf in model.leaves if leaf.kind == "state" and "." not in leaf.path]
    lines += ["", f"members = {tuple_text(member_names(model))}"]
    lines += [f"states = {tuple_text(states)}"] if states and not unit.dialect.modules else []
    renamed = {n: attribute(n) for n in member_names(model) if attribute(n) != n}
    lines += [f"renamed = {text(constant_dict(renamed))}"] if renamed else []
    functions = [f for f in unit.functions.values() if unit.owner(f) == model.name]
    init = next(f for f in functions if f.name == f"{model.name}.init")
    made = Constructor(unit, init, "__init__", model=model)
    body = made.statements()
    methods = [definition("__init__", made.parameters(), body, len(INDENT))]
    for f in functions:
        if f is not init:
            methods += function_texts(unit, f, f"{model.name}.", len(INDENT))
    parts = ["\n".join(lines), *methods]
    inside = "\n\n".join(parts)
    return f"class {unit.class_name(model.name)}(Model):\n" + "\n".join(
        INDENT + x if x else "" for x in inside.splitlines()
    )


def step_functions(module: Module) -> tuple[str, ...]:
    """The functions that are training steps."""
    return tuple(dict.fromkeys(s.function for p in module.procedures.values() for s in steps_in(p.body)))


def step_blocks(file: File, emitter: type[StepEmitter]) -> tuple[list[Block], dict[str, Step]]:
    """The step classes, and how procedures make them."""
    complete = replace(file.unit, module=file.everything)
    program = whole_steps(complete, file.steps, emitter.column, emitter.groups)
    unit = replace(file.unit, module=replace(file.module, functions=program))
    blocks, steps = [], {}
    for name in file.steps:
        title = file.unit.class_name("".join(part.capitalize() for part in name.split("_")))
        made = emitter(unit, program.functions[name], name)
        blocks.append(Block(made.class_text(title), program.functions[name].span))
        objects = tuple(p.name for p in unit.ordered(program.functions[name]) if p.model is not None)
        steps[name] = Step(title, objects, program.functions[name])
    rounds = [program.functions[name] for name in rounds_in(program)]
    return [*blocks, *(Block(t, f.span) for f in rounds for t in function_texts(unit, f, "", 0))], steps


def procedure_blocks(
    file: File, simple: Mapping[str, Simple], steps: Mapping[str, Step] | None = None
) -> Iterable[Block]:
    for procedure in file.module.procedures.values():
        yield Block(ProcedureEmitter(file.unit, procedure, simple, steps or {}).text(), procedure.span)


def simple_functions(file: File) -> Mapping[str, Simple]:
    """Private functions that are one expression: a report reads better with it written out."""
    found, wanted = {}, computed(file.module)
    for f in file.unit.functions.values():
        if f.public or f.state or f.name not in wanted or f.checks:
            continue
        emitter = Emitter(file.unit, f, f.name)
        lines = emitter.statements()
        expression = emitter.returned
        if len(lines) == 1 and expression is not None and not isinstance(expression, ast.Tuple):
            parameters = tuple(emitter.parameters())
            names = [n.id for n in ast.walk(expression) if isinstance(n, ast.Name)]
            if all(names.count(p) <= 1 for p in parameters) and len(parameters) == len(f.parameters):
                found[f.name] = Simple(parameters, expression)
    return found


def optimizer_blocks(file: File) -> Iterable[Block]:
    for optimizer in file.module.optimizers.values():
        yield Block(optimizer_text(file.unit, optimizer), optimizer.span)


def constant_dict(values: Mapping[str, str]) -> ast.Dict:
    return ast.Dict([ast.Constant(k) for k in values], [ast.Constant(v) for v in values.values()])


def tuple_text(names: list[str]) -> str:
    inner = ", ".join(f'"{n}"' for n in names)
    return f"({inner},)" if len(names) == 1 else f"({inner})"


def function_blocks(file: File, without: Collection[str]) -> Iterable[Block]:
    """Functions with their gradients behind them, a block each."""
    for f in file.unit.functions.values():
        if file.unit.owner(f) is None and f.name not in without:
            for text in function_texts(file.unit, f, "", 0):
                yield Block(text, f.span)


def function_texts(unit: Unit, f: Function, prefix: str, indent: int) -> list[str]:
    """A function; what exists in two modes is one for evaluation that hands on to the other in training."""
    base = f.name.removesuffix(EVAL)
    if f.name in (base, base + EVAL) and base in unit.functions and base + EVAL in unit.functions:
        return both_modes(unit, base, prefix, indent) if f.name == base else []
    name = unit.public_name(f)[0]
    shown = name.removeprefix(prefix) if prefix else unit.function_name(name)
    return [Emitter(unit, f, shown, outermost=True).text(indent)]


def both_modes(unit: Unit, base: str, prefix: str, indent: int) -> list[str]:
    name = base.removeprefix(prefix)
    training, evaluation = unit.functions[base], unit.functions[base + EVAL]
    if prefix and unit.dialect.modules:
        first = Emitter(unit, training, name, evaluation=name + EVAL, outermost=True)
        emitters = [first, Emitter(unit, evaluation, name + EVAL)]
    else:
        name, other = (name, f"{name}_training") if prefix else map(unit.function_name, (base, f"{base}_training"))
        first = Emitter(unit, evaluation, name, training=other, outermost=True)
        emitters = [first, Emitter(unit, training, other)]
    return [e.text(indent) for e in emitters]


def header(module: Module, options: Options) -> str:
    path = PurePath(module.source.path)
    path = clean(path.name if path.is_absolute() else path.as_posix())  # the same bytes on every machine
    title = [clean(line) for line in module.doc.strip().splitlines()] or [path]
    level = "" if options.level == 1 else f"-O{options.level} "
    memory = "" if options.recompute == "auto" else f"--recompute {options.recompute} "
    command = f"leec compile {level}{memory}{path}"
    again = f"Made from {path} by leec {__version__}. Change that file, not this one, and run: {command}"
    return "\n".join([*title, "", again])
