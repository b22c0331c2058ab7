"""One logical line of lee in its one form: where blanks stand, and how a line that is too long is broken.

The form depends on the tokens and their comments alone, not on where the author broke the line, with one
exception: a product written without blanks stays so, for `2*k` beside `a + b`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

WIDTH = 120
INDENT = 4

OPENING = {"LPAR": "RPAR", "LSQB": "RSQB"}
CLOSING = frozenset(OPENING.values())
ENDS_OPERAND = frozenset(("NAME", "NUMBER", "STRING", "TRUE", "FALSE", "NONE", *CLOSING))
HEADS = frozenset(("DEF", "LOSS", "METRIC", "TRAIN", "_MODEL", "_OPTIMIZER", "_DISTRIBUTION"))
PLAIN = frozenset(("NAME", "NUMBER", "DOT", "TRUE", "FALSE", "NONE", "COLON", "COMMA"))


@dataclass
class Word:
    """A token with its comments: those on lines of their own above it, and one behind it."""

    type: str
    text: str
    start: int
    above: list[str] = field(default_factory=list)
    behind: str = ""
    gap: bool = True  # whether a blank stands before it

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def lines_of(words: Sequence[Word], indent: int) -> list[str]:
    """The physical lines of a logical line."""
    set_gaps(words)
    return list(broken(words, indent))


# ---- blanks


def set_gaps(words: Sequence[Word]) -> None:
    wide = set(wide_colons(words))
    subscripts = brackets(words)
    for i in range(1, len(words)):
        words[i].gap = gap(words, i, subscripts, wide)


def gap(words: Sequence[Word], i: int, inside: list[bool], wide: set[int]) -> bool:
    """Whether a blank stands between a token and the one before it; `inside` tells the colons of slices."""
    left, right = words[i - 1], words[i]
    if left.type in OPENING or right.type in (*CLOSING, "COMMA") or "DOT" in (left.type, right.type):
        return False
    if left.type == "COMMA":
        return True
    if right.type == "COLON":
        return inside[i] and i in wide and left.type != "COLON"
    if left.type == "COLON":
        return not inside[i - 1] or i - 1 in wide
    if left.type == "_DOTS" or is_unary(words, i - 1):
        return False
    if is_tight(words, i) or is_tight(words, i - 1):
        return False
    return right.type not in ("LPAR", "LSQB", "_DOTS") or left.type not in ENDS_OPERAND


def is_unary(words: Sequence[Word], i: int) -> bool:
    return words[i].type == "MINUS" and (i == 0 or words[i - 1].type not in ENDS_OPERAND)


def is_tight(words: Sequence[Word], i: int) -> bool:
    """Whether the author wrote a product without blanks."""
    product = words[i].type == "STAR" and 0 < i < len(words) - 1
    return product and words[i - 1].end == words[i].start and words[i].end == words[i + 1].start


def brackets(words: Sequence[Word]) -> list[bool]:
    """For every token whether the innermost bracket around it is that of a subscript."""
    stack, inside = [False], []
    for i, word in enumerate(words):
        if word.type in CLOSING and len(stack) > 1:
            stack.pop()
        inside.append(stack[-1])
        if word.type in OPENING:
            stack.append(word.type == "LSQB" and i > 0 and words[i - 1].type in ENDS_OPERAND)
    return inside


def wide_colons(words: Sequence[Word]) -> Iterator[int]:
    """The colons of slices with blanks around them: those beside more than names and numbers."""
    for opening, closing in pairs(words):
        for first, last in items(words, opening + 1, closing):
            plain = all(words[i].type in PLAIN or is_unary(words, i) for i in range(first, last))
            if not plain:
                yield from (i for i in outer(words, first, last) if words[i].type == "COLON")


# ---- brackets


def pairs(words: Sequence[Word]) -> list[tuple[int, int]]:
    """The places of matching brackets, outer ones before inner ones; what has no partner is left out."""
    stack: list[int] = []
    found = []
    for i, word in enumerate(words):
        if word.type in OPENING:
            stack.append(i)
        elif word.type in CLOSING and stack:
            found.append((stack.pop(), i))
    return sorted(found)


def outer(words: Sequence[Word], first: int, last: int) -> Iterator[int]:
    """The places in a stretch that stand in no bracket of it."""
    depth = 0
    for i in range(first, last):
        depth -= words[i].type in CLOSING
        if depth == 0:
            yield i
        depth += words[i].type in OPENING


def items(words: Sequence[Word], first: int, last: int) -> list[tuple[int, int]]:
    """The stretches between the commas of a bracket, each with its comma."""
    ends = [i + 1 for i in outer(words, first, last) if words[i].type == "COMMA"]
    starts = [first, *ends]
    return [(a, b) for a, b in zip(starts, [*ends, last], strict=True) if a < b]


# ---- line breaks


def broken(words: Sequence[Word], indent: int) -> Iterator[str]:
    while chosen := to_break(words, indent):
        opening, closing = chosen
        yield from joined(words[: opening + 1], indent)
        for first, last in items(words, opening + 1, closing):
            yield from broken(words[first:last], indent + INDENT)
        yield from (" " * (indent + INDENT) + comment for comment in words[closing].above)
        words[closing].above = []
        words = words[closing:]
    yield from joined(words, indent)


def to_break(words: Sequence[Word], indent: int) -> tuple[int, int] | None:
    """The bracket whose items get lines of their own: one that must, or one of a line that is too long."""
    outermost: list[tuple[int, int]] = []
    for opening, closing in pairs(words):
        if not outermost or opening > outermost[-1][1]:
            outermost.append((opening, closing))
    forced = next((pair for pair in outermost if must_break(words, *pair)), None)
    if forced or indent + len(flat(words)) <= WIDTH:
        return forced
    return best([(a, b) for a, b in outermost if b - a > 1], words, indent)


def best(choices: list[tuple[int, int]], words: Sequence[Word], indent: int) -> tuple[int, int] | None:
    """The parameters of a head; else the longest bracket, of those that begin on the first line, right of a sign."""
    if words[0].type in HEADS:
        return choices[0] if choices else None
    sign = next((i for i in outer(words, 0, len(words)) if words[i].type in ("EQUAL", "ARROW", "AUG", "TILDE")), 0)
    fitting = [(a, b) for a, b in choices if indent + len(flat(words[: a + 1])) <= WIDTH]
    right = [(a, b) for a, b in fitting if a > sign]
    return max(right or fitting or choices, key=lambda pair: len(flat(words[pair[0] : pair[1]])), default=None)


def must_break(words: Sequence[Word], opening: int, closing: int) -> bool:
    """Because of a comment in it, or as the author ended the last of several items with a comma."""
    if any(words[i].behind or words[i + 1].above for i in range(opening, closing)):
        return True
    inside = ((a, b) for a, b in pairs(words[opening : closing + 1]) if words[opening + b - 1].type == "COMMA")
    return any(len(items(words, opening + a + 1, opening + b)) > 1 for a, b in inside)


def joined(words: Sequence[Word], indent: int) -> Iterator[str]:
    """On one line, but for the breaks that comments ask for."""
    start = 0
    for i, word in enumerate(words):
        if word.above and i > start:
            yield " " * indent + flat(words[start:i])
            start, indent = i, indent + INDENT * (start == 0)
        yield from (" " * indent + comment for comment in word.above)
        if word.behind:
            yield f"{' ' * indent}{flat(words[start : i + 1])}  {word.behind}"
            indent += INDENT * (start == 0)
            start = i + 1
    if start < len(words):
        yield " " * indent + flat(words[start:])


def flat(words: Sequence[Word]) -> str:
    return "".join(" " * (word.gap and i > 0) + word.text for i, word in enumerate(words))
