"""The PyTorch file of a compiled spec: ordinary modules, functions through which autograd works, steps that need none."""

from __future__ import annotations

from leec.emit.dialect import TORCH
from leec.emit.files import render
from leec.emit.groupedsteps import GroupedStep
from leec.emit.reference import (
    FIRST,
    File,
    Options,
    function_blocks,
    header,
    model_blocks,
    optimizer_blocks,
    procedure_blocks,
    simple_functions,
    sites,
    step_blocks,
    used_names,
)
from leec.emit.steps import StepEmitter
from leec.emit.support import needed
from leec.ir.module import Module


def emit_cuda(module: Module, options: Options) -> str:
    """The text of cuda.py."""
    file = File(module, options, TORCH)
    simple = simple_functions(file)
    blocks = [*model_blocks(file), *optimizer_blocks(file), *function_blocks(file, simple)]
    classes, emitted = step_blocks(file, GroupedStep if options.level >= 2 else StepEmitter)
    blocks = sorted([*blocks, *classes, *procedure_blocks(file, simple, emitted)], key=lambda b: b.order(module))
    body = "\n\n\n".join(b.text for b in blocks)
    support = needed("torch", used_names(body, file))
    return render(
        "cuda.py.j2",
        header=header(module, options),
        imports=[
            name
            for name in ("functools", "math", "sys", "weakref")
            if name == "sys" or any(name in d.uses for d in support) or f"{name}." in body
        ],
        float=TORCH.widths[options.dtype],
        blocks=[*(d.text for d in support if d.name in FIRST), *(b.text for b in blocks)],
        support=[*sites(body), *(d.text for d in support if d.name not in FIRST)],
    )
