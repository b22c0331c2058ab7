"""Diagnostics for machines: the JSON envelope every command answers with, and GitHub's annotations.

`line` and `column` are 1-based and count characters, for people; `range` is the object of the Language
Server Protocol: 0-based, in UTF-16 units. The envelope is the same for success, findings and failures;
`schema` changes only when a field is removed or renamed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from leec import __version__
from leec.diagnostics.record import Diagnostic, Edit, Fix, Label, Source, Span

SCHEMA = 1
EDITION = 1
PHASES = {
    "0": "syntax",
    "1": "name",
    "2": "shape",
    "3": "dtype",
    "4": "gradient",
    "5": "lint",
    "6": "structure",
    "7": "data",
    "8": "environment",
    "9": "internal",
}


def envelope(diagnostics: Iterable[Diagnostic], result: Any = None) -> dict[str, Any]:
    """One document for any outcome; `result` is what the command was asked for, where there is something."""
    reports = [record(d) for d in diagnostics]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {"name": "leec", "version": __version__},
        "edition": EDITION,
        "summary": summary(reports),
        "diagnostics": reports,
    }
    return document if result is None else {**document, "result": result}


def dumps(document: dict[str, Any]) -> str:
    """The document as text, letters of every script as they are, lone surrogates escaped."""
    text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def lines(diagnostics: Iterable[Diagnostic]) -> str:
    """A record a line, as tools read that take one diagnostic at a time; nothing where there is none."""
    records = (json.dumps(record(d), ensure_ascii=False, default=str) + "\n" for d in diagnostics)
    return "".join(records).encode("utf-8", "backslashreplace").decode("utf-8")


def summary(reports: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {
        "errors": sum(r["severity"] == "error" for r in reports),
        "warnings": sum(r["severity"] == "warning" for r in reports),
        "fixable": sum(bool(r["fixes"]) for r in reports),
    }


def record(d: Diagnostic) -> dict[str, Any]:
    line, column = d.span.source.position(d.span.start)
    return {
        "code": d.code,
        "name": d.name,
        "severity": d.severity,
        "phase": PHASES[d.code[3]],
        "file": d.span.source.path,
        "line": line,
        "column": column + 1,
        "range": lsp_range(d.span),
        "message": d.message,
        "label": d.primary.text,
        "related": [related(label) for label in d.related],
        "notes": list(d.notes),
        "helps": list(d.helps),
        "data": d.data,
        "fixes": [fix_record(fix) for fix in d.fixes],
    }


def related(label: Label) -> dict[str, Any]:
    return {"file": label.span.source.path, "range": lsp_range(label.span), "message": label.text}


def fix_record(fix: Fix) -> dict[str, Any]:
    applicability = "safe" if fix.safe else "unsafe"
    edits = [edit_record(edit) for edit in fix.edits]
    return {"title": fix.title, "applicability": applicability, "verified": True, "edits": edits}


def edit_record(edit: Edit) -> dict[str, Any]:
    return {"file": edit.span.source.path, "range": lsp_range(edit.span), "newText": edit.text}


def lsp_range(span: Span) -> dict[str, dict[str, int]]:
    return {"start": lsp_position(span.source, span.start), "end": lsp_position(span.source, span.end)}


def lsp_position(source: Source, offset: int) -> dict[str, int]:
    line, column = source.position(offset)
    before = source.line(line)[:column]
    return {"line": line - 1, "character": len(before.encode("utf-16-le", "surrogatepass")) // 2}


def github(d: Diagnostic) -> str:
    """A workflow command that puts the message beside the line on GitHub."""
    line, column = d.span.source.position(d.span.start)
    last, end = d.span.source.position(d.span.end)
    level = "notice" if d.severity == "note" else d.severity
    fields = {
        "file": d.span.source.path,
        "line": line,
        "endLine": last,
        "col": column + 1,
        "endColumn": end + 1,
        "title": f"{d.code} {d.name}",
    }
    if last != line:  # columns are only understood within one line
        del fields["col"], fields["endColumn"]
    properties = ",".join(f"{key}={escaped(str(value), ':,')}" for key, value in fields.items())
    body = "\n".join([d.message, *filter(None, [d.primary.text]), *d.notes, *d.helps])
    return f"::{level} {properties}::{escaped(body)}"


def escaped(text: str, more: str = "") -> str:
    """The form in which a workflow command carries line breaks and separators."""
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" + more else c for c in text)
