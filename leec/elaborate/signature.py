"""Signatures: what a parameter's type means, and how an argument binds its free dims (R11, decisions 4, 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from leec.diagnostics import LeeError, shapes
from leec.dims import Dim
from leec.elaborate.context import Context
from leec.elaborate.values import Origin
from leec.ir.graph import Parameter
from leec.syntax import nodes
from leec.types import DTYPES, TensorType

PACK = ".."  # the symbol of a pack: all its axes flattened to one


@dataclass(frozen=True)
class TypePattern:
    """A tensor type as written. `pack` is the position of `..`, whose axes the function sees as one."""

    dtype: str
    items: tuple[nodes.Expr, ...]
    pack: int | None
    node: nodes.Expr


def read_pattern(node: nodes.Expr) -> TypePattern | None:
    """The pattern of a tensor type; None for the name of a model or a tuple. Raises LeeError for no type at all."""
    match node:
        case nodes.List(items=items):
            return TypePattern("float", items, _pack(items), node)
        case nodes.Subscript(value=nodes.Name(id=dtype), items=items) if dtype in DTYPES:
            return TypePattern(dtype, items, _pack(items), node)
        case nodes.Name() | nodes.Tuple() | nodes.Record():
            return None
    raise LeeError(shapes.not_a_type(node.span))


def _pack(items: tuple[nodes.Expr, ...]) -> int | None:
    return next((i for i, item in enumerate(items) if isinstance(item, nodes.Ellipsis)), None)


def declare_dims(ctx: Context, pattern: TypePattern) -> TensorType:
    """The type inside the function: free names become rigid dims, bound by this parameter from here on."""
    from leec.elaborate.expressions import evaluate

    dims: list[Dim] = []
    for item in pattern.items:
        if isinstance(item, nodes.Ellipsis):
            dims.append(ctx.dims[PACK] if PACK in ctx.dims else rigid(ctx, "rows", PACK))
        elif isinstance(item, nodes.Name) and _is_free(ctx, item.id):
            dims.append(rigid(ctx, item.id))
            ctx.declared |= {dims[-1].symbol} - {None}
            ctx.origins.setdefault(item.id, Origin(item.span, item.id))
        else:
            value = evaluate(ctx, item)
            spliced = value if isinstance(value, tuple) else (value,)
            for dim in spliced:
                if not isinstance(dim, Dim):
                    raise LeeError(shapes.not_a_type(item.span))
                dims.append(ctx.facts.normal(dim))
    return TensorType(pattern.dtype, tuple(dims))


def _is_free(ctx: Context, name: str) -> bool:
    """A name that is no value here: functions and imports do not count (decision 51)."""
    from leec.elaborate.scope import own_member

    if name in ctx.dims:
        return False
    found = ctx.names.get(name)
    if isinstance(found, (Dim, tuple)):
        return False
    for found in (own_member(ctx, name), ctx.missing(name) if ctx.missing else None):
        if found is not None and isinstance(found[0], (Dim, tuple)):
            return False
    constant = ctx.home.items.get(name)
    return not isinstance(constant, nodes.Constant)


def rigid(ctx: Context, name: str, key: str | None = None) -> Dim:
    """A size of this function's own: unique, and restarts may equate it with another."""
    symbol = name
    number = 2
    while symbol in ctx.rigid or symbol in ctx.reserved:
        symbol, number = f"{name}_{number}", number + 1
    dim = ctx.equated.get(symbol)
    ctx.rigid.add(symbol)
    ctx.dims[key or name] = dim if dim is not None else Dim.of(symbol)
    return ctx.dims[key or name]


def show_pattern(pattern: TypePattern) -> str:
    return pattern.node.span.text


def match_type(declared: TensorType, given: TensorType, binding: dict[str, Dim], ctx: Context) -> str | None:
    """Bind the callee's symbols in `declared` by the caller's type. A sentence where they contradict, else None."""
    if len(declared.dims) != len(given.dims):
        return f"{len(given.dims)} axes are given"
    later = []
    for wanted, found in zip(declared.dims, given.dims):
        if wanted.symbol and wanted.symbol not in binding:
            binding[wanted.symbol] = found
        else:
            later.append((wanted, found))
    for wanted, found in later:
        missing = wanted.symbols - binding.keys()
        if len(missing) == 1 and not _solve(wanted, found, next(iter(missing)), binding):
            continue
        expected = wanted.substitute(binding)
        if not ctx.agree(expected, found, None):
            return (
                f"{expected} is not {found}"
                if str(wanted) == str(expected)
                else f"{wanted} is {expected} here, not {found}"
            )
    return None


def _solve(wanted: Dim, found: Dim, name: str, binding: dict[str, Dim]) -> bool:
    """`2*n` given 6 binds n to 3: a single linear unknown, divided exactly."""
    known = wanted.substitute({k: v for k, v in binding.items() if k != name})
    factor = known.substitute({name: Dim.of(1)}) - known.substitute({name: Dim.of(0)})
    if factor == 0 or name in factor.symbols:
        return False
    rest = found - known.substitute({name: Dim.of(0)})
    binding[name] = rest // factor
    return True


def with_default(parameter: Parameter, param: nodes.Param) -> Parameter:
    """A number that the declaration gives where a call does not."""
    is_number = parameter.static or (parameter.values and parameter.values[0].type.host)
    if is_number and isinstance(param.default, nodes.Number):
        return replace(parameter, default=param.default.value)
    return parameter
