"""Statements of a `train` made ready: comprehensions over its lists become loops, and `memory[slot] = s` stores there."""

from __future__ import annotations

from collections.abc import Callable

from leec.diagnostics import LeeError, kinds, shapes
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import target_names
from leec.elaborate.constructions import construct_model, constructor, load
from leec.elaborate.descriptions import described, joined
from leec.elaborate.hostexpr import host_value, is_host
from leec.elaborate.lists import brought
from leec.elaborate.look import is_list, look, read_names
from leec.ir import host
from leec.syntax import nodes

SIMPLE = (
    nodes.Assign, nodes.Store, nodes.Augment, nodes.Declare, nodes.Draw, nodes.Return, nodes.Require, nodes.Minimize,
    nodes.Update, nodes.Report, nodes.Append, nodes.Evaluate,
)  # fmt: skip


def prepared(self, node: nodes.Stmt) -> nodes.Stmt:
    """A statement without loops of its own over lists; the run is closed where a list is read at a place it computes."""
    if not isinstance(node, SIMPLE):
        return node
    if self.open is not None and reads_at(self, node):
        self.later.append(read_names(node))
        self.flush()
        self.later.pop()
    return changed(node, lambda part: lifted(self, node, part))


def reads_at(self, node: object) -> bool:
    """Is a list read at a number that the open run computes?"""
    if isinstance(node, nodes.Subscript) and isinstance(look(self, node.value), hv.HostList):
        return any(read_names(i) & self.open.assigned.keys() for i in node.items)
    if isinstance(node, nodes.Node):
        return any(reads_at(self, getattr(node, f)) for f in node.__match_args__)
    return isinstance(node, tuple) and any(reads_at(self, n) for n in node)


def changed(node: object, change: Callable[[nodes.Node], nodes.Node]) -> object:
    """The same tree with parts exchanged, the innermost first."""
    if isinstance(node, tuple):
        new = tuple(changed(n, change) for n in node)
        return node if all(a is b for a, b in zip(node, new)) else new
    if not isinstance(node, nodes.Node):
        return node
    parts = {f: changed(getattr(node, f), change) for f in node.__match_args__}
    same = all(parts[f] is getattr(node, f) for f in parts)
    return change(node if same else type(node)(**parts, span=node.span))


def lifted(self, statement: nodes.Stmt, node: nodes.Node) -> nodes.Node:
    """`[f(m) for m in memory]` as a loop of its own before the statement, an object made within it as a variable."""
    if isinstance(node, nodes.Call):
        return made_before(self, statement, node)
    if not isinstance(node, nodes.Comprehension) or not is_list(self, node.iterable):
        return node
    at, made = node.span, nodes.Name(part_name(self, statement, "each"), span=node.span)
    body: nodes.Stmt = nodes.Append(node.element, made, span=at)
    if node.condition is not None:
        body = nodes.If(((node.condition, (body,)),), (), span=at)
    self.later.append({made.id})
    self.statement(nodes.Assign(made, nodes.List((), span=at), span=at))
    self.statement(nodes.For(node.target, node.iterable, (body,), span=at))
    self.later.pop()
    return made


def made_before(self, statement: nodes.Stmt, node: nodes.Call) -> nodes.Expr:
    """`net = Reader(Bert(8))`: what is made, unless it is all that the statement says."""
    value = getattr(statement, "value", None)
    if constructor(self, node) not in (construct_model, load) or value is None or value.span == node.span:
        return node
    made = nodes.Name(part_name(self, statement, node.function.id.lower()), span=node.span)
    self.later.append({made.id})
    self.statement(nodes.Assign(made, node, span=node.span))
    self.later.pop()
    return made


def part_name(self, statement: nodes.Stmt, part: str) -> str:
    """For a part of what a variable is made of."""
    target = getattr(statement, "target", None)
    return self.label(f"{target.id}_{part}" if isinstance(target, nodes.Name) else part)


# ---- storing at a place


def stored_into(body: object) -> frozenset[str]:
    """The names of `name[..] = e` anywhere in statements."""
    if isinstance(body, nodes.Assign) and isinstance(body.target, nodes.Subscript):
        return frozenset(target_names(body.target))
    parts = body if isinstance(body, tuple) else ()
    if isinstance(body, nodes.For | nodes.While | nodes.If):
        parts = tuple(getattr(body, f) for f in body.__match_args__)
    return frozenset().union(*map(stored_into, parts))


def is_place(self, target: nodes.Subscript) -> bool:
    """`memory[slot]`, an array or list of the procedure at numbers of the host."""
    found = self.variables.get(target.value.id) if isinstance(target.value, nodes.Name) else None
    if isinstance(found, hv.HostList):
        return True
    in_run = self.open is not None and read_names(target) & self.open.assigned.keys()
    return isinstance(found, hv.HostTensor) and not in_run and all(is_host(self, i) for i in target.items)


def put(self, node: nodes.Assign) -> None:
    """`memory[slot] = s`. Raises LeeError for a value that does not fit there."""
    name, found = node.target.value.id, self.variables[node.target.value.id]
    value, expr = brought(self, node.value, f"{name}_item")
    numbers = [host_value(self, i) for i in node.target.items]
    for item, number in zip(node.target.items, numbers):
        if getattr(number, "dtype", "bool") != "int":
            raise LeeError(kinds.needs_int(item.span, "a position", getattr(number, "dtype", "bool")))
    if isinstance(found, hv.HostList):
        element = self.learn(name, hv.HostList(found.expr, joined(self, found.element, value, node.value.span)))
        self.variables[name] = hv.HostList(host.Ref(name), element.element)
    else:
        verify_fits(self, node, found, value)
    self.emit(host.Put(name, tuple(n.expr for n in numbers), expr, span=node.span))


def verify_fits(self, node: nodes.Assign, found: hv.HostTensor, value: object) -> None:
    """An array of the sizes that are left, or a number for all of them."""
    if len(node.target.items) > found.type.rank:
        raise LeeError(shapes.too_many_subscripts(node.target.span, len(node.target.items), found.type.shown))
    left = found.type.with_dims(*found.type.dims[len(node.target.items) :])
    dtype = "int" if isinstance(value, Dim) else getattr(getattr(value, "type", value), "dtype", None)
    rank = value.type.rank if isinstance(value, hv.HostTensor) else 0
    if dtype is None or rank not in (0, left.rank):
        raise LeeError(shapes.wrong_rank(node.value.span, "the value", described(value), left.shown))
    if dtype != left.dtype and (dtype, left.dtype) != ("int", "float"):
        raise LeeError(kinds.argument_dtype(node.value.span, "this", "the value", described(value), left.dtype, None))
    pairs = zip(left.dims, value.type.dims) if rank else ()
    if any(a.constant is not None and b.constant is not None and a != b for a, b in pairs):
        raise LeeError(shapes.wrong_rank(node.value.span, "the value", value.type.shown, left.shown))
