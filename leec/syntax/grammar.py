"""Parsers generated from the files of grammar/, made once a process and kept in a per-user cache.

`parse_tree` gives a Lark tree in which every rule has its span, or raises Lark's UnexpectedInput
or DedentError; what these mean to the user is said elsewhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import lark
from lark.indenter import DedentError
from lark.lark import PostLex
from lark.utils import TextSlice
from platformdirs import user_cache_dir


class Indentation(PostLex):
    """Turns line breaks outside brackets into _NL, with _INDENT and _DEDENT where the depth changes."""

    always_accept = ("_NL",)

    def process(self, stream: Iterator[lark.Token]) -> Iterator[lark.Token]:
        depths, brackets, token = [0], 0, None
        for token in stream:
            if token.type == "_NL":
                if not brackets:
                    yield token
                    yield from self.moves(token, depths)
                continue
            yield token
            if token.type in ("LPAR", "LSQB"):
                brackets += 1
            elif token.type in ("RPAR", "RSQB"):
                brackets -= 1
        if token is not None:
            yield from (lark.Token.new_borrow_pos("_DEDENT", "", token) for _ in depths[1:])

    def moves(self, newline: lark.Token, depths: list[int]) -> Iterator[lark.Token]:
        """The steps from the current depth to that of the line after a line break."""
        depth = len(newline) - newline.rfind("\n") - 1
        if depth > depths[-1]:
            depths.append(depth)
            yield lark.Token.new_borrow_pos("_INDENT", "", newline)
        while depth < depths[-1]:
            depths.pop()
            yield lark.Token.new_borrow_pos("_DEDENT", "", newline)
        if depth != depths[-1]:
            raise DedentError(f"depth {depth} was never opened")


def grammar_file(name: str) -> Path:
    """A file of grammar/: beside the package in an installation, at the root in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "grammar" / name
    return packaged if packaged.exists() else package.parent / "grammar" / name


@cache
def parser() -> lark.Lark:
    return load("lee.lark", postlex=Indentation(), propagate_positions=True, maybe_placeholders=True)


def load(name: str, **options: object) -> lark.Lark:
    """The LALR parser of a grammar file, from the cache where an earlier process left it."""
    grammar = grammar_file(name).read_text(encoding="utf-8")
    key = sha256(f"{grammar} {lark.__version__} {sys.version}".encode()).hexdigest()[:20]
    stored = Path(user_cache_dir("leec", appauthor=False), f"grammar-{key}")
    try:
        with stored.open("rb") as file:
            return lark.Lark.load(file)
    except Exception:  # absent, unreadable or damaged: unpickling may raise anything
        made = lark.Lark(grammar, parser="lalr", lexer="contextual", **options)
        store(made, stored)
        return made


def store(made: lark.Lark, path: Path) -> None:
    """Keep a parser for later processes; a home that cannot be written costs them time, nothing else."""
    content = BytesIO()
    made.save(content)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(content.getvalue())
        fresh.replace(path)  # in one step: no process ever reads half a file


def parse_tree(text: str | TextSlice[str]) -> lark.Tree:
    """The tree of a text, or of a part of one. Raises lark.UnexpectedInput or DedentError."""
    return parser().parse(text)
