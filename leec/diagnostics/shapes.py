"""Errors about shapes and dims: LEE2xx."""

from __future__ import annotations

from collections.abc import Iterable

from leec.diagnostics.names import nearest
from leec.diagnostics.record import Diagnostic, Label, Span


def shapes_differ(span: Span, what: str, sides: list[tuple[Span, str]], reason: str = "") -> Diagnostic:
    """`sides` are the operands with their types."""
    related = tuple(Label(s, t) for s, t in sides)
    return Diagnostic(
        "LEE201", "shape-mismatch", f"{what} do not fit" + (f": {reason}" if reason else ""), Label(span), related
    )


def argument_shape(
    span: Span, function: str, parameter: str, found: str, wanted: str, declared: Span | None, reason: str = ""
) -> Diagnostic:
    related = (Label(declared, f"`{parameter}` is declared here"),) if declared else ()
    tail = f": {reason}" if reason else ""
    return Diagnostic(
        "LEE202",
        "argument-shape",
        f"`{function}` wants `{parameter}: {wanted}`{tail}",
        Label(span, f"this is {found}"),
        related,
    )


def returned_shape(span: Span, function: str, found: str, wanted: str, declared: Span) -> Diagnostic:
    return Diagnostic(
        "LEE203",
        "returned-shape",
        f"`{function}` promises {wanted} but returns {found}",
        Label(span, f"this is {found}"),
        (Label(declared, "promised here"),),
    )


def wrong_rank(span: Span, what: str, found: str, wanted: str) -> Diagnostic:
    return Diagnostic("LEE204", "wrong-rank", f"{what} needs {wanted}", Label(span, f"this is {found}"))


def no_such_axis(span: Span, axis: int, found: str) -> Diagnostic:
    return Diagnostic("LEE205", "no-such-axis", f"there is no axis {axis}", Label(span, f"in {found}"))


def no_such_dim(span: Span, name: str, found: str) -> Diagnostic:
    return Diagnostic("LEE206", "no-such-dim", f"no axis has the dim `{name}`", Label(span, f"in {found}"))


def axis_needed(span: Span, function: str) -> Diagnostic:
    return Diagnostic(
        "LEE207",
        "axis-needed",
        f"`{function}` of an array with several axes needs `axis = ..`",
        Label(span),
        helps=("`axis = -1` is the last one",),
    )


def no_range(span: Span, index: str) -> Diagnostic:
    return Diagnostic(
        "LEE208",
        "no-range",
        f"nothing gives the index `{index}` a range",
        Label(span),
        helps=(f"write `{index} in ..` where it stands first",),
    )


def ranges_differ(span: Span, index: str, first: str, second: str) -> Diagnostic:
    return Diagnostic(
        "LEE209", "ranges-differ", f"the index `{index}` runs over {first} and over {second}", Label(span)
    )


def index_as_number(span: Span, index: str) -> Diagnostic:
    return Diagnostic("LEE210", "index-as-number", f"`{index}` is an index here, so it stands for a position, not for the size `{index}`", Label(span),
                      helps=("give the index another name",))  # fmt: skip


def too_many_subscripts(span: Span, count: int, found: str) -> Diagnostic:
    return Diagnostic("LEE211", "too-many-subscripts", f"{count} subscripts for {found}", Label(span))


def unbound_dim(span: Span, name: str) -> Diagnostic:
    return Diagnostic(
        "LEE212",
        "unbound-dim",
        f"nothing says how large `{name}` is",
        Label(span),
        helps=("a free dim is bound by the first argument that mentions it",),
    )


def not_a_type(span: Span, classes: Iterable[str] = ()) -> Diagnostic:
    near = nearest(span.text, classes)
    types = "types are `[n, d]`, `int[n]`, `bool[n]`, `[]` for a number, and classes of models"
    return Diagnostic(
        "LEE213",
        "not-a-type",
        "this is not a type",
        Label(span),
        helps=(f"did you mean `{near[0]}`?" if near else types,),
    )


def ragged_rows(span: Span, count: int | None, first: Span, wanted: int | None) -> Diagnostic:
    """Counts are of entries; None where an entry stands among rows, or a row among entries."""
    if count is None:
        message, labels = "an entry and a row stand side by side in a tensor", ("this one", "the first")
    else:
        message, labels = "the rows of a tensor have equally many entries", (f"{count} here", f"{wanted} here")
    return Diagnostic("LEE216", "ragged-rows", message, Label(span, labels[0]), (Label(first, labels[1]),))


def outside(span: Span, what: str, size: str) -> Diagnostic:
    return Diagnostic("LEE214", "outside", f"{what} leaves the array: the axis has {size} entries", Label(span))


def carried_changes(span: Span, name: str, found: str) -> Diagnostic:
    return Diagnostic(
        "LEE215",
        "carried-changes",
        f"a loop carries `{name}` from round to round, so its shape must stay: {found}",
        Label(span),
        helps=("give it its shape before the loop",),
    )
