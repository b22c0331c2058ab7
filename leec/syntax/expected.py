"""What could stand at a place, in words: from the terminals that the parser would accept there."""

from __future__ import annotations

from lark import UnexpectedInput, UnexpectedToken

from leec.syntax.grammar import parser

# Groups of terminals with one name, the larger groups first; a group is named if all of it is accepted.
GROUPS = (
    ("a declaration", {"_FROM", "DEF", "_MODEL", "TRAIN"}),
    ("a statement", {"RETURN", "FOR", "WHILE", "_REPORT", "NAME"}),
    ("a parameter, a state, a submodel or a method", {"_PARAM", "_STATE", "DEF"}),
    ("an expression", {"NAME", "NUMBER", "STRING", "LPAR", "LSQB"}),
    ("a name", {"NAME"}),
    ("an operator", {"PLUS", "STAR", "SLASH", "POWER", "COMPARE"}),
)
OPERAND = {"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "NONE", "LPAR", "LSQB", "MINUS", "NOT", "_DOTS"}
OPERATOR = {
    "PLUS",
    "MINUS",
    "STAR",
    "SLASH",
    "FLOORDIV",
    "PERCENT",
    "AT",
    "POWER",
    "COMPARE",
    "AND",
    "OR",
    "IS",
    "_DOTS",
}
OPERATOR |= {"IF", "DOT", "LPAR", "LSQB"}
WORDS = {"_NL": "the end of the line", "_INDENT": "an indented body", "$END": "the end of the file", "AUG": "`+=`"}
MOST = 4  # more than these help nobody


def expected_words(error: UnexpectedInput) -> str:
    """Such as "an operator, `,` or `)`"; nothing if too much could stand there."""
    accepted = set(error.accepts) if isinstance(error, UnexpectedToken) and error.interactive_parser else set()
    named = [name for name, group in GROUPS if group <= accepted][:1]
    if named and named[0] in ("a declaration", "a statement", "a parameter, a state, a submodel or a method"):
        return named[0]
    covered = OPERAND if named == ["an expression"] else OPERATOR if named == ["an operator"] else {"NAME"}
    rest = sorted(filter(None, map(shown, accepted - covered)), key=lambda word: (word[0] != "`", word))
    words = named + rest
    return listed(words) if words and len(words) <= MOST + 1 else listed(words[:MOST]) if words else ""


def shown(terminal: str) -> str:
    """A terminal as the user writes it, or nothing if it has no one form."""
    if terminal in WORDS:
        return WORDS[terminal]
    pattern = next((t.pattern for t in parser().terminals if t.name == terminal), None)
    return f"`{pattern.value}`" if pattern is not None and pattern.type == "str" else ""


def listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
