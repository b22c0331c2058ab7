"""Seeded mutations of specs, as fingers make them: what is under test must answer each with diagnostics, never raise."""

from __future__ import annotations

import random
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOKEN = re.compile(r"\w+|\s+|[^\w\s]")


@cache
def specs() -> tuple[Path, ...]:
    """The samples, the library and the lectures."""
    folders = (ROOT / "tests" / "samples", ROOT / "leec" / "std", ROOT / "specs")
    return tuple(p for folder in folders for p in sorted(folder.rglob("*.lee")))


def mutation(seed: int) -> tuple[Path, str]:
    """A file, and its text with one or two tokens dropped, doubled, exchanged or misspelled."""
    r = random.Random(seed)
    path = r.choice(specs())
    tokens = TOKEN.findall(path.read_text(encoding="utf-8"))
    for _ in range(r.choice((1, 1, 1, 2))):
        i, j = r.randrange(len(tokens)), r.randrange(len(tokens))
        match r.randrange(5):
            case 0:
                tokens[i] = ""
            case 1:
                tokens[i] = tokens[j]
            case 2:
                tokens.insert(i, tokens[j])
            case 3:
                tokens[i], tokens[j] = tokens[j], tokens[i]
            case 4:
                cut = r.randrange(len(tokens[i]) or 1)
                tokens[i] = tokens[i][:cut] + tokens[i][cut + 1 :]
    return path, "".join(tokens)
