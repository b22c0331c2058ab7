"""Calling a generated file by what the IR says: values grouped into objects and arguments, results taken apart again.

A model of the IR is its tensors by path; here it becomes an object of the emitted class at that point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from leec.emit.dialect import NUMPY, TORCH
from leec.emit.groups import attribute, by_key
from leec.emit.reference import File
from leec.emit.unit import EVAL, Unit
from leec.ir import host
from leec.ir.graph import Function, Parameter, Result, Value
from leec.ir.module import Hyper, Module


class Spec(Protocol):
    """A compiled spec: as elaborated, after all passes, and as both modules."""

    module: Module
    options: Any

    @property
    def optimised(self) -> Module: ...

    def backend(self, name: str) -> ModuleType: ...

    def text(self, backend: str) -> str: ...


class Emitted:
    """One generated module, its functions callable by their IR names."""

    def __init__(self, spec: Spec, backend: str):
        self.spec, self.backend, self.module = spec, backend, spec.backend(backend)
        self.unit = unit_of(spec, backend)

    # ---- functions

    def function(self, name: str) -> Function | None:
        """The function as it was emitted; None for one that the file does not have."""
        return self.unit.functions.get(name)

    def call(self, f: Function, given: Mapping[str, Any]) -> list[Any]:
        """The results of an emitted function or method, flat; `given` by parameter, models as objects.

        The mode of torch modules follows the function: what exists in two modes is told which.
        """
        name, training = self.unit.public_name(f)
        arguments = [given[p.name] for p in self.unit.ordered(f) if self.unit.role(f, p) not in ("self", "hyper")]
        for p in f.parameters:
            if p.model is not None and hasattr(given[p.name], "train"):
                given[p.name].train(not f.name.endswith(EVAL))
        options = {"training": True} if training else {}
        return self.flat(f, self.callable(f, name, given)(*arguments, **options))

    def callable(self, f: Function, name: str, given: Mapping[str, Any]) -> Any:
        owner = self.unit.owner(f)
        if owner is None:
            return getattr(self.module, self.unit.function_name(name))
        holder = given["self"] if self.unit.has_self(f) else getattr(self.module, self.unit.class_name(owner))
        method = name.removeprefix(f"{owner}.")
        return holder if method == "forward" and self.unit.has_self(f) else getattr(holder, method)

    def flat(self, f: Function, returned: Any) -> list[Any]:
        """What Python returned, in the order of the IR's results."""
        groups = returned if len(f.results) > 1 else [returned][: len(f.results)]
        found: list[Any] = []
        for r, group in zip(f.results, groups, strict=True):
            found += self.members(r, group)
        return found

    def members(self, r: Result, group: Any) -> list[Any]:
        if r.model is None:
            return [group]
        if isinstance(group, dict):
            return [at(group, path) for path in r.paths]
        return [self.read(group, path) for path in r.paths]

    def step(self, f: Function) -> type:
        """The class of a training step that is no function."""
        return getattr(self.module, self.unit.class_name("".join(part.capitalize() for part in f.name.split("_"))))

    # ---- objects

    def construct(self, model: str, hypers: Mapping[str, Any], key: Any = None) -> Any:
        """An object of a class of the spec, models and optimizers alike."""
        more = {"key": key} if key is not None and self.unit.draws(model) else {}
        given = {self.unit.argument_name(n): v for n, v in hypers.items()}
        return getattr(self.module, self.unit.class_name(model))(**given, **more)

    def hypers(self, model: str, other: Any) -> dict[str, Any]:
        """The constructor arguments with which an object was made, by the file of either back end."""
        given = {**vars(other), **vars(other).get("rates", {})}  # a schedule, not its value at this count
        return {
            h.name: (
                self.twin(h.default, getattr(other, attribute(h.name)))
                if h.kind == "model"
                else given[attribute(h.name)]
            )
            for h in self.hyperparameters(model)
        }

    def hyperparameters(self, model: str) -> tuple[Hyper, ...]:
        known = self.spec.optimised
        return (known.models.get(model) or known.optimizers[model]).hypers

    def twin(self, model: str, other: Any) -> Any:
        """An object with the sizes and numbers of another one, and tensors of its own."""
        return self.construct(model, self.hypers(model, other))

    def models_like(self, model: str, other: Any) -> list[Any]:
        """A twin of a model; of an optimizer twins of the models that take part in its rule."""
        if model in self.spec.optimised.models:
            return [self.twin(model, other)]
        held = [h for h in self.hyperparameters(model) if h.kind == "model"]
        return [self.twin(h.default, getattr(other, attribute(h.name))) for h in held]

    def read(self, holder: Any, path: str) -> Any:
        """A tensor of a model or an optimizer by path, or a number that it was made with."""
        tensors = holder.tensors()
        if path in tensors:
            return tensors[path]
        for step in path.split("."):
            holder = holder[int(step)] if step.isdigit() else getattr(holder, attribute(step))
        return holder


def unit_of(spec: Spec, backend: str) -> Unit:
    """The names and roles that the emitter gave in a file."""
    dialect = {"numpy": NUMPY, "torch": TORCH}[backend]
    return File(spec.optimised, spec.options, dialect).unit


# ---- what of a file procedures use


def step_names(emitted: Emitted) -> list[str]:
    """The functions of steps."""
    procedures = emitted.spec.optimised.procedures.values()
    return list(dict.fromkeys(s.function for p in procedures for s in computed(p.body) if s.is_step))


def stepping(emitted: Emitted) -> list[Function]:
    """The functions that are classes over flat vectors in a file."""
    functions = emitted.spec.optimised.functions.functions
    return [functions[name] for name in step_names(emitted) if emitted.function(name) is None]


def changing(emitted: Emitted) -> dict[str, Function]:
    """The functions that procedures call and that change models or optimizers, by their names in Python."""
    called = {s.function for p in emitted.spec.optimised.procedures.values() for s in computed(p.body)}
    functions = [f for name in called if (f := emitted.function(name)) and f.state]
    return {emitted.unit.function_name(emitted.unit.public_name(f)[0]): f for f in functions}


def computed(statements: tuple[host.Statement, ...]) -> Iterator[host.Compute]:
    for s in statements:
        if isinstance(s, host.Compute):
            yield s
        for inner in ("test", "body", "then", "otherwise"):
            yield from computed(getattr(s, inner, ()))


def optimizers(emitted: Emitted) -> list[type]:
    names = [emitted.unit.class_name(name) for name in emitted.spec.optimised.optimizers]
    return [getattr(emitted.module, name) for name in names if hasattr(emitted.module, name)]


# ---- values


def at(gradient: Mapping[str, Any], path: str) -> Any:
    """A tensor in nested dicts by member, where an element of a list goes by `layers.0`."""
    if path in gradient:
        return gradient[path]
    key = next(k for k in gradient if path.startswith(f"{k}."))
    return at(gradient[key], path[len(key) + 1 :])


def nested(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors by path as nested dicts by member."""
    found: dict[str, Any] = {}
    for key, inside in by_key(tensors).items():  # type: ignore[arg-type]
        found[key] = nested(inside) if isinstance(inside, dict) else inside
    return found


def to_array(value: Any) -> Any:
    """A result of either library on the host."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def named_results(f: Function, values: Sequence[Any]) -> dict[str, Any]:
    """Flat results by name, leaves as `d_net.w`."""
    return dict(zip(result_names(f), values, strict=True))


def result_names(f: Function) -> list[str]:
    names: list[str] = []
    for r in f.results:
        names += [f"{r.name}.{path}" for path in r.paths] if r.paths else [r.name] * len(r.values)
    return names


def grouped(f: Function, values: Sequence[Any]) -> list[tuple[Parameter, list[Any]]]:
    """Flat inputs by parameter."""
    rest = list(values)
    return [(p, [rest.pop(0) for _ in p.values]) for p in f.parameters]


def leaf_names(f: Function) -> dict[Value, str]:
    """The inputs as `net.w`, `x`."""
    return {
        v: f"{p.name}.{path}" if p.paths else p.name
        for p in f.parameters
        for v, path in zip(p.values, p.paths or ("",) * len(p.values), strict=True)
    }


def copied(x: Any) -> Any:
    """An array as it is now, on the host; numbers and keys as they are."""
    return np.array(to_array(x)) if isinstance(x, np.ndarray | np.generic) or hasattr(x, "detach") else x
