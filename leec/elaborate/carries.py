"""What a loop carries: the variables that a round may change, and the tensors of models among them, by path."""

from __future__ import annotations

from dataclasses import dataclass, replace

from leec.diagnostics import LeeError, shapes
from leec.dims import Dim
from leec.elaborate.arithmetic import as_value, coerce
from leec.elaborate.binding import filled
from leec.elaborate.context import Context
from leec.elaborate.values import Distribution, Instance, ListValue, Record
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import TensorType


@dataclass(frozen=True)
class Carry:
    """A variable, or one tensor of a model variable, that a round may change. `literal`: it starts as a number."""

    name: str
    path: str | None
    start: object
    type: TensorType
    literal: bool


def is_carried(value: object) -> bool:
    """Numbers and tensors, and what is made of them; functions and words stay."""
    match value:
        case tuple() | ListValue() | Record() | Distribution():
            return all(map(is_carried, value if isinstance(value, tuple) else value.items))
    return isinstance(value, (Value, Dim, float, bool, Instance))


def carries_of(
    ctx: Context, before: dict, name: str, path: str | None, types: dict, node: nodes.For | nodes.While
) -> list[Carry]:
    """The carries of one variable; a model's are its tensors, a tuple's its items."""
    return [
        Carry(
            name,
            at,
            leaf,
            types.get((name, at), tensor_type(ctx, leaf, node)),
            not isinstance(leaf, Value) or leaf.type.host,
        )
        for at, leaf in parts_of(before[name])
        if path is None or at == path
    ]


def parts_of(value: object, prefix: str = ""):
    """Tensors and numbers by path."""
    match value:
        case Instance():
            yield from value.leaves.items()
        case tuple() | ListValue() | Record() | Distribution():
            for i, item in enumerate(value if isinstance(value, tuple) else value.items):
                yield from ((f"{i}.{p}" if p else str(i), v) for p, v in parts_of(item))
        case _:
            yield "", value


def paths_of(value: object) -> list[str]:
    return [path for path, _ in parts_of(value)]


def with_parts(value: object, parts: dict[str, Value]) -> object:
    """The same structure with its tensors exchanged; those not among the parts stay."""
    match value:
        case Instance():
            return value.with_leaves({**value.leaves, **parts})
        case tuple() | ListValue() | Record() | Distribution():
            items = value if isinstance(value, tuple) else value.items
            new = tuple(with_parts(v, inside(parts, str(i))) for i, v in enumerate(items))
            return new if isinstance(value, tuple) else value.with_items(new)
    return parts.get("", value)


def inside(parts: dict[str, Value], step: str) -> dict[str, Value]:
    found = {p.partition(".")[2]: v for p, v in parts.items() if p.partition(".")[0] == step}
    return found


def tensor_type(ctx: Context, leaf: object, node: nodes.For | nodes.While) -> TensorType:
    return (
        replace(as_value(ctx, leaf, node.span).type, host=False)
        if not isinstance(leaf, Value)
        else replace(leaf.type, host=False)
    )


def head_name(c: Carry) -> str:
    return c.name if not c.path else f"{c.name}.{c.path}"


def as_tensor(ctx: Context, c: Carry, node: nodes.For | nodes.While) -> Value:
    """What a carry is before the first round."""
    with ctx.at(node.span):
        start = as_value(ctx, c.start, node.span)
        if start.type == c.type:
            return start
        return filled(ctx, start, c.type, node.span)


def entered(before: dict, carries: list[Carry], heads: list[Value]) -> dict[str, object]:
    """The variables of the round."""
    parts: dict[str, dict[str, Value]] = {}
    for c, head in zip(carries, heads):
        parts.setdefault(c.name, {})[c.path or ""] = head
    return {name: with_parts(before[name], found) for name, found in parts.items()}


def end_of(ctx: Context, c: Carry, node: nodes.For | nodes.While) -> Value:
    """What a round leaves of a carry."""
    now = dict(parts_of(ctx.names.get(c.name)))
    found = as_value(ctx, now.get(c.path, now.get(c.path or "")), node.span)
    with ctx.at(node.span):
        return ctx.builder.fill(found, dims=(), dtype=found.type.dtype) if found.type.host else found


def changed_models(before: dict, after: dict, known: set) -> set[tuple[str, str | None]]:
    """Tensors of models that the round changed, as state is, beside those known to be carried."""
    return {
        (name, path)
        for name, value in before.items()
        if isinstance(value, Instance) and isinstance(after.get(name), Instance) and (name, None) not in known
        for path, leaf in value.leaves.items()
        if (name, path) not in known and after[name].leaves.get(path) is not leaf
    }


def widened(carries: list[Carry], ends: list[Value]) -> dict[tuple[str, str | None], TensorType]:
    """Carries that must start as another type: an int that becomes a float, a number that becomes an array (R17)."""
    found = {}
    for c, end in zip(carries, ends):
        dtype = end.type.dtype if c.type.dtype == "int" and end.type.is_float else c.type.dtype
        dims = end.type.dims if c.literal and not c.type.rank else c.type.dims
        if (dtype, dims) != (c.type.dtype, c.type.dims):
            found[c.name, c.path] = TensorType(dtype, dims)
    return found


def fitted(ctx: Context, c: Carry, end: Value, node_span) -> Value:
    """The end of a round as the next one gets it. Raises LeeError where the shape changed."""
    if end.type == c.type:
        return end
    same = end.type.rank == c.type.rank and all(ctx.agree(a, b, node_span) for a, b in zip(c.type.dims, end.type.dims))
    if not same or (c.type.dtype == "bool") != (end.type.dtype == "bool"):
        raise LeeError(
            shapes.carried_changes(end.span or node_span, c.name, f"{c.type.shown} becomes {end.type.shown}")
        )
    with ctx.at(node_span):
        end = end if end.type.dtype == c.type.dtype else ctx.builder.cast(end, dtype=c.type.dtype)
    return coerce(ctx, end, c.type.dims)
