"""Applying the fixes that diagnostics offer: text in, text out."""

from __future__ import annotations

from collections.abc import Iterable

from leec.diagnostics.record import Diagnostic, Edit, Fix, Source


def apply_fixes(source: Source, diagnostics: Iterable[Diagnostic], unsafe: bool = False) -> tuple[str, int]:
    """The text with every fix that fits, and how many those are.

    Of each diagnostic the first permitted fix is taken, in the order of their places. A fix that touches what
    an earlier one changed, or another file, is left for the next round.
    """
    chosen: list[Edit] = []
    count = 0
    for fix in sorted(permitted(diagnostics, unsafe), key=lambda fix: fix.edits[0].span.start):
        ours = all(edit.span.source.path == source.path for edit in fix.edits)
        if ours and not any(touch(a, b) for a in fix.edits for b in chosen):
            chosen += fix.edits
            count += 1
    text = source.text
    for edit in sorted(chosen, key=lambda edit: edit.span.start, reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text, count


def permitted(diagnostics: Iterable[Diagnostic], unsafe: bool) -> list[Fix]:
    first = (next((fix for fix in d.fixes if fix.edits and (fix.safe or unsafe)), None) for d in diagnostics)
    return [fix for fix in first if fix]


def touch(a: Edit, b: Edit) -> bool:
    """Whether two edits overlap, or insert at the same place."""
    return a.span.start == b.span.start or (a.span.start < b.span.end and b.span.start < a.span.end)
