"""What every test may use: the golden record.

`golden(path, text)` compares a text with a committed file, byte for byte. `pytest --bless` writes the
file instead; the reviewer reads the diff of the repository.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write golden files instead of comparing with them")


def difference(path: Path, expected: str, actual: str) -> str:
    """A unified diff from the committed text to the new one; line breaks and their absence stay visible."""
    lines = [text.splitlines(keepends=True) for text in (expected, actual)]
    marked = [line if line.endswith("\n") else line + "\n\\ no line break\n" for line in difflib.unified_diff(*lines)]
    body = "".join(marked[2:]) or "(the texts differ only in the form of their line breaks)\n"
    return f"{path} is not what was made now (accept with: pytest --bless)\n{body}"


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """A function (path, text) that fails unless the file holds exactly the text."""
    bless = request.config.getoption("--bless")

    def check(path: Path, text: str) -> None:
        actual = text.encode()
        if bless:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(actual)
            return
        if not path.exists():
            pytest.fail(f"{path} does not exist yet (write it with: pytest --bless)", pytrace=False)
        expected = path.read_bytes()
        if actual != expected:
            pytest.fail(difference(path, expected.decode(errors="replace"), text), pytrace=False)

    return check
