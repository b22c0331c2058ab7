"""What a message to the user is made of: sources, spans, and one Diagnostic record.

A Span points into a Source by character offsets; a Diagnostic is data until a renderer
turns it into text or JSON. Nothing here prints, and nothing here knows the language.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, eq=False)
class Source:
    """A text with the name under which the user knows it."""

    path: str
    text: str = field(repr=False)  # every node of the syntax refers to it

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        return (0, *(i + 1 for i, c in enumerate(self.text) if c == "\n"))

    def position(self, offset: int) -> tuple[int, int]:
        """The 1-based line and 0-based column (in characters) of an offset."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1]

    def line(self, number: int) -> str:
        """The text of a 1-based line, without its line break."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open stretch [start, end) of a source."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The stretch from the start of this one to the end of another."""
        return Span(self.source, self.start, max(self.end, other.end))

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.path}:{line}:{column + 1}"


@dataclass(frozen=True, slots=True)
class Label:
    """A remark at a place."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace a stretch of a source by a text."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """Edits that were tried: after them the file has this mistake no more. Safe ones keep the meaning."""

    title: str
    edits: tuple[Edit, ...]
    safe: bool = False


@dataclass(frozen=True)
class Diagnostic:
    """One mistake: what is wrong, where, where both sides came from, and what to do."""

    code: str  # "LEE201"
    name: str  # "shape-mismatch"
    message: str
    primary: Label
    related: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    severity: str = "error"  # or "warning", "note"
    data: dict = field(default_factory=dict)

    @property
    def span(self) -> Span:
        return self.primary.span


class LeeError(Exception):
    """A mistake of the user's, carried to the border as data."""

    def __init__(self, *diagnostics: Diagnostic):
        super().__init__("; ".join(d.message for d in diagnostics))
        self.diagnostics = diagnostics


class InternalError(Exception):
    """A mistake of ours: the message says which promise of the compiler was broken."""
