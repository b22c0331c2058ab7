"""Why a line does not parse: from the place where the parser stopped to the likeliest mistake.

First what the tokens say beyond doubt, then the words of other languages, then grammar/mistakes.toml's
examples that stop in the same state of the parser, at last what could stand there instead.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import UnexpectedInput, UnexpectedToken
from lark.indenter import DedentError

from leec.diagnostics import Diagnostic, Span
from leec.diagnostics import syntax as errors
from leec.syntax.expected import expected_words
from leec.syntax.grammar import grammar_file, parse_tree
from leec.syntax.layout import OPERATORS
from leec.syntax.lines import Line
from leec.syntax.tokens import RESERVED, Piece

CONDITIONS = ("if", "elif", "while", "require")

# What may stand where: the beginning that a line must be given so that it parses there, and what to call it.
PLACES = {
    "file": ("", "", "at the top level of a file"),
    "members": ("model _:\n    ", "    ", "in the body of a model, an optimizer or a distribution"),
    "block": ("def _():\n    ", "    ", "in the body of a def, a loss, a train or an example"),
    "fields": ("data _ = 0:\n    ", "    ", "in the fields of a source"),
}


@dataclass(frozen=True)
class Failure:
    """Where the parser stopped: the line, the place in its tokens, and what kind of body the line is in."""

    line: Line
    index: int
    place: str
    error: UnexpectedInput

    @property
    def found(self) -> Piece | None:
        return self.line.pieces[self.index] if self.index < len(self.line.pieces) else None

    @property
    def before(self) -> Piece | None:
        return self.line.pieces[self.index - 1] if self.index else None

    def span(self, piece: Piece | None) -> Span:
        """The text of a token; without one, the end of the line."""
        source = self.line.source
        return Span(source, piece.start, piece.end) if piece else Span(source, self.line.end, self.line.end)


def diagnose(failure: Failure) -> Diagnostic:
    found = next((d for rule in RULES if (d := rule(failure))), None)
    return found or errors.unexpected(failure.span(failure.found), expected_words(failure.error))


# ---- rules, in order


def docstring(f: Failure) -> Diagnostic | None:
    stray = next((p for p in f.line.pieces if p.kind == "docstring"), None)
    if stray is None:
        return None
    if f.found is None and f.index == 1:
        return errors.nothing_but_docstring(f.span(stray))
    return errors.misplaced_docstring(f.span(stray))


def assigned_condition(f: Failure) -> Diagnostic | None:
    word = f.line.pieces[0].text
    if f.found and f.found.text == "=" and word in CONDITIONS:
        return errors.assignment_in_condition(f.span(f.found), word)
    return None


def reserved(f: Failure) -> Diagnostic | None:
    names = isinstance(f.error, UnexpectedToken) and "NAME" in f.error.accepts
    if f.found and f.found.text in RESERVED and names and f.index:
        return errors.reserved_word(f.span(f.found))
    return None


def foreign_start(f: Failure) -> Diagnostic | None:
    """A line that begins like one of another language, and not with a name that only looks so."""
    first, *rest = f.line.pieces
    goes_on = not rest or rest[0].kind in ("word", "number", "string") or rest[0].text == ":"
    return advised(f, first, "start") if goes_on and first.text not in RESERVED else None


def foreign_word(f: Failure) -> Diagnostic | None:
    beside = f.before if f.found and begins_operand(f.found) else None
    places = (("here", f.found if f.index else None), ("before", f.before), ("beside", beside))
    return next((d for where, piece in places if (d := advised(f, piece, where))), None)


def advised(f: Failure, piece: Piece | None, where: str) -> Diagnostic | None:
    advice = words().get((where, piece.text)) if piece and piece.kind == "word" else None
    return errors.foreign_construct(f.span(piece), advice["message"], advice["help"]) if advice else None


def no_if(f: Failure) -> Diagnostic | None:
    word = f.line.pieces[0].text
    if f.index == 0 and word in ("else", "elif"):
        message = f"this `{word}` belongs to no `if`: none stands above it, as deep as it"
        return errors.malformed(f.span(f.line.pieces[0]), message, "")
    return None


def no_def(f: Failure) -> Diagnostic | None:
    """`forward(x: [n, d]):`"""
    first, second, last = f.line.pieces[0], f.found, f.line.pieces[-1]
    if f.index == 1 and second and (second.text, last.text) == ("(", ":"):
        return errors.malformed(f.span(first), "a function begins with `def`", f"write `def {first.text}(..):`")
    return None


def misplaced(f: Failure) -> Diagnostic | None:
    """A line that would parse somewhere else."""
    text = f.line.text.strip()
    first = f.line.pieces[0]
    for place, (before, indent, called) in PLACES.items():
        bodies = ("_ = 0", "_: 0") if text.endswith(":") else ("",)
        if place != f.place and any(parses(f"{before}{text}\n{indent}    {body}".rstrip() + "\n") for body in bodies):
            what = f"`{first.text}`" if first.kind == "word" and len(f.line.pieces) > 1 else "this line"
            return errors.misplaced(f.span(first), what, PLACES[f.place][2], called)
    return None


def example(f: Failure) -> Diagnostic | None:
    advice = examples().get(signature(f.error))
    return errors.malformed(f.span(f.found), advice["message"], advice.get("help", "")) if advice else None


def no_operand(f: Failure) -> Diagnostic | None:
    if f.before and f.before.text in OPERATORS and not (f.found and begins_operand(f.found)):
        return errors.missing_operand(f.span(f.before), f.span(f.found))
    return None


def no_separator(f: Failure) -> Diagnostic | None:
    if f.before and f.found and ends_operand(f.before) and begins_operand(f.found):
        left, right = f.span(f.before), f.span(f.found)
        return errors.missing_separator(Span(left.source, left.end, right.start), left, right)
    return None


RULES: tuple[Callable[[Failure], Diagnostic | None], ...] = (
    docstring,
    assigned_condition,
    foreign_start,
    example,
    reserved,
    foreign_word,
    no_if,
    no_def,
    misplaced,
    no_operand,
    no_separator,
)


def begins_operand(piece: Piece) -> bool:
    return piece.text in ("true", "None") or (piece.kind in ("word", "number", "string") and piece.text not in RESERVED)


def ends_operand(piece: Piece) -> bool:
    return begins_operand(piece) or piece.text in (")", "]", "false")


# ---- grammar/mistakes.toml


@cache
def mistakes() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(grammar_file("mistakes.toml").read_text(encoding="utf-8"))


@cache
def words() -> dict[tuple[str, str], dict[str, Any]]:
    return {(where, w): entry for entry in mistakes()["word"] for w in entry["words"] for where in entry["at"]}


@cache
def examples() -> dict[tuple[Any, ...], dict[str, Any]]:
    """Advice by the state and the token at which the examples fail; of two with the same, the first counts."""
    table: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in mistakes()["example"]:
        for text in entry["broken"]:
            if error := failure_of(text):
                table.setdefault(signature(error), entry)
    return table


def failure_of(text: str) -> UnexpectedInput | None:
    try:
        parse_tree(text)
    except UnexpectedInput as error:
        return error
    except DedentError:
        return None
    return None


def parses(text: str) -> bool:
    try:
        parse_tree(text)
    except (UnexpectedInput, DedentError):
        return False
    return True


def signature(error: UnexpectedInput) -> tuple[Any, ...]:
    """The last two states of the parser, and the kind of token at which it stopped."""
    if isinstance(error, UnexpectedToken) and error.interactive_parser:
        return *error.interactive_parser.parser_state.state_stack[-2:], error.token.type
    return ()
