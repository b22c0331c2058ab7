"""Specs in their one form: text in, text out. Tokens and comments stay what they are, and where they are.

Four blanks a level, two blank lines around the items of a file, one around methods; the form of a line is in
leec/syntax/spacing.py. What was written is compared with what was read before it is given back.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from inspect import cleandoc

from lark import Token

from leec.diagnostics import InternalError, LeeError, Source
from leec.syntax.grammar import parser
from leec.syntax.parse import parse
from leec.syntax.spacing import INDENT, Word, lines_of

COMMENT = re.compile(r"#[^\n]*")
LAYOUT = ("_NL", "_INDENT", "_DEDENT")


@dataclass
class Row:
    """A logical line, or a comment on a line of its own."""

    words: list[Word] = field(default_factory=list)
    comment: str = ""
    level: int = 0
    column: int = 0
    blanks: int = 0  # blank lines before it
    above: list[str] = field(default_factory=list)  # comments read since the last token

    @property
    def opens(self) -> bool:
        return bool(self.words) and self.words[-1].type == "COLON"

    @property
    def first(self) -> str:
        return self.words[0].type if self.words else ""


def format_source(source: Source) -> str:
    """The text in its one form. Raises LeeError for a file with mistakes in its syntax."""
    mistakes = parse(source)[1]
    if mistakes:
        raise LeeError(*mistakes)
    text = source.text.removeprefix("\ufeff").replace("\r\n", "\n") + "\n"
    rows = list(read_rows(text))
    set_comment_levels(rows)
    set_blanks(rows)
    formatted = "\n".join(line for row in rows for line in row_lines(row)).lstrip("\n")
    formatted = formatted + "\n" if formatted else ""
    verify_same(text, formatted)
    first_break = source.text.find("\n")
    crlf = first_break > 0 and source.text[first_break - 1] == "\r"
    return formatted.replace("\n", "\r\n") if crlf else formatted


# ---- rows


def tokens_of(text: str) -> list[Token]:
    return parser().parse_interactive(text).exhaust_lexer()


def read_rows(text: str) -> Iterator[Row]:
    """The logical lines and the comments between them, each with the blank lines before it."""
    row, level, end = Row(), 0, 0
    for token in tokens_of(text):
        if token.type in ("_INDENT", "_DEDENT"):
            level += 1 if token.type == "_INDENT" else -1
            continue
        for match in COMMENT.finditer(text, end, token.start_pos or 0):
            if row.words and "\n" not in text[end : match.start()]:
                row.words[-1].behind = match.group().rstrip()
            else:
                row.above.append(match.group().rstrip())
        end = token.end_pos or 0
        if token.type == "_NL":
            yield from [row] if row.words else [Row(comment=comment) for comment in row.above]
            row = yield from between(token)
        else:
            if not row.words:
                row.level, row.column = level, (token.column or 1) - 1
            row.words.append(Word(token.type, str(token), token.start_pos or 0, row.above))
            row.above = []


def between(newline: Token) -> Generator[Row, None, Row]:
    """The comments behind a line break; returns the row that begins after them."""
    blanks = 0
    for line in newline.split("\n")[1:-1]:
        if line.strip():
            yield Row(comment=line.strip(), column=len(line) - len(line.lstrip()), blanks=blanks)
        blanks = 0 if line.strip() else blanks + 1
    return Row(blanks=blanks)


def set_comment_levels(rows: list[Row]) -> None:
    """A comment belongs to the deepest body that is open there and not deeper than it."""
    columns = [0]  # of the lines of each level, as they were written
    for i, row in enumerate(rows):
        if row.words:
            columns[row.level :] = [row.column]
            continue
        below = next((other for other in rows[i + 1 :] if other.words), None)
        lowest = below.level if below else 0
        known = [*columns, below.column] if below and below.level == len(columns) else columns
        fitting = [level for level in range(lowest, len(known)) if known[level] <= row.column]
        row.level = max(fitting, default=lowest)


# ---- blank lines


def set_blanks(rows: list[Row]) -> None:
    """The blank lines before each row: what stands between two logical lines goes before the comments of the second."""
    heads: list[str] = []  # the first token of the head of each level
    above: Row | None = None
    start = 0
    for i, row in enumerate(rows):
        if not row.words:
            continue
        sibling = "".join(heads[row.level : row.level + 1])
        parent = "".join(heads[row.level - 1 : row.level])
        heads[row.level :] = [row.first]
        own = i
        while own > start and rows[own].blanks == 0 and rows[own - 1].level == row.level:
            own -= 1
        for comment in rows[start:own]:
            comment.blanks = loose(above, comment)
        beside_method = parent in ("_MODEL", "_OPTIMIZER", "_DISTRIBUTION") and "DEF" in (row.first, sibling)
        rows[own].blanks = wanted(above, row, rows[own].blanks, beside_method)
        for attached in rows[own + 1 : i + 1]:
            attached.blanks = 0
        above, start = row, i + 1
    for comment in rows[start:]:
        comment.blanks = loose(above, comment)


def wanted(above: Row | None, row: Row, blanks: int, beside_method: bool) -> int:
    """The blank lines between two logical lines."""
    if above is None:
        return min(blanks, 2)
    if row.level == 0:
        block = row.opens or above.level > 0 or above.opens
        return 2 if block else max(min(blanks, 1), above.first == "LONG_STRING")
    if above.opens:
        return 0
    return 1 if beside_method and above.first != "LONG_STRING" else min(blanks, 1)


def loose(above: Row | None, comment: Row) -> int:
    """The blank lines before a comment that stands apart from the line below it."""
    if above is None or (above.opens and comment.level > above.level):
        return 0
    if comment.level == 0:
        return 2 if above.level > 0 else min(comment.blanks, 2)
    return min(comment.blanks, 1)


# ---- text


def row_lines(row: Row) -> list[str]:
    indent = INDENT * row.level
    if row.comment:
        lines = [" " * indent + row.comment]
    elif row.first == "LONG_STRING":
        row.words[0].text = moved(row.words[0].text, indent - row.column)
        lines = lines_of(row.words, indent)
    else:
        lines = lines_of(row.words, indent)
    return [""] * row.blanks + lines


def moved(docstring: str, distance: int) -> str:
    """A docstring whose lines move with its first one, as far as they can."""
    first, *lines = docstring.split("\n")
    if distance < 0 and all(not line[:-distance].strip() for line in lines):
        return "\n".join([first, *(line[-distance:] for line in lines)])
    return "\n".join([first, *(" " * max(distance, 0) * bool(line.strip()) + line for line in lines)])


def verify_same(text: str, formatted: str) -> None:
    """Raise InternalError unless two texts have the same tokens, levels and comments."""
    if content(text) != content(formatted + "\n"):
        raise InternalError("formatting changed the tokens or the comments of a spec")


def content(text: str) -> tuple[list[tuple[str, str]], list[str]]:
    tokens = tokens_of(text)
    words = [(t.type, value(t)) for t in tokens]
    ends = [0, *(t.end_pos for t in tokens if t.type not in LAYOUT)]
    starts = [*(t.start_pos for t in tokens if t.type not in LAYOUT), len(text)]
    gaps = (text[a:b] for a, b in zip(ends, starts, strict=True))
    return words, [comment.rstrip() for between in gaps for comment in COMMENT.findall(between)]


def value(token: Token) -> str:
    if token.type in LAYOUT:
        return ""
    return cleandoc(token[3:-3]) if token.type == "LONG_STRING" else str(token)
