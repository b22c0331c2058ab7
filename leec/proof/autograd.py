"""The spec through torch's autograd: the IR as elaborated, before any pass, with `grad` left to the library.

`Written` interprets all of it: the meaning that no pass and no emitter has touched. `Through` hands every call that
the emitted PyTorch file has a function or a method for to that file, so that gradients are those of the ordinary
modules. What neither needs is a rule of ours for a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leec.diagnostics import InternalError
from leec.ir.graph import Equation, Function, Parameter, Value
from leec.ops import TABLE
from leec.proof.emitted import Emitted, grouped, nested
from leec.proof.interpret import Interpreter


@dataclass
class Written(Interpreter):
    """An interpreter in torch whose `grad` is torch.autograd.grad.

    `rules` are the names of optimizers' updates; `directions` collects the gradients that they were given.
    """

    column: str = "torch"
    rules: frozenset[str] = frozenset()
    directions: list[Any] = field(default_factory=list)

    def evaluate(self, f: Function, values: Sequence[Any], sizes: Mapping[str, int]) -> list[Any]:
        """The outputs of a function of the program, detached."""
        f = self.program.functions[f.name]
        with self.torch.enable_grad():
            arrays = [self.array(x, v.type) for x, v in zip(values, f.inputs, strict=True)]
            found = self.call(f, arrays, sizes)
        return [x.detach() if isinstance(x, self.torch.Tensor) else x for x in found]

    def call(self, f: Function, args: Sequence[Any], sizes: Mapping[str, int]) -> list[Any]:
        asked = {v for e in f.body if e.op == "grad" for v in e.args[1:]}
        values: dict[Value, Any] = {}

        def bind(names: Sequence[Value], found: Sequence[Any]) -> None:
            values.update((v, self.tracked(x) if v in asked else x) for v, x in zip(names, found, strict=True))

        bind(f.inputs, args)
        for e in f.body:
            results = self.equation(e, [values[a] for a in e.args], sizes)
            for value, found in zip(e.results, results, strict=True):
                self.check(f, e, value.type, found, sizes)
            bind(e.results, results)
            if self.observer is not None:
                self.observer(f, e, results)
        return [values[v] for v in f.outputs]

    def tracked(self, x: Any) -> Any:
        """The value as one that gradients are asked for; a new one, as derivatives are by this very value (R6)."""
        return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()

    def equation(self, e: Equation, args: list[Any], sizes: Mapping[str, int]) -> tuple:
        if e.op == "grad":
            return self.gradients(*args)
        if e.params.get("callee") in self.rules:
            self.directions.append(args[1].detach().reshape(-1))
        return super().equation(e, args, sizes)

    def gradients(self, e: Any, *wrt: Any) -> tuple:
        if not e.requires_grad:
            return tuple(map(self.torch.zeros_like, wrt))
        found = self.torch.autograd.grad(e, wrt, create_graph=True, allow_unused=True)
        return tuple(self.torch.zeros_like(x) if g is None else g for g, x in zip(found, wrt, strict=True))


@dataclass
class Through(Written):
    """`Written`, with calls through the emitted file where it can; `known` are objects to take classes' sizes from."""

    emitted: Emitted = field(kw_only=True)
    known: list[Any] = field(default_factory=list)

    def equation(self, e: Equation, args: list[Any], sizes: Mapping[str, int]) -> tuple:
        if "callee" not in TABLE[e.op].params or e.op == "scan":
            return super().equation(e, args, sizes)
        f = self.program.functions[e.params["callee"]]
        inner = {symbol: dim.evaluate(sizes) for symbol, dim in e.params["dims"]}
        if f.name.endswith(".init"):
            return self.construct(f, args, inner)
        there = self.emitted.function(f.name)
        if there is None or f.name in self.rules:
            return super().equation(e, args, sizes)
        return self.apply(f, there, args, inner)

    def construct(self, f: Function, args: list[Any], sizes: Mapping[str, int]) -> tuple:
        """The tensors of a new object of the emitted class."""
        given = {
            p.name: sizes[p.static] if p.static else self.argument(p, values, sizes, "")
            for p, values in grouped(f, args)
        }
        made = self.make(f.name.removesuffix(".init"), given, given.pop("key", None))
        return tuple(self.emitted.read(made, path) for r in f.results for path in r.paths)

    def make(self, model: str, given: Mapping[str, Any], key: Any = None) -> Any:
        """A new object of the emitted class, from what its constructor takes by the names of the IR."""
        hypers = {
            h.name: tuple(given[str(v)] for v in h.default) if h.kind == "tuple" else given.get(h.name, h.default)  # type: ignore[attr-defined]
            for h in self.emitted.spec.module.models[model].hypers
        }
        made = self.emitted.construct(model, hypers, key)
        self.know(made)
        return made

    def know(self, made: Any) -> None:
        """An object and its members may lend their sizes to later calls."""
        self.known += [module for module in made.modules() if hasattr(module, "members")]

    def apply(self, f: Function, there: Function, args: list[Any], sizes: Mapping[str, int]) -> tuple:
        """The results of an emitted function, and the state that its objects have then."""
        objects: dict[str, Any] = {}
        for p, values in grouped(f, args):
            objects[p.name] = sizes[p.static] if p.static else self.argument(p, values, sizes, p.name)
        results = self.emitted.call(there, objects)
        holders = {v: (p.name, path) for p in f.parameters for v, path in zip(p.values, p.paths, strict=False)}
        for before, _ in f.state:
            name, path = holders[before]
            results.append(self.emitted.read(objects[name], path))
        return tuple(results)

    def argument(self, p: Parameter, values: list[Any], sizes: Mapping[str, int], name: str) -> Any:
        if p.model is None:
            return values[0]
        tensors = dict(zip(p.paths, values, strict=True))
        prefix = "" if name == "self" else f"{name}."
        like = self.like(
            p.model, {s.removeprefix(prefix): n for s, n in sizes.items() if s.startswith(prefix)}, tensors
        )
        held = like.tensors()
        states = dict(like.named_buffers())
        point = {path: x.clone() if path in states else x for path, x in tensors.items() if path in held}
        return like.at(nested(point))

    def like(self, model: str, sizes: Mapping[str, int], tensors: Mapping[str, Any]) -> Any:
        """An object of the class with these sizes and numbers; a new one where a function made it of other sizes."""
        kind = getattr(self.emitted.module, self.emitted.unit.class_name(model))
        numbers = {path: x for path, x in tensors.items() if not isinstance(x, self.torch.Tensor)}
        for made in self.known:
            if type(made) is kind and self.fits(made, model, sizes, numbers):
                return made
        if any(h.kind == "model" for h in self.emitted.spec.module.models[model].hypers):
            raise InternalError(f"no {model} with sizes {dict(sizes)} is there to make another one of")
        return self.make(model, {**sizes, **numbers})

    def fits(self, made: Any, model: str, sizes: Mapping[str, int], numbers: Mapping[str, Any]) -> bool:
        hypers = self.emitted.unit.hypers(model)
        same_sizes = all(self.emitted.read(made, hypers[s]) == n for s, n in sizes.items() if s in hypers)
        return same_sizes and all(self.emitted.read(made, path) == x for path, x in numbers.items())
