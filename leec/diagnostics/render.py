"""A diagnostic as text for a terminal or a log: headline, excerpts with carets, notes, helps, fixes.

Carets are placed by display cells, so they stand right under wide and combining characters. Nothing a
user wrote reaches the terminal as a control character, and no text is ever read as markup: a shape
is square brackets.
"""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from leec.diagnostics.record import Diagnostic, Fix, Label, Source

SEVERITY = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
FRAME = "blue"
NARROWEST = 24  # cells: no text is wrapped into a column narrower than this
CUT = "..."


def render(diagnostic: Diagnostic, color: bool = False, width: int | None = None) -> str:
    """The whole report, without a final line break.

    With a width (in cells), long source lines are cut around what is marked and long sentences are
    wrapped; without one, nothing is. With color, the text carries ANSI codes.
    """
    lines = list(report(diagnostic, width))
    return painted(lines) if color else "\n".join(line.plain.rstrip() for line in lines)


def render_concise(diagnostic: Diagnostic) -> str:
    """One line a diagnostic: place, severity, code, name, message."""
    d = diagnostic
    return f"{visible(place(d.primary))}: {d.severity}[{d.code}] {d.name}: {visible(d.message)}"


def painted(lines: list[Text]) -> str:
    from rich.console import Console

    console = Console(force_terminal=True, color_system="standard", legacy_windows=False, highlight=False)
    with console.capture() as capture:
        console.print(Text("\n").join(lines), soft_wrap=True, markup=False, emoji=False, end="")
    return capture.get()


def visible(text: str) -> str:
    """The text with tabs as spaces and every other control or invisible format character spelled out."""
    return "".join(map(shown, text)) if not text.isascii() or not text.isprintable() else text


def shown(char: str) -> str:
    if char == "\t":
        return "    "
    hidden = unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return f"<U+{ord(char):04X}>" if hidden else char


@dataclass(frozen=True)
class Mark:
    """A label on the one line where it starts: character columns [start, stop) of that line."""

    label: Label
    primary: bool
    line: int
    start: int
    stop: int

    @property
    def source(self) -> Source:
        return self.label.span.source

    @property
    def content(self) -> str:
        return self.source.line(self.line).rstrip("\r")


def mark(label: Label, primary: bool) -> Mark:
    """Where a label stands; a stretch over several lines is cut to its first."""
    source = label.span.source
    first = min(max(label.span.start, 0), len(source.text))
    line, start = source.position(first)
    content = source.line(line).rstrip("\r")
    stop = min(start + max(label.span.end - first, 0), len(content))
    while 0 < start < len(content) and unicodedata.combining(content[start]):
        start -= 1  # an accent is marked together with the letter that carries it
    return Mark(label, primary, line, min(start, len(content)), stop)


def place(label: Label) -> str:
    """`file:line:column` of a label, or the bare name of a source without text."""
    return str(label.span) if label.span.source.text else label.span.source.path


def report(d: Diagnostic, width: int | None) -> Iterator[Text]:
    """The lines of a report: the primary label's excerpt first, the others in the order they were given."""
    marks = [mark(d.primary, True), *(mark(label, False) for label in d.related)]
    gutter = max(2, *(len(str(m.line)) for m in marks))
    style = SEVERITY[d.severity]
    head = Text.assemble((f"{d.severity}[{d.code}]", style), (f" {d.name}: ", "bold"))
    first, *rest = wrapped(head + Text(visible(d.message), "bold"), width and max(NARROWEST, width - 4))
    yield from (first, *(Text("    ") + part for part in rest))
    yield Text.assemble((" " * gutter + "--> ", FRAME), visible(place(d.primary)))
    yield from excerpts([m for m in marks if m.source.text], gutter, style, width)
    for kind, sentence in remarks(d):
        head = Text.assemble((" " * (gutter + 1) + "= ", FRAME), (f"{kind}: ", "bold"))
        yield from hang(head, sentence, width)


def remarks(d: Diagnostic) -> Iterator[tuple[str, str]]:
    yield from (("note", note) for note in d.notes)
    yield from (("help", text) for text in d.helps)
    yield from (("fix available", offer(fix, d.span.source.path)) for fix in d.fixes)


def offer(fix: Fix, path: str) -> str:
    word, options = ("safe", "--fix") if fix.safe else ("unsafe", "--fix --unsafe-fixes")
    return f"{fix.title} ({word})   run: leec check {options} {shlex.quote(path)}"


def excerpts(marks: list[Mark], gutter: int, style: str, width: int | None) -> Iterator[Text]:
    """Each marked line once, with a row of marks below it for every label on it."""
    by_line: dict[tuple[str, int], list[Mark]] = {}
    for m in marks:
        by_line.setdefault((m.source.path, m.line), []).append(m)
    path = marks[0].source.path if marks else ""
    for (file, _), group in by_line.items():
        if file != path:
            yield Text.assemble((" " * gutter + "::: ", FRAME), visible(place(group[0].label)))
            path = file
        yield from excerpt(group, gutter, style, width)


def excerpt(group: list[Mark], gutter: int, style: str, width: int | None) -> Iterator[Text]:
    """One source line and its marks. A line that must be cut is shown anew for every mark."""
    room = max(NARROWEST, width - gutter - 3) if width else None
    cut = room is not None and cell_len(visible(group[0].content)) > room
    for nth, m in enumerate(group):
        content, start, cells = window(m, room) if cut and room else (visible(m.content), *extent(m))
        if nth == 0 or cut:
            yield Text.assemble((f"{m.line:>{gutter}} | ", FRAME), content)
        yield from underline(m, start, cells, gutter, style, width)


def extent(m: Mark) -> tuple[int, int]:
    """The first cell and the number of cells of a mark; at least one, so that a place can be shown."""
    start = cell_len(visible(m.content[: m.start]))
    return start, max(1, cell_len(visible(m.content[: m.stop])) - start)


def window(m: Mark, room: int) -> tuple[str, int, int]:
    """The part of a long line around a mark, with the mark's first cell and length in it."""
    before = m.start
    while before > 0 and cell_len(visible(m.content[before - 1 : m.start])) < room // 3:
        before -= 1
    lead = CUT if before else ""
    after = before
    while after < len(m.content) and cell_len(lead + visible(m.content[before : after + 1])) <= room - len(CUT):
        after += 1
    start = cell_len(lead + visible(m.content[before : m.start]))
    cells = cell_len(visible(m.content[m.start : min(m.stop, after)]))
    return lead + visible(m.content[before:after]) + (CUT if after < len(m.content) else ""), start, max(1, cells)


def underline(m: Mark, start: int, cells: int, gutter: int, style: str, width: int | None) -> Iterator[Text]:
    sign, style = ("^", style) if m.primary else ("-", "bold " + FRAME)
    frame = (" " * gutter + " | ", FRAME)
    row = Text.assemble(frame, " " * start, (sign * cells, style), " ")
    below = Text.assemble(frame, " " * (start + cells + 1))
    yield from hang(row, m.label.text, width, below, style)


def hang(head: Text, body: str, width: int | None, below: Text | None = None, style: str = "") -> Iterator[Text]:
    """The body after the head; its further lines stand after `below`, by default right under its first."""
    below = Text(" " * cell_len(head.plain)) if below is None else below
    room = max(NARROWEST, width - cell_len(head.plain)) if width else None
    first, *rest = [part for line in body.split("\n") for part in wrapped(Text(visible(line), style), room)]
    yield head + first
    yield from (below + part for part in rest)


def wrapped(line: Text, room: int | None) -> list[Text]:
    if room is None or cell_len(line.plain) <= room:
        return [line]
    from rich.console import Console

    return [part for part in line.wrap(Console(width=room), room)] or [line]
