"""Texts as numbers: what stands for a token, encoding and decoding, padding, and the corpora that ship with Python.

Five tokens come first in every vocabulary: PAD fills rows up, START and END enclose what is written, MASK hides a
token, UNKNOWN stands for all that have no number of their own.
"""

from __future__ import annotations

import ast
import io
import re
from codecs import decode as decoded
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from leec.runtime import faults

PAD, START, END, MASK, UNKNOWN = range(5)
SPECIAL = ("[PAD]", "[START]", "[END]", "[MASK]", "[UNKNOWN]")
LEVELS = ("characters", "words")
CORPORA = ("topics", "docstrings", "zen")
MODULES = (
    "argparse", "bisect", "calendar", "cmd", "colorsys", "configparser", "copy", "csv", "difflib", "dis", "fractions",
    "ftplib", "gettext", "heapq", "imaplib", "inspect", "ipaddress", "mailbox", "optparse", "pdb", "pickle", "random",
    "shutil", "smtplib", "statistics", "string", "tarfile", "textwrap", "threading", "tokenize", "typing", "zipfile",
)  # fmt: skip


Words = list[str]
Row = list[int]


class Vocabulary:
    """Numbers for tokens, and back: the special ones, then the others as they stand.

    `level` says what a token is: a character, or a word or mark in lower case.
    """

    def __init__(self, tokens: Iterable[str], level: str = "words"):
        self.level, self.tokens = level, (*SPECIAL, *tokens)
        self.numbers = {token: i for i, token in enumerate(self.tokens)}

    @classmethod
    def of(cls, texts: Iterable[Sequence[str]], level: str, most: int | None = None) -> Vocabulary:
        """The tokens that occur, at most `most` of them, those that occur most; in alphabetical order."""
        counts = Counter(token for text in texts for token in text)
        frequent = sorted(counts, key=lambda token: (-counts[token], token))[:most]
        return cls(sorted(frequent), level)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str | Sequence[str]) -> list[int]:
        """The numbers of a text's tokens."""
        pieces = split_tokens(text, self.level) if isinstance(text, str) else text
        return [self.numbers.get(piece, UNKNOWN) for piece in pieces]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text up to END, without padding. Raises LEE702 for a number that stands for nothing."""
        found = []
        for number in map(int, numbers):
            if not 0 <= number < len(self):
                raise faults.wrong_option("decode", f"{number} stands for no token: there are {len(self)}")
            if number == END:
                break
            found += [self.tokens[number]] if number not in (PAD, START) else []
        return ("" if self.level == "characters" else " ").join(found)


def split_tokens(text: str, level: str) -> list[str]:
    """Characters; or words, numbers and marks in lower case, a run of one mark being one token."""
    if level == "characters":
        return list(text)
    return [found[0] for found in re.finditer(r"[^\W\d_]+|\d+|([^\w\s]|_)\1*", text.lower())]


def padded(rows: Sequence[Sequence[int]], width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows of numbers as int64[n, width] with PAD behind them, and their lengths."""
    lengths = np.array([len(row) for row in rows], np.int64)
    tokens = np.full((len(rows), width or lengths.max(initial=0)), PAD, np.int64)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return tokens, lengths


# ---- corpora


def corpus(name: str) -> list[str]:
    """The documents of a corpus that ships with Python, or the one in a text file.

    topics       what `help("topic")` shows, a document a topic
    docstrings   of the standard library, a document a module
    zen          `import this`
    """
    match name:
        case "topics":
            from pydoc_data.topics import topics

            return [topics[topic] for topic in sorted(topics)]
        case "docstrings":
            return ["\n\n".join(docstrings(tree)) for tree in modules()]
        case "zen":
            with redirect_stdout(io.StringIO()):
                import this

            return [decoded(this.s, "rot13")]
    if not Path(name).suffix:
        help = faults.nearest(name, CORPORA) + ', or name a file, `text("corpus.txt")`'
        raise faults.wrong_option("corpus", f"Python comes with no text called `{name}`", help)
    return [read(name)]


def read(path: str) -> str:
    """A text file. Raises LEE709 if there is none, LEE708 where it is empty or not UTF-8."""
    if not Path(path).is_file():
        raise faults.absent_file(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise faults.bad_file(path, f"cannot be read as UTF-8: {error.reason} at byte {error.start}") from None
    if not text.strip():
        raise faults.bad_file(path, "holds no text")
    return text


def modules() -> Iterator[ast.Module]:
    """Modules of the standard library, parsed."""
    for name in MODULES:
        found = find_spec(name)
        if found is not None and found.origin and found.origin.endswith(".py"):
            yield ast.parse(Path(found.origin).read_text(encoding="utf-8"))


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            yield text


def sentences(document: str) -> list[list[str]]:
    """The sentences of paragraphs of prose, as words; headings, indented text, lists and code are left out."""
    found = []
    for paragraph in re.split(r"\n\s*\n", document):
        is_heading = re.search(r"^(\W)\1+$", paragraph, re.MULTILINE)
        if re.match(r"[A-Z]\w*\s", paragraph) and "\n " not in paragraph and not is_heading:
            found += [split_tokens(s, "words") for s in re.split(r"(?<=[.!?])\s+(?=[A-Z])", paragraph)]
    return [sentence for sentence in found if len(sentence) > 3]


# ---- options


def numbers_of(vocabulary: Vocabulary) -> dict[str, Any]:
    """What a source says of its vocabulary."""
    special = {"pad": PAD, "start": START, "end": END, "mask": MASK, "unknown": UNKNOWN}
    return {"vocab": len(vocabulary), **special, "vocabulary": vocabulary}


def known(level: str) -> str:
    if level not in LEVELS:
        raise faults.wrong_option("text", f"there is no level `{level}`", faults.nearest(level, LEVELS))
    return level


def positive(option: str, number: int) -> int:
    if number < 1:
        raise faults.wrong_option("text", f"`{option}` is at least 1, not {number}")
    return number
