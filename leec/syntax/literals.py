"""The values of names, numbers and texts as they are written."""

from __future__ import annotations

from unicodedata import normalize

ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def name_of(text: str) -> str:
    """The name a word stands for: compatible forms of a letter are one letter."""
    return str(text) if text.isascii() else normalize("NFKC", text)


def number_of(text: str) -> int | float:
    """An int for digits alone. Beyond 20 digits it is a float: no int64 is so large, which a check reports."""
    digits = text.replace("_", "")
    return int(digits) if digits.isdigit() and len(digits) <= 20 else float(digits)


def string_of(text: str) -> str:
    """The text between the quotes. An escape that has no meaning, which a check reports, stays as it is."""
    parts = iter(text[1:-1].split("\\"))
    found = next(parts)
    for part in parts:  # an empty part is the first half of an escaped backslash
        found += ESCAPES.get(part[0], "\\" + part[0]) + part[1:] if part else "\\" + next(parts)
    return found
