"""Statements that are too long for a line, split as black splits them.

A call or a literal at the end of a statement is split here; whatever else there is goes to black, which takes longer to
import than most specs to compile.
"""

from __future__ import annotations

import re
from functools import lru_cache

from leec.emit.layout import WIDTH

INDENT = "    "
HEAD = re.compile(
    r"(?:[\w.]+(?:, [\w.]+)* = |return |raise |def |for [\w, ]+ in )?(?P<callee>[\w.]*(?:\[\w+\](?:\.\w+)+)*)"
)
BARE = re.compile(r"(?P<head>\w+ = |return )(?P<items>[\w.]+(?:, [\w.]+)+)")  # a tuple of names without parentheses
CLOSING = {"(": ")", "[": "]", "{": "}"}


def fit(block: str, indent: int = 0) -> str:
    """Statements that will stand `indent` columns in, with those that are too long split as black does."""
    if all(len(line) + indent <= WIDTH for line in block.splitlines()):
        return block
    return split(block, WIDTH - indent) or _formatted(block, WIDTH - indent)


def split(line: str, width: int) -> str | None:
    """One statement that ends with its only outermost bracket, or with a tuple of names; None for others."""
    if bare := BARE.fullmatch(line):
        line = f"{bare['head']}({bare['items']})"
    head = HEAD.match(line)
    opening = line[head.end() : head.end() + 1] if head else ""
    if "\n" in line or opening not in CLOSING:
        return None
    items, end = items_of(line, head.end())
    tail = line[end:]
    if tail[:1] != CLOSING[opening] or tail[1:] not in ("", ":", ": ...") or not items:
        return None
    is_call = bool(head["callee"]) and not head["callee"].isspace()
    if is_call and opening != "(":
        return None
    first, body = line[: head.end() + 1], ", ".join(items)
    if is_call and len(INDENT + body) <= width:
        return "\n".join([first, INDENT + body, tail])
    if len(items) < 2 or any(len(f"{INDENT}{item},") > width for item in items):
        return None
    return "\n".join([first, *(f"{INDENT}{item}," for item in items), tail])


def items_of(line: str, start: int) -> tuple[list[str], int]:
    """What stands between commas in the bracket that opens at a position, and where the bracket ends."""
    items, depth, quote, begin = [], 0, "", start + 1
    position = start
    while position < len(line):
        c = line[position]
        if quote:
            position += c == "\\"
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in CLOSING:
            depth += 1
        elif c in CLOSING.values():
            depth -= 1
            if not depth:
                last = line[begin:position].strip()
                return [*items, *([last] if last else [])], position
        elif c == "," and depth == 1:
            items.append(line[begin:position].strip())
            begin = position + 1
        position += 1
    return [], position


@lru_cache(maxsize=4096)
def _formatted(block: str, width: int) -> str:
    import black

    header = block.endswith(":")  # of a block that follows
    made = black.format_str(f"{block} pass" if header else block, mode=black.Mode(line_length=width)).rstrip("\n")
    return made.rpartition("\n")[0] if header else made
