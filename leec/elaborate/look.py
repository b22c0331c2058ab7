"""What a name or a field of a host variable is, and which names statements of a `train` read and change."""

from __future__ import annotations

from leec.diagnostics import LeeError
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import bound_names, target_names
from leec.elaborate.descriptions import part_of
from leec.elaborate.lists import read_at
from leec.elaborate.members import member_of
from leec.elaborate.models import Part
from leec.elaborate.scope import lookup
from leec.elaborate.values import POISON
from leec.syntax import nodes


def look(self, node: nodes.Expr) -> object | None:
    """What a name or a field of a host variable is, without computing anything."""
    if isinstance(node, nodes.Name):
        if self.open is not None and node.id in self.open.assigned:
            return None
        found = lookup(self.known, node.id)
        if found is POISON or found == (POISON,):
            raise LeeError()
        return found[0] if isinstance(found, tuple) else None
    if isinstance(node, nodes.Attribute):
        return field_of(look(self, node.value), node.name.id)
    if isinstance(node, nodes.Subscript):
        owner = look(self, node.value)
        if isinstance(owner, hv.HostList):
            return read_at(self, owner, node)
        if isinstance(owner, hv.HostTuple) and isinstance(node.items[0], nodes.Number):
            return owner.items[node.items[0].value] if node.items[0].value < len(owner.items) else None
    return None


def field_of(owner: object, name: str) -> object | None:
    match owner:
        case hv.HostData(splits=splits) if name in splits:
            return splits[name]
        case hv.HostData(numbers=numbers) if name in numbers:
            return numbers[name]
        case hv.HostModel(expr=expr, spec=spec) if isinstance(spec.parts.get(name), Part):
            (found,) = member_of(owner.instance(), name)
            return hv.HostModel(part_of(expr, name), found.spec, found.hypers, owner.is_vector)
        case hv.HostSplit(fields=fields, expr=expr) | hv.HostData(fields=fields, expr=expr) if name in fields:
            return hv.HostTensor(part_of(expr, name), fields[name])
        case hv.HostTuple(items=items, names=field_names) if name in field_names:
            return items[field_names.index(name)]
        case hv.HostModel(hypers=hypers) if isinstance(hypers.get(name), Dim):
            return hypers[name]
    if owner is POISON:
        raise LeeError()
    return None


# ---- names


def read_names(node: object) -> set[str]:
    """Every name that occurs in a statement."""
    if isinstance(node, nodes.Name):
        return {node.id}
    if isinstance(node, nodes.Node):
        return set().union(*(read_names(getattr(node, f)) for f in node.__match_args__))
    return set().union(*map(read_names, node)) if isinstance(node, tuple) else set()


def read_first(body: object) -> set[str]:
    """Names that a block may read before it binds them."""
    found: set[str] = set()
    bound: set[str] = set()
    for node in body:
        found |= reads(node) - bound
        if isinstance(node, nodes.Assign | nodes.Declare | nodes.Draw):
            bound |= bound_names(node) if not has_place(node) else set()
    return found


def reads(node: nodes.Stmt) -> set[str]:
    """Names that one statement may read before it binds them."""
    match node:
        case nodes.Assign(target=nodes.Name() | nodes.Tuple(), value=value) if not has_place(node):
            return read_names(value)
        case nodes.Declare(type=type_, value=value):
            return read_names((type_, value))
        case nodes.Draw(target=nodes.Name(), type=type_, distribution=distribution):
            return read_names((type_, distribution))
        case nodes.For(target=target, iterable=iterable, body=body):
            return read_names(iterable) | read_first(body) - target_names(target)
        case nodes.While(condition=condition, body=body):
            return read_names(condition) | read_first(body)
        case nodes.If(branches=branches, otherwise=otherwise):
            return read_first(otherwise).union(*(read_names(c) | read_first(b) for c, b in branches))
    return read_names(node)


def has_place(node: nodes.Stmt) -> bool:
    """Is something else on the left than names?"""
    target = getattr(node, "target", None)
    parts = target.items if isinstance(target, nodes.Tuple) else (target,)
    return any(isinstance(p, nodes.Subscript | nodes.Attribute) for p in parts)


def read_inside(node: nodes.Stmt) -> set[str]:
    """Names that the blocks of a statement read, after what stands before it has been computed."""
    match node:
        case nodes.For() | nodes.While():
            return reads(node)
        case nodes.If(branches=((_, body), *rest), otherwise=otherwise):
            return read_first(body) | read_first(otherwise).union(*(read_names(c) | read_first(b) for c, b in rest))
    return set()


def changed_names(node: nodes.Stmt) -> set[str]:
    """Names that a statement binds or stores into, models and optimizers of a step included."""
    match node:
        case nodes.Minimize(targets=targets, optimizers=optimizers):
            return set().union(*map(target_names, (*targets, *optimizers)))
        case nodes.Update(target=target, optimizer=optimizer):
            return target_names(target) | target_names(optimizer)
        case nodes.Append(list=grown):
            return target_names(grown)
        case nodes.For(body=body) | nodes.While(body=body):
            return set().union(*map(changed_names, body))
        case nodes.If(branches=branches, otherwise=otherwise):
            return set().union(*(changed_names(s) for _, b in branches for s in b), *map(changed_names, otherwise))
    return bound_names(node)


def minimised_names(node: nodes.Stmt) -> set[str]:
    """Names that occur in what a statement minimises; a model among them has its state changed."""
    match node:
        case nodes.Minimize(objective=objective):
            return read_names(objective)
        case nodes.For(body=body) | nodes.While(body=body):
            return set().union(*map(minimised_names, body))
        case nodes.If(branches=branches, otherwise=otherwise):
            return set().union(*(minimised_names(s) for _, b in branches for s in b), *map(minimised_names, otherwise))
    return set()


def is_list(self, node: nodes.Expr) -> bool:
    is_read = isinstance(node, (nodes.Name, nodes.Attribute, nodes.Subscript))
    return is_read and isinstance(look(self, node), hv.HostList)
