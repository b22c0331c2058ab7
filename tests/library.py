"""The library as Markdown: what the prelude and the modules of `std` have, each with its equation.

Made from the rows of operations, the docstrings of the compiler's own functions, and the sources in lee.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import leec.elaborate.spec  # noqa: F401  enters the compiler's own functions into their table
from leec.elaborate.modules import std_outline
from leec.elaborate.primitives import BUILTINS
from leec.ops import TABLE
from leec.ops.table import REQUIRED, Op
from leec.syntax import nodes

MARKED = re.compile(r"(<!-- list of ([\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
RULE = re.compile(r" *\((?:(?:R|decision )\d+(?:, )?)+\)")
HEADING = re.compile(r"^# ---- (.*)$", re.MULTILINE)
CALLS = re.compile(r"((?:`[^`]+`(?:, )?)+): (.*)", re.DOTALL)
REDUCTION = "x, axis = .., over = .., keepdims = false"


def listed(text: str) -> str:
    """The document with its lists made anew."""
    return MARKED.sub(
        lambda m: m[1] + "\n" + (operations() if m[2] == "operations" else module(m[2])) + "\n" + m[3], text
    )


def table(rows: Iterable[tuple[str, ...]], heads: tuple[str, ...] = ("name", "what it is")) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows)) + "\n"


def cell(text: str) -> str:
    """A docstring as one cell: in one line, without numbers of rules, its signs as they are."""
    plain = RULE.sub("", " ".join(text.split()))
    parts = plain.split("`")
    return "`".join(
        re.sub(r"([|*_<])", r"\\\1", p) if i % 2 == 0 else p.replace("|", r"\|") for i, p in enumerate(parts)
    )


# ---- what the compiler knows


def operations() -> str:
    """Everything that can be called and is not written in lee, by name."""
    rows = {row.surface: row for row in TABLE.values() if row.surface}
    calls = {operation(name, rows.get(name)) for name in BUILTINS}
    return table(sorted(calls), ("call", "equation", "what it gives"))


def operation(name: str, row: Op | None) -> tuple[str, str, str]:
    own = CALLS.fullmatch(BUILTINS[name].apply.__doc__ or "")
    if own:
        return own[1], equation(row), cell(own[2].rstrip("."))
    if row is None:  # a reduction, which takes axes
        return f"`{name}({REDUCTION})`", equation(TABLE[name]), cell(TABLE[name].doc)
    given = [*row.args, *(f"{k} = {default(v)}" for k, v in row.params.items())]
    return f"`{name}({', '.join(given)})`", equation(row), cell(row.doc)


def default(value: object) -> str:
    return ".." if value is REQUIRED else str(value).lower()


def equation(row: Op | None) -> str:
    return f"$`{row.equation}`$" if row and row.equation else ""


# ---- what is written in lee


def module(name: str) -> str:
    """A module's own words, then a table for each of its parts."""
    outline = std_outline(name)
    words = re.match(r'\s*"""(.*?)"""', outline.text, re.DOTALL)[1].strip()
    parts = [words + "\n"]
    for heading, items in grouped(name):
        parts += [f"**{heading}**\n"] * bool(heading)
        parts.append(table((f"`{head(item)}`", cell(item.doc)) for item in items))
    return "\n".join(parts)


def grouped(name: str) -> Iterator[tuple[str, list]]:
    """(heading, declarations with a description) in the order of the source."""
    outline = std_outline(name)
    headings = [(m.start(), m[1]) for m in HEADING.finditer(outline.text)]
    for (start, heading), (end, _) in zip([(0, ""), *headings], [*headings, (len(outline.text), "")], strict=True):
        items = [outline[n] for n, (first, _) in outline.stretches.items() if start <= first < end]
        described = [item for item in items if getattr(item, "doc", None)]
        if described:
            yield heading, described


def head(item: nodes.Item) -> str:
    """The declaration's first line, without the word it begins with."""
    if isinstance(item, nodes.External):
        options = [f"{k.id} = {v.span.text}" for k, v in item.value.keywords]
        fields = [f"{f.name.id}: {f.type.span.text}" for f in item.fields]
        return " ".join(f"{item.name.id}({', '.join(options)}): {', '.join(fields)}".split())
    result = getattr(item, "returns", None) or getattr(item, "variate", None)
    shown = f"{item.name.id}({', '.join(p.span.text for p in item.params)})"
    return " ".join((shown + (f" -> {result.span.text}" if result else "")).split())
