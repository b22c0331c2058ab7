"""What generated programs are found to do: they part from each other, or come to NaN, and where in the spec that begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from leec.diagnostics.environment import outside
from leec.diagnostics.record import Diagnostic, Label, Span


def programs_disagree(
    path: str, message: str, span: Span | None, label: str, notes: Iterable[str], data: Mapping[str, Any]
) -> Diagnostic:
    """Generated programs do not compute the same, which is never the fault of a spec."""
    return Diagnostic(
        "LEE821",
        "programs-disagree",
        message,
        Label(span, label) if span else outside(path),
        notes=tuple(notes),
        helps=("this is a mistake in leec: please report it with what leec verify --repro DIR writes",),
        data=dict(data),
    )


def requirement_fails(span: Span, label: str, notes: Iterable[str], data: Mapping[str, Any]) -> Diagnostic:
    """What an example requires of its values is not so."""
    message = f"the requirement `{span.text}` does not hold in this run"
    return Diagnostic(
        "LEE822", "example-fails", message, Label(span, label), notes=tuple(notes), data=dict(data),
        helps=("an example states what it expects: either the formula or the expectation is wrong",),
    )  # fmt: skip


def became_nan(
    message: str, span: Span, label: str, notes: Iterable[str], help: str, data: Mapping[str, Any]
) -> Diagnostic:
    """A loss became NaN, and this is the operation that made the first one."""
    return Diagnostic(
        "LEE703",
        "not-a-number",
        message,
        Label(span, label),
        notes=tuple(notes),
        helps=(help,) if help else (),
        data=dict(data),
    )
