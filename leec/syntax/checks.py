"""What parses and is a mistake all the same: by class of node, one function a kind of mistake."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from leec.diagnostics import Diagnostic, Span, lexical
from leec.diagnostics import syntax as errors
from leec.syntax import nodes as n
from leec.syntax.literals import ESCAPES, name_of

DEEPEST = 200  # levels of nesting; what walks the tree later may recurse
LARGEST = 2**63 - 1

Mistakes = Iterator[Diagnostic]


# ---- names and literals


def name(node: n.Name) -> Mistakes:
    text = node.span.text
    if not text.isascii() and not text.isidentifier():
        yield unreadable_name(node.span)
    elif text in ("True", "False"):
        yield errors.python_literal(node.span)


def unreadable_name(span: Span) -> Diagnostic:
    """A name with letters that are none: superscripts, subscripts, circled digits."""
    found = re.fullmatch(r"(.*?)([²³¹⁰⁴-⁹]*)", span.text, re.DOTALL)
    base, power = found.groups() if found else (span.text, "")
    if power and base.isidentifier():
        return lexical.not_a_name(span, f"{base} ** {name_of(power)}", "the power")
    plain = name_of(span.text)
    return lexical.not_a_name(span, plain if plain.isidentifier() else "", "another name")


def number(node: n.Number) -> Mistakes:
    if isinstance(node.value, int) and abs(node.value) > LARGEST:
        yield lexical.number_too_large(node.span, "2**63 - 1")
    elif node.value in (float("inf"), float("-inf")):
        yield lexical.number_too_large(node.span, "about 1.8e308; infinity is `inf`")
    elif isinstance(node.value, float) and node.span.text.lstrip("- ").replace("_", "").isdigit():
        yield lexical.number_too_large(node.span, "2**63 - 1; a float has a point or an exponent")


def string(node: n.String) -> Mistakes:
    for escape in re.finditer(r"\\(.)", node.span.text):
        if escape[1] not in ESCAPES:
            start = node.span.start + escape.start()
            yield lexical.unknown_escape(Span(node.span.source, start, start + 2))


# ---- expressions


def call(node: n.Call) -> Mistakes:
    yield from no_repeats((key for key, _ in node.keywords), "the argument")
    if node.keywords:
        first = node.keywords[0][0].span
        late = next((arg for arg in node.args if arg.span.start > first.start), None)
        if late is not None:
            yield errors.positional_after_keyword(late.span, first)
    if isinstance(node.function, n.Number):
        at = node.function.span.end
        yield errors.number_as_object(node.function.span, (Span(node.span.source, at, at), " * "))


def no_repeats(names: Iterable[n.Name], what: str) -> Mistakes:
    first: dict[str, Span] = {}
    for key in names:
        if key.id in first and key.id != "_":
            yield errors.given_twice(key.span, first[key.id], what)
        first.setdefault(key.id, key.span)


def attribute(node: n.Attribute) -> Mistakes:
    if isinstance(node.value, n.Number):
        yield errors.number_as_object(node.value.span, None)


def subscript(node: n.Subscript) -> Mistakes:
    for item in node.items:
        if isinstance(item, n.Range):
            yield errors.range_in_subscript(item.span, item.first.span.text, item.last.span.text, after(item.last))


def after(last: n.Expr) -> str:
    """The text of what comes next after an index."""
    if isinstance(last, n.Number) and isinstance(last.value, int):
        return str(last.value + 1)
    if isinstance(last, n.Binary) and last.op == "-" and isinstance(last.right, n.Number) and last.right.value == 1:
        return last.left.span.text
    return f"{last.span.text} + 1"


def compare(node: n.Compare) -> Mistakes:
    for op, right in node.rest:
        if op in ("==", "!=") and isinstance(right, n.Nothing) and len(node.rest) == 1:
            asked = "is None" if op == "==" else "is not None"
            yield errors.compared_with_none(node.span, f"{node.first.span.text} {asked}")


def record(node: n.Record) -> Mistakes:
    yield from no_repeats((key for key, _ in node.fields), "the field")


# ---- statements


def target(node: n.Assign | n.Store | n.Augment) -> Mistakes:
    places = [node.target]
    while places:
        place = places.pop(0)
        if isinstance(place, n.Tuple) and place.items:
            places += place.items
        elif not isinstance(place, n.Name | n.Subscript | n.Attribute):
            yield errors.not_assignable(place.span, WHAT.get(place.__class__, "the result of an operation"))


def drawn(node: n.Draw) -> Mistakes:
    if not isinstance(node.target, n.Name | n.Subscript):
        yield errors.not_assignable(node.target.span, WHAT.get(node.target.__class__, "the result of an operation"))


WHAT = {
    n.Call: "the result of a call",
    n.Number: "a number",
    n.String: "a text",
    n.Bool: "a truth value",
    n.Nothing: "None",
    n.List: "a list",
    n.Record: "a record",
    n.Tuple: "an empty tuple",
}


def evaluate(node: n.Evaluate) -> Mistakes:
    value = node.value
    if isinstance(value, n.Call):
        return
    if isinstance(value, n.Compare) and len(value.rest) == 1:
        yield compared_in_vain(value)
    elif isinstance(value, n.Name) and value.id in NO_STATEMENT:
        yield errors.useless_expression(node.span, (NO_STATEMENT[value.id],))
    else:
        yield errors.useless_expression(node.span, ("give it a name, `y = ..`, or give it back with `return`",))


NO_STATEMENT = {
    "pass": "there is no `pass`: leave out what does nothing",
    "continue": "there is no `continue`: put the rest of the body under an `if`",
}


def compared_in_vain(node: n.Compare) -> Diagnostic:
    """`x <-1` and `x == 3` where something was to change."""
    (op, right), source = node.rest[0], node.span.source
    between = Span(source, node.first.span.end, right.span.start)
    if op == "<" and right.span.text.startswith("-"):
        arrow = Span(source, between.start, right.span.start + 1)
        helps = ("`<-` with a blank behind it stores a value; `<` and `-` compare with a negative one",)
        return errors.useless_expression(node.span, helps, errors.fix("store the value", (arrow, " <- ")))
    if op == "==":
        fixes = errors.fix("write `=`", (between, " = "))
        return errors.useless_expression(node.span, ("`==` compares; `=` gives a name to a value",), fixes)
    return errors.useless_expression(node.span, ("a condition that must hold is written `require ..`",))


def report(node: n.Report) -> Mistakes:
    for label, value in node.items:
        if value is None and not isinstance(label, n.Name):
            yield errors.report_without_label(label.span)


# ---- declarations


def parameters(node: n.Function | n.Model | n.Optimizer | n.Distribution) -> Mistakes:
    yield from no_repeats((param.name for param in node.params), "the parameter")
    default = next((param for param in node.params if param.default is not None), None)
    for param in node.params:
        if default and param.default is None and param.span.start > default.span.start:
            yield errors.default_before_required(param.name.span, default.span)
            return


def methods(node: n.Model | n.Optimizer | n.Distribution) -> Mistakes:
    for method in node.members:
        if isinstance(method, n.Function) and method.params and method.params[0].name.id == "self":
            yield errors.self_parameter(method.params[0].span, tuple(without_self(method)))


def without_self(method: n.Function) -> Iterator[tuple[Span, str]]:
    """The edits that take the parameter and every `self.` out."""
    first, *others = method.params
    end = others[0].span.start if others else first.span.end
    yield Span(first.span.source, first.span.start, end), ""
    for node in inside(method.body):
        if isinstance(node, n.Attribute) and isinstance(node.value, n.Name) and node.value.id == "self":
            yield Span(node.span.source, node.value.span.start, node.name.span.start), ""


def inside(value: Any) -> Iterator[n.Node]:
    """Every node of a tree, and of the tuples in it."""
    if isinstance(value, n.Node):
        yield value
        value = tuple(getattr(value, name) for name in value.__match_args__)
    if isinstance(value, tuple):
        for part in value:
            yield from inside(part)


CHECKS: dict[type, tuple[Callable[[Any], Mistakes], ...]] = {
    n.Number: (number,),
    n.String: (string,),
    n.Call: (call,),
    n.Attribute: (attribute,),
    n.Subscript: (subscript,),
    n.Compare: (compare,),
    n.Record: (record,),
    n.Assign: (target,),
    n.Store: (target,),
    n.Augment: (target,),
    n.Draw: (drawn,),
    n.Evaluate: (evaluate,),
    n.Report: (report,),
    n.Function: (parameters,),
    n.Model: (parameters, methods),
    n.Optimizer: (parameters, methods),
    n.Distribution: (parameters, methods),
}
