"""What a run hands on: the tensors that its variables consist of, and what these are for later statements."""

from __future__ import annotations

from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.values import Distribution, FunctionValue, Instance, Record, leaves_of
from leec.ir import host
from leec.ir.graph import Value


def parts(run, name: str) -> dict[str, Value]:
    """The tensors that a variable of the run consists of, by the names that they get outside."""
    value = run.ctx.names.get(name)
    if isinstance(value, Value):
        return {name: value}
    if isinstance(value, Instance) and name in run.start:
        return {}
    return {f"{name}_{i}": v for i, v in enumerate(dict.fromkeys(leaves_of(value)))}


def handed_on(run, wanted: list[str]) -> dict[str, object]:
    """What the variables are for later statements."""
    names = [n for n in wanted if n in run.ctx.names and n not in run.start]
    return {n: outside(run.ctx.names[n], parts(run, n)) for n in names}


def outside(value: object, parts: dict[str, Value]) -> object:
    """A value of a run as a variable of the host, its tensors under these names."""
    names = {v: n for n, v in parts.items()}
    match value:
        case Value():
            expr = host.Ref(names[value])
            return hv.HostNumber(expr, value.type.dtype) if value.type.host else hv.HostTensor(expr, value.type)
        case tuple() | Record():
            items = value.items if isinstance(value, Record) else value
            own = tuple(outside(v, parts) for v in items)
            labels = value.names if isinstance(value, Record) else ()
            return hv.HostTuple(host.Bundle(tuple(host_expression(v) for v in own), labels), own, labels)
        case FunctionValue() if not names:
            return value
        case Distribution() | Instance() | FunctionValue():
            return hv.HostStructure(value, {v: outside(v, parts) for v in names})
    return value


def host_expression(value: object) -> host.HostExpr:
    return host.Size(value) if isinstance(value, Dim) else getattr(value, "expr", host.Literal(value))
