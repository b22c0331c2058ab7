"""Errors about names: LEE1xx."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from difflib import get_close_matches

from leec.diagnostics.foreign import INSTEAD, MEMBERS, RENAMED
from leec.diagnostics.record import Diagnostic, Edit, Fix, Label, Span


def nearest(name: str, candidates: Iterable[str]) -> list[str]:
    """Up to three candidates that a person may have meant: with the same letters, by edit distance, then by a
    common beginning or end."""
    candidates = sorted(set(candidates))
    swapped = [c for c in candidates if len(name) > 2 and c != name and sorted(c) == sorted(name)]
    close = swapped or get_close_matches(name, candidates, 3, 0.75)
    affixed = [c for c in candidates if len(name) > 3 and (c.startswith(name) or c.endswith(name)) and c not in close]
    return [*close, *affixed][:3]


def unknown_name(node, candidates: Iterable[str], others: Iterable[str] = ()) -> Diagnostic:
    """`others` are names that a file could import."""
    candidates = set(candidates)
    close = [RENAMED[node.id]] if RENAMED.get(node.id) in candidates else nearest(node.id, candidates)
    close = close or get_close_matches(node.id, sorted(others), 1, 0.85)
    near = [] if node.id in INSTEAD else close
    helps = (f"did you mean {' or '.join(f'`{c}`' for c in near)}?",) if near else ()
    helps += (INSTEAD[node.id],) if node.id in INSTEAD else ()
    fixes = (Fix(f"replace with `{near[0]}`", (Edit(node.span, near[0]),)),) if near else ()
    return Diagnostic(
        "LEE101", "unknown-name", f"nothing here is called `{node.id}`", Label(node.span), helps=helps, fixes=fixes
    )


def not_imported(node, module: str, edit: Edit) -> Diagnostic:
    fix = Fix(f"import `{node.id}` from `{module}`", (edit,), safe=True)
    message = f"nothing here is called `{node.id}`"
    return Diagnostic("LEE101", "unknown-name", message, Label(node.span), fixes=(fix,))


def ended(node) -> Diagnostic:
    helps = (f"give `{node.id}` a value before the loop",)
    message = f"`{node.id}` ends with the loop that gives it a value"
    return Diagnostic("LEE101", "unknown-name", message, Label(node.span), helps=helps)


def free_index(node) -> Diagnostic:
    """In a definition by entries, a name that neither side says the range of."""
    helps = (f"`sum[{node.id}](..)` goes over an index that the left side has not",)
    message = f"nothing here is called `{node.id}`, and no index either"
    return Diagnostic("LEE101", "unknown-name", message, Label(node.span), helps=helps)


def of_construction(node, member) -> Diagnostic:
    """A tensor of a model that its methods cannot read."""
    message = f"`{node.id}` is there while the model is made, and no part of it"
    helps = (f"with `param {node.id}: ..` training moves it, with `state {node.id}: ..` it stays",)
    return Diagnostic("LEE101", "unknown-name", message, Label(node.span), (Label(member.name.span),), helps=helps)


def declared_twice(name, first) -> Diagnostic:
    return Diagnostic(
        "LEE102",
        "declared-twice",
        f"`{name.id}` is declared twice",
        Label(name.span, "here again"),
        (Label(first.span, "declared here"),),
    )


def unknown_module(statement, path: str) -> Diagnostic:
    span = statement.module[0].span.to(statement.module[-1].span)
    return Diagnostic("LEE103", "unknown-module", f"there is no module `{path}`", Label(span),
                      helps=("`std.nn`, `std.losses`, `std.optim` and their like ship with leec; other names are files beside this one",))  # fmt: skip


def not_in_module(name, path: str, candidates: Iterable[str]) -> Diagnostic:
    near = nearest(name.id, candidates)
    helps = (f"did you mean {' or '.join(f'`{c}`' for c in near)}?",) if near else ()
    fixes = (Fix(f"import `{near[0]}`", (Edit(name.span, near[0]),)),) if near else ()
    return Diagnostic(
        "LEE104", "not-in-module", f"`{path}` has no `{name.id}`", Label(name.span), helps=helps, fixes=fixes
    )


def no_member(
    span: Span, name: str, owner: str, candidates: Iterable[str], functions: Collection[str] = ()
) -> Diagnostic:
    """`functions` are those that take such an owner: `x.sum()` is `sum(x)` here."""
    word = RENAMED.get(name, name)
    near = [] if word in functions else nearest(name, candidates)
    helps = (f"did you mean {' or '.join(f'`{c}`' for c in near)}?",) if near else ()
    if word in functions:
        helps = (f"`{word}` is a function: write `{word}(x)`, with other arguments after `x`",)
    elif name in MEMBERS and not near:
        helps = (MEMBERS[name],)
    fixes = (Fix(f"replace with `{near[0]}`", (Edit(span, near[0]),)),) if near else ()
    return Diagnostic("LEE105", "no-member", f"{owner} has no `{name}`", Label(span), helps=helps, fixes=fixes)


def not_callable(span: Span, what: str) -> Diagnostic:
    return Diagnostic("LEE106", "not-callable", f"{what} cannot be called", Label(span))


def argument_count(span: Span, function: str, message: str, declared: Span | None = None) -> Diagnostic:
    related = (Label(declared, "declared here"),) if declared else ()
    return Diagnostic("LEE107", "wrong-arguments", f"`{function}` {message}", Label(span), related)


def too_many(
    span: Span, function: str, wanted: Collection[str], given: int, declared: Span | None = None
) -> Diagnostic:
    """More arguments by place than parameters."""
    found = argument_count(
        span, function, f"takes {len(wanted)} argument{'s' * (len(wanted) != 1)}, not {given}", declared
    )
    in_brackets = f"sizes stand in brackets: `{function}([..])`" if "dims" in wanted else ""
    return replace(found, helps=(in_brackets,) if in_brackets else ())


def unknown_keyword(node, function: str, candidates: Iterable[str]) -> Diagnostic:
    near = nearest(node.id, candidates)
    helps = (
        (f"did you mean `{near[0]}`?",) if near else (f"it takes {', '.join(f'`{c}`' for c in candidates) or 'none'}",)
    )
    fixes = (Fix(f"replace with `{near[0]}`", (Edit(node.span, near[0]),)),) if near else ()
    return Diagnostic(
        "LEE108",
        "unknown-argument",
        f"`{function}` has no argument `{node.id}`",
        Label(node.span),
        helps=helps,
        fixes=fixes,
    )
