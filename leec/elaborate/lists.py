"""Lists of a `train`: what their elements are, `append`, `stack`, reading at a place (R16, R21).

An element is described by a host value whose expression does not matter. Sizes that are not arguments of the procedure
may differ from element to element: whoever reads one asks the array that is there.
"""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, Span, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.hostexpr import host_value, is_host
from leec.elaborate.values import POISON, describe
from leec.ir import host
from leec.syntax import nodes
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
    """A described value, found at an expression; sizes that are not `known` are symbols that the run asks its arrays."""
    known = known if known is not None else self.arguments
    fresh: dict[Dim, Dim] = {}

    def sized(dim: Dim, array: host.HostExpr, axis: int) -> Dim:
        if dim == ANY or not dim.symbols <= known:
            if dim == ANY or dim not in fresh:
                fresh[dim] = Dim.of(self.fresh_symbol(f"{hint}_n", host.ShapeOf(array, axis)))
            return fresh[dim]
        return dim

    def of_model(name: str, hyper: object, expr: host.HostExpr) -> object:
        is_known = not isinstance(hyper, Dim) or hyper.symbols <= known
        return hyper if is_known else Dim.of(self.fresh_symbol(f"{hint}_{name}", expr))

    def at(value: object, expr: host.HostExpr) -> object:
        match value:
            case hv.HostTensor(type=t):
                return hv.HostTensor(expr, t.with_dims(*(sized(d, expr, i) for i, d in enumerate(t.dims))))
            case hv.HostTuple(items=items, names=names):
                parts = zip(items, labels_of(value))
                return hv.HostTuple(expr, tuple(at(v, part_of(expr, label)) for v, label in parts), names)
            case hv.HostSplit(fields=fields):
                own = {n: at(hv.HostTensor(expr, t), part_of(expr, n)).type for n, t in fields.items()}
                return replace(value, expr=expr, fields=own)
            case hv.HostData(splits=splits):
                return hv.HostData(expr, {s: at(v, part_of(expr, s)) for s, v in splits.items()})
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
        case hv.HostModel(spec=a), hv.HostModel(spec=b) if a is b:
            return old
        case (hv.HostSplit() | hv.HostData() | hv.HostOptimizer() | hv.HostEnvironment()), _ if type(old) is type(new):
            return old
    raise LeeError(structure.several_kinds(span, described(old), described(new)))


def widened(self, value: object, learned: object) -> object:
    """A value that is bound to a variable of which more is known; unrelated ones stay as they are."""
    if isinstance(value, Dim):
        value = hv.HostNumber(host.Size(value), "int")
    try:
        both = joined(self, learned, value, None)
    except LeeError:
        return value
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


# ---- any expression as a value of the host


def brought(self, node: nodes.Expr, hint: str) -> tuple[object, host.HostExpr]:
    """The value of an expression, part by part: what needs tensors is computed by one run, under fresh names."""
    names: dict[int, str] = {}
    wanted: set[str] = set()
    for leaf, own in leaves(node, hint):
        if isinstance(leaf, nodes.Name) and self.open is not None and leaf.id in self.open.assigned:
            wanted.add(leaf.id)
        elif not is_ready(self, leaf):
            names[id(leaf)] = name = self.label(own)
            compute(self, name, leaf)
            wanted.add(name)
    self.later.append(wanted)
    self.flush()
    self.later.pop()
    return assembled(self, node, names)


def compute(self, name: str, node: nodes.Expr) -> None:
    """A value under a fresh name, by a run or by what makes objects of the host."""
    self.statement(nodes.Assign(nodes.Name(name, span=node.span), node, span=node.span))
    if self.variables.get(name) is POISON:
        raise LeeError()


def leaves(node: nodes.Expr, hint: str):
    """The parts of a tuple or record that are none themselves, with names for them."""
    match node:
        case nodes.Tuple(items=items):
            for i, item in enumerate(items):
                yield from leaves(item, f"{hint}_{i}")
        case nodes.Record(fields=fields):
            for name, item in fields:
                yield from leaves(item, name.id)
        case _:
            yield node, hint


def is_ready(self, node: nodes.Expr) -> bool:
    from leec.elaborate.look import look

    found = look(self, node) if isinstance(node, (nodes.Name, nodes.Attribute, nodes.Subscript)) else None
    return getattr(found, "expr", None) is not None or is_host(self, node)


def assembled(self, node: nodes.Expr, names: dict[int, str]) -> tuple[object, host.HostExpr]:
    """The parts put together again."""
    from leec.elaborate.look import look

    match node:
        case nodes.Tuple(items=items):
            parts, labels = [assembled(self, i, names) for i in items], ()
        case nodes.Record(fields=fields):
            parts, labels = [assembled(self, e, names) for _, e in fields], tuple(n.id for n, _ in fields)
        case _:
            found = self.variables.get(names[id(node)]) if id(node) in names else None
            if found is None and isinstance(node, (nodes.Name, nodes.Attribute, nodes.Subscript)):
                found = look(self, node)
            if found is None or not hasattr(found, "expr") and not isinstance(found, Dim):
                found = host_value(self, node)
            if isinstance(found, bool):
                return hv.HostNumber(host.Literal(found), "bool"), host.Literal(found)
            return found, host.Size(found) if isinstance(found, Dim) else found.expr
    bundle = host.Bundle(tuple(e for _, e in parts), labels)
    return hv.HostTuple(bundle, tuple(v for v, _ in parts), labels), bundle


# ---- statements


def append(self, node: nodes.Append) -> None:
    """`append e to path`: e as it is now; models are copied (decision 35)."""
    found = self.variables.get(node.list.id) if isinstance(node.list, nodes.Name) else None
    if found is POISON:
        raise LeeError()
    if not isinstance(found, hv.HostList):
        raise LeeError(structure.wrong_kind(node.list.span, described(found), "a list that begins with `[]`"))
    value, expr = brought(self, node.value, f"{node.list.id}_item")
    name = node.list.id
    element = self.learn(name, joined(self, found.element, value, node.value.span))
    wanted = getattr(element, "dtype", None)
    if isinstance(expr, host.Literal) and wanted == "float" and type(expr.value) is int:
        expr = host.Literal(float(expr.value))
    self.emit(host.Append(name, host.Copy(expr) if isinstance(value, hv.HostModel) else expr, span=node.span))
    self.variables[name] = replace(self.variables[name], element=element)


def stack(self, target: nodes.Expr, node: nodes.Call) -> None:
    """`states, actions = stack(path)`: arrays over a new first axis, as long as the list is."""
    from leec.elaborate.look import look

    found = look(self, node.args[0])
    self.flush()
    names = [target] if isinstance(target, nodes.Name) else list(target.items)
    targets = tuple(n.id if isinstance(n, nodes.Name) and n.id != "_" else None for n in names)
    element = known_element(self, found, node.args[0])
    if isinstance(target, nodes.Tuple) and len(getattr(element, "items", (None,))) != len(names):
        raise LeeError(structure.cannot_unpack(target.span, len(names), described(element)))
    self.emit(host.Runtime(targets, "stack", (found.expr,), span=node.span))
    if isinstance(target, nodes.Name):
        self.variables[target.id] = stacked(self, element, host.Ref(target.id), target.id)
        return
    rows: list[Dim] = []
    for name, part in zip(targets, element.items):
        if name:
            self.variables[name] = stacked(self, part, host.Ref(name), name, rows)


def stacked(self, element: object, expr: host.HostExpr, hint: str, rows: list[Dim] | None = None) -> object:
    """What a list of such elements is when stacked; `rows` collects the one size that all parts begin with."""
    rows = rows if rows is not None else []

    def length(array: host.HostExpr) -> Dim:
        if not rows:
            rows.append(Dim.of(self.fresh_symbol(f"{hint}_n", host.ShapeOf(array, 0))))
        return rows[0]

    match element:
        case hv.HostTuple(items=items, names=names):
            parts = zip(items, labels_of(element))
            own = tuple(stacked(self, v, part_of(expr, label), f"{hint}_{label}", rows) for v, label in parts)
            return hv.HostTuple(expr, own, names)
        case hv.HostNumber(dtype=dtype) if dtype in ("int", "float", "bool"):
            return hv.HostTensor(expr, TensorType(dtype, (length(expr),)))
        case hv.HostTensor(type=t):
            first = length(expr)
            dims = (
                d if d.symbols <= self.arguments else Dim.of(self.fresh_symbol(f"{hint}_n", host.ShapeOf(expr, i)))
                for i, d in enumerate(t.dims, 1)
            )
            return hv.HostTensor(expr, t.with_dims(first, *dims))
    raise LeeError(structure.wrong_kind(self.span, described(element), "a number, an array, or a record of them"))


def known_element(self, found: hv.HostList, node: nodes.Expr) -> object:
    """What the elements are. If nothing was appended so far, what is appended later says it: the spec starts again."""
    if found.element is None:
        self.want(found.expr.name if isinstance(found.expr, host.Ref) else node.span.text, node.span)
        raise LeeError()
    return found.element


def read_at(self, found: hv.HostList, node: nodes.Subscript) -> object:
    """`past[slot]`"""
    element = known_element(self, found, node.value)
    index = position(self, node)
    return placed(self, element, host.Item(found.expr, index), node.span.text.partition("[")[0].replace(".", "_"))


def position(self, node: nodes.Subscript) -> host.HostExpr:
    """A single place in a list, a number that the host knows."""
    if len(node.items) != 1 or not is_host(self, node.items[0]):
        raise LeeError(structure.wrong_kind(node.items[0].span, "this", "one number that says which element"))
    found = host_value(self, node.items[0])
    if getattr(found, "dtype", "bool") != "int":
        raise LeeError(structure.wrong_kind(node.items[0].span, described(found), "one number that says which element"))
    return found.expr
