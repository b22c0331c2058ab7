"""Entries that a rule moves though their gradient is zero: what rounding left of it, a rule such as Adam's divides by itself.

An entry is exempt after some steps if its gradient was zero up to rounding at each of them, and a sum of something at
one at least: where a gradient has no terms, every program has the same zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from leec.ir.graph import Equation, Function, Value
from leec.ops import TABLE
from leec.proof.emitted import leaf_names
from leec.proof.examples import Pair
from leec.proof.record import Call


@dataclass(frozen=True)
class Moved:
    """A tensor that an update moves: its name among the inputs of the function, its size, and the optimizer's name."""

    name: str
    size: int
    optimizer: str


@dataclass(frozen=True)
class Still:
    """Of one call: where the gradient of a tensor is zero up to rounding, and where it is a sum of anything."""

    zero: np.ndarray
    has_terms: np.ndarray

    @property
    def moved(self) -> np.ndarray:
        return self.zero & self.has_terms


def moved(pair: Pair, call: Call) -> list[Moved]:
    """The tensors that the updates of a function move, in order."""
    f = pair.spec.module.functions.functions[call.f.name]
    source, names = {r: e for e in f.body for r in e.results}, leaf_names(f)
    holders = {v: p.name for p in f.parameters if p.model in pair.spec.module.optimizers for v in p.values}
    found = []
    for e in f.body:
        if e.params.get("callee") in pair.rules:
            optimizer = next((holders[v] for v in e.args if v in holders), "")
            tensors = leaves(e.args[0], source)
            found += [Moved(names.get(v, v.name), v.type.size.evaluate(call.sizes), optimizer) for v in tensors]
    return found


def leaves(theta: Value, source: Mapping[Value, Equation]) -> Sequence[Value]:
    """What was put together to the vector that a rule moves."""
    e = source.get(theta)
    return e.args if e is not None and "callee" not in TABLE[e.op].params else (theta,)


def still(pair: Pair, call: Call, gradient: np.ndarray, scale: np.ndarray, limit: float) -> dict[str, Still]:
    """By the names of the inputs of a call: the tensors that it moved, and the states of its optimizers."""
    zero, has_terms = np.abs(gradient) <= limit * scale, scale > 0
    parts, stop = moved(pair, call), 0
    found: dict[str, Still] = {}
    places: dict[str, list[np.ndarray]] = {}
    shapes = dict(zip(leaf_names(call.f).values(), map(np.shape, call.values), strict=True))
    for part in parts:
        where = np.arange(stop, stop + part.size)
        stop += part.size
        places.setdefault(part.optimizer, []).append(where)
        if part.name in shapes:
            found[part.name] = Still(
                zero[where].reshape(shapes[part.name]), has_terms[where].reshape(shapes[part.name])
            )
    for name, where in states(pair, call.f, places, shapes):
        found[name] = Still(zero[where], has_terms[where])
    return found


def states(
    pair: Pair, f: Function, places: Mapping[str, list[np.ndarray]], shapes: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, np.ndarray]]:
    """The states of optimizers that lie beside all that they move."""
    for p in f.parameters:
        where = np.concatenate(places.get(p.name, [np.zeros(0, int)]))
        for path, v in zip(p.paths, p.values, strict=False):
            name = f"{p.name}.{path}"
            if p.model in pair.spec.module.optimizers and not v.type.host and shapes[name] == where.shape:
                yield name, where


def over_all(
    calls: Sequence[Call], stills: Sequence[Mapping[str, Still]], names: Mapping[int, str]
) -> dict[str, np.ndarray]:
    """By variable, `net.w`: the entries that are exempt after all calls; `names` are those of the objects."""
    zero: dict[str, np.ndarray] = {}
    has_terms: dict[str, np.ndarray] = {}
    for call, found in zip(calls, stills, strict=True):
        for name, s in found.items():
            parameter, _, path = name.partition(".")
            key = f"{names[id(call.objects[parameter])]}.{path}"
            zero[key] = zero.get(key, True) & s.zero
            has_terms[key] = has_terms.get(key, False) | s.has_terms
    return {key: mask & has_terms[key] for key, mask in zero.items()}
