"""Names as types of parameters and results: the class of a model, or `int`, `float` and `bool` for a number."""

from __future__ import annotations

from collections.abc import Iterator

from leec.diagnostics import LeeError, Span, kinds, shapes
from leec.dims import Dim
from leec.elaborate.context import Context, Session
from leec.elaborate.modules import SpecModule, shipped
from leec.elaborate.scope import global_value
from leec.elaborate.values import ClassValue, FamilyValue, Instance, describe
from leec.ir.graph import Value
from leec.syntax import nodes

NUMBERS = {"int": "an integer", "float": "a number", "bool": "true or false"}


def verify_annotations(session: Session, home: SpecModule, item: nodes.Item) -> None:
    """Every name that a declaration uses as a type must be one; each mistake is reported."""
    ctx = Context(session, home, "annotation")
    for function in (item, *getattr(item, "members", ())):
        if isinstance(function, nodes.Function):
            written = (p.type for p in function.params)
            for name in (n for node in (*written, function.returns) for n in type_names(node)):
                try:
                    class_named(ctx, name)
                except LeeError as error:
                    session.report(error)


def type_names(node: nodes.Expr | None) -> Iterator[nodes.Name]:
    if isinstance(node, nodes.Name) and node.id not in NUMBERS:
        yield node
    elif isinstance(node, nodes.Tuple):
        for item in node.items:
            yield from type_names(item)


def class_named(ctx: Context, node: nodes.Name) -> ClassValue | FamilyValue:
    """What a name means as a type. Raises LeeError where it is none."""
    found = global_value(ctx, node.id)
    if found and isinstance(found[0], ClassValue | FamilyValue):
        return found[0]
    if not found and node.id in shipped():
        raise ctx.home.unknown(node, ())
    raise LeeError(shapes.not_a_type(node.span, (*ctx.home.items, *ctx.home.imports)))


def verify_named(ctx: Context, owner: nodes.Function, param: nodes.Param, value: object, span: Span) -> None:
    """`net: Linear` wants a model of that class, `k: int` an integer."""
    node = param.type
    if not isinstance(node, nodes.Name):
        return
    if node.id in NUMBERS:
        fits, wanted = is_number(value, node.id), NUMBERS[node.id]
    else:
        cls, wanted = class_named(ctx, node), f"a model {node.id}"
        is_model = isinstance(value, Instance) and isinstance(cls, ClassValue)
        fits = value.spec.declaration is cls.declaration if is_model else not isinstance(value, Value | Dim | float)
    if not fits:
        raise LeeError(kinds.argument_dtype(span, owner.name.id, param.name.id, describe(value), wanted, node.span))


def is_number(value: object, kind: str) -> bool:
    """Of this kind or a narrower one; a tensor without axes is one."""
    if isinstance(value, Value):
        dtype = value.type.dtype
        return not value.type.rank and (dtype != "bool" if kind == "float" else dtype == kind)
    return isinstance(value, {"int": Dim, "bool": bool}.get(kind, (Dim, float)))
