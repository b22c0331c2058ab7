"""What names mean during elaboration.

Tensors and host numbers are IR values; integers that sizes are made of are Dims; other numbers, bools, strings and
None are Python's own and structural. The rest are the small records below. All are values: nothing here is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from leec.diagnostics import Span
from leec.dims import Dim
from leec.ir.graph import Value
from leec.syntax import nodes
from leec.types import TensorType


@dataclass(frozen=True)
class Record:
    """A tuple with field names."""

    names: tuple[str, ...]
    items: tuple[object, ...]

    def with_items(self, items: Iterable[object]) -> Record:
        return replace(self, items=tuple(items))

    def get(self, name: str):
        return self.items[self.names.index(name)]


@dataclass(frozen=True)
class ListValue:
    """A literal list or a comprehension: of static length, unrolled."""

    items: tuple[object, ...]

    def with_items(self, items: Iterable[object]) -> ListValue:
        return replace(self, items=tuple(items))


@dataclass(frozen=True)
class TypeValue:
    """`int[n, 3]` as an argument."""

    type: TensorType


@dataclass(frozen=True)
class RangeValue:
    """`first..last`, or the 0 .. n - 1 of a bare integer."""

    first: object
    last: object
    reverse: bool = False


@dataclass(frozen=True, eq=False)
class FunctionValue:
    """A def, loss or metric of some file, or a nested one with the values that it captured, which go where it goes."""

    declaration: nodes.Function
    home: object  # the SpecModule that it stands in
    captured: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.declaration.name.id

    @property
    def items(self) -> tuple[object, ...]:
        return tuple(self.captured.values())

    def with_items(self, items: Iterable[object]) -> FunctionValue:
        return replace(self, captured=dict(zip(self.captured, items)))


@dataclass(frozen=True, eq=False)
class MethodValue:
    """A method with the instance it belongs to."""

    instance: Instance
    declaration: nodes.Function


@dataclass(frozen=True, eq=False)
class ClassValue:
    """A model or an optimizer that can be constructed."""

    declaration: nodes.Model | nodes.Optimizer
    home: object

    @property
    def name(self) -> str:
        return self.declaration.name.id


@dataclass(frozen=True, eq=False)
class SourceValue:
    """A `data` declaration, to be called with options."""

    declaration: nodes.External
    home: object


@dataclass(frozen=True, eq=False)
class ProcedureValue:
    declaration: nodes.Function
    home: object


@dataclass(frozen=True)
class BuiltinValue:
    """A primitive: an op of the table under its name in lee, or one with a signature of its own."""

    name: str
    apply: Callable


@dataclass(frozen=True, eq=False)
class FamilyValue:
    """A `distribution` declaration, to be called with parameters."""

    declaration: nodes.Distribution
    home: object

    @property
    def name(self) -> str:
        return self.declaration.name.id


@dataclass(frozen=True)
class Distribution:
    """A family with its parameters."""

    family: FamilyValue
    parameters: Mapping[str, object]

    @property
    def items(self) -> tuple[object, ...]:
        return tuple(self.parameters.values())

    def with_items(self, items: Iterable[object]) -> Distribution:
        return replace(self, parameters=dict(zip(self.parameters, items)))


@dataclass(frozen=True, eq=False)
class DistributionMethod:
    """`p.log_prob`"""

    owner: Distribution
    declaration: nodes.Function


@dataclass(frozen=True)
class Place:
    """The variable that a model value was read from, and the path within: where its state goes back to (R9)."""

    root: str
    path: str = ""

    def member(self, name: str) -> Place:
        return Place(self.root, f"{self.path}.{name}" if self.path else name)


@dataclass(frozen=True)
class Alias:
    """A loop's variable over the models of a list: another name of the place that it goes through."""

    place: Place


@dataclass(frozen=True, eq=False)
class Instance:
    """A model value: its class, hyperparameters, and tensors by path; members are views by prefix.

    `is_vector` marks a gradient, mask or difference: a point's vector, which fits the model but cannot be called.
    """

    spec: object  # elaborate.models.ModelSpec
    hypers: Mapping[str, object]
    leaves: Mapping[str, Value]
    place: Place | None = None
    is_vector: bool = False

    def with_leaves(self, leaves: Mapping[str, Value], **changes) -> Instance:
        return replace(self, leaves=leaves, **changes)

    def parameters(self) -> Iterator[tuple[str, Value]]:
        """The trainable leaves, in declaration order (R32)."""
        kinds = self.spec.kinds
        return ((p, v) for p, v in self.leaves.items() if kinds[p] == "param")


class Poison:
    """The value of a name whose definition was in error: uses of it stay silent."""

    def __repr__(self) -> str:
        return "poison"


POISON = Poison()


def leaves_of(value: object) -> Iterator[Value]:
    """Every IR value inside a tree of tuples, records, lists and instances, in order."""
    match value:
        case Value():
            yield value
        case Instance():
            yield from value.leaves.values()
        case tuple():
            for item in value:
                yield from leaves_of(item)
        case Record(items=items) | ListValue(items=items) | Distribution(items=items) | FunctionValue(items=items):
            for item in items:
                yield from leaves_of(item)


def rebuild(value: object, of: Callable[[Value], object], dim: Callable[[Dim], Dim]) -> object:
    """The same tree with its IR values and dims exchanged."""
    match value:
        case Value():
            return of(value)
        case Dim():
            return dim(value)
        case Instance():
            hypers = {k: rebuild(v, of, dim) for k, v in value.hypers.items()}
            return replace(value, hypers=hypers, leaves={p: of(v) for p, v in value.leaves.items()}, place=None)
        case tuple():
            return tuple(rebuild(v, of, dim) for v in value)
        case Record() | ListValue() | Distribution() | FunctionValue():
            return value.with_items(rebuild(v, of, dim) for v in value.items)
        case RangeValue():
            return RangeValue(rebuild(value.first, of, dim), rebuild(value.last, of, dim), value.reverse)
    return value


def describe(value: object) -> str:
    """What kind of thing it is, in course words."""
    match value:
        case Value():
            return value.type.shown if value.type.rank or not value.type.host else f"a number ({value.type.dtype})"
        case Dim():
            return f"the integer {value}"
        case bool():
            return "a bool"
        case float() | int():
            return "a number"
        case str():
            return "a string"
        case None:
            return "None"
        case Instance():
            return f"a model {value.spec.name}" if not value.is_vector else f"a vector of {value.spec.name}"
        case FunctionValue() | BuiltinValue() | MethodValue() | DistributionMethod():
            return "a function"
        case ClassValue(declaration=nodes.Model()):
            return "a model class"
        case ClassValue():
            return "an optimizer class"
        case ProcedureValue():
            return "a procedure"
        case Distribution():
            return f"a distribution ({value.family.name})"
        case FamilyValue():
            return "a family of distributions without its parameters"
        case tuple() | Record():
            return "a tuple"
        case ListValue():
            return "a list"
        case TypeValue():
            return "a type"
        case RangeValue():
            return "a range"
    return getattr(value, "said", "what stands here")  # readers of a run say what they read


@dataclass(frozen=True)
class Origin:
    """Where a dim of a signature was bound: for diagnostics."""

    span: Span
    text: str
