"""Spellings that a NumPy or PyTorch programmer would choose, from the ones that columns produce.

Each rule takes a tree whose parts are idiomatic already and gives an equal one, or the same.
"""

from __future__ import annotations

import ast
from collections.abc import Callable


def idiomatic(tree: ast.expr, library: str) -> ast.expr:
    """The tree with the idioms of its root."""
    if isinstance(tree, ast.Call):
        tree = _spread(_filled(tree), library)
    return tree


def squared(tree: ast.expr) -> ast.expr:
    """x * x is x**2."""
    product = isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult) and isinstance(tree.left, ast.Name)
    if product and _is_name(tree.right, tree.left.id):
        return ast.BinOp(tree.left, ast.Pow(), ast.Constant(2))
    return tree


def whole(tree: ast.expr) -> ast.expr:
    """Among arrays of floats 1 is 1.0."""
    number = tree.operand if isinstance(tree, ast.UnaryOp) else tree
    value = number.value if isinstance(number, ast.Constant) else None
    if not isinstance(value, float) or not value.is_integer() or abs(value) > 1e6:
        return tree
    short = ast.Constant(int(value))
    return ast.UnaryOp(tree.op, short) if number is not tree else short


def _spread(call: ast.Call, library: str) -> ast.Call:
    """Methods take sizes and axes one by one: x.reshape((n, d)) is x.reshape(n, d)."""
    is_method = isinstance(call.func, ast.Attribute) and not _is_name(call.func.value, library)
    if is_method and len(call.args) == 1 and isinstance(call.args[0], ast.Tuple) and call.args[0].elts:
        return ast.Call(call.func, call.args[0].elts, call.keywords)
    return call


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _filled(call: ast.Call) -> ast.Call:
    """np.full(sizes, 0.0, dtype=..) is np.zeros(sizes, dtype=..), ones likewise; one size needs no tuple."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr == "full" and len(call.args) == 2):
        return call
    sizes, value = call.args
    if isinstance(sizes, ast.Tuple) and not sizes.elts and _is_name(function.value, "np"):
        return ast.Call(call.keywords[0].value, [value], [])  # FLOAT(1.0)
    word = {0: "zeros", 1: "ones"}.get(value.value) if isinstance(value, ast.Constant) else None
    filled = word is None or isinstance(value.value, bool)
    if isinstance(sizes, ast.Tuple) and len(sizes.elts) == 1 and not (filled and _is_name(function.value, "torch")):
        sizes = sizes.elts[0]  # torch.full alone wants a tuple
    if filled:
        return ast.Call(function, [sizes, value], call.keywords)
    return ast.Call(ast.Attribute(function.value, word), [sizes], call.keywords)


def with_bias(tree: ast.expr, rank: Callable[[ast.expr], int | None]) -> ast.expr:
    """x @ w + b in one call of the library, where x and w are matrices and b a row."""
    if not (isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add)):
        return tree
    for product, bias in ((tree.left, tree.right), (tree.right, tree.left)):
        if isinstance(product, ast.BinOp) and isinstance(product.op, ast.MatMult) and rank(bias) == 1:
            if rank(product.left) == rank(product.right) == 2:
                return ast.Call(ast.Attribute(ast.Name("torch"), "addmm"), [bias, product.left, product.right], [])
    return tree


def folded(tree: ast.expr) -> ast.expr:
    """1.0 * x is x: what a gradient begins with."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        for one, other in ((tree.left, tree.right), (tree.right, tree.left)):
            if isinstance(one, ast.Constant) and one.value == 1:
                return other
    return tree
