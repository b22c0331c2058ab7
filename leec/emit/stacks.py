"""Rows of a loop put together: those that autograd follows after the loop, and what rounds saved where no loop reads it.

    logical_and_rows = np.stack([saved[0] for saved in saved_f[0]], 0) if saved_f[0] else np.zeros((0,), dtype=np.bool_)

A derivative of a derivative reads such rows whole.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from leec.dims import Dim
from leec.emit.expressions import dim_tree
from leec.emit.groups import Group
from leec.ir.graph import Value

if TYPE_CHECKING:
    from leec.emit.statements import Body


def stack_of(body: Body, value: Value) -> ast.expr:
    """A variable for the rows of all rounds, one after the other along a first axis."""
    place = body.groups.places[value]
    tree = stacked(body, place.group, place.path, value.type.dims, value.type.dtype)
    target = body.target(value)
    body.statement(target, tree, (value,), None)
    return target


def stacked(body: Body, group: Group, path: str, dims: Sequence[Dim], dtype: str, depth: int = 0) -> ast.expr:
    """A tensor with these dims: as it was saved, or joined from the rounds of a loop (of no round, an array of none)."""
    if not group.rounds(path):
        return group.part(path)
    rounds, one = group.part(group.rounds(path)[0]), ast.Name(body.names.of(("a round that saved", depth), "saved"))
    item, rest = group.of_round(path, one)
    each = stacked(body, item, rest, dims[1:], dtype, depth + 1)
    rows = rounds if each is one else ast.ListComp(each, [ast.comprehension(one, rounds, [], 0)])
    return joined(body, rounds, rows, 0, dims, dtype)


def joined(body: Body, rounds: ast.expr, rows: ast.expr, axis: int, dims: Sequence[Dim], dtype: str) -> ast.expr:
    """The rows of a list along an axis; where it has no round, an array of these dims, one of which is 0."""
    stack = ast.Attribute(ast.Name(body.dialect.library), "stack")
    return ast.IfExp(rounds, ast.Call(stack, [rows, ast.Constant(axis)], []), array_of(body, "zeros", dims, dtype))


def array_of(body: Body, maker: str, dims: Sequence[Dim], dtype: str) -> ast.expr:
    """`np.zeros((n, d), dtype=FLOAT)`, in torch on the device of the first input."""
    shape = ast.Tuple([dim_tree(d, body.sizes) for d in dims])
    given = {"dtype": body.dialect.dtype(dtype), "device": body.device()}
    keywords = [ast.keyword(name, tree) for name, tree in given.items() if tree is not None]
    return ast.Call(ast.Attribute(ast.Name(body.dialect.library), maker), [shape], keywords)
