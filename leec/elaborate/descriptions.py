"""What values of the host are, apart from where they stand: found at an expression, held against each other, told.

Sizes that are not arguments of the procedure may differ from value to value: whoever reads one asks the array that is
there.
"""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, Span, procedures
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.values import describe
from leec.ir import host
from leec.types import TensorType

ANY = Dim.of("any size")  # of elements that differ; no argument is called so


def part_of(expr: host.HostExpr, label: int | str) -> host.HostExpr:
    """The expression of a part of a tuple or record."""
    if isinstance(expr, host.Ref):
        return host.Ref(expr.name, (*expr.fields, label))
    return host.Item(expr, label if isinstance(label, str) else host.Literal(label))


def labels_of(found: hv.HostTuple) -> tuple[int | str, ...]:
    return found.names or tuple(range(len(found.items)))


def placed(self, value: object, expr: host.HostExpr, hint: str, known: frozenset[str] | None = None) -> object:
    """A described value, found at an expression; sizes that are not `known`, or at least those that nothing is known
    of, are symbols that the run asks its arrays."""
    fresh: dict[Dim, Dim] = {}

    def sized(dim: Dim, array: host.HostExpr, axis: int) -> Dim:
        if dim == ANY or known is not None and not dim.symbols <= known:
            if dim == ANY or dim not in fresh:
                fresh[dim] = Dim.of(self.fresh_symbol(f"{hint}_n", host.ShapeOf(array, axis)))
            return fresh[dim]
        return dim

    def of_model(name: str, hyper: object, expr: host.HostExpr) -> object:
        is_known = not isinstance(hyper, Dim) or hyper != ANY and (known is None or hyper.symbols <= known)
        return hyper if is_known else Dim.of(self.fresh_symbol(f"{hint}_{name}", expr))

    def number_at(value: object, expr: host.HostExpr, name: str) -> object:
        """A number of a source is a size like that of an array."""
        if isinstance(value, hv.HostTuple):
            parts = zip(value.items, value.names)
            return replace(value, expr=expr, items=tuple(number_at(v, part_of(expr, n), n) for v, n in parts))
        return Dim.of(self.fresh_symbol(f"{hint}_{name}", expr))

    def at(value: object, expr: host.HostExpr) -> object:
        match value:
            case hv.HostTensor(type=t):
                return hv.HostTensor(expr, t.with_dims(*(sized(d, expr, i) for i, d in enumerate(t.dims))))
            case hv.HostTuple(items=items, names=names):
                parts = zip(items, labels_of(value))
                return hv.HostTuple(expr, tuple(at(v, part_of(expr, label)) for v, label in parts), names)
            case hv.HostSplit(fields=fields) | hv.HostData(fields=fields):
                own = {n: at(hv.HostTensor(expr, t), part_of(expr, n)).type for n, t in fields.items()}
                parts = {s: at(v, part_of(expr, s)) for s, v in getattr(value, "splits", {}).items()}
                if isinstance(value, hv.HostSplit):
                    return replace(value, expr=expr, fields=own)
                numbers = {n: number_at(v, part_of(expr, n), n) for n, v in value.numbers.items()}
                return hv.HostData(expr, parts, own, numbers)
            case hv.HostModel(hypers=hypers):
                own = {n: of_model(n, v, part_of(expr, n)) for n, v in hypers.items()}
                return replace(value, expr=expr, hypers=own)
            case Dim():
                return hv.HostNumber(expr, "int")
        return replace(value, expr=expr) if hasattr(value, "expr") else value

    return at(value, expr)


def variable(self, name: str, value: object, known: frozenset[str] | None = None) -> object:
    """A described value under a name of its own: integers become symbols, so that sizes can be made of them."""
    found = placed(self, value, host.Ref(name), name, known)
    return Dim.of(name) if isinstance(found, hv.HostNumber) and found.dtype == "int" else found


def joined(self, old: object, new: object, span: Span) -> object:
    """What describes both values. Raises LeeError for values of different kinds."""
    old, new = (hv.HostNumber(host.Literal(0), "int") if isinstance(v, Dim) else v for v in (old, new))
    match old, new:
        case (None, found) | (found, None):
            return found
        case hv.HostNumber(dtype=a), hv.HostNumber(dtype=b) if a == b or {a, b} == {"int", "float"}:
            return old if a == "float" else new
        case hv.HostTensor(type=TensorType(dims=(), dtype=a)), hv.HostNumber(dtype=b) if a == b:
            return old
        case hv.HostNumber(dtype=a), hv.HostTensor(type=TensorType(dims=(), dtype=b)) if a == b:
            return new
        case hv.HostTensor(type=a), hv.HostTensor(type=b) if a.dtype == b.dtype and a.rank == b.rank:
            return replace(old, type=a.with_dims(*(x if x == y else ANY for x, y in zip(a.dims, b.dims))))
        case hv.HostTuple(items=a), hv.HostTuple(items=b) if len(a) == len(b) and old.names == new.names:
            return replace(old, items=tuple(joined(self, x, y, span) for x, y in zip(a, b)))
        case hv.HostList(element=a), hv.HostList(element=b):
            return replace(old, element=joined(self, a, b, span))
        case hv.HostModel(spec=a), hv.HostModel(spec=b) if a.name == b.name:
            own = {n: v if v == new.hypers[n] or not isinstance(v, Dim) else ANY for n, v in old.hypers.items()}
            return old if own == old.hypers else replace(new, hypers=own)
        case (hv.HostSplit() | hv.HostData() | hv.HostOptimizer() | hv.HostEnvironment()), _ if type(old) is type(new):
            return old
    raise LeeError(procedures.several_kinds(span, described(old), described(new)))


def widened(self, value: object, learned: object) -> object:
    """A value that is bound to a variable of which more is known; unrelated ones stay as they are."""
    if isinstance(value, Dim):
        value = hv.HostNumber(host.Size(value), "int")
    try:
        both = joined(self, learned, value, None)
    except LeeError:
        return value
    if isinstance(value, hv.HostModel):
        return replace(value, hypers=both.hypers)  # its class is that of this elaboration
    return replace(both, expr=value.expr) if both == learned or isinstance(both, hv.HostList) else value


def is_wider(self, name: str, both: object, old: object) -> bool:
    """Does the description of a variable hold more than what it was before? Its own sizes are asked for anyway."""
    match both, old:
        case hv.HostNumber(dtype="float"), (Dim() | hv.HostNumber(dtype="int")):
            return True
        case hv.HostTensor(type=a), hv.HostTensor(type=b):
            own = (self.symbols.get(d.symbol or "") == host.ShapeOf(host.Ref(name), i) for i, d in enumerate(b.dims))
            return any(x == ANY and not is_own for x, is_own in zip(a.dims, own))
        case hv.HostTensor(), hv.HostNumber():
            return True
        case hv.HostModel(hypers=a), hv.HostModel(hypers=b):
            own = {n: self.symbols.get(getattr(v, "symbol", None) or "") == host.Ref(name, (n,)) for n, v in b.items()}
            return any(v == ANY and not own[n] for n, v in a.items())
    return False


def described(value: object) -> str:
    match value:
        case hv.HostTensor(type=t):
            return t.shown if t.rank else f"a number ({t.dtype})"
        case Dim() | hv.HostNumber(dtype="int"):
            return "a number (int)"
        case hv.HostNumber(dtype=dtype):
            return f"a number ({dtype})"
        case hv.HostTuple(names=names) if names:
            return f"a record ({', '.join(names)})"
        case hv.HostTuple(items=items):
            return f"a tuple of {len(items)}"
        case hv.HostModel(spec=spec):
            return f"a model {spec.name}"
        case hv.HostList():
            return "a list"
        case hv.HostEnvironment():
            return "an environment"
        case hv.HostSplit() | hv.HostData():
            return "data"
    return describe(value)
