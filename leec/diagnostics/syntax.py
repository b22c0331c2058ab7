"""What can be wrong with the text of a spec: one function an error, codes LEE001 to LEE0xx."""

from __future__ import annotations

from leec.diagnostics.record import Diagnostic, Label, Span


def unexpected(span: Span, expected: str) -> Diagnostic:
    found = f"`{span.text}`" if span.text.strip() else "the end of the line"
    return Diagnostic("LEE001", "unexpected", f"{found} cannot stand here", Label(span, f"expected {expected}"))


def nested_too_deeply(span: Span, limit: int) -> Diagnostic:
    return Diagnostic("LEE002", "nested-too-deeply", f"this nests deeper than {limit} levels", Label(span))
