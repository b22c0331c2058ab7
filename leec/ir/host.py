"""Procedures: the second, small IR, for the host code of a `train` (decision 22).

Everything that computes with tensors is outlined into IR functions; what stays here is what a lecturer would
write as Python around them: constructors, loops, conditions, calls, reports. Host numbers are expressions.
"""

from __future__ import annotations

from collections.abc import Mapping

from leec.diagnostics import Span
from leec.dims import Dim
from leec.immutable import Immutable
from leec.types import TensorType

# ---- expressions


class Ref(Immutable):
    """A host variable, with the fields to follow: `data.train.x`."""

    name: str
    fields: tuple[str | int, ...] = ()


class Literal(Immutable):
    value: object


class Size(Immutable):
    """A dim over the procedure's symbols."""

    dim: Dim


class ShapeOf(Immutable):
    """The size of an axis of an array."""

    array: HostExpr
    axis: int


class Item(Immutable):
    """An element of a list or tuple, at a number; or a field of a record, by name."""

    of: HostExpr
    index: HostExpr | str


class ListOf(Immutable):
    """A new list."""

    items: tuple[HostExpr, ...]


class Copy(Immutable):
    """An object as it is now."""

    of: HostExpr


class Stream(Immutable):
    """The batches of a part, to be gone through beside others."""

    site: str
    part: HostExpr
    options: tuple[tuple[str, HostExpr], ...]


class Ask(Immutable):
    """A function of the run that draws nothing: `run.stack(path)`."""

    function: str
    args: tuple[HostExpr, ...]


class Operation(Immutable):
    """A Python operator (`+`, `<`, `and`, `not`, `-`) or a function of one of the rows' host columns (`sqrt`)."""

    op: str
    args: tuple[HostExpr, ...]


class Bundle(Immutable):
    """A tuple, or a record where there are names."""

    items: tuple[HostExpr, ...]
    names: tuple[str, ...] = ()


class Partial(Immutable):
    """An IR function of host numbers with all its arguments but the last, t: a rate that an optimizer asks (R31)."""

    function: str
    args: tuple[HostExpr, ...]


HostExpr = Ref | Literal | Size | ShapeOf | Item | ListOf | Copy | Stream | Ask | Operation | Bundle | Partial

# ---- statements


class Statement(Immutable, kw_only=True):
    span: Span | None = None


class Assign(Statement):
    """A host value under a name; `snapshot` copies a model or an optimizer (decision 1)."""

    target: str
    value: HostExpr
    snapshot: bool = False


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


class Construct(Statement):
    """Make a model or an optimizer: arguments by name of the class's constructor."""

    target: str
    kind: str  # model or optimizer
    name: str  # of the class
    arguments: tuple[tuple[str, HostExpr], ...]
    site: str


class Load(Statement):
    """Open a data source of std.data: its name and options; `fields` are the declared types, checked on entry, and
    `sizes` the names in them that only the data tells."""

    target: str
    source: str
    options: tuple[tuple[str, HostExpr], ...]
    fields: tuple[tuple[str, TensorType], ...]
    sizes: tuple[str, ...] = ()


class Accept(Statement):
    """Data that a caller passes for a parameter is brought to the run, and held against its fields."""

    target: str
    fields: tuple[tuple[str, TensorType], ...]


class Environment(Statement):
    """An environment by its name at gymnasium; `fields` are its declared types, with a range where there is one."""

    target: str
    place: str
    fields: tuple[tuple[str, TensorType, tuple[int, int] | None], ...]


class Method(Statement):
    """targets = owner.method(arguments): `reset`, which draws at its site, and `step` of an environment."""

    targets: tuple[str | None, ...]
    owner: str
    method: str
    arguments: tuple[HostExpr, ...]
    site: str | None = None


class CallProcedure(Statement):
    targets: tuple[str | None, ...]
    procedure: str
    arguments: tuple[tuple[str, HostExpr], ...]
    site: str


class Count(Statement):
    """`for variable in first..last`; `carried` are host variables that the body rebinds and that exist before."""

    label: str
    variable: str
    first: HostExpr
    last: HostExpr
    body: tuple[Statement, ...]
    carried: tuple[str, ...] = ()


class Batches(Statement):
    """`for fields in batches(part, size, ..)`; one field stands without a tuple."""

    label: str
    fields: tuple[str, ...]
    part: HostExpr
    options: tuple[tuple[str, HostExpr], ...]
    body: tuple[Statement, ...]
    carried: tuple[str, ...] = ()


class Each(Statement):
    """`for variables in iterable`, over a host list, a tuple, or an iterator of the runtime (folds)."""

    label: str
    variables: tuple[str, ...]
    iterable: HostExpr
    body: tuple[Statement, ...]
    carried: tuple[str, ...] = ()


class Runtime(Statement):
    """targets = runtime function(arguments): sample, split, folds; `site` where it draws."""

    targets: tuple[str | None, ...]
    function: str
    arguments: tuple[HostExpr, ...]
    options: tuple[tuple[str, HostExpr], ...] = ()
    site: str | None = None


class While(Statement):
    """`test` are statements that compute the condition, before every round."""

    label: str
    condition: HostExpr
    body: tuple[Statement, ...]
    test: tuple[Statement, ...] = ()


class If(Statement):
    condition: HostExpr
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


class Break(Statement):
    pass


class Return(Statement):
    value: HostExpr | None


class Report(Statement):
    """Labels with an optional key: `loss[k]`."""

    items: tuple[tuple[str, HostExpr | None, HostExpr], ...]


class Append(Statement):
    list: str
    value: HostExpr


class Put(Statement):
    """Store into an array, or a list, at numbers of the host."""

    target: str
    index: tuple[HostExpr, ...]
    value: HostExpr


class Procedure(Immutable):
    """A `train`: parameters with defaults, symbols with where their sizes come from, and the statements.

    `structural` are the parameters that its code is made for, with their values in Python.
    """

    name: str
    parameters: tuple[tuple[str, object], ...]
    symbols: Mapping[str, HostExpr]
    body: tuple[Statement, ...]
    doc: str = ""
    span: Span | None = None
    structural: Mapping[str, object] = {}
