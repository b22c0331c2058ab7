"""The PyTorch file of a compiled spec: ordinary modules, functions through which autograd works, steps that need none."""

from __future__ import annotations

from dataclasses import replace

from leec.emit.dialect import TORCH
from leec.emit.files import render
from leec.emit.hostblocks import Step, steps_in
from leec.emit.reference import (
    FIRST,
    Block,
    File,
    Options,
    function_blocks,
    header,
    model_blocks,
    optimizer_blocks,
    procedure_blocks,
    simple_functions,
    sites,
    used_names,
)
from leec.emit.steps import StepEmitter, whole_steps
from leec.emit.support import needed
from leec.ir.module import Module


def emit_cuda(module: Module, options: Options) -> str:
    """The text of cuda.py."""
    steps = tuple(dict.fromkeys(s.function for p in module.procedures.values() for s in steps_in(p.body)))
    file = File(module, options, TORCH, steps)
    simple = simple_functions(file)
    blocks = [*model_blocks(file), *optimizer_blocks(file), *function_blocks(file, simple)]
    classes, emitted = step_blocks(file, steps)
    blocks = sorted([*blocks, *classes, *procedure_blocks(file, simple, emitted)], key=lambda b: b.order(module))
    body = "\n\n\n".join(b.text for b in blocks)
    support = needed("torch", used_names(body, file))
    return render(
        "cuda.py.j2",
        header=header(module),
        imports=[
            name
            for name in ("functools", "math", "sys", "weakref")
            if name == "sys" or any(name in d.uses for d in support) or f"{name}." in body
        ],
        float=TORCH.widths[options.dtype],
        blocks=[*(d.text for d in support if d.name in FIRST), *(b.text for b in blocks)],
        support=[*sites(body), *(d.text for d in support if d.name not in FIRST)],
    )


def step_blocks(file: File, names: tuple[str, ...]) -> tuple[list[Block], dict[str, Step]]:
    """The step classes, and how procedures make them."""
    complete = replace(file.unit, module=file.everything)
    program = whole_steps(complete, names)
    unit = replace(file.unit, module=replace(file.module, functions=program))
    blocks, steps = [], {}
    for name in names:
        title = file.unit.class_name("".join(part.capitalize() for part in name.split("_")))
        emitter = StepEmitter(unit, program.functions[name], name)
        blocks.append(Block(emitter.class_text(title), program.functions[name].span))
        steps[name] = Step(title, tuple(emitter.signature.objects), program.functions[name])
    return blocks, steps
