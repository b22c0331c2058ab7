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
from leec.syntax.lines import BEGINS_STATEMENT, PAIRS, SOFT_HEAD, Line
from leec.syntax.tokens import Piece

OPERATORS = {"+", "-", "*", "/", "//", "%", "@", "**", "==", "!=", "<", ">", "<=", ">=", "and", "or", "not", ".."}
STATEMENTS = ("return", "break", "if", "for", "while")
ENDS_OPEN = OPERATORS | {",", "=", "<-", "~", "in", "over", "with", "along", "like"}
BEGINS_OPEN = (OPERATORS - {"-", "not", "..", "@"}) | {"->", ".", ":", "=", "<-"}
GOES_ON = re.compile(r"(in|over|along)[ \t]+[\w(]")
ITEM = re.compile(r"(def|from|data|env|loss|metric|train|model|optimizer|distribution|example)\b[ \t]*\w")


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
        starts_anew = ITEM.match(below.text) or below.head_word or BEGINS_STATEMENT.match(below.text)
        goes_on = last.text in ENDS_OPEN and not starts_anew
        comes_after = bool(GOES_ON.match(below.text)) or (below.first in BEGINS_OPEN and not is_item(below, 1))
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
        self.left: list[tuple[int, int, Line]] = []  # what the last line popped

    def set(self) -> None:
        above: Line | None = None
        for line, below in zip(self.lines, [*self.lines[1:], None], strict=False):
            if line.reported and self.stack:
                self.align(line, above, below)
            known = line.reported
            self.place(line, above, below)
            if line.reported and not known and above and [piece.kind for piece in above.pieces] == ["word"]:
                above.reported = True  # half a statement that a line break cut off is no mistake of its own
            above = line
        if above and above.opens:
            self.without_body(above, None)

    def without_body(self, line: Line, below: Line | None) -> None:
        """A head without a body; any other line that ends in a colon lacks something behind it."""
        line.takes_body = bool(line.head_word) or line.first in ("data", "env")
        if line.takes_body:
            because = [below] if below else []
            self.report(line, errors.missing_body(line.span, below.span if below else None), *because)

    def place(self, line: Line, above: Line | None, below: Line | None) -> None:
        if above is None:
            self.begin(line)
        elif line.indent > self.depth:
            self.deepen(above, line, below)
        elif above.opens and self.slipped_body(line, below):
            self.report(line, errors.missing_body(above.span, line.span), above)
            line.level = above.level + 1
            self.stack.append((max(self.depth + 1, below.indent if below else 0), line.level, line))
            return
        elif above.opens:
            self.without_body(above, line)
        self.dedent(line, below)

    @property
    def depth(self) -> int:
        return self.stack[-1][0]

    def depths(self) -> list[int]:
        return [depth for depth, _, _ in self.stack]

    def report(self, line: Line, mistake: Diagnostic, *because: Line) -> None:
        """Report a mistake of a line; one that may come from other lines waits until these have been read."""
        if not (line.reported or line.tabbed or any(other.doubtful for other in because)):
            if because:
                self.layout.uncertain.append((mistake, [*because]))
            else:
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
        elif below and below.indent in known and line.indent not in known and not line.opens:
            line.indent = below.indent
        if line.indent not in known:
            line.indent = min(known, key=lambda depth: (abs(depth - line.indent), -depth))

    def begin(self, line: Line) -> None:
        if line.indent:
            self.report(line, errors.unexpected_indentation(line.span, None))
        self.stack = [(line.indent, 0, line)]

    def deepen(self, above: Line, line: Line, below: Line | None) -> None:
        if above.opens:
            self.stack.append((line.indent, self.stack[-1][1] + 1, line))
            return
        if above.reported:
            line.reported = True
        self.report(line, errors.unexpected_indentation(line.span, above.span), above)
        again = next((i for i, entry in enumerate(self.left) if entry[0] == line.indent), None)
        if again is not None:  # the line above slipped out of a body that goes on here
            self.stack += reversed(self.left[again:])
            above.level = self.stack[-1][1]
        elif line.opens and below and self.depth < below.indent <= line.indent:
            line.indent = self.depth  # only the head is too deep
        else:
            self.stack.append((line.indent, self.stack[-1][1], line))

    def dedent(self, line: Line, below: Line | None) -> None:
        """Pop to the depth of a line. One between two others is a mistake, and stands for the nearer one."""
        meant = self.slipped(line, below) if below else None
        if meant is not None:
            depth, line.level, last = next(entry for entry in self.stack if entry[0] == meant)
            return self.report(line, errors.indentation(line.span, line.indent, [(depth, last.span)]), last)
        self.left = []
        while len(self.stack) > 1 and line.indent < self.depth:
            self.left.append(self.stack.pop())
        if self.left and line.indent > self.depth:
            around = (self.stack[-1], self.left[-1])
            at = [(depth, last.span) for depth, _, last in around]
            self.report(line, errors.indentation(line.span, line.indent, at), *(last for _, _, last in around))
            at_margin = len(self.stack) == 1
            if not (is_item(line) or line.opens) if at_margin else self.nearer(line, self.left[-1][0]):
                self.stack.append(self.left.pop())
        depth, line.level, _ = self.stack[-1]
        goes_on = len(self.stack) > 1 and below is not None and below.indent == line.indent
        self.stack[-1] = (line.indent if goes_on else depth, line.level, line)

    def nearer(self, line: Line, deeper: int) -> bool:
        return deeper - line.indent <= line.indent - self.depth

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
        goes_on = below and ((below.indent > self.depth and not line.opens) or self.slipped(line, below) is not None)
        return bool(goes_on) or line.first in STATEMENTS


def is_item(line: Line, skipped: int = 0) -> bool:
    """Whether a line begins an item, but for the first tokens and what else stands before its first word."""
    words = [piece for piece in line.pieces[skipped:] if piece.kind == "word"]
    text = line.text[words[0].start - line.start :] if words else ""
    return bool(ITEM.match(text) or SOFT_HEAD.match(text))


def tabs(source: Source, text: str) -> list[Diagnostic]:
    """One report of all the tabs that indent lines."""
    spans = [Span(source, m.start(), m.end()) for m in re.finditer(r"^[ ]*\t[ \t]*(?=[^\s#])", text, re.M)]
    return [errors.tabs(spans)] if spans else []
