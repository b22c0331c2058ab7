"""Broken text as logical lines, and the mistakes of its brackets.

A line that goes on within brackets is one logical line. Where a bracket is never closed, the line ends
before the next one that begins a statement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from leec.diagnostics import Diagnostic, Source, Span
from leec.diagnostics import lexical as errors
from leec.syntax.tokens import Piece, scan

PAIRS = {")": "(", "]": "["}
HARD_HEADS = ("def", "if", "elif", "else", "for", "while")
SOFT_HEAD = re.compile(r"(loss|metric|train|model|optimizer|distribution|example)[ \t]+[^\W\d]\w*[ \t]*(\(|:|$)")
BEGINS_STATEMENT = re.compile(
    r"(def|return|while|break|elif)\b"
    r"|(if|for|else)\b.*:[ \t]*$"
    r"|(param|state|require|minimize|maximize|report|append)[ \t]+[^\W\d]"
    r"|from[ \t]+[\w.]+[ \t]+import\b"
)
BEGINS_LINE = re.compile(r"[^\W\d][\w.]*(\[[^\]]*\])?([ \t]*,[ \t]*\w+)*[ \t]*(=(?!=)|<-[ \t]|:.*=|~)")


@dataclass(eq=False)
class Line:
    """A logical line: its tokens, and where it stands."""

    source: Source
    pieces: list[Piece] = field(default_factory=list)
    indent: int = 0
    level: int = 0
    text: str = ""  # what is read for it
    reported: bool = False  # whether a mistake was found in it, so that what follows from it is not reported
    doubtful: bool = False  # whether the mistake is at its beginning, so that even its indentation may be wrong
    closed: bool = True  # whether its brackets are
    takes_body: bool = True  # whether a colon at its end asks for a body
    tabbed: bool = False  # whether tabs indent it, which is reported for all lines together

    @property
    def start(self) -> int:
        return self.pieces[0].start

    @property
    def end(self) -> int:
        return self.pieces[-1].end

    @property
    def span(self) -> Span:
        return Span(self.source, self.start, self.end)

    @property
    def first(self) -> str:
        return self.pieces[0].text

    @property
    def opens(self) -> bool:
        """Whether a body must follow."""
        return self.takes_body and self.text.endswith(":")

    @property
    def head_word(self) -> str:
        """The word that asks for a body, or nothing."""
        return self.first if self.first in HARD_HEADS or SOFT_HEAD.match(self.text) else ""


class LineReader:
    """Reads the logical lines of a text once, from top to bottom."""

    def __init__(self, source: Source, text: str, reported: set[int]):
        self.source, self.text = source, text
        self.reported = reported  # numbers of the lines with mistakes that are known
        self.lines: list[Line] = []
        self.mistakes: list[Diagnostic] = []
        self.brackets: dict[int, str] = {}  # those that are read as another one, by offset
        self.open: list[Piece] = []

    def span(self, piece: Piece) -> Span:
        return Span(self.source, piece.start, piece.end)

    def read(self) -> list[Line]:
        pieces = list(scan(self.text))
        self.has_unclosed = any_unclosed(pieces)
        line, fresh, line_start = Line(self.source), True, 0
        for piece in pieces:
            if piece.kind == "newline":
                fresh, line_start = True, piece.end
                if not self.open:
                    line = self.finish(line)
            elif piece.kind not in ("blank", "comment"):
                column = len(self.text[line_start : piece.start].expandtabs(4))
                if fresh and self.open and self.breaks_off(line, piece, column):
                    line = self.finish(line)
                if not line.pieces:
                    line.indent = column
                    line.tabbed = "\t" in self.text[line_start : piece.start]
                fresh = False
                self.take(line, piece)
        self.finish(line)
        return self.lines

    def breaks_off(self, line: Line, piece: Piece, column: int) -> bool:
        """Whether a new statement begins although a bracket is open: then the bracket is never closed."""
        rest = self.text[piece.start :].partition("\n")[0].partition("#")[0].rstrip()
        if BEGINS_STATEMENT.match(rest) or SOFT_HEAD.match(rest):
            return True
        at_margin = column <= line.indent and BEGINS_LINE.match(rest)
        return self.has_unclosed and bool(at_margin or line.pieces[-1].text == ":")

    def finish(self, line: Line) -> Line:
        if self.open:
            if not line.reported:
                self.mistakes.append(errors.unclosed_bracket(self.span(self.open[-1]), None))
            line.reported, line.closed = True, False
        self.open = []
        if line.pieces:
            line.text = self.text_of(line)
            self.lines.append(line)
        return Line(self.source)

    def text_of(self, line: Line) -> str:
        """The text of a line on one line, every token at its place."""
        parts, at = [], line.start
        for piece in line.pieces:
            parts += [" " * (piece.start - at), self.brackets.get(piece.start, piece.text)]
            at = piece.end
        return "".join(parts)

    def take(self, line: Line, piece: Piece) -> None:
        line.pieces.append(piece)
        line.reported = line.reported or self.source.position(piece.start)[0] in self.reported
        line.doubtful = line.doubtful or (line.reported and len(line.pieces) < 3)
        if piece.text in ("(", "["):
            self.open.append(piece)
        elif piece.text in PAIRS and piece.kind == "mark":
            mistake = self.close(line, piece)
            self.mistakes += [mistake] if mistake and not line.reported else []
            line.reported = line.reported or mistake is not None
            line.doubtful = line.doubtful or (mistake is not None and len(line.pieces) < 3)

    def close(self, line: Line, piece: Piece) -> Diagnostic | None:
        partner = PAIRS[piece.text]
        if self.open and self.open[-1].text == partner:
            self.open.pop()
            return None
        if not self.open:
            self.brackets[piece.start] = " "
            return errors.unmatched_bracket(self.span(piece), None, "")
        opening = self.open.pop()
        if self.open and self.open[-1].text == partner:
            self.open.pop()
            line.closed = False
            return errors.unclosed_bracket(self.span(opening), self.span(piece))
        ours = self.brackets[piece.start] = ")" if opening.text == "(" else "]"
        return errors.unmatched_bracket(self.span(piece), self.span(opening), ours)


def any_unclosed(pieces: list[Piece]) -> bool:
    opened = 0
    for piece in pieces:
        opened = max(0, opened + (piece.text in ("(", "[")) - (piece.text in PAIRS))
    return opened > 0
