"""Comments of generated code: the shape of what a statement makes, and the line of the spec that it comes from."""

from __future__ import annotations

from collections.abc import Callable

from leec.diagnostics import Span
from leec.dims import Dim
from leec.ir.graph import Value
from leec.types import TensorType


def shape(type: TensorType, short: Callable[[Dim], Dim] = lambda dim: dim) -> str:
    """`[n, d]`, `int[n]`; nothing for a scalar, whose name says enough."""
    if type.host or not type.dims:
        return ""
    dims = ", ".join(str(short(d)) for d in type.dims)
    return f"{'' if type.is_float else type.dtype}[{dims}]"


def place(span: Span) -> str:
    """`linear.lee:12`"""
    return f"{printable(span.source.path.rpartition('/')[2])}:{span.line}"


def printable(words: str) -> str:
    """On one line, whatever it holds."""
    return "".join(c if c.isprintable() else " " for c in words)


def source_line(span: Span) -> str:
    """What the spec says there, on one line and harmless in a comment."""
    line = span.source.line(span.line).partition("#")[0].strip()
    clean = printable(line)
    return clean if len(clean) <= 80 else f"{clean[:77]}.."


class Provenance:
    """Says of each statement where it comes from, and says it once a run."""

    def __init__(self, backward: bool, short: Callable[[Dim], Dim]):
        self.backward, self.short, self.last = backward, short, None

    def above(self, span: Span | None) -> str | None:
        """In a backward, the heading of the statements that differentiate one line."""
        if not self.backward or span is None or self.at(span) == self.last:
            return None
        self.last = self.at(span)
        return f"# gradient of {source_line(span)}   {place(span)}"

    def beside(self, values: tuple[Value, ...], span: Span | None) -> str:
        """Shape and line, for the end of a statement."""
        words = [shape(values[0].type, self.short)] if len(values) == 1 else []
        if span is not None and not self.backward and self.at(span) != self.last:
            self.last = self.at(span)
            words.append(place(span))
        return "  ".join(w for w in words if w)

    @staticmethod
    def at(span: Span) -> tuple[str, int]:
        return span.source.path, span.line
