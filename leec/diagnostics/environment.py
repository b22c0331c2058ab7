"""Mistakes outside a spec: files, command lines, missing packages, and our own failures.

They have no place in a source; their span is an empty one in a source without text, and renderers show its name only.
"""

from __future__ import annotations

from leec.diagnostics.record import Diagnostic, Label, Source, Span


def outside(path: str) -> Label:
    return Label(Span(Source(path, ""), 0, 0))


def missing_package(extra: str, package: str) -> Diagnostic:
    """A command needs a package that the installation does not have."""
    return Diagnostic(
        "LEE801",
        "missing-package",
        f"this needs `{package}`, which is not installed",
        outside("leec"),
        helps=(f"install it with: pip install 'leec[{extra}]'",),
        data={"extra": extra, "package": package},
    )


def met_running(path: str, code: str, name: str, message: str, help: str, data: dict) -> Diagnostic:
    """A mistake that the running program of a spec met and described itself."""
    return Diagnostic(code, name, message, outside(path), helps=(help,) if help else (), data=data)


def unreadable(path: str, reason: str) -> Diagnostic:
    """A file that was named cannot be read as text."""
    return Diagnostic("LEE811", "unreadable-file", f"the file cannot be read: {reason}", outside(path))


def unwritable(path: str, reason: str) -> Diagnostic:
    """A result cannot be put where it belongs; nothing was written."""
    return Diagnostic("LEE812", "unwritable-file", f"the file cannot be written: {reason}", outside(path))


def wrong_usage(message: str, usage: str = "") -> Diagnostic:
    """A command line or a configuration that asks for something that does not exist."""
    helps = (f"see {usage}",) if usage else ()
    return Diagnostic("LEE813", "wrong-usage", message, outside("command line"), helps=helps)


def interrupted() -> Diagnostic:
    return Diagnostic("LEE814", "interrupted", "stopped from outside", outside("leec"))


def internal_error(path: str, failure: str, bundle: str | None) -> Diagnostic:
    """The compiler broke one of its own promises. The bundle holds what is needed to see it again."""
    notes = (f"what is needed to reproduce it is in {bundle}",) if bundle else ()
    return Diagnostic(
        "LEE901",
        "internal-error",
        f"leec itself failed: {failure}",
        outside(path),
        notes=notes,
        helps=("this is a mistake in leec and not in the spec: please report it with that folder",) if bundle else (),
        data={"bundle": bundle},
    )
