"""Where a NaN began: a run is resumed step by step, and the first step that breaks is walked through.

The run goes on in a folder of its own from the newest checkpoint, with the same keys, so it meets the same NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from leec.ir.graph import Equation, Function
from leec.ir.text import print_equation
from leec.proof.emitted import Emitted, Spec, changing, stepping, to_array
from leec.proof.record import Call, call_of, patched, step_objects
from leec.proof.report import Finding
from leec.proof.walk import Walk, statistics
from leec.runtime.faults import RuntimeFault
from leec.runtime.run import Run


class Broken(Exception):
    """A step gave what is not finite."""

    def __init__(self, call: Call):
        super().__init__(call.f.name)
        self.call = call


def locate_nan(
    spec: Spec, backend: str, procedure: str, arguments: Mapping[str, Any], options: Mapping[str, Any]
) -> Finding | None:
    """The operation that gave the first NaN or infinity of a run that these options of a Run resume."""
    emitted = Emitted(spec, backend)
    entry = getattr(emitted.module, emitted.unit.function_name(procedure))
    try:
        with watched(emitted), Run(procedure, **options) as run:
            entry(**arguments, run=run)
    except Broken as broken:
        call = broken.call
        program = spec.optimised.functions
        walk = Walk(program, float_dtype=spec.options.dtype, visit=visit)
        return walk.find(program.functions[call.f.name], call.values, call.sizes)
    except RuntimeFault:  # it came again, from where no step is
        return None
    return None


@contextmanager
def watched(emitted: Emitted) -> Iterator[None]:
    """Every step raises Broken if it makes anything not finite that was finite before."""
    functions = [(emitted.module, name, function_watcher(emitted, f)) for name, f in changing(emitted).items()]
    steps = [(emitted.step(f), "__call__", step_watcher(emitted, f)) for f in stepping(emitted)]
    with patched([*functions, *steps]):
        yield


def function_watcher(emitted: Emitted, f: Function) -> Callable:
    def listener(original: Callable) -> Callable:
        def watch(*args: Any, **options: Any) -> Any:
            call = call_of(emitted, f, args, options)
            returned = original(*args, **options)
            check(emitted, call, returned)
            return returned

        return watch

    return listener


def step_watcher(emitted: Emitted, f: Function) -> Callable:
    """The models and optimizers of a step are its attributes."""

    def listener(original: Callable) -> Callable:
        def watch(step: Any, *batch: Any, **options: Any) -> Any:
            call = call_of(emitted, f, (*step_objects(emitted, f, step), *batch), options)
            returned = original(step, *batch, **options)
            check(emitted, call, returned)
            return returned

        return watch

    return listener


def check(emitted: Emitted, call: Call, returned: Any) -> None:
    """Raises Broken for a loss or a state that is no longer finite."""
    before = dict(zip(call.f.inputs, call.values, strict=True))
    homes = {
        v: (call.objects[p.name], path) for p in call.f.parameters for v, path in zip(p.values, p.paths, strict=False)
    }
    changed = [(before[v], emitted.read(*homes[v])) for v, _ in call.f.state]
    results = emitted.flat(call.f, returned) if call.f.results else []
    if not all(map(finite, results)) or any(finite(old) and not finite(new) for old, new in changed):
        raise Broken(call)


def finite(x: Any) -> bool:
    array = to_array(x)
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


# ---- the step that broke


def visit(walk: Walk, f: Function, e: Equation, args: Sequence[Any], sizes: Mapping[str, int]) -> Finding | None:
    """The first operation that makes what is not finite of what is."""
    if not all(finite(x) for x, v in zip(args, e.args, strict=True) if v.type.is_float and not v.type.host):
        return None
    if all(r.type.host for r in e.results):
        return None
    found = [to_array(x) for x in walk.alone(e, args, sizes, walk.column)]
    wrong = [x for x in found if not finite(x)]
    if not wrong or not e.args:
        return None
    what = "NaN" if np.isnan(wrong[0]).any() else "infinity"
    arguments = {v.name: statistics(x) for v, x in zip(e.args, args, strict=True)}
    message = f"the first {what} comes from `{e.op}`"
    return Finding("operation", e.op, message, f.name, print_equation(e).partition("   #")[0], e.span, arguments)
