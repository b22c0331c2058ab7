"""Patterns: the text of a law (leec/ops/laws.py) as a rule. Both orders of a commutative op are tried."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from leec.ir.graph import Equation, Value
from leec.ops import TABLE
from leec.ops.laws import Law
from leec.passes.rewrite import Rewriter, Rule, Rules

Found = Mapping[str, object]


@dataclass(frozen=True)
class Name:
    """Any value, or any host number, or all arguments; the same wherever the name stands."""

    name: str
    host: bool = False
    rest: bool = False


@dataclass(frozen=True)
class Number:
    """A value whose every entry is this number."""

    number: float


@dataclass(frozen=True)
class Node:
    op: str
    args: tuple[Name | Number | Node, ...]
    params: tuple[tuple[str, object], ...]
    unnamed: bool = False
    once: bool = False


def rules(laws: Iterable[Law], generic: Iterable[Rule] = ()) -> Rules:
    """The laws in their order, by the op at the root of their left side."""
    return Rules(map(compiled, laws), generic)


def compiled(law: Law) -> tuple[str, Rule]:
    """The op a law starts from, and the law as a rule. Raises ValueError for text that is no pattern."""
    pattern = parse_pattern(ast.parse(law.left, mode="eval").body)
    build = law.right if callable(law.right) else _builder(ast.parse(law.right, mode="eval").body)

    def rule(b: Rewriter, equation: Equation) -> Value | None:
        for found in _equation_matches(b, pattern, equation, {}):
            value = build(b, **found)
            if value is not None:
                return value
        return None

    return pattern.op, rule


def parse_pattern(tree: ast.expr) -> Name | Number | Node:
    match tree:
        case ast.Name(id=name):
            return Name(name)
        case ast.Starred(value=ast.Name(id=name)):
            return Name(name, rest=True)
        case ast.Constant() | ast.UnaryOp():
            return Number(ast.literal_eval(tree))
        case ast.Call(func=ast.Name(id="host"), args=[ast.Name(id=name)]):
            return Name(name, host=True)
        case ast.Call(func=ast.Name(id="once" | "unnamed" as kind), args=[inner]):
            node = parse_pattern(inner)
            return Node(node.op, node.args, node.params, unnamed=True, once=kind == "once")
        case ast.Call(func=ast.Name(id=op), args=args, keywords=keywords) if op in TABLE:
            params = tuple((k.arg, _param(k.value)) for k in keywords)
            return Node(op, tuple(map(parse_pattern, args)), params)
    raise ValueError(f"not a pattern: {ast.unparse(tree)}")


def _param(tree: ast.expr) -> object:
    return Name(tree.id) if isinstance(tree, ast.Name) else ast.literal_eval(tree)


# ---- matching


def _matches(b: Rewriter, pattern: Name | Number | Node, value: Value, found: Found, readers: int) -> Iterator[Found]:
    """Every way in which a value is as the pattern says, as what the names stand for.

    `readers` counts those within the pattern: the equation it starts from is not counted as one.
    """
    match pattern:
        case Name(name=name, host=host):
            if found.get(name, value) is value and (not host or value.type.host):
                yield {**found, name: value}
        case Number(number=number):
            if b.constant(value) == number:
                yield found
        case Node():
            equation = b.producer(value)
            hidden = not ((pattern.unnamed and value.named) or (pattern.once and b.uses[value] > readers))
            if equation is not None and equation.op == pattern.op and hidden:
                yield from _equation_matches(b, pattern, equation, found, 1)


def _equation_matches(
    b: Rewriter, pattern: Node, equation: Equation, found: Found, readers: int = 0
) -> Iterator[Found]:
    for key, wanted in pattern.params:
        given = equation.params[key]
        if not isinstance(wanted, Name):
            if given != wanted:
                return
        elif found.get(wanted.name, given) != given:
            return
        else:
            found = {**found, wanted.name: given}
    match pattern.args:
        case (Name(name=name, rest=True),):
            yield {**found, name: equation.args}
        case (_, _) if TABLE[equation.op].commutative:
            yield from _all_match(b, pattern.args, equation.args, found, readers)
            yield from _all_match(b, pattern.args, equation.args[::-1], found, readers)
        case patterns if len(patterns) == len(equation.args):
            yield from _all_match(b, patterns, equation.args, found, readers)


def _all_match(b: Rewriter, patterns: tuple, values: tuple[Value, ...], found: Found, readers: int) -> Iterator[Found]:
    if not patterns:
        yield found
        return
    for first in _matches(b, patterns[0], values[0], found, readers):
        yield from _all_match(b, patterns[1:], values[1:], first, readers)


# ---- building


def _builder(tree: ast.expr) -> Callable[..., Value]:
    """What the text of a right side makes: ops of values, with params that the left side named."""

    def build(b: Rewriter, tree: ast.expr, found: Found) -> Value:
        match tree:
            case ast.Name(id=name):
                return found[name]
            case ast.Call(func=ast.Name(id=op), args=args, keywords=keywords):
                params = {k.arg: _resolved(_param(k.value), found) for k in keywords}
                return b.emit(op, tuple(build(b, a, found) for a in args), params)
        return b.lift(ast.literal_eval(tree))

    return lambda b, **found: build(b, tree, found)


def _resolved(param: object, found: Found) -> object:
    return found[param.name] if isinstance(param, Name) else param
