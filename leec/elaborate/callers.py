"""What is under way while something is called: how deep, and where a mistake in it is shown.

What a call provokes inside the library is a mistake of the call, not of the library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from leec.diagnostics import Diagnostic, Label, LeeError, Span, shapes, structure
from leec.elaborate.context import Session
from leec.types import ShapeMismatch

MAX_DEPTH = 1000


@contextmanager
def entering(session: Session, key: tuple, name: str, span: Span) -> Iterator[None]:
    """While a specialisation is made. Raises LeeError where recursion does not end, and again what came of it before."""
    if key in session.failed:
        raise LeeError(*session.failed[key].diagnostics)
    if key in session.active or len(session.active) > MAX_DEPTH:
        what = structure.recursion(span, [*[*session.active.values()][-4:], name])
        raise LeeError(session.endless.setdefault(name, what))
    session.active[key] = name
    try:
        yield
    except LeeError as error:
        session.failed[key] = error
        raise
    finally:
        del session.active[key]


@contextmanager
def calling(session: Session, name: str, span: Span) -> Iterator[None]:
    """While the callee is elaborated; mistakes that leave it are shown at the call."""
    session.calls.append((name, span))
    try:
        yield
    except LeeError as error:
        raise LeeError(*(anchored(session, d) for d in error.diagnostics)) from error
    finally:
        session.calls.pop()


def anchored(session: Session, d: Diagnostic) -> Diagnostic:
    """A diagnostic about a line of the library at the nearest call outside of it, with that line beside it."""
    library = session.library
    if not library.is_std(d.span.source):
        return d
    outside = next(((name, span) for name, span in reversed(session.calls) if not library.is_std(span.source)), None)
    if outside is None:
        return d
    name, span = outside
    inside = Label(d.span, d.primary.text or "this is where it shows")
    message = d.message if d.message.startswith(f"`{name}`") else f"in `{name}`: {d.message}"
    return replace(d, message=message, primary=Label(span), related=(inside, *d.related), fixes=())


def told(session: Session, error: LeeError | ShapeMismatch, span: Span) -> None:
    """A mistake in a statement, reported; of a shape that no rule of the language caught before the row did, as one."""
    if isinstance(error, ShapeMismatch):
        error = LeeError(shapes.shapes_differ(span, "the two sides", [], str(error)))
    session.report(error)
