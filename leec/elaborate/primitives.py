"""Primitives: the table of them, and how one reads the arguments of its call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from leec.diagnostics import LeeError, Span, names, shapes, structure
from leec.dims import Dim
from leec.elaborate import arithmetic
from leec.elaborate.context import Context
from leec.elaborate.entries import is_indexed
from leec.elaborate.values import BuiltinValue, ListValue, describe
from leec.ir.graph import Value
from leec.syntax import nodes

BUILTINS: dict[str, BuiltinValue] = {}


def builtin(*spellings: str, reads_nodes: bool = False) -> Callable:
    """Enter a primitive under its names in lee."""

    def enter(function: Callable) -> Callable:
        function.reads_nodes = reads_nodes
        for name in spellings:
            BUILTINS[name] = BuiltinValue(name, function)
        return function

    return enter


class Reader:
    """A call's arguments by the primitive's own parameter names; with `rest` any number comes before them."""

    def __init__(self, ctx: Context, given, name: str, parameters: tuple[str, ...], rest: bool = False):
        self.ctx, self.given, self.name, self.span = ctx, given, name, given.span
        if not rest and len(given.positional) > len(parameters):
            raise LeeError(names.too_many(given.span, name, parameters, len(given.positional)))
        by_place = () if rest else enumerate(zip(parameters, given.positional))
        self.found = {p: (v, given.node.args[i].span) for i, (p, v) in by_place}
        for keyword, node in given.node.keywords:
            if keyword.id not in parameters or keyword.id in self.found:
                raise LeeError(names.unknown_keyword(keyword, name, parameters))
            self.found[keyword.id] = (given.keywords[keyword.id], node.span)

    def get(self, parameter: str, default: object = None) -> object:
        return self.found.get(parameter, (default, self.span))[0]

    def span_of(self, parameter: str) -> Span:
        return self.found.get(parameter, (None, self.span))[1]

    def has(self, parameter: str) -> bool:
        return parameter in self.found

    def tensor(self, parameter: str) -> Value:
        if parameter not in self.found:
            raise LeeError(names.argument_count(self.span, self.name, f"also needs `{parameter}`"))
        value, span = self.found[parameter]
        if is_indexed(value):
            raise LeeError(structure.not_built(span, f"`{self.name}` of a value that depends on an index"))
        return arithmetic.as_value(self.ctx, value, span)

    def axis(self, x: Value, parameter: str = "axis") -> int:
        """One axis, counted from the front; may be left out where there is only one (R20)."""
        if not self.has(parameter):
            if x.type.rank > 1:
                raise LeeError(shapes.axis_needed(self.span, self.name))
            return 0
        return whole_axis(self, x, self.get(parameter), self.span_of(parameter))

    def axes(self, x: Value) -> tuple[int, ...]:
        """`axis = ..`, `over = (n, h)` by dim name, or all."""
        if self.has("over"):
            return named_axes(x, self.get("over"), self.span_of("over"))
        if self.get("axis") is None:
            return tuple(range(x.type.rank))
        wanted = self.get("axis")
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        return tuple(sorted(whole_axis(self, x, w, self.span_of("axis")) for w in wanted))

    def dims(self, parameter: str) -> tuple[Dim, ...]:
        value, span = self.found[parameter]
        items = value.items if isinstance(value, ListValue) else value if isinstance(value, tuple) else (value,)
        for item in items:
            if not isinstance(item, Dim):
                raise LeeError(structure.wrong_kind(span, describe(item), "a size"))
        return tuple(items)

    def flag(self, parameter: str, default: bool = False) -> bool:
        value = self.get(parameter, default)
        if not isinstance(value, bool):
            raise LeeError(structure.needs_static(self.span_of(parameter), f"`{parameter}`"))
        return value


def whole_axis(reader: Reader, x: Value, value: object, span: Span) -> int:
    from leec.elaborate.expressions import structural_int

    number = structural_int(reader.ctx, value, span)
    if not -x.type.rank <= number < x.type.rank:
        raise LeeError(shapes.no_such_axis(span, number, x.type.shown))
    return number % x.type.rank


def named_axes(x: Value, wanted: object, span: Span) -> tuple[int, ...]:
    """The axes with these dims, or this one."""
    return tuple(sorted(named_axis(x, w, span) for w in (wanted if isinstance(wanted, tuple) else (wanted,))))


def named_axis(x: Value, dim: object, span: Span) -> int:
    """The axis with this dim, by name and not by size (R11)."""
    found = [i for i, d in enumerate(x.type.dims) if d == dim]
    if len(found) != 1:
        raise LeeError(shapes.no_such_dim(span, str(dim), x.type.shown))
    return found[0]


def by_axis(target, given):
    """The arguments of a function that takes `axis`, which takes dims by name too: `std(x, over = (n, h))`."""
    params = {p.name.id for p in target.declaration.params}
    x = given.positional[0] if given.positional else None
    if "over" not in given.keywords or "over" in params or "axis" not in params or not isinstance(x, Value):
        return given
    axes = tuple(map(Dim.of, named_axes(x, given.keywords["over"], given.span_of("over"))))
    written = tuple((nodes.Name("axis", span=n.span) if n.id == "over" else n, e) for n, e in given.node.keywords)
    values = {n: v for n, v in given.keywords.items() if n != "over"} | {"axis": axes if len(axes) > 1 else axes[0]}
    node = nodes.Call(given.node.function, given.node.args, written, span=given.span)
    return replace(given, keywords=values, node=node)
