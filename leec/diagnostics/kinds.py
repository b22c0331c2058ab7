"""Errors about dtypes (LEE3xx), gradients and losses (LEE4xx)."""

from __future__ import annotations

from leec.diagnostics.record import Diagnostic, Label, Span


def bool_arithmetic(span: Span, op: str) -> Diagnostic:
    return Diagnostic(
        "LEE301",
        "bool-arithmetic",
        f"`{op}` on bools has no meaning",
        Label(span),
        helps=("`float(c)` or `int(c)` makes a number of a condition",),
    )


def argument_dtype(
    span: Span, function: str, parameter: str, found: str, wanted: str, declared: Span | None
) -> Diagnostic:
    related = (Label(declared, f"`{parameter}` is declared here"),) if declared else ()
    return Diagnostic(
        "LEE302",
        "argument-dtype",
        f"`{function}` wants `{parameter}` to be {wanted}",
        Label(span, f"this is {found}"),
        related,
    )


def needs_bool(span: Span, what: str, found: str) -> Diagnostic:
    return Diagnostic("LEE303", "needs-bool", f"{what} must be a bool", Label(span, f"this is {found}"))


def needs_int(span: Span, what: str, found: str) -> Diagnostic:
    return Diagnostic("LEE304", "needs-int", f"{what} must be an integer", Label(span, f"this is {found}"))


def not_scalar(span: Span, what: str, found: str) -> Diagnostic:
    return Diagnostic(
        "LEE401",
        "not-scalar",
        f"{what} must be a single number",
        Label(span, f"this is {found}"),
        helps=("`mean(..)` or `sum(..)` makes one number of it",),
    )


def no_gradient(span: Span, name: str, declared: Span | None = None) -> Diagnostic:
    related = (Label(declared, f"this version of `{name}`"),) if declared else ()
    return Diagnostic(
        "LEE402",
        "no-gradient",
        f"nothing flows from here back to `{name}`: the gradient would be 0 everywhere",
        Label(span),
        related,
    )


def not_a_variable(span: Span) -> Diagnostic:
    return Diagnostic(
        "LEE403", "not-a-variable", "a gradient is taken with respect to a variable or a field", Label(span)
    )


def draw_shape(span: Span, family: str, wanted: str, natural: str) -> Diagnostic:
    return Diagnostic(
        "LEE404",
        "draw-shape",
        f"what is drawn is declared {wanted}, but `{family}` gives {natural}",
        Label(span, f"one draw for each of its parameters is {natural}"),
        helps=(f"the declared type is {natural}, or has further dims in front of these",),
    )


def unknown_of_family(span: Span, name: str, family: str, known: list[str]) -> Diagnostic:
    return Diagnostic(
        "LEE405",
        "unknown-of-family",
        f"the family `{family}` does not say what its `{name}` is",
        Label(span),
        helps=(f"it has {', '.join(f'`{k}`' for k in known)}",),
    )


def not_moved(span: Span, what: str) -> Diagnostic:
    message = f"an optimizer moves a model or a field of one, and `{span.text}` is {what}"
    helps = ("what is learned is declared in a model, as a `param`",)
    return Diagnostic("LEE406", "not-moved", message, Label(span), helps=helps)
