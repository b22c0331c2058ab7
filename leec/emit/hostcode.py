"""Host expressions of procedures as Python trees: names, fields, sizes, operators and functions of numbers."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from leec.dims import Dim
from leec.emit.dialect import parse
from leec.emit.expressions import Replace, constant_tree, dim_tree
from leec.emit.names import Names
from leec.emit.unit import Unit
from leec.ir import host
from leec.ops import TABLE
from leec.types import host as host_type

BINARY = {"+": ast.Add, "-": ast.Sub, "*": ast.Mult, "/": ast.Div, "//": ast.FloorDiv, "%": ast.Mod, "**": ast.Pow}
COMPARED = {"<": ast.Lt, "<=": ast.LtE, ">": ast.Gt, ">=": ast.GtE, "==": ast.Eq, "!=": ast.NotEq}


@dataclass
class HostCode:
    """The expressions of one procedure."""

    unit: Unit
    procedure: host.Procedure
    names: Names
    inlined: dict[str, ast.expr] = field(default_factory=dict)  # variables that are written where they are read

    @property
    def known(self) -> set[str]:
        """Symbols with a value in the procedure."""
        return {*self.procedure.symbols, *(n for n, _ in self.procedure.parameters), *self.names.given}

    def name(self, variable: str) -> str:
        return self.names.of(variable, variable)

    def inline(self, variable: str, tree: ast.expr) -> None:
        self.inlined[variable] = tree

    def key(self, site: str) -> ast.expr:
        return ast.Call(ast.Name("run.key"), [ast.Constant(site)], [])

    def size(self, symbol: str) -> ast.expr:
        """A size is a number of the procedure, or read off an array."""
        source = self.procedure.symbols.get(symbol)
        return self.tree(source) if source is not None else ast.Name(self.name(symbol))

    def partial(self, function: str, numbers: tuple[host.HostExpr, ...]) -> ast.expr:
        """A function with all arguments but the last one."""
        last = self.unit.functions[function].parameters[-1].name
        name = ast.Name(self.unit.function_name(self.unit.public_name(self.unit.functions[function])[0]))
        return function_of(last, ast.Call(name, [*map(self.tree, numbers), ast.Name(last)], []))

    def rows(
        self, function: str, site: str, part: host.HostExpr, options: tuple[tuple[str, host.HostExpr], ...]
    ) -> ast.Call:
        """`run.batches("batches", part, 64, shuffle=True)`"""
        more = dict(options)
        given = [ast.Constant(site), self.tree(part)]
        given += [self.tree(more.pop("size"))] if "size" in more else []
        return ast.Call(ast.Name(function), given, [ast.keyword(n, self.tree(v)) for n, v in more.items()])

    def tree(self, e: host.HostExpr) -> ast.expr:
        match e:
            case host.Ref(name=name) if name in self.inlined:
                return self.inlined.pop(name)
            case host.Ref(name=name, fields=fields):
                return with_fields(ast.Name(self.name(name)), fields)
            case host.Literal(value=Dim() as dim) | host.Size(dim=dim):
                return dim_tree(dim, self.size)
            case host.Literal(value=value):
                return constant_tree(value, self.unit.dialect)
            case host.Item(of=of, index=str(field)):
                return ast.Attribute(self.tree(of), field)
            case host.Item(of=of, index=index):
                return ast.Subscript(self.tree(of), self.tree(index))
            case host.ListOf(items=items):
                return ast.List([self.tree(i) for i in items])
            case host.Copy(of=of):
                return ast.Call(ast.Attribute(self.tree(of), "copy"), [], [])
            case host.Stream(site=site, part=part, options=options):
                return self.rows("run.stream", site, part, options)
            case host.Ask(function="zip", args=args):
                return ast.Call(ast.Name("zip"), [self.tree(a) for a in args], [])
            case host.Ask(function=function, args=args):
                return ast.Call(ast.Name(f"run.{function}"), [self.tree(a) for a in args], [])
            case host.ShapeOf(array=array, axis=axis):
                return ast.Subscript(ast.Attribute(self.tree(array), "shape"), ast.Constant(axis))
            case host.Partial(function=function, args=numbers):
                return self.partial(function, numbers)
            case host.Bundle(items=items, names=()):
                return ast.Tuple([self.tree(i) for i in items])
            case host.Bundle(items=items, names=names):
                given = [ast.keyword(n, self.tree(i)) for n, i in zip(names, items, strict=True)]
                return ast.Call(ast.Name("run.record"), [], given)
        return operation(e.op, [self.tree(a) for a in e.args])


def function_of(name: str, body: ast.expr) -> ast.expr:
    """`lambda t: body`"""
    arguments = ast.arguments(posonlyargs=[], args=[ast.arg(name)], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(arguments, body)


def with_fields(tree: ast.expr, fields: tuple[str | int, ...]) -> ast.expr:
    for step in fields:
        tree = ast.Subscript(tree, ast.Constant(step)) if isinstance(step, int) else ast.Attribute(tree, step)
    return tree


def operation(op: str, args: list[ast.expr]) -> ast.expr:
    """An operator of Python, or the host column of a row."""
    if op in BINARY and len(args) == 2:
        return ast.BinOp(args[0], BINARY[op](), args[1])
    if op in COMPARED:
        return ast.Compare(args[0], [COMPARED[op]()], [args[1]])
    if op in ("and", "or"):
        return ast.BoolOp(ast.And() if op == "and" else ast.Or(), args)
    if op in ("-", "not"):
        return ast.UnaryOp(ast.USub() if op == "-" else ast.Not(), args[0])
    if op in TABLE and TABLE[op].host is not None:
        column = TABLE[op].host
        code = column if isinstance(column, str) else column([host_type("float")] * len(args), {})
        return Replace(dict(zip(TABLE[op].args, args, strict=True))).visit(parse(code))
    return ast.Call(ast.Name(op), args, [])
