"""What the functions of one emitted file know of each other: names, roles of parameters, what a forward saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from leec.emit.dialect import Dialect
from leec.emit.hostblocks import scheduled
from leec.emit.names import Names, identifier
from leec.ir.graph import Function, Parameter, Value
from leec.ir.module import Module, Submodel

EVAL = "_eval"


@dataclass(frozen=True)
class Entry:
    """One item of what a forward saved: a value, or the whole of what one of its calls saved, or rounds of a loop did."""

    name: str
    callee: str = ""
    kind: str = "tuple"
    model: str | None = None  # the class of a model that is saved as an object


@dataclass
class Unit:
    module: Module
    dialect: Dialect
    names: Names  # of the file's top level
    complete: Mapping[str, Function]  # all functions, those that nothing reaches too
    try_out: Callable[[Unit, Function], object] = lambda unit, f: None  # writes a function to nowhere
    bundles: dict[str, tuple[Entry, ...]] = field(default_factory=dict)  # by the saving forward
    saved: dict[str, dict[str, str]] = field(default_factory=dict)  # and the place of each saved value in them
    listed: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)  # and the lists on the way, if any
    beside: dict[Function, Mapping[str, Value]] = field(default_factory=dict)  # their results, found once

    @cached_property
    def scheduled(self) -> Mapping[str, frozenset[str]]:
        """By optimizer class the hyperparameters that procedures give as functions of t."""
        pairs = {pair for p in self.module.procedures.values() for pair in scheduled(p.body)}
        return {cls: frozenset(name for c, name in pairs if c == cls) for cls, _ in pairs}

    @property
    def functions(self) -> Mapping[str, Function]:
        return self.module.functions.functions

    def owner(self, f: Function) -> str | None:
        """The class whose method a function is, also where a pass derived it from one."""
        if f.owner:
            return f.owner
        prefix = f.name.rpartition(".")[0]
        return prefix if prefix in self.module.models or prefix in self.module.optimizers else None

    def hypers(self, model: str | None) -> dict[str, str]:
        """The sizes among the constructor arguments of a class, by symbol, with the attribute: `sizes_0` is sizes.0."""
        found = self.module.models.get(model or "")
        rule = self.module.optimizers.get(model or "")
        pairs: dict[str, str] = {}
        for h in found.hypers if found else (h for h in rule.hypers if h.kind == "model") if rule else ():
            if h.kind == "tuple":
                pairs |= {str(v): f"{h.name}.{i}" for i, v in enumerate(h.default)}
            elif h.kind == "model":
                pairs |= {f"{h.name}.{s}": f"{h.name}.{path}" for s, path in self.hypers(h.default).items()}
            else:
                pairs[h.name] = h.name
        return pairs

    def has_self(self, f: Function) -> bool:
        """Methods whose IR reads nothing of the object are static."""
        owner = self.owner(f)
        return any(p.model == owner and p.name == "self" for p in f.parameters)

    def role(self, f: Function, p: Parameter) -> str:
        """self, hyper, static, model, dict (a gradient), saved, or value."""
        if p.values and set(saved_names(p)) <= self.extras(self.forward_of(f)).keys():
            return "saved"
        if p.model is not None:
            if p.name == "self" and p.model == self.owner(f):
                return "self"
            return "dict" if f.backward_of and p.name.startswith("d_") else "model"
        if p.static:
            return "hyper" if self.holder(f, p.static) else "static"
        return "value"

    def holder(self, f: Function, symbol: str) -> Parameter | None:
        """The model among the parameters that has a size as an attribute: `side` of self, `net.side` of net."""
        name, _, hyper = symbol.rpartition(".")
        for p in f.parameters:
            if p.model is not None and p.name == (name or "self") and hyper in self.hypers(p.model):
                return p
        return None

    # ---- what a forward saves for its backward

    def places(self, forward: Function) -> dict[str, str]:
        """Where each saved value stands in what a forward returns; a forward that is not written yet is tried out."""
        if forward.name not in self.saved:
            self.try_out(self, forward)
        return self.saved[forward.name]

    def entries(self, forward: Function) -> tuple[Entry, ...]:
        self.places(forward)
        return self.bundles[forward.name]

    def forward_of(self, f: Function) -> Function | None:
        return self.module.functions.forward_of(f)

    def extras(self, forward: Function | None) -> Mapping[str, Value]:
        """What a saving forward returns beside its results, by name."""
        if forward is None:
            return {}
        if forward not in self.beside:
            more = forward.results[len(forward.results) - forward.saves :]
            self.beside[forward] = {r.name: r.values[0] for r in more}
        return self.beside[forward]

    def ordered(self, f: Function) -> list[Parameter]:
        """The parameters as Python has them: in a step models and optimizers come first, defaults last anywhere else."""
        optimizers = self.module.optimizers
        if not any(p.model in optimizers for p in f.parameters):
            return sorted(f.parameters, key=lambda p: p.default is not None)
        return sorted(f.parameters, key=lambda p: (p.model is None, p.model in optimizers))

    # ---- names

    def function_name(self, name: str) -> str:
        """Of a function at the top level: `fit.step` is fit_step."""
        return self.names.of(("function", name), name)

    def class_name(self, name: str) -> str:
        return self.names.of(("class", name), name)

    def parameter_name(self, f: Function, p: Parameter) -> str:
        """The name of a parameter in the signature of its function."""
        return self.argument_name(self.readable(f, p.name))

    def argument_name(self, name: str) -> str:
        """The keyword of an argument, the same in a signature and in every call: no builtin, no name of the file."""
        name = identifier(name)
        return f"{name}_" if name in self.names.taken else name

    def readable(self, f: Function, name: str) -> str:
        """`d_y` for the cotangent of a result that the spec gives no name."""
        base = self.functions.get(f.backward_of or "")
        unnamed = [v for r in base.results for v in r.values if not v.named] if base else []
        if len(unnamed) != 1 or name != f"d_{unnamed[0].name}":
            return name
        taken = {p.name for p in base.parameters}
        return next(f"d_{word}" for word in ("y", "out", "result", unnamed[0].name) if word not in taken)

    def public_name(self, f: Function) -> tuple[str, bool]:
        """The name by which a function is called, and whether it needs to be told that this is training.

        What exists for training and for evaluation is one function with a parameter `training`; methods of torch
        modules know the mode themselves, unless they are told to evaluate.
        """
        base = f.name.removesuffix(EVAL)
        training, evaluation = self.has_training(base), base + EVAL in self.functions
        if f.name not in (base, base + EVAL) or not (training and evaluation):
            return (base if f.name == base + EVAL else f.name), False
        if self.dialect.modules and self.owner(f):
            return f.name, False
        return base, f.name == base

    def has_training(self, base: str) -> bool:
        return base in self.functions or base in self.module.functions.saving_forms

    # ---- models

    def draws(self, model: str) -> bool:
        """Whether the constructor of a class needs a key."""
        return any(p.name == "key" for p in self.functions[f"{model}.init"].parameters)

    def trained(self, model: str | None, prefix: str = "") -> list[str]:
        """The paths of the parameters of a class, or of a member of it."""
        found = self.module.models.get(model or "")
        start = f"{prefix}." if prefix else ""
        paths = [leaf.path for leaf in found.leaves if leaf.kind == "param"] if found else []
        return [p[len(start) :] for p in paths if p.startswith(start)]

    def members(self, model: str | None) -> dict[str, str]:
        """Submodels of a class by path, with their classes."""
        found = self.module.models.get(model or "")
        return {m.path: m.model for m in found.members if isinstance(m, Submodel)} if found else {}


def saved_names(p: Parameter) -> list[str]:
    """The names under which a forward saves what a parameter of its backward stands for."""
    return [p.name] if p.model is None else [v.name for v in p.values]
