"""Loops of a `train`: counters, batches, folds, lists; always host loops (decision 3)."""

from __future__ import annotations

from leec.diagnostics import LeeError, kinds, names, structure
from leec.dims import Dim
from leec.elaborate import hostvalues as hv
from leec.elaborate.hostexpr import host_arguments, host_value
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
        if isinstance(found, hv.RuntimeFunction):
            _ITERATORS[found.name](self, node, iterable)
            return
    if isinstance(iterable, (nodes.List, nodes.Tuple)):
        over_items(self, node, iterable)
        return
    found = look(self, iterable)
    if isinstance(found, Dim) or isinstance(found, hv.HostNumber) and found.dtype == "int":
        counter(
            self,
            node,
            nodes.Number(0, span=iterable.span),
            nodes.Binary("-", iterable, nodes.Number(1, span=iterable.span), span=iterable.span),
        )
        return
    raise LeeError(structure.wrong_kind(iterable.span, describe(found), "something that a `train` can loop over"))


def counter(self, node: nodes.For, first: nodes.Expr, last: nodes.Expr) -> None:
    """`for epoch in 1..epochs`"""
    if not isinstance(node.target, nodes.Name):
        raise LeeError(structure.cannot_unpack(node.target.span, 2, "one number"))
    name = node.target.id
    bounds = [whole(self, e, "the bound of a loop") for e in (first, last)]
    carried = self.carried(node.body, {name})
    self.variables[name] = Dim.of(name)
    with self.inside_loop(node.body):
        body = self.statements(node.body)
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
    wanted = [node.target] if isinstance(node.target, nodes.Name) else list(node.target.items)
    types = list(part.fields.values())
    if len(wanted) != len(types):
        raise LeeError(
            structure.cannot_unpack(node.target.span, len(wanted), f"{len(types)} fields ({', '.join(part.fields)})")
        )
    fields = tuple(n.id for n in wanted)
    label = self.label("batches")
    rows = Dim.of(self.fresh_symbol(f"{label}_n", host.ShapeOf(host.Ref(fields[0]), 0)))
    carried = self.carried(node.body, set(fields))
    for name, type_ in zip(fields, types):
        self.variables[name] = hv.HostTensor(host.Ref(name), type_.with_dims(rows, *type_.dims[1:]))
    with self.inside_loop(node.body):
        body = self.statements(node.body)
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
    carried = self.carried(node.body, set(variables))
    self.emit(host.Runtime((label,), "folds", (part.expr,), options, site=label, span=call.span))
    for name in variables:
        self.variables[name] = with_rows(self, part, host.Ref(name), f"{name}_n")
    with self.inside_loop(node.body):
        body = self.statements(node.body)
    self.emit(host.Each(self.label("fold"), variables, host.Ref(label), body, carried, span=node.span))


def over_items(self, node: nodes.For, iterable: nodes.List | nodes.Tuple) -> None:
    """`for rate in [1e-3, 1e-2]`: numbers written down."""
    if not isinstance(node.target, nodes.Name):
        raise LeeError(structure.not_built(node.target.span, "several names for the items of a list"))
    items = [host_value(self, i) for i in iterable.items]
    name = node.target.id
    carried = self.carried(node.body, {name})
    dtype = "float" if any(getattr(i, "dtype", "") == "float" for i in items) else "int"
    self.variables[name] = hv.HostNumber(host.Ref(name), "float") if dtype == "float" else Dim.of(name)
    with self.inside_loop(node.body):
        body = self.statements(node.body)
    bundle = host.Bundle(tuple(host.Literal(i) if isinstance(i, bool) else i.expr for i in items))
    self.emit(host.Each(self.label(name), (name,), bundle, body, carried, span=node.span))


_ITERATORS = {"batches": over_batches, "folds": over_folds}
