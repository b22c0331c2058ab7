"""Errors about how a program is put together: LEE6xx. LEE699 names what is designed but not built yet."""

from __future__ import annotations

from leec.diagnostics.record import Diagnostic, Label, Span


def not_built(span: Span, what: str) -> Diagnostic:
    return Diagnostic("LEE699", "not-built-yet", f"{what} belongs to the language, but is not built yet", Label(span))


def not_here(span: Span, what: str, where: str) -> Diagnostic:
    return Diagnostic("LEE601", "not-here", f"{what} cannot stand {where}", Label(span))


def only_names(span: Span) -> Diagnostic:
    helps = ("give the value a name here and take it apart, or put it in its place, in the next statement",)
    return Diagnostic("LEE601", "not-here", "this cannot stand on the left here: names can", Label(span), helps=helps)


def needs_static(span: Span, what: str) -> Diagnostic:
    return Diagnostic("LEE602", "needs-static", f"{what} must be known when compiling", Label(span))


def no_return(span: Span, name: str) -> Diagnostic:
    return Diagnostic("LEE603", "no-return", f"`{name}` never returns a value", Label(span))


def wrong_kind(span: Span, found: str, wanted: str, help: str = "") -> Diagnostic:
    message = f"this is {found}, but {wanted} is needed"
    return Diagnostic("LEE604", "wrong-kind", message, Label(span), helps=(help,) if help else ())


def no_value(span: Span, reason: str) -> Diagnostic:
    """Arithmetic on numbers that are known when compiling."""
    return Diagnostic("LEE604", "wrong-kind", f"this has no value: {reason}", Label(span))


def no_tensor(span: Span, found: str) -> Diagnostic:
    """What arithmetic is not done with."""
    text = span.text if "\n" not in span.text else "[..]"
    array = f"`tensor({text})` is an array of what is in it"
    ways = {"a list": array, "a tuple": array, "a function": f"a function is called: `{text}(..)`"}
    return wrong_kind(span, found, "a tensor or a number", ways.get(found, ""))


def cannot_unpack(span: Span, wanted: int, found: str) -> Diagnostic:
    return Diagnostic(
        "LEE605", "cannot-unpack", f"{wanted} name{'s' * (wanted != 1)} on the left, {found} on the right", Label(span)
    )


def require_fails(span: Span, text: str) -> Diagnostic:
    return Diagnostic("LEE606", "require-fails", f"the requirement `{text}` never holds here", Label(span))


def requirement_not_met(span: Span, name: str, text: str, known: list[str], declared: Span | None) -> Diagnostic:
    """`known` says what the sizes in the requirement are at this call."""
    sizes = f": {' and '.join(known)}" if known else ""
    related = (Label(declared, "required here"),) if declared else ()
    return Diagnostic("LEE611", "requirement-not-met", f"`{name}` requires `{text}`{sizes}", Label(span), related)


def recursion(span: Span, chain: list[str]) -> Diagnostic:
    return Diagnostic("LEE607", "endless-recursion", "this never ends: " + " -> ".join(chain), Label(span),
                      helps=("recursion must reach its end by values that are known when compiling",))  # fmt: skip


def cannot_store(span: Span, name: str) -> Diagnostic:
    return Diagnostic("LEE608", "cannot-store", f"`{name}` cannot be stored into here", Label(span),
                      helps=("`<-` stores into own `state` in methods, optimizer state and θ in `update`, and variables of a `train`; `=` names a value",))  # fmt: skip


def conditional_rows(span: Span, name: str) -> Diagnostic:
    return Diagnostic("LEE609", "conditional-rows", f"every round must store its row of `{name}`, once", Label(span),
                      helps=(f"declare the array before the loop, as in `{name}: [n, time] = 0`, to store only in some rounds",))  # fmt: skip


def rows_from_zero(span: Span, name: str, variable: str) -> Diagnostic:
    return Diagnostic("LEE610", "rows-from-zero", f"the rows of `{name}` are collected from position 0, but `{variable}` starts elsewhere", Label(span),
                      helps=(f"declare the array before the loop, as in `{name}: [n, time] = 0`",))  # fmt: skip


def gradient_of_while(span: Span) -> Diagnostic:
    return Diagnostic("LEE612", "gradient-of-while", "a gradient is asked for through a `while`, whose rounds nobody counts beforehand", Label(span),
                      helps=("`for step in steps:` with a `break` has a gradient; `stop(..)` around what the loop gives says that none is meant",))  # fmt: skip


def nothing_moves(span: Span, theta: str) -> Diagnostic:
    return Diagnostic("LEE613", "nothing-moves", f"this rule never stores into `{theta}`, so nothing would be trained", Label(span),
                      helps=(f"a step stores the new parameters, as in `{theta} <- {theta} - lr * g`",))  # fmt: skip
