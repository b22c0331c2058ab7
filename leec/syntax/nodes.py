"""The abstract syntax of lee: immutable records, every one with the span it was read from.

Types are expressions (`[n, d]`, `int[n]`, `(x: [n], y: [])`); what they mean is decided in elaboration.
"""

from __future__ import annotations

from leec.diagnostics import Source, Span
from leec.immutable import Immutable


class Node(Immutable, kw_only=True):
    span: Span


# ---- expressions


class Name(Node):
    id: str


class Number(Node):
    value: int | float


class String(Node):
    value: str


class Bool(Node):
    value: bool


class Nothing(Node):
    """The literal None."""


class Ellipsis(Node):
    """`..` alone: a pack in a type, all remaining axes in a subscript."""


class Tuple(Node):
    items: tuple[Expr, ...]


class Record(Node):
    """`(a = 1, b = 2)`; as a type, `(x: [n, d], y: int[n])`."""

    fields: tuple[tuple[Name, Expr], ...]
    is_type: bool = False


class List(Node):
    """`[a, b]`: a literal list, or a tensor type."""

    items: tuple[Expr, ...]


class Comprehension(Node):
    element: Expr
    target: Target
    iterable: Expr
    condition: Expr | None


class Binary(Node):
    """op is one of + - * / // % @ **"""

    op: str
    left: Expr
    right: Expr


class Unary(Node):
    """op is - or not"""

    op: str
    operand: Expr


class Compare(Node):
    """A chain: `a < b <= c` has first a and rest ((<, b), (<=, c))."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]


class Logic(Node):
    """op is and or or; the items of `a and b and c` are flat."""

    op: str
    items: tuple[Expr, ...]


class Ternary(Node):
    value: Expr
    condition: Expr
    other: Expr


class Range(Node):
    """`first..last`, both included."""

    first: Expr
    last: Expr


class Attribute(Node):
    value: Expr
    name: Name


class Call(Node):
    function: Expr
    args: tuple[Expr, ...]
    keywords: tuple[tuple[Name, Expr], ...]


class Subscript(Node):
    value: Expr
    items: tuple[Expr, ...]  # Expr, Slice, IndexIn or Ellipsis


class Slice(Node):
    start: Expr | None
    stop: Expr | None
    step: Expr | None


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


class Assign(Node):
    """`target = value`; the target is a Name, Subscript, Attribute or a Tuple of them."""

    target: Expr
    value: Expr


class Store(Node):
    """`target <- value`"""

    target: Expr
    value: Expr


class Augment(Node):
    """`target += value`; op is + - * or /"""

    target: Expr
    op: str
    value: Expr


class Declare(Node):
    """`name: type = value`, the value optional."""

    name: Name
    type: Expr
    value: Expr | None


class Draw(Node):
    """`name: type ~ distribution` or `target ~ distribution`"""

    target: Expr
    type: Expr | None
    distribution: Expr


class Return(Node):
    value: Expr | None


class Break(Node):
    pass


class Require(Node):
    condition: Expr


class Minimize(Node):
    """`minimize E over targets with optimizers`; maximize is the same with the sign turned."""

    objective: Expr
    targets: tuple[Expr, ...]
    optimizers: tuple[Expr, ...]
    maximize: bool


class Update(Node):
    """`update target with optimizer along direction`"""

    target: Expr
    optimizer: Expr
    direction: Expr


class Report(Node):
    """Items are (label, value); the value of a bare item is None."""

    items: tuple[tuple[Expr, Expr | None], ...]


class Append(Node):
    value: Expr
    list: Expr


class If(Node):
    branches: tuple[tuple[Expr, tuple[Stmt, ...]], ...]
    otherwise: tuple[Stmt, ...]


class For(Node):
    target: Target
    iterable: Expr
    body: tuple[Stmt, ...]


class While(Node):
    condition: Expr
    body: tuple[Stmt, ...]


class Evaluate(Node):
    """An expression as a statement."""

    value: Expr


# ---- declarations


class Param(Node):
    name: Name
    type: Expr | None
    default: Expr | None


class Function(Node):
    """kind is def, loss, metric or train; nested ones and methods are defs. The span covers the head line."""

    kind: str
    name: Name
    params: tuple[Param, ...]
    returns: Expr | None
    doc: str | None
    body: tuple[Stmt, ...]


class ParamDecl(Node):
    """`param name: type = init` or `param name: type ~ prior`"""

    name: Name
    type: Expr
    init: Expr | None
    prior: Expr | None


class StateDecl(Node):
    """As a parameter, or `state m like θ = 0`, where like is the Name θ and type is None."""

    name: Name
    type: Expr | None
    like: Name | None
    init: Expr | None
    prior: Expr | None


class Local(Node):
    """`name: type ~ prior` or `name: type = init` in a model: used at construction only."""

    name: Name
    type: Expr
    init: Expr | None
    prior: Expr | None


class Member(Node):
    """`name = value` in a model: a submodel, a list of them, or a constant of the construction."""

    name: Name
    value: Expr


class MemberIf(Node):
    condition: Expr
    then: tuple[Members, ...]
    otherwise: tuple[Members, ...]


class Model(Node):
    name: Name
    params: tuple[Param, ...]
    doc: str | None
    members: tuple[Members, ...]


class Optimizer(Node):
    name: Name
    params: tuple[Param, ...]
    doc: str | None
    members: tuple[Members, ...]


class Distribution(Node):
    """A family: its parameters, the type of what is drawn, and methods such as `sample` and `log_prob`."""

    name: Name
    params: tuple[Param, ...]
    variate: Expr | None
    doc: str | None
    members: tuple[Members, ...]


class Field(Node):
    """`name: type in range` of an external source, the range optional."""

    name: Name
    type: Expr
    range: Expr | None


class External(Node):
    """kind is data or env"""

    kind: str
    name: Name
    value: Expr
    doc: str | None
    fields: tuple[Field, ...]


class Example(Node):
    name: Name
    doc: str | None
    body: tuple[Stmt, ...]


class Constant(Node):
    name: Name
    type: Expr | None
    value: Expr


class Import(Node):
    """`from module import name as alias, ..`; the alias is None where there is none."""

    module: tuple[Name, ...]
    names: tuple[tuple[Name, Name | None], ...]


Stmt = (
    Assign | Store | Augment | Declare | Draw | Return | Break | Require | Minimize | Update | Report | Append
    | If | For | While | Evaluate | Function
)  # fmt: skip
Members = ParamDecl | StateDecl | Local | Member | MemberIf | Require | Function
Item = Import | Function | Model | Optimizer | Distribution | External | Example | Constant


class Spec(Immutable):
    """A parsed file. Items that do not parse are left out; their diagnostics are reported beside it."""

    source: Source
    doc: str | None
    items: tuple[Item, ...]
    lost: frozenset[str] = frozenset()  # names that items left out may declare
