"""What NumPy can compute into an array that exists: entrywise functions, products of matrices, reductions, and those
functions of the support code that take `out`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from leec.emit.expressions import Replace
from leec.emit.layout import text
from leec.emit.support import library
from leec.ops import TABLE

OPERATORS = {
    ast.Add: ("np.add", "+="),
    ast.Sub: ("np.subtract", "-="),
    ast.Mult: ("np.multiply", "*="),
    ast.Div: ("np.divide", "/="),
    ast.Pow: ("np.power", "**="),
    ast.FloorDiv: ("np.floor_divide", "//="),
    ast.Mod: ("np.remainder", "%="),
    ast.BitAnd: ("np.bitwise_and", "&="),
    ast.BitOr: ("np.bitwise_or", "|="),
    ast.BitXor: ("np.bitwise_xor", "^="),
}
SYMMETRIC = ("np.add", "multiply", "bitwise_and", "bitwise_or", "bitwise_xor")
SIGNS = {ast.USub: "np.negative", ast.Invert: "np.invert"}
COMPARISONS = {
    ast.Eq: "np.equal",
    ast.NotEq: "np.not_equal",
    ast.Lt: "np.less",
    ast.LtE: "np.less_equal",
    ast.Gt: "np.greater",
    ast.GtE: "np.greater_equal",
}
FUNCTIONS = frozenset(
    "exp expm1 log log1p sqrt sin cos tan sinh cosh tanh arcsin arccos arctan arctan2 arcsinh arccosh arctanh "
    "abs sign floor ceil trunc round fmod maximum minimum logaddexp isnan isinf".split()
)
PREDICATES = frozenset([*COMPARISONS.values(), "np.isnan", "np.isinf"])  # what gives bools
REDUCTIONS = frozenset("sum mean prod max min".split())
POWERS = {2: "np.square", 0.5: "np.sqrt"}  # which np.power knows nothing of

Rank = Callable[[ast.expr], int | None]


@dataclass(frozen=True)
class Operation:
    """`plain` is the expression with other operands in the place of its own, `call` the function that takes `out`."""

    operands: tuple[ast.expr, ...]
    plain: Callable[[Sequence[ast.expr]], ast.expr]
    call: Callable[[Sequence[ast.expr]], ast.Call]
    entrywise: bool = True  # an entry of the result needs its own entries alone: it may take their place
    sign: str = ""  # of the statement that does it in place
    name: str = ""
    strided: str = ""  # the function for an array whose rows may not lie one after the other, if that is another one

    def statement(self, operands: Sequence[ast.expr], out: str) -> str:
        """Into an array that exists, as a statement."""
        first, *others = map(text, operands)
        if self.sign and out in (first, *(others if self.name in SYMMETRIC else ())):
            other = others[0] if first == out else first
            return f"{out} {self.sign} {other}"
        return self.expression(operands, out)

    def expression(self, operands: Sequence[ast.expr], out: str | None) -> str:
        """The same as an expression; without an array it makes one."""
        if out is None:
            return text(self.plain(operands))
        call = self.call(operands)
        return text(ast.Call(call.func, call.args, [*call.keywords, ast.keyword("out", ast.Name(out))]))


def for_strided(op: Operation) -> Operation:
    """The operation that computes into an array of any layout."""
    return replace(op, call=function(op.strided)) if op.strided else op


def operation(tree: ast.expr, rank: Rank) -> Operation | None:
    """The outermost operation of an expression, if it is one of these."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.MatMult):
        flat = {rank(tree.left), rank(tree.right)} <= {1, 2}  # for which np.dot is the same, and quicker
        name, strided = ("np.dot", "np.matmul") if flat else ("np.matmul", "")
        return Operation((tree.left, tree.right), binary(tree.op), function(name), False, name=name, strided=strided)
    if isinstance(tree, ast.BinOp):
        return arithmetic(tree)
    if isinstance(tree, ast.UnaryOp) and type(tree.op) in SIGNS:
        return Operation((tree.operand,), lambda x: ast.UnaryOp(tree.op, *x), function(SIGNS[type(tree.op)]))
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and type(tree.ops[0]) in COMPARISONS:
        name = COMPARISONS[type(tree.ops[0])]
        plain = lambda x: ast.Compare(x[0], tree.ops, [x[1]])  # noqa: E731
        return Operation((tree.left, *tree.comparators), plain, function(name), name=name)
    return called(tree) if isinstance(tree, ast.Call) else None


def arithmetic(tree: ast.BinOp) -> Operation | None:
    if type(tree.op) not in OPERATORS:
        return None
    name, sign = OPERATORS[type(tree.op)]
    power = tree.right.value if isinstance(tree.op, ast.Pow) and isinstance(tree.right, ast.Constant) else None
    if power in POWERS:
        return Operation((tree.left,), lambda x: ast.BinOp(x[0], tree.op, tree.right), function(POWERS[power]))
    return Operation((tree.left, tree.right), binary(tree.op), function(name), sign=sign, name=name)


def binary(op: ast.operator) -> Callable[[Sequence[ast.expr]], ast.expr]:
    return lambda x: ast.BinOp(x[0], op, x[1])


def function(name: str) -> Callable[[Sequence[ast.expr]], ast.Call]:
    return lambda x: ast.Call(ast.Name(name), list(x), [])


def called(tree: ast.Call) -> Operation | None:
    """np.exp(x), x.sum(axis=0), max_pool(x, ..)"""
    owner = tree.func.value if isinstance(tree.func, ast.Attribute) else None
    if isinstance(owner, ast.Name) and owner.id == "np":
        name = tree.func.attr
        again = lambda x: ast.Call(tree.func, list(x), [])  # noqa: E731
        return (
            Operation(tuple(tree.args), again, again, name=f"np.{name}")
            if name in FUNCTIONS and not tree.keywords
            else None
        )
    if owner is not None and tree.func.attr in REDUCTIONS and not tree.args:
        again = lambda x: ast.Call(ast.Attribute(x[0], tree.func.attr), [], tree.keywords)  # noqa: E731
        return Operation((owner,), again, again, False)
    if isinstance(tree.func, ast.Name) and tree.func.id in with_out():
        again = lambda x: ast.Call(tree.func, list(x), tree.keywords)  # noqa: E731
        return Operation(tuple(tree.args), again, again, tree.func.id in entrywise())
    return None


@cache
def with_out() -> frozenset[str]:
    """The functions of the support code that compute into an array where they are given one."""
    return frozenset(d.name for d in library("numpy").values() if re.match(r"def \w+\([^)]*\bout=None\)", d.text))


@cache
def entrywise() -> frozenset[str]:
    """Those that go entry by entry."""
    return frozenset(name for row in TABLE.values() if row.elementwise for name in row.facts.get("support", ()))


def inside(tree: ast.expr, change: Callable[[ast.expr], ast.expr]) -> ast.expr:
    """The expression with its direct parts changed; itself where none of them is."""

    class Parts(Replace):
        def visit(self, node: ast.AST) -> ast.AST:
            return change(node) if isinstance(node, ast.expr) else self.generic_visit(node)

    made = Parts({}).generic_visit(tree)
    same = all(a is b for a, b in zip(ast.iter_child_nodes(made), ast.iter_child_nodes(tree), strict=True))
    return tree if same else made
