"""Errors of the host side, the statements of a `train`: LEE62x."""

from __future__ import annotations

from leec.diagnostics.record import Diagnostic, Label, Span


def several_kinds(span: Span, first: str, second: str) -> Diagnostic:
    return Diagnostic("LEE621", "several-kinds", f"what is {first} elsewhere is {second} here", Label(span),
                      helps=("all elements of a list have one kind and number of axes, and a variable keeps its kind from round to round",))  # fmt: skip


def never_appended(span: Span, name: str) -> Diagnostic:
    return Diagnostic("LEE622", "never-appended", f"nothing is appended to `{name}`, so nobody can say what is in it", Label(span),
                      helps=(f"a list begins with `[]` and grows by `append e to {name}`",))  # fmt: skip


def no_list(span: Span) -> Diagnostic:
    return Diagnostic("LEE101", "unknown-name", f"nothing here is called `{span.text}`", Label(span),
                      helps=(f"a list begins before its loop: `{span.text} = []`",))  # fmt: skip


def no_number(span: Span, found: str) -> Diagnostic:
    """What a run would say, too (LEE711)."""
    return Diagnostic("LEE711", "not-a-scalar", "a report is a single number", Label(span, f"this is {found}"),
                      helps=("take its mean, or report entries under keys: `report share[k] = ..`",))  # fmt: skip


def missing_field(span: Span, name: str, field: str) -> Diagnostic:
    return Diagnostic("LEE623", "undeclared-field", f"the environment `{name}` does not say what its `{field}` is", Label(span),
                      helps=("an environment declares both, as in `observation: [4]` and `action: int[] in 0..1`",))  # fmt: skip
