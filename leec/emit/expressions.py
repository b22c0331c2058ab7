"""An equation as a Python expression: the tree of its row's column with arguments and params in their places.

Nothing here makes text; parentheses are the printer's business (layout.py).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from functools import cache

from leec.diagnostics import InternalError
from leec.dims import Dim
from leec.emit.dialect import Dialect, parse
from leec.emit.idioms import idiomatic
from leec.ir.graph import Equation
from leec.ops import TABLE
from leec.ops.columns import bind_arguments, chosen_column, expression
from leec.ops.shape import Slices
from leec.types import TensorType

Symbols = Callable[[str], ast.expr]  # the expression of a size by its symbol


def equation_tree(
    equation: Equation, dialect: Dialect, args: tuple[ast.expr, ...], symbols: Symbols, device: ast.expr | None = None
) -> ast.expr:
    """The value (or tuple of values) of an equation over the expressions of its arguments; new arrays on `device`."""
    types = tuple(a.type for a in equation.args)
    column = chosen_column(dialect.column, types, equation.results[0].type)
    template, params = expression(TABLE[equation.op], column, types, equation.params)
    return filled_tree(equation, dialect, template, params, args, symbols, device)


def in_place_tree(equation: Equation, dialect: Dialect, args: tuple[ast.expr, ...], symbols: Symbols) -> ast.expr:
    """The call that writes the results over the arguments which the row's fact `in_place` names."""
    template = parse(TABLE[equation.op].facts["in_place"][0])
    return filled_tree(equation, dialect, template, equation.params, args, symbols, None)


def filled_tree(
    equation: Equation, dialect: Dialect, template: ast.expr, params, args, symbols: Symbols, device
) -> ast.expr:
    row, types = TABLE[equation.op], tuple(a.type for a in equation.args)
    bound = bind_arguments(row, args)
    filled = Fill(bound, params, types, dialect, symbols, device, "reduces" in row.facts).visit(template)
    return idiomatic(filled, dialect.library)


def argument_uses(equation: Equation, dialect: Dialect) -> dict[int, int]:
    """How often the column writes each argument: what is written twice must be a name."""
    row = TABLE[equation.op]
    types = tuple(a.type for a in equation.args)
    template, _ = expression(
        row, chosen_column(dialect.column, types, equation.results[0].type), types, equation.params
    )
    bound = bind_arguments(row, tuple(range(len(types))))
    uses: dict[int, int] = {}
    for name in names_in(template):
        places = bound.get(name, ())
        for position in places if isinstance(places, tuple) else (places,):
            uses[position] = uses.get(position, 0) + 1
    return uses


@cache
def names_in(template: ast.expr) -> tuple[str, ...]:
    """Every name of a template as often as it stands there; templates are shared and never changed."""
    return tuple(n.id for n in ast.walk(template) if isinstance(n, ast.Name))


def dim_tree(dim: Dim, symbols: Symbols) -> ast.expr:
    """A size as arithmetic on the sizes that have names."""
    dim = symbols.short(dim) if hasattr(symbols, "short") else dim
    if dim.constant is not None:
        return ast.Constant(dim.constant)
    marks = {symbol: f"symbol_{i}" for i, symbol in enumerate(sorted(dim.symbols))}
    found = {mark: symbols(symbol) for symbol, mark in marks.items()}
    return Replace(found).visit(parse(dim.render(marks.__getitem__)))


class Replace(ast.NodeTransformer):
    """Names by trees, in a copy."""

    def __init__(self, trees: Mapping[str, ast.expr]):
        self.trees = trees

    def generic_visit(self, node: ast.AST) -> ast.AST:
        fields = {name: self.field(value) for name, value in ast.iter_fields(node)}
        return type(node)(**fields)

    def field(self, value):
        if isinstance(value, list):
            return [self.visit(v) if isinstance(v, ast.AST) else v for v in value]
        return self.visit(value) if isinstance(value, ast.AST) else value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.trees.get(node.id, node)


class Fill(Replace):
    """A column with its arguments and params; keywords that are False or empty go."""

    def __init__(
        self, bound: Mapping, params: Mapping, types: tuple, dialect: Dialect, symbols: Symbols, device, reduces: bool
    ):
        trees = {k: v for k, v in bound.items() if isinstance(v, ast.expr)}
        super().__init__({"DEVICE": device or ast.Constant(None), **trees})
        self.lists = {k: v for k, v in bound.items() if isinstance(v, tuple)}
        self.params, self.types, self.dialect, self.symbols, self.reduces = params, types, dialect, symbols, reduces

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.trees:
            return self.trees[node.id]
        if node.id in self.lists:
            return ast.Tuple(list(self.lists[node.id]))
        if node.id in self.params:
            return self.param(node.id, self.params[node.id])
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        where = self.params.get(node.slice.id) if isinstance(node.slice, ast.Name) else None
        if isinstance(where, Slices):
            return ast.Subscript(self.visit(node.value), self.slices(where, self.types[0].dims))
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        call = self.generic_visit(node)
        call.keywords = [k for k, asked in zip(call.keywords, node.keywords) if not self.is_default(k, asked)]
        if (
            call.args
            and isinstance(node.args[-1], ast.Name)
            and node.args[-1].id == "DEVICE"
            and is_none(call.args[-1])
        ):
            call.args.pop()
        for k in call.keywords:
            if k.arg in ("axis", "dim") and isinstance(k.value, ast.Tuple) and len(k.value.elts) == 1:
                k.value = k.value.elts[0]
        if all(k.arg != "keepdims" and k.arg != "keepdim" for k in call.keywords):
            call.keywords = [k for k in call.keywords if not self.is_everything(k)]
        return call

    def is_default(self, keyword: ast.keyword, asked: ast.keyword) -> bool:
        """No device, and a param that is False; a False that the column itself writes has its reason."""
        nowhere = keyword.arg == "device" and is_none(keyword.value)
        is_param = isinstance(asked.value, ast.Name)
        return nowhere or (is_param and isinstance(keyword.value, ast.Constant) and keyword.value.value is False)

    def is_everything(self, keyword: ast.keyword) -> bool:
        """A reduction over all axes says no axis."""
        axes = keyword.value.elts if isinstance(keyword.value, ast.Tuple) else [keyword.value]
        rank = self.types[0].rank if self.types else 0
        numbers = [a.value for a in axes if isinstance(a, ast.Constant)]
        return keyword.arg in ("axis", "dim") and self.reduces and numbers == list(range(rank))

    def param(self, name: str, value: object) -> ast.expr:
        if name == "dtype" and isinstance(value, str):
            return self.dialect.dtype(value)
        if name == "word" and "site" in self.params:  # the hash of a name, which the module lists
            return ast.Subscript(ast.Name("SITES"), ast.Constant(self.params["site"]))
        return self.value(value)

    def value(self, value: object) -> ast.expr:
        """A param as Python writes it. Raises InternalError for a kind that no column may mention."""
        match value:
            case bool() | int() | str() | None:
                return ast.Constant(value)
            case float():
                return float_tree(value, self.dialect)
            case Dim():
                return dim_tree(value, self.symbols)
            case Slices():
                return self.slices(value, None)
            case tuple():
                return ast.Tuple([self.value(v) for v in value])
            case TensorType():
                return self.dialect.dtype(value.dtype)
        raise InternalError(f"a column mentions a param of type {type(value).__name__}")

    def slices(self, slices: Slices, dims: tuple[Dim, ...] | None) -> ast.expr:
        """As a subscript, over known dims; without them as a tuple of slice objects."""
        if dims is None:
            return ast.Tuple([self.slice_object(*s) for s in slices])
        items = [self.slice(s, d) for s, d in zip(slices, dims, strict=True)]
        while len(items) > 1 and isinstance(items[-1], ast.Slice) and not any(vars(items[-1]).values()):
            items.pop()
        return items[0] if len(items) == 1 else ast.Tuple(items)

    def slice(self, stretch: Dim | tuple[Dim, Dim, Dim], dim: Dim) -> ast.expr:
        """A position, or a stretch without the bounds that the axis has itself."""
        if isinstance(stretch, Dim):
            return self.value(stretch)
        start, stop, step = stretch
        return ast.Slice(
            None if start == 0 else self.value(start),
            None if stop == dim else self.value(stop),
            None if step == 1 else self.value(step),
        )

    def slice_object(self, start: Dim, stop: Dim, step: Dim) -> ast.expr:
        bounds = [start, stop] if step == 1 else [start, stop, step]
        return ast.Call(ast.Name("slice"), [self.value(b) for b in bounds], [])


def is_none(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Constant) and tree.value is None


def float_tree(value: float, dialect: Dialect) -> ast.expr:
    if math.isnan(value):
        return parse('float("nan")')
    if math.isinf(value):
        tree = parse(dialect.infinity)
        return tree if value > 0 else ast.UnaryOp(ast.USub(), tree)
    return ast.UnaryOp(ast.USub(), ast.Constant(-value)) if value < 0 else ast.Constant(value)


def constant_tree(value: object, dialect: Dialect) -> ast.expr:
    """A number, a string, a bool, None or a tuple of such."""
    if isinstance(value, float):
        return float_tree(value, dialect)
    if isinstance(value, tuple | list):
        return ast.Tuple([constant_tree(v, dialect) for v in value])
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)
