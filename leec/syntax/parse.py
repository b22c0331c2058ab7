"""Text to abstract syntax. A broken file gives what could be read, and every independent mistake."""

from __future__ import annotations

from lark import UnexpectedInput
from lark.indenter import DedentError

from leec.diagnostics import Diagnostic, Source
from leec.syntax.build import build
from leec.syntax.grammar import parse_tree
from leec.syntax.nodes import Spec

TOO_DEEP = "LEE002"


def parse(source: Source) -> tuple[Spec, tuple[Diagnostic, ...]]:
    """The syntax of a file and its mistakes in order. Left out are items that do not parse or nest too deeply."""
    text = source.text + "\n"
    if text.startswith("\ufeff"):
        text = "\n" + text[1:]
    lost: set[str] = set()
    try:
        if "\t" in text or text.lstrip("\r\n")[:1].isspace():
            raise DedentError  # the grammar would let the indentation pass
        (doc, items), mistakes = build(parse_tree(text), source)
    except (UnexpectedInput, DedentError):
        from leec.syntax.recover import recover  # whole files need nothing of it

        doc, items, mistakes, lost = recover(source, text)
    deep = [d.span.start for d in mistakes if d.code == TOO_DEEP]
    ends = [item.span.start for item in items[1:]] + [len(text)]
    nests = [any(item.span.start <= at < end for at in deep) for item, end in zip(items, ends, strict=False)]
    lost |= {item.name.id for item, left_out in zip(items, nests, strict=True) if left_out}
    flat = tuple(item for item, left_out in zip(items, nests, strict=True) if not left_out)
    return Spec(source, doc, flat, frozenset(lost)), tuple(sorted(mistakes, key=lambda d: (d.span.start, d.code)))
