"""Stand-ins for arguments: a declaration is elaborated once for all sizes, so that a mistake is reported where it stands."""

from __future__ import annotations

from leec.dims import Dim
from leec.elaborate.context import Context, NeedStructural
from leec.elaborate.members import inner_instance
from leec.elaborate.models import model_spec
from leec.elaborate.signature import declare_dims, read_pattern
from leec.elaborate.values import ClassValue, Instance
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import host


class Unknown(Exception):
    """Nothing says what a parameter is."""


def stand_ins(ctx: Context, params: tuple[nodes.Param, ...]) -> dict:
    """A value for every parameter. Raises Unknown where the declaration does not say what it takes."""
    return {p.name.id: (stand_in(ctx, p), p.name.span) for p in params}


def stand_in(ctx: Context, param: nodes.Param) -> object:
    name = param.name.id
    if param.type is not None:
        pattern = read_pattern(param.type)
        if pattern is not None:
            made: object = Value(ctx.builder.unique(name), declare_dims(ctx, pattern), param.type.span, True)
        elif isinstance(param.type, nodes.Name):
            made = model_stand_in(ctx, param.type.id, name)
        else:
            raise Unknown(name)
    elif param.default is not None:
        made = number_stand_in(ctx, param)
    else:
        raise Unknown(name)
    ctx.names[name] = made
    return made


def number_stand_in(ctx: Context, param: nodes.Param) -> object:
    """An integer becomes a size, a float a number of the run; bools, strings and None stay as they are."""
    from leec.elaborate.expressions import evaluate

    default = evaluate(ctx, param.default)
    if isinstance(default, Dim):
        return Dim.of(param.name.id)
    if isinstance(default, float) or isinstance(default, Value) and default.type.host:
        return Value(ctx.builder.unique(param.name.id), host("float"), param.name.span, True)
    return default


def model_stand_in(ctx: Context, cls: str, name: str) -> Instance:
    """Any model of a class, if the class can be made for all sizes."""
    from leec.elaborate.scope import global_value

    found = global_value(ctx, cls)
    if not found or not isinstance(found[0], ClassValue):
        raise Unknown(name)
    return inner_instance(ctx, generic_instance(ctx, found[0]), name)[0]


def generic_instance(ctx: Context, cls: ClassValue) -> Instance:
    """A model with a symbol for every shape integer; one that chooses code stands at its default."""
    values = {p.name.id: hyper_stand_in(ctx, cls, p) for p in cls.declaration.params}
    while True:
        try:
            spec = model_spec(ctx, cls, values, cls.declaration.name.span)
            break
        except NeedStructural as need:
            default = next((p.default for p in cls.declaration.params if p.name.id == need.symbol), None)
            if not isinstance(default, nodes.Number) or values[need.symbol] == default.value:
                raise Unknown(need.symbol) from need
            values[need.symbol] = Dim.of(default.value)
    leaves = {p: Value(p, t) for p, t in spec.leaves.items()}
    return Instance(spec, {n: v for n, v in values.items() if not isinstance(v, Value)}, leaves)


def hyper_stand_in(ctx: Context, cls: ClassValue, param: nodes.Param) -> object:
    name = param.name.id
    if param.default is not None:
        return number_stand_in(Context(ctx.session, cls.home, "default"), param)
    if param.type is None and not used_as_sequence(cls.declaration, name):
        return Dim.of(name)
    raise Unknown(name)


def used_as_sequence(node: object, name: str) -> bool:
    """Is a name subscripted, iterated over or asked for its fields? Then it is no size."""
    is_it = lambda n: isinstance(n, nodes.Name) and n.id == name  # noqa: E731
    match node:
        case nodes.Subscript(value=value) | nodes.Attribute(value=value) if is_it(value):
            return True
        case nodes.Call(function=function, args=args) if (
            is_it(function)
            or isinstance(function, nodes.Name)
            and function.id in ("zip", "len")
            and any(map(is_it, args))
        ):
            return True
    if isinstance(node, nodes.Node):
        return any(used_as_sequence(getattr(node, f), name) for f in node.__match_args__)
    return isinstance(node, tuple) and any(used_as_sequence(n, name) for n in node)
