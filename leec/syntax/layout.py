"""The levels of the lines of broken text, and the mistakes of colons and indentation.

After this every head ends in its colon and every line has a level that fits the lines above it: where an
indentation fits nowhere, the likeliest level is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from leec.diagnostics import Diagnostic, Source, Span
from leec.diagnostics import lexical as errors
from leec.syntax.lines import PAIRS, SOFT_HEAD, Line
from leec.syntax.tokens import Piece

OPERATORS = {"+", "-", "*", "/", "//", "%", "@", "**", "==", "!=", "<", ">", "<=", ">=", "and", "or", "not", ".."}
STATEMENTS = ("return", "break", "if", "for", "while")
ENDS_OPEN = OPERATORS | {",", "=", "<-", "~"}
BEGINS_OPEN = (OPERATORS - {"-", "not", ".."}) | {"->", ".", "=", "<-"}
ITEM = re.compile(r"(def|from|data|env|loss|metric|train|model|optimizer|example)\b[ \t]*\w")


@dataclass
class Layout:
    """The mistakes, and those that may only follow from a mistake in other lines, with these lines."""

    mistakes: list[Diagnostic] = field(default_factory=list)
    uncertain: list[tuple[Diagnostic, list[Line]]] = field(default_factory=list)


def lay_out(lines: list[Line]) -> Layout:
    """Set text and level of every line. Lines that go on behind or before an operator are joined."""
    layout = Layout([*continuations(lines)])
    for line in lines:
        layout.mistakes += check_head(line)
    Levels(lines, layout).set()
    return layout


def continuations(lines: list[Line]) -> Iterator[Diagnostic]:
    """Where a line ends in an operator, or the next one begins with one, and they are not equally deep."""
    for number in range(len(lines) - 2, -1, -1):
        line, below = lines[number], lines[number + 1]
        last = line.pieces[-1]
        goes_on = last.text in ENDS_OPEN and not ITEM.match(below.text) and not below.head_word
        comes_after = below.first in BEGINS_OPEN and not is_item(below, 1)
        if comes_after or (goes_on and below.indent != line.indent):
            if not (line.reported or below.reported):
                yield errors.line_continuation(Span(line.source, last.start, last.end))
            line.text += " " * (below.start - line.end) + below.text
            line.pieces += below.pieces
            line.reported, line.closed = True, line.closed and below.closed
            del lines[number + 1]


def check_head(line: Line) -> Iterator[Diagnostic]:
    """A head ends in its colon; what stands behind the colon belongs on lines of its own."""
    word = line.head_word
    if not word or line.opens:
        return
    colon = next((i for i in outer(line.pieces) if line.pieces[i].text == ":"), None)
    if colon is None:
        mistake = errors.missing_colon(Span(line.source, line.end, line.end), word)
        line.text += ":"
    else:
        rest = Span(line.source, line.pieces[colon + 1].start, line.end)
        mistake = errors.one_line_block(rest, word, line.indent)
        line.text = line.text[: line.pieces[colon].end - line.start]
    if not line.reported:
        yield mistake
    line.reported = True


def outer(pieces: list[Piece]) -> Iterator[int]:
    """The places of the tokens that stand in no bracket."""
    depth = 0
    for i, piece in enumerate(pieces):
        depth -= piece.text in PAIRS
        if depth <= 0:
            yield i
        depth += piece.text in ("(", "[")


class Levels:
    """Gives every line its level, from a stack of depths, each with its level and its last line."""

    def __init__(self, lines: list[Line], layout: Layout):
        self.lines, self.layout = lines, layout
        self.stack: list[tuple[int, int, Line]] = []

    def set(self) -> None:
        above: Line | None = None
        for line, below in zip(self.lines, [*self.lines[1:], None], strict=True):
            if line.reported and self.stack:
                self.align(line, above, below)
            if above is None:
                self.begin(line)
            elif line.indent > self.depth:
                self.deepen(above, line)
            elif above.opens and self.slipped_body(line, below):
                self.slip(line, above.level + 1, [above])
                self.stack.append((max(self.depth + 1, below.indent if below else 0), line.level, line))
                above = line
                continue
            elif above.opens:
                self.report(above, errors.missing_body(above.span, line.span))
            self.dedent(line, below)
            above = line
        if above and above.opens:
            self.report(above, errors.missing_body(above.span, None))

    @property
    def depth(self) -> int:
        return self.stack[-1][0]

    def depths(self) -> list[int]:
        return [depth for depth, _, _ in self.stack]

    def report(self, line: Line, mistake: Diagnostic, *because: Line) -> None:
        """Report a mistake of a line; one that may come from other lines waits until these have been read."""
        if not line.reported and because:
            self.layout.uncertain.append((mistake, [*because]))
        elif not line.reported:
            self.layout.mistakes.append(mistake)
        line.reported = True

    def align(self, line: Line, above: Line | None, below: Line | None) -> None:
        """A line with a known mistake, perhaps at its beginning, gets a depth that fits."""
        known = self.depths()
        if above and above.opens:
            if below and below.indent > self.depth and not line.opens:
                known.append(below.indent)
            elif line.indent > self.depth:
                return
        if line.indent not in known:
            line.indent = min(known, key=lambda depth: (abs(depth - line.indent), -depth))

    def begin(self, line: Line) -> None:
        if line.indent:
            self.report(line, errors.unexpected_indentation(line.span, None))
        self.stack = [(line.indent, 0, line)]

    def deepen(self, above: Line, line: Line) -> None:
        if not above.opens:
            self.report(line, errors.unexpected_indentation(line.span, above.span), above)
        self.stack.append((line.indent, self.stack[-1][1] + above.opens, line))

    def slip(self, line: Line, level: int, lines: list[Line]) -> None:
        """A line that belongs deeper than it stands, with the lines at the depth where it belongs."""
        at = [(other.indent, other.span) for other in lines]
        self.report(line, errors.indentation(line.span, line.indent, at), *lines)
        line.level = level

    def dedent(self, line: Line, below: Line | None) -> None:
        """Pop to the depth of a line. A depth between two others is a mistake, and taken for the deeper one."""
        meant = self.slipped(line, below) if below else None
        if meant is not None:
            return self.slip(line, *next((level, [last]) for depth, level, last in self.stack if depth == meant))
        left: tuple[int, int, Line] | None = None
        while len(self.stack) > 1 and line.indent < self.depth:
            left = self.stack.pop()
        if left and line.indent > self.depth:
            around = (self.stack[-1], left)
            at = [(depth, last.span) for depth, _, last in around]
            self.report(line, errors.indentation(line.span, line.indent, at), *(last for _, _, last in around))
            self.stack.append(left)
        depth, line.level, _ = self.stack[-1]
        self.stack[-1] = (depth, line.level, line)

    def slipped(self, line: Line, below: Line) -> int | None:
        """The depth of a statement that slipped to the left, out of a body that goes on below it."""
        depths = [depth for depth in self.depths() if depth > line.indent]
        at_margin = line.indent == self.stack[0][0]
        if not depths or (at_margin and is_item(line)) or (not at_margin and line.indent in self.depths()):
            return None
        if line.opens:
            return max((depth for depth in depths if depth < below.indent), default=None)
        return below.indent if below.indent in depths else None

    def slipped_body(self, line: Line, below: Line | None) -> bool:
        """Whether a line that should be deeper than the head above it slipped to the left, as no other line has."""
        if line.indent not in self.depths():
            return True
        if line.indent > self.stack[0][0] or is_item(line):
            return False
        goes_on = below and (below.indent > self.depth and not line.opens or self.slipped(line, below) is not None)
        return bool(goes_on) or line.first in STATEMENTS


def is_item(line: Line, skipped: int = 0) -> bool:
    """Whether a line, perhaps without its first tokens, begins an item."""
    text = line.text[line.pieces[skipped].start - line.start :] if skipped < len(line.pieces) else ""
    return bool(ITEM.match(text) or SOFT_HEAD.match(text))


def tabs(source: Source, text: str) -> list[Diagnostic]:
    """One report of all the tabs that indent lines."""
    spans = [Span(source, m.start(), m.end()) for m in re.finditer(r"^[ ]*\t[ \t]*(?=[^\s#])", text, re.M)]
    return [errors.tabs(spans)] if spans else []
