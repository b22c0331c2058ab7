"""Reading a broken file: each item by itself, each line that does not parse put aside, the rest read on.

So every independent mistake is found in one run, and each is reported once: of a line with a mistake,
what follows from it is not reported. Items that do not parse are left out of the syntax.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from lark import UnexpectedInput
from lark.indenter import DedentError
from lark.utils import TextSlice

from leec.diagnostics import Diagnostic, Edit, Fix, Label, Source, Span
from leec.diagnostics import syntax as errors
from leec.syntax.build import build
from leec.syntax.diagnose import Failure, diagnose
from leec.syntax.grammar import parse_tree
from leec.syntax.layout import lay_out, tabs
from leec.syntax.lines import Line, LineReader
from leec.syntax.mend import mend

WORK = 400_000  # characters that may be read again and again in one item before its other mistakes must wait

# What is read in place of a head that does not parse, so that its body still finds its place.
NEUTRAL = {
    "if": "if 0:",
    "elif": "elif 0:",
    "else": "else:",
    "for": "for _ in 0:",
    "while": "while 0:",
    "model": "model _:",
    "class": "model _:",
    "optimizer": "optimizer _:",
    "distribution": "distribution _:",
    "data": "data _ = 0:",
    "env": "data _ = 0:",
}
HOLES = {"fields": "_: 0", "members": "_ = 0", "block": "_ = 0", "file": "_ = 0"}
PLACES = {
    "model": "members",
    "optimizer": "members",
    "distribution": "members",
    "class": "members",
    "data": "fields",
    "env": "fields",
}


def recover(source: Source, text: str) -> tuple[str | None, list[Any], list[Diagnostic], set[str]]:
    """The docstring and the items that could be read, every mistake, and the names of the items that could not."""
    mended, mistakes = mend(source, text)
    reader = LineReader(source, mended, {d.span.line for d in mistakes})
    logical = reader.read()
    tabbed = tabs(source, mended)
    layout = lay_out(logical)
    mistakes += reader.mistakes + layout.mistakes + tabbed
    doc, items, lost = None, [], set()
    for number, lines in enumerate(top_level(logical)):
        if number and lines[0].pieces[0].kind == "docstring" and not lines[0].reported:
            mistakes.append(errors.misplaced_docstring(lines[0].span))
            continue
        head = lines[0]
        found, read = Item(source, mended, lines).read(whole=not tabbed)
        mistakes += found
        if read:
            doc = read[0] or doc
            items += read[1]
        else:
            lost |= declared(head)
    certain = [d for d, because in layout.uncertain if not any(line.doubtful for line in because)]
    return doc, items, mistakes + (certain if mistakes else [d for d, _ in layout.uncertain]), lost


def declared(head: Line) -> set[str]:
    """What an item that does not parse may have been going to declare: whoever mentions it makes no mistake."""
    names = [p.text for p in head.pieces if p.kind == "word"]
    return set(names if head.first == "from" else names[:2])


def top_level(lines: list[Line]) -> Iterator[list[Line]]:
    """The lines of each item: one at the left margin, and the deeper ones below it."""
    starts = [i for i, line in enumerate(lines) if line.level == 0]
    return (lines[a:b] for a, b in pairwise([*starts, len(lines)]))


class Item:
    """The lines of one item while it is read."""

    def __init__(self, source: Source, text: str, lines: list[Line]):
        self.source, self.text, self.lines = source, text, lines
        self.starts: list[int] = []  # where each line begins in the text that is read, behind its indentation
        self.read_lines: list[Line] = []

    def read(self, whole: bool) -> tuple[list[Diagnostic], Any]:
        """The mistakes of the item and, if it could be read as a whole, its syntax."""
        try:
            if whole and not any(line.reported for line in self.lines):
                read, mistakes = build(parse_tree(TextSlice(self.text, self.lines[0].start, self.end())), self.source)
                return mistakes, read
        except (UnexpectedInput, DedentError):
            pass  # then part by part
        return self.read_in_parts(), None

    def end(self) -> int:
        last = self.text.find("\n", self.lines[-1].end)
        return len(self.text) if last < 0 else last + 1

    def read_in_parts(self) -> list[Diagnostic]:
        mistakes: list[Diagnostic] = []
        work = 0
        for line in [line for line in self.lines if not line.closed]:
            self.replace(self.lines.index(line))  # or the next lines would be read as its continuation
        while self.lines and work < WORK:
            text = self.composed()
            work += len(text)
            try:
                tree = parse_tree(text)
            except UnexpectedInput as error:
                mistakes += self.put_aside(error)
                continue
            _, found = build(tree, Source(self.source.path, text))
            return mistakes + [d for d in map(self.moved, found) if not self.line_at(d.span.start).reported]
        return mistakes

    # ---- the text that is read

    def composed(self) -> str:
        """The lines as they are read: evenly indented, and nowhere a head without a body."""
        hole = HOLES[PLACES.get(self.lines[0].first, "block")]
        self.starts, self.read_lines, parts, size = [], self.lines, [], 0
        for line, below in zip(self.lines, [*self.lines[1:], None], strict=False):
            indent = "    " * line.level
            text = line.text.lstrip()
            self.starts.append(size + len(indent) - (len(line.text) - len(text)))
            part = f"{indent}{text}\n"
            if line.opens and (below is None or below.level <= line.level):
                part += f"{indent}    {hole}\n"
            parts.append(part)
            size += len(part)
        return "".join(parts)

    def number_at(self, offset: int) -> int:
        """The number of the line that holds an offset of the composed text."""
        return max(0, bisect_right(self.starts, offset) - 1)

    def origin(self, offset: int) -> int:
        """An offset of the composed text in the source."""
        number = self.number_at(offset)
        line = self.read_lines[number]
        return min(line.start + max(0, offset - self.starts[number]), line.end)

    def line_at(self, offset: int) -> Line:
        return next((line for line in reversed(self.lines) if line.start <= offset), self.lines[0])

    # ---- lines that do not parse

    def put_aside(self, error: UnexpectedInput) -> list[Diagnostic]:
        """Report the line at which reading stopped, unless it was, and read something else in its place."""
        offset = error.pos_in_stream
        number = self.number_at(offset if offset is not None and offset >= 0 else self.starts[-1])
        line = self.lines[number]
        failure = self.failure(number, error)
        found = [] if line.reported or self.follows(number) else [diagnose(failure)]
        line.doubtful = line.doubtful or (failure.index < 2 and not line.reported)
        line.reported = True
        self.replace(number)
        return found

    def follows(self, number: int) -> bool:
        """Whether a line goes on with an `if` that was lost in a line above it."""
        line = self.lines[number]
        above = next((a for a in reversed(self.lines[:number]) if a.level <= line.level), line)
        lost = above.reported and above.level == line.level and above.first not in ("if", "elif")
        return lost and line.first in ("else", "elif")

    def replace(self, number: int) -> None:
        """Read something that can stand there in place of a line; the second time, nothing, and no body either."""
        line = self.lines[number]
        other = self.neutral(number) if line.opens else HOLES[self.place(number)]
        if line.text != other:
            line.text = other
        else:
            below = (i for i in range(number + 1, len(self.lines)) if self.lines[i].level <= line.level)
            del self.lines[number : next(below, len(self.lines))]

    def neutral(self, number: int) -> str:
        """A head that opens a body of the same kind, as far as that can be known."""
        line, place = self.lines[number], self.place(number)
        if line.first in NEUTRAL:
            return NEUTRAL[line.first]
        if place == "file" and any(line.first in ("param", "state") for line in self.lines):
            return NEUTRAL["model"]
        callable_ = line.first == "def" or place == "file" or (place == "members" and "(" in line.text)
        return "def _():" if callable_ else "if 0:"

    def failure(self, number: int, error: UnexpectedInput) -> Failure:
        line = self.lines[number]
        at = self.origin(error.pos_in_stream) if error.pos_in_stream is not None else line.end
        index = next((i for i, piece in enumerate(line.pieces) if piece.end > at), len(line.pieces))
        return Failure(line, index, self.place(number), error)

    def place(self, number: int) -> str:
        """What kind of body a line stands in."""
        level = self.lines[number].level
        for line in reversed(self.lines[:number]):
            if line.level < level:
                level = line.level
                word = line.first
                if word not in ("if", "elif", "else"):
                    return PLACES.get(word, "block")
        return "block" if level else "file"

    # ---- back to the source

    def moved(self, d: Diagnostic) -> Diagnostic:
        """A diagnostic about the composed text as one about the source."""

        def span(s: Span) -> Span:
            return Span(self.source, self.origin(s.start), self.origin(s.end))

        def label(at: Label) -> Label:
            return replace(at, span=span(at.span))

        def fix(f: Fix) -> Fix:
            return replace(f, edits=tuple(Edit(span(e.span), e.text) for e in f.edits))

        related, fixes = tuple(map(label, d.related)), tuple(map(fix, d.fixes))
        return replace(d, primary=label(d.primary), related=related, fixes=fixes)
