"""Mistakes in the text before grammar: characters, names, numbers, strings, brackets and indentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unicodedata import name as unicode_name

from leec.diagnostics.record import Diagnostic, Edit, Fix, Label, Span


def character(char: str) -> str:
    """A character as a message names it: itself where it can be seen, and its number and name."""
    seen = f"`{char}` " if char.isprintable() and not char.isspace() else ""
    return f"{seen}(U+{ord(char):04X} {unicode_name(char, 'a control character').lower()})"


def replaced(title: str, edits: Iterable[tuple[Span, str]], safe: bool = True) -> tuple[Fix, ...]:
    return (Fix(title, tuple(Edit(span, text) for span, text in edits), safe),)


# ---- characters


def full_width(edits: Sequence[tuple[Span, str]]) -> Diagnostic:
    """All of one line together: they come from one input method left on."""
    (span, ours), more = edits[0], len(edits) - 1
    message = f"{character(span.text)} is not `{ours}`"
    notes = (f"{more} more on this line",) if more else ()
    fixes = replaced("write ASCII punctuation and digits", edits)
    return Diagnostic("LEE004", "full-width-punctuation", message, Label(span), notes=notes, fixes=fixes)


def symbol(span: Span, ours: str, advice: str = "") -> Diagnostic:
    message = f"{character(span.text)} is written " + (f"`{ours}`" if ours else advice)
    fixes = replaced(f"write `{ours}`", [(span, ours)]) if ours else ()
    return Diagnostic("LEE005", "symbol", message, Label(span), fixes=fixes)


def invisible_character(edits: Sequence[tuple[Span, str]]) -> Diagnostic:
    (span, ours), more = edits[0], len(edits) - 1
    message = f"{character(span.text)} looks like {'a space' if ours else 'nothing'} and is another character"
    notes = (f"{more} more on this line",) if more else ()
    fixes = replaced("write spaces" if ours else "remove it", edits)
    return Diagnostic("LEE006", "invisible-character", message, Label(span), notes=notes, fixes=fixes)


def stray_character(span: Span, help: str = "") -> Diagnostic:
    message = f"{character(span.text)} has no meaning here"
    return Diagnostic("LEE007", "stray-character", message, Label(span), helps=(help,) if help else ())


def foreign_operator(span: Span, ours: str, advice: str = "", safe: bool = True) -> Diagnostic:
    message = f"there is no operator `{span.text}`" + (f"; it is written `{ours.strip()}`" if ours else "")
    fixes = replaced(f"write `{ours.strip()}`", [(span, ours)], safe) if ours else ()
    helps = (advice,) if advice else ()
    return Diagnostic("LEE008", "foreign-operator", message, Label(span), helps=helps, fixes=fixes)


# ---- names, numbers, strings


def not_a_name(span: Span, ours: str, meaning: str) -> Diagnostic:
    message = f"`{span.text}` is not a name: superscripts and subscripts are not letters"
    fixes = replaced(f"write `{ours}`, {meaning}", [(span, ours)], safe=False) if ours else ()
    return Diagnostic("LEE009", "not-a-name", message, Label(span), fixes=fixes)


def malformed_number(span: Span, label: str, ours: str, safe: bool = True) -> Diagnostic:
    fixes = replaced(f"write `{ours}`", [(span, ours)], safe) if ours else ()
    return Diagnostic("LEE010", "malformed-number", f"`{span.text}` is not a number", Label(span, label), fixes=fixes)


def number_too_large(span: Span, limit: str) -> Diagnostic:
    return Diagnostic("LEE011", "number-too-large", "this number is too large", Label(span, f"the limit is {limit}"))


def unclosed_string(span: Span, quotes: str) -> Diagnostic:
    what = "text" if quotes == '"' else "docstring"
    return Diagnostic("LEE012", "unclosed-string", f"this {what} is never closed", Label(span, f"no {quotes} follows"))


def wrong_quotes(span: Span, ours: str) -> Diagnostic:
    fixes = replaced(f"write {ours}", [(span, ours)])
    return Diagnostic("LEE013", "wrong-quotes", 'text stands between double quotes: "', Label(span), fixes=fixes)


def unknown_escape(span: Span) -> Diagnostic:
    helps = ('there are \\n, \\t, \\" and \\\\; a backslash by itself is written \\\\',)
    return Diagnostic("LEE014", "unknown-escape", f"`{span.text}` has no meaning in a text", Label(span), helps=helps)


# ---- brackets and lines


def unclosed_bracket(opening: Span, found: Span | None) -> Diagnostic:
    message = f"`{opening.text}` of line {opening.line} is never closed"
    if found is None:
        return Diagnostic("LEE015", "unclosed-bracket", message, Label(opening, "opened here"))
    at = Label(found, f"closes an outer bracket before `{opening.text}` is closed")
    return Diagnostic("LEE015", "unclosed-bracket", message, Label(opening, "opened here"), (at,))


def unmatched_bracket(closing: Span, opening: Span | None, ours: str) -> Diagnostic:
    """A closing bracket without an opening one, or where another one, `ours`, should close."""
    if opening is None:
        message = f"`{closing.text}` closes nothing"
        fixes = replaced(f"remove `{closing.text}`", [(closing, "")], safe=False)
        return Diagnostic("LEE016", "unmatched-bracket", message, Label(closing), fixes=fixes)
    message = f"`{opening.text}` of line {opening.line} is closed by `{closing.text}`"
    fixes = replaced(f"write `{ours}`", [(closing, ours)], safe=False)
    opened = (Label(opening, "opened here"),)
    return Diagnostic(
        "LEE016", "unmatched-bracket", message, Label(closing, f"should be `{ours}`"), opened, fixes=fixes
    )


def tabs(spans: Sequence[Span]) -> Diagnostic:
    """All of a file together: they come from one setting of an editor."""
    notes = (f"{len(spans) - 1} more lines have tabs",) if len(spans) > 1 else ()
    edits = [(span, span.text.expandtabs(4)) for span in spans]
    fixes = replaced("write four spaces for each tab", edits)
    message = "a tab indents this line: lines are indented by spaces"
    return Diagnostic("LEE017", "tab", message, Label(spans[0]), notes=notes, fixes=fixes)


def indentation(span: Span, depth: int, opened: Sequence[tuple[int, Span]]) -> Diagnostic:
    """A line between the depths of others: `opened` are the depths it may have, with their lines."""
    lines = tuple(Label(at, f"{spaces(d)} here") for d, at in opened)
    fits = "which fits no line above it" if len(opened) > 1 else "where it belongs to deeper lines"
    message = f"this line is indented by {spaces(depth)}, {fits}"
    return Diagnostic("LEE018", "indentation", message, Label(span), lines)


def unexpected_indentation(span: Span, above: Span | None) -> Diagnostic:
    if above is None:
        message = "the first line is indented"
        return Diagnostic("LEE019", "unexpected-indentation", message, Label(span))
    related = (Label(above, "this line opens nothing: it does not end in a colon"),)
    message = "this line is indented deeper than the one above it, which has no body"
    return Diagnostic("LEE019", "unexpected-indentation", message, Label(span), related)


def spaces(count: int) -> str:
    return "no spaces" if count == 0 else f"{count} space{'s' * (count != 1)}"


def missing_body(head: Span, follows: Span | None) -> Diagnostic:
    related = (Label(follows, "this line is not indented deeper"),) if follows else ()
    helps = ("indent the lines that belong to it by four spaces",)
    message = "what belongs to this line must follow, indented"
    return Diagnostic("LEE020", "missing-body", message, Label(head), related, helps=helps)


def missing_colon(end: Span, word: str) -> Diagnostic:
    fixes = replaced("put a colon at the end", [(end, ":")])
    return Diagnostic("LEE021", "missing-colon", f"the line of `{word}` ends in a colon", Label(end), fixes=fixes)


def one_line_block(rest: Span, word: str, indent: int) -> Diagnostic:
    line_break = Span(rest.source, rest.start - gap(rest), rest.start)
    fixes = replaced("begin a new line", [(line_break, "\n" + " " * (indent + 4))])
    message = f"the body of `{word}` stands on lines of its own"
    return Diagnostic("LEE022", "one-line-block", message, Label(rest), fixes=fixes)


def gap(rest: Span) -> int:
    """The number of blanks before a stretch."""
    before = rest.source.text[: rest.start]
    return len(before) - len(before.rstrip(" \t"))


def line_continuation(span: Span) -> Diagnostic:
    """At a backslash, or at an operator that ends its line."""
    message = f"`{span.text}` at the end of a line does not continue it"
    helps = ("a line goes on while a bracket is open: put the expression into parentheses",)
    return Diagnostic("LEE023", "line-continuation", message, Label(span), helps=helps)


def semicolon(span: Span, line_break: tuple[Span, str] | None) -> Diagnostic:
    """At the end of a line, or where a new line must begin."""
    message = "every statement has a line of its own" if line_break else "a statement ends with its line, without `;`"
    fixes = (
        replaced("begin a new line", [line_break], safe=False) if line_break else replaced("remove it", [(span, "")])
    )
    return Diagnostic("LEE024", "semicolon", message, Label(span), fixes=fixes)
