"""Keys of specialisations: what of an argument the code that it is passed to may depend on; never a size."""

from __future__ import annotations

from leec.dims import Dim
from leec.elaborate.values import Distribution, FunctionValue, Instance, ListValue, Record
from leec.ir.graph import Value
from leec.types import TensorType


def key_of(value: object, structural: set[str], name: str) -> object:
    """What of an argument the callee's code may depend on."""
    match value:
        case Value(type=TensorType(host=True, dtype=dtype)):
            return ("host", dtype)
        case Value(type=type_):
            return ("tensor", type_.dtype, tuple(d == 1 for d in type_.dims))
        case Dim():
            return ("static", value.constant) if name in structural else ("int",)
        case float():
            return ("host", "float")
        case Instance():
            return ("model", value.spec.name, value.is_vector, tuple(value.leaves))
        case tuple():
            return ("tuple", *(key_of(v, structural, f"{name}_{i}") for i, v in enumerate(value)))
        case Record() | ListValue():
            names = value.names if isinstance(value, Record) else ()
            return ("items", names, *(key_of(v, structural, f"{name}_{i}") for i, v in enumerate(value.items)))
        case FunctionValue():
            return (
                "function",
                id(value.declaration),
                *((k, key_of(v, structural, k)) for k, v in value.captured.items()),
            )
        case Distribution():
            items = (key_of(v, structural, f"{name}_{i}") for i, v in enumerate(value.items))
            return ("distribution", id(value.family.declaration), *items)
        case bool() | str() | None:
            return ("is", value)
    return ("object", id(value))


def annotated_key(value: Value) -> object:
    """A tensor whose dims the signature names: only its rank and dtype matter."""
    return ("tensor", value.type.dtype, value.type.rank, value.type.host)
