"""The first operation that a generated file computes otherwise than the IR it was made from.

A function is cut after each of its operations, emitted anew and run: the first cut whose value is not the
interpreter's shows where the emitter went wrong. What shows in no cut is told by the first output that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from leec import emit
from leec.emit.dialect import STEP, TORCH, Dialect
from leec.emit.functions import Emitter
from leec.emit.reference import File, used_names
from leec.emit.support import needed
from leec.ir.graph import Equation, Function, Parameter, Program, Result, Value
from leec.ir.module import Module
from leec.ir.text import print_equation
from leec.ops import TABLE
from leec.passes.dce import live
from leec.passes.inline import inlined
from leec.proof.agreement import TOLERANCES, compare
from leec.proof.emitted import Emitted, Spec, to_array
from leec.proof.interpret import Interpreter
from leec.proof.report import Finding
from leec.proof.walk import statistics

FILES = {"numpy": "reference.py", "torch": "cuda.py"}


class InStep(Emitter):
    """A function written as the steps of torch are."""

    def dialect(self) -> Dialect:
        return STEP


@dataclass
class Cuts:
    """A function of the optimised program with all calls written out, and what the interpreter says of its values."""

    spec: Spec
    f: Function
    values: Sequence[Any]
    sizes: Mapping[str, int]
    backend: str
    load: Callable[[str, str], ModuleType]
    in_step: bool = False

    def __post_init__(self) -> None:
        program = inlined(self.spec.optimised.functions, lambda f: True)
        self.whole = program.functions[self.f.name]
        self.known: dict[Value, Any] = {}
        machine = Interpreter(program.adding(self.with_all_results()), self.backend, self.spec.options.dtype)
        f = machine.program.functions[self.whole.name]
        arrays = [machine.array(x, v.type) for x, v in zip(self.values, f.inputs, strict=True)]
        found = machine.call(f, arrays, self.sizes)
        self.known = dict(zip(self.cut_points, map(to_array, found), strict=True))

    @property
    def cut_points(self) -> list[Value]:
        return [r for e in self.whole.body for r in e.results if not r.type.host]

    def with_all_results(self) -> Function:
        results = tuple(Result(f"value_{i}", (v,)) for i, v in enumerate(self.cut_points))
        return replace(self.whole, results=results, state=())

    def first_wrong(self) -> tuple[Equation, np.ndarray, np.ndarray] | None:
        """The operation, the value of the file and that of the interpreter."""
        for e in self.whole.body:
            for v in (r for r in e.results if r in self.known):
                try:
                    found = self.emitted_value(v)
                except Exception:
                    continue
                row = compare(v.name, {"file": found, "IR": self.known[v]}, 0.0, TOLERANCES[self.spec.options.dtype])
                if not row.agrees and row.error > self.rounding(v):
                    return e, found, self.known[v]
        return None

    def rounding(self, v: Value) -> float:
        """What a sum of terms as large as anything in the function may differ by."""
        arrays = [x for x in self.known.values() if x.dtype.kind == "f"]
        largest = max((float(np.abs(x[np.isfinite(x)]).max(initial=0.0)) for x in arrays), default=0.0)
        return TOLERANCES[self.spec.options.dtype] * largest if v.type.is_float else 0.0

    def emitted_value(self, v: Value) -> np.ndarray:
        """The value as a file says that computes nothing else."""
        probe = live(self.probe(v))
        alone = replace(
            self.spec.optimised, functions=Program({"probe": probe}), models={}, optimizers={}, procedures={}, examples={},
            public=("probe",), doc="", followed=None,
        )  # fmt: skip
        module = self.load(self.write(alone), "probe")
        emitted = [converted(self.backend, x) for x in self.values]
        given = [self.sizes[p.static] if p.static else None for p in probe.parameters]
        rest = iter(emitted)
        return to_array(module.probe(*(next(rest) if g is None else g for g in given)))

    def write(self, alone: Module) -> str:
        """A file with the probe; in a step of torch the dialect is another one."""
        options = replace(self.spec.options, backend=self.backend)
        if not self.in_step or self.backend == "numpy":
            return {"numpy": emit.emit_reference, "torch": emit.emit_cuda}[self.backend](alone, options)
        file = File(alone, options, TORCH)
        text = InStep(file.unit, file.unit.functions["probe"], "probe").text()
        support = "\n\n".join(d.text for d in needed("torch", used_names(text, file)))
        return f"import math\nimport torch\n\nFLOAT = {STEP.widths[options.dtype]}\n\n{support}\n\n{text}\n"

    def probe(self, v: Value) -> Function:
        flat = [Parameter(f"a{i}", (x,)) for i, x in enumerate(self.whole.inputs)]
        sizes = [Parameter(p.name.replace(".", "_"), static=p.static) for p in self.whole.parameters if p.static]
        parameters = tuple([*flat, *sizes])
        return replace(
            self.whole,
            name="probe",
            parameters=parameters,
            results=(Result("value", (v,)),),
            state=(),
            checks=(),
            owner=None,
            public=True,
        )


def converted(backend: str, x: Any) -> Any:
    if backend == "numpy" or not isinstance(x, np.ndarray | np.generic):
        return x
    import torch

    return torch.as_tensor(np.array(x))


def parting_emission(
    spec: Spec,
    f: Function,
    values: Sequence[Any],
    sizes: Mapping[str, int],
    emitted: Emitted,
    load: Callable[[str, str], ModuleType],
) -> Finding | None:
    """What a file computes otherwise than its IR says; None where that shows in no cut."""
    backend = emitted.backend
    wrong = Cuts(spec, f, values, sizes, backend, load, emitted.function(f.name) is None).first_wrong()
    return wrong and emission_finding(FILES[backend], f, *wrong)


def emission_finding(
    file: str, f: Function, e: Equation | None = None, found: Any = None, known: Any = None
) -> Finding:
    what = f"`{e.op}`" if e else f"`{f.name}`"
    message = f"{file} computes {what} otherwise than the IR that it was made from"
    if e is None:
        return Finding("emitter", file, message, f.name, span=f.span)
    sides = {file: statistics(found), "IR": statistics(known)}
    return Finding("emitter", file, message, f.name, print_equation(e).partition("   #")[0], e.span, sides)


# ---- steps whose form a cut does not have


def parting_output(
    program: Program,
    f: Function,
    rules: frozenset[str],
    found: Mapping[Value, Any],
    known: Mapping[Value, Any],
    file: str,
) -> Finding:
    """The first value, of those that a step lets be seen, that is wrong: a gradient, a loss, or what a rule moved."""
    source = {r: (i, e) for i, e in enumerate(f.body) for r in e.results}
    wrong = [v for v in found if v in source and not alike(found[v], known[v])]
    if not wrong:
        return emission_finding(file, f)
    first = min(wrong, key=lambda v: source[v][0])
    function, e = origin(program, f, source[first][1], first)
    if function.name in rules:
        message = f"{file} applies `{e.op}` of the rule `{function.name}` otherwise than the IR that it was made from"
        return replace(emission_finding(file, function, e, found[first], known[first]), message=message)
    return emission_finding(file, function, e, found[first], known[first])


def alike(found: Any, known: Any) -> bool:
    return compare("", {"file": np.ravel(to_array(found)), "IR": np.ravel(to_array(known))}, 1.0, 1e-9).agrees


def origin(program: Program, f: Function, e: Equation, v: Value) -> tuple[Function, Equation]:
    """The operation that a value comes from, through calls."""
    while "callee" in TABLE[e.op].params:
        f = program.functions[e.params["callee"]]
        v = f.outputs[list(e.results).index(v)]
        inside = next((x for x in f.body if v in x.results), None)
        if inside is None:
            return f, e
        e = inside
    return f, e
