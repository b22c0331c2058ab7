"""Highlighting for Pygments and for editors that read TextMate grammars, from one table of the grammar's terminals.

`LeeLexer` is what Pygments finds under the name `lee`; `textmate_grammar()` is editors/lee.tmLanguage.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from pygments import token as pygments_token
from pygments.lexer import RegexLexer, bygroups

from leec.syntax.grammar import parser

# Class of highlighting -> the terminals in it, the token of Pygments, and the scope of TextMate.
CLASSES = {
    "docstring": ("LONG_STRING", "String.Doc", "string.quoted.docstring"),
    "string": ("STRING", "String.Double", "string.quoted.double"),
    "comment": ("COMMENT", "Comment.Single", "comment.line.number-sign"),
    "declaration": (
        "DEF LOSS METRIC TRAIN _MODEL _OPTIMIZER _DISTRIBUTION _EXAMPLE DATA ENV _PARAM _STATE",
        "Keyword.Declaration",
        "storage.type",
    ),
    "import": ("_FROM IMPORT AS", "Keyword.Namespace", "keyword.control.import"),
    "statement": (
        "MINIMIZE MAXIMIZE _UPDATE _REPORT _APPEND _REQUIRE OVER WITH ALONG TO LIKE",
        "Keyword",
        "keyword.other",
    ),
    "control": ("IF ELIF ELSE FOR WHILE RETURN BREAK", "Keyword.Reserved", "keyword.control"),
    "word operator": ("AND OR NOT IN IS", "Operator.Word", "keyword.operator.word"),
    "constant": ("TRUE FALSE NONE", "Keyword.Constant", "constant.language"),
    "number": ("NUMBER", "Number", "constant.numeric"),
    "name": ("NAME", "Name", "variable.other"),
    "operator": (
        "ARROW AUG COMPARE _GIVES _DOTS POWER FLOORDIV PLUS MINUS STAR SLASH PERCENT AT EQUAL TILDE",
        "Operator",
        "keyword.operator",
    ),
    "punctuation": ("LPAR RPAR LSQB RSQB COMMA COLON DOT", "Punctuation", "punctuation"),
    "blank": ("BLANK _NL", "Whitespace", ""),
}

# Words that are words of the language only between two others on a line, and names elsewhere.
BETWEEN = ("IMPORT", "AS", "OVER", "WITH", "ALONG", "TO", "LIKE", "IS")

# Terminals that are followed by the name that they declare, and what is declared.
DECLARES = {
    "function": ("DEF LOSS METRIC TRAIN _EXAMPLE", "Name.Function", "entity.name.function"),
    "class": ("_MODEL _OPTIMIZER _DISTRIBUTION", "Name.Class", "entity.name.type"),
}


def patterns() -> dict[str, str]:
    """The regular expression of every terminal, as an editor must ask for it, which knows no parser."""
    found = {}
    for terminal in parser().terminals:
        text = terminal.pattern.to_regexp()
        if terminal.pattern.type == "str" and terminal.pattern.value.isalpha():
            text = rf"\b{text}\b"
        if terminal.name in BETWEEN:
            text = rf"(?<=[ \t]){text}(?=[ \t]+(?![ \t=]))"
        found[terminal.name] = text
    found["_NL"] = r"\r?\n"  # alone: the indentation behind it tells whether a word begins the next line
    return found


def is_soft(terminal: str) -> bool:
    """Whether a word is one of the language only at the beginning of a line."""
    return terminal in {t.name for t in parser().terminals if t.pattern.type == "re" and t.pattern.value[0].isalpha()}


def rows() -> Iterator[tuple[str, str, str, str]]:
    """Terminal, pattern, token of Pygments and scope of TextMate, in the order in which they are tried."""
    pattern = patterns()
    for names, token, scope in CLASSES.values():
        for name in names.split():
            yield name, pattern[name], token, scope


def declared(terminal: str) -> tuple[str, str] | None:
    return next(((token, scope) for names, token, scope in DECLARES.values() if terminal in names.split()), None)


# ---- Pygments


def pygments_rules() -> list[tuple[Any, ...]]:
    name = patterns()["NAME"]
    rules: list[tuple[Any, ...]] = []
    for terminal, pattern, token, _ in rows():
        kind = pygments_token.string_to_tokentype(token)
        blank = pygments_token.Whitespace
        word = rf"^([ \t]*)({pattern})" if is_soft(terminal) else rf"()({pattern})"
        if found := declared(terminal):
            groups = bygroups(blank, kind, blank, pygments_token.string_to_tokentype(found[0]))
            rules.append((rf"{word}([ \t]+)({name})", groups))
        rules.append((word, bygroups(blank, kind)))
    return rules


class LeeLexer(RegexLexer):
    """The lee language."""

    name = "lee"
    aliases = ("lee",)
    filenames = ("*.lee",)
    flags = re.MULTILINE
    tokens: ClassVar = {"root": pygments_rules()}


# ---- TextMate


def textmate_grammar() -> str:
    """A grammar for editors, as JSON."""
    found = {
        "name": "lee",
        "scopeName": "source.lee",
        "fileTypes": ["lee"],
        "patterns": list(textmate_rules()),
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def textmate_rules() -> Iterator[dict[str, Any]]:
    name = patterns()["NAME"]
    for terminal, pattern, _, scope in rows():
        if terminal == "LONG_STRING":  # the only one that goes over several lines
            yield {"name": f"{scope}.lee", "begin": '"""', "end": '"""'}
        elif scope:
            word = rf"^[ \t]*({pattern})" if is_soft(terminal) else f"({pattern})"
            captures = {"1": {"name": f"{scope}.lee"}}
            if found := declared(terminal):
                both = captures | {"2": {"name": f"{found[1]}.lee"}}
                yield {"match": rf"{word}[ \t]+({name})", "captures": both}
            yield {"match": word, "captures": captures}
