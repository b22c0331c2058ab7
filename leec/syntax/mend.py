"""Mistakes of single tokens: each is reported, and a stand-in of equal length lets the reading go on.

The mended text has the length of the text, so that every offset stays true.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from leec.diagnostics import Diagnostic, Source, Span
from leec.diagnostics import lexical as errors
from leec.syntax.characters import ADVICE, HELP, INVISIBLE, SYMBOLS, WIDE
from leec.syntax.checks import unreadable_name
from leec.syntax.tokens import FOREIGN, RESERVED, Piece, scan

Mended = tuple[str, list[Diagnostic]]  # what to read instead, and the reports
CODE_LINE = re.compile(
    r"[ ]*(?:(?:def|loss|metric|train|model|optimizer|distribution|example)\b.*:|return\b.*|.*[^=<>!]=[^=].*)\s*$"
)


def mend(source: Source, text: str) -> Mended:
    text, reports = mend_docstrings(source, text)
    read: list[str] = []
    typed: dict[tuple[int, bool], list[tuple[Span, str]]] = {}
    for piece in scan(text):
        span = Span(source, piece.start, min(piece.end, len(source.text)))
        ours = WIDE.get(piece.text, INVISIBLE.get(piece.text)) if piece.kind == "stray" else None
        if ours is not None:  # one report a line for all of them
            typed.setdefault((span.line, piece.text in WIDE), []).append((span, ours))
            stand_in = ours or " "
        elif piece.kind in RULES:
            stand_in, found = RULES[piece.kind](span, piece)
            reports += found
        else:
            stand_in = piece.text
        read.append(stand_in)
    reports += (errors.full_width(e) if wide else errors.invisible_character(e) for (_, wide), e in typed.items())
    return "".join(read), reports


# ---- docstrings


def mend_docstrings(source: Source, text: str) -> Mended:
    """Docstrings that are not closed, as comments up to the first line that looks like code."""
    reports: list[Diagnostic] = []
    while (opened := unclosed_docstring(text)) is not None and len(reports) < 20:
        line_end = text.find("\n", opened) if "\n" in text[opened:] else len(text)
        reports.append(errors.unclosed_string(Span(source, opened, min(line_end, len(source.text))), '"""'))
        lines = text[opened:].splitlines(keepends=True)
        code = next((i for i, line in enumerate(lines[1:], 1) if CODE_LINE.match(line)), len(lines))
        comments = "".join("#" + line[1:] if line.strip() else line for line in lines[:code])
        text = text[:opened] + comments + "".join(lines[code:])
    return text, reports


def unclosed_docstring(text: str) -> int | None:
    """Where the first docstring without an end begins. One that ends before other text took the next one's start."""
    pieces = [p for p in scan(text) if p.kind not in ("blank", "comment")]
    for piece, after in zip(pieces, [*pieces[1:], None], strict=False):
        paired_wrongly = piece.kind == "docstring" and "\n" in piece.text and after and after.kind != "newline"
        if paired_wrongly or piece.kind == "open_docstring":
            return piece.start
    return None


# ---- single tokens


def open_string(span: Span, piece: Piece) -> Mended:
    closed = '"' + "x" * (len(piece.text) - 2) + '"' if len(piece.text) > 1 else "0"
    return closed, [errors.unclosed_string(span, '"')]


def quoted(span: Span, piece: Piece) -> Mended:
    inner = piece.text[1:-1]
    ours = '"' + inner.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return '"' + "x" * len(inner) + '"', [errors.wrong_quotes(span, ours)]


def bare_point(span: Span, piece: Piece) -> Mended:
    ours = "0" + piece.text if piece.text.startswith(".") else piece.text + "0"
    label = "digits stand on both sides of the point"
    return piece.text.replace(".", "0"), [errors.malformed_number(span, label, ours)]


def glued(span: Span, piece: Piece) -> Mended:
    product = re.fullmatch(r"([0-9]+)([^\W\d_](?!\d)\w*)", piece.text)
    if product and product[2] in RESERVED:
        product = None
    ours = f"{product[1]} * {product[2]}" if product else ""
    label = "a product is written with `*`" if product else "digits and letters run together"
    return "0" * len(piece.text), [errors.malformed_number(span, label, ours, safe=False)]


def word(span: Span, piece: Piece) -> Mended:
    if piece.text.isascii() or piece.text.isidentifier():
        return piece.text, []
    return "_" * len(piece.text), [unreadable_name(span)]


def joined(span: Span, piece: Piece) -> Mended:
    backslash = Span(span.source, span.start, span.start + 1)
    return " " * len(piece.text), [errors.line_continuation(backslash)]


def foreign(span: Span, piece: Piece) -> Mended:
    ours, stand_in = FOREIGN[piece.text]
    advice = {"++": "write `i = i + 1`", "=>": "a function that is passed on has a `def` of its own"}
    usual = f"write `x = x {piece.text[:-1]} ..`" if piece.text.endswith("=") and not ours else ""
    help = advice.get(piece.text, usual)
    return stand_in, [errors.foreign_operator(span, ours, help, safe=piece.text not in ("!", ":="))]


def stray(span: Span, piece: Piece) -> Mended:
    text = piece.text
    if text in FOREIGN:
        return foreign(span, piece)
    if text in SYMBOLS:
        ours = SYMBOLS[text]
        return (ours if len(ours) == 1 else ours[0] if ours[0] in "<>" else " "), [errors.symbol(span, ours)]
    if text in ADVICE:
        return " ", [errors.symbol(span, "", ADVICE[text])]
    if text == ";":
        return " ", [semicolon(span)]
    if text == "}" and "{" in span.source.text[: span.start]:
        return ")", []  # reported at the opening one
    return "(" if text == "{" else " ", [errors.stray_character(span, HELP.get(text, ""))]


def semicolon(span: Span) -> Diagnostic:
    """At the end of a line it can go; between statements a new line can begin."""
    line, start = span.source.line(span.line), span.source.line_starts[span.line - 1]
    rest = line[span.end - start :]
    if not rest.partition("#")[0].strip():
        return errors.semicolon(span, None)
    indent = line[: len(line) - len(line.lstrip())]
    blanks = len(rest) - len(rest.lstrip())
    return errors.semicolon(span, (Span(span.source, span.start, span.end + blanks), "\n" + indent))


RULES: dict[str, Callable[[Span, Piece], Mended]] = {
    "open_string": open_string,
    "quoted": quoted,
    "bare_point": bare_point,
    "glued": glued,
    "word": word,
    "joined": joined,
    "foreign": foreign,
    "stray": stray,
}
