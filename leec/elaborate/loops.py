"""Loops of a `train`: counters, batches, folds, lists; always host loops (decision 3)."""

from __future__ import annotations

from leec.diagnostics import LeeError, kinds, names, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.binding import names_apart
from leec.elaborate.descriptions import described, joined
from leec.elaborate.hostexpr import host_arguments, host_value, is_host
from leec.elaborate.lists import brought, known_element
from leec.elaborate.values import describe
from leec.ir import host
from leec.syntax import nodes


def loop(self, node: nodes.For) -> None:
    """One loop, by what follows `in`."""
    from leec.elaborate.look import look

    self.flush()
    iterable = node.iterable
    if isinstance(iterable, nodes.Range):
        counter(self, node, iterable.first, iterable.last)
        return
    if isinstance(iterable, nodes.Call):
        found = look(self, iterable.function)
        if isinstance(found, hv.RuntimeFunction) and found.name in _ITERATORS:
            _ITERATORS[found.name](self, node, iterable)
            return
    found = look(self, iterable)
    if isinstance(iterable, (nodes.List, nodes.Tuple)) or is_zip(iterable) or isinstance(found, hv.HostList):
        over_items(self, node, iterable)
        return
    if isinstance(found, (Dim, hv.HostTensor)) or is_host(self, iterable):
        counter(
            self,
            node,
            nodes.Number(0, span=iterable.span),
            nodes.Binary("-", iterable, nodes.Number(1, span=iterable.span), span=iterable.span),
        )
        return
    if found is None:
        brought(self, iterable, "items")  # which may be told better what is wrong with it
    rows = f"`batches({iterable.span.text}, 32)` goes over its rows" if isinstance(found, hv.HostSplit) else ""
    raise LeeError(structure.wrong_kind(iterable.span, describe(found), "something that a `train` can loop over", rows))


def counter(self, node: nodes.For, first: nodes.Expr, last: nodes.Expr) -> None:
    """`for epoch in 1..epochs`"""
    if not isinstance(node.target, nodes.Name):
        raise LeeError(structure.cannot_unpack(node.target.span, 2, "one number"))
    name = node.target.id
    bounds = [whole(self, e, "the bound of a loop") for e in (first, last)]
    self.variables[name] = Dim.of(name)
    carried, body = self.rounds(node, {name})
    self.emit(host.Count(self.label(name), name, bounds[0].expr, bounds[1].expr, body, carried, span=node.span))


def whole(self, node: nodes.Expr, what: str) -> hv.HostNumber:
    """A number that counts something."""
    value = host_value(self, node)
    if getattr(value, "dtype", "bool") != "int":
        raise LeeError(kinds.needs_int(node.span, what, getattr(value, "dtype", "bool")))
    return value


def over_batches(self, node: nodes.For, call: nodes.Call) -> None:
    """`for x, y in batches(part, size, shuffle = true)`: arrays in field order, the last batch may be short."""
    part, options = batch_arguments(self, call)
    wanted = names_apart(node.target)
    types = list(part.fields.values())
    if len(wanted) != len(types):
        raise LeeError(
            structure.cannot_unpack(node.target.span, len(wanted), f"{len(types)} fields ({', '.join(part.fields)})")
        )
    fields = tuple(name or "_" for name in wanted)
    label = self.label("batches")
    rows = Dim.of(self.fresh_symbol(f"{label}_n", host.ShapeOf(host.Ref(fields[0]), 0)))
    for name, type_ in zip(fields, types):
        self.variables[name] = hv.HostTensor(host.Ref(name), type_.with_dims(rows, *type_.dims[1:]))
    carried, body = self.rounds(node, set(fields))
    self.emit(host.Batches(label, fields, part.expr, options, body, carried, span=node.span))


def batch_arguments(self, call: nodes.Call) -> tuple[hv.HostSplit, tuple[tuple[str, host.HostExpr], ...]]:
    from leec.elaborate.look import look

    if not call.args:
        raise LeeError(names.argument_count(call.span, "batches", "takes a part of a source and a size"))
    part = arrays_as_split(self, call.args[0]) if isinstance(call.args[0], nodes.Tuple) else look(self, call.args[0])
    if not isinstance(part, hv.HostSplit):
        raise LeeError(
            structure.wrong_kind(call.args[0].span, describe(part), "a part of a data source, such as `data.train`")
        )
    rest = nodes.Call(call.function, call.args[1:], call.keywords, span=call.span)
    given, exprs = host_arguments(self, rest)
    known = ("size", "shuffle", "drop_last")
    for name, _ in call.keywords:
        if name.id not in known:
            raise LeeError(names.unknown_keyword(name, "batches", known))
    if len(given.positional) > 1 or not given.positional and "size" not in given.keywords:
        raise LeeError(names.argument_count(call.span, "batches", "takes a part of a source and a size"))
    whole(
        self, rest.args[0] if rest.args else next(e for n, e in rest.keywords if n.id == "size"), "the size of a batch"
    )
    options = {("size" if k == 0 else k): e for k, e in exprs.items()}
    return part, tuple(options.items())


def arrays_as_split(self, node: nodes.Tuple) -> hv.HostSplit:
    """`batches((x, y), ..)`: arrays of one length, their rows drawn together."""
    from leec.elaborate.look import look

    arrays = [look(self, i) for i in node.items]
    for array, item in zip(arrays, node.items):
        if not isinstance(array, hv.HostTensor):
            raise LeeError(structure.wrong_kind(item.span, describe(array), "an array"))
    return hv.HostSplit(
        host.Bundle(tuple(a.expr for a in arrays)), {f"field_{i}": a.type for i, a in enumerate(arrays)}
    )


def over_folds(self, node: nodes.For, call: nodes.Call) -> None:
    """`for train_part, valid_part in folds(part, k, shuffle = true)`"""
    from leec.elaborate.look import look
    from leec.elaborate.sources import with_rows

    part = look(self, call.args[0]) if call.args else None
    if not isinstance(part, hv.HostSplit) or not isinstance(node.target, nodes.Tuple) or len(node.target.items) != 2:
        raise LeeError(
            names.argument_count(
                call.span, "folds", "takes a part of a source and a number, and gives pairs (train, valid)"
            )
        )
    _, exprs = host_arguments(self, nodes.Call(call.function, call.args[1:], call.keywords, span=call.span))
    label = self.label("folds")
    options = tuple((("k" if k == 0 else k), e) for k, e in exprs.items())
    variables = tuple(n.id for n in node.target.items)
    self.emit(host.Runtime((label,), "folds", (part.expr,), options, site=label, span=call.span))
    for name in variables:
        self.variables[name] = with_rows(self, part, host.Ref(name), f"{name}_n")
    carried, body = self.rounds(node, set(variables))
    self.emit(host.Each(self.label("fold"), variables, host.Ref(label), body, carried, span=node.span))


def is_zip(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Call) and isinstance(node.function, nodes.Name) and node.function.id == "zip"


def over_items(self, node: nodes.For, iterable: nodes.Expr) -> None:
    """`for m in memory`, `for rate in [1e-3, 1e-2]`, `for a, b in zip(batches(..), batches(..))`."""
    element, expr = items(self, iterable)
    bound = bind_round(self, node.target, element)
    carried, body = self.rounds(node, bound)
    if isinstance(iterable, nodes.Name) and iterable.id in carried:
        expr = host.Copy(expr)  # the rounds are those of the list as it was
    names = tree(node.target)
    label = self.label(next(iter(sorted(bound)), "item"))
    self.emit(host.Each(label, names if isinstance(names, tuple) else (names,), expr, body, carried, span=node.span))


def items(self, node: nodes.Expr) -> tuple[object, host.HostExpr]:
    """What the items are, and the expression that Python goes through."""
    from leec.elaborate.look import look

    if is_zip(node):
        parts = [items(self, a) for a in node.args]
        return hv.HostTuple(None, tuple(v for v, _ in parts)), host.Ask("zip", tuple(e for _, e in parts))
    if isinstance(node, nodes.Call):
        return stream(self, node)
    if isinstance(node, (nodes.List, nodes.Tuple)):
        value, expr = brought(self, nodes.Tuple(node.items, span=node.span), "item")
        element = None
        for part, item in zip(value.items, node.items):
            element = joined(self, element, part, item.span)
        return element, expr
    found = look(self, node)
    if isinstance(found, hv.HostList):
        return known_element(self, found, node), found.expr
    raise LeeError(structure.wrong_kind(node.span, described(found), "something that a `train` can loop over"))


def stream(self, node: nodes.Call) -> tuple[object, host.HostExpr]:
    """`batches(..)` beside other things to go through."""
    from leec.elaborate.look import look

    if look(self, node.function) != hv.RuntimeFunction("batches"):
        raise LeeError(structure.wrong_kind(node.span, "this", "batches or a list"))
    part, options = batch_arguments(self, node)
    rows = Dim.of("rows of a batch")  # no argument is called so
    fields = tuple(hv.HostTensor(host.Ref(""), t.with_dims(rows, *t.dims[1:])) for t in part.fields.values())
    element = fields[0] if len(fields) == 1 else hv.HostTuple(host.Ref(""), fields)
    return element, host.Stream(self.label("batches"), part.expr, options)


def bind_round(self, target: nodes.Expr, element: object) -> set[str]:
    """The variables of a round."""
    if isinstance(target, nodes.Name):
        if target.id == "_":
            return set()
        self.bind(target.id, element, self.arguments)
        return {target.id}
    parts = getattr(element, "items", None)
    if not isinstance(parts, tuple) or len(parts) != len(target.items):
        raise LeeError(structure.cannot_unpack(target.span, len(target.items), described(element)))
    return set().union(*(bind_round(self, t, v) for t, v in zip(target.items, parts)))


def tree(target: nodes.Expr) -> str | tuple:
    return target.id if isinstance(target, nodes.Name) else tuple(map(tree, target.items))


_ITERATORS = {"batches": over_batches, "folds": over_folds}
