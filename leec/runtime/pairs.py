"""The data source of pairs: texts and what they are to become, padded, each side with a vocabulary of its own.

Days in words and in ISO 8601, expressions and their syntax trees, or the lines of a file.
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import chain, islice
from typing import Any

from leec.runtime import faults
from leec.runtime.data import Source
from leec.runtime.draws_numpy import randint
from leec.runtime.philox import site_key
from leec.runtime.preparation import Preparation, prepare
from leec.runtime.records import Record
from leec.runtime.vocabulary import (
    END,
    Vocabulary,
    Words,
    known,
    modules,
    numbers_of,
    padded,
    positive,
    read,
    split_tokens,
)


def pairs(
    corpus: str = "dates",
    rows: int = 2000,
    level: str | None = None,
    most: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Source:
    """Texts and what they are to become: x: int[n, time], lengths, y: int[n, length], y_lengths; each y ends with END.

    dates    days as they are written, and as ISO 8601 has them; characters
    trees    expressions of the standard library, and their syntax trees as brackets; words
    or a file with two texts a line, a tab between them; words. Raises LEE708 for a line without.

    `source` and `target` have the `vocab` of each side.
    """
    match corpus:
        case "dates":
            found, level = dates(positive("rows", rows), seed), level or "characters"
        case "trees":
            found = islice(trees(), positive("rows", rows))
        case _:
            found = two_columns(corpus)
    level = known(level or "words")
    sides = [[split_tokens(t, level) if isinstance(t, str) else t for t in side] for side in zip(*found, strict=True)]
    source, target = (Vocabulary.of(side, level, most) for side in sides)
    x, lengths = padded([[*source.encode(a), END] for a in sides[0]])
    y, y_lengths = padded([[*target.encode(b), END] for b in sides[1]])
    extras = {"source": Record(**numbers_of(source)), "target": Record(**numbers_of(target))}
    fields = {"x": x, "lengths": lengths, "y": y, "y_lengths": y_lengths}
    return prepare("pairs", fields, Preparation(seed=seed, **options), extras)


def dates(n: int, seed: int) -> Iterator[tuple[str, str]]:
    """Days of two centuries in four ways, and as year-month-day."""
    ways = ("{0.day} {0:%B} {0.year}", "{0:%B} {0.day}, {0.year}", "{0:%a} {0.day} {0:%b} {0.year}", "{0:%d/%m/%Y}")
    drawn = randint(site_key(seed, "dates"), (n, 2), 0, 73_049).tolist()
    for day, way in drawn:
        moment = date(1900, 1, 1) + timedelta(days=day)
        yield ways[way % len(ways)].format(moment), moment.isoformat()


def trees(longest: int = 12) -> Iterator[tuple[Words, Words]]:
    """Different expressions of the standard library with 2 to `longest` tokens, names and values by their kind."""
    seen = set()
    for node in (node for tree in modules() for node in ast.walk(tree) if isinstance(node, ast.expr)):
        brackets = bracketed(node)
        if 1 < len(brackets) <= 2 * longest and (tree := " ".join(brackets)) not in seen:
            seen.add(tree)
            if len(written := list(surface(node))) <= longest:
                yield written, brackets


def surface(node: ast.expr) -> Iterator[str]:
    """The tokens of an expression as it is written."""
    kinds = {tokenize.NUMBER: "number", tokenize.STRING: "string"}
    for token in tokenize.generate_tokens(io.StringIO(ast.unparse(node)).readline):
        if token.string.strip():
            is_name = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
            yield "name" if is_name else kinds.get(token.type, token.string)


def bracketed(node: ast.expr) -> Words:
    """The tree of an expression, `( add name ( call name number ) )`; nothing where it holds other things than these."""
    match node:
        case ast.Name():
            return ["name"]
        case ast.Constant(value=bool() | None as value):
            return [str(value)]
        case ast.Constant(value=value):
            return ["string" if isinstance(value, str | bytes) else "number"]
        case ast.Attribute(value=owner):
            head, parts = "attribute", [owner]
        case ast.Call(func=function, args=given, keywords=[]):
            head, parts = "call", [function, *given]
        case ast.Subscript(value=owner, slice=index):
            head, parts = "item", [owner, index]
        case ast.BinOp(left=a, op=op, right=b) | ast.Compare(left=a, ops=[op], comparators=[b]):
            head, parts = type(op).__name__.lower(), [a, b]
        case ast.BoolOp(op=op, values=parts):
            head = type(op).__name__.lower()
        case ast.UnaryOp(op=op, operand=part):
            head, parts = type(op).__name__.lower(), [part]
        case _:
            return []
    inner = [bracketed(part) for part in parts]
    return ["(", head, *chain.from_iterable(inner), ")"] if all(inner) else []


def two_columns(path: str) -> Iterator[tuple[str, str]]:
    """The lines of a file, cut at their tab."""
    for number, line in enumerate(read(path).splitlines(), 1):
        if line.strip():
            first, tab, second = line.partition("\t")
            if not (tab and first.strip() and second.strip()):
                raise faults.bad_file(path, "needs two texts with a tab between them", line=number)
            yield first, second
