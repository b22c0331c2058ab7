"""Mistakes of grammar, and what parses and means nothing: codes from LEE001, except those of single characters."""

from __future__ import annotations

from leec.diagnostics.record import Diagnostic, Edit, Fix, Label, Span


def shown(span: Span) -> str:
    """What stands at a place, as a message names it."""
    text = span.text.strip()
    return f"`{text}`" if text else "the end of the line"


def fix(title: str, *edits: tuple[Span, str], safe: bool = False) -> tuple[Fix, ...]:
    return (Fix(title, tuple(Edit(span, text) for span, text in edits), safe),)


# ---- what does not parse


def unexpected(span: Span, expected: str) -> Diagnostic:
    message = f"{shown(span)} cannot stand here" if span.text.strip() else "this line is not complete"
    return Diagnostic("LEE001", "unexpected", message, Label(span, f"expected {expected}" if expected else ""))


def nested_too_deeply(span: Span, limit: int) -> Diagnostic:
    message = f"this nests deeper than {limit} levels"
    return Diagnostic("LEE002", "nested-too-deeply", message, Label(span), helps=("give the parts names of their own",))


def malformed(span: Span, message: str, help: str) -> Diagnostic:
    """A mistake of grammar/mistakes.toml, known by an example of it."""
    return Diagnostic("LEE003", "malformed", message, Label(span), helps=(help,) if help else ())


def assignment_in_condition(span: Span, word: str) -> Diagnostic:
    message = f"`=` gives a name to a value; the condition of `{word}` compares with `==`"
    return Diagnostic("LEE030", "assignment-in-condition", message, Label(span), fixes=fix("write `==`", (span, "==")))


def misplaced(span: Span, word: str, where: str, place: str) -> Diagnostic:
    message = f"{word} cannot stand {where}"
    return Diagnostic("LEE031", "misplaced", message, Label(span), helps=(f"it stands {place}",))


def missing_separator(between: Span, left: Span, right: Span) -> Diagnostic:
    message = f"nothing connects {shown(left)} and {shown(right)}"
    label = "an operator or a comma is missing here"
    return Diagnostic("LEE032", "missing-separator", message, Label(right, label), (Label(left),))


def foreign_construct(span: Span, message: str, help: str) -> Diagnostic:
    """A word of another language, from grammar/mistakes.toml."""
    return Diagnostic("LEE033", "foreign-construct", message, Label(span), helps=(help,))


def missing_operand(operator: Span, found: Span) -> Diagnostic:
    message = f"`{operator.text}` needs something on its right"
    return Diagnostic("LEE034", "missing-operand", message, Label(operator, f"followed by {shown(found)}"))


def reserved_word(span: Span) -> Diagnostic:
    message = f"`{span.text}` is a word of the language and cannot be a name"
    helps = (f"`{span.text}_` can",)
    return Diagnostic("LEE035", "reserved-word", message, Label(span), helps=helps)


def misplaced_docstring(span: Span) -> Diagnostic:
    message = "a docstring stands first in a file, or first in the body that it describes"
    first = Span(span.source, span.start, span.start + len(span.text.partition("\n")[0]))
    return Diagnostic("LEE036", "misplaced-docstring", message, Label(first), helps=("a remark begins with #",))


def nothing_but_docstring(span: Span) -> Diagnostic:
    message = "a body needs at least one line beside its docstring"
    return Diagnostic("LEE037", "nothing-but-docstring", message, Label(span))


# ---- what parses and means nothing


def useless_expression(span: Span, helps: tuple[str, ...], fixes: tuple[Fix, ...] = ()) -> Diagnostic:
    message = "this value is computed and not used"
    return Diagnostic("LEE040", "useless-expression", message, Label(span), helps=helps, fixes=fixes)


def not_assignable(target: Span, what: str) -> Diagnostic:
    message = f"{what} cannot be given a value"
    helps = ("a name, an entry `x[i]`, a part `net.w`, or several of these with commas can",)
    return Diagnostic("LEE041", "not-assignable", message, Label(target), helps=helps)


def given_twice(name: Span, first: Span, what: str) -> Diagnostic:
    message = f"{what} `{name.text}` is given twice"
    return Diagnostic("LEE042", "given-twice", message, Label(name, "here again"), (Label(first, "given here"),))


def positional_after_keyword(argument: Span, keyword: Span) -> Diagnostic:
    message = "an argument without a name stands after one with a name"
    return Diagnostic(
        "LEE043", "positional-after-keyword", message, Label(argument), (Label(keyword, "the first with a name"),)
    )


def range_in_subscript(span: Span, first: str, last: str, stop: str) -> Diagnostic:
    message = "a range `a..b` is not a subscript"
    helps = (f"a slice leaves its end out: `{first}:{stop}` takes the entries {first} to {last}",)
    fixes = fix("write a slice", (span, f"{first}:{stop}"))
    return Diagnostic("LEE044", "range-in-subscript", message, Label(span), helps=helps, fixes=fixes)


def number_as_object(span: Span, product: tuple[Span, str] | None) -> Diagnostic:
    message = f"{shown(span)} is a number: it has no parts and cannot be called"
    fixes = fix("write the product", product) if product else ()
    return Diagnostic("LEE045", "number-as-object", message, Label(span), fixes=fixes)


def python_literal(span: Span) -> Diagnostic:
    ours = span.text.lower()
    message = f"`{span.text}` is written `{ours}`"
    return Diagnostic(
        "LEE046", "python-literal", message, Label(span), fixes=fix(f"write `{ours}`", (span, ours), safe=True)
    )


def compared_with_none(span: Span, ours: str) -> Diagnostic:
    message = "whether something is absent is asked with `is None` and `is not None`"
    fixes = fix(f"write `{ours}`", (span, ours), safe=True)
    return Diagnostic("LEE047", "compared-with-none", message, Label(span), fixes=fixes)


def self_parameter(span: Span, edits: tuple[tuple[Span, str], ...]) -> Diagnostic:
    message = "a method has no `self`: it sees the members of its model by their names"
    return Diagnostic(
        "LEE048", "self-parameter", message, Label(span), fixes=fix("leave `self` out", *edits, safe=True)
    )


def report_without_label(span: Span) -> Diagnostic:
    message = "a value that is not a name needs a label"
    helps = (f"report name = {span.text.partition(chr(10))[0]}",)
    return Diagnostic("LEE049", "report-without-label", message, Label(span), helps=helps)


def default_before_required(required: Span, default: Span) -> Diagnostic:
    message = f"`{required.text}` has no default and stands after a parameter that has one"
    return Diagnostic("LEE050", "default-before-required", message, Label(required), (Label(default, "has a default"),))
