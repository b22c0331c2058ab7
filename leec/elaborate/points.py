"""Points of parameter space in a `train`: what a run computes of them, and how they live on as objects of the host.

A model, gradient or mask that a later statement reads is an object like the model that it was computed from: a copy of
that one, which the run writes into. A mask stands in it as 0 and 1. One of other sizes is made by the host before the
run, and takes the variable after it.
"""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, Span, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.structural import expression, is_compiled_in
from leec.elaborate.values import Instance, describe
from leec.ir import host
from leec.ir.graph import Value


def entered(run, name: str, outer: hv.HostModel, inner: Instance) -> Instance:
    """A captured point as statements see it."""
    inner = replace(inner, is_vector=outer.is_vector)
    if outer.dtype == "bool":
        masks = {p: run.ctx.builder.ne(v, 0.0) for p, v in inner.parameters()}
        inner = inner.with_leaves({**inner.leaves, **masks})
    run.entered[name] = inner
    return inner


def changes(run) -> list[tuple[Value, Value]]:
    """The tensors of captured points that have other values at the end of the run, each with the new one."""
    return [
        (before, plain(run, run.ctx.names[name].leaves[path]))
        for name, start in run.start.items()
        for path, before in start.leaves.items()
        if run.ctx.names[name].leaves[path] is not run.entered[name].leaves[path]
    ]


def plain(run, value: Value) -> Value:
    return run.ctx.builder.cast(value, dtype="float") if value.type.dtype == "bool" else value


def keep(run, owner, wanted: list[str]) -> tuple[list[host.Statement], list[host.Statement]]:
    """Make host objects of the points that the run computed and later statements read; gives what makes the objects,
    and what stands after the run."""
    made: list[host.Statement] = []
    after: list[host.Statement] = []
    for name in wanted:
        value, known = run.ctx.names.get(name), owner.variables.get(name)
        if not isinstance(value, Instance):
            continue
        span, start = run.assigned[name], run.start.get(name)
        if start is None or value.hypers != start.hypers:
            source = known if is_like(known, value) else next((m for m in models(owner) if is_like(m, value)), None)
            target = name if start is None else owner.session.unique(f"new_{name}", owner.variables)
            if source is None:
                made.append(constructed(owner, target, value, span))
            elif source is not known or target != name:
                made.append(host.Assign(target, source.expr, snapshot=True, span=span))
            if target != name:
                run.ctx.names |= {target: value, name: run.entered[name]}
                after.append(host.Assign(name, host.Ref(target), span=span))
            bring_back(run, target, hv.HostModel(host.Ref(target), value.spec, value.hypers))
        dtype = next((v.type.dtype for _, v in value.parameters()), "float")
        own = hv.HostModel(host.Ref(name), value.spec, value.hypers, value.is_vector, dtype)
        owner.bind(name, own, owner.arguments if start is None or value.hypers != start.hypers else None)
    return made, after


def constructed(owner, name: str, value: Instance, span: Span) -> host.Construct:
    """What makes an object of the sizes of a point. Raises LeeError where the host cannot know what it takes."""
    spec = value.spec
    sizes = {n: v for n, v in value.hypers.items() if not is_compiled_in(spec.hypers.get(n, v))}
    symbols = {s for v in owner.variables.values() if isinstance(v, Dim) for s in v.symbols} | owner.symbols.keys()
    is_known = all(isinstance(v, Dim) and v.symbols <= symbols for v in sizes.values())
    if not is_known or "hyper" in spec.kinds.values():
        raise LeeError(structure.not_built(span, f"{describe(value)} that later statements read"))
    arguments = tuple((n, expression(v)) for n, v in sizes.items())
    return host.Construct(name, "model", spec.name, arguments, name, span=span)


def models(owner) -> list[hv.HostModel]:
    return [v for v in owner.variables.values() if isinstance(v, hv.HostModel)]


def is_like(outer: object, value: Instance) -> bool:
    """Whether a variable is an object of the structure of a point."""
    return isinstance(outer, hv.HostModel) and outer.spec is value.spec and outer.hypers == value.hypers


def bring_back(run, name: str, outer: hv.HostModel) -> None:
    """The object as a parameter whose every tensor the run writes over."""
    value = run.ctx.names[name]
    run.model(name, replace(outer, is_vector=False, dtype="float"))
    leaves = {p: value.leaves.get(p, v) for p, v in run.start[name].leaves.items()}
    run.ctx.names[name] = value.with_leaves(leaves)


def hold(old: Instance, value: object, span: Span) -> Instance:
    """What may be stored in the place of a point: one of its structure. Raises LeeError for anything else.

    Where a vector stands, a model computed from it becomes one.
    """
    if isinstance(value, Instance) and old.is_vector:
        value = replace(value, leaves=dict(value.parameters()), is_vector=True)
    fits = isinstance(value, Instance) and value.leaves.keys() == old.leaves.keys()
    if not fits or value.is_vector != old.is_vector:
        raise LeeError(structure.wrong_kind(span, describe(value), describe(old)))
    return value
