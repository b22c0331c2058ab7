"""A recorded step run again by any program, from exactly the inputs that it had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from leec.ir.graph import Parameter
from leec.proof.emitted import Emitted, grouped, to_array
from leec.proof.record import Call, Recording, listening


@dataclass
class Replayed:
    """The results and the state afterwards, flat; and the gradients that the updates were given."""

    outputs: list[np.ndarray]
    gradients: list[np.ndarray | None]


def replay(emitted: Emitted, call: Call) -> Replayed:
    """Run a step in the form in which the file has it: a function, or a class over flat vectors."""
    objects, recording = objects_of(emitted, call), Recording()
    with listening(emitted, recording):
        results = run(emitted, call, objects)
    homes = {v: (p.name, path) for p in call.f.parameters for v, path in zip(p.values, p.paths, strict=False)}
    after = [emitted.read(objects[homes[before][0]], homes[before][1]) for before, _ in call.f.state]
    return Replayed([np.array(to_array(x)) for x in (*results, *after)], recording.gradients)


def run(emitted: Emitted, call: Call, objects: dict[str, Any]) -> list[Any]:
    given: dict[str, Any] = dict(objects)
    for p, values in grouped(call.f, call.values):
        if p.static:
            given[p.name] = call.sizes[p.static]
        elif p.model is None:
            given[p.name] = on(emitted, values[0])
    f = emitted.function(call.f.name)
    if f is not None:
        return emitted.call(f, given)
    step = emitted.step(call.f)(*(given[p.name] for p in emitted.unit.ordered(call.f) if p.model is not None))
    skipped = ("self", "hyper", "model")
    rest = [given[p.name] for p in emitted.unit.ordered(call.f) if emitted.unit.role(call.f, p) not in skipped]
    return emitted.flat(call.f, step(*rest))


def objects_of(emitted: Emitted, call: Call) -> dict[str, Any]:
    """Models and optimizers as they were before the call."""
    made = {}
    for p, values in grouped(call.f, call.values):
        if p.model is None:
            continue
        found = emitted.twin(p.model, call.objects[p.name])
        if p.model in emitted.spec.optimised.models:
            tensors = dict(zip(p.paths, values, strict=True))
            found.load_tensors({path: on(emitted, tensors[path]) for path in found.tensors()})
        else:
            count, states = optimizer_tensors(p, values)
            found.load_tensors({"t": count, **{name: on(emitted, x) for name, x in states.items()}})
        made[p.name] = found
    return made


def optimizer_tensors(p: Parameter, values: Sequence[Any]) -> tuple[int, dict[str, Any]]:
    """How many updates an optimizer has made, and its states; a rule is told the update under way."""
    given = dict(zip(p.paths, values, strict=True))
    return given["t"] - 1, {path: given[path] for path, v in zip(p.paths, p.values, strict=True) if not v.type.host}


def on(emitted: Emitted, x: Any) -> Any:
    """An array as the file's library has it."""
    if emitted.backend == "numpy" or not isinstance(x, np.ndarray | np.generic):
        return np.array(x) if isinstance(x, np.ndarray) else x
    import torch

    return torch.as_tensor(np.array(x))
