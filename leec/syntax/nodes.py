"""The abstract syntax of lee: frozen dataclasses, every one with the span it was read from.

Types are expressions (`[n, d]`, `int[n]`, `(x: [n], y: [])`); what they mean is decided in elaboration.
"""

from __future__ import annotations

from dataclasses import dataclass

from leec.diagnostics import Source, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    span: Span


# ---- expressions


@dataclass(frozen=True, slots=True)
class Name(Node):
    id: str


@dataclass(frozen=True, slots=True)
class Number(Node):
    value: int | float


@dataclass(frozen=True, slots=True)
class String(Node):
    value: str


@dataclass(frozen=True, slots=True)
class Bool(Node):
    value: bool


@dataclass(frozen=True, slots=True)
class Nothing(Node):
    """The literal None."""


@dataclass(frozen=True, slots=True)
class Ellipsis(Node):
    """`..` alone: a pack in a type, all remaining axes in a subscript."""


@dataclass(frozen=True, slots=True)
class Tuple(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Record(Node):
    """`(a = 1, b = 2)`; as a type, `(x: [n, d], y: int[n])`."""

    fields: tuple[tuple[Name, Expr], ...]
    is_type: bool = False


@dataclass(frozen=True, slots=True)
class List(Node):
    """`[a, b]`: a literal list, or a tensor type."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Comprehension(Node):
    element: Expr
    target: Target
    iterable: Expr
    condition: Expr | None


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """op is one of + - * / // % @ **"""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """op is - or not"""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """A chain: `a < b <= c` has first a and rest ((<, b), (<=, c))."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """op is and or or; the items of `a and b and c` are flat."""

    op: str
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Ternary(Node):
    value: Expr
    condition: Expr
    other: Expr


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`first..last`, both included."""

    first: Expr
    last: Expr


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    value: Expr
    name: Name


@dataclass(frozen=True, slots=True)
class Call(Node):
    function: Expr
    args: tuple[Expr, ...]
    keywords: tuple[tuple[Name, Expr], ...]


@dataclass(frozen=True, slots=True)
class Subscript(Node):
    value: Expr
    items: tuple[Expr, ...]  # Expr, Slice, IndexIn or Ellipsis


@dataclass(frozen=True, slots=True)
class Slice(Node):
    start: Expr | None
    stop: Expr | None
    step: Expr | None


@dataclass(frozen=True, slots=True)
class IndexIn(Node):
    """`i in e` inside a subscript: an index with its range."""

    name: Name
    range: Expr


Expr = (
    Name | Number | String | Bool | Nothing | Ellipsis | Tuple | Record | List | Comprehension | Binary | Unary
    | Compare | Logic | Ternary | Range | Attribute | Call | Subscript | Slice | IndexIn
)  # fmt: skip
Target = Name | Tuple  # what a loop binds: names, nested in tuples


# ---- statements


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """`target = value`; the target is a Name, Subscript, Attribute or a Tuple of them."""

    target: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class Store(Node):
    """`target <- value`"""

    target: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class Augment(Node):
    """`target += value`; op is + - * or /"""

    target: Expr
    op: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Declare(Node):
    """`name: type = value`, the value optional."""

    name: Name
    type: Expr
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Draw(Node):
    """`name: type ~ distribution` or `target ~ distribution`"""

    target: Expr
    type: Expr | None
    distribution: Expr


@dataclass(frozen=True, slots=True)
class Return(Node):
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Break(Node):
    pass


@dataclass(frozen=True, slots=True)
class Require(Node):
    condition: Expr


@dataclass(frozen=True, slots=True)
class Minimize(Node):
    """`minimize E over targets with optimizers`; maximize is the same with the sign turned."""

    objective: Expr
    targets: tuple[Expr, ...]
    optimizers: tuple[Expr, ...]
    maximize: bool


@dataclass(frozen=True, slots=True)
class Update(Node):
    """`update target with optimizer along direction`"""

    target: Expr
    optimizer: Expr
    direction: Expr


@dataclass(frozen=True, slots=True)
class Report(Node):
    """Items are (label, value); the value of a bare item is None."""

    items: tuple[tuple[Expr, Expr | None], ...]


@dataclass(frozen=True, slots=True)
class Append(Node):
    value: Expr
    list: Expr


@dataclass(frozen=True, slots=True)
class If(Node):
    branches: tuple[tuple[Expr, tuple[Stmt, ...]], ...]
    otherwise: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class For(Node):
    target: Target
    iterable: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class While(Node):
    condition: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Evaluate(Node):
    """An expression as a statement."""

    value: Expr


# ---- declarations


@dataclass(frozen=True, slots=True)
class Param(Node):
    name: Name
    type: Expr | None
    default: Expr | None


@dataclass(frozen=True, slots=True)
class Function(Node):
    """kind is def, loss, metric or train; nested ones and methods are defs. The span covers the head line."""

    kind: str
    name: Name
    params: tuple[Param, ...]
    returns: Expr | None
    doc: str | None
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class ParamDecl(Node):
    """`param name: type = init` or `param name: type ~ prior`"""

    name: Name
    type: Expr
    init: Expr | None
    prior: Expr | None


@dataclass(frozen=True, slots=True)
class StateDecl(Node):
    """As a parameter, or `state m like θ = 0`, where like is the Name θ and type is None."""

    name: Name
    type: Expr | None
    like: Name | None
    init: Expr | None
    prior: Expr | None


@dataclass(frozen=True, slots=True)
class Local(Node):
    """`name: type ~ prior` or `name: type = init` in a model: used at construction only."""

    name: Name
    type: Expr
    init: Expr | None
    prior: Expr | None


@dataclass(frozen=True, slots=True)
class Member(Node):
    """`name = value` in a model: a submodel, a list of them, or a constant of the construction."""

    name: Name
    value: Expr


@dataclass(frozen=True, slots=True)
class MemberIf(Node):
    condition: Expr
    then: tuple[Members, ...]
    otherwise: tuple[Members, ...]


@dataclass(frozen=True, slots=True)
class Model(Node):
    name: Name
    params: tuple[Param, ...]
    doc: str | None
    members: tuple[Members, ...]


@dataclass(frozen=True, slots=True)
class Optimizer(Node):
    name: Name
    params: tuple[Param, ...]
    doc: str | None
    members: tuple[Members, ...]


@dataclass(frozen=True, slots=True)
class Field(Node):
    """`name: type in range` of an external source, the range optional."""

    name: Name
    type: Expr
    range: Expr | None


@dataclass(frozen=True, slots=True)
class External(Node):
    """kind is data or env"""

    kind: str
    name: Name
    value: Expr
    doc: str | None
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Example(Node):
    name: Name
    doc: str | None
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Constant(Node):
    name: Name
    type: Expr | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`from module import name as alias, ..`; the alias is None where there is none."""

    module: tuple[Name, ...]
    names: tuple[tuple[Name, Name | None], ...]


Stmt = (
    Assign | Store | Augment | Declare | Draw | Return | Break | Require | Minimize | Update | Report | Append
    | If | For | While | Evaluate | Function
)  # fmt: skip
Members = ParamDecl | StateDecl | Local | Member | MemberIf | Require | Function
Item = Import | Function | Model | Optimizer | External | Example | Constant


@dataclass(frozen=True)
class Spec:
    """A parsed file. Items that do not parse are left out; their diagnostics are reported beside it."""

    source: Source
    doc: str | None
    items: tuple[Item, ...]
