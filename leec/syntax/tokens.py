"""A scanner for broken text: every text becomes pieces, and the pieces together are the text again.

Its patterns are the grammar's terminals, and between them patterns for what people write instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from leec.syntax.grammar import parser

WORD = r"[^\W\d][\w\u0300-\u036f]*"

# Operators of other languages: what is said here instead, and a stand-in of equal length to read on with.
FOREIGN = {
    "===": ("==", "== "),
    "!==": ("!=", "!= "),
    "**=": ("", " = "),
    "//=": ("", " = "),
    "&&": ("and", "* "),
    "||": ("or", "* "),
    "<>": ("!=", "!="),
    ":=": ("=", " ="),
    "%=": ("", " ="),
    "@=": ("", " ="),
    "^=": ("", " ="),
    "=>": ("", "<="),
    "++": ("", "+ "),
    "&": ("and", "*"),
    "|": ("or", "*"),
    "^": ("**", "*"),
    "!": ("not ", "-"),
}

RESERVED = frozenset("and or not if elif else for in while return break def true false None".split())


class Piece(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@cache
def scanner() -> re.Pattern[str]:
    """The kinds of pieces in order of preference; whatever nothing else takes is `stray`."""
    terminal = {t.name: t.pattern.to_regexp() for t in parser().terminals}
    signs = [t.pattern.value for t in parser().terminals if t.pattern.type == "str" and not t.pattern.value.isalpha()]
    operators = [terminal["ARROW"], terminal["AUG"], terminal["COMPARE"]]
    operators += map(re.escape, sorted(signs, key=len, reverse=True))
    kinds = {
        "docstring": terminal["LONG_STRING"],
        "open_docstring": r'"""',
        "string": terminal["STRING"],
        "open_string": r'"[^\n]*',
        "quoted": r"(?<![\w)\]])'[^'\n]*'|[“”„＂][^“”„＂\n]*[“”„＂]|‘[^’\n]*’",
        "comment": terminal["COMMENT"],
        "newline": r"\r?\n",
        "joined": r"\\[ \t]*\r?\n",
        "blank": terminal["BLANK"],
        "bare_point": r"[0-9][0-9_]*\.(?![\w.])|(?<![\w)\].])\.[0-9][0-9_]*(?:[eE][+-]?[0-9]+)?(?!\w)",
        "number": terminal["NUMBER"],
        "glued": r"[0-9]\w*",
        "word": WORD,
        "foreign": "|".join(re.escape(text) for text in FOREIGN if text not in ("!", "^", "&", "|")),
        "mark": "|".join(operators),
        "stray": r"(?s:.)",
    }
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()))


def scan(text: str) -> Iterator[Piece]:
    for match in scanner().finditer(text):
        yield Piece(match.lastgroup or "stray", match.group(), match.start())
