"""Lark tree to abstract syntax: one row a rule of the grammar, applied bottom-up without recursion.

Every node gets the stretch of text it was read from; parentheses count for the node around them.
What parses and is a mistake all the same is said by leec/syntax/checks.py, node by node.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc
from typing import Any, NamedTuple

from lark import Token, Tree

from leec.diagnostics import Diagnostic, Source, Span
from leec.diagnostics import syntax as errors
from leec.syntax import checks
from leec.syntax import nodes as n
from leec.syntax.literals import name_of, number_of, string_of

Row = Callable[[Span, list], Any]


class Body(NamedTuple):
    """The indented part of something, and the offset after the colon before it."""

    start: int
    doc: str | None
    parts: tuple


def build(tree: Tree, source: Source) -> tuple[Any, list[Diagnostic]]:
    """The syntax of a tree, with the mistakes that the grammar lets pass."""
    built: dict[int, Any] = {}
    depths: dict[int, int] = {}
    mistakes: list[Diagnostic] = []
    for rule in tree.iter_subtrees():
        kids, depth = [], 0
        for kid in rule.children:
            if kid.__class__ is Tree:
                depth = max(depth, depths[id(kid)])
                kids.append(built[id(kid)])
            elif kid.__class__ is Token and kid.type == "NAME":
                kids.append(n.Name(name_of(kid), span=Span(source, kid.start_pos or 0, kid.end_pos or 0)))
                mistakes += checks.name(kids[-1])
            else:
                kids.append(kid)
        span = Span(source, getattr(rule.meta, "start_pos", 0), getattr(rule.meta, "end_pos", 0))
        node = built[id(rule)] = ROWS[rule.data](span, kids)
        depths[id(rule)] = depth + 1
        if depth == checks.DEEPEST:
            mistakes.append(errors.nested_too_deeply(span, checks.DEEPEST))
        for check in checks.CHECKS.get(node.__class__, ()):
            mistakes += check(node)
    return built[id(tree)], mistakes


def documented(parts: list) -> tuple[str | None, tuple]:
    """A docstring, if the first part is one, apart from what follows it."""
    return (parts[0], tuple(parts[1:])) if parts and isinstance(parts[0], str) else (None, tuple(parts))


def body(span: Span, kids: list) -> Body:
    return Body(span.start + 1, *documented(kids))


def head(span: Span, body: Body) -> Span:
    """The stretch up to the colon: what stands in the body has spans of its own."""
    return Span(span.source, span.start, body.start)


def function(span: Span, kids: list) -> n.Function:
    kind, name, params, returns, block = kids
    return n.Function(str(kind), name, params or (), returns, block.doc, block.parts, span=head(span, block))


def with_members(cls: type) -> Row:
    def row(span: Span, kids: list) -> n.Node:
        name, params, members = kids
        return cls(name, params or (), members.doc, members.parts, span=head(span, members))

    return row


def distribution(span: Span, kids: list) -> n.Distribution:
    name, params, variate, members = kids
    return n.Distribution(name, params or (), variate, members.doc, members.parts, span=head(span, members))


def external(span: Span, kids: list) -> n.External:
    kind, name, value, *fields = kids
    block = fields[0] if fields else Body(value.span.end, None, ())
    return n.External(str(kind), name, value, block.doc, block.parts, span=head(span, block))


def branches(kids: list) -> list[tuple[Any, Body]]:
    return list(zip(kids[0:-1:2], kids[1:-1:2], strict=True))


def if_(span: Span, kids: list) -> n.If:
    pairs = branches(kids)
    chosen = tuple((condition, block.parts) for condition, block in pairs)
    return n.If(chosen, kids[-1].parts if kids[-1] else (), span=head(span, pairs[0][1]))


def member_if(span: Span, kids: list) -> n.MemberIf:
    """An elif is an if in the else of the one before."""
    otherwise: tuple[Any, ...] = kids[-1].parts if kids[-1] else ()
    for condition, block in reversed(branches(kids)):
        start = span.start if condition is kids[0] else condition.span.start
        at = Span(span.source, start, block.start)
        otherwise = (n.MemberIf(condition, block.parts, otherwise, span=at),)
    return otherwise[0]


def compare(span: Span, kids: list) -> n.Compare:
    return n.Compare(kids[0], tuple(zip(map(str, kids[1::2]), kids[2::2], strict=True)), span=span)


def compare_none(op: str) -> Row:
    def row(span: Span, kids: list) -> n.Compare:
        none = n.Nothing(span=Span(span.source, span.end - len("None"), span.end))
        return n.Compare(kids[0], ((op, none),), span=span)

    return row


def binary(span: Span, kids: list) -> n.Binary:
    left, op, right = kids
    return n.Binary(str(op), left, right, span=span)


def negate(span: Span, kids: list) -> n.Number | n.Unary:
    operand = kids[1]
    if isinstance(operand, n.Number):
        return n.Number(-operand.value, span=span)
    return n.Unary("-", operand, span=span)


def call(span: Span, kids: list) -> n.Call:
    callee, args = kids
    positional = tuple(a for a in args or () if not isinstance(a, tuple))
    keywords = tuple(a for a in args or () if isinstance(a, tuple))
    return n.Call(callee, positional, keywords, span=span)


def target(span: Span, kids: list) -> n.Name | n.Tuple:
    return kids[0] if len(kids) == 1 else n.Tuple(tuple(kids), span=span)


def plain(cls: type) -> Row:
    return lambda span, kids: cls(*kids, span=span)


def collected(cls: type, *more: Any) -> Row:
    return lambda span, kids: cls(tuple(kids), *more, span=span)


def several(span: Span, kids: list) -> tuple:
    return tuple(kids)


ROWS: dict[str, Row] = {
    # files and their items
    "start": lambda span, kids: documented(kids),
    "docstring": lambda span, kids: cleandoc(kids[0][3:-3]),
    "import_": lambda span, kids: n.Import(kids[0], tuple(kids[1:]), span=span),
    "dotted": several,
    "imported": several,
    "constant": plain(n.Constant),
    "function": function,
    "example": lambda span, kids: n.Example(kids[0], kids[1].doc, kids[1].parts, span=head(span, kids[1])),
    "model": with_members(n.Model),
    "optimizer": with_members(n.Optimizer),
    "distribution": distribution,
    "external": external,
    "params": several,
    "param": plain(n.Param),
    # bodies
    "block": body,
    "body": body,
    "members": body,
    "choice": body,
    "fields": body,
    "field": plain(n.Field),
    "param_decl": lambda span, kids: n.ParamDecl(kids[0], kids[1], *kids[2], span=span),
    "state_decl": lambda span, kids: n.StateDecl(kids[0], kids[1], None, *kids[2], span=span),
    "state_like": lambda span, kids: n.StateDecl(kids[0], None, kids[1], *kids[2], span=span),
    "local": lambda span, kids: n.Local(kids[0], kids[1], *kids[2], span=span),
    "init": lambda span, kids: (kids[0], None),
    "prior": lambda span, kids: (None, kids[0]),
    "member": plain(n.Member),
    "member_if": member_if,
    # statements
    "if_": if_,
    "for_": lambda span, kids: n.For(kids[0], kids[1], kids[2].parts, span=head(span, kids[2])),
    "while_": lambda span, kids: n.While(kids[0], kids[1].parts, span=head(span, kids[1])),
    "target": target,
    "assign": plain(n.Assign),
    "store": lambda span, kids: n.Store(kids[0], kids[2], span=span),
    "augment": lambda span, kids: n.Augment(kids[0], kids[1][0], kids[2], span=span),
    "declare": plain(n.Declare),
    "draw": lambda span, kids: n.Draw(kids[0], None, kids[1], span=span),
    "draw_typed": plain(n.Draw),
    "return_": plain(n.Return),
    "break_": plain(n.Break),
    "require": plain(n.Require),
    "minimize": lambda span, kids: n.Minimize(kids[1], kids[2], kids[3], kids[0] == "maximize", span=span),
    "several": several,
    "update": plain(n.Update),
    "report": collected(n.Report),
    "reported": several,
    "append": plain(n.Append),
    "evaluate": plain(n.Evaluate),
    # expressions
    "tuple": collected(n.Tuple),
    "ternary": plain(n.Ternary),
    "logic_or": lambda span, kids: n.Logic("or", tuple(kids), span=span),
    "logic_and": lambda span, kids: n.Logic("and", tuple(kids), span=span),
    "not_": lambda span, kids: n.Unary("not", kids[0], span=span),
    "compare": compare,
    "is_none": compare_none("is"),
    "is_not_none": compare_none("is not"),
    "range": plain(n.Range),
    "binary": binary,
    "negate": negate,
    "attribute": plain(n.Attribute),
    "call": call,
    "args": several,
    "subscript": lambda span, kids: n.Subscript(kids[0], kids[1] or (), span=span),
    "subscripts": several,
    "slice": plain(n.Slice),
    "index_in": plain(n.IndexIn),
    "ellipsis": plain(n.Ellipsis),
    "name": lambda span, kids: kids[0],
    "number": lambda span, kids: n.Number(number_of(kids[0]), span=span),
    "string": lambda span, kids: n.String(string_of(kids[0]), span=span),
    "true": lambda span, kids: n.Bool(True, span=span),
    "false": lambda span, kids: n.Bool(False, span=span),
    "nothing": plain(n.Nothing),
    "record": collected(n.Record),
    "record_type": collected(n.Record, True),
    "given": several,
    "typed": several,
    "list": collected(n.List),
    "comprehension": plain(n.Comprehension),
}
