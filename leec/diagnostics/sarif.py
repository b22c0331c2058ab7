"""Diagnostics as a SARIF 2.1.0 log, the form in which code scanning services and editors take findings.

Regions are 1-based and count UTF-16 units, as the format says. A file outside a source (a command line) has no region.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leec import __version__
from leec.diagnostics.json import lsp_range
from leec.diagnostics.record import Diagnostic, Edit, Fix, Label, Span

LEVELS = {"error": "error", "warning": "warning", "note": "note"}


def log(diagnostics: Sequence[Diagnostic]) -> dict[str, Any]:
    """One run of leec with its rules and results."""
    names = dict(sorted({d.code: d.name for d in diagnostics}.items()))
    rules = [{"id": code, "name": name} for code, name in names.items()]
    driver = {"name": "leec", "version": __version__, "rules": rules}
    results = [result(d, list(names).index(d.code)) for d in diagnostics]
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}],
    }


def result(d: Diagnostic, rule: int) -> dict[str, Any]:
    words = "\n".join([d.message, *filter(None, [d.primary.text]), *d.notes, *d.helps])
    found: dict[str, Any] = {
        "ruleId": d.code,
        "ruleIndex": rule,
        "level": LEVELS[d.severity],
        "message": {"text": words},
        "locations": [location(d.span)],
    }
    if d.related:
        found["relatedLocations"] = [related(label, nth) for nth, label in enumerate(d.related)]
    if d.fixes:
        found["fixes"] = [fix(f) for f in d.fixes]
    return found


def location(span: Span) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": span.source.path.replace("\\", "/")}}
    if span.source.text:
        place["region"] = region(span)
    return {"physicalLocation": place}


def region(span: Span) -> dict[str, int]:
    """Lines and columns from 1; the end column is the first behind the region."""
    places = lsp_range(span)
    start, end = places["start"], places["end"]
    return {
        "startLine": start["line"] + 1,
        "startColumn": start["character"] + 1,
        "endLine": end["line"] + 1,
        "endColumn": end["character"] + 1,
    }


def related(label: Label, nth: int) -> dict[str, Any]:
    return {"id": nth, "message": {"text": label.text}, **location(label.span)}


def fix(f: Fix) -> dict[str, Any]:
    paths = dict.fromkeys(edit.span.source.path for edit in f.edits)
    changes = [
        {
            "artifactLocation": {"uri": path.replace("\\", "/")},
            "replacements": [replacement(e) for e in f.edits if e.span.source.path == path],
        }
        for path in paths
    ]
    return {"description": {"text": f.title}, "artifactChanges": changes}


def replacement(edit: Edit) -> dict[str, Any]:
    return {"deletedRegion": region(edit.span), "insertedContent": {"text": edit.text}}
