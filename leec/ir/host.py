"""Procedures: the second, small IR, for the host code of a `train` (decision 22).

Everything that computes with tensors is outlined into IR functions; what stays here is what a lecturer would
write as Python around them: constructors, loops, conditions, calls, reports. Host numbers are expressions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leec.diagnostics import Span
from leec.dims import Dim
from leec.types import TensorType

# ---- expressions


@dataclass(frozen=True)
class Ref:
    """A host variable, with the fields to follow: `data.train.x`."""

    name: str
    fields: tuple[str | int, ...] = ()


@dataclass(frozen=True)
class Literal:
    value: object


@dataclass(frozen=True)
class Size:
    """A dim over the procedure's symbols."""

    dim: Dim


@dataclass(frozen=True)
class ShapeOf:
    """The size of an axis of a host variable's array."""

    array: Ref
    axis: int


@dataclass(frozen=True)
class Operation:
    """A Python operator (`+`, `<`, `and`, `not`, `-`) or a function of one of the rows' host columns (`sqrt`)."""

    op: str
    args: tuple[HostExpr, ...]


@dataclass(frozen=True)
class Bundle:
    """A tuple, or a record where there are names."""

    items: tuple[HostExpr, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Partial:
    """An IR function of host numbers with all its arguments but the last, t: a rate that an optimizer asks (R31)."""

    function: str
    args: tuple[HostExpr, ...]


HostExpr = Ref | Literal | Size | ShapeOf | Operation | Bundle | Partial

# ---- statements


@dataclass(frozen=True, kw_only=True)
class Statement:
    span: Span | None = None


@dataclass(frozen=True)
class Assign(Statement):
    """A host value under a name; `snapshot` copies a model or an optimizer (decision 1)."""

    target: str
    value: HostExpr
    snapshot: bool = False


@dataclass(frozen=True)
class Compute(Statement):
    """Call an IR function. `arguments` are parallel to its parameters, `targets` to its results (None drops one).

    Parameters that are models take the object; state and updated parameters are written back into it.
    `site` is given where the function draws random numbers.
    """

    targets: tuple[str | None, ...]
    function: str
    arguments: tuple[HostExpr, ...]
    site: str | None = None
    is_step: bool = False  # holds a minimize or update


@dataclass(frozen=True)
class Construct(Statement):
    """Make a model or an optimizer: arguments by name of the class's constructor."""

    target: str
    kind: str  # model or optimizer
    name: str  # of the class
    arguments: tuple[tuple[str, HostExpr], ...]
    site: str


@dataclass(frozen=True)
class Load(Statement):
    """Open a data source of std.data: its name and options; `fields` are the declared types, checked on entry."""

    target: str
    source: str
    options: tuple[tuple[str, HostExpr], ...]
    fields: tuple[tuple[str, TensorType], ...]


@dataclass(frozen=True)
class CallProcedure(Statement):
    targets: tuple[str | None, ...]
    procedure: str
    arguments: tuple[tuple[str, HostExpr], ...]
    site: str


@dataclass(frozen=True)
class Count(Statement):
    """`for variable in first..last`; `carried` are host variables that the body rebinds and that exist before."""

    label: str
    variable: str
    first: HostExpr
    last: HostExpr
    body: tuple[Statement, ...]
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batches(Statement):
    """`for fields in batches(part, size, ..)`; one field stands without a tuple."""

    label: str
    fields: tuple[str, ...]
    part: HostExpr
    options: tuple[tuple[str, HostExpr], ...]
    body: tuple[Statement, ...]
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Each(Statement):
    """`for variables in iterable`, over a host list, a tuple, or an iterator of the runtime (folds)."""

    label: str
    variables: tuple[str, ...]
    iterable: HostExpr
    body: tuple[Statement, ...]
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Runtime(Statement):
    """targets = runtime function(arguments): sample, split, folds; `site` where it draws."""

    targets: tuple[str | None, ...]
    function: str
    arguments: tuple[HostExpr, ...]
    options: tuple[tuple[str, HostExpr], ...] = ()
    site: str | None = None


@dataclass(frozen=True)
class While(Statement):
    label: str
    condition: HostExpr
    body: tuple[Statement, ...]
    carried: tuple[str, ...] = ()


@dataclass(frozen=True)
class If(Statement):
    condition: HostExpr
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True)
class Break(Statement):
    pass


@dataclass(frozen=True)
class Return(Statement):
    value: HostExpr | None


@dataclass(frozen=True)
class Report(Statement):
    """Labels with an optional key: `loss[k]`."""

    items: tuple[tuple[str, HostExpr | None, HostExpr], ...]


@dataclass(frozen=True)
class Append(Statement):
    list: str
    value: HostExpr


@dataclass(frozen=True)
class Procedure:
    """A `train`: parameters with defaults, symbols with where their sizes come from, and the statements."""

    name: str
    parameters: tuple[tuple[str, object], ...]
    symbols: Mapping[str, HostExpr]
    body: tuple[Statement, ...]
    doc: str = ""
    span: Span | None = None
