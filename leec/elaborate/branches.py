"""Where the condition of a `where` reaches: into the operations of its branch that keep every entry at its place (R3).

`where(c, sin(a) @ b, 0)` chooses among entries of the product, which are no entries of `a`: no entry of `a` is known not
to be taken there. A condition without axes, and one over the indices of a definition, reach everywhere.
"""

from __future__ import annotations

from dataclasses import replace

from leec.elaborate import arithmetic
from leec.elaborate.context import Context
from leec.elaborate.primitives import BUILTINS
from leec.elaborate.scope import lookup
from leec.elaborate.values import BuiltinValue, FunctionValue
from leec.ir.graph import Value
from leec.ops.table import TABLE
from leec.syntax import nodes

LEAVES = (nodes.Name, nodes.Number, nodes.Bool, nodes.Nothing, nodes.String)
PLAIN = frozenset({"where", "float", "int", "zeros_like", "ones_like"})
DEPTH = 20  # of defs that call each other


def reaches(ctx: Context, node: nodes.Expr) -> bool:
    """Whether the guard of a branch holds for the operands of this expression too."""
    return not isinstance(ctx.guard, Value) or ctx.guard.type.rank == 0 or at_its_place(ctx, node)


def within_branch(ctx: Context, given):
    """The arguments of a call in a branch, which take no gradient where it is not taken."""
    if not isinstance(ctx.guard, Value):
        return given
    positional = [arithmetic.guard(ctx, v, given.span_of(i)) for i, v in enumerate(given.positional)]
    keywords = {name: arithmetic.guard(ctx, v, given.span_of(name)) for name, v in given.keywords.items()}
    return replace(given, positional=positional, keywords=keywords)


def at_its_place(ctx: Context, node: nodes.Expr) -> bool:
    """Whether each entry of the expression is made of the entries of its operands at the same place."""
    match node:
        case nodes.Binary(op="@"):
            return False
        case nodes.Binary() | nodes.Unary() | nodes.Compare() | nodes.Logic() | nodes.Ternary():
            return True
        case nodes.Call(function=nodes.Name(id=name), args=args):
            found = lookup(ctx, name)
            return isinstance(found, tuple) and keeps_places(ctx, found[0], len(args), DEPTH)
    return isinstance(node, LEAVES)


def keeps_places(ctx: Context, target: object, count: int, depth: int) -> bool:
    """Whether a call of it with so many arguments goes entry by entry."""
    if isinstance(target, BuiltinValue):
        rows = (row for row in TABLE.values() if row.surface == target.name)
        several = target.name in ("max", "min") and count > 1
        return target.name in PLAIN or several or any(row.elementwise and not row.params for row in rows)
    return (
        isinstance(target, FunctionValue)
        and depth > 0
        and all(statement_keeps(ctx, target, s, depth) for s in target.declaration.body)
    )


def statement_keeps(ctx: Context, f: FunctionValue, statement: nodes.Stmt, depth: int) -> bool:
    match statement:
        case nodes.Return(value=value) | nodes.Assign(target=nodes.Name(), value=value):
            return value is not None and expression_keeps(ctx, f, value, depth)
        case nodes.If(branches=branches, otherwise=otherwise):
            inside = [s for _, body in branches for s in body] + list(otherwise)
            return all(statement_keeps(ctx, f, s, depth) for s in inside)
    return False


def expression_keeps(ctx: Context, f: FunctionValue, node: nodes.Expr, depth: int) -> bool:
    """The same of an expression in the body of a def, all the way down."""
    match node:
        case nodes.Binary(op=op, left=left, right=right):
            return op != "@" and all(expression_keeps(ctx, f, n, depth) for n in (left, right))
        case nodes.Unary(operand=operand):
            return expression_keeps(ctx, f, operand, depth)
        case nodes.Compare() | nodes.Logic():
            return True
        case nodes.Call(function=nodes.Name(id=name), args=args, keywords=keywords):
            given = (*args, *(value for _, value in keywords))
            called = keeps_places(ctx, named(ctx, f, name), len(args), depth - 1)
            return called and all(expression_keeps(ctx, f, n, depth) for n in given)
    return isinstance(node, LEAVES)


def named(ctx: Context, f: FunctionValue, name: str) -> object:
    """What a name means in the file of a def."""
    for module in (f.home, ctx.session.library.prelude):
        found = module.find(name) if module else None
        if found is not None:
            home, item = found
            return FunctionValue(item, home) if isinstance(item, nodes.Function) else None
    return f.captured.get(name, BUILTINS.get(name))
