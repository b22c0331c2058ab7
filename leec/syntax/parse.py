"""Text to abstract syntax. A broken file gives what could be read, and every independent mistake."""

from __future__ import annotations

from lark import UnexpectedInput
from lark.indenter import DedentError

from leec.diagnostics import Diagnostic, Source, Span
from leec.diagnostics import syntax as errors
from leec.syntax.build import build
from leec.syntax.grammar import parse_tree
from leec.syntax.nodes import Spec


def parse(source: Source) -> tuple[Spec, tuple[Diagnostic, ...]]:
    """The syntax of a file and its mistakes in order; items that do not parse are left out."""
    text = source.text.replace("\ufeff", "\n", 1) if source.text.startswith("\ufeff") else source.text
    try:
        (doc, items), mistakes = build(parse_tree(text + "\n"), source)
    except UnexpectedInput as error:
        at = min(error.pos_in_stream or 0, len(source.text))
        return Spec(source, None, ()), (errors.unexpected(Span(source, at, at + 1), "something else"),)
    except DedentError:
        return Spec(source, None, ()), (errors.unexpected(Span(source, 0, 0), "another indentation"),)
    return Spec(source, doc, items), tuple(sorted(mistakes, key=lambda d: d.span.start))
