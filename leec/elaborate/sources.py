"""Data sources: `data NAME = bundled("..", options):` with fields, and calls of them with other options (decision 15)."""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, names, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.context import Context
from leec.elaborate.signature import read_pattern
from leec.elaborate.structural import expression
from leec.elaborate.values import SourceValue, describe
from leec.ir import host
from leec.syntax import nodes
from leec.types import TensorType

SPLITS = ("train", "valid", "test")
ROWS = "n"  # the dim of a declared field that counts examples


def load_source(self, source: SourceValue, target: str, node: nodes.Call) -> tuple[host.Load, hv.HostData]:
    """The statement that opens a source, and what its parts hold."""
    from leec.elaborate.hostexpr import host_arguments

    call = source.declaration.value
    if not (isinstance(call, nodes.Call) and call.args and isinstance(call.args[0], nodes.String)):
        raise LeeError(structure.wrong_kind(call.span, "this", 'a source such as `bundled("digits")`'))
    given, exprs = host_arguments(self, node)
    known = [n.id for n, _ in call.keywords]
    for keyword, _ in node.keywords:
        if keyword.id not in known:
            raise LeeError(names.unknown_keyword(keyword, source.declaration.name.id, known))
    if len(node.args) > len(known):
        raise LeeError(names.argument_count(node.span, source.declaration.name.id, f"takes {len(known)} options"))
    home = Context(self.session, source.home, "source")
    options = default_options(self, home, call)
    for position, name in enumerate(known[: len(node.args)]):
        home.names[name], options[name] = given.positional[position], exprs[position]
    for name, value in given.keywords.items():
        home.names[name], options[name] = value, exprs[name]
    numbers = {
        f.name.id: numbers_of(self, home, host.Ref(target), f) for f in source.declaration.fields if is_number(f)
    }
    fields = [f for f in source.declaration.fields if not is_number(f)]
    free: dict[str, Dim] = {}
    for f in fields:
        free |= bind_free(self, home, host.Ref(target, ("train", f.name.id)), f.type)
    types = {f.name.id: field_type(home, f) for f in fields}
    in_rows = {n: t for n, t in types.items() if t.dims[0] == Dim.of(ROWS)}
    parts = {s: part(self, host.Ref(target, (s,)), in_rows, f"{target}_{s}") for s in SPLITS}
    written = {d.symbol: Dim.of(n) for n, d in free.items()}
    load = host.Load(
        target,
        call.args[0].value,
        tuple(options.items()),
        tuple((n, t.substitute(written)) for n, t in types.items()),
        (ROWS, *free),
        span=node.span,
    )
    return load, hv.HostData(host.Ref(target), parts, {**types, **parts["train"].fields}, numbers)


def is_number(field: nodes.Field) -> bool:
    """`vocab: int`, or a record of such: a number of the whole source, and no array."""
    match field.type:
        case nodes.Name(id="int"):
            return True
        case nodes.Record(fields=fields, is_type=True):
            return all(is_number(nodes.Field(n, t, None, span=n.span)) for n, t in fields)
    return False


def numbers_of(self, home: Context, owner: host.Ref, field: nodes.Field) -> object:
    """The number, or the record of numbers, as sizes of the procedure that the source tells."""
    name = field.name.id
    at = host.Ref(owner.name, (*owner.fields, name))
    if isinstance(field.type, nodes.Name):
        symbol = "_".join((owner.name, *map(str, owner.fields), name))
        return Dim.of(self.fresh_symbol(symbol, at))
    inner = [nodes.Field(n, t, None, span=n.span) for n, t in field.type.fields]
    return hv.HostTuple(at, tuple(numbers_of(self, home, at, f) for f in inner), tuple(f.name.id for f in inner))


def default_options(self, home: Context, call: nodes.Call) -> dict[str, host.HostExpr]:
    """The declared options: names in the types of the fields, and what the runtime is told."""
    from leec.elaborate.expressions import evaluate

    options = {}
    for name, node in call.keywords:
        home.names[name.id] = evaluate(home, node)
        options[name.id] = expression(home.names[name.id])
    return options


def field_type(home: Context, field: nodes.Field) -> TensorType:
    """The type of one field; `n` counts examples, a tuple among the dims is spliced in."""
    from leec.elaborate.expressions import evaluate

    pattern = read_pattern(field.type)
    dims: list[Dim] = []
    for item in pattern.items if pattern else ():
        value = Dim.of(ROWS) if isinstance(item, nodes.Name) and item.id == ROWS else evaluate(home, item)
        for dim in value if isinstance(value, tuple) else (value,):
            if not isinstance(dim, Dim):
                raise LeeError(structure.wrong_kind(item.span, describe(dim), "a size"))
            dims.append(dim)
    return TensorType(pattern.dtype, tuple(dims))


def part(self, expr: host.Ref, types: dict[str, TensorType], symbol: str) -> hv.HostSplit:
    """One split: its number of examples is a symbol that its first field tells."""
    first = next(iter(types))
    rows = Dim.of(self.fresh_symbol(f"{symbol}_n", host.ShapeOf(host.Ref(expr.name, (*expr.fields, first)), 0)))
    return hv.HostSplit(expr, {n: t.substitute({ROWS: rows}) for n, t in types.items()})


def with_rows(self, split: hv.HostSplit, expr: host.Ref, symbol: str) -> hv.HostSplit:
    """The same fields with another number of examples."""
    first = next(iter(split.fields))
    rows = Dim.of(self.fresh_symbol(symbol, host.ShapeOf(host.Ref(expr.name, (*expr.fields, first)), 0)))
    return replace(split, expr=expr, fields={n: t.with_dims(rows, *t.dims[1:]) for n, t in split.fields.items()})


def bind_free(elaborator, home: Context, array: host.Ref, node: nodes.Expr) -> dict[str, Dim]:
    """Free names in the type of a field are sizes that a run finds at the array of its training part (R11)."""
    from leec.elaborate.scope import lookup

    pattern, found = read_pattern(node), {}
    for axis, item in enumerate(pattern.items if pattern else ()):
        if isinstance(item, nodes.Name) and item.id != ROWS and lookup(home, item.id) is None:
            found[item.id] = home.names[item.id] = Dim.of(elaborator.fresh_symbol(item.id, host.ShapeOf(array, axis)))
    return found
