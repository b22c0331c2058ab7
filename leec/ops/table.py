"""The table of operations: one row an op, and everything else reads the rows.

Emission columns are Python expressions over the argument and parameter names; `np` and `torch` are the libraries,
`math` Python's; FLOAT and DEVICE are constants of the generated module. Where the expression depends on types or
params, the column is a function (types, params) that gives it, or a pair of it and the further params it mentions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from leec.dims import parse_dim
from leec.types import DTYPES, FLOATS, ShapeMismatch, TensorType, broadcast, join_dtypes, parse_type

REQUIRED = object()  # the default of a parameter that must be given

KINDS: dict[str, tuple[str, ...]] = {
    "float": FLOATS,
    "number": (*FLOATS, "int"),
    "int": ("int",),
    "bool": ("bool",),
    "same": DTYPES,
    "key": ("key",),
    "any": (*DTYPES, "key"),
}
WORDS = ("dtype", "site")  # params that are text
JOINED = ("float", "number", "same")  # operands of these kinds have one dtype: the builder casts ints to float (R17)


@dataclass(frozen=True)
class Example:
    """Arguments to test a row with: types as text, params with sizes as text or made by a function when needed.

    `within` gives arguments another domain than the row's: two numbers, or a list of the entries. No derivative is
    asked by those that are `fixed`.
    """

    arguments: tuple[str, ...]
    written: Mapping[str, object]
    within: Mapping[str, tuple[float, float] | list]
    fixed: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[TensorType, ...]:
        return tuple(map(parse_type, self.arguments))

    @property
    def params(self) -> dict[str, object]:
        return {name: _read_param(name, value) for name, value in self.written.items()}


def _read_param(name: str, value: object) -> object:
    """Text is a size, but for a `type` and for what is a word (a dtype, a site)."""
    if callable(value):
        return value()
    if name == "type":
        return parse_type(value)
    if isinstance(value, str) and name not in WORDS:
        return parse_dim(value)
    return tuple(_read_param(name, v) for v in value) if type(value) is tuple else value


def example(
    *arguments: str,
    within: Mapping[str, tuple[float, float] | list] | None = None,
    fixed: tuple[str, ...] = (),
    **params: object,
) -> Example:
    return Example(arguments, params, within or {}, fixed)


@dataclass(frozen=True)
class Border:
    """A delicate case: arguments, the value, and the gradients of its sum (None: not asked), as nested lists."""

    arguments: tuple
    value: object
    gradients: tuple | None
    params: Mapping[str, object]


def border(*arguments: object, value: object, gradients: tuple | None = None, **params: object) -> Border:
    return Border(arguments, value, gradients, params)


@dataclass(frozen=True)
class Op:
    """A row. The gradient rule (b, g, out, *args, **params) builds IR and gives a cotangent or None an argument."""

    name: str
    args: tuple[str, ...]  # a last name with * takes any number
    doc: str
    type: Callable[..., TensorType | tuple[TensorType, ...]]
    vjp: Callable | None  # None: no gradient passes
    numpy: str | Callable
    torch: str | Callable  # autograd through it gives what vjp gives, at ties and borders too (R34)
    host: str | Callable | None = None  # Python expression when every argument is a host number
    torch_step: str | Callable | None = None  # a faster one with the same value, where autograd does not pass
    params: Mapping[str, object] = field(default_factory=dict)
    operands: str | tuple[str, ...] = "any"  # kinds, of all arguments or of each; the last stands for a starred rest
    domain: tuple[float, float] = (-2.0, 2.0)  # where tests draw arguments, ends included
    examples: tuple[Example, ...] = ()  # elementwise rows have theirs from `operands`
    borders: tuple[Border, ...] = ()  # what R25, R34 and R35 fix
    elementwise: bool = False
    commutative: bool = False
    identity: float | None = None  # right unit: x op identity = x
    absorbing: float | None = None  # x op absorbing = absorbing, for finite x
    flops: float = 1.0  # an entry of the largest of operands and result (leec/ir/cost.py)
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


def operand_kinds(row: Op, count: int) -> tuple[str, ...]:
    """The kind of each of `count` arguments."""
    kinds = (row.operands,) * count if isinstance(row.operands, str) else row.operands
    return (*kinds, *kinds[-1:] * (count - len(kinds)))[:count]


def joined_dtype(row: Op, types: tuple[TensorType, ...]) -> str | None:
    """The one dtype of the operands that must agree, or None where none must."""
    kinds = operand_kinds(row, len(types))
    joining = [t for t, kind in zip(types, kinds, strict=True) if kind in JOINED]
    if not joining:
        return None
    found = join_dtypes(*joining)
    return "float" if "float" in kinds and found not in FLOATS else found


def check_operands(row: Op, types: tuple[TensorType, ...]) -> None:
    """Raises ShapeMismatch for an operand of another kind than the row takes."""
    wanted = joined_dtype(row, types)
    for kind, t in zip(operand_kinds(row, len(types)), types, strict=True):
        off = not t.host and kind in JOINED and t.dtype != wanted
        if off or t.dtype not in (KINDS["number"] if t.host and kind == "float" else KINDS[kind]):
            raise ShapeMismatch(f"an operand of {row.name} is {t.dtype}, not {wanted if off else kind}")


# ---- families


def elementwise_type(*types: TensorType) -> TensorType:
    """Broadcast dims, joined dtype; host only if every operand is."""
    return TensorType(join_dtypes(*types), broadcast(*types), all(t.host for t in types))


def float_type(*types: TensorType) -> TensorType:
    """As elementwise, and integers of the host give a float."""
    joined = elementwise_type(*types)
    return joined if joined.is_float else joined.with_dtype("float")


def bool_type(*types: TensorType) -> TensorType:
    return elementwise_type(*types).with_dtype("bool")


def chosen(text: str) -> Callable:
    """A host column that picks one of its operands: a float also where it picks an integer among floats."""
    return lambda types, params: f"float({text})" if len({t.dtype for t in types[-2:]}) > 1 else text


def summed_back(b, cotangents: Iterable, args: Iterable) -> tuple:
    """Cotangents of operands, given as functions, summed over the axes that broadcasting stretched.

    Numbers of the host and integers have none, and nothing is built for them.
    """
    args = tuple(args)
    open_ = [x.type.is_float and not x.type.host for x in args]
    made = [make() if o else None for make, o in zip(cotangents, open_, strict=True)]
    return tuple(None if c is None else b.sum_to(c, x.type.dims) for c, x in zip(made, args, strict=True))


def unary(name: str, doc: str, vjp: Callable | None, numpy: str, torch: str, host: str | None = None, **more) -> Op:
    """An elementwise function of x whose rule gives the cotangent of x from (b, g, out, x)."""
    rule = vjp and (lambda b, g, out, x, **params: (vjp(b, g, out, x, **params),))
    more = {"type": float_type, "operands": "float", "surface": name, **more}
    kind = more.pop("type")
    return declare(Op(name, ("x",), doc, kind, rule, numpy, torch, host, elementwise=True, **more))


def binary(name: str, doc: str, vjp: tuple | None, numpy: str, torch: str, host: str | None = None, **more) -> Op:
    """An elementwise function of x and y. The rules, one an argument, are summed back over broadcast axes here."""

    def rule(b, g, out, x, y):
        return summed_back(b, [lambda r=r: r(b, g, out, x, y) for r in vjp], (x, y))

    more = {"type": elementwise_type, "operands": "number", **more}
    kind = more.pop("type")
    return declare(Op(name, ("x", "y"), doc, kind, vjp and rule, numpy, torch, host, elementwise=True, **more))
