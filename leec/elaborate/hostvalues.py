"""What the variables of a `train` are: objects of the run, with the types that elaboration knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from leec.elaborate.values import Instance
from leec.ir.graph import Value
from leec.ir.host import HostExpr, Ref
from leec.types import TensorType


@dataclass(frozen=True)
class HostTensor:
    """An array under a host name; dims are over the procedure's symbols."""

    expr: HostExpr
    type: TensorType


@dataclass(frozen=True)
class HostNumber:
    """A Python number or bool that only the run knows; integers are Dims instead."""

    expr: HostExpr
    dtype: str


@dataclass(frozen=True, eq=False)
class HostModel:
    """A model, or with `is_vector` what fits one: a gradient, a difference, a mask (`dtype` bool: of 0 and 1)."""

    expr: HostExpr
    spec: object
    hypers: Mapping[str, object]
    is_vector: bool = False
    dtype: str = "float"

    def instance(self) -> Instance:
        """The model where elaboration wants tensors: one of each type, with no place."""
        return Instance(self.spec, self.hypers, {p: Value(p, t) for p, t in self.spec.leaves.items()})


@dataclass(frozen=True, eq=False)
class HostOptimizer:
    said = "an optimizer"

    expr: HostExpr
    spec: object


@dataclass(frozen=True)
class HostSplit:
    """A part of a data source: arrays by field."""

    said = "a part of a data source"

    expr: HostExpr
    fields: Mapping[str, TensorType]


@dataclass(frozen=True)
class HostData:
    """A data source: its parts by name, what belongs to all of them, and, where nothing is divided, the fields.

    `numbers` of the whole, such as `vocab`, are sizes, or records of sizes.
    """

    expr: HostExpr
    splits: Mapping[str, HostSplit]
    fields: Mapping[str, TensorType] = field(default_factory=dict)
    numbers: Mapping[str, object] = field(default_factory=dict)

    @property
    def members(self) -> dict[str, object]:
        return {**self.fields, **self.numbers, **self.splits}


@dataclass(frozen=True)
class HostTuple:
    """A tuple or record that a procedure or the runtime returned."""

    expr: HostExpr
    items: tuple[object, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostList:
    """A list that `append` grows; elements have one type, None while nothing says which."""

    expr: HostExpr
    element: object | None = None


@dataclass(frozen=True)
class HostEnvironment:
    """An environment, with the declared types of what goes in and comes out."""

    expr: HostExpr
    observation: TensorType
    action: TensorType


@dataclass(frozen=True, eq=False)
class HostStructure:
    """What a run made of several tensors, such as a distribution: the value there, and where its tensors are here."""

    value: object
    tensors: Mapping[object, HostTensor | HostNumber]


@dataclass(frozen=True)
class RuntimeFunction:
    """`batches`, `folds`, `split`: functions of the runtime that std.data offers."""

    name: str


def fields_of(name: Ref, value: object) -> object:
    """A host value under a variable's name: integers become symbols only where they stand alone."""
    match value:
        case HostTuple(items=items, names=names):
            labels = names or tuple(range(len(items)))
            parts = tuple(fields_of(Ref(name.name, (*name.fields, label)), v) for label, v in zip(labels, items))
            return HostTuple(name, parts, names)
        case HostNumber(dtype=dtype):
            return HostNumber(name, dtype)
    return replace(value, expr=name) if hasattr(value, "expr") else value
