"""Lists of a `train`: what their elements are, `append`, `stack`, reading at a place (R16, R21).

An element is described by a host value whose expression does not matter.
"""

from __future__ import annotations

from dataclasses import replace

from leec.diagnostics import LeeError, Span, procedures, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import names_apart
from leec.elaborate.descriptions import described, joined, labels_of, part_of, placed
from leec.elaborate.hostexpr import host_value, is_host
from leec.elaborate.values import POISON
from leec.ir import host
from leec.syntax import nodes
from leec.types import TensorType

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
    if found is None and isinstance(node.list, nodes.Name):
        raise LeeError(procedures.no_list(node.list.span))
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
    targets = names_apart(target)
    element = known_element(self, found, node.args[0])
    if isinstance(target, nodes.Tuple) and len(getattr(element, "items", (None,))) != len(targets):
        raise LeeError(structure.cannot_unpack(target.span, len(targets), described(element)))
    self.emit(host.Runtime(targets, "stack", (found.expr,), span=node.span))
    if isinstance(target, nodes.Name):
        self.variables[target.id] = stacked(self, node.span, element, host.Ref(target.id), target.id)
        return
    rows: list[Dim] = []
    for name, part in zip(targets, element.items):
        if name:
            self.variables[name] = stacked(self, node.span, part, host.Ref(name), name, rows)


def stacked(self, span: Span, element: object, expr: host.HostExpr, hint: str, rows: list[Dim] | None = None) -> object:
    """What a list of such elements is when stacked; `rows` collects the one size that all parts begin with."""
    rows = rows if rows is not None else []

    def length(array: host.HostExpr) -> Dim:
        if not rows:
            rows.append(Dim.of(self.fresh_symbol(f"{hint}_n", host.ShapeOf(array, 0))))
        return rows[0]

    match element:
        case hv.HostTuple(items=items, names=names):
            parts = zip(items, labels_of(element))
            own = tuple(stacked(self, span, v, part_of(expr, label), f"{hint}_{label}", rows) for v, label in parts)
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
    raise LeeError(structure.wrong_kind(span, described(element), "a number, an array, or a record of them"))


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
    hint = node.span.text.partition("[")[0].replace(".", "_")
    return placed(self, element, host.Item(found.expr, index), hint, self.arguments)


def position(self, node: nodes.Subscript) -> host.HostExpr:
    """A single place in a list, a number that the host knows."""
    if len(node.items) != 1 or not is_host(self, node.items[0]):
        raise LeeError(structure.wrong_kind(node.items[0].span, "this", "one number that says which element"))
    found = host_value(self, node.items[0])
    if getattr(found, "dtype", "bool") != "int":
        raise LeeError(structure.wrong_kind(node.items[0].span, described(found), "one number that says which element"))
    return found.expr
