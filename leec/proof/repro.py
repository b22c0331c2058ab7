"""A disagreement as files that stand alone: both programs, the inputs, and a script that shows the difference.

The files need NumPy and PyTorch, not leec. For one operation they hold this operation and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from leec import emit
from leec.ir.graph import Program
from leec.ir.module import Module
from leec.proof.emitted import Emitted, grouped
from leec.proof.examples import Pair, example_inputs
from leec.proof.record import Call
from leec.proof.replay import optimizer_tensors
from leec.proof.report import Finding, Section
from leec.proof.walk import alone

HEAD = '''"""{title}

Run this beside reference.py, cuda.py and inputs.npz.
"""

import numpy as np
import torch

import cuda
import reference

inputs = np.load("inputs.npz")


def arrays(value):
    """The arrays of a result, of either library."""
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays(part)]
    if hasattr(value, "tensors"):
        return [array for part in value.tensors().values() for array in arrays(part)]
    return [value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)]


'''
TAIL = """
for i, (a, b) in enumerate(zip(arrays(first), arrays(second), strict=True)):
    print(f"{i}: shape {a.shape}, largest difference {np.abs(a - b).max(initial=0.0):.3g}, largest entry {np.abs(b).max(initial=0.0):.3g}")
"""


def repro_files(pair: Pair, section: Section) -> dict[str, str | bytes]:
    """The files by name, for a section that has a finding."""
    finding = section.finding
    assert finding is not None
    files = {"reference.py": pair.spec.text("numpy"), "cuda.py": pair.spec.text("torch")}
    if finding.operation is not None and finding.inputs:
        files, inputs, body = operation_files(pair, finding)
    elif section.kind == "example":
        inputs, body = {}, example_body(pair, section)
    elif section.call is not None:
        inputs, body = step_inputs(section.call), step_body(pair, section.call)
    else:
        inputs, body = {}, procedure_body(section)
    title = f"{finding.message}{f' ({finding.span})' if finding.span else ''}."
    script = HEAD.replace("{title}", title.replace("\\", "\\\\").replace('"""', "'''")) + body + TAIL
    return {**files, "inputs.npz": packed(inputs), "repro.py": script}


def operation_files(pair: Pair, finding: Finding) -> tuple[dict[str, str], Mapping[str, Any], str]:
    """Both files of a module that has one function: the operation."""
    e = finding.operation
    f = replace(alone(e), name="operation")
    module: Module = replace(
        pair.spec.optimised, functions=Program({"operation": f}), models={}, optimizers={}, procedures={}, examples={},
        public=("operation",), doc="", followed=None,
    )  # fmt: skip
    writers = {"reference.py": (emit.emit_reference, "numpy"), "cuda.py": (emit.emit_cuda, "torch")}
    files = {name: write(module, replace(pair.spec.options, backend=b)) for name, (write, b) in writers.items()}
    arrays = {name: x for name, x in finding.inputs.items() if isinstance(x, np.ndarray)}
    return files, arrays, calls("operation", "operation", ((n, finding.inputs[n]) for n in finding.inputs))


def calls(function: str, torch_function: str, arguments: Iterable[tuple[str, Any]]) -> str:
    """Both programs on the same arguments: arrays from the file, other values written out."""
    given = list(arguments)
    first = ", ".join(f'inputs["{n}"]' if isinstance(x, np.ndarray) else repr(x) for n, x in given)
    second = ", ".join(f'torch.as_tensor(inputs["{n}"])' if isinstance(x, np.ndarray) else repr(x) for n, x in given)
    return f"first = reference.{function}({first})\nsecond = cuda.{torch_function}({second})\n"


def example_body(pair: Pair, section: Section) -> str:
    f, given = example_inputs(pair, section.name, section.seed)
    name = pair.numpy.unit.function_name(f.name)
    return calls(name, name, ((p.name, given[p.name]) for p in f.parameters))


def procedure_body(section: Section) -> str:
    return f"""from leec.runtime.run import Run

first = reference.{section.name}(run=Run("{section.name}", dtype="{section.dtype}", seed={section.seed}))
second = cuda.{section.name}(run=Run("{section.name}", backend="torch", dtype="{section.dtype}", seed={section.seed}))
"""


# ---- a step


def step_inputs(call: Call) -> dict[str, np.ndarray]:
    pairs = zip(call.f.inputs, call.values, strict=True)
    return {v.name: np.asarray(x) for v, x in pairs if isinstance(x, np.ndarray | np.generic)}


def step_body(pair: Pair, call: Call) -> str:
    """Objects as they were before the step, and the step in the form that each file has it."""
    lines = ["def objects(file, array):", '    """Models and optimizers before the step."""']
    names = [p.name for p in pair.numpy.unit.ordered(call.f) if p.model is not None]
    for p, values in grouped(call.f, call.values):
        if p.model is not None:
            lines += object_lines(pair.numpy, call, p, values)
    lines += [f"    return {', '.join(names)},", "", ""]
    objects = ", ".join(names)
    rest = [
        p for p in pair.numpy.unit.ordered(call.f) if p.model is None and pair.numpy.unit.role(call.f, p) != "hyper"
    ]
    values = {p.name: call.sizes[p.static] if p.static else v[0] for p, v in grouped(call.f, call.values) if p in rest}
    places = {p.name: p.values[0].name for p in rest if p.values}
    for file, array, twin in (("reference", "np.array", "first"), ("cuda", "torch.as_tensor", "second")):
        batch = [f'{array}(inputs["{places[n]}"])' if isinstance(x, np.ndarray) else repr(x) for n, x in values.items()]
        step = f"reference.{pair.numpy.unit.function_name(call.f.name)}({', '.join([objects, *batch])})"
        if file == "cuda" and pair.torch.function(call.f.name) is None:
            step = f"cuda.{pair.torch.step(call.f).__name__}({objects})({', '.join(batch)})"
        lines += [f"{objects}, = objects({file}, {array})", f"{twin} = [{step}, {objects}]"]
    return "\n".join(lines) + "\n"


def construction(emitted: Emitted, model: str, found: Any, given: Mapping[str, Any]) -> str:
    """The call that makes an object like this one; models that it was made with are made in there."""
    classes = {h.name: h.default for h in emitted.hyperparameters(model) if h.kind == "model"}
    parts = []
    for name, x in emitted.hypers(model, found).items():
        made = construction(emitted, classes[name], x, {}) if name in classes else repr(x)
        parts.append(f"{emitted.unit.argument_name(name)}={given[name] if callable(x) and name in given else made}")
    return f"file.{emitted.unit.class_name(model)}({', '.join(parts)})"


def object_lines(emitted: Emitted, call: Call, p: Any, values: list[Any]) -> list[str]:
    given = dict(zip(p.paths, values, strict=True))  # a schedule is what it was at this count
    hypers = construction(emitted, p.model, call.objects[p.name], given)
    tensors = dict(zip(p.paths, p.values, strict=True))
    if p.model in emitted.spec.optimised.models:
        held = {path: v.name for path, v in tensors.items() if not v.type.host}
        parts = [f'"{path}": array(inputs["{name}"])' for path, name in held.items()]
    else:
        count, states = optimizer_tensors(p, values)
        parts = [f'"t": {count}', *(f'"{path}": array(inputs["{tensors[path].name}"])' for path in states)]
    return [f"    {p.name} = {hypers}", f"    {p.name}.load_tensors({{{', '.join(parts)}}})"]


def packed(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray(x) for name, x in arrays.items()})
    return file.getvalue()
