"""The table of operations: one row an op, and everything else reads the rows.

A row gives, in this order: name, argument names, doc, type rule, gradient rule, NumPy expression, Torch expression,
host expression; then parameters with defaults, test domain and facts. Emission columns are Python expressions over
the argument and parameter names; `np` and `torch` are the libraries, `math` Python's. Where the expression depends on the
params, the column is a function of the Equation-like arguments (types, params) that gives such an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from leec.types import TensorType, broadcast, join_dtypes

REQUIRED = object()  # the default of a parameter that must be given


@dataclass(frozen=True)
class Op:
    name: str
    args: tuple[str, ...]  # a last name with * takes any number
    doc: str
    type: Callable[..., TensorType | tuple[TensorType, ...]]
    vjp: Callable | None  # (b, g, out, *args, **params) -> one cotangent (or None) an argument; None: not differentiable
    numpy: str | Callable
    torch: str | Callable
    host: str | None = None  # Python expression when every argument is a host number
    params: Mapping[str, object] = field(default_factory=dict)
    domain: tuple[float, float] = (-2.0, 2.0)  # where tests draw arguments
    elementwise: bool = False
    commutative: bool = False
    identity: float | None = None  # right unit: x op identity = x
    absorbing: float | None = None  # x op absorbing = absorbing, for finite x
    flops: float = 1.0  # an entry of the result
    surface: str | None = None  # the name in lee, where the op can be called as it stands
    equation: str = ""  # LaTeX over the argument names
    effect: str | None = None  # what the verifier and DCE must keep in order
    facts: Mapping[str, object] = field(default_factory=dict)


TABLE: dict[str, Op] = {}


def declare(row: Op) -> Op:
    """Enter a row. Raises ValueError if the name is taken."""
    if row.name in TABLE:
        raise ValueError(f"the op {row.name!r} is declared twice")
    TABLE[row.name] = row
    return row


def complete(row: Op, params: Mapping[str, object]) -> dict[str, object]:
    """The params with the row's defaults filled in. Raises TypeError for unknown or missing ones."""
    unknown = params.keys() - row.params.keys()
    full = {**row.params, **params}
    missing = [k for k, v in full.items() if v is REQUIRED]
    if unknown or missing:
        raise TypeError(f"{row.name}: unknown params {sorted(unknown)}, missing {missing}")
    return full


def elementwise_type(*types: TensorType) -> TensorType:
    """Broadcast dims, joined dtype; host only if every operand is."""
    return TensorType(join_dtypes(*types), broadcast(*types), all(t.host for t in types))


def float_type(*types: TensorType) -> TensorType:
    """As elementwise, and an integer gives a float."""
    joined = elementwise_type(*types)
    return joined if joined.is_float else joined.with_dtype("float")


def bool_type(*types: TensorType) -> TensorType:
    return elementwise_type(*types).with_dtype("bool")


def unary(name: str, doc: str, vjp: Callable | None, numpy: str, torch: str, host: str | None = None, **more) -> Op:
    """An elementwise function of x whose rule gives the cotangent of x from (b, g, out, x)."""
    rule = vjp and (lambda b, g, out, x: (vjp(b, g, out, x),))
    more = {"type": float_type, "surface": name, **more}
    kind = more.pop("type")
    return declare(Op(name, ("x",), doc, kind, rule, numpy, torch, host, elementwise=True, **more))


def binary(name: str, doc: str, vjp: Callable | None, numpy: str, torch: str, host: str | None = None, **more) -> Op:
    """An elementwise function of x and y. The rule's cotangents are summed back over broadcast axes here."""

    def rule(b, g, out, x, y):
        return tuple(c if c is None else b.sum_to(c, a.type.dims) for c, a in zip(vjp(b, g, out, x, y), (x, y)))

    more = {"type": elementwise_type, **more}
    kind = more.pop("type")
    return declare(Op(name, ("x", "y"), doc, kind, vjp and rule, numpy, torch, host, elementwise=True, **more))
