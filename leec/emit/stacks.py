"""What the rounds of a loop saved, read where no loop goes over them: a derivative of a derivative reads such rows whole.

logical_and_rows = np.stack([saved[0] for saved in saved_f[0]]) if saved_f[0] else np.zeros((0,), dtype=np.bool_)
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
    library = ast.Name(body.dialect.library)
    joined = ast.Call(ast.Attribute(library, "stack"), [rows], [])
    return ast.IfExp(rounds, joined, ast.Call(ast.Attribute(library, "zeros"), *zeros(body, dims, dtype)))


def zeros(body: Body, dims: Sequence[Dim], dtype: str) -> tuple[list[ast.expr], list[ast.keyword]]:
    """What the library's `zeros` is given."""
    given = {"dtype": body.dialect.dtype(dtype), "device": body.device()}
    keywords = [ast.keyword(name, tree) for name, tree in given.items() if tree is not None]
    return [ast.Tuple([dim_tree(d, body.sizes) for d in dims])], keywords
