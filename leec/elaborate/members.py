"""Members of model values: tensors, parts, sizes and methods, and a model as a parameter of another function."""

from __future__ import annotations

from collections.abc import Iterator

from leec.diagnostics import LeeError
from leec.dims import Dim, Facts
from leec.elaborate.context import Context
from leec.elaborate.values import Instance, ListValue, MethodValue, Place, Record, rebuild
from leec.ir.graph import Value


def hyper_symbols(instance: Instance) -> Iterator[tuple[str, Dim]]:
    """The class's symbols with what they are for this instance."""
    for name, value in instance.hypers.items():
        if isinstance(value, Instance):
            for inner, own in instance.spec.parts[name].hypers.items():
                yield from _symbols(own, value.hypers.get(inner))
        else:
            yield from _symbols(instance.spec.hypers.get(name), value)


def _symbols(own: object, value: object) -> Iterator[tuple[str, Dim]]:
    if isinstance(own, Dim) and own.symbol:
        yield own.symbol, value
    items = own.items if isinstance(own, (Record, ListValue)) else own if isinstance(own, tuple) else ()
    given = value.items if isinstance(value, (Record, ListValue)) else value
    for a, b in zip(items, given if items else ()):
        yield from _symbols(a, b)


def member_of(instance: Instance, name: str) -> tuple[object] | None:
    """The member in a 1-tuple, or None. Raises LeeError for one with a mistake, which is reported."""
    spec = instance.spec
    if name in spec.failed:
        raise LeeError()
    binding = dict(hyper_symbols(instance))
    if name in instance.leaves:
        return (instance.leaves[name],)
    if name in spec.parts:
        part = spec.parts[name]
        if isinstance(part, tuple):
            return (ListValue(tuple(view(instance, p, binding) for p in part)),)
        return (view(instance, part, binding),)
    for table in (instance.hypers, spec.statics):
        if name in table:
            value = table[name]
            return (rebuild(value, lambda v: v, lambda d: d.substitute(binding)) if table is spec.statics else value,)
    if name in spec.methods and not instance.is_vector:
        return (MethodValue(instance, spec.methods[name]),)
    return None


def at_place(instance: Instance, path: str) -> Instance:
    """The part of a model at a path such as `encoder.blocks.0`, as it is now."""
    while path:
        every = (p for parts in instance.spec.parts.values() for p in (parts if isinstance(parts, tuple) else (parts,)))
        part = next(p for p in every if path == p.path or path.startswith(p.path + "."))
        instance = view(instance, part, dict(hyper_symbols(instance)))
        path = path[len(part.path) + 1 :]
    return instance


def view(instance: Instance, part, binding: dict[str, Dim]) -> Instance:
    """A member model, reading the owner's leaves."""
    prefix = part.path + "."
    leaves = {p[len(prefix) :]: v for p, v in instance.leaves.items() if p.startswith(prefix)}
    hypers = {n: rebuild(v, lambda x: x, lambda d: d.substitute(binding)) for n, v in part.hypers.items()}
    place = instance.place.member(part.path) if instance.place else None
    return Instance(part.spec, hypers, leaves, place, instance.is_vector)


def inner_instance(ctx: Context, instance: Instance, name: str) -> tuple[Instance, list[Value]]:
    """The same model as a parameter called `name`: its sizes become `side` for self, `net.side` otherwise."""
    spec = instance.spec
    prefix = "" if name == "self" else f"{name}."
    binding = {s: Dim.of(prefix + s) for s, _ in hyper_symbols(instance)}
    ctx.reserved |= {d.symbol for d in binding.values()}
    if name == "self":
        ctx.declared |= {s for s in ctx.reserved if "." not in s}  # sizes of models given to it are not its own
    given = {n: spec.parts[n] for n, v in instance.hypers.items() if isinstance(v, Instance)}
    whole = {**spec.hypers, **{n: Instance(part.spec, part.hypers, {}) for n, part in given.items()}}
    hypers = {n: rebuild(v, lambda x: x, lambda d: d.substitute(binding)) for n, v in whole.items()}
    leaves = {}
    for path in instance.leaves:
        leaves[path] = Value(ctx.builder.unique(prefix + path), spec.leaves[path].substitute(binding), None, True)
    inner = Instance(spec, hypers, leaves, Place(name), instance.is_vector)
    if prefix:
        ctx.facts = Facts((*ctx.facts.remainders, *spec.facts.substitute(binding).remainders), ctx.facts.equal_pairs)
    return inner, list(leaves.values())
