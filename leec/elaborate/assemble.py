"""From a Session to a Module: classes described over their own symbols, and the functions in order of definition."""

from __future__ import annotations

from leec.dims import Dim
from leec.elaborate.context import Session
from leec.elaborate.models import ModelSpec, Part
from leec.elaborate.modules import SpecModule
from leec.elaborate.values import ListValue, Record
from leec.ir.graph import Value
from leec.ir.module import Hyper, Leaf, ModelClass, Module, Submodel


def assemble(session: Session, home: SpecModule, public: list[str]) -> Module:
    return Module(
        home.spec.source,
        home.spec.doc or "",
        session.program,
        {name: describe_model(spec) for name, spec in session.models.items()},
        {name: spec.describe() for name, spec in session.optimizers.items()},
        dict(session.procedures),
        dict(session.examples),
        tuple(dict.fromkeys(public)),
        dict(session.requirements),
    )


def describe_model(spec: ModelSpec) -> ModelClass:
    leaves = tuple(Leaf(p, t, spec.kinds[p]) for p, t in spec.leaves.items())
    own = [leaf for leaf in leaves if not any(leaf.path.startswith(part.path + ".") for part in parts_of(spec))]
    members = [*own, *(Submodel(p.path, p.spec.name, p.hypers) for p in parts_of(spec))]
    statics = tuple((n, v) for n, v in spec.statics.items() if isinstance(v, Dim))
    return ModelClass(
        spec.name, tuple(hypers(spec)), tuple(members), leaves, spec.facts, spec.declaration.doc or "",
        spec.declaration.span, statics,
    )  # fmt: skip


def parts_of(spec: ModelSpec) -> list[Part]:
    return [p for part in spec.parts.values() for p in (part if isinstance(part, tuple) else (part,))]


def hypers(spec: ModelSpec):
    """Constructor arguments that live at run time, with the literal defaults of the declaration."""
    from leec.syntax import nodes

    for param in spec.declaration.params:
        name, default = param.name.id, param.default
        literal = default.value if isinstance(default, (nodes.Number, nodes.Bool)) else None
        own = spec.hypers.get(name)
        if name in spec.leaves and spec.kinds[name] == "hyper":
            yield Hyper(name, "float", literal, literal is not None)
        elif isinstance(own, Dim) and own.symbol:
            yield Hyper(name, "int", literal, literal is not None)
        elif isinstance(own, (tuple, Record, ListValue)):
            yield Hyper(name, "tuple", symbols_of(own))
        elif name in spec.parts:
            yield Hyper(name, "model", spec.parts[name].spec.name)


def symbols_of(value: object) -> tuple:
    """A tuple of sizes as the symbols that stand for its items."""
    items = value if isinstance(value, tuple) else value.items
    return tuple(
        v if isinstance(v, (Dim, Value)) else symbols_of(v) if isinstance(v, (tuple, Record, ListValue)) else v
        for v in items
    )
